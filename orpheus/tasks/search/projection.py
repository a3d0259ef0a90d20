"""A map of an index: each song a place in the plane, near songs near each other, and names of regions by their tags.

t-SNE (L. van der Maaten, G. Hinton, JMLR 2008; by interpolation of G. Linderman et al., Nature Methods 2019) from the
first two principal components, with the neighbours of the index's own search. It places up to `MOST_OPTIMISED` songs, or
an even sample of so many; every other song, and every song that comes later, goes to the mean of its nearest placed songs,
weighted by their nearness. So the map stays as it is when songs come and go, and is made anew when most of it is new.
"""

import logging
from collections.abc import Callable

import numpy as np

from orpheus.learning.vectors.nearest import Nearest

log = logging.getLogger(__name__)

MOST_OPTIMISED = 50_000  # songs; a minute or two on two cores
_PERPLEXITY = 15
_EARLY, _LATE, _EXAGGERATION = 100, 300, 12  # steps, and the attraction of the early ones (van der Maaten 2008)
_NEIGHBOURS = 8  # songs whose mean places another one
_LEAST = 50  # songs for t-SNE; of a dozen it may make one point
_LEAST_EXTENT = 1e-2  # of what t-SNE gives; songs that all are alike stay where they begin
_ENOUGH_OLD = 0.5  # share of songs that have a place already, for the others to be placed among them


def project(
    numbers: np.ndarray,
    vectors: Callable[[np.ndarray], np.ndarray],
    *,
    known: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Places of songs.

    Args:
        numbers: (n,) of the songs, rising.
        vectors: Gives (m, d) float32 unit rows of rising numbers.
        known: Numbers, rising, and (m, 2) places of an older map, which are kept where at least half the songs have one.
        seed: Of the sample and of t-SNE's ties.

    Returns:
        (n, 2) float32, between −1 and 1: the same for the same arguments.
    """
    if known is not None:
        kept = np.isin(known[0], numbers, assume_unique=True)
        if kept.sum() >= max(_ENOUGH_OLD * len(numbers), 1):
            return _placed(numbers, vectors, known[0][kept], known[1][kept])
    drawn = numbers
    if len(numbers) > MOST_OPTIMISED:
        drawn = np.sort(np.random.default_rng(seed).choice(numbers, MOST_OPTIMISED, replace=False))
    return _placed(numbers, vectors, drawn, _optimised(vectors(drawn), seed))


def _placed(
    numbers: np.ndarray, vectors: Callable[[np.ndarray], np.ndarray], old: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Places of songs of which some have one."""
    points = np.zeros((len(numbers), 2), np.float32)
    points[np.searchsorted(numbers, old)] = places
    new = np.setdiff1d(numbers, old, assume_unique=True)
    if len(new):
        among = Nearest(vectors(old[:1]).shape[1])
        among.add(np.arange(len(old)), vectors(old))
        for start in range(0, len(new), 4096):
            part = new[start : start + 4096]
            rows, cosines = among.search(vectors(part), min(_NEIGHBOURS, len(old)))
            # By rank, too: with equal weights a song amid several regions would lie in the void between them.
            weights = np.maximum(cosines, 1e-3) ** 2 / (1 + np.arange(rows.shape[1])) ** 2
            weights /= weights.sum(axis=1, keepdims=True)
            points[np.searchsorted(numbers, part)] = np.einsum("nk,nkd->nd", weights, places[rows])
    return points


def _optimised(vectors: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2) places by t-SNE, or by principal components where openTSNE is missing or songs are few."""
    plane = _principal(vectors)
    if len(vectors) < _LEAST:
        return _scaled(plane)
    try:
        from openTSNE import TSNEEmbedding, affinity, nearest_neighbors
    except ImportError:
        log.warning("openTSNE is not installed: the map is of the first two principal components")
        return _scaled(plane)
    count = min(3 * _PERPLEXITY, len(vectors) - 1)
    neighbours, distances = _neighbours(vectors, count)
    near = affinity.PerplexityBasedNN(
        knn_index=nearest_neighbors.PrecomputedNeighbors(neighbours, distances),
        perplexity=min(_PERPLEXITY, count / 3),
        n_jobs=1,  # sums of several threads come in any order
    )
    # So small a start that the first steps are not held up by where it is (D. Kobak, P. Berens, Nature Comm. 2019).
    start = plane / max(float(plane[:, 0].std()), 1e-12) * 1e-4
    method = "bh" if len(vectors) < 10_000 else "fft"
    embedding = TSNEEmbedding(start, near, n_jobs=1, random_state=seed, negative_gradient_method=method)
    embedding.optimize(_EARLY, exaggeration=_EXAGGERATION, momentum=0.5, inplace=True)
    embedding.optimize(_LATE, momentum=0.8, inplace=True)
    places = np.asarray(embedding, np.float64)
    return _scaled(places if np.isfinite(places).all() and np.ptp(places) > _LEAST_EXTENT else plane)


def _neighbours(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest others of each row, and their distances."""
    nearest = Nearest(vectors.shape[1])
    nearest.add(np.arange(len(vectors)), vectors)
    rows, cosines = nearest.search(vectors, count + 1)
    others = rows != np.arange(len(vectors))[:, None]
    others[others.all(axis=1), -1] = False  # it was not found itself, among so many equal ones
    shape = (len(vectors), count)
    return rows[others].reshape(shape), np.sqrt(np.maximum(2 - 2 * cosines[others].reshape(shape), 0))


def _principal(vectors: np.ndarray) -> np.ndarray:
    """(n, 2) first two principal components, the largest weight of each positive."""
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)[1][:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    plane = centred @ axes
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def _scaled(places: np.ndarray) -> np.ndarray:
    """Places moved to the middle and scaled alike in both directions, so that they fill −1 to 1."""
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    return np.clip((places - (low + high) / 2) / half, -1, 1).astype(np.float32)
