"""What every data set is read into, audio looked up by what its lists call it, and the files that are written."""

import ast
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orpheus.base import csv_files, files
from orpheus.data.audio.finding import find_audio
from orpheus.data.splits import search
from orpheus.errors import DataError

SPLITS = search.SPLITS


@dataclass(frozen=True)
class Listed:
    """A track as its publisher lists it: where its audio may be, below the folder of audio, and whose it is."""

    paths: tuple[str, ...]
    artist: str = ""


@dataclass(frozen=True)
class NamedSplit:
    """A published split.

    Attributes:
        ids: train, valid, test → track ids.
        tags: Name of the set of tags that it is used with.
        classes: Those of its tags that are classes.
    """

    ids: Mapping[str, Sequence[str]]
    tags: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Collection:
    """All that the annotations say: tracks by id, sets of tags (track → tags) by name, and splits by name."""

    tracks: Mapping[str, Listed]
    tags: Mapping[str, Mapping[str, Sequence[str]]]
    splits: Mapping[str, NamedSplit]


@dataclass(frozen=True)
class Written:
    """A split as it was written: how many tracks of train, valid and test have audio, and how many of the list have none."""

    name: str
    path: Path
    tags_path: Path
    tracks: dict[str, int]
    missing: int
    sha256: str
    classes: tuple[str, ...]


class Audio:
    """The files below a folder by path, and by name without suffix: collections are unpacked in more than one way.

    Raises:
        DataError: no such folder, or no audio file in it.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder).expanduser().absolute()
        found = find_audio(self.folder)
        self._paths = {path.relative_to(self.folder).as_posix(): path for path in found}
        self._stems: dict[str, list[Path]] = {}
        for path in found:
            self._stems.setdefault(path.stem.removesuffix(".clip"), []).append(path)  # 7digital's previews: X.clip.mp3

    def find(self, paths: Iterable[str]) -> Path | None:
        """The first of the paths that is there, else the one file of the name of one of them; None where there is none.

        Raises:
            DataError: no path fits, and several files have the name.
        """
        paths = list(paths)
        for path in paths:
            if found := self._paths.get(path):
                return found
        for path in paths:
            stem = os.path.splitext(os.path.basename(path))[0]
            several = self._stems.get(stem, [])
            if len(several) > 1:
                raise DataError(f"{several[0]} and {several[1]} are both named {stem}; keep one below {self.folder}")
            if several:
                return several[0]
        return None


def check_ids(name: str, ids: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The ids of train, valid and test, each once.

    Raises:
        DataError: an id is there twice, in one of them or in two.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        for track_id in ids[split]:
            if track_id in seen:
                raise DataError(
                    f"{name}: track {track_id} is in {seen[track_id]} and again in {split}; are the lists whole?"
                )
            seen[track_id] = split
    return {split: tuple(ids[split]) for split in SPLITS}


def lines(path: Path) -> list[str]:
    """The lines of a list, without blank ones and blanks around them.

    Raises:
        DataError: missing, unreadable, or empty.
    """
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it comes with the publisher's lists") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; a pickled list (.cP) must be saved as text, one id a line") from None
    if not any(found):
        raise DataError(f"{path}: holds no id")
    return [line for line in found if line]


def write(
    found: Collection,
    audio: Audio,
    out: Path,
    *,
    name: str,
    splits: Sequence[str],
    fingerprint: Callable[[Mapping[str, Sequence[str]]], str],
) -> list[Written]:
    """Write a data set: tracks.csv, a csv of every set of tags, a JSON file per split, and missing.jsonl.

    Args:
        found: What the annotations say.
        audio: Where the audio is; a file of no bytes counts as missing.
        out: Folder that is not there yet; it gets its name when all is in it.
        name: Of the data set, for the splits' provenance.
        splits: Which; none writes tracks and tags alone.
        fingerprint: The hash of a split (`comparability.of_split`).

    Raises:
        DataError: `out` exists, or train, valid or test of a split has no audio at all.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; give another folder")
    wanted = (
        {i for split in splits for ids in found.splits[split].ids.values() for i in ids}
        if splits
        else set(found.tracks)
    )
    places, missing = _look_up(found, audio, sorted(wanted))
    written = []
    with files.whole(out) as folder:
        folder.mkdir()
        rows: list[Sequence[object]] = [("track_id", "audio_path", "artist")]
        rows += [(i, places[i], found.tracks[i].artist) for i in sorted(places)]
        _write_csv(folder / "tracks.csv", rows)
        used = dict.fromkeys(found.splits[split].tags for split in splits) if splits else found.tags
        for key in used:
            tags = found.tags[key]
            rows = [("track_id", "tags"), *((i, _cell(tags.get(i, ()))) for i in sorted(places))]
            _write_csv(folder / f"{key}.csv", rows)
        files.write_jsonl(folder / "missing.jsonl", missing)
        for split in splits:
            written.append(_write_split(found.splits[split], split, places, folder, out, name, fingerprint))
    return written


def _look_up(found: Collection, audio: Audio, ids: Sequence[str]) -> tuple[dict[str, Path], list[dict[str, Any]]]:
    places: dict[str, Path] = {}
    missing: list[dict[str, Any]] = []
    for track_id in ids:
        listed = found.tracks[track_id]
        path = audio.find(listed.paths)
        if path is None or not path.stat().st_size:
            missing.append({"id": track_id, "path": listed.paths[0], "reason": "empty" if path else "missing"})
        else:
            places[track_id] = path
    return places, missing


def _write_split(
    split: NamedSplit,
    name: str,
    places: Mapping[str, Path],
    folder: Path,
    out: Path,
    dataset: str,
    fingerprint: Callable[[Mapping[str, Sequence[str]]], str],
) -> Written:
    ids = {each: [i for i in split.ids[each] if i in places] for each in SPLITS}
    if empty := [each for each in SPLITS if not ids[each] and split.ids[each]]:
        raise DataError(
            f"split {name}: no audio of its {len(split.ids[empty[0]])} {empty[0]} tracks was found; is AUDIO_DIR the right folder?"
        )
    listed = {each: len(split.ids[each]) for each in SPLITS}
    lost = sum(listed.values()) - sum(map(len, ids.values()))
    digest = fingerprint(ids)
    made = {"dataset": dataset, "split": name, "tags": f"{split.tags}.csv", "listed": listed, "missing": lost}
    path = folder / f"split-{name}.json"
    content = {"format": search.FORMAT, "version": search.VERSION, "made": made, "tags": list(split.classes), **ids}
    files.write_json(path, content)
    return Written(
        name,
        out / path.name,
        out / f"{split.tags}.csv",
        {each: len(tracks) for each, tracks in ids.items()},
        lost,
        digest,
        split.classes,
    )


def _cell(tags: Sequence[str]) -> str:
    """Tags as `tags.files.read_tags` reads a cell: apart by ``;``, or as a list where a tag has what separates."""
    if any(sign in tag for tag in tags for sign in ";|") or (len(tags) == 1 and tags[0][:1] == "["):
        cell = repr(list(tags))
        assert ast.literal_eval(cell) == list(tags)
        return cell
    return "; ".join(tags)


def _write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with files.atomic(path) as file:
        csv_files.write(file, rows)
