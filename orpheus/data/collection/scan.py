"""Make the csv of tracks (and a tag database) from a folder of somebody's music."""

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from orpheus.base import csv_files, files, parallel
from orpheus.data.audio import reading
from orpheus.data.audio.finding import find_audio, printable
from orpheus.data.collection.probe import measure, read_metadata
from orpheus.data.tags.database import TagDatabase
from orpheus.errors import ConfigError, DataError

_GENRE_WEIGHT = 100.0


@dataclass(frozen=True)
class ScannedTrack:
    """One row of the csv, in its columns' order. Times in seconds; silence as `probe.measure` finds it."""

    track_id: str  # the first 16 hexadecimal digits of sha256
    audio_path: str
    artist: str
    album: str
    title: str
    seconds: float
    sample_rate: int
    channels: int
    bytes: int
    sha256: str
    silence_seconds: float
    longest_silence_seconds: float
    lost_seconds: float  # what damage cost, beside `seconds`, which could be decoded


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which files to keep; None for no limit. Shares are of the file's length, 0 to 1.

    Raises:
        ConfigError: a limit is negative, a share above 1, or a minimum above its maximum.
    """

    min_seconds: float | None = None
    max_seconds: float | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    min_sample_rate: int | None = None
    max_silence_share: float | None = None
    max_silence_seconds: float | None = None

    def __post_init__(self):
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value <= (1 if name.endswith("share") else float("inf")):
                raise ConfigError(f"{name}={value}: must be {'between 0 and 1' if name.endswith('share') else '≥ 0'}")
        for what in ("seconds", "bytes"):
            least, most = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if least is not None and most is not None and least > most:
                raise ConfigError(f"min_{what}={least} is above max_{what}={most}: no file could pass")

    def reason(self, track: ScannedTrack) -> str | None:
        """Why the track is left out, or None."""
        share = track.silence_seconds / max(track.seconds, 0.001)  # a few samples are 0.000 s
        for value, what, least, most in (
            (track.seconds, "seconds", self.min_seconds, self.max_seconds),
            (track.bytes, "bytes", self.min_bytes, self.max_bytes),
            (track.sample_rate, "sample rate", self.min_sample_rate, None),
            (share, "silence share", None, self.max_silence_share),
            (track.longest_silence_seconds, "longest silence in seconds", None, self.max_silence_seconds),
        ):
            if least is not None and value < least:
                return f"{what} {value:g} below {least:g}"
            if most is not None and value > most:
                return f"{what} {value:g} above {most:g}"
        return None


@dataclass
class Scan:
    """What a folder holds. Every audio file is in exactly one of the first four."""

    tracks: list[ScannedTrack] = field(default_factory=list)
    failures: list[dict] = field(default_factory=list)  # audio_path, reason
    duplicates: list[dict] = field(default_factory=list)  # track_id, audio_path, kept
    filtered: list[dict] = field(default_factory=list)  # track_id, audio_path, reason
    genres: list[tuple[str, str, float]] = field(default_factory=list)  # track_id, tag, 100
    notes: list[str] = field(default_factory=list)  # damaged files, and those whose metadata could not be read


def scan(
    folder: str | os.PathLike,
    *,
    base: str | os.PathLike,
    limits: Limits | None = None,
    workers: int = 1,
    damaged: str = reading.KEEP,
    progress: Callable[[Iterable, int, str], Iterable] | None = None,
) -> Scan:
    """Measure every audio file below a folder.

    Args:
        folder: Searched with all its subfolders.
        base: Folder that `audio_path` is relative to, where the file is below it; else the path is absolute.
        limits: Which files to keep; all by default.
        workers: Processes; 0 works in this one. The result does not depend on it.
        damaged: ``"keep"`` lists what can be decoded of a damaged file as a track, ``"skip"`` makes it a failure.
        progress: Wraps an iterable, given its length and what is done; called for hashing and for decoding.

    Raises:
        ConfigError: `damaged` is neither.
        DataError: as `find_audio`. A file that cannot be used is listed, it stops nothing.
    """
    reading.check_damaged(damaged)
    result, limits = Scan(), limits or Limits()
    progress = progress or (lambda iterable, total, what: iterable)
    base = os.path.abspath(base)
    found = {path: _stored_path(path, base) for path in find_audio(folder)}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        digests = dict(zip(found, progress(pool.map(_digest, found), len(found), "hash"), strict=True))
    first: dict[str, Path] = {}  # identical content is measured once
    for path, (sha256, _) in digests.items():
        if sha256:
            first.setdefault(sha256, path)
    examine = functools.partial(_examine, damaged=damaged)
    measured = parallel.map_in_processes(examine, [str(path) for path in first.values()], workers=workers)
    outcomes = dict(zip(first, progress(measured, len(first), "decode"), strict=True))
    for path, (sha256, trouble) in digests.items():
        stored = found[path]
        if sha256:
            facts = outcomes[sha256] or {"reason": parallel.DIED}
            trouble = facts.get("reason")
        if trouble:
            result.failures.append({"audio_path": printable(stored), "reason": trouble})
        elif first[sha256] != path:
            kept = found[first[sha256]]
            result.duplicates.append({"track_id": sha256[:16], "audio_path": stored, "kept": kept})
        else:
            _place(result, limits, stored, sha256, facts)
    return result


def _place(result: Scan, limits: Limits, stored: str, sha256: str, facts: dict) -> None:
    """Put a usable file among the tracks, or among those that the limits leave out."""
    genres, note, damage = facts.pop("genres"), facts.pop("note"), facts.pop("damage")
    track = ScannedTrack(track_id=sha256[:16], audio_path=stored, sha256=sha256, **facts)
    if note:
        result.notes.append(f"{stored}: {note}")
    if damage:
        result.notes.append(f"{stored}: damaged: {damage}")
    if reason := limits.reason(track):
        result.filtered.append({"track_id": track.track_id, "audio_path": stored, "reason": reason})
        return
    result.tracks.append(track)
    result.genres.extend((track.track_id, genre, _GENRE_WEIGHT) for genre in genres)


def _stored_path(path: Path, base: str) -> str:
    """Relative to `base` where the file is below it, else absolute."""
    absolute = Path(os.path.abspath(path))
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else absolute.as_posix()


def _digest(path: Path) -> tuple[str, str]:
    """(sha256, "") of a file's content, or ("", why the file cannot be used)."""
    if printable(str(path)) != str(path):
        return "", "its path is not valid UTF-8; rename it"
    try:
        if path.stat().st_size == 0:
            return "", "empty file (0 bytes)"
        return files.content_hash(path), ""
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"


def _examine(path: str, *, damaged: str) -> dict:
    """All facts of one file, or only a "reason". Runs in a worker process."""
    with parallel.printed_by_libraries() as lines:
        try:
            facts = measure(path, damaged=damaged)
        except reading.UNUSABLE as error:
            facts = {"reason": reading.reason(path, error)}
    for key in ("reason", "damage"):
        if facts.get(key):
            facts[key] += parallel.note(lines)
    if "reason" in facts:
        return facts
    names, genres, note = read_metadata(path)
    return {**facts, **names, "bytes": os.path.getsize(path), "genres": genres, "note": note}


def outputs(csv_path: str | os.PathLike) -> dict[str, Path]:
    """The files beside a csv that list what is not in it, by the name of `Scan`'s list."""
    path = Path(csv_path)
    return {name: path.with_name(f"{path.stem}.{name}.jsonl") for name in ("failures", "duplicates", "filtered")}


def write(result: Scan, csv_path: str | os.PathLike, *, tags_path: str | os.PathLike | None = None) -> dict[str, int]:
    """Write the csv, the lists beside it and, if asked for, the genres as a tag database (weight 100).

    Returns:
        Counts of the tag database (`TagDatabase.write`), empty without one.

    Raises:
        DataError: there is no track to write; the lists are written all the same.
    """
    for name, path in outputs(csv_path).items():
        files.write_jsonl(path, getattr(result, name))
    if not result.tracks:
        raise DataError(
            f"{csv_path}: no usable file, {len(result.failures)} unreadable and {len(result.filtered)} filtered; "
            f"the reasons are in {outputs(csv_path)['failures']} and {outputs(csv_path)['filtered']}"
        )
    with files.atomic(csv_path) as file:
        csv_files.write(file, [[column.name for column in fields(ScannedTrack)]])
        csv_files.write(file, (list(asdict(track).values()) for track in result.tracks))
    if tags_path is None:
        return {}
    return TagDatabase.write(tags_path, result.genres, tracks=[track.track_id for track in result.tracks])
