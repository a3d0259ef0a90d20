"""Mutated files of every kind: one line that names what is wrong, or a value that makes sense; nothing else.

`python -m tests.fuzz.test_fuzz NAME COUNT SEED` looks at more inputs of a kind, and says which ones it is about.
"""

import contextlib
import logging
import random
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from orpheus.errors import ConfigError, DataError
from tests.fuzz.targets import TARGETS, Target

LONGEST = 500  # characters of a message
HANG = 20  # seconds
MEMORY = 2_000_000  # kB more than before


class HangError(Exception):
    """An input took too long."""


def outcome(target: Target, path: Path) -> str:
    """Read a file; returns what is wrong with how that ended, or nothing."""

    def stop(*_: object) -> None:
        raise HangError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG)
    try:
        target.read(path)
    except (ConfigError, DataError) as error:
        message = str(error)
        if len(message) > LONGEST or not message.isprintable() or not message:
            return f"the message is {message!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return f"took {grown} kB" if grown > MEMORY else ""


def inputs(target: Target, folder: Path, count: int, seed: int):
    """(number, what is wrong) of `count` mutated files."""
    target.make(folder)
    path = folder / target.file
    good = path.read_bytes()
    for number in range(count):
        content = target.mutate(good, random.Random(f"{target.name} {seed} {number}"))
        path.write_bytes(content)
        yield number, outcome(target, path)
    path.write_bytes(good)


def check(target: Target, folder: Path, count: int, seed: int) -> None:
    target.make(folder)
    target.read(folder / target.file)  # a mutation of a file that is refused anyway would show nothing
    wrong = [f"input {number}: {what}" for number, what in inputs(target, folder, count, seed) if what]
    assert not wrong, f"{target.name}, seed {seed}: {len(wrong)} of {count}\n" + "\n".join(wrong[:5])


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("target", [one for one in TARGETS if one.many >= 5000], ids=lambda target: target.name)
def test_mutated_files(target, tmp_path):
    check(target, tmp_path, 200, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_many_mutated_files(target, tmp_path):
    check(target, tmp_path, target.many, seed=1)


def test_the_fuzzer_finds_what_it_should(tmp_path):
    """A reader that fails in each way that is looked for."""

    def failing(path: Path) -> None:
        content = path.read_bytes()
        if content != b"good":
            raise {0: KeyError("x"), 1: DataError("fine")}[len(content) % 2]

    def make(folder: Path) -> None:
        (folder / "f").write_bytes(b"good")

    target = Target("failing", "f", make, failing)
    found = dict(inputs(target, tmp_path, 200, 0))
    assert {what for what in found.values() if what} == {"KeyError: 'x'"} and "" in found.values()
    assert dict(inputs(target, tmp_path, 200, 0)) == found  # the same inputs again


if __name__ == "__main__":
    import tempfile

    logging.disable(logging.CRITICAL)
    names, number, start = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2
    for one in TARGETS:
        if names in ("all", one.name):
            with tempfile.TemporaryDirectory() as place, contextlib.suppress(KeyboardInterrupt):
                one.make(Path(place))
                begun, kinds = time.perf_counter(), {}
                for count, said in inputs(one, Path(place), number, start):
                    if said and kinds.setdefault(said[:60], count) == count:
                        print(f"  {one.name} {count}: {said}", flush=True)
                print(f"{one.name}: {number} in {time.perf_counter() - begun:.1f} s, {len(kinds)} kinds", flush=True)
