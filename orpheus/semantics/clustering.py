"""Clusters of tags: k-means with normalised centroids, linkage of a distance matrix, the number of them by silhouette.

Why k-means is written here: `faiss.Kmeans(spherical=True)` and scikit-learn's `KMeans` stop where Lloyd's iterations
stop, and scikit-learn minimises another cost, its centroids not being normalised. On 7,669 vectors of 200 dimensions in
100 clusters both end 1 to 3 % above the cost reached here with as many starts, in no less time
(`benchmarks/clustering.py` prints the comparison).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from orpheus.errors import ConfigError, DataError

LINKAGES = ("average", "complete", "single")


@dataclass(frozen=True)
class KMeans:
    """A clustering of unit vectors.

    Attributes:
        labels: (n,) int32 in [0, k).
        centroids: (k, d) float32 unit rows.
        cost: Sum over all points of 1 − cos(point, its centroid); half the squared Euclidean distance.
        history: Cost after each iteration of the initialisation that won.
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
    """Spherical k-means: Lloyd's iterations with normalised centroids, the best of `n_init` k-means++ starts.

    Each start runs until no point changes its cluster; the cost never rises. The best is then refined by moving single
    points for as long as one move lowers the cost, which leaves local optima that Lloyd's iterations cannot leave.

    Args:
        x: (n, d) vectors; their lengths do not matter.
        k: Number of clusters, at most the number of different directions.
        n_init: Starts.
        max_iterations: Of one start.
        seed: Same seed, same result on the same machine.
        progress: Called as ``progress(range, desc=…)`` and iterated instead.

    Returns:
        The clustering of least cost. Every cluster has a member.

    Raises:
        ConfigError: k or n_init below 1, or k above the number of different vectors.

    References:
        Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data Using Clustering", 2001;
        Dhillon, Guan and Kogan, "Iterative Clustering of High Dimensional Text Data Augmented by Local Search", 2002
        (the moves of single points); Arthur and Vassilvitskii, "k-means++", 2007.
    """
    if k < 1 or n_init < 1:
        raise ConfigError(f"k-means: n_clusters={k} and n_init={n_init} must be at least 1")
    x = normalised(x)
    distinct = len(np.unique(np.round(x, 5), axis=0))
    if k > distinct:
        raise ConfigError(f"k-means: n_clusters={k} for {distinct} different vectors; ask for at most {distinct}")
    rng = np.random.default_rng(seed)
    best: tuple[float, np.ndarray, list[float]] | None = None
    starts: Iterable[int] = range(n_init)
    for _ in progress(starts, desc=f"k-means, {k} clusters", unit=" starts") if progress else starts:
        labels, history = _lloyd(x, _plus_plus(x, k, rng), max_iterations)
        if best is None or history[-1] < best[0]:
            best = history[-1], labels, history
    assert best is not None
    labels, moved = _single_moves(x, best[1], k)
    sums = _sums(x, labels, k)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    centroids = np.where(length > 0, sums / np.maximum(length, 1e-30), _first_members(x, labels, k)).astype(np.float32)
    cost = max(0.0, len(x) - float(length.sum()))
    return KMeans(labels.astype(np.int32), centroids, cost, (*best[2], *([cost] if moved else [])))


def cost_of(x: np.ndarray, labels: np.ndarray) -> float:
    """Sum of 1 − cos(point, normalised mean of its cluster), for any labelling: to compare methods."""
    _, labels = np.unique(labels, return_inverse=True)
    x = normalised(x)
    return len(x) - float(np.linalg.norm(_sums(x, labels, labels.max() + 1), axis=1).sum())


def _plus_plus(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """(k, d) starting centroids: greedy k-means++, drawn by 1 − cos, the best of 2 + ln k candidates each time."""
    trials = 2 + int(np.log(k))
    chosen = [int(rng.integers(len(x)))]
    distance = np.clip(1 - x @ x[chosen[0]], 0, None)
    for _ in range(k - 1):
        cumulative = np.cumsum(distance + 1e-12, dtype=np.float64)
        draws = np.searchsorted(cumulative, rng.random(trials) * cumulative[-1], side="right")
        candidates = np.minimum(draws, len(x) - 1)
        after = np.minimum(distance, np.clip(1 - x[candidates] @ x.T, 0, None))  # (trials, n)
        winner = int(after.sum(axis=1).argmin())
        chosen.append(int(candidates[winner]))
        distance = after[winner]
    return x[chosen]


def _lloyd(x: np.ndarray, centroids: np.ndarray, max_iterations: int) -> tuple[np.ndarray, list[float]]:
    """Labels and the cost after each iteration."""
    k, everyone = len(centroids), np.arange(len(x))
    labels = np.full(len(x), -1)
    sums = np.zeros(centroids.shape, np.float64)
    history: list[float] = []
    for _ in range(max_iterations):
        cosines = x @ centroids.T  # (n, k)
        new = cosines.argmax(axis=1)
        if labels[0] >= 0:
            # A point stays where another centroid is as near: otherwise equal points would wander without end.
            stay = cosines[everyone, labels] >= cosines[everyone, new]
            new = np.where(stay, labels, new)
        _fill_empty(new, cosines[everyone, new], k)
        changed = np.flatnonzero(new != labels)
        if not len(changed):
            break
        if labels[0] < 0 or len(changed) > len(x) // 4:
            sums = _sums(x, new, k)
        else:
            sums += _sums(x[changed], new[changed], k) - _sums(x[changed], labels[changed], k)
        labels = new
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        history.append(max(0.0, len(x) - float(length.sum())))
        # A cluster whose members cancel out has no direction: it keeps the one it had.
        centroids = np.where(length > 1e-9, sums / np.maximum(length, 1e-30), centroids).astype(np.float32)
    return labels, history


def _sums(x: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """(k, d) float64 sums of the members of each cluster."""
    from scipy import sparse

    members = sparse.csr_matrix((np.ones(len(x)), (labels, np.arange(len(x)))), shape=(k, len(x)))
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


def _single_moves(x: np.ndarray, labels: np.ndarray, k: int, *, max_rounds: int = 50) -> tuple[np.ndarray, bool]:
    """Move points one at a time while a move lowers the cost; also whether any moved.

    Moving point p from cluster a to b changes the cost by (|S_a| − |S_a − p|) − (|S_b + p| − |S_b|), S the sum of a
    cluster's members. All changes are computed at once; the promising ones are then tried in order against the sums as
    they are by then.
    """
    labels = labels.copy()
    sums = _sums(x, labels, k)
    sizes = np.bincount(labels, minlength=k)
    everyone, any_moved = np.arange(len(x)), False
    for _ in range(max_rounds):
        square = np.einsum("kd,kd->k", sums, sums)
        length = np.sqrt(square)
        products = x @ sums.astype(np.float32).T  # (n, k)
        joined = np.sqrt(np.maximum(square + 2 * products + 1, 0)) - length
        own = products[everyone, labels]
        left = length[labels] - np.sqrt(np.maximum(square[labels] - 2 * own + 1, 0))
        joined[everyone, labels] = -np.inf
        target = joined.argmax(axis=1)
        gain = joined[everyone, target] - left
        moved = False
        for point in np.flatnonzero(gain > 1e-5)[np.argsort(-gain[gain > 1e-5], kind="stable")]:
            a, b, p = labels[point], target[point], x[point].astype(np.float64)
            if sizes[a] < 2:
                continue
            before = np.linalg.norm(sums[a]) + np.linalg.norm(sums[b])
            if np.linalg.norm(sums[a] - p) + np.linalg.norm(sums[b] + p) > before + 1e-7:
                sums[a] -= p
                sums[b] += p
                sizes[a] -= 1
                sizes[b] += 1
                labels[point] = b
                moved = any_moved = True
        if not moved:
            break
    return labels, any_moved


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
