"""The songs of an index in one SQLite file: id, tags, where from, content hash and vector; every change is a transaction.

A song that changes gets a new number, and no number is given twice: what lies under a number never changes. So whatever
else is made of the vectors is brought up to date by comparing numbers.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter

from orpheus.base import files, schema, sqlite
from orpheus.errors import DataError
from orpheus.tasks.search import store_tables
from orpheus.tasks.search.store_tables import CURE

_AT_ONCE = 500  # values of one statement; SQLite takes 999 of them in its older versions
_NAMES = TypeAdapter(list[str])
_T = TypeVar("_T")
_COLUMNS = "id, vector, tags, source, path, hash, stat, number"


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
        artist: Or the group of a list of tracks; empty where nothing says it.
        title: Empty where nothing says it.
    """

    id: str
    vector: np.ndarray
    tags: tuple[str, ...] = ()
    source: str = ""
    path: str = ""
    hash: str = ""
    stat: str = ""
    number: int = 0
    artist: str = ""
    title: str = ""


@dataclass(frozen=True)
class Known:
    """What is known of a stored song without its vector and tags."""

    path: str
    hash: str
    stat: str


class SongStore:
    """The file. Any thread may read from it; those that write take turns (`orpheus.base.locks` holds off other processes).

    One of an older version is read as it is, and brought to this version by the first change.

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
            store_tables.make(self.path, about)
        # SQLite itself lets one thread after the other use a connection (its serialised mode, which Python builds have).
        self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            self.version = self.about().get("version", "")
        except sqlite.ERRORS as error:
            raise DataError(f"{self.path}: not an index of songs ({error})") from None
        if self.version not in store_tables.READ:
            raise DataError(
                f"{self.path}: version {self.version}, this orpheus reads {store_tables.VERSION}; index the songs again"
            )
        self.dimension = self._check()

    def close(self) -> None:
        """Close the file; what was put is kept."""
        self._db.close()

    def about(self) -> dict[str, str]:
        """What the store says of itself."""
        return dict(self.ask("SELECT key, value FROM about"))

    @property
    def revision(self) -> int:
        """Rises with every change of what can be searched: vectors, tags, names, listeners."""
        ((value,),) = self.ask("SELECT value FROM about WHERE key = 'revision'")
        return int(value)

    def __len__(self) -> int:
        return next(self.ask("SELECT COUNT(*) FROM songs"))[0]

    def put(self, songs: Iterable[Song]) -> None:
        """Add songs, or replace those with their ids: all of them or, where it fails, none."""
        rows = [
            (s.id, s.source, s.path, s.hash, s.stat, to_json(s.tags), to_bytes(s.vector), s.artist, s.title)
            for s in songs
        ]
        if rows:
            columns = "id, source, path, hash, stat, tags, vector, artist, title"
            with self.transaction() as db:
                db.executemany(f"INSERT OR REPLACE INTO songs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                self.revise()

    def remove(self, ids: Sequence[str]) -> None:
        """Take songs out; ids that are not there are ignored."""
        if not ids:
            return
        with self.transaction() as db:
            db.executemany("DELETE FROM songs WHERE id = ?", ((song,) for song in ids))
            self.revise()

    def touch(self, places: Mapping[str, Known]) -> None:
        """Note where songs are now whose content is the same."""
        if not places:
            return
        with self.transaction() as db:
            db.executemany(
                "UPDATE songs SET path = ?, stat = ? WHERE id = ?",
                ((k.path, k.stat, song) for song, k in places.items()),
            )

    def retag(self, tags: Mapping[str, Sequence[str]]) -> int:
        """Give songs other tags; returns how many had others before."""
        rows = [(to_json(names), song) for song, names in tags.items()]
        return self._change("UPDATE songs SET tags = ?1 WHERE id = ?2 AND tags != ?1", rows)

    def rename(self, names: Mapping[str, tuple[str, str]]) -> int:
        """Give songs other artists and titles, where they are not empty; returns how many had others before."""
        rows = [(artist, title, song) for song, (artist, title) in names.items()]
        return self._change(
            "UPDATE songs SET artist = coalesce(nullif(?1, ''), artist), title = coalesce(nullif(?2, ''), title) "
            "WHERE id = ?3 AND (?1 NOT IN ('', artist) OR ?2 NOT IN ('', title))",
            rows,
        )

    def _change(self, statement: str, rows: Sequence[tuple]) -> int:
        """Run a statement for each row; returns how many songs it changed."""
        if not rows:
            return 0
        with self.transaction() as db:
            before = db.total_changes
            db.executemany(statement, rows)
            if changed := db.total_changes - before:
                self.revise()
        return changed

    def known(self, source: str, folder: str | None = None) -> dict[str, Known]:
        """Id → what is known, of the songs of a source, and of those only below a folder if one is given."""
        where, values = "source = ?", [source]
        if folder is not None:
            below = folder.rstrip(os.sep) + os.sep
            where, values = f"{where} AND path >= ? AND path < ?", [source, below, below[:-1] + chr(ord(os.sep) + 1)]
        rows = self.ask(f"SELECT id, path, hash, stat FROM songs WHERE {where} ORDER BY number", values)
        return {song: Known(*rest) for song, *rest in rows}

    def vector_of_content(self, digest: str) -> np.ndarray | None:
        """The vector of any song with this content."""
        rows = self.ask("SELECT id, vector FROM songs WHERE hash = ? LIMIT 1", (digest,))
        return next((self.vector(*row) for row in rows), None)

    def find(self, id_or_path: str) -> Song | None:
        """The song with this id, or else the first whose audio is at this path."""
        for condition in ("id = ?", "path = ? AND hash != '' ORDER BY number LIMIT 1"):
            found = next(self._songs(f"WHERE {condition}", (id_or_path,)), None)
            if found is not None:
                return found
        return None

    def numbers(self) -> np.ndarray:
        """The numbers of all songs, int64, rising."""
        rows = self.ask("SELECT number FROM songs ORDER BY number")
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
            rows = self.ask(query, (int(numbers[0]), int(numbers[-1])))
            for place, (song, blob) in enumerate(rest for number, *rest in rows if number in wanted):
                result[place] = self.vector(song, blob)
        return result

    def places(self, ids: Sequence[str]) -> dict[str, tuple[int, np.ndarray]]:
        """Id → number and vector, of those of some ids that are there."""
        found = {}
        for part in _parts(list(ids)):
            marks = ", ".join("?" * len(part))
            for song, number, blob in self.ask(f"SELECT id, number, vector FROM songs WHERE id IN ({marks})", part):
                found[song] = number, self.vector(song, blob)
        return found

    def facets(self) -> Iterator[tuple[int, str, str]]:
        """Number, tags as JSON (see `names`) and artist of all songs, by number."""
        artist = "''" if self.version == "1" else "artist"
        for number, tags, name in self.ask(f"SELECT number, tags, {artist} FROM songs ORDER BY number"):
            yield number, tags, str(name)

    def ids(self, limit: int) -> list[str]:
        """The first ids by number."""
        return [row[0] for row in self.ask("SELECT id FROM songs ORDER BY number LIMIT ?", (limit,))]

    def tag_counts(self) -> dict[str, int]:
        """Tag → songs that have it."""
        rows = self.ask("SELECT value, COUNT(*) FROM songs, json_each(songs.tags) GROUP BY value ORDER BY value")
        return dict(rows)

    def unusable(self) -> dict[str, tuple[str, str]]:
        """Path → (state, reason) of audio that could not be used."""
        if not list(self.ask("SELECT 1 FROM sqlite_master WHERE name = 'unusable'")):
            return {}
        return {str(path): (str(state), str(why)) for path, state, why in self.ask("SELECT * FROM unusable")}

    def put_unusable(self, found: Mapping[str, tuple[str, str] | None]) -> None:
        """Remember audio that could not be used, as `unusable` gives it, and forget what None is given for."""
        if not found:
            return
        with self.transaction() as db:
            # Indexes that are older than this table get it when there is something to go into it.
            db.execute(
                "CREATE TABLE IF NOT EXISTS unusable (path TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL)"
            )
            db.executemany("DELETE FROM unusable WHERE path = ?", ((path,) for path in found))
            rows = ((path, *known) for path, known in found.items() if known)
            db.executemany("INSERT INTO unusable VALUES (?, ?, ?)", rows)

    def put_tags(self, names: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors of tags."""
        rows = [(name, to_bytes(row)) for name, row in zip(names, vectors, strict=True)]
        if rows:
            with self.transaction() as db:
                db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?)", rows)
                self.revise()

    def tag_vectors(self) -> dict[str, np.ndarray]:
        """Tag → its vector, in the order of their names."""
        rows = self.ask("SELECT name, vector FROM tags ORDER BY name")
        return {name: self.vector(name, blob) for name, blob in rows}

    def _songs(self, where: str, values: Sequence) -> Iterator[Song]:
        names = "'', ''" if self.version == "1" else "artist, title"
        for song, blob, tags, *rest in self.ask(f"SELECT {_COLUMNS}, {names} FROM songs {where}", values):
            found = Song(song, self.vector(song, blob), self.names(song, tags), *rest)
            if not all(isinstance(text, str) for text in (found.path, found.artist, found.title)):
                raise DataError(f"{self.path}: path, artist or title of {song!r} is no text; {CURE}")
            yield found

    def ask(self, statement: str, values: Sequence = ()) -> Iterator[tuple]:
        """Rows of a SELECT; none where a value is text that is no Unicode, as a name of a file may be.

        Raises:
            DataError: the file is damaged.
        """
        try:
            # `yield from` would close the cursor in the end, whose file may be closed by then.
            for row in self._db.execute(statement, values):  # noqa: UP028
                yield row
        except UnicodeEncodeError:
            return  # under what is no Unicode nothing can be stored
        except sqlite.ERRORS as error:
            raise DataError(f"{self.path}: not an index of songs, or damaged ({error}); {CURE}") from None

    def _check(self) -> int:
        """Refuse a file whose tables or description are not those of an index; returns the dimension of its vectors."""
        for table, columns in store_tables.expected(self.version).items():
            kinds = [kind for (kind,) in self.ask("SELECT type FROM sqlite_master WHERE name = ?", (table,))]
            found = {row[1]: (row[2], row[5]) for row in self.ask(f"PRAGMA table_info({table})")}
            if kinds != ["table"] or any(found.get(name) != kind for name, kind in columns.items()):
                raise DataError(f"{self.path}: its table {table} is not an index's; {CURE}")
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
        if wrong or not 0 < int(about["dimension"]) <= store_tables.LARGEST:
            key = wrong[0] if wrong else "dimension"
            raise DataError(f"{self.path}: says {key}={about.get(key)!r} of itself; {CURE}")
        self.names("training_tags", about.get("training_tags"))
        return int(about["dimension"])

    def vector(self, name: str, blob: object) -> np.ndarray:
        """The vector of a row.

        Raises:
            DataError: it has another length, or a number of it is not finite.
        """
        if not isinstance(name, str) or not isinstance(blob, bytes) or len(blob) != 4 * self.dimension:
            size = len(blob) if isinstance(blob, bytes) else repr(blob)
            raise DataError(f"{self.path}: {name!r} has a vector of {size} bytes, not {4 * self.dimension}; {CURE}")
        vector = np.frombuffer(blob, "<f4").astype(np.float32, copy=False)
        if not np.isfinite(vector).all():
            raise DataError(f"{self.path}: a number of the vector of {name!r} is not finite; {CURE}")
        return vector

    def names(self, name: str, text: object, *, what: str = "tags") -> tuple[str, ...]:
        """The tags, or what else is a list, of a row.

        Raises:
            DataError: they are no list of text.
        """
        source = f"{self.path}: {what} of {name!r}"
        if not isinstance(text, str):
            raise DataError(f"{source} are {text!r}; {CURE}")
        names: list[str] = schema.check(_NAMES, files.parse_json(text, source), source)
        return tuple(names)

    def revise(self) -> None:
        """Raise the revision, within a transaction."""
        self._db.execute("UPDATE about SET value = value + 1 WHERE key = 'revision'")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, also when the process is killed in between; a file of an older version is brought to this one."""
        try:
            with sqlite.writing(self.path):
                self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise DataError(f"{self.path}: cannot be written ({error}); is another process indexing?") from None
        try:
            with sqlite.writing(self.path):
                if self.version != str(store_tables.VERSION):
                    store_tables.upgrade(self._db)
                yield self._db
                self._db.execute("COMMIT")
        except sqlite.ERRORS as error:
            self._roll_back()
            raise DataError(f"{self.path}: cannot be changed ({error}); {CURE}") from None
        except BaseException:
            self._roll_back()
            raise
        self.version = str(store_tables.VERSION)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def is_store(path: Path) -> bool:
    """Whether there is such a file. One of 0 bytes is what a killed process of an older version left of its first step."""
    return path.is_file() and path.stat().st_size > 0


def to_json(names: Sequence[str]) -> str:
    """Tags or ids as a column holds them."""
    return json.dumps(list(names), ensure_ascii=False)


def to_bytes(vector: np.ndarray) -> bytes:
    """A vector as a column holds it."""
    return np.ascontiguousarray(vector, "<f4").tobytes()


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
