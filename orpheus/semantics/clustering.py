"""Clusters of tags: k-means with normalised centroids, linkage of a distance matrix, the number of them by silhouette.

Why k-means is written here: `faiss.Kmeans(spherical=True)` and scikit-learn's `KMeans` take Lloyd's steps, which end in
local optima that steps of another kind leave, and scikit-learn minimises another cost, its centroids not being
normalised. `benchmarks/clustering.py` prints cost and time of each.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt

import numpy as np

from orpheus.errors import ConfigError, DataError

LINKAGES = ("average", "complete", "single")
_SEEDED = 4096  # points among which starting centroids are sought; the table of their distances takes 67 MB
_BLOCK = 1024  # points compared with all clusters at once: what is computed of them stays in the processor's cache
_HALVINGS = (4, 6)  # steps after which the worse half of the starts is given up
_FINISHED = 5  # starts that are carried to the end
_SLOW = 2e-4  # share of the cost that a step must save for the next to be taken


@dataclass(frozen=True)
class KMeans:
    """A clustering of unit vectors.

    Attributes:
        labels: (n,) int32 in [0, k).
        centroids: (k, d) float32 unit rows.
        cost: Sum over all points of 1 − cos(point, its centroid); half the squared Euclidean distance.
        history: Cost after each step of the start that won, and after its moves of single points.
    """

    labels: np.ndarray
    centroids: np.ndarray
    cost: float
    history: tuple[float, ...]


def normalised(x: np.ndarray, *, name: str = "vectors") -> np.ndarray:
    """The rows of x divided by their lengths, float32.

    Raises:
        DataError: x is not a matrix, or a row is zero or not finite.
    """
    x = np.asarray(x, np.float32)
    if x.ndim != 2:
        raise DataError(f"{name}: expected a matrix (points, dimensions), found shape {x.shape}")
    length = np.linalg.norm(x, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(length[:, 0]) & (length[:, 0] > 0)))
    if len(bad):
        raise DataError(f"{name}: row {bad[0]} has no direction (zero or not finite); leave such tags out")
    return x / length


def kmeans(
    x: np.ndarray,
    k: int,
    *,
    n_init: int = 60,
    max_iterations: int = 300,
    seed: int = 0,
    progress: Callable[..., Iterable] | None = None,
) -> KMeans:
    """Spherical k-means: the best of `n_init` starts from greedy k-means++.

    A step moves every point to the cluster where it lowers the cost most; where all of these moves together would raise
    the cost, Lloyd's step is taken, so that it never rises. All starts take four steps, the better half of them two
    more; the best of those left go on until a step saves less than 0.02 %, and then move single points for as long as
    one move lowers the cost. No start is given up where `n_init` is at most five.

    Args:
        x: (n, d) vectors; their lengths do not matter.
        k: Number of clusters, at most the number of different directions.
        n_init: Starts.
        max_iterations: Steps of one start at most, the moves of single points apart.
        seed: Same seed, same result on the same machine, whatever the number of threads.
        progress: Called as ``progress(range, desc=…)`` and iterated instead.

    Returns:
        The clustering of least cost. Every cluster has a member.

    Raises:
        ConfigError: k or n_init below 1, or k above the number of different vectors.

    References:
        Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering", 2001;
        Dhillon, Guan and Kogan, "Iterative Clustering of High Dimensional Text Data Augmented by Local Search", 2002,
        and Telgarsky and Vattani, "Hartigan's Method: k-means Clustering without Voronoi", 2010 (the moves);
        Arthur and Vassilvitskii, "k-means++", 2007.
    """
    from threadpoolctl import threadpool_limits

    if k < 1 or n_init < 1:
        raise ConfigError(f"k-means: n_clusters={k} and n_init={n_init} must be at least 1")
    x = normalised(x)
    distinct = len({row.tobytes() for row in np.round(x, 5) + 0.0})  # + 0.0 makes -0 and 0 the same bytes
    if k > distinct:
        raise ConfigError(f"k-means: n_clusters={k} for {distinct} different vectors; ask for at most {distinct}")
    numbers: Iterable[int] = range(n_init)
    if progress:
        numbers = progress(numbers, desc=f"k-means, {k} clusters", unit=" starts")
    # Starts in threads, each one's linear algebra in one: sums split among threads may differ in the last bit.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        seeds = _Seeds(x, k, np.random.default_rng(seed))

        def begin(own: np.random.SeedSequence) -> _Start:
            start = _Start(x, seeds.draw(np.random.default_rng(own)))
            start.descend(min(_HALVINGS[0], max_iterations))
            return start

        begun = pool.map(begin, np.random.SeedSequence(seed).spawn(n_init))
        starts = [start for _, start in zip(numbers, begun, strict=True)]
        for steps in (*_HALVINGS[1:], max_iterations):
            starts = _best(starts, max(_FINISHED, len(starts) // 2))
            list(pool.map(_Start.descend, starts, itertools.repeat(min(steps, max_iterations))))
        starts = _best(starts, _FINISHED)
        list(pool.map(_Start.move_single, starts))
        (best,) = _best(starts, 1)
    sums = _sums(x, best.labels, k)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    centroids = np.where(length > 0, sums / np.maximum(length, 1e-30), _first_members(x, best.labels, k))
    cost = max(0.0, len(x) - float(length.sum()))
    return KMeans(
        best.labels.astype(np.int32),
        centroids.astype(np.float32),
        cost,
        (*(max(each, cost) for each in best.history), cost),
    )


def cost_of(x: np.ndarray, labels: np.ndarray) -> float:
    """Sum of 1 − cos(point, normalised mean of its cluster), for any labelling: to compare methods."""
    _, labels = np.unique(labels, return_inverse=True)
    x = normalised(x)
    return len(x) - float(np.linalg.norm(_sums(x, labels, labels.max() + 1), axis=1).sum())


class _Seeds:
    """Starting centroids by greedy k-means++ among a sample of the points: of 2 + ln k drawn each time, the best."""

    def __init__(self, x: np.ndarray, k: int, rng: np.random.Generator):
        size = min(len(x), max(_SEEDED, 2 * k))
        self.points = x if size == len(x) else x[np.sort(rng.choice(len(x), size, replace=False))]
        self.k, self.trials = k, 2 + int(np.log(k))
        # 1 − cos of each pair: every start looks up rows of it that it would have to compute.
        self.table = self._distances(np.arange(size)) if size <= _SEEDED else None

    def _distances(self, rows: np.ndarray | list[int]) -> np.ndarray:
        """(rows, points) of 1 − cos."""
        result = self.points[rows] @ self.points.T
        np.subtract(1, result, out=result)
        return np.maximum(result, 0, out=result)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(k, d) centroids."""
        chosen = [int(rng.integers(len(self.points)))]
        lookup = self._distances if self.table is None else self.table.__getitem__
        nearest = lookup(chosen)[0]
        for _ in range(self.k - 1):
            cumulative = np.cumsum(nearest + 1e-12, dtype=np.float64)
            drawn = np.searchsorted(cumulative, rng.random(self.trials) * cumulative[-1], side="right")
            candidates = np.minimum(drawn, len(nearest) - 1)
            after = np.minimum(lookup(candidates), nearest)  # (trials, points)
            winner = int(after.sum(axis=1).argmin())
            chosen.append(int(candidates[winner]))
            nearest = after[winner]
        return self.points[chosen]


class _Start:
    """One start of k-means.

    Attributes:
        labels: (n,) cluster of each point.
        cost: Of these.
        history: Cost after each step, the first of which gave the points to the starting centroids.
        ended: Whether another step is not worth its time.
    """

    def __init__(self, x: np.ndarray, centroids: np.ndarray):
        self.x, self.k, self.ended = x, len(centroids), False
        self._set(_nearest(x, centroids))
        self.history = [self.cost]

    def _set(self, labels: np.ndarray) -> None:
        self.labels, self.sums = labels, _sums(self.x, labels, self.k, np.float32)
        self.cost = len(self.x) - float(np.linalg.norm(self.sums, axis=1).sum(dtype=np.float64))

    def descend(self, steps: int) -> None:
        """Until there have been so many steps, or one hardly lowers the cost."""
        while len(self.history) < steps and not self.ended:
            before = self.cost, self.labels, self.sums
            self._set(self._moved())
            if self.cost > before[0]:
                length = np.linalg.norm(before[2], axis=1, keepdims=True)
                self._set(_nearest(self.x, before[2] / np.maximum(length, 1e-9)))
            if self.cost > before[0]:
                self.cost, self.labels, self.sums = before
            self.history.append(self.cost)
            self.ended = before[0] - self.cost <= _SLOW * before[0]

    def _moved(self) -> np.ndarray:
        """Labels after every point has moved to the cluster where it alone would lower the cost most."""
        target, joined, left = _offers(self.x, self.labels, self.sums)
        labels = np.where(joined > left + 1e-5, target, self.labels)
        _fill_empty(labels, np.maximum(joined, left), self.k)
        return labels

    def move_single(self, *, max_rounds: int = 50) -> None:
        """Move points one at a time while a move lowers the cost.

        What each would save is computed of all at once; the promising ones are then tried in order against the sums as
        they are by then.
        """
        labels, sums = self.labels.copy(), _sums(self.x, self.labels, self.k)
        sizes = np.bincount(labels, minlength=self.k)
        square = np.einsum("kd,kd->k", sums, sums)
        for _ in range(max_rounds):
            target, joined, left = _offers(self.x, labels, sums)
            gain = joined - left
            promising = np.flatnonzero(gain > 1e-5)
            moved = False
            for point in promising[np.argsort(-gain[promising], kind="stable")]:
                a, b, p = labels[point], target[point], self.x[point].astype(np.float64)
                if sizes[a] < 2:
                    continue
                own = p @ p
                without, joint = square[a] - 2 * (sums[a] @ p) + own, square[b] + 2 * (sums[b] @ p) + own
                saved = sqrt(max(without, 0)) + sqrt(joint) - sqrt(square[a]) - sqrt(square[b])
                if saved > 1e-7:
                    sums[a] -= p
                    sums[b] += p
                    sizes[a] -= 1
                    sizes[b] += 1
                    square[a], square[b] = sums[a] @ sums[a], sums[b] @ sums[b]
                    labels[point] = b
                    moved = True
            if not moved:
                break
        self.labels, self.cost = labels, len(self.x) - float(np.sqrt(square).sum())


def _best(starts: Sequence[_Start], count: int) -> list[_Start]:
    """Those of the lowest cost, the earlier among equals."""
    return sorted(starts, key=lambda start: start.cost)[:count]


def _blocks(x: np.ndarray, matrix: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the points and, for each, its (points, clusters) of x @ matrix."""
    for begin in range(0, len(x), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        yield block, x[block] @ matrix


def _nearest(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """(n,) the cluster of the nearest centroid; none is left empty."""
    labels, cosine = np.empty(len(x), np.intp), np.empty(len(x), np.float32)
    for block, cosines in _blocks(x, np.ascontiguousarray(centroids.T)):
        labels[block] = cosines.argmax(axis=1)
        cosine[block] = cosines.max(axis=1)
    _fill_empty(labels, cosine, len(centroids))
    return labels


def _offers(x: np.ndarray, labels: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each point would change by moving alone.

    Moving point p from cluster a to b lowers the cost by (|S_b + p| − |S_b|) − (|S_a| − |S_a − p|), S the sum of a
    cluster's members.

    Returns:
        (n,) the best other cluster b, the first term of it, and the second.
    """
    target, joined, left = np.empty(len(x), np.intp), np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    square = np.einsum("kd,kd->k", sums, sums).astype(np.float32)
    length = np.sqrt(square)
    for block, values in _blocks(x, np.ascontiguousarray(2 * sums.T, np.float32)):
        own, rows = labels[block], np.arange(len(values))
        left[block] = length[own] - np.sqrt(np.maximum(square[own] - values[rows, own] + 1, 0))
        values += square + 1  # |S + p|² where p has length 1
        np.maximum(values, 0, out=values)
        np.sqrt(values, out=values)
        values -= length
        values[rows, own] = -np.inf
        target[block] = values.argmax(axis=1)
        joined[block] = values[rows, target[block]]
    return target, joined, left


def _sums(x: np.ndarray, labels: np.ndarray, k: int, dtype: type = np.float64) -> np.ndarray:
    """(k, d) sums of the members of each cluster."""
    from scipy import sparse

    members = sparse.csc_matrix((np.ones(len(x), dtype), labels, np.arange(len(x) + 1)), shape=(k, len(x)))
    return members @ x


def _fill_empty(labels: np.ndarray, cosine: np.ndarray, k: int) -> None:
    """Give each empty cluster the point that is farthest from its centroid: its cost becomes 0, no other rises."""
    sizes = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return
    farthest = iter(np.argsort(cosine, kind="stable"))
    for cluster in empty:
        point = next(p for p in farthest if sizes[labels[p]] > 1)
        sizes[labels[point]] -= 1
        labels[point] = cluster
        sizes[cluster] = 1


def _first_members(x: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    _, first = np.unique(labels, return_index=True)
    return x[first] if len(first) == k else np.zeros((k, x.shape[1]), np.float32)


def check_distances(distances: np.ndarray) -> np.ndarray:
    """The matrix itself if it is square, symmetric, finite, not negative and zero on the diagonal, else a DataError."""
    distances = np.asarray(distances, np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise DataError(f"distances: expected a square matrix, found shape {distances.shape}")
    if not np.isfinite(distances).all() or (distances < 0).any():
        raise DataError("distances: every entry must be finite and not negative")
    if np.abs(np.diagonal(distances)).max(initial=0) > 0 or not np.allclose(distances, distances.T, atol=1e-9):
        raise DataError("distances: the matrix must be symmetric with zeros on the diagonal")
    return distances


def agglomerative(distances: np.ndarray, ks: Sequence[int], *, linkage: str = "average") -> dict[int, np.ndarray]:
    """Hierarchical clustering of a distance matrix, cut at several numbers of clusters.

    Args:
        distances: (n, n) symmetric, zeros on the diagonal.
        ks: Numbers of clusters, each within 1…n.
        linkage: ``"average"``, ``"complete"`` or ``"single"``. (Ward and centroid need points, not distances.)

    Returns:
        For each k, (n,) int32 labels in [0, k).
    """
    from scipy.cluster.hierarchy import cut_tree
    from scipy.cluster.hierarchy import linkage as link
    from scipy.spatial.distance import squareform

    if linkage not in LINKAGES:
        raise ConfigError(f"linkage={linkage!r}: must be one of {', '.join(LINKAGES)}")
    distances = check_distances(distances)
    wrong = [k for k in ks if not 1 <= k <= len(distances)]
    if wrong:
        raise ConfigError(f"linkage: {wrong[0]} clusters of {len(distances)} points")
    if len(distances) == 1:
        return {k: np.zeros(1, np.int32) for k in ks}
    tree = link(squareform(distances, checks=False), method=linkage)
    cut = cut_tree(tree, n_clusters=sorted(set(ks)))
    return {k: cut[:, column].astype(np.int32) for column, k in enumerate(sorted(set(ks)))}


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of a labelling in a distance matrix, in [-1, 1]; -1 where it is not defined (1 or n clusters)."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return -1.0
    return float(silhouette_score(distances, labels, metric="precomputed"))


def choose_k(distances: np.ndarray, labellings: dict[int, np.ndarray]) -> tuple[int, np.ndarray, dict[int, float]]:
    """The labelling of the largest silhouette, the fewest clusters among equals.

    Returns:
        k, its labels, and the silhouette of every k.

    Raises:
        DataError: there is no labelling to choose from.
    """
    if not labellings:
        raise DataError("no number of clusters is possible: too few tags; lower the smallest k")
    scores = {k: silhouette(distances, labels) for k, labels in sorted(labellings.items())}
    best = max(scores, key=lambda k: (scores[k], -k))
    return best, labellings[best], scores


def cosine_distances(x: np.ndarray) -> np.ndarray:
    """(n, n) float64 of 1 − cos between the rows, symmetric, zeros on the diagonal."""
    x = normalised(x).astype(np.float64)
    result = np.clip(1 - x @ x.T, 0, 2)
    result = (result + result.T) / 2
    np.fill_diagonal(result, 0)
    return result
