"""Free Music Archive: 106,574 tracks with genres (Defferrard et al. 2017), in four subsets with one split by artist."""

import ast
from pathlib import Path

from orpheus.base import csv_files
from orpheus.data.collection.datasets.common import SPLITS, Collection, Listed, NamedSplit
from orpheus.errors import DataError

SUBSETS = ("small", "medium", "large", "full")  # each holds those before it
_SPLITS = {"training": "train", "validation": "valid", "test": "test"}
_COLUMNS = {
    "split": ("set", "split"),
    "subset": ("set", "subset"),
    "root": ("track", "genre_top"),
    "genres": ("track", "genres_all"),
    "artist": ("artist", "id"),
}


def read(annotations: Path, audio: Path) -> Collection:
    """Tracks, genres and a split for each subset.

    Args:
        annotations: Folder fma_metadata with tracks.csv, whose columns are named by two header rows, and genres.csv.
        audio: Not read; tracks are ``000/000002.mp3`` below it.

    Returns:
        Set ``tags``: the one root genre, with splits ``small`` (8 genres) and ``medium`` (16). Set ``tags-genres``: all
        genres of a track, with splits ``large`` and ``full``.

    Raises:
        DataError: a file or column is missing, a cell is no list of genres or names no split.
    """
    names = _genres(annotations / "genres.csv")
    path = annotations / "tracks.csv"
    columns, rows = _rows(path)
    tracks, roots, genres = {}, {}, {}
    ids_of: dict[str, dict[str, list[str]]] = {subset: {split: [] for split in SPLITS} for subset in SUBSETS}
    for number, cells in rows:
        row = {key: cells[at].strip() for key, at in columns.items()}
        track_id = cells[0].strip()
        if not track_id.isdigit() or track_id in tracks:
            raise DataError(
                f"{path}:{number}: track_id {track_id!r} is {'there twice' if track_id in tracks else 'no number'}"
            )
        if row["split"] not in _SPLITS:
            raise DataError(f"{path}:{number}: split {row['split']!r}; expected {', '.join(_SPLITS)}")
        if row["subset"] not in (*SUBSETS[:3], ""):
            raise DataError(f"{path}:{number}: subset {row['subset']!r}; expected {', '.join(SUBSETS[:3])} or nothing")
        name = f"{int(track_id):06d}"
        tracks[track_id] = Listed((f"{name[:3]}/{name}.mp3",), row["artist"])
        roots[track_id] = [row["root"]] if row["root"] else []
        genres[track_id] = _named(row["genres"], names, f"{path}:{number}")
        for subset in SUBSETS[SUBSETS.index(row["subset"] or "full") :]:
            ids_of[subset][_SPLITS[row["split"]]].append(track_id)
    splits = {}
    for subset in SUBSETS:
        key, tags = ("tags", roots) if subset in ("small", "medium") else ("tags-genres", genres)
        classes = sorted({tag for ids in ids_of[subset].values() for i in ids for tag in tags[i]})
        if classes:
            splits[subset] = NamedSplit(ids_of[subset], key, tuple(classes))
    return Collection(tracks, {"tags": roots, "tags-genres": genres}, splits)


def _rows(path: Path) -> tuple[dict[str, int], list[tuple[int, list[str]]]]:
    """Where each needed column is, and the rows below the three header rows (two of names, one that names the index)."""
    lines = csv_files.iterate(path)
    (_, first), (_, second), (_, third) = (next(lines, (0, [])) for _ in range(3))
    pairs = list(zip(first, second, strict=False))
    lacking = [pair for pair in _COLUMNS.values() if pair not in pairs]
    if lacking or third[:1] != ["track_id"]:
        what = f"no column {lacking[0]}" if lacking else "its third row does not begin with track_id"
        raise DataError(f"{path}: {what}; expected fma_metadata's tracks.csv, whose columns have names in two rows")
    rows = []
    for number, cells in lines:
        if len(cells) != len(first):
            raise DataError(f"{path}:{number}: {len(cells)} cells, the header has {len(first)}; download it again")
        rows.append((number, cells))
    if not rows:
        raise DataError(f"{path}: holds no track")
    return {key: pairs.index(pair) for key, pair in _COLUMNS.items()}, rows


def _genres(path: Path) -> dict[int, str]:
    """Number → title."""
    found = {}
    for number, row in csv_files.read(path, required=["genre_id", "title"]).rows:
        if not row["genre_id"].isdigit() or not row["title"].strip():
            raise DataError(
                f"{path}:{number}: genre {row['genre_id']!r} with title {row['title']!r}; download it again"
            )
        found[int(row["genre_id"])] = row["title"].strip()
    return found


def _named(cell: str, names: dict[int, str], where: str) -> list[str]:
    """The titles of a cell as ``[21, 12]``."""
    try:
        numbers = ast.literal_eval(cell) if len(cell) < 1000 else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        numbers = None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise DataError(f"{where}: genres {cell[:40]!r}, expected a list of numbers as [21, 12]")
    if unknown := [number for number in numbers if number not in names]:
        raise DataError(f"{where}: genre {unknown[0]} is not in genres.csv; are both of one version?")
    return list(dict.fromkeys(names[number] for number in numbers))
