"""Names of a map's regions: the tag that is most over-represented around each place."""

import numpy as np
import scipy.ndimage

from orpheus.tasks.search.filters import Facets

_SONGS_PER_CELL, _FEWEST_CELLS, _MOST_CELLS = 60, 4, 16  # cells along each side
_TAGS = 400  # the most frequent ones, which are compared
_LEAST_SHARE, _LEAST_SONGS = 0.2, 3  # of the songs around a place, that have a tag which names it
_MOST = 60  # labels


def labels(numbers: np.ndarray, points: np.ndarray, facets: Facets) -> list[tuple[float, float, str]]:
    """Names of regions.

    The map is cut into squares. For each square and those around it the number c of songs that have a tag is compared with
    the number e that chance would give; the tag with the largest (c − e) / √(e + 1) names the square if a fifth of the
    songs around have it. Squares of one name that touch are one region, whose label is in the middle of its songs.

    Args:
        numbers: (n,) of the songs, rising.
        points: (n, 2) between −1 and 1.
        facets: Of the same songs.

    Returns:
        (x, y, tag), those of most songs first, 60 at most.
    """
    there = np.isin(facets.numbers, numbers, assume_unique=True)
    place = np.searchsorted(numbers, facets.numbers[there])
    where = np.full((len(there), 2), np.nan, np.float32)
    where[there] = points[place]
    count = int(there.sum())
    side = int(np.clip(round(np.sqrt(count / _SONGS_PER_CELL)), _FEWEST_CELLS, _MOST_CELLS))
    cells = np.clip(((np.nan_to_num(where) + 1) / 2 * side).astype(np.int64), 0, side - 1)
    tags = [int(column) for column in np.argsort(-facets.counts(), kind="stable")[:_TAGS]]
    if not count or not tags:
        return []
    songs = {column: facets.songs_of(column)[there[facets.songs_of(column)]] for column in tags}
    around = _around(cells[there], side)
    best = np.full((side, side), -1, np.int64)
    score = np.zeros((side, side))
    for column in tags:
        having = _around(cells[songs[column]], side)
        chance = around * len(songs[column]) / count
        over = (having - chance) / np.sqrt(chance + 1)
        named = (over > score) & (having >= np.maximum(_LEAST_SHARE * around, _LEAST_SONGS))
        best[named], score[named] = column, over[named]
    found = []
    for column in tags:
        regions, number = scipy.ndimage.label(best == column, structure=np.ones((3, 3)))
        region = regions[cells[songs[column], 0], cells[songs[column], 1]]
        for one in range(1, number + 1):
            inside = where[songs[column]][region == one]
            if len(inside):
                x, y = np.median(inside, axis=0)
                found.append((len(inside), (float(x), float(y), facets.tags[column])))
    return [label for _, label in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:_MOST]]


def _around(cells: np.ndarray, side: int) -> np.ndarray:
    """(side, side) number of songs in each square and the eight around it."""
    counts = np.bincount(cells[:, 0] * side + cells[:, 1], minlength=side * side).reshape(side, side).astype(np.float64)
    return scipy.ndimage.convolve(counts, np.ones((3, 3)), mode="constant")
