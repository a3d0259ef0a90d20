"""The service under load, over loopback: searches/s and the slowest of a hundred, tags of files/s, and its memory.

The service is a process of its own, as `python -m orpheus.serve` starts it, and so are the clients: each waits for its
answer before it asks again (a closed loop), over a connection that stays open. Songs are those of benchmarks.search, each
with some of 500 tags that are asked for in turn. Files are wav of noise, heard by an untrained tagger of full size, whose own
passes of the same windows, with nothing around them, are the limit. At the end as many requests of all kinds as --requests
says go on, and the memory of the service before and after is told. Service and clients share the processors.
"""

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import common
from orpheus.base import cli

if TYPE_CHECKING:
    pass

TAGS = 500
_FORM = "orpheus-benchmark"


def parser() -> cli.Parser:
    result = common.parser("serve", __doc__, example="--songs 100000 --requests 2000")
    result.add_argument("--songs", type=int, default=1_000_000, metavar="N", help="in the index")
    result.add_argument("--clients", type=int, nargs="+", default=[1, 8], metavar="N", help="that ask at a time")
    result.add_argument("--seconds", type=float, default=10.0, help="of a round")
    result.add_argument("--rounds", type=int, default=3, metavar="N", help="after one that does not count")
    result.add_argument("--file-seconds", type=float, default=30.0, help="length of the files that are tagged")
    result.add_argument("--filters", type=int, default=16, metavar="N", help="size of the untrained tagger")
    result.add_argument("--requests", type=int, default=10_000, metavar="N", help="between two looks at the memory")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        common.in_process(make_index, folder / "songs", arguments.songs)
        built = time.perf_counter() - began
        run, limit, windows = common.in_process(own_limit, folder, arguments.filters, arguments.file_seconds)
        with Served([folder / "songs", run]) as served:
            rows = []
            for clients in arguments.clients:
                asked = [f"/api/songs/search?q=tag-{number}&k=20" for number in range(TAGS)]
                rows.append(_row(served, "searches", asked, [], clients, arguments))
                rows[-1].note.append(f"{arguments.songs:,} songs, made into an index in {built:.0f} s")
            form = [_form(_noise(arguments.file_seconds, seed)) for seed in range(4)]
            for clients in arguments.clients:
                rows.append(_row(served, "files tagged", [f"/api/{run.name}/tags"] * 4, form, clients, arguments))
                share = rows[-1].median() * windows / limit
                rows[-1].note.append(
                    f"{arguments.file_seconds:g} s of audio, {windows} windows each: {share:.0%} of the model's own "
                    f"{limit:.0f} windows/s"
                )
            memory = _memory(served, arguments, f"/api/{run.name}/tags", form)
        return [*(row.finished() for row in rows), memory]


class _Measured:
    """Rates of rounds and the milliseconds of all requests of one load."""

    def __init__(self, case: str, unit: str, rates: list[float], milliseconds: list[float]):
        self.case, self.unit, self.rates, self.milliseconds = case, unit, rates, milliseconds
        self.note: list[str] = []

    def median(self) -> float:
        return sorted(self.rates)[len(self.rates) // 2]

    def finished(self) -> common.Row:
        import numpy as np

        half, most, all_but_one = np.quantile(self.milliseconds, [0.5, 0.99, 0.999])
        times = f"half within {half:.1f} ms, 99 % within {most:.1f} ms, 99.9 % within {all_but_one:.1f} ms"
        return common.Row(
            "serve", self.case, "orpheus", tuple(self.rates), self.unit, note="; ".join([times, *self.note])
        )


def _row(served: "Served", what: str, paths: list[str], bodies: list[bytes], clients: int, arguments) -> _Measured:
    rates, times, spent = [], [], []
    for number in range(-1, arguments.rounds):
        began = served.processor_seconds()
        found = common.in_process(load, served.port, paths, bodies, clients, arguments.seconds, 0)
        if number >= 0:
            rates.append(len(found) / arguments.seconds)
            times += found
            spent.append(1000 * (served.processor_seconds() - began) / len(found))
    measured = _Measured(f"{what}, {clients} client{'s' if clients > 1 else ''}", f"{what}/s", rates, times)
    measured.note.append(f"{min(spent):.1f} to {max(spent):.1f} ms of the service's processor time each")
    return measured


def _memory(served: "Served", arguments: argparse.Namespace, tags: str, form: list[bytes]) -> common.Row:
    """Megabytes of the service before and after many requests: mostly searches, some of which fail, and files."""
    count = arguments.requests
    searches = [
        f"/api/songs/search?q=tag-{n % TAGS}&k=20" if n % 10 else "/api/songs/search?q=unheard-of" for n in range(TAGS)
    ]
    values = []
    for part in (count // 10, count // 2, count - count // 2):  # the first tenth fills caches
        common.in_process(load, served.port, searches, [], 4, 0, part * 9 // 10)
        common.in_process(load, served.port, [tags] * len(form), form, 4, 0, part - part * 9 // 10)
        values.append(served.megabytes())
    note = (
        f"after {count // 10}, {count // 10 + count // 2} and {count // 10 + count:,} requests, a tenth of them files"
    )
    return common.Row("serve", "memory", "orpheus", tuple(values), "MB", note=note)


class Served:
    """`python -m orpheus.serve` of runs and indexes, in a process of its own."""

    def __init__(self, given: Sequence[Path]):
        words = [sys.executable, "-m", "orpheus.serve", *map(str, given), "--port", "0", "-v", "0", "--queue", "64"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = re.search(r":(\d+)$", self._process.stdout.readline().strip())
        if found is None:
            self._process.kill()
            raise RuntimeError("the service did not start")
        self.port = int(found[1])

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def megabytes(self) -> float:
        """In memory now."""
        with open(f"/proc/{self._process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def processor_seconds(self) -> float:
        """Spent until now, without those of the processes that decode."""
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def load(port: int, paths: list[str], bodies: list[bytes], clients: int, seconds: float, count: int) -> list[float]:
    """Milliseconds of each request of clients that ask in turn for `paths`, each for some seconds, or `count` in all."""
    found: list[list[float]] = [[] for _ in range(clients)]
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        headers = {"content-type": f"multipart/form-data; boundary={_FORM}"} if bodies else {}
        turn, mine = number * 7, len(range(number, count, clients))
        while len(found[number]) < mine if count else time.perf_counter() < end:
            began = time.perf_counter()
            body = bodies[turn % len(bodies)] if bodies else None
            connection.request("POST" if bodies else "GET", paths[turn % len(paths)], body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status not in (200, 400):
                raise RuntimeError(f"{answer.status}: {content[:200]!r}")
            found[number].append(1000 * (time.perf_counter() - began))
            turn += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [value for values in found for value in values]


def make_index(folder: Path, songs: int) -> None:
    """An index of made-up songs, of a run that is nowhere: its tags are found without one."""
    import numpy as np

    from benchmarks import search
    from orpheus.tasks.search.song_index import STORE, SongIndex
    from orpheus.tasks.search.store import Song, SongStore

    vectors, queries = search.made_up("clustered", songs, TAGS, seed=0)
    names = [f"tag-{number}" for number in range(TAGS)]
    about = {"run": "nowhere", "identity": "0" * 64, "input_type": "spec", "dimension": str(search.DIMENSION)}
    folder.mkdir()
    store = SongStore(folder / STORE, about=about | {"training_tags": json.dumps(names)})
    store.put_tags(names, queries["tags"])
    rng = np.random.default_rng(0)
    for start in range(0, songs, 20_000):
        rows = vectors[start : start + 20_000]
        tags = rng.integers(TAGS, size=(len(rows), 3))
        store.put(
            Song(
                f"song-{start + place}",
                row,
                tuple(names[tag] for tag in tags[place]),
                artist=f"artist-{tags[place, 0]}",
            )
            for place, row in enumerate(rows)
        )
    del vectors
    store.close()
    SongIndex(folder)._save()


def own_limit(folder: Path, filters: int, seconds: float) -> tuple[Path, float, int]:
    """The run of an untrained tagger, windows a second of its bare model, and windows of a file."""
    import numpy as np

    from benchmarks import prediction

    tagger = prediction.untrained(folder / "runs", 15.0, filters)
    shape = tagger.model.input_shape[1:]
    batch = np.random.default_rng(0).random((16, *shape), np.float32).astype(tagger.spec.dtype)
    forward, rates = tagger.forward(), []
    for _ in range(6):
        began = time.perf_counter()
        forward(batch).numpy()
        rates.append(len(batch) / (time.perf_counter() - began))
    frames = np.zeros((tagger.spec.frames(seconds), *shape[1:]), tagger.spec.dtype)
    return tagger.run.folder, float(np.median(rates[1:])), len(list(tagger.cut([frames])))


def _noise(seconds: float, seed: int) -> bytes:
    import numpy as np

    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        samples: np.ndarray = np.random.default_rng(seed).normal(0, 3000, round(16000 * seconds))
        file.writeframes(samples.astype("<i2").tobytes())
    return target.getvalue()


def _form(content: bytes) -> bytes:
    head = f'--{_FORM}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head.encode() + content + f"\r\n--{_FORM}--\r\n".encode()


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
