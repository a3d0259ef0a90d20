"""Tag databases in the Million Song Dataset's Last.fm schema: reading, counting, writing and cleaning.

The schema (http://millionsongdataset.com/lastfm/) has three tables: ``tids(tid)``, ``tags(tag)`` and
``tid_tag(tid, tag, val)``. The first two columns of the last hold ROWIDs of the others, the third a weight, 0 to 100.
"""

import contextlib
import logging
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from orpheus.base import files, sqlite
from orpheus.data.tags.spelling import spelling_key
from orpheus.errors import DataError

log = logging.getLogger(__name__)

_COLUMNS = {"tids": ("tid",), "tags": ("tag",), "tid_tag": ("tid", "tag", "val")}


class TagSource(Protocol):
    """What a `TagDatabase` and a `files.TagFile` both offer."""

    path: Path

    def popularity(self, *, min_val: float = 0) -> list[tuple[str, int]]:
        """Tags and their number of tracks, most frequent first, ties in the tags' order."""

    def tags_of_all(self, ids: Iterable[str] | None = None, *, min_val: float = 0) -> dict[str, list[str]]:
        """Tags of each of `ids` (of every track by default), heaviest first; an unknown id has an empty list."""

    def track_count(self) -> int:
        """Number of tracks with at least one tag."""

    def tag_weights(self, track_id: str, *, min_val: float = 0) -> list[tuple[str, float]]:
        """(tag, weight) of one track, heaviest first; empty for an unknown one."""

    def track_weights(self, tag: str, *, min_val: float = 0) -> list[tuple[str, float]]:
        """(track id, weight) of the tracks with this tag, heaviest first."""

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """Every (track id, tag, weight), the rows of one track together."""


class TagDatabase:
    """A tag database on disk, opened read-only for each query, so that it can be handed to other processes.

    Args:
        path: SQLite file with the tables ``tids``, ``tags`` and ``tid_tag``.

    Raises:
        DataError: the file is missing, is no SQLite database, lacks a table or column, or holds no tag at all.

    Tags keep their case and Unicode; track ids are text. A name that is not UTF-8 keeps its bytes as escapes (``caf\\xe9``),
    and a warning names its row. A statement has a time limit (`orpheus.base.sqlite.SECONDS`).
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._told: set[str] = set()
        if not self.path.is_file():
            raise DataError(
                f"{path}: no such tag database (expected an SQLite file with the tables tids, tags, tid_tag)"
            )
        present = {name for (name,) in self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        if missing := [name for name in _COLUMNS if name not in present]:
            raise DataError(
                f"{path}: lacks table {', '.join(missing)}; a Last.fm tag database has tids(tid), tags(tag) and "
                f"tid_tag(tid, tag, val)"
            )
        for table, columns in _COLUMNS.items():
            found = {row[1] for row in self._query(f"PRAGMA table_info({table})")}
            if lacking := [column for column in columns if column not in found]:
                raise DataError(f"{path}: table {table} lacks column {', '.join(lacking)}; it has {sorted(found)}")
        if not next(self._query("SELECT EXISTS (SELECT 1 FROM tid_tag)"))[0]:
            raise DataError(f"{path}: holds no tags (table tid_tag is empty); give a database with tagged tracks")

    def __repr__(self) -> str:
        return f"TagDatabase({str(self.path)!r})"

    def popularity(self, *, min_val: float = 0) -> list[tuple[str, int]]:
        """Tags and the number of distinct tracks that have them with at least `min_val`.

        Returns:
            (tag, tracks), most tracks first, ties by tag in code-point order. Tags without tracks are left out.
        """
        counts = self._query(
            "SELECT tags.tag, COUNT(DISTINCT tid_tag.tid) FROM tid_tag LEFT JOIN tags ON tags.rowid = tid_tag.tag "
            "WHERE tid_tag.val >= ? GROUP BY tags.tag",
            min_val,
        )
        return sorted((self._known(row, "tags") for row in counts), key=lambda row: (-row[1], row[0]))

    def by_row(self) -> list[str]:
        """Every tag, in the order of the rows of table tags: what the positions of one-hot records count."""
        return [tag for (tag,) in self._query("SELECT tag FROM tags ORDER BY rowid")]

    def track_count(self) -> int:
        """Number of distinct tracks with at least one tag."""
        return next(self._query("SELECT COUNT(DISTINCT tid) FROM tid_tag WHERE val >= 0"))[0]

    def tag_weights(self, track_id: str, *, min_val: float = 0) -> list[tuple[str, float]]:
        """(tag, val) of one track, heaviest first, then by tag; empty for an unknown track."""
        found = self._query(
            "SELECT tags.tag, MAX(tid_tag.val) FROM tids JOIN tid_tag ON tid_tag.tid = tids.rowid "
            "LEFT JOIN tags ON tags.rowid = tid_tag.tag WHERE tids.tid = ? AND tid_tag.val >= ? GROUP BY tags.tag",
            track_id,
            min_val,
        )
        return sorted((self._known(row, "tags") for row in found), key=lambda row: (-row[1], row[0]))

    def tags_of(self, track_id: str, *, min_val: float = 0) -> list[str]:
        """Tags of one track with a weight of at least `min_val`, heaviest first, then by tag."""
        return [tag for tag, _ in self.tag_weights(track_id, min_val=min_val)]

    def track_weights(self, tag: str, *, min_val: float = 0) -> list[tuple[str, float]]:
        """(track id, val) of the tracks that have exactly this tag, heaviest first, then by id."""
        found = self._query(
            "SELECT tids.tid, MAX(tid_tag.val) FROM tags JOIN tid_tag ON tid_tag.tag = tags.rowid "
            "LEFT JOIN tids ON tids.rowid = tid_tag.tid WHERE tags.tag = ? AND tid_tag.val >= ? GROUP BY tids.tid",
            tag,
            min_val,
        )
        return sorted((self._known(row, "tids") for row in found), key=lambda row: (-row[1], row[0]))

    def tracks_of(self, tag: str, *, min_val: float = 0) -> list[str]:
        """Ids of the tracks that have exactly this tag, with at least `min_val`, heaviest first, then by id."""
        return [track_id for track_id, _ in self.track_weights(tag, min_val=min_val)]

    def tags_of_all(self, ids: Iterable[str] | None = None, *, min_val: float = 0) -> dict[str, list[str]]:
        """Tags of many tracks in one pass over the database.

        Args:
            ids: Track ids; every tagged track by default, then in the database's order.
            min_val: Smallest weight that counts, 0 to 100.

        Returns:
            Track id → tags, heaviest first, then by tag. Every asked id is a key; a track without tags has ``[]``.
        """
        result: dict[str, list[str]] = {} if ids is None else {track_id: [] for track_id in ids}
        for track_id, group in groupby(self._rows(min_val), key=lambda row: row[0]):
            if ids is None or track_id in result:
                weights: dict[str, float] = {}
                for _, tag, val in group:
                    weights[tag] = max(val, weights.get(tag, val))
                result[track_id] = sorted(weights, key=lambda tag: (-weights[tag], tag))
        return result

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """Every (track id, tag, val) with val ≥ 0, the rows of one track together, in the database's track order."""
        return self._rows(0)

    @classmethod
    def write(
        cls, path: str | os.PathLike, rows: Iterable[tuple[str, str, float]], *, tracks: Iterable[str] = ()
    ) -> dict[str, int]:
        """Write a database of the same schema, atomically.

        The bytes depend on the set of rows (and on SQLite's version), not on their order: ids and tags are sorted, and
        of several weights of one pair the largest stays.

        Args:
            path: File to write; an existing one is replaced.
            rows: (track id, tag, val); taken one by one, so millions are fine.
            tracks: Further ids for table ``tids`` that have no tag.

        Returns:
            Counts of what was written: ``tracks``, ``tags``, ``rows``.

        Raises:
            DataError: an id or tag is empty or no text, or a val is not a finite number ≥ 0.
        """
        with (
            files.atomic(path, "wb") as file,
            contextlib.closing(sqlite3.connect(file.name)) as connection,
            sqlite.writing(path),
        ):
            return _fill(connection, path, rows, tracks)

    def _rows(self, min_val: float) -> Iterator[tuple[str, str, float]]:
        """As `rows`, from `min_val` up: the tables of names in memory, the large one streamed."""
        tids, tags = self._names("tids", "tid"), self._names("tags", "tag")
        for tid, tag, val in self._query("SELECT tid, tag, val FROM tid_tag WHERE val >= ? ORDER BY tid", min_val):
            if tid not in tids or tag not in tags:
                table, row = ("tids", tid) if tid not in tids else ("tags", tag)
                raise DataError(
                    f"{self.path}: tid_tag points to row {row} of {table}, which is not there; copy it anew"
                )
            if not isinstance(val, float | int) or val == math.inf:
                raise DataError(
                    f"{self.path}: tag {tags[tag]!r} of track {tids[tid]!r} has val {val!r}; expected a finite number"
                )
            yield tids[tid], tags[tag], val

    def _names(self, table: str, column: str) -> dict[int, str]:
        """Row → name of a table of names."""
        names = dict(self._query(f"SELECT rowid, {column} FROM {table}"))
        wrong = next((row for row, name in names.items() if not isinstance(name, str)), None)
        if wrong is not None:
            raise DataError(f"{self.path}: row {wrong} of {table} is {names[wrong]!r}; expected text")
        return names

    def _known(self, row: tuple, table: str) -> tuple:
        """A (name, number) that is one, unless it points to a name that `table` does not hold."""
        name, number = row
        if name is None:
            raise DataError(
                f"{self.path}: tid_tag points to rows of {table} that are not there; copy the database anew"
            )
        if not isinstance(name, str) or not isinstance(number, int | float) or number == math.inf:
            raise DataError(
                f"{self.path}: {table} has {name!r}, with {number!r}; expected text, and a finite number as its weight"
            )
        return row

    def _query(self, statement: str, *values: object) -> Iterator[tuple]:
        """Rows of a statement, over a connection of its own."""
        return sqlite.rows(self.path, statement, values, decode=self._decode)

    def _decode(self, raw: bytes) -> str:
        """A name; one that is not UTF-8 keeps its bytes as escapes and is told, with its row, once."""
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("utf-8", errors="backslashreplace")
            if name not in self._told:
                self._told.add(name)
                log.warning("%s: %s is not UTF-8; it is read as %r", self.path, self._place(raw), name)
            return name

    def _place(self, raw: bytes) -> str:
        """Table and row of a name."""
        for table, column in (("tags", "tag"), ("tids", "tid")):
            statement = f"SELECT rowid FROM {table} WHERE CAST({column} AS BLOB) = ? LIMIT 1"
            for (row,) in sqlite.rows(self.path, statement, (raw,)):
                return f"row {row} of {table}"
        return "a text"


def _fill(
    connection: sqlite3.Connection, path: str | os.PathLike, rows: Iterable, tracks: Iterable[str]
) -> dict[str, int]:
    """Create the tables and fill them in an order that depends on their content only."""
    # The file is new and renamed when complete: a journal would protect nothing.
    connection.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 4096;"
        "CREATE TABLE tids (tid TEXT PRIMARY KEY); CREATE TABLE tags (tag TEXT PRIMARY KEY);"
        "CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT);"
        "CREATE TEMP TABLE raw (tid TEXT, tag TEXT, val FLOAT); CREATE TEMP TABLE more (tid TEXT);"
    )
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO raw VALUES (?, ?, ?)", (_checked(path, *row) for row in rows))
    connection.executemany("INSERT INTO more VALUES (?)", ((_text(path, "track id", name),) for name in tracks))
    connection.execute("INSERT INTO tids SELECT tid FROM raw UNION SELECT tid FROM more ORDER BY 1")
    connection.execute("INSERT INTO tags SELECT DISTINCT tag FROM raw ORDER BY 1")
    connection.execute(
        "INSERT INTO tid_tag SELECT tids.rowid, tags.rowid, MAX(raw.val) FROM raw JOIN tids ON tids.tid = raw.tid "
        "JOIN tags ON tags.tag = raw.tag GROUP BY tids.rowid, tags.rowid ORDER BY 1, 3 DESC, 2"
    )
    connection.execute("CREATE INDEX idx_tid_tag_tid ON tid_tag (tid)")
    connection.execute("CREATE INDEX idx_tid_tag_tag ON tid_tag (tag)")
    connection.commit()
    sizes = {
        name: f"SELECT COUNT(*) FROM {table}" for name, table in zip(("tracks", "tags", "rows"), _COLUMNS, strict=True)
    }
    return {name: connection.execute(statement).fetchone()[0] for name, statement in sizes.items()}


def _checked(path: str | os.PathLike, track_id: str, tag: str, val: float) -> tuple[str, str, float]:
    """The row, if it can be written."""
    if isinstance(val, bool) or not isinstance(val, int | float) or not math.isfinite(val) or val < 0:
        raise DataError(f"{path}: weight {val!r} of tag {tag!r} of track {track_id!r} must be a finite number ≥ 0")
    return _text(path, "track id", track_id), _text(path, "tag", tag), float(val)


def _text(path: str | os.PathLike, what: str, text: str) -> str:
    """The text, if it is one that SQLite stores unchanged."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise DataError(f"{path}: {what} {text!r} must be non-empty text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{path}: {what} {text!r} is not valid Unicode") from None
    return text


@dataclass(frozen=True)
class Cleaning:
    """What `clean` decided: the new name of every tag, and counts."""

    source: TagSource
    names: dict[str, str | None]  # tag → its group's name, None where dropped
    groups: dict[str, list[str]]  # name → its spellings, most frequent first, of the groups that had several
    unknown: list[str]  # tags to drop or combine that the source has in no spelling

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """The cleaned (track id, tag, val): of several members of a group, a track keeps the largest val."""
        for track_id, group in groupby(self.source.rows(), key=lambda row: row[0]):
            best: dict[str, float] = {}
            for _, tag, val in group:
                name = self.names[tag]
                if name is not None:
                    best[name] = max(val, best.get(name, val))
            for name, val in best.items():
                yield track_id, name, val

    def write(self, path: str | os.PathLike) -> dict[str, int]:
        """Write the cleaned copy as a tag database.

        Returns:
            Counts: ``tags``, ``dropped``, ``merged`` (spellings that went into another name), ``groups`` (names with
            several spellings), ``tags_left``, ``rows_left``, ``tracks_left``.

        Raises:
            DataError: every tag was dropped.
        """
        if not any(self.names.values()):
            raise DataError(f"{self.source.path}: the list of tags to drop names every tag; nothing would be left")
        written = TagDatabase.write(path, self.rows())
        return {
            "tags": len(self.names),
            "dropped": sum(name is None for name in self.names.values()),
            "merged": sum(name not in (None, tag) for tag, name in self.names.items()),
            "groups": len(self.groups),
            **{f"{what}_left": count for what, count in written.items()},
        }


def clean(source: TagSource, *, drop: Iterable[str] = (), combine: Iterable[Sequence[str]] = ()) -> Cleaning:
    """Merge the spellings of a tag source, drop tags, and join tags that mean the same.

    Spellings are equal where `spelling.spelling_key` says so; the one with most tracks names the group.

    Args:
        source: A tag database or tag file.
        drop: Tags to leave out, in any spelling.
        combine: Sequences of two or more tags that become one, in any spelling; the first one, as written, is the name.

    Returns:
        The new name of every tag; its `write` makes the cleaned copy.

    Raises:
        DataError: a tag is both dropped and combined, or in two sequences of `combine`.
    """
    keys = {tag: spelling_key(tag) for tag, _ in source.popularity()}  # most tracks first
    commonest: dict[str, str] = {}
    for tag, key in keys.items():
        commonest.setdefault(key, tag)
    dropped = {spelling_key(tag): tag for tag in drop}
    unknown = [tag for key, tag in dropped.items() if key not in commonest]
    first: dict[str, str] = {}  # key → the name that `combine` gives it
    for tags in combine:
        for key, tag in {spelling_key(tag): tag for tag in tags}.items():
            if key in dropped:
                raise DataError(f"tag {tag!r} is both dropped and combined into {tags[0]!r}; take it out of one list")
            if key in first:
                raise DataError(
                    f"tag {tag!r} is combined into {first[key]!r} and {tags[0]!r}; name it in one group only"
                )
            first[key] = tags[0]
            if key not in commonest and tag != tags[0]:  # the name may be a new one
                unknown.append(tag)
    names: dict[str, str | None] = {}
    groups: dict[str, list[str]] = {}
    for tag, key in keys.items():
        names[tag] = name = None if key in dropped else first.get(key, commonest[key])
        if name is not None:
            groups.setdefault(name, []).append(tag)
    several = {name: tags for name, tags in groups.items() if tags != [name]}
    return Cleaning(source, names, several, sorted(unknown))
