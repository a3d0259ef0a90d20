"""The tables of songs.db: made, checked when a file is opened, and those of older versions brought to this one."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from orpheus.base import files, sqlite

VERSION = 2
READ = ("1", "2")  # 1 has neither names of songs nor listeners
CURE = "index the songs again into a new folder"
LARGEST = 1 << 16  # dimensions of a vector

_LISTENERS = "CREATE TABLE IF NOT EXISTS listeners (id TEXT PRIMARY KEY, vector BLOB, heard TEXT NOT NULL)"
_SCHEMA = f"""
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE songs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, path TEXT NOT NULL,
    hash TEXT NOT NULL, stat TEXT NOT NULL, tags TEXT NOT NULL, vector BLOB NOT NULL,
    artist TEXT NOT NULL DEFAULT '', title TEXT NOT NULL DEFAULT ''
);
CREATE INDEX of_source ON songs (source, path);
CREATE INDEX of_hash ON songs (hash);
CREATE INDEX of_path ON songs (path);
CREATE TABLE tags (name TEXT PRIMARY KEY, vector BLOB NOT NULL);
{_LISTENERS};
"""
_NAMES = ("artist", "title")
_TEXTS = ("id", "source", "path", "hash", "stat", "tags")
_TABLES = {  # column → type and whether it is the key, as SQLite has them
    "about": {"key": ("TEXT", 1), "value": ("TEXT", 0)},
    "songs": {"number": ("INTEGER", 1), "vector": ("BLOB", 0), **dict.fromkeys(_TEXTS, ("TEXT", 0))},
    "tags": {"name": ("TEXT", 1), "vector": ("BLOB", 0)},
}
_ADDED = {  # by version 2
    "songs": dict.fromkeys(_NAMES, ("TEXT", 0)),
    "listeners": {"id": ("TEXT", 1), "vector": ("BLOB", 0), "heard": ("TEXT", 0)},
}


def make(path: Path, about: Mapping[str, str]) -> None:
    """A file without songs, which appears when it is whole."""
    with files.whole(path) as temporary, sqlite.writing(path):
        db = sqlite3.connect(temporary, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = MEMORY")  # a journal of its own would outlive a kill
            db.executescript("BEGIN;" + _SCHEMA)
            values = {"version": str(VERSION), "revision": "0", **about}
            db.executemany("INSERT INTO about VALUES (?, ?)", values.items())
            db.execute("COMMIT")
        finally:
            db.close()


def expected(version: str) -> dict[str, dict[str, tuple[str, int]]]:
    """Table → column → (type, whether it is the key) of a version."""
    found = {table: dict(columns) for table, columns in _TABLES.items()}
    if version != "1":
        for table, columns in _ADDED.items():
            found.setdefault(table, {}).update(columns)
    return found


def upgrade(db: sqlite3.Connection) -> None:
    """Bring the tables of an older version to this one, within a transaction of the caller; harmless where they are."""
    there = {row[1] for row in db.execute("PRAGMA table_info(songs)")}
    for name in _NAMES:
        if name not in there:
            db.execute(f"ALTER TABLE songs ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
    db.execute(_LISTENERS)
    db.execute("UPDATE about SET value = ? WHERE key = 'version'", (str(VERSION),))
