"""Percentile bootstrap intervals over whole groups: by artist, user or track, because tracks of one artist are alike.

Sources: Efron & Tibshirani, An Introduction to the Bootstrap, ch. 13 (percentile interval) and ch. 8 (resampling the
independent units of grouped data).
"""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import areas as evaluation_areas

_CHUNK = 1 << 18  # values per intermediate array of the exact weighted areas: stays in the cache
_EXACT = 256  # thresholds that are never merged: where precision is decided by few tracks
_EXACT_FLOAT32 = 1 << 24  # whole numbers below it are exact in float32


class Interval(NamedTuple):
    """A value of the data itself, and the bounds between which `level` of its replicates fall."""

    value: Any
    low: Any
    high: Any


class Replicates(NamedTuple):
    """Areas of resampled data; row b of every array is the same draw of groups.

    Draws depend only on the groups, `n` and the seed: rows of two models on the same tracks are paired, and
    `percentiles(a.macro - b.macro)` bounds their difference.
    """

    roc: np.ndarray  # (n, classes), nan where a draw has only one kind of label
    pr: np.ndarray  # (n, classes)
    macro: np.ndarray  # (n, 2): ROC-AUC and PR-AUC, over the classes that have both kinds of label in the draw
    micro: np.ndarray  # (n, 2)


def draws(groups: Sequence | np.ndarray, *, n: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How often each group is drawn in each replicate: as many groups as there are, with replacement.

    Args:
        groups: ``(units,)`` the group of every unit, any hashable ids; they are sorted, so that draws do not depend
            on the order of units.
        n: Replicates.
        seed: Of ``numpy.random.default_rng``.

    Returns:
        ``(units,)`` each unit's row in the second array, ``(groups, n)`` int64 counts.

    Raises:
        ConfigError: n is below 1. DataError: there are no units.
    """
    if n < 1:
        raise ConfigError(f"n={n}: a bootstrap needs at least 1 replicate, 200 or more for an interval")
    groups = np.asarray(groups)
    if groups.ndim != 1 or not len(groups):
        raise DataError(f"groups has shape {groups.shape}; it must be (units,) with at least one unit")
    names, index = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
    return index.reshape(-1), np.ascontiguousarray(counts.T)


def percentiles(replicates: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the middle `level` of replicates along axis 0, those that are nan left out.

    Raises:
        ConfigError: level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level={level}: the share of replicates inside the interval lies between 0 and 1, as 0.95")
    replicates = np.asarray(replicates, np.float64)
    empty = np.isnan(replicates).all(axis=0)
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(np.where(empty, 0.0, replicates), [tail, 100 - tail], axis=0)
    return np.where(empty, np.nan, low)[()], np.where(empty, np.nan, high)[()]


def interval(
    metric: np.ndarray | Callable[[np.ndarray], Any],
    groups: Sequence | np.ndarray,
    *,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a mean of per-unit values, or of any function of weighted units.

    Args:
        metric: ``(units,)`` or ``(units, metrics)`` values whose mean is wanted (MAP: average precision per user; a
            difference of two models: one's values minus the other's); nan units take no part. Or a function from
            ``(units,)`` int64 weights (1 each for the data itself) to a number or an array, called n + 1 times.
        groups: ``(units,)`` what is drawn together; ``range(units)`` draws single units.
        n: Replicates.
        level: Share of replicates inside the interval.
        seed: Of the draws.

    Returns:
        The value of the data itself and both bounds: floats, or arrays ``(metrics,)``. The bounds are nan where there is
        one group: every draw of it is the data itself, which says nothing of how far another one would lie off.

    Raises:
        ConfigError: n or level out of range. DataError: lengths differ.
    """
    percentiles(np.zeros(1), level=level)
    index, counts = draws(groups, n=n, seed=seed)
    if callable(metric):
        value = metric(np.ones(len(index), np.int64))
        replicates = np.stack([np.asarray(metric(weights[index]), np.float64) for weights in counts.T])
    else:
        values = np.asarray(metric, np.float64)
        if len(values) != len(index):
            raise DataError(f"metric has {len(values)} units and groups {len(index)}; give one group per unit")
        there = ~np.isnan(values)
        total, number = (np.zeros((len(counts), *values.shape[1:])) for _ in range(2))
        np.add.at(total, index, np.where(there, values, 0))
        np.add.at(number, index, there)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (total.sum(axis=0) / number.sum(axis=0))[()]
            replicates = (counts.T @ total) / (counts.T @ number)
    if len(counts) < 2:
        replicates = np.full_like(replicates, np.nan)
    return Interval(value, *percentiles(replicates, level=level))


def weighted_areas(
    target: np.ndarray, score: np.ndarray, group: np.ndarray, weights: np.ndarray, *, merge: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Exact areas of one class under many weightings of its tracks at once, from one sort.

    A track of weight w counts as w equal tracks (scikit-learn's ``sample_weight``). Tracks between two thresholds
    enter only by their sum: each such interval is a row of a sparse matrix over groups, and one product serves all
    weightings.

    Args:
        target: ``(tracks,)`` bool.
        score: ``(tracks,)`` finite floats.
        group: ``(tracks,)`` integers: the row of `weights` that holds for the track.
        weights: ``(groups, replicates)``, not negative; float64, or float32 for whole numbers whose sum over tracks
            stays below 2^24.
        merge: Thresholds behind the first 256 are merged into steps that add at most this share of the positives so
            far, and half this share of all negatives, the curves being straight between; 0 is exact.

    Returns:
        ROC-AUC and average precision, each ``(replicates,)`` float64; nan where a replicate does not define them.
    """
    positive, positive_group = _ascending(-score[target], group[target])
    negative, negative_group = _ascending(-score[~target], group[~target])
    if not len(positive):
        return np.full(weights.shape[1], np.nan), np.full(weights.shape[1], np.nan)
    _, ends, before, until = evaluation_areas.thresholds(positive, negative)
    kept = _merged(ends, until, len(negative), merge)
    ends, until = ends[kept], until[kept]
    single = np.diff(kept, prepend=-1) == 1
    before = np.where(single, before[kept], np.append(0, until[:-1]))  # a merged step counts as one tie
    rows = np.append(0, ends)
    false_rows = np.append(0, np.stack([before, until], axis=1).ravel())
    roc, pr, above, false_above, last = np.zeros((5, weights.shape[1]))
    step = max(1, _CHUNK // weights.shape[1])
    for start in range(0, len(kept), step):
        stop = min(start + step, len(kept))
        at = _interval_sums(rows[start : stop + 1], positive_group, weights)
        true = np.cumsum(at, axis=0, dtype=np.float64) + above
        false = _interval_sums(false_rows[2 * start : 2 * stop + 1], negative_group, weights)
        false = np.cumsum(false, axis=0, dtype=np.float64) + false_above
        precisions = evaluation_areas.precision(true, false[1::2])
        line = (np.concatenate([last[None], precisions[:-1]]) + precisions) / 2
        shown = np.where(single[start:stop, None], precisions, line)
        lost, found = evaluation_areas.area_sums(at, shown, false[1::2], false[1::2] - false[0::2], 0)
        roc, pr = roc + lost, pr + found
        above, false_above, last = true[-1], false[-1], precisions[-1]
    negatives = false_above + _interval_sums(np.array([until[-1], len(negative)]), negative_group, weights)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = above * negatives
        return np.where(pairs > 0, (pairs + roc) / pairs, np.nan), np.where(above > 0, pr / above, np.nan)


def _ascending(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(values)
    return values[order], group[order]


def _merged(ends: np.ndarray, until: np.ndarray, negatives: int, merge: float) -> np.ndarray:
    """Which thresholds remain, given the positives and negatives up to each; the last always does."""
    if not merge or len(ends) <= _EXACT:
        return np.arange(len(ends))
    first = ends[_EXACT - 1]
    steps = np.ceil(np.log(ends[-1] / first) / np.log1p(merge))
    by_positives = np.searchsorted(ends, first * (1 + merge) ** np.arange(1, steps + 1))
    by_negatives = np.searchsorted(until, negatives * np.arange(merge / 2, 1, merge / 2))
    kept = np.unique(np.concatenate([np.arange(_EXACT), by_positives, by_negatives, [len(ends) - 1]]))
    return kept[kept < len(ends)]


def _interval_sums(rows: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Row r: the summed weights of tracks rows[r] to rows[r + 1] − 1; ``(len(rows) − 1, replicates)``."""
    inside = group[rows[0] : rows[-1]]
    ones = np.ones(len(inside), weights.dtype)
    return sparse.csr_matrix((ones, inside, rows - rows[0]), shape=(len(rows) - 1, len(weights))) @ weights


def replicate_areas(
    targets: np.ndarray,
    scores: np.ndarray,
    groups: Sequence | np.ndarray,
    *,
    n: int = 200,
    seed: int = 0,
    merge: float = 0.01,
    threads: int = 2,
) -> Replicates:
    """ROC-AUC and PR-AUC of resampled groups, per class, macro and micro.

    With `merge` a replicate is the data's exact area plus the change that the merged thresholds show. Against exact
    replicates that moved single values by at most 1e-4, a hundredth of their deviation, at a twentieth of the time.

    Args:
        targets: ``(tracks, classes)`` bool or 0 and 1.
        scores: ``(tracks, classes)`` finite.
        groups: ``(tracks,)`` what is drawn together, for example the artist.
        n: Replicates.
        seed: Of the draws.
        merge: As `weighted_areas`; 0 computes every replicate exactly.
        threads: Classes at once.

    Raises:
        DataError: as `areas.check`, or lengths differ. ConfigError: n below 1.
    """
    targets, scores = evaluation_areas.check(targets, scores)
    index, counts = draws(groups, n=n, seed=seed)
    if len(index) != len(targets):
        raise DataError(f"groups has {len(index)} entries for {len(targets)} tracks; give one group per track")
    counts = np.concatenate([np.ones((len(counts), 1), np.int64), counts], axis=1)  # column 0: the data itself
    heaviest = (np.bincount(index) @ counts).max() * targets.shape[1]
    weights = np.ascontiguousarray(counts, np.float32 if heaviest < _EXACT_FLOAT32 else np.float64)
    index = index.astype(np.int32)

    def areas(column: int | None) -> np.ndarray:
        every = (targets.ravel(), scores.ravel(), np.repeat(index, targets.shape[1]))
        one = every if column is None else (targets[:, column], scores[:, column], index)
        pair = np.stack(weighted_areas(*one, weights, merge=merge), axis=1)
        return pair[1:] + (evaluation_areas.areas(*one[:2]) - pair[0]) if merge else pair[1:]

    if len(counts) < 2:
        nothing = np.full((n, targets.shape[1]), np.nan)
        return Replicates(nothing, nothing, np.full((n, 2), np.nan), np.full((n, 2), np.nan))
    with concurrent.futures.ThreadPoolExecutor(max(1, threads)) as pool:
        micro, *by_class = pool.map(areas, [None, *range(targets.shape[1])])
    pairs = np.stack(by_class, axis=1)
    both = ~np.isnan(pairs).any(axis=2, keepdims=True)
    number = both.sum(axis=1)
    macro = np.divide(np.where(both, pairs, 0).sum(axis=1), number, out=np.full((n, 2), np.nan), where=number > 0)
    return Replicates(pairs[..., 0], pairs[..., 1], macro, micro)


def area_intervals(
    targets: np.ndarray,
    scores: np.ndarray,
    groups: Sequence | np.ndarray,
    classes: Sequence[str],
    *,
    n: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Bounds for all that `areas.summarise` reports, in the same shape, each ``[low, high]`` or None.

    Arguments as `replicate_areas`; 50,000 × 200 by artist with n=200 take several seconds. The value itself can lie
    outside its bounds for classes with a handful of positives: resampling repeats tracks and so favours both ends.

    Returns:
        ``{"level", "replicates", "groups", "macro": {"roc_auc", "pr_auc"}, "micro": {…}, "per_class": {name: {…}}}``.

    Raises:
        DataError, ConfigError: as `replicate_areas` and `percentiles`.
    """
    targets, scores = evaluation_areas.check(targets, scores, classes)
    percentiles(np.zeros(1), level=level)
    result = replicate_areas(targets, scores, groups, n=n, seed=seed)
    positives = targets.sum(axis=0)
    usable = (positives > 0) & (positives < len(targets))

    def bounds(replicates: np.ndarray) -> dict[str, list[float] | None]:
        low, high = percentiles(replicates, level=level)
        return {
            key: None if np.isnan(low[i]) else [float(low[i]), float(high[i])]
            for i, key in enumerate(evaluation_areas.AREAS)
        }

    nothing = np.full((1, 2), np.nan)
    return {
        "level": level,
        "replicates": n,
        "groups": len(np.unique(np.asarray(groups))),
        "macro": bounds(result.macro),
        "micro": bounds(result.micro),
        "per_class": {
            str(name): bounds(np.stack([result.roc[:, c], result.pr[:, c]], axis=1) if usable[c] else nothing)
            for c, name in enumerate(classes)
        },
    }


def area_differences(
    targets: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    groups: Sequence | np.ndarray,
    classes: Sequence[str],
    *,
    n: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How much better `scores` are than `others` on the same tracks: paired, each draw serves both.

    Args:
        targets: ``(tracks, classes)``.
        scores: ``(tracks, classes)`` of one model.
        others: ``(tracks, classes)`` of the other.
        groups: ``(tracks,)`` what is drawn together.
        classes: Names of the columns.
        n: Replicates.
        level: Share of replicates inside the interval.
        seed: Of the draws.

    Returns:
        ``{"macro": {"roc_auc": {"value", "low", "high"}, "pr_auc": …}, "micro": …, "per_class": {name: …}}``; all three
        None where a class has only one kind of label.

    Raises:
        DataError, ConfigError: as `replicate_areas` and `percentiles`.
    """
    first, second = (replicate_areas(targets, one, groups, n=n, seed=seed) for one in (scores, others))
    mine, theirs = (evaluation_areas.summarise(targets, one, classes) for one in (scores, others))

    def bounds(replicates: np.ndarray, a: dict, b: dict) -> dict[str, dict[str, float | None]]:
        low, high = percentiles(replicates, level=level)
        found: dict[str, dict[str, float | None]] = {}
        for i, key in enumerate(evaluation_areas.AREAS):
            value = a[key] - b[key] if a[key] is not None else None
            limits = [None if value is None or np.isnan(bound) else float(bound) for bound in (low[i], high[i])]
            found[key] = {"value": value, "low": limits[0], "high": limits[1]}
        return found

    pairs = np.stack([first.roc - second.roc, first.pr - second.pr], axis=2)
    return {
        "macro": bounds(first.macro - second.macro, mine["macro"], theirs["macro"]),
        "micro": bounds(first.micro - second.micro, mine["micro"], theirs["micro"]),
        "per_class": {
            str(name): bounds(pairs[:, c], mine["per_class"][str(name)], theirs["per_class"][str(name)])
            for c, name in enumerate(classes)
        },
    }
