"""Tags of tracks out of any of the project's own sources, recognised by its path: the one door to all of them.

A new kind is a line in `KINDS`; everything that takes ``--tags SOURCE`` knows it from there.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orpheus.base.files import content_hash, read_jsonl
from orpheus.data.items import hetrec
from orpheus.data.splits import published
from orpheus.data.tags import annotations
from orpheus.data.tags.files import open_tags
from orpheus.errors import DataError

Tags = dict[str, list[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        recognises: Whether a path is one; the first kind that says so reads it.
        read: (path, min_val, database) → track id → tags; see `read`.
        files: The files that its hash is of.
    """

    recognises: Callable[[Path], bool]
    read: Callable[[Path, float, int], Tags]
    files: Callable[[Path], Sequence[Path]] = lambda path: [path]


def read(paths: Sequence[Path], *, min_val: float = 0, database: int = 0) -> tuple[Tags, dict[str, Any]]:
    """Track id → tags, and the source's name and hash for the provenance of what is made of them.

    Args:
        paths: A source of any of `KINDS`: a tag database, one or several tag files (TSV), a csv of tracks with tags, a
            table of tools.clean_tags, a folder of records, its manifest.jsonl, the HetRec Last.fm folder (artists as
            tracks), or the binaries.npy of a published split (`splits.published`) or its folder.
        min_val: Tags below this weight do not count: 0 to 100 of a database or table, users per artist of HetRec.
        database: Which tags of records that hold those of several databases.

    Raises:
        DataError: a source is missing, unreadable, or of no known kind.
    """
    paths = [Path(path).expanduser() for path in paths]
    if len(paths) > 1:
        return open_tags(paths).tags_of_all(), _provenance(paths, paths)
    (path,) = paths
    if (path / "manifest.jsonl").is_file():
        path = path / "manifest.jsonl"
    kind = next(kind for kind in KINDS.values() if kind.recognises(path))
    return kind.read(path, min_val, database), _provenance([path], kind.files(path))


def _provenance(paths: Sequence[Path], files: Sequence[Path]) -> dict[str, Any]:
    hashes = [content_hash(path) for path in files]
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return {"name": " + ".join(path.name for path in paths), "sha256": digest}


def _hetrec(path: Path, min_val: float, database: int) -> Tags:
    tagged = hetrec.read(path).tags.items()
    return {artist: [tag for tag, users in tags.items() if users >= min_val] for artist, tags in tagged}


def _manifest(path: Path, min_val: float, database: int) -> Tags:
    tracks = {}
    for number, row in enumerate(read_jsonl(path), 1):
        tags = row.get(f"tags_{database}", row.get("tags") if database == 0 else None)
        if not isinstance(tags, list) or not all(isinstance(one, str) for one in (row.get("id"), *tags)):
            raise DataError(f"{path}:{number}: no id or no tags of database {database}, as text and a list of it")
        tracks[row["id"]] = tags
    if not tracks:
        raise DataError(f"{path}: holds no track")
    return tracks


def _records(folder: Path, min_val: float, database: int) -> Tags:
    """Tags out of the records themselves, where there is no manifest."""
    from orpheus.data.records import format

    tracks: Tags = {}
    for name in format.shard_names(folder):
        for record in format.read_shard(folder / name):
            fields = format.decode(record)
            raw = fields.get(f"tags_{database}", fields.get("tags") if database == 0 else None)
            if not fields.get("tid") or raw is None or not all(isinstance(tag, bytes) for tag in raw):
                raise DataError(
                    f"{folder / name}: a record without tid or without tags as strings (database {database})"
                )
            tracks[fields["tid"][0].decode()] = [tag.decode() for tag in raw]
    return tracks


def _shards(folder: Path) -> list[Path]:
    from orpheus.data.records import format

    return [folder / name for name in format.shard_names(folder)]


KINDS: dict[str, Kind] = {
    "HetRec Last.fm": Kind(
        lambda path: (path / "user_taggedartists.dat").is_file(),
        _hetrec,
        lambda path: [path / "tags.dat", path / "user_taggedartists.dat"],
    ),
    "manifest of records": Kind(
        lambda path: path.name.endswith(".jsonl"),
        _manifest,
    ),
    "published split": Kind(
        published.is_tags,
        lambda path, min_val, database: published.tags(path),
        published.files,
    ),
    "folder of records": Kind(Path.is_dir, _records, _shards),
    "table of tools.clean_tags": Kind(
        annotations.is_table,
        lambda path, min_val, database: annotations.cleaned_tags(annotations.read_table(path), min_score=min_val),
    ),
    "tag database or tag file": Kind(
        lambda path: True,
        lambda path, min_val, database: open_tags(path).tags_of_all(min_val=min_val),
    ),
}
