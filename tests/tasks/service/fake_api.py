"""The service as the page sees it, with known songs and known answers: a stand-in that needs no model.

It serves the page's files as they are in the package, answers what the page asks, and keeps what it was asked.
`python -m tests.tasks.service.fake_api` shows the page to a person.
"""

import contextlib
import io
import json
import re
import sys
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

PAGE = Path(__file__).parents[3] / "orpheus/tasks/service/page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
TAGS = [
    "ambient",
    "acoustic",
    "rock",
    "jazz",
    "piano",
    "dream pop",
    "electronic",
    "folk",
    "hip hop",
    "vocals",
    "female vocals",
    "sad",
    "happy",
    "guitar",
    "indie",
    "classical",
    "metal",
    "soul",
    "dance",
    "chillout",
    "instrumental",
    "blues",
    "punk",
    "singer-songwriter",
]
TITLES = (
    "Nocturne",
    "Slow Rain",
    "Paper Boats",
    "Northern Line",
    "Amber",
    "Low Tide",
    "Seventh Street",
    "Halo",
    "Embers",
)
ARTISTS = ("Ana Lindqvist", "The Quiet Hours", "Moro", "Delta & Sons", "Kestrel")
HOSTILE_NAME = "<img src=x onerror=\"document.title='owned'\">"
HOSTILE = (
    HOSTILE_NAME,
    "<script>document.title='owned'</script>",
    "\u202egnp.exe rof \u2067dessim",
    "long " * 1000,
    "\"'>&amp;${1}{{2}}",
)


def song(number: int, score: float = 1.0, because: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is said of a song; those from 900 on have hostile names."""
    rng = np.random.default_rng(number)
    tags = [str(tag) for tag in rng.choice(TAGS, 4, replace=False)]
    title, artist = f"{TITLES[number % len(TITLES)]} {number}", ARTISTS[number % len(ARTISTS)]
    if 900 <= number < 900 + len(HOSTILE):
        title = artist = HOSTILE[number - 900]
        tags = list(HOSTILE)
        because = HOSTILE[:1]
    audio = None if number == 899 else f"/api/library/songs/{number}/audio"
    return {
        "number": number,
        "id": f"/music/{number}.wav",
        "title": title,
        "artist": artist,
        "score": score,
        "tags": [*because, *(tag for tag in tags if tag not in because)],
        "because": list(because),
        "audio": audio,
    }


def tone(number: int, seconds: float = 6.0, sample_rate: int = 8000) -> bytes:
    """A WAV file: a tone that gets louder."""
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    samples = np.sin(2 * np.pi * (220 + 20 * (number % 12)) * times) * np.linspace(0.1, 0.8, len(times))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def places(n: int) -> np.ndarray:
    """A library's map: clouds of songs, float32 (n, 2) in −1..1."""
    rng = np.random.default_rng(0)
    middles = rng.uniform(-0.75, 0.75, (24, 2))
    spread = rng.uniform(0.03, 0.16, (24, 1))
    of = rng.integers(0, 24, n)
    return np.tanh(middles[of] + spread[of] * rng.normal(size=(n, 2))).astype("<f4")


def heard(seconds: float, *, timeline: bool, hostile: bool = False) -> dict[str, Any]:
    """Tags of any file: rock fades out while piano fades in."""
    names = list(HOSTILE[:4]) + TAGS[4:12] if hostile else ["rock", "piano", *TAGS[10:20]]
    times = np.arange(0, seconds, 1.0)
    rng = np.random.default_rng(1)
    scores = np.abs(0.25 * np.sin(times[:, None] / rng.uniform(3, 9, len(names)) + rng.uniform(0, 6, len(names))))
    scores[:, 0] = np.linspace(0.9, 0.1, len(times))
    scores[:, 1] = np.linspace(0.05, 0.8, len(times))
    mean = scores.mean(axis=0)
    order = np.argsort(-mean)
    over = {
        "hop_seconds": 1.0,
        "window_seconds": 1.0,
        "times": times.tolist(),
        "tags": names,
        "scores": scores.tolist(),
    }
    return {
        "seconds": seconds,
        "tags": [{"tag": names[at], "score": float(mean[at])} for at in order],
        "timeline": over if timeline else None,
    }


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


class Api(ThreadingHTTPServer):
    """The server; `asked` are the requests so far, `token` is needed where it is given, `songs` are on the map."""

    daemon_threads = True

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.ranges: list[str] = []
        self.token: str | None = None
        self.songs = 50_000
        self.timelines = True  # of a tagger; other runs have none
        self.only: tuple[str, ...] | None = None  # names of the models that are served
        self.fails: dict[str, tuple[int, str]] = {}  # what is asked → status and message

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def reset(self) -> None:
        """As it was at first."""
        self.asked.clear()
        self.ranges.clear()
        self.fails.clear()
        self.token = self.only = None
        self.timelines = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a page that has gone elsewhere; what else went wrong is said."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def models(self) -> list[dict[str, Any]]:
        able = [
            "search",
            "similar",
            "tags",
            "timeline",
            "recommend",
            "features",
            "map",
            "path",
            "words",
            "playlist",
            "upload",
        ]
        index = {"kind": "index", "task": "joint", "songs": self.songs, "tags": TAGS, "listeners": 300, "can": able}
        words = {
            "kind": "index",
            "task": "retrieval",
            "songs": 900,
            "tags": TAGS[:4],
            "listeners": 0,
            "can": ["search", "playlist"],
        }
        run = {"kind": "run", "task": "tagging", "songs": 0, "tags": TAGS, "listeners": 0, "can": ["tags", "timeline"]}
        found = [{"name": "library", **index}, {"name": "words-only", **words}, {"name": "tagger", **run}]
        return [one for one in found if self.only is None or one["name"] in self.only]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        named = re.search(rb'filename="([^"]*)"', body)
        kind = self.headers.get("content-type", "")
        self._answer(json.loads(body) if kind == "application/json" else {"filename": named and named[1].decode()})

    def _answer(self, body: dict[str, Any]) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if not url.path.startswith("/api/"):
            return self._file("index.html" if url.path == "/" else url.path.removeprefix("/static/"))
        self.server.asked.append((self.command, url.path, query | ({"body": [json.dumps(body)]} if body else {})))
        try:
            with_cookie = url.path.endswith("/audio") and "orpheus_audio" in self.headers.get("cookie", "")
            if (
                self.server.token
                and not with_cookie
                and self.headers.get("authorization") != f"Bearer {self.server.token}"
            ):
                raise Refused(401, "no_token", "this service needs its token")
            parts = [unquote(part) for part in url.path.split("/")[2:]]
            if parts[0] == "models":
                return self._json(self.server.models())
            if (what := parts[1]) in self.server.fails:
                raise Refused(self.server.fails[what][0], "made_up", self.server.fails[what][1])
            if parts[-1] == "audio":
                return self._audio(tone(int(parts[2])))
            if parts[1] == "map" and len(parts) == 2:
                return self._send(200, self._map(), "application/octet-stream")
            if parts[1] == "playlist":
                lines = "".join(f"/music/{number}.wav\n" for number in body["numbers"])
                return self._send(200, f"#EXTM3U\n{lines}".encode(), "audio/mpegurl")
            self._json(self._value(parts, {name: values[-1] for name, values in query.items()}, body))
        except Refused as refused:
            self._json({"error": {"code": refused.code, "message": str(refused)}}, refused.status)

    def _value(self, parts: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
        k = int(query.get("k", 20))
        match parts[1:]:
            case ["words"]:
                return {"words": [tag for tag in (*TAGS, HOSTILE_NAME) if tag.startswith(query["prefix"].lower())][:k]}
            case ["listeners"]:
                return {
                    "listeners": [f"listener {n}" for n in range(300) if f"listener {n}".startswith(query["prefix"])][
                        :k
                    ]
                }
            case ["songs", number]:
                return song(int(number))
            case ["map", "labels"]:
                rng = np.random.default_rng(0)
                middles = np.tanh(rng.uniform(-0.75, 0.75, (24, 2)))
                return {
                    "labels": [
                        {"x": x, "y": y, "text": tag} for (x, y), tag in zip(middles.tolist(), TAGS, strict=True)
                    ]
                }
            case ["tags"]:
                name = body.get("filename") or ""
                hostile = "<" in name or "%3C" in name
                return heard(6.0, timeline=self.server.timelines and query.get("timeline") == "true", hostile=hostile)
            case ["path"]:
                start, end, steps = int(query["start"]), int(query["end"]), int(query["steps"])
                numbers = [start, *range(100, 100 + steps), end]
                return {"hits": [song(number, 1 - 0.05 * at) for at, number in enumerate(numbers)]}
            case ["search" | "similar" | "recommend" as what]:
                q = query.get("q", "")
                if q == "nothing":
                    return {"hits": []}
                if q == "-":
                    raise Refused(
                        400, "refused", "the query '-' has a minus by itself: put it directly before what is not wanted"
                    )
                first = {"search": 899 if q == "hostile" else 3 * len(q), "similar": 200, "recommend": 300}[what]
                because = tuple(tag for tag in TAGS if tag in q)[:2]
                return {"hits": [song(first + at, round(0.93 * 0.97**at, 3), because) for at in range(k)]}
        raise Refused(404, "not_found", "no such thing")

    def _map(self) -> bytes:
        n = self.server.songs
        return np.uint32(n).tobytes() + np.arange(n, dtype="<u4").tobytes() + places(n).tobytes()

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _file(self, name: str) -> None:
        known = {path.name: path for path in PAGE.iterdir()}
        if name not in known:
            return self._send(404, b"", "text/plain")
        self._send(200, known[name].read_bytes(), TYPES[known[name].suffix])

    def _audio(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        self.server.ranges.append(self.headers.get("range", ""))
        if not asked:
            return self._send(200, content, "audio/wav")
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        self._send(
            206, content[first : last + 1], "audio/wav", {"content-range": f"bytes {first}-{last}/{len(content)}"}
        )

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        given = {"content-type": kind, "content-length": str(len(content)), "content-security-policy": POLICY}
        if self.server.token and "authorization" in self.headers:
            given["set-cookie"] = "orpheus_audio=1; Path=/api; HttpOnly; SameSite=Strict"
        for name, value in {**given, "accept-ranges": "bytes", "cache-control": "no-store", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the page has gone elsewhere
            self.wfile.write(content)


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[Api]:
    """The server, in a thread."""
    api = Api(port)
    thread = threading.Thread(target=api.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield api
    finally:
        api.shutdown()
        thread.join()
        api.server_close()


if __name__ == "__main__":
    with serving(8765) as api:
        print(api.address)
        threading.Event().wait()
