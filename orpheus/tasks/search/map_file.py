"""map.npz in the folder of an index: the map of its songs, with the revision of the store that it is of."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.base import arrays, files, locks
from orpheus.errors import DataError
from orpheus.tasks.search import projection, regions
from orpheus.tasks.search.filters import Facets
from orpheus.tasks.search.store import SongStore

log = logging.getLogger(__name__)

NAME = "map.npz"
_MEMBERS = ("revision", "numbers", "points", "places", "names")


class Map(NamedTuple):
    """Places of the songs of an index.

    Attributes:
        numbers: (n,) uint32, rising: of the songs.
        points: (n, 2) float32, between −1 and 1.
        labels: Names of regions as (x, y, tag), those of most songs first.
    """

    numbers: np.ndarray
    points: np.ndarray
    labels: list[tuple[float, float, str]]


def current(store: SongStore, *, anew: bool = False) -> Map:
    """The map of a store as it is now: that of the file, or made and kept in it.

    Args:
        store: Of the songs. A new map is kept beside it where this process may write.
        anew: Place all songs anew, also those that a map has.
    """
    revision, folder = store.revision, store.path.parent
    old = read(folder / NAME)
    if old is not None and old[0] == revision and not anew:
        return old[1]
    numbers = store.numbers()
    points = np.zeros((0, 2), np.float32)
    if len(numbers):
        known = None if old is None or anew else (old[1].numbers.astype(np.int64), old[1].points)
        points = projection.project(numbers, lambda some: store.vectors(some, store.dimension), known=known)
    found = Map(numbers.astype(np.uint32), points, regions.labels(numbers, points, Facets(store)))
    try:
        with locks.lock(folder):
            save(folder, found, revision)
    except (DataError, OSError) as error:
        log.warning("%s: the map of its songs is not kept (%s)", folder, error)
    return found


def save(folder: Path, found: Map, revision: int) -> None:
    """Write a map, whole or not at all."""
    places = np.array([label[:2] for label in found.labels], np.float32).reshape(-1, 2)
    names = np.array([label[2] for label in found.labels], np.str_)
    with files.atomic(folder / NAME, "wb") as file:
        np.savez(
            file, revision=np.int64(revision), numbers=found.numbers, points=found.points, places=places, names=names
        )


def read(path: Path) -> tuple[int, Map] | None:
    """Revision and map of a file; None where there is none or a damaged one, which is made again."""
    if not path.is_file():
        return None
    try:
        found = arrays.load_npz(path, _MEMBERS)
        revision, numbers, points, places, names = (found[name] for name in _MEMBERS)
        kinds = revision.dtype.kind == "i", numbers.dtype == np.uint32, points.dtype == places.dtype == np.float32
        shapes = [array.shape for array in (revision, numbers, points, names, places)]
        songs, regions_named = len(points), len(places)
        good = all(kinds) and shapes == [(), (songs,), (songs, 2), (regions_named,), (regions_named, 2)]
        good = good and (names.dtype.kind == "U" or not regions_named)
        if not good or not (np.abs(points) <= 1).all() or not (np.abs(places) <= 1).all():
            raise DataError(f"{path}: not a map of an index")
        if (np.diff(numbers.astype(np.int64)) <= 0).any():
            raise DataError(f"{path}: numbers of its songs do not rise")
    except DataError as error:
        log.warning("%s; it is made again", error)
        return None
    labels = [(float(x), float(y), str(name)) for (x, y), name in zip(places, names, strict=True)]
    return int(revision), Map(numbers, points, labels)
