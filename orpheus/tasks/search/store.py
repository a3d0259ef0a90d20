"""The songs of an index in one SQLite file: id, tags, where from, content hash and vector; every change is a transaction.

A song that changes gets a new number, and no number is given twice: what lies under a number never changes. So whatever
else is made of the vectors is brought up to date by comparing numbers.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from orpheus.base import files, schema, sqlite
from orpheus.errors import DataError

VERSION = 1
_AT_ONCE = 500  # values of one statement; SQLite takes 999 of them in its older versions
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE songs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, path TEXT NOT NULL,
    hash TEXT NOT NULL, stat TEXT NOT NULL, tags TEXT NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX of_source ON songs (source, path);
CREATE INDEX of_hash ON songs (hash);
CREATE INDEX of_path ON songs (path);
CREATE TABLE tags (name TEXT PRIMARY KEY, vector BLOB NOT NULL);
"""


_TABLES = {  # column → type and whether it is the key, as SQLite has them
    "about": {"key": ("TEXT", 1), "value": ("TEXT", 0)},
    "songs": {
        "number": ("INTEGER", 1),
        "vector": ("BLOB", 0),
        **dict.fromkeys(("id", "source", "path", "hash", "stat", "tags"), ("TEXT", 0)),
    },
    "tags": {"name": ("TEXT", 1), "vector": ("BLOB", 0)},
}
_LARGEST = 1 << 16  # dimensions
_NAMES = TypeAdapter(list[str])
_CURE = "index the songs again into a new folder"


@dataclass(frozen=True)
class Song:
    """One song.

    Attributes:
        id: Unique in the index.
        vector: (d,) float32.
        tags: In the order of their source.
        source: What it was added from: a list, a folder of records, a table; empty for audio files as such.
        path: Of its audio, or of the shard that holds it; empty where there is none.
        hash: Of its content.
        stat: Size and time of the file at `path`, to see without reading that it has not changed.
        number: Under which its vector is searched; given by the store.
    """

    id: str
    vector: np.ndarray
    tags: tuple[str, ...] = ()
    source: str = ""
    path: str = ""
    hash: str = ""
    stat: str = ""
    number: int = 0


@dataclass(frozen=True)
class Known:
    """What is known of a stored song without its vector and tags."""

    path: str
    hash: str
    stat: str


class SongStore:
    """The file.

    Args:
        path: Where it is, or is made.
        about: What a new one keeps about itself; None to open one that exists.

    Raises:
        DataError: missing, not of this kind, or of another version.
    """

    def __init__(self, path: str | os.PathLike, *, about: Mapping[str, str] | None = None):
        self.path = Path(path)
        if not is_store(self.path):
            if about is None:
                raise DataError(f"{self.path}: no such file; make an index with python -m orpheus.retrieve index")
            _make(self.path, about)
        self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            version = self.about().get("version")
        except sqlite.ERRORS as error:
            raise DataError(f"{self.path}: not an index of songs ({error})") from None
        if version != str(VERSION):
            raise DataError(f"{self.path}: version {version}, this orpheus reads {VERSION}; index the songs again")
        self.dimension = self._check()

    def close(self) -> None:
        """Close the file; what was put is kept."""
        self._db.close()

    def about(self) -> dict[str, str]:
        """What the store says of itself."""
        return dict(self._ask("SELECT key, value FROM about"))

    @property
    def revision(self) -> int:
        """Rises with every change of vectors."""
        ((value,),) = self._ask("SELECT value FROM about WHERE key = 'revision'")
        return int(value)

    def __len__(self) -> int:
        return next(self._ask("SELECT COUNT(*) FROM songs"))[0]

    def put(self, songs: Iterable[Song]) -> None:
        """Add songs, or replace those with their ids: all of them or, where it fails, none."""
        rows = [
            (s.id, s.source, s.path, s.hash, s.stat, json.dumps(s.tags, ensure_ascii=False), _bytes(s.vector))
            for s in songs
        ]
        if rows:
            columns = "id, source, path, hash, stat, tags, vector"
            with self._transaction():
                self._db.executemany(f"INSERT OR REPLACE INTO songs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                self._revise()

    def remove(self, ids: Sequence[str]) -> None:
        """Take songs out; ids that are not there are ignored."""
        if not ids:
            return
        with self._transaction():
            self._db.executemany("DELETE FROM songs WHERE id = ?", ((song,) for song in ids))
            self._revise()

    def touch(self, places: Mapping[str, Known]) -> None:
        """Note where songs are now whose content is the same."""
        if not places:
            return
        with self._transaction():
            self._db.executemany(
                "UPDATE songs SET path = ?, stat = ? WHERE id = ?",
                ((k.path, k.stat, song) for song, k in places.items()),
            )

    def retag(self, tags: Mapping[str, Sequence[str]]) -> int:
        """Give songs other tags; returns how many had others before."""
        with self._transaction():
            before = self._db.total_changes
            self._db.executemany(
                "UPDATE songs SET tags = ?1 WHERE id = ?2 AND tags != ?1",
                ((json.dumps(list(names), ensure_ascii=False), song) for song, names in tags.items()),
            )
            return self._db.total_changes - before

    def known(self, source: str, folder: str | None = None) -> dict[str, Known]:
        """Id → what is known, of the songs of a source, and of those only below a folder if one is given."""
        where, values = "source = ?", [source]
        if folder is not None:
            below = folder.rstrip(os.sep) + os.sep
            where, values = f"{where} AND path >= ? AND path < ?", [source, below, below[:-1] + chr(ord(os.sep) + 1)]
        rows = self._ask(f"SELECT id, path, hash, stat FROM songs WHERE {where} ORDER BY number", values)
        return {song: Known(*rest) for song, *rest in rows}

    def vector_of_content(self, digest: str) -> np.ndarray | None:
        """The vector of any song with this content."""
        rows = self._ask("SELECT id, vector FROM songs WHERE hash = ? LIMIT 1", (digest,))
        return next((self._vector(*row) for row in rows), None)

    def find(self, id_or_path: str) -> Song | None:
        """The song with this id, or else the first whose audio is at this path."""
        for condition in ("id = ?", "path = ? AND hash != '' ORDER BY number LIMIT 1"):
            found = next(self._songs(f"WHERE {condition}", (id_or_path,)), None)
            if found is not None:
                return found
        return None

    def numbers(self) -> np.ndarray:
        """The numbers of all songs, int64, rising."""
        rows = self._ask("SELECT number FROM songs ORDER BY number")
        return np.fromiter((row[0] for row in rows), np.int64)

    def songs(self, numbers: Sequence[int]) -> list[Song]:
        """Songs by number, in that order; numbers that are gone are left out."""
        found = {}
        for part in _parts([int(number) for number in numbers]):
            marks = ", ".join("?" * len(part))
            found.update({song.number: song for song in self._songs(f"WHERE number IN ({marks})", part)})
        return [found[number] for number in map(int, numbers) if number in found]

    def vectors(self, numbers: np.ndarray, dimension: int) -> np.ndarray:
        """(len(numbers), dimension) float32 of rising numbers, all of which are there."""
        result = np.empty((len(numbers), dimension), np.float32)
        if len(numbers):
            wanted = set(numbers.tolist())
            query = "SELECT number, id, vector FROM songs WHERE number BETWEEN ? AND ? ORDER BY number"
            rows = self._ask(query, (int(numbers[0]), int(numbers[-1])))
            for place, (song, blob) in enumerate(rest for number, *rest in rows if number in wanted):
                result[place] = self._vector(song, blob)
        return result

    def ids(self, limit: int) -> list[str]:
        """The first ids by number."""
        return [row[0] for row in self._ask("SELECT id FROM songs ORDER BY number LIMIT ?", (limit,))]

    def tag_counts(self) -> dict[str, int]:
        """Tag → songs that have it."""
        rows = self._ask("SELECT value, COUNT(*) FROM songs, json_each(songs.tags) GROUP BY value ORDER BY value")
        return dict(rows)

    def unusable(self) -> dict[str, tuple[str, str]]:
        """Path → (state, reason) of audio that could not be used."""
        if not list(self._ask("SELECT 1 FROM sqlite_master WHERE name = 'unusable'")):
            return {}
        return {str(path): (str(state), str(why)) for path, state, why in self._ask("SELECT * FROM unusable")}

    def put_unusable(self, found: Mapping[str, tuple[str, str] | None]) -> None:
        """Remember audio that could not be used, as `unusable` gives it, and forget what None is given for."""
        if not found:
            return
        with self._transaction():
            # Indexes that are older than this table get it when there is something to go into it.
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS unusable (path TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL)"
            )
            self._db.executemany("DELETE FROM unusable WHERE path = ?", ((path,) for path in found))
            rows = ((path, *known) for path, known in found.items() if known)
            self._db.executemany("INSERT INTO unusable VALUES (?, ?, ?)", rows)

    def put_tags(self, names: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors of tags."""
        with self._transaction():
            rows = ((name, _bytes(row)) for name, row in zip(names, vectors, strict=True))
            self._db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?)", rows)

    def tag_vectors(self) -> dict[str, np.ndarray]:
        """Tag → its vector, in the order of their names."""
        rows = self._ask("SELECT name, vector FROM tags ORDER BY name")
        return {name: self._vector(name, blob) for name, blob in rows}

    def _songs(self, where: str, values: Sequence) -> Iterator[Song]:
        columns = "id, vector, tags, source, path, hash, stat, number"
        for song, blob, tags, *rest in self._ask(f"SELECT {columns} FROM songs {where}", values):
            yield Song(song, self._vector(song, blob), self._tags(song, tags), *rest)

    def _ask(self, statement: str, values: Sequence = ()) -> Iterator[tuple]:
        """Rows of a SELECT.

        Raises:
            DataError: the file is damaged.
        """
        try:
            # `yield from` would close the cursor in the end, whose file may be closed by then.
            for row in self._db.execute(statement, values):  # noqa: UP028
                yield row
        except sqlite.ERRORS as error:
            raise DataError(f"{self.path}: not an index of songs, or damaged ({error}); {_CURE}") from None

    def _check(self) -> int:
        """Refuse a file whose tables or description are not those of an index; returns the dimension of its vectors."""
        for table, columns in _TABLES.items():
            kinds = [kind for (kind,) in self._ask("SELECT type FROM sqlite_master WHERE name = ?", (table,))]
            found = {row[1]: (row[2], row[5]) for row in self._ask(f"PRAGMA table_info({table})")}
            if kinds != ["table"] or any(found.get(name) != kind for name, kind in columns.items()):
                raise DataError(f"{self.path}: its table {table} is not an index's; {_CURE}")
        about = self.about()
        wrong = [key for key in ("run", "identity", "input_type") if not isinstance(about.get(key), str)]
        for key in ("revision", "dimension"):
            if not (
                isinstance(about.get(key), str)
                and about[key].isascii()
                and about[key].isdigit()
                and len(about[key]) < 19
            ):
                wrong.append(key)
        if wrong or not 0 < int(about["dimension"]) <= _LARGEST:
            key = wrong[0] if wrong else "dimension"
            raise DataError(f"{self.path}: says {key}={about.get(key)!r} of itself; {_CURE}")
        self._tags("training_tags", about.get("training_tags"))
        return int(about["dimension"])

    def _vector(self, name: str, blob: object) -> np.ndarray:
        """The vector of a row.

        Raises:
            DataError: it has another length, or a number of it is not finite.
        """
        if not isinstance(name, str) or not isinstance(blob, bytes) or len(blob) != 4 * self.dimension:
            size = len(blob) if isinstance(blob, bytes) else repr(blob)
            raise DataError(f"{self.path}: {name!r} has a vector of {size} bytes, not {4 * self.dimension}; {_CURE}")
        vector = np.frombuffer(blob, "<f4").astype(np.float32, copy=False)
        if not np.isfinite(vector).all():
            raise DataError(f"{self.path}: a number of the vector of {name!r} is not finite; {_CURE}")
        return vector

    def _tags(self, name: str, text: object) -> tuple[str, ...]:
        """The tags of a row.

        Raises:
            DataError: they are no list of text.
        """
        source = f"{self.path}: tags of {name!r}"
        if not isinstance(text, str):
            raise DataError(f"{source} are {text!r}; {_CURE}")
        names: list[str] = schema.check(_NAMES, files.parse_json(text, source), source)
        return tuple(names)

    def _revise(self) -> None:
        self._db.execute("UPDATE about SET value = value + 1 WHERE key = 'revision'")

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db, self.path)


def is_store(path: Path) -> bool:
    """Whether there is such a file. One of 0 bytes is what a killed process of an older version left of its first step."""
    return path.is_file() and path.stat().st_size > 0


def _make(path: Path, about: Mapping[str, str]) -> None:
    """A store without songs, which appears when it is whole."""
    with files.whole(path) as temporary:
        db = sqlite3.connect(temporary, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = MEMORY")  # a journal of its own would outlive a kill
            db.executescript("BEGIN;" + _SCHEMA)
            values = {"version": str(VERSION), "revision": "0", **about}
            db.executemany("INSERT INTO about VALUES (?, ?)", values.items())
            db.execute("COMMIT")
        finally:
            db.close()


class _Transaction:
    """All or nothing, also when the process is killed in between."""

    def __init__(self, db: sqlite3.Connection, path: Path):
        self._db, self._path = db, path

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise DataError(f"{self._path}: cannot be written ({error}); is another process indexing?") from None

    def __exit__(self, kind: type | None, error: object, _: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")
        if kind is not None and issubclass(kind, sqlite.ERRORS):
            raise DataError(f"{self._path}: cannot be changed ({error}); {_CURE}") from None


def _bytes(vector: np.ndarray) -> bytes:
    return np.ascontiguousarray(vector, "<f4").tobytes()


def _parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
