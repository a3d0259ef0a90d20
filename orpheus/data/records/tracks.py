"""The list of tracks that preprocessing works through: a csv, and tags from one or several sources."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orpheus.base import csv_files
from orpheus.errors import DataError

PATH_COLUMNS = ("audio_path", "mp3_path", "npz_path", "path")
GROUP_COLUMNS = ("artist", "group")


@dataclass(frozen=True)
class Track:
    """One input: where its audio is, the group that must stay in one shard, and its tags per database."""

    track_id: str
    path: str
    group: str = ""
    tags: tuple[tuple[str, ...], ...] = ((),)
    title: str = ""


def read_tracks(
    csv_path: str | os.PathLike, *, root: str | os.PathLike | None = None, group_column: str | None = None
) -> list[Track]:
    """Read the csv of tracks.

    Args:
        csv_path: Columns `track_id` and one of audio_path, mp3_path, npz_path, path; optionally artist or group, title.
        root: Folder (or s3:// or gs:// URL) that relative paths start from; None for the csv's own.
        group_column: Column whose equal values stay in one shard; None for artist or group where there is one.

    Raises:
        DataError: not a whole csv (see `csv_files.iterate`), a missing column, an empty or repeated id, no row.

    Blanks around ids and groups do not count; a path is taken as it is, for a file's name may begin with one.
    """
    csv_path = Path(csv_path).expanduser()
    base = os.path.expanduser(root) if root else str(csv_path.parent)
    if not csv_path.exists():
        raise DataError(f"{csv_path}: no such csv of tracks; make one with tools.scan_audio")
    table = csv_files.read(csv_path, comments=True)  # the reference's ultimate.csv begins with some
    columns = table.columns
    path_column = next((name for name in PATH_COLUMNS if name in columns), None)
    if "track_id" not in columns or path_column is None:
        raise DataError(
            f"{csv_path}: columns {', '.join(columns) or 'none'}; needs track_id and one of {', '.join(PATH_COLUMNS)}"
        )
    if group_column and group_column not in columns:
        raise DataError(f"{csv_path}: no column {group_column!r}; it has {', '.join(columns)}")
    group_column = group_column or next((name for name in GROUP_COLUMNS if name in columns), None)
    tracks: dict[str, Track] = {}
    for number, line in table.rows:
        track_id, path = line["track_id"].strip(), line[path_column]
        if not track_id or not path.strip():
            raise DataError(f"{csv_path}:{number}: empty track_id or {path_column}")
        if track_id in tracks:
            raise DataError(f"{csv_path}:{number}: track_id {track_id!r} occurs twice")
        group = line[group_column].strip() if group_column else ""
        place = path if "://" in path else os.path.join(base, path)  # s3:// and gs:// stay as they are
        tracks[track_id] = Track(track_id, place, group, title=line.get("title", "").strip())
    if not tracks:
        raise DataError(f"{csv_path}: no track in it")
    return list(tracks.values())


def with_tags(tracks: Sequence[Track], sources: Sequence[Mapping[str, Sequence[str]]]) -> list[Track]:
    """The tracks with their tags: one tuple per source, in the source's order.

    Raises:
        DataError: a source has no tag for any of the tracks.
    """
    for index, source in enumerate(sources):
        if not any(source.get(track.track_id) for track in tracks):
            raise DataError(
                f"tag source {index}: no tag for any of the {len(tracks)} tracks (first: {tracks[0].track_id}); "
                "do its ids belong to this csv?"
            )
    return [replace(t, tags=tuple(tuple(source.get(t.track_id, ())) for source in sources)) for t in tracks]
