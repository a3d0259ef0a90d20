"""Whether probabilities mean what they say: reliability curves, expected calibration error and the Brier score.

A tagger says how probable each tag of each track is: every pair of track and class is one forecast with an outcome. They
are put into bins by probability, and each bin's mean probability is compared with the share of its outcomes that came true.

Sources: Naeini, Cooper & Hauskrecht 2015 (expected calibration error, AAAI), Guo et al. 2017 (its bins of equal width,
ICML), Nguyen & O'Connor 2015 (bins of equal mass, EMNLP), Bröcker & Smith 2007 (what sampling alone lets a curve stray).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from orpheus.errors import ConfigError
from orpheus.learning.evaluation import areas, bootstrap

BINS = 15  # of Guo et al.
KINDS = ("width", "mass")
Names = Sequence[str] | None


def check(targets: np.ndarray, probabilities: np.ndarray, classes: Names = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool and probabilities as float64, both ``(tracks, classes)``.

    Raises:
        DataError: as `areas.check`, or a probability lies outside 0 … 1 (the first one is named).
    """
    targets, probabilities = areas.check(targets, probabilities, classes)
    outside = (probabilities < 0) | (probabilities > 1)
    areas.refuse_where(outside, probabilities, "probabilities", "must lie between 0 and 1", classes)
    return targets, probabilities.astype(np.float64)


def bin_numbers(probabilities: np.ndarray, bins: int = BINS, kind: str = "width") -> np.ndarray:
    """The bin of each of some probabilities, whatever their shape.

    Args:
        probabilities: Between 0 and 1.
        bins: Number of bins.
        kind: ``"width"``: bin i is (i / bins, (i + 1) / bins], and 0 is in the first. ``"mass"``: of the sorted
            probabilities each bin has an equal share; equal ones are in one bin, whatever order they are in.

    Returns:
        Integers from 0 to ``bins − 1``, in the shape of `probabilities`.

    Raises:
        ConfigError: there is no such kind, or bins is below 1.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    if bins < 1:
        raise ConfigError(f"bins={bins}: must be at least 1")
    values = np.asarray(probabilities, np.float64)
    if kind == "width":
        return np.clip(np.searchsorted(np.arange(bins + 1) / bins, values, side="left") - 1, 0, bins - 1)
    ranks = np.searchsorted(np.sort(values, axis=None), values, side="left")
    return ranks * bins // max(values.size, 1)


def curve(
    targets: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS, kind: str = "width"
) -> dict[str, np.ndarray]:
    """The reliability curve of all pairs of tracks and classes together.

    Args:
        targets: ``(tracks, classes)``, bool or 0 and 1.
        probabilities: ``(tracks, classes)``.
        bins: Number of bins.
        kind: As of `bin_numbers`.

    Returns:
        ``{"count", "probability", "frequency"}``, each ``(bins,)``: pairs in the bin, their mean probability, and the share
        of them that is true; nan where a bin is empty.

    Raises:
        DataError, ConfigError: as `check` and `bin_numbers`.

    Example:
        >>> found = curve(np.array([[1], [0], [1]]), np.array([[0.9], [0.1], [0.2]]), bins=2)
        >>> found["count"], found["frequency"]
        (array([2, 1]), array([0.5, 1. ]))
    """
    targets, probabilities = check(targets, probabilities)
    count, said, true = _sums(
        targets.ravel(), probabilities.ravel(), bin_numbers(probabilities, bins, kind).ravel(), bins
    )
    return {"count": count.astype(np.int64), "probability": _mean(said, count), "frequency": _mean(true, count)}


def expected_calibration_error(
    targets: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS, kind: str = "width", average: str = "pooled"
) -> float:
    """ECE = Σ over bins of (share of the pairs in it) × |mean probability − share that is true|.

    Args:
        targets: ``(tracks, classes)``, bool or 0 and 1.
        probabilities: ``(tracks, classes)``.
        bins: Number of bins.
        kind: As of `bin_numbers`; bins of equal mass are made for each class when the mean is over classes.
        average: ``"pooled"``: of all pairs together; what one class says too often another may say too rarely.
            ``"macro"``: the mean over classes of each one's own.

    Returns:
        From 0, which is perfect, to 1.

    Raises:
        DataError, ConfigError: as `check` and `bin_numbers`.
    """
    targets, probabilities = check(targets, probabilities)
    if average not in ("pooled", "macro"):
        raise ConfigError(f"average={average!r}: must be 'pooled' or 'macro'")
    if average == "pooled":
        targets, probabilities = targets.reshape(-1, 1), probabilities.reshape(-1, 1)
    return float(np.mean(by_class(targets, probabilities, bins=bins, kind=kind)))


def by_class(targets: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS, kind: str = "width") -> np.ndarray:
    """The expected calibration error of every class by itself, ``(classes,)``; see `expected_calibration_error`."""
    targets, probabilities = check(targets, probabilities)
    found = []
    for target, column in zip(targets.T, probabilities.T, strict=True):
        found.append(_gaps(_sums(target, column, bin_numbers(column, bins, kind), bins)))
    return np.array(found, np.float64)


def expected_by_sampling(
    probabilities: np.ndarray, *, bins: int = BINS, kind: str = "width", average: str = "pooled"
) -> float:
    """The ECE that perfect probabilities are expected to have on so many pairs: Σ_b √(2/π Σ_{i∈b} p(1 − p)) / n.

    ECE adds up absolute gaps, and so is above 0 even where every probability is right. The formula takes pairs as
    independent and the gap of a bin as normal: tags that come together, or tracks of one artist, make it larger.

    Args:
        probabilities: ``(tracks, classes)``.
        bins: Number of bins.
        kind: As of `bin_numbers`.
        average: As of `expected_calibration_error`.
    """
    values = np.asarray(probabilities, np.float64)
    found = []
    for column in [values.ravel()] if average == "pooled" else values.T:
        variance = np.bincount(bin_numbers(column, bins, kind), column * (1 - column), minlength=bins)
        found.append(np.sqrt(2 / np.pi * np.maximum(variance, 0)).sum() / max(column.size, 1))
    return float(np.mean(found))


def brier(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The Brier score of every class, its mean squared error: ``(classes,)`` float64, 0 is perfect.

    It falls both with calibration and with how far probabilities tell tracks apart.
    """
    targets, probabilities = check(targets, probabilities)
    return ((probabilities - targets) ** 2).mean(axis=0)


def summarise(
    targets: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    groups: Sequence | np.ndarray | None = None,
    n: int = 200,
    bins: int = BINS,
    seed: int = 0,
) -> dict[str, Any]:
    """All of the above as plain numbers that JSON can hold.

    Args:
        targets: ``(tracks, classes)``, bool or 0 and 1.
        probabilities: ``(tracks, classes)``.
        classes: One name per column.
        groups: ``(tracks,)`` what is drawn together for 95 % intervals; None for no intervals.
        n: Replicates; 0 for no intervals.
        bins: Of equal width; `ece_equal_mass` has as many of equal mass.
        seed: Of the draws.

    Returns:
        ``{"ece", "ece_by_sampling", "ece_macro", "ece_macro_by_sampling", "ece_equal_mass", "brier", "per_class": {name: ECE},
        "reliability": [{"count", "probability", "frequency", "low", "high"}]}``: a row for each bin that is not empty, `low` and `high` the bounds of
        its frequency or None; and ``"intervals": {"ece", "ece_macro"}`` where there are some.

    Raises:
        DataError, ConfigError: as `check`, `bin_numbers` and `bootstrap.draws`.
    """
    targets, probabilities = check(targets, probabilities, classes)
    pooled = curve(targets, probabilities, bins=bins)
    own = by_class(targets, probabilities, bins=bins)
    result: dict[str, Any] = {
        "ece": expected_calibration_error(targets, probabilities, bins=bins),
        "ece_by_sampling": expected_by_sampling(probabilities, bins=bins),
        "ece_macro": float(own.mean()),
        "ece_macro_by_sampling": expected_by_sampling(probabilities, bins=bins, average="macro"),
        "ece_equal_mass": expected_calibration_error(targets, probabilities, bins=bins, kind="mass"),
        "brier": float(brier(targets, probabilities).mean()),
        "per_class": {str(name): float(value) for name, value in zip(classes, own, strict=True)},
    }
    bounds = np.full((2, bins), np.nan)
    if groups is not None and n:
        pooled_ece, macro_ece, frequencies = _replicates(targets, probabilities, groups, n=n, bins=bins, seed=seed)
        bounds = np.stack(bootstrap.percentiles(frequencies))
        result["intervals"] = {
            "ece": _around(result["ece"], pooled_ece),
            "ece_macro": _around(result["ece_macro"], macro_ece),
        }
    rows = zip(pooled["count"], pooled["probability"], pooled["frequency"], *bounds, strict=True)
    result["reliability"] = [
        {
            "count": int(count),
            "probability": float(said),
            "frequency": float(true),
            "low": None if np.isnan(low) else float(low),
            "high": None if np.isnan(high) else float(high),
        }
        for count, said, true, low, high in rows
        if count
    ]
    return result


def _sums(target: np.ndarray, probability: np.ndarray, bin_number: np.ndarray, bins: int) -> np.ndarray:
    """(3, bins): pairs, their probabilities and their true outcomes added up; all arrays (pairs,)."""
    weights = (None, probability, target)
    return np.stack([np.bincount(bin_number, weight, minlength=bins) for weight in weights]).astype(np.float64)


def _gaps(sums: np.ndarray) -> np.ndarray:
    """ECE of sums (…, 3, bins): |Σ p − Σ y| of each bin over all pairs; (…,)."""
    total = sums[..., 0, :].sum(axis=-1)
    gaps = np.abs(sums[..., 1, :] - sums[..., 2, :]).sum(axis=-1)
    return np.divide(gaps, total, out=np.full(gaps.shape, np.nan), where=total > 0)


def _mean(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(sums, count, out=np.full(count.shape, np.nan), where=count > 0)


def _replicates(
    targets: np.ndarray, probabilities: np.ndarray, groups: Sequence | np.ndarray, *, n: int, bins: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled ECE (n,), macro ECE (n,) and the bins' frequencies (n, bins) of draws of groups; nan for a single group."""
    index, counts = bootstrap.draws(groups, n=n, seed=seed)
    weights = counts.T.astype(np.float64)
    pooled, macro = np.zeros((n, 3 * bins)), np.zeros(n)
    for target, column in zip(targets.T, probabilities.T, strict=True):
        cell = index * bins + bin_numbers(column, bins)
        sums = _sums(target, column, cell, len(counts) * bins).reshape(3, len(counts), bins)
        drawn = weights @ sums.transpose(1, 0, 2).reshape(len(counts), 3 * bins)
        pooled += drawn
        macro += _gaps(drawn.reshape(n, 3, bins)) / targets.shape[1]
    shaped = pooled.reshape(n, 3, bins)
    frequencies = _mean(shaped[:, 2], shaped[:, 0])
    if len(counts) < 2:
        return np.full(n, np.nan), np.full(n, np.nan), np.full((n, bins), np.nan)
    return _gaps(shaped), macro, frequencies


def _around(value: float, replicates: np.ndarray) -> list[float] | None:
    """Bounds about a value from replicates that all lie too high: drawing adds noise, and noise adds to absolute gaps.

    Their mean's distance from the value is taken off (Efron & Tibshirani, ch. 10: the bootstrap estimate of bias).
    """
    low, high = bootstrap.percentiles(replicates)
    if np.isnan(low):
        return None
    shift = float(np.nanmean(replicates)) - value
    return [max(float(low) - shift, 0.0), max(float(high) - shift, 0.0)]
