"""Bootstrap intervals over items of what an experiment's evaluation reports beside areas: R², precision, recall, F1."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from orpheus.learning.evaluation import bootstrap

_BLOCK = 100  # draws at once
RATIOS = ("precision", "recall", "f1")


def _weights(items: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """(draws, items) float64 blocks: how often each item is drawn."""
    _, counts = bootstrap.draws(range(items), n=n, seed=seed)
    for start in range(0, n, _BLOCK):
        yield counts[:, start : start + _BLOCK].T.astype(np.float64)


def r_squared(truth: np.ndarray, outputs: np.ndarray, *, n: int, level: float = 0.95, seed: int = 0) -> list[float]:
    """Bounds of `scores.r_squared`, the mean over dimensions of 1 − Σ(y − ŷ)² / Σ(y − ȳ)².

    Args:
        truth: (items, dim).
        outputs: (items, dim).
        n: Replicates.
        level: Share of replicates inside.
        seed: Of the draws.
    """
    centred = np.asarray(truth, np.float64) - np.mean(truth, axis=0, dtype=np.float64)
    error = (truth - outputs.astype(np.float64)) ** 2
    values = []
    for weights in _weights(len(truth), n, seed):
        total = weights.sum(axis=1, keepdims=True)
        spread = weights @ centred**2 - (weights @ centred) ** 2 / total
        varying = spread > 1e-12 * total
        ratio = np.divide(weights @ error, spread, out=np.full(spread.shape, np.nan), where=varying)
        values.append(np.nanmean(1 - ratio, axis=1))
    low, high = bootstrap.percentiles(np.concatenate(values), level=level)
    return [float(low), float(high)]


def classification(
    truth: np.ndarray, predicted: np.ndarray, names: Sequence[str], *, n: int, level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Bounds of what `classification.classification` reports, in its shape; 0/0 counts as 0, too.

    Args:
        truth: (items, classes) bool; a single label per item as one-hot rows.
        predicted: (items, classes) bool.
        names: Of the classes.
        n: Replicates.
        level: Share of replicates inside.
        seed: Of the draws.

    Returns:
        ``{"accuracy": [low, high], "precision", "recall", "f1", "per_class": {name: {"precision", …}}}``.
    """
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    right = (truth == predicted).all(axis=1).astype(np.float64)
    hit, called, wanted = (one.astype(np.float64) for one in (truth & predicted, predicted, truth))
    accuracy, rows = [], []
    for weights in _weights(len(truth), n, seed):
        found, said, there = weights @ hit, weights @ called, weights @ wanted
        accuracy.append(weights @ right / weights.sum(axis=1))
        rows.append(np.stack([_ratio(found, said), _ratio(found, there), _ratio(2 * found, said + there)], axis=2))
    values = np.concatenate(rows)  # (n, classes, 3)
    low, high = bootstrap.percentiles(values, level=level)
    means = np.stack(bootstrap.percentiles(values.mean(axis=1), level=level), axis=1)
    bounds = [float(one) for one in bootstrap.percentiles(np.concatenate(accuracy), level=level)]
    return {
        "accuracy": bounds,
        **{key: means[i].tolist() for i, key in enumerate(RATIOS)},
        "per_class": {
            str(name): {key: [float(low[c, i]), float(high[c, i])] for i, key in enumerate(RATIOS)}
            for c, name in enumerate(names)
        },
    }


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
