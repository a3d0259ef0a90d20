"""Whether probabilities mean what they say: reliability curves, expected calibration error and the Brier score.

A tagger says how probable each tag of each track is: every pair of track and class is one forecast with an outcome. They
are put into bins by probability, and each bin's mean probability is compared with the share of its outcomes that came true.

Sources: Naeini, Cooper & Hauskrecht 2015 (expected calibration error, AAAI), Guo et al. 2017 (its bins of equal width,
ICML), Nguyen & O'Connor 2015 (bins of equal mass, EMNLP), Bröcker & Smith 2007 (what sampling alone lets a curve stray).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.base.text_table import bounded
from orpheus.errors import ConfigError
from orpheus.learning.evaluation import areas, bootstrap

BINS = 15  # of Guo et al.
_CHUNK = 1 << 22  # values of an intermediate array
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
        edges = np.arange(1, bins) / bins
    else:
        # v is in bin i or above if at least i / bins of all values are smaller: if the one of that rank is.
        ranks = -(-np.arange(1, bins) * values.size // bins) - 1
        ranks = ranks[ranks >= 0]
        edges = np.partition(values, ranks, axis=None)[ranks] if len(ranks) else np.zeros(0)
    return np.searchsorted(edges, values, side="left")


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
    numbers = bin_numbers(probabilities, bins, kind)
    return _curve(_sums(targets, probabilities, numbers, bins).sum(axis=0))


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
    if average not in ("pooled", "macro"):
        raise ConfigError(f"average={average!r}: must be 'pooled' or 'macro'")
    if average == "macro":
        return float(by_class(targets, probabilities, bins=bins, kind=kind).mean())
    targets, probabilities = check(targets, probabilities)
    return float(_error(_sums(targets, probabilities, bin_numbers(probabilities, bins, kind), bins).sum(axis=0)))


def by_class(targets: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS, kind: str = "width") -> np.ndarray:
    """The expected calibration error of every class by itself, ``(classes,)``; see `expected_calibration_error`."""
    targets, probabilities = check(targets, probabilities)
    numbers = np.stack([bin_numbers(column, bins, kind) for column in probabilities.T], axis=1)
    return _error(_sums(targets, probabilities, numbers, bins))


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
    values = values.reshape(len(values), -1)
    columns = [values] if average == "pooled" else np.split(values, values.shape[1], axis=1)
    found = []
    for own in columns:
        sums = _sums(np.zeros(own.shape), own, bin_numbers(own, bins, kind), bins)
        found.append(_by_sampling(sums.sum(axis=0)))
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
    numbers = bin_numbers(probabilities, bins)
    sums = _sums(targets, probabilities, numbers, bins)
    pooled, own = _curve(sums.sum(axis=0)), _error(sums)
    result: dict[str, Any] = {
        "ece": float(_error(sums.sum(axis=0))),
        "ece_by_sampling": float(_by_sampling(sums.sum(axis=0))),
        "ece_macro": float(own.mean()),
        "ece_macro_by_sampling": float(_by_sampling(sums).mean()),
        "ece_equal_mass": expected_calibration_error(targets, probabilities, bins=bins, kind="mass"),
        "brier": float(brier(targets, probabilities).mean()),
        "per_class": {str(name): float(value) for name, value in zip(classes, own, strict=True)},
    }
    bounds = np.full((2, bins), np.nan)
    if groups is not None and n:
        pooled_ece, macro_ece, frequencies = _replicates(
            targets, probabilities, numbers, groups, n=n, bins=bins, seed=seed
        )
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


def described(found: Mapping[str, Any]) -> str:
    """What `summarise` found, as a line of text."""
    error = bounded(found["ece"], (found.get("intervals") or {}).get("ece"), 4)
    return f"calibration: ECE {error}; of perfect probabilities about {found['ece_by_sampling']:.4f}"


def _sums(targets: np.ndarray, probabilities: np.ndarray, cells: np.ndarray, count: int) -> np.ndarray:
    """(classes, 4, count) of each cell: pairs, and their probabilities, true outcomes and variances p (1 − p) added up.

    All arrays are (tracks, classes); `cells` are integers below `count`.
    """
    found = np.zeros((targets.shape[1], 4, count))
    for c, (target, p, cell) in enumerate(zip(targets.T, probabilities.T, cells.T, strict=True)):
        found[c] = [np.bincount(cell, weight, minlength=count) for weight in (None, p, target, p * (1 - p))]
    return found


def _error(sums: np.ndarray) -> np.ndarray:
    """ECE of sums (…, 4, bins): |Σ p − Σ y| of each bin over all pairs."""
    gaps = np.abs(sums[..., 1, :] - sums[..., 2, :]).sum(axis=-1)
    return gaps / np.maximum(sums[..., 0, :].sum(axis=-1), 1)


def _by_sampling(sums: np.ndarray) -> np.ndarray:
    """What it is expected to be where outcomes follow the probabilities: of a normal gap, √(2/π) deviations."""
    deviations = np.sqrt(2 / np.pi * np.maximum(sums[..., 3, :], 0)).sum(axis=-1)
    return deviations / np.maximum(sums[..., 0, :].sum(axis=-1), 1)


def _curve(sums: np.ndarray) -> dict[str, np.ndarray]:
    """The curve of sums (4, bins)."""
    count, said, true, _ = sums
    return {"count": count.astype(np.int64), "probability": _mean(said, count), "frequency": _mean(true, count)}


def _mean(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(sums, count, out=np.full(count.shape, np.nan), where=count > 0)


def _replicates(
    targets: np.ndarray,
    probabilities: np.ndarray,
    numbers: np.ndarray,
    groups: Sequence | np.ndarray,
    *,
    n: int,
    bins: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pooled ECE (n,), macro ECE (n,) and the bins' frequencies (n, bins) of draws of groups; nan for a single group."""
    index, counts = bootstrap.draws(groups, n=n, seed=seed)
    if len(counts) < 2:
        return np.full(n, np.nan), np.full(n, np.nan), np.full((n, bins), np.nan)
    weights, cells = counts.T.astype(np.float64), len(counts) * bins
    pooled, macro = np.zeros((4, cells)), np.zeros(n)
    tracks = weights @ np.bincount(index, minlength=len(counts))  # of each draw
    step = max(1, _CHUNK // cells)
    for start in range(0, targets.shape[1], step):
        part = slice(start, start + step)
        sums = _sums(targets[:, part], probabilities[:, part], index[:, None] * bins + numbers[:, part], cells)
        pooled += sums.sum(axis=0)
        gaps = (sums[:, 1] - sums[:, 2]).reshape(len(sums), len(counts), bins)
        drawn = weights @ gaps.transpose(1, 0, 2).reshape(len(counts), -1)  # (draws, classes · bins)
        macro += np.abs(drawn).sum(axis=1) / (tracks * targets.shape[1])
    count, said, true, _ = (weights @ one.reshape(len(counts), bins) for one in pooled)
    return np.abs(said - true).sum(axis=1) / count.sum(axis=1), macro, _mean(true, count)


def _around(value: float, replicates: np.ndarray) -> list[float] | None:
    """Bounds about a value from replicates that all lie too high: drawing adds noise, and noise adds to absolute gaps.

    Their mean's distance from the value is taken off (Efron & Tibshirani, ch. 10: the bootstrap estimate of bias).
    """
    low, high = bootstrap.percentiles(replicates)
    if np.isnan(low):
        return None
    shift = float(np.nanmean(replicates)) - value
    return [max(float(low) - shift, 0.0), max(float(high) - shift, 0.0)]
