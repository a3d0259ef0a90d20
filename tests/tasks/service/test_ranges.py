"""Audio of a song by ranges of bytes (RFC 9110): what a player asks for, and what may not be asked for."""

import asyncio
import os

import pytest
from starlette.requests import Request

from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.search.store import Song
from orpheus.tasks.service import ranges
from tests.retriever import FakeRetriever, vector
from tests.tasks.service.conftest import client_of

AUDIO = "/api/music/songs/1/audio"


@pytest.fixture
def content(fake_index):
    return (fake_index.parent / "a.flac").read_bytes()


def test_all_of_a_file(client, content):
    answer = client.get(AUDIO)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "audio/flac" and answer.headers["accept-ranges"] == "bytes"
    head = client.head(AUDIO)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))
    again = client.get(AUDIO, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-999999999", 5, None),
    ],
)
def test_a_range_is_those_bytes(client, content, asked, start, end):
    answer = client.get(AUDIO, headers={"range": asked})
    expected = content[start:end]
    assert (answer.status_code, answer.content) == (206, expected) and 0 < len(expected) < len(content)
    first = start % len(content)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(content)}"
    assert client.head(AUDIO, headers={"range": asked}).headers["content-length"] == str(len(expected))


@pytest.mark.parametrize(
    "asked", ["bytes=-", "bytes=a-b", "pages=1-2", "bytes=9-3", "bytes=0-1,5-9", "bytes=" + 400 * "9" + "-", "x"]
)
def test_what_is_no_range_is_ignored(client, content, asked):
    answer = client.get(AUDIO, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, content)


def test_nothing_of_the_file_is_in_the_range(client, content):
    for asked in (f"bytes={len(content)}-", "bytes=999999999-", "bytes=-0"):
        answer = client.get(AUDIO, headers={"range": asked})
        assert (answer.status_code, answer.json()["error"]["code"]) == (416, "no_such_range")
        assert answer.headers["content-range"] == f"bytes */{len(content)}"


def test_a_range_of_another_state_of_the_file_is_all_of_it(client, content):
    tag = client.head(AUDIO).headers["etag"]
    for known, status in ((tag, 206), ('"other"', 200), ("Mon, 01 Jan 2001 00:00:00 GMT", 200)):
        answer = client.get(AUDIO, headers={"range": "bytes=0-3", "if-range": known})
        assert (answer.status_code, len(answer.content)) == (status, 4 if status == 206 else len(content))


@pytest.mark.parametrize(
    "path", ["x/audio", "1/audio/../../../etc/passwd", "..%2f..%2fetc%2fpasswd/audio", "-1/audio", "1%00/audio"]
)
def test_paths_are_no_way_to_other_files(client, path):
    answer = client.get(f"/api/music/songs/{path}")
    assert answer.status_code in (404, 422) and "root:" not in answer.text


@pytest.mark.parametrize(
    "path", ["../pyproject.toml", "..%2f..%2fapp.py", "%2e%2e/%2e%2e/app.py", "/etc/passwd", "", "index.html/.."]
)
def test_pages_are_those_of_the_package(client, path):
    answer = client.get(f"/static/{path}")
    assert answer.status_code == 404 and "error" in answer.json()


def test_pages_come_with_their_types(client):
    for path, kind in (
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/static/docs.js", "text/javascript"),
        ("/static/style.css", "text/css"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind) and answer.content


@pytest.mark.parametrize("gone", [False, True])
def test_a_file_is_closed_also_for_a_client_that_has_gone(tmp_path, monkeypatch, gone):
    """A player that seeks breaks off one request after the other."""
    (tmp_path / "a.wav").write_bytes(b"x" * 1000)
    opened, sent, open_file = [], [], os.open
    monkeypatch.setattr(os, "open", lambda *given: opened.append(open_file(*given)) or opened[-1])

    async def receive():
        if not gone:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0)  # as the gate's does, which waits with a limit
        sent.append(message)

    async def ask():
        scope = {"type": "http", "method": "GET", "headers": [], "path": "/"}
        response = await ranges.file_response(tmp_path / "a.wav", Request(scope, receive))
        assert os.fstat(opened[0]).st_size == 1000
        await response(scope, receive, send)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(opened[0])

    asyncio.run(ask())
    assert bool(b"".join(message.get("body", b"") for message in sent)) != gone


def test_only_audio_files_of_the_index_that_are_there(fake, tmp_path):
    """A song of records, a file that is gone or no file, and an index that says that a secret is a song."""
    index = SongIndex.create(tmp_path / "odd", FakeRetriever(fake.run.folder))
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    paths = ["", "shard-0.tfrecord", "gone.wav", "folder.wav", "pipe.wav", "/etc/passwd", "a\0b.wav"]
    index._store.put(
        Song(str(place), vector("sad"), path=os.path.join(tmp_path, name) if name else "", hash="x")
        for place, name in enumerate(paths)
    )
    index._save()
    with client_of([tmp_path / "odd"], tmp_path / "work") as client:
        hits = client.get("/api/odd/search?q=sad").json()["hits"]
        assert {hit["id"]: hit["audio"] is not None for hit in hits} == dict(
            zip("0123456", [False, False, True, True, True, False, True], strict=True)
        )
        for hit in hits:
            answer = client.get(f"/api/odd/songs/{hit['number']}/audio")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), hit
