"""Tags in text files the way MTG-Jamendo publishes them, and one door to every kind of tag source."""

import ast
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orpheus.base import csv_files
from orpheus.data.tags.database import TagDatabase, TagSource
from orpheus.errors import DataError

log = logging.getLogger(__name__)

HEADER = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
_WEIGHT = 100.0  # a tag in such a file has no weight: it counts as a full one in the databases' scale


@dataclass(frozen=True)
class TaggedTrack:
    """One line of a tag file. `seconds` is the file's own figure; `tags` keep the line's order."""

    artist: str
    album: str
    path: str
    seconds: float
    tags: tuple[str, ...]


def read_tags(path: str | os.PathLike, *, prefix: bool = False) -> dict[str, TaggedTrack]:
    """Read a file of tab-separated TRACK_ID ARTIST_ID ALBUM_ID PATH DURATION TAGS, tags up to the line's end, or a csv.

    Args:
        path: UTF-8 text whose first line is that header (https://github.com/MTG/mtg-jamendo-dataset), or a csv with
            the columns track_id and tags, where ``;`` or ``|`` is between tags: "piano; sad". A cell in brackets is a
            list as Python prints it: "['piano', 'sad']". A comma separates nothing: where no cell of the file has one of
            the two signs and some have commas, a warning says so.
        prefix: Keep the category of ``category---tag``; by default ``genre---punkrock`` is read as ``punkrock``.

    Returns:
        Track id → the rest of its line, in the file's order.

    Raises:
        DataError: the file is missing, or a line is malformed or repeats an id; the message gives its number.
    """
    if is_csv(path):
        return _read_csv(path)
    tracks: dict[str, TaggedTrack] = {}
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    fields = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
                    if number == 1:
                        if tuple(fields[: len(HEADER)]) != HEADER:
                            raise ValueError(f"expected the header {' '.join(HEADER)}, separated by tabs")
                        continue
                    track_id, track = _parse(fields, prefix)
                except ValueError as error:
                    raise DataError(f"{path}:{number}: {error}") from None
                if track_id in tracks:
                    raise DataError(
                        f"{path}:{number}: track id {track_id!r} is there a second time; keep one line per track"
                    )
                tracks[track_id] = track
    except FileNotFoundError:
        raise DataError(f"{path}: no such tag file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not tracks:
        raise DataError(f"{path}: holds no tracks; expected the header {' '.join(HEADER)} and a line per track")
    return tracks


def is_csv(path: str | os.PathLike) -> bool:
    """Whether a file is a csv with the columns track_id and tags."""
    return {"track_id", "tags"} <= set(csv_files.header(path))


def _read_csv(path: str | os.PathLike) -> dict[str, TaggedTrack]:
    tracks: dict[str, TaggedTrack] = {}
    commas: list[tuple[int, str]] = []
    separated = False
    for number, line in csv_files.read(path, required=["track_id", "tags"]).rows:
        track_id, cell = line["track_id"].strip(), line["tags"].strip()
        if not track_id or track_id in tracks:
            raise DataError(f"{path}:{number}: track_id {track_id!r} is {'there twice' if track_id else 'empty'}")
        if cell.startswith("[") and cell.endswith("]"):
            tags = _listed(cell, f"{path}:{number}")
        else:
            tags = re.split(r"[;|]", cell)
            separated |= len(tags) > 1
            if len(tags) == 1 and "," in cell:
                commas.append((number, cell))
        names = filter(None, (tag.strip() for tag in tags))
        artist, album = line.get("artist", ""), line.get("album", "")
        tracks[track_id] = TaggedTrack(artist, album, line.get("audio_path", ""), 0.0, tuple(dict.fromkeys(names)))
    if commas and not separated:
        number, cell = commas[0]
        log.warning(
            "%s:%d: %r is taken as one tag, and so are %d such cells; write ; or | between tags",
            path,
            number,
            cell[:80],
            len(commas),
        )
    return tracks


def _listed(cell: str, where: str) -> list[str]:
    """The tags of a cell that is a list as Python or JSON prints it: ``['piano', 'sad']``."""
    try:
        tags = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        tags = None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise DataError(f"{where}: tags {cell[:40]!r} look like a list and are none; write them as piano; sad")
    return tags


def _parse(fields: list[str], prefix: bool) -> tuple[str, TaggedTrack]:
    """One line's fields; a ValueError says what is wrong with them."""
    if len(fields) < 5:
        raise ValueError(f"{len(fields)} fields; expected {' '.join(HEADER)}, separated by tabs")
    track_id, artist, album, path, duration, *tags = fields
    if not track_id:
        raise ValueError("the track id is empty")
    try:
        seconds = float(duration)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"duration {duration!r} must be a number of seconds")
    if not prefix:
        tags = [tag.rsplit("---", 1)[-1] for tag in tags]
    if not all(tags):
        raise ValueError("an empty tag; expected category---tag, separated by single tabs")
    return track_id, TaggedTrack(artist, album, path, seconds, tuple(dict.fromkeys(tags)))


class TagFile:
    """One or several tag files as a source of tags, with the methods of `TagDatabase`.

    Args:
        paths: A file or several, whose tags of one track are united: MTG-Jamendo's full tagging is the union of its
            genre, instrument and mood/theme files.
        prefix: As in `read_tags`.

    Raises:
        DataError: as `read_tags`, or two files disagree about a track's artist, album, path or duration.
    """

    def __init__(self, paths: str | os.PathLike | Sequence[str | os.PathLike], *, prefix: bool = False):
        several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        if not several:
            raise DataError("no tag file given")
        self.path = Path(several[0])
        self.tracks = read_tags(several[0], prefix=prefix)
        for path in several[1:]:
            for track_id, track in read_tags(path, prefix=prefix).items():
                known = self.tracks.setdefault(track_id, track)
                facts = [(each.artist, each.album, each.path, each.seconds) for each in (known, track)]
                if facts[0] != facts[1]:
                    raise DataError(f"{path}: track {track_id} is {facts[1]}, but {facts[0]} in an earlier file")
                tags = tuple(dict.fromkeys(known.tags + track.tags))
                self.tracks[track_id] = TaggedTrack(*facts[0], tags)
        if not any(track.tags for track in self.tracks.values()):
            raise DataError(f"{self.path}: none of its {len(self.tracks)} tracks has a tag")

    def __repr__(self) -> str:
        return f"TagFile({str(self.path)!r}, {len(self.tracks)} tracks)"

    def popularity(self, *, min_val: float = 0) -> list[tuple[str, int]]:
        """(tag, number of tracks), most tracks first, ties by tag in code-point order."""
        if min_val > _WEIGHT:
            return []
        counts = Counter(tag for track in self.tracks.values() for tag in track.tags)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def track_count(self) -> int:
        """Number of tracks with at least one tag."""
        return sum(bool(track.tags) for track in self.tracks.values())

    def tag_weights(self, track_id: str, *, min_val: float = 0) -> list[tuple[str, float]]:
        """(tag, 100) of one track by tag; empty for an unknown track."""
        track = self.tracks.get(track_id)
        return [(tag, _WEIGHT) for tag in sorted(track.tags)] if track and min_val <= _WEIGHT else []

    def tags_of(self, track_id: str, *, min_val: float = 0) -> list[str]:
        """Tags of one track by tag; all weigh 100."""
        return [tag for tag, _ in self.tag_weights(track_id, min_val=min_val)]

    def track_weights(self, tag: str, *, min_val: float = 0) -> list[tuple[str, float]]:
        """(track id, 100) of the tracks with this tag, by id."""
        return [(track_id, _WEIGHT) for track_id in self.tracks_of(tag, min_val=min_val)]

    def tracks_of(self, tag: str, *, min_val: float = 0) -> list[str]:
        """Ids of the tracks with this tag, sorted."""
        found = sorted(track_id for track_id, track in self.tracks.items() if tag in track.tags)
        return found if min_val <= _WEIGHT else []

    def tags_of_all(self, ids: Iterable[str] | None = None, *, min_val: float = 0) -> dict[str, list[str]]:
        """Track id → tags by tag, of each of `ids` or of every tagged track; an unknown id has ``[]``."""
        if ids is None:
            ids = (track_id for track_id, track in self.tracks.items() if track.tags and min_val <= _WEIGHT)
        return {track_id: self.tags_of(track_id, min_val=min_val) for track_id in ids}

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """Every (track id, tag, 100), the rows of one track together."""
        for track_id, track in self.tracks.items():
            for tag in track.tags:
                yield track_id, tag, _WEIGHT


def open_tags(path: str | os.PathLike | Sequence[str | os.PathLike], *, prefix: bool = False) -> TagSource:
    """A tag source of either kind, recognised by its first bytes.

    Args:
        path: A tag database (SQLite), a tag file (tab-separated), or a csv with the columns track_id and tags; several
            are tag files or csv, as of `TagFile`.
        prefix: As in `read_tags`; databases have no prefixes.

    Raises:
        DataError: the file is missing or neither.
    """
    if not isinstance(path, str | os.PathLike):
        if len(path) > 1:
            return TagFile(path, prefix=prefix)
        (path,) = path
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise DataError(f"{path}: no such tag database or tag file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if start.startswith(b"SQLite format 3\0"):
        return TagDatabase(path)
    if start.removeprefix(b"\xef\xbb\xbf").startswith(HEADER[0].encode()) or is_csv(path):
        return TagFile(path, prefix=prefix)
    raise DataError(
        f"{path}: neither an SQLite tag database, nor a tab-separated file whose first line is {' '.join(HEADER)}, "
        "nor a csv with the columns track_id and tags"
    )
