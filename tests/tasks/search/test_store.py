"""orpheus.tasks.search.store: a songs.db that is damaged or foreign is one line, and no vector of it is believed unseen."""

import concurrent.futures
import sqlite3

import numpy as np
import pytest

from orpheus.errors import DataError
from orpheus.tasks.search.listeners import Listener, Listeners
from orpheus.tasks.search.store import Song, SongStore

ABOUT = {"run": "/r", "identity": "abc", "input_type": "audio", "dimension": "4", "training_tags": '["rock"]'}


@pytest.fixture
def path(tmp_path):
    store = SongStore(tmp_path / "songs.db", about=ABOUT)
    store.put(
        [Song(f"s{n}", np.full(4, n, np.float32), ("rock", "été"), path=f"/m/{n}.mp3", hash=str(n)) for n in range(3)]
    )
    store.put_tags(["rock"], np.ones((1, 4), np.float32))
    Listeners(store).put([Listener("u", ("s1", "s0")), Listener("v", (), np.ones(4, np.float32))])
    store.close()
    return tmp_path / "songs.db"


def change(path, script):
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def everything(path):
    store = SongStore(path)
    numbers = store.numbers()
    found = store.songs(numbers), store.vectors(numbers, 4), store.tag_counts(), store.tag_vectors(), store.known("")
    Listeners(store).get("u"), Listeners(store).get("v")
    return *found, store.find("s1"), store.vector_of_content("1"), store.ids(2), store.revision, len(store)


def test_a_good_store_is_read(path):
    songs, vectors, counts, tags, known, found, vector, ids, revision, size = everything(path)
    assert [song.id for song in songs] == list(known) == ["s0", "s1", "s2"] and ids == ["s0", "s1"] and size == 3
    np.testing.assert_array_equal(vectors[:, 0], [0, 1, 2])
    assert counts == {"rock": 3, "été": 3} and list(tags) == ["rock"] and found.tags == ("rock", "été")
    assert vector.tolist() == [1, 1, 1, 1] and revision == 3


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("UPDATE songs SET vector = x'00' WHERE id = 's1'", "'s1' has a vector of 1 bytes, not 16"),
        ("UPDATE songs SET vector = x'0000c07f0000c07f0000c07f0000c07f'", "of the vector of 's0' is not finite"),
        ("UPDATE songs SET tags = 'rock'", "tags of 's0'.*: not JSON"),
        ("UPDATE songs SET tags = '[1]'", "tags of 's0': '0' is 1; it should be a valid string"),
        ("UPDATE songs SET id = CAST(x'ff' AS TEXT) WHERE id = 's1'", "not an index of songs, or damaged"),
        ("UPDATE about SET value = 'many' WHERE key = 'dimension'", "says dimension='many' of itself"),
        ("UPDATE about SET value = '99999999' WHERE key = 'dimension'", "says dimension='99999999' of itself"),
        ("DELETE FROM about WHERE key = 'run'", "says run=None of itself"),
        ("UPDATE about SET value = '-1' WHERE key = 'revision'", "says revision='-1'"),
        (
            "UPDATE about SET value = '{}' WHERE key = 'training_tags'",
            "tags of 'training_tags': it holds something else",
        ),
        ("UPDATE listeners SET vector = x'00' WHERE id = 'v'", "'v' has a vector of 1 bytes"),
        ("UPDATE listeners SET heard = '{}' WHERE id = 'u'", "songs of listener of 'u'"),
        ("UPDATE songs SET artist = x'ff'", "path, artist or title of 's0' is no text"),
        ("DROP TABLE listeners", "its table listeners is not an index's"),
        ("DROP TABLE tags", "its table tags is not an index's"),
        ("ALTER TABLE songs RENAME COLUMN hash TO other", "its table songs is not an index's"),
        (
            "DROP TABLE tags; CREATE VIEW tags AS SELECT 'a' AS name, x'00' AS vector",
            "its table tags is not an index's",
        ),
    ],
)
def test_what_is_wrong_is_named(path, script, message):
    change(path, script)
    with pytest.raises(DataError, match=message):
        everything(path)


OLD = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE songs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, path TEXT NOT NULL,
    hash TEXT NOT NULL, stat TEXT NOT NULL, tags TEXT NOT NULL, vector BLOB NOT NULL
);
CREATE TABLE tags (name TEXT PRIMARY KEY, vector BLOB NOT NULL);
INSERT INTO about VALUES ('version', '1'), ('revision', '7'), ('run', '/r'), ('identity', 'abc'), ('input_type', 'spec'),
    ('dimension', '1'), ('training_tags', '["rock"]');
INSERT INTO songs VALUES (5, 'a', '', '/m/a.mp3', 'h', '', '["rock"]', x'0000803f');
"""


def test_a_file_of_version_1_is_read_as_it_is_and_brought_up_by_the_first_change(tmp_path):
    path = tmp_path / "songs.db"
    change(path, OLD)
    old, other = SongStore(path), SongStore(path)
    assert old.version == "1" and old.find("a").artist == "" and len(Listeners(old)) == 0
    assert [*old.facets()] == [(5, '["rock"]', "")] and Listeners(old).beginning("", 9) == []
    with pytest.raises(DataError, match="no listener 'u', for it has none"):
        Listeners(old).get("u")
    assert old.rename({"a": ("Ann", "One")}) == 1 and old.version == "2" and old.revision == 8
    assert other.version == "1" and other.find("a").artist == ""  # opened before
    Listeners(other).put([Listener("u", ("a",))])
    assert (other.find("a").artist, Listeners(old).get("u").heard) == ("Ann", ("a",))
    assert SongStore(path).find("a").title == "One"


def test_names_are_not_lost_to_empty_ones(path):
    store = SongStore(path)
    assert store.rename({"s0": ("Ann", "One"), "s1": ("", "")}) == 1
    assert store.rename({"s0": ("Bob", "")}) == 1 and store.rename({"s0": ("Bob", "One")}) == 0
    assert (store.find("s0").artist, store.find("s0").title) == ("Bob", "One")


def test_any_thread_reads(path):
    store = SongStore(path)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: store.find(f"s{n % 3}").id, range(200)))
    assert found == [f"s{n % 3}" for n in range(200)]


def test_a_change_that_fails_leaves_nothing(path):
    store = SongStore(path)
    with pytest.raises(KeyboardInterrupt), store.transaction() as db:
        db.execute("DELETE FROM songs")
        raise KeyboardInterrupt
    assert len(store) == 3
    with pytest.raises(DataError, match="cannot be changed"), store.transaction() as db:
        db.execute("DELETE FROM songs")
        db.execute("DELETE FROM nothing")
    assert len(store) == 3


def test_damage_is_one_line_or_harmless(path):
    content, draw = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        spoilt = bytearray(content)
        for place in draw.integers(0, len(content), 8):
            spoilt[place] = draw.integers(256)
        path.write_bytes(spoilt)
        try:
            everything(path)
        except DataError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 20  # most bytes of the pages are free
