"""A way of songs from one song to another, each near the straight way on the sphere and near the one before."""

import numpy as np

MOST = 100  # songs on a way
_BEAM = 32  # ways kept at each step
_SMOOTHNESS = 0.5  # what a step costs beside the distance from the straight way


def straight(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Points at equal angles on the shortest great circle between two unit vectors (K. Shoemake, "Animating rotation with
    quaternion curves", SIGGRAPH 1985, slerp).

    Args:
        start: (d,).
        end: (d,); where it is opposite to `start`, the way leads over the axis on which `start` is shortest.
        steps: Number of points, without the ends.

    Returns:
        (steps, d) float32 unit rows.

    Example:
        >>> straight(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 1).round(3)
        array([[0.707, 0.707]], dtype=float32)
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    cosine = float(np.clip(start @ end, -1, 1))
    across = end - cosine * start
    if np.linalg.norm(across) < 1e-6:
        axis = np.eye(len(start))[int(np.argmin(np.abs(start)))]
        across = axis - (axis @ start) * start
    across /= max(float(np.linalg.norm(across)), 1e-12)
    angles = np.arccos(cosine) * np.arange(1, steps + 1)[:, None] / (steps + 1)
    return (np.cos(angles) * start + np.sin(angles) * across).astype(np.float32)


def choose(points: np.ndarray, candidates: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """One song per point, none twice, by a beam search over ways.

    A way costs the sum of 1 − cos of each song and its point, and half of 1 − cos of each song and the one before.

    Args:
        points: (steps, d) unit rows.
        candidates: (n, d) unit rows of songs, n ≥ steps; those near the points.
        start: (d,) unit vector of the song before the first.
        end: (d,) of the song behind the last.

    Returns:
        (steps,) int64 rows of `candidates`.
    """
    off = 1 - points @ candidates.T
    apart = 1 - candidates @ candidates.T
    ways = np.zeros((1, 0), np.int64)
    costs = np.zeros(1)
    for step in range(len(points)):
        moved = apart[ways[:, -1]] if step else np.broadcast_to(1 - candidates @ start, (1, len(candidates)))
        total = costs[:, None] + off[step] + _SMOOTHNESS * moved
        if step == len(points) - 1:
            total = total + _SMOOTHNESS * (1 - candidates @ end)
        for row, way in enumerate(ways):
            total[row, way] = np.inf
        best = np.argsort(total, axis=None, kind="stable")[:_BEAM]
        rows, songs = np.unravel_index(best[np.isfinite(total.ravel()[best])], total.shape)
        ways = np.concatenate([ways[rows], songs[:, None]], axis=1)
        costs = total[rows, songs]
    return ways[0]
