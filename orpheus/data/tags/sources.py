"""Tags of tracks out of any of the project's own sources, told by the look of the path."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orpheus.base.files import content_hash, read_jsonl
from orpheus.errors import DataError


def read(
    paths: Sequence[Path], *, min_val: float = 0, database: int = 0
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Track id → tags, and the source's name and hash for the provenance of what is made of them.

    Args:
        paths: A tag database, one or several tag files (TSV), a table of tools.clean_tags, a folder of records, its
            manifest.jsonl, or the HetRec Last.fm folder (artists as tracks).
        min_val: Tags below this weight do not count: 0 to 100 of a database or table, users per artist of HetRec.
        database: Which tags of records that hold those of several databases.

    Raises:
        DataError: a source is missing, unreadable, or of no known kind.
    """
    paths = [Path(path).expanduser() for path in paths]
    first = paths[0]
    if len(paths) > 1:
        from orpheus.data.tags.files import TagFile

        return TagFile(paths).tags_of_all(), _name(paths)
    if (first / "user_taggedartists.dat").is_file():
        from orpheus.data.items import hetrec

        files = [first / "tags.dat", first / "user_taggedartists.dat"]
        tagged = {
            artist: [tag for tag, users in tags.items() if users >= min_val]
            for artist, tags in hetrec.read(first).tags.items()
        }
        return tagged, _name(files, first.name)
    if (first / "manifest.jsonl").is_file():
        first = first / "manifest.jsonl"
    if first.name.endswith(".jsonl"):
        return _manifest(first, database), _name([first])
    if first.is_dir():
        return _records(first, database)
    from orpheus.data.tags import annotations
    from orpheus.data.tags.files import open_tags

    if annotations.is_table(first):
        return annotations.cleaned_tags(annotations.read_table(first), min_score=min_val), _name([first])
    return open_tags(first).tags_of_all(min_val=min_val), _name([first])


def _name(paths: Sequence[Path], name: str = "") -> dict[str, Any]:
    hashes = [content_hash(path) for path in paths]
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return {"name": name or " + ".join(path.name for path in paths), "sha256": digest}


def _manifest(path: Path, database: int) -> dict[str, list[str]]:
    tracks = {}
    for number, row in enumerate(read_jsonl(path), 1):
        tags = row.get(f"tags_{database}", row.get("tags") if database == 0 else None)
        if "id" not in row or not isinstance(tags, list):
            raise DataError(f"{path}:{number}: no id or no tags of database {database}")
        tracks[str(row["id"])] = tags
    if not tracks:
        raise DataError(f"{path}: holds no track")
    return tracks


def _records(folder: Path, database: int) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Tags out of the records themselves, where there is no manifest."""
    from orpheus.data.records import format

    names = format.shard_names(folder)
    tracks: dict[str, list[str]] = {}
    for name in names:
        for record in format.read_shard(folder / name):
            fields = format.decode(record)
            raw = fields.get(f"tags_{database}", fields.get("tags") if database == 0 else None)
            if not fields.get("tid") or raw is None or not all(isinstance(tag, bytes) for tag in raw):
                raise DataError(
                    f"{folder / name}: a record without tid or without tags as strings (database {database})"
                )
            tracks[fields["tid"][0].decode()] = [tag.decode() for tag in raw]
    return tracks, _name([folder / name for name in names], folder.name)
