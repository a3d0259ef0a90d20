"""Areas under ROC and precision-recall curves, exact: the formulas that every evaluation uses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from orpheus.errors import DataError

AREAS = ("roc_auc", "pr_auc")


Names = Sequence[str] | None


_FEW = 32  # positives up to which counting beats sorting the negatives


def check(targets: np.ndarray, scores: np.ndarray, classes: Names = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool and scores as floats, both ``(tracks, classes)``; `classes` are names for messages.

    Raises:
        DataError: shapes differ, a target is neither 0 nor 1, a score is not finite (the first one is named).
    """
    targets, scores = np.asarray(targets), np.asarray(scores)
    if targets.ndim != 2 or targets.shape != scores.shape:
        raise DataError(f"targets {targets.shape} and scores {scores.shape}: both must be (tracks, classes), the same")
    if classes is not None and len(classes) != targets.shape[1]:
        raise DataError(f"classes: {len(classes)} names for {targets.shape[1]} columns; give one name per column")
    if scores.dtype == np.float16 or not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float32 if scores.dtype == np.float16 else np.float64)
    refuse_where(~np.isfinite(scores), scores, "scores", "must be finite; did the training diverge?", classes)
    if targets.dtype != bool:
        refuse_where((targets != 0) & (targets != 1), targets, "targets", "must be 0 or 1", classes)
        targets = targets.astype(bool)
    return targets, scores


def refuse_where(bad: np.ndarray, values: np.ndarray, name: str, rule: str, classes: Names = None) -> None:
    if bad.any():
        row, column = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        label = f" ({classes[column]!r})" if classes is not None else ""
        raise DataError(f"{name}[{row}, {column}]{label} is {values[row, column]}: {name} {rule}")


def thresholds(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts at each distinct value of `positive`; both arrays ascending and negated, so best first.

    Returns:
        values; positives up to each, itself included; negatives strictly before each; negatives up to each.
    """
    last = np.append(np.flatnonzero(positive[1:] != positive[:-1]), len(positive) - 1)
    values = positive[last]
    return values, last + 1, np.searchsorted(negative, values, "left"), np.searchsorted(negative, values, "right")


def precision(above: np.ndarray, false_above: np.ndarray) -> np.ndarray:
    """Share of positives among what scores at least the threshold; 0 where nothing does."""
    found = np.asarray(above + false_above)
    return np.divide(above, found, out=np.zeros(found.shape), where=found > 0)


def area_sums(at, precisions, false_above, false_equal, negatives) -> tuple[np.ndarray, np.ndarray]:
    """Sums over thresholds (axis 0) which, divided by positives × negatives and by positives, are the two areas.

    ROC-AUC is the Mann–Whitney statistic: the share of (positive, negative) pairs in the right order, ties half.
    PR-AUC is the average precision Σ (R_n − R_{n−1}) P_n over distinct thresholds, without interpolation.
    """
    return (at * (negatives - false_above + 0.5 * false_equal)).sum(axis=0), (at * precisions).sum(axis=0)


def areas(target: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """ROC-AUC and average precision of one column; nan where the labels do not define them."""
    positive, negative = np.sort(-score[target]), -score[~target]
    if not len(positive):
        return float("nan"), float("nan")
    if len(positive) <= _FEW:
        values, above, _, _ = thresholds(positive, negative[:0])
        before = np.array([np.count_nonzero(negative < v) for v in values])
        false_above = np.array([np.count_nonzero(negative <= v) for v in values])
    else:
        _, above, before, false_above = thresholds(positive, np.sort(negative))
    at = np.diff(above, prepend=0).astype(np.float64)
    roc, pr = area_sums(at, precision(above, false_above), false_above, false_above - before, len(negative))
    return float(roc / (len(positive) * len(negative))) if len(negative) else float("nan"), float(pr / len(positive))


def _by_class(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """``(classes, 2)``: both areas of every column."""
    pairs = [areas(targets[:, c], scores[:, c]) for c in range(targets.shape[1])]
    return np.array(pairs, np.float64).reshape(-1, 2)


def roc_auc(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Exact area under the ROC curve of every class, ties counted half (scikit-learn's ``roc_auc_score``).

    Args:
        targets: ``(tracks, classes)``, bool or 0 and 1.
        scores: ``(tracks, classes)``, higher means more likely; need not be probabilities.

    Returns:
        ``(classes,)`` float64, nan where a class has only one kind of label.

    Raises:
        DataError: see `check`.
    """
    return _by_class(*check(targets, scores))[:, 0]


def average_precision(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Exact average precision of every class, the PR-AUC reported here (scikit-learn's ``average_precision_score``).

    Arguments and errors as `roc_auc`.

    Returns:
        ``(classes,)`` float64, nan where a class has no positive (scikit-learn: 0 and a warning).
    """
    return _by_class(*check(targets, scores))[:, 1]


def summarise(targets: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """ROC-AUC and PR-AUC per class, macro and micro, as plain numbers that JSON can hold.

    Macro is the mean over the classes that have both kinds of label. Micro ranks all (track, class) pairs together,
    every class included. 50,000 × 200 take about 2 s and 100 MB.

    Args:
        targets: ``(tracks, classes)``, bool or 0 and 1.
        scores: ``(tracks, classes)``.
        classes: One name per column.

    Returns:
        ``{"tracks", "macro": {"roc_auc", "pr_auc"}, "micro": {…}, "left_out": [names],
        "per_class": {name: {"positives", "roc_auc", "pr_auc"}}}``; None stands where a value is not defined.

    Raises:
        DataError: see `check`.
    """
    targets, scores = check(targets, scores, classes)
    by_class, positives = _by_class(targets, scores), targets.sum(axis=0)
    usable = (positives > 0) & (positives < len(targets))
    by_class[~usable] = np.nan
    micro = areas(targets.ravel(), scores.ravel())
    macro = by_class[usable].mean(axis=0) if usable.any() else (np.nan, np.nan)
    return {
        "tracks": len(targets),
        "macro": _named(macro),
        "micro": _named(micro),
        "left_out": [str(name) for name, kept in zip(classes, usable, strict=True) if not kept],
        "per_class": {
            str(name): {"positives": int(count), **_named(pair)}
            for name, count, pair in zip(classes, positives, by_class, strict=True)
        },
    }


def _named(pair: Sequence[float]) -> dict[str, float | None]:
    return {key: None if np.isnan(v) else float(v) for key, v in zip(AREAS, pair, strict=True)}
