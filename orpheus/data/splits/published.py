"""The files that the reference of retrieval (Won et al. 2021) publishes: its split, its tags and its factors.

A folder holds ``train_ids.npy``, ``valid_ids.npy`` and ``test_ids.npy``, text ``ROW//ID``; ``tags.npy``, names of tags;
``binaries.npy``, (rows, tags) zeros and ones; and ``ix_to_cf.npy``, (rows, columns) factors. The smaller split stands
beside it, each name with ``sub_`` before it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from orpheus.base import arrays
from orpheus.errors import DataError

_IDS = "train_ids.npy"
_BINARIES, _TAGS = "binaries.npy", "tags.npy"


def is_split(path: str | os.PathLike) -> bool:
    """Whether a path is such a folder, or its (sub_)train_ids.npy."""
    path = Path(path).expanduser()
    return (path / _IDS).is_file() if path.is_dir() else path.name.removeprefix("sub_") == _IDS


def is_tags(path: str | os.PathLike) -> bool:
    """Whether a path is such a folder with tags, or its (sub_)binaries.npy."""
    path = Path(path).expanduser()
    return (path / _BINARIES).is_file() if path.is_dir() else path.name.removeprefix("sub_") == _BINARIES


def files(path: str | os.PathLike) -> list[Path]:
    """The files that tags are read from."""
    return [
        *(_name(path, f"{name}_ids.npy") for name in ("train", "valid", "test")),
        _name(path, _TAGS),
        _name(path, _BINARIES),
    ]


def split(path: str | os.PathLike) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Train, valid and test → ids, and the tags in their order; () where there is no tags.npy.

    Args:
        path: See `is_split`.

    Raises:
        DataError: a file is missing or damaged, an id is not ``ROW//ID``.
    """
    ids = {name: tuple(_rows(path, name).values()) for name in ("train", "valid", "test")}
    names = _name(path, _TAGS)
    return ids, _tag_names(names) if names.is_file() else ()


def tags(path: str | os.PathLike) -> dict[str, list[str]]:
    """Id → tags, of the songs of all three splits.

    Args:
        path: See `is_tags`.

    Raises:
        DataError: as in `split`; the sizes of files do not agree.
    """
    names, where = _tag_names(_name(path, _TAGS)), _name(path, _BINARIES)
    given = arrays.load_npy(where, mapped=True)
    if given.ndim != 2 or given.shape[1] != len(names):
        raise DataError(
            f"{where}: shape {given.shape}, expected a column for each of the {len(names)} names of {_TAGS}"
        )
    of_rows = rows(path, count=len(given))
    return {song: [names[column] for column in np.flatnonzero(given[row])] for row, song in of_rows.items()}


def rows(path: str | os.PathLike, *, count: int) -> dict[int, str]:
    """Row → id, of the songs of all three splits, by ascending row.

    Args:
        path: Any of the files, or their folder.
        count: Rows that there are.

    Raises:
        DataError: as in `split`; a row is not below `count`, or stands for two ids.
    """
    found: dict[int, str] = {}
    for name in ("train", "valid", "test"):
        for row, song in _rows(path, name).items():
            if not 0 <= row < count:
                raise DataError(f"{_name(path, name + '_ids.npy')}: song {song!r} is row {row} of {count}")
            if found.setdefault(row, song) != song:
                raise DataError(
                    f"{_name(path, name + '_ids.npy')}: row {row} is {song!r} here and {found[row]!r} above"
                )
    return dict(sorted(found.items()))


def _rows(path: str | os.PathLike, name: str) -> Mapping[int, str]:
    """Row → id of one split, in the order of the file."""
    where = _name(path, f"{name}_ids.npy")
    found: dict[int, str] = {}
    for line in arrays.load_npy(where, kinds="U").ravel().tolist():
        row, slashes, song = line.partition("//")
        if not (slashes and row.isascii() and row.isdigit() and song):
            raise DataError(f"{where}: {line[:60]!r}, expected ROW//ID")
        if int(row) in found:
            raise DataError(f"{where}: row {row} comes twice")
        found[int(row)] = song
    return found


def _tag_names(path: Path) -> tuple[str, ...]:
    names = tuple(arrays.load_npy(path, kinds="U").ravel().tolist())
    if len(set(names)) != len(names):
        raise DataError(f"{path}: a tag comes twice")
    return names


def _name(path: str | os.PathLike, name: str) -> Path:
    """The file called `name` in a folder, or beside one of its files, with ``sub_`` where that has it."""
    path = Path(path).expanduser()
    if path.is_dir():
        return path / name
    return path.with_name(("sub_" if path.name.startswith("sub_") else "") + name)
