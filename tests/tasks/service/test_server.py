"""The service behind a real socket: clients that are slow, go away or send nonsense; and how it begins and ends."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from orpheus import serve
from orpheus.errors import ConfigError
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.search.store import Song
from orpheus.tasks.service import decoding, server
from orpheus.tasks.service.settings import Settings
from tests.conftest import ROOT
from tests.retriever import FakeRetriever, vector
from tests.tasks.service import faulty
from tests.tasks.service.running import everything, form, running

IMPATIENT = Settings(
    decoders=0, receive_seconds=0.4, send_seconds=0.4, slowest_upload=1000, connections=8, upload_bytes=1 << 20
)


@pytest.fixture
def service(fake_index, fake, tmp_path, monkeypatch):
    """A service that waits for nobody."""
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.4)
    with running([fake_index], tmp_path / "work", IMPATIENT) as found:
        yield found


def eventually(condition) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def said(answer: bytes) -> tuple[int, str]:
    """Status and code of an error."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_the_head_of_a_request_is_not_waited_for_for_ever(service):
    for begun in (b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "):
        began = time.monotonic()
        with service.connect() as connection:
            connection.sendall(begun)
            assert everything(connection) == b"" and 0.2 < time.monotonic() - began < 10
    with service.connect() as connection:  # a byte now and then makes it no better
        began = time.monotonic()
        with pytest.raises(OSError):
            for _ in range(200):
                connection.sendall(b"G")
                time.sleep(0.05)
                connection.setblocking(False)
                try:
                    if connection.recv(1) == b"":
                        raise ConnectionResetError
                except BlockingIOError:
                    pass
                finally:
                    connection.setblocking(True)
        assert time.monotonic() - began < 8
    assert service.alive()


def test_a_connection_is_used_again_and_no_answer_waits_for_an_acknowledgement(service):
    """Which is 40 ms where small pieces are held back (Nagle's algorithm)."""
    seconds = []
    with service.connect() as connection:
        for _ in range(20):
            began = time.perf_counter()
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            found = b""
            while not found.endswith(b"}"):
                found += connection.recv(1 << 16)
            assert found.startswith(b"HTTP/1.1 200")
            seconds.append(time.perf_counter() - began)
    assert min(seconds[1:]) < 0.03


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n\r\nx\r\n",
        b"\x16\x03\x01" + bytes(50),
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_nonsense_is_answered_or_closed(service, request_):
    assert service.ask(request_)[:12] in (b"", b"HTTP/1.1 400")
    assert service.alive()


def test_no_more_connections_than_so_many(service):
    held = [service.connect() for _ in range(8)]
    answer = service.ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503")
    for each in held:
        each.close()
    assert eventually(service.alive)


def test_uploads_that_come_slowly_are_given_up(heard_service):
    path = heard_service.path
    with heard_service.connect() as connection:
        connection.sendall(form(b"x", length=5000, path=path))
        assert said(everything(connection)) == (408, "too_slow")
    with heard_service.connect() as connection:  # never a pause, but too few bytes
        connection.sendall(form(b"x", length=5000, path=path))
        with contextlib.suppress(OSError):
            for _ in range(50):
                time.sleep(0.1)
                connection.sendall(b"x")
        assert said(everything(connection)) == (408, "too_slow")
    with heard_service.connect() as connection:  # all of what is too much
        connection.sendall(form(bytes(2 << 20), path=path))
        assert said(everything(connection)) == (413, "too_large")
    with heard_service.connect() as connection:
        connection.sendall(form(b"x", length=5000, path=path))
    assert eventually(lambda: heard_service.parts.admitted == 0 and not os.listdir(heard_service.parts.folder))
    assert heard_service.alive()


@pytest.fixture
def heard_service(tagger_run, tmp_path):
    """A service of the tagger, as impatient."""
    with running([tagger_run], tmp_path / "work", Settings(**{**vars(IMPATIENT), "decoders": 1})) as found:
        found.path = f"/api/{tagger_run.name}/tags"
        yield found


@pytest.mark.slow
def test_what_nobody_waits_for_any_more_is_given_up(heard_service, clips, monkeypatch):
    """The decoder of a client that has gone is killed: the next file need not wait for it."""
    monkeypatch.setattr(decoding, "to_stored", faulty.hang)
    content = (clips / "clip0.wav").read_bytes()
    with heard_service.connect() as connection:
        connection.sendall(form(content, path=heard_service.path))
        assert eventually(
            lambda: any(name == "upload.wav" for _, _, names in os.walk(heard_service.parts.folder) for name in names)
        )
        assert heard_service.parts.admitted == 1
        time.sleep(0.2)
    assert eventually(lambda: heard_service.parts.admitted == 0)
    assert eventually(lambda: not os.listdir(heard_service.parts.folder))
    monkeypatch.undo()
    answer = heard_service.ask(form(content, path=heard_service.path))
    assert answer.startswith(b"HTTP/1.1 200"), answer


def test_an_answer_that_is_not_read_is_given_up(fake, tmp_path):
    index = SongIndex.create(tmp_path / "large", FakeRetriever(fake.run.folder))
    with open(tmp_path / "large.wav", "wb") as file:
        file.truncate(64 << 20)
    index._store.put([Song("large", vector("sad"), path=str(tmp_path / "large.wav"), hash="x")])
    index._save()
    with running([tmp_path / "large"], tmp_path / "work", IMPATIENT) as service, service.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /api/large/songs/1/audio HTTP/1.1\r\nHost: localhost\r\n\r\n")
        under_way = service.parts.metrics.under_way._value
        assert eventually(lambda: under_way.get() == 1) and eventually(lambda: under_way.get() == 0)
        assert service.parts.metrics.requests.labels("GET", "/api/{name}/songs/{number}/audio", "499")._value.get() == 1
        assert service.alive()


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        ("0123456789abcdef\n", 0o600, None),
        ("0123456789abcdef", 0o640, None),
        ("0123456789abcdef", 0o644, "everybody"),
        ("0123456789abcdef", 0o602, "everybody"),
        ("short", 0o600, "at least 16"),
        ("", 0o600, "at least 16"),
        ("with a blank in the middle", 0o600, "one line"),
        ("two lines 01234\n56789", 0o600, "one line"),
        (b"\xff\xfe" * 20, 0o600, "cannot be read"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_tokens(tmp_path, content, mode, expected):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
    if expected is None:
        assert server.read_token(path) == "0123456789abcdef"
    else:
        with pytest.raises(ConfigError, match=expected):
            server.read_token(path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--host", "0.0.0.0"], "--token-file"),
        (["--port", "70000"], "--port 70000: must be from 0 to 65535"),
        (["--timeout", "nan"], "--timeout nan"),
        (["--queue", "0"], "--queue 0"),
        ([], "no such"),
        (["--token-file", "nothing-there"], "cannot be read"),
        (["--port", "TAKEN"], "cannot listen there"),
    ],
)
def test_mistakes_are_one_line(arguments, expected, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = [str(taken.getsockname()[1]) if word == "TAKEN" else word for word in ["--port", "0", *arguments]]
        assert serve.main([str(tmp_path / "nothing"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert expected in error and "\n" not in error


def test_two_of_one_name_and_runs_that_are_not_served(fake_index, fake, tmp_path, capsys):
    (tmp_path / "music").symlink_to(fake_index)
    assert serve.main([str(fake_index), str(tmp_path / "music"), "--port", "0"]) == 2
    assert "called music" in capsys.readouterr().err
    assert serve.main([str(ROOT / "tests/old_runs/experiment"), "--port", "0"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.slow
def test_a_real_process_finishes_what_runs_when_it_is_ended(tagger_run, clips, tmp_path):
    """SIGTERM while a file is being heard: its answer comes, nobody else is let in, nothing is left, exit code 143."""
    words = [sys.executable, "-m", "orpheus.serve", str(tagger_run), "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TF_NUM_INTRAOP_THREADS": "1"}
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)$", line.strip())[1])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            whole = form((clips / "clip3.flac").read_bytes(), path=f"/api/{tagger_run.name}/tags")
            connection.sendall(whole[:-10])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert eventually(lambda: refused(port))
            connection.sendall(whole[-10:])
            answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 200") and b'"tags"' in answer
        assert process.wait(60) == 143
    finally:
        process.kill()
    lines = (tmp_path / "log").read_text().splitlines()
    assert json.loads(lines[-2])["status"] == 200 and lines[-1].endswith("terminated"), lines
    assert [name for name in os.listdir(tmp_path) if name.startswith("orpheus-serve")] == []
