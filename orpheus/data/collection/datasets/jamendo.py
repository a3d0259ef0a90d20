"""MTG-Jamendo: 55,609 tracks with tags of genre, instrument and mood (Bogdanov et al. 2019), in five splits by artist."""

import re
from pathlib import Path

from orpheus.data.collection.datasets.common import SPLITS, Collection, Listed, NamedSplit, check_ids
from orpheus.data.tags.files import TaggedTrack, read_tags
from orpheus.errors import DataError

_FILES = {"train": "train", "valid": "validation", "test": "test"}


def read(annotations: Path, audio: Path) -> Collection:
    """Tracks, and tags and splits of every subset whose three lists are there.

    Args:
        annotations: The publisher's repository, its folder data/splits, or one folder with
            ``autotagging[_SUBSET]-{train,validation,test}.tsv``. A folder called split-N gives splits ``SUBSET-N``; any
            other is taken for split 0, which its hash confirms or not. The subset without a name is ``overall``.
        audio: Not read; tracks are ``41/241.mp3`` below it, or ``41/241.low.mp3`` of the smaller download.

    Raises:
        DataError: no list, a subset without one of its three, a malformed line, a track in two splits.
    """
    folder = next(
        (each for each in (annotations / "data" / "splits", annotations / "splits") if each.is_dir()), annotations
    )
    lists = sorted([*folder.glob("autotagging*-train.tsv"), *folder.glob("split-*/autotagging*-train.tsv")])
    if not lists:
        raise DataError(
            f"{annotations}: no autotagging*-train.tsv in it, nor in split-0; give MTG-Jamendo's data/splits"
        )
    tracks: dict[str, Listed] = {}
    tags: dict[str, dict[str, tuple[str, ...]]] = {}
    splits = {}
    for path in lists:
        subset = path.name.removeprefix("autotagging").removesuffix("-train.tsv").removeprefix("_") or "overall"
        numbered = re.fullmatch(r"split-(\d+)", path.parent.name)
        name = f"{subset}-{numbered[1] if numbered else 0}"
        lists_of = {split: _read(path, split) for split in SPLITS}
        of_set = tags.setdefault(f"tags-{subset}", {})
        for listed in lists_of.values():
            for track_id, track in listed.items():
                tracks[track_id] = Listed((track.path, re.sub(r"\.mp3$", ".low.mp3", track.path)), track.artist)
                if of_set.setdefault(track_id, track.tags) != track.tags:
                    raise DataError(
                        f"{path}: tags of {track_id} differ from another list's of {subset}; are both of one version?"
                    )
        classes = tuple(sorted({tag for each in of_set.values() for tag in each}))
        ids = check_ids(str(path), {split: list(listed) for split, listed in lists_of.items()})
        splits[name] = NamedSplit(ids, f"tags-{subset}", classes)
    return Collection(tracks, tags, splits)


def _read(path: Path, split: str) -> dict[str, TaggedTrack]:
    return read_tags(path.with_name(path.name.removesuffix("train.tsv") + f"{_FILES[split]}.tsv"))
