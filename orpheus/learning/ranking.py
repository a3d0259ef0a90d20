"""Exact ranking metrics: areas under ROC and precision–recall curves per class, and ranked lists per user.

Every area is computed from the same few counts, taken at the distinct scores of the positives (the thresholds where a
curve can change): positives and negatives with at least that score, and negatives with just that score. The formulas
are in `area_sums`, once; weighted areas (in `bootstrap`) only make the counts another way.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from orpheus.errors import ConfigError, DataError

AREAS = ("roc_auc", "pr_auc")
Names = Sequence[str] | None
_BLOCK = 1 << 23  # scores per block of users: 32 MiB, and about three times that while selecting
_FEW = 32  # positives up to which counting beats sorting the negatives
_SHORT = 2048  # items up to which sorting whole rows beats looking for each row's candidates


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
    _refuse(~np.isfinite(scores), scores, "scores", "must be finite; did the training diverge?", classes)
    if targets.dtype != bool:
        _refuse((targets != 0) & (targets != 1), targets, "targets", "must be 0 or 1", classes)
        targets = targets.astype(bool)
    return targets, scores


def _refuse(bad: np.ndarray, values: np.ndarray, name: str, rule: str, classes: Names = None) -> None:
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


def best_thresholds(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The threshold of every class with the best F1 along its precision–recall curve; predict where score ≥ it.

    Arguments and errors as `roc_auc`. Of equally good thresholds the highest is taken.

    Returns:
        thresholds and their F1, each ``(classes,)``; nan where a class has no positive.
    """
    targets, scores = check(targets, scores)
    result = np.full((2, targets.shape[1]), np.nan)
    for c in range(targets.shape[1]):
        positive, negative = np.sort(-scores[targets[:, c], c]), np.sort(-scores[~targets[:, c], c])
        if len(positive):
            values, above, _, false_above = thresholds(positive, negative)
            f1 = 2 * above / (len(positive) + above + false_above)
            best = int(np.argmax(f1))
            result[:, c] = -values[best], f1[best]
    return result[0], result[1]


def classification(targets: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy and macro precision, recall and F1 by scikit-learn; a ratio 0/0 counts as 0.

    Args:
        targets: ``(items,)`` class numbers, or ``(items, classes)`` of 0 and 1 for several labels per item (accuracy
            is then the share of items with every label right).
        predictions: As `targets`.
        classes: One name per class.

    Returns:
        ``{"accuracy", "precision", "recall", "f1", "per_class": {name: {"support", "precision", "recall", "f1"}}}``.
    """
    from sklearn import metrics

    labels, names = list(range(len(classes))), [str(name) for name in classes]
    report = metrics.classification_report(
        targets, predictions, labels=labels, target_names=names, output_dict=True, zero_division=0
    )
    keys = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
    rows = {name: {key: float(report[name][theirs]) for key, theirs in keys.items()} for name in [*names, "macro avg"]}
    return {
        "accuracy": float(metrics.accuracy_score(targets, predictions)),
        **rows.pop("macro avg"),
        "per_class": {name: {"support": int(report[name]["support"]), **row} for name, row in rows.items()},
    }


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best columns of every row, best first, equal scores by the lower column number.

    Args:
        scores: ``(rows, items)``; −inf marks items that must not be listed.
        k: Length of the lists.

    Returns:
        ``(rows, min(k, items))`` int64 column numbers, −1 behind the last item of a shorter list.
    """
    items = scores.shape[1]
    k = min(k, items)
    if items <= max(_SHORT, 8 * k):
        ranked = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    else:
        # A floor from every 16th item lets few candidates through; a floor that was too high costs only time.
        sample = scores[:, ::16]
        place = sample.shape[1] - min(sample.shape[1], k // 12 + 8)
        floors = np.partition(sample, place, axis=1)[:, place]
        ranked = np.stack([_best(row, floor, k) for row, floor in zip(scores, floors, strict=True)])
    return np.where(np.take_along_axis(scores, ranked, axis=1) > -np.inf, ranked, -1)


def _best(row: np.ndarray, floor: np.floating, k: int) -> np.ndarray:
    candidates = np.flatnonzero(row >= floor)
    if len(candidates) < k:
        candidates = np.arange(len(row))
    values = row[candidates]
    kept = values >= np.partition(values, len(values) - k)[len(values) - k]  # every item that shares the last place
    order = np.argsort(-values[kept], kind="stable")[:k]
    return candidates[kept][order]


def hits(ranked: np.ndarray, relevance: sparse.csr_matrix) -> np.ndarray:
    """Which entries of ranked lists are relevant: ``(users, k)`` bool; −1 entries are not.

    `ranked` is ``(users, k)`` item numbers, best first, `relevance` ``(users, items)``: not zero is relevant.
    """
    rows = np.repeat(np.arange(len(ranked)), ranked.shape[1])
    found = np.asarray(relevance[rows, np.maximum(ranked, 0).ravel()]).reshape(ranked.shape)
    return (found != 0) & (ranked >= 0)


def precision_at(hit: np.ndarray, k: int) -> np.ndarray:
    """P@k = relevant items among the first k, over k, also where a list is shorter; ``(users,)``."""
    return hit[:, :k].sum(axis=1) / k


def recall_at(hit: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """R@k = relevant items among the first k, over all `relevant` ones ``(users,)``; nan where there are none."""
    return _ratio(hit[:, :k].sum(axis=1), relevant)


def hit_at(hit: np.ndarray, k: int) -> np.ndarray:
    """1 where any of the first k is relevant, else 0, ``(users,)``."""
    return hit[:, :k].any(axis=1).astype(np.float64)


def average_precision_at(hit: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """AP@k = Σ_{i≤k, i relevant} P@i / min(relevant, k), whose mean over users is MAP@k; ``(users,)``."""
    hit = hit[:, :k]
    precisions = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    return _ratio((precisions * hit).sum(axis=1), np.minimum(relevant, k))


def ndcg_at(hit: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """nDCG@k with gain 1: Σ_{i≤k} hit_i / log2(i + 1), over that sum of a list beginning with all relevant ones."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.append(0, np.cumsum(discount))[np.minimum(relevant, k).astype(int)]
    hit = hit[:, :k]
    return _ratio(hit @ discount[: hit.shape[1]], ideal)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=np.asarray(below) > 0)


def evaluate_lists(
    score_rows: Callable[[int, int], np.ndarray],
    relevance: sparse.spmatrix,
    *,
    k: int = 500,
    cutoffs: Sequence[int] = (1, 3, 5, 10),
    exclude: sparse.spmatrix | None = None,
    roc: bool = True,
    block: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Metrics of the lists that any scorer makes, in blocks of users; users without a relevant item take no part.

    Args:
        score_rows: ``(start, stop) → (stop − start, items)`` scores of these users, finite.
        relevance: ``(users, items)``; what is not zero is relevant (held-out plays, true labels).
        k: Length of the lists and cut-off of MAP, recall and coverage.
        cutoffs: Further cut-offs of P, nDCG, hit rate and coverage; those above `k` are refused.
        exclude: ``(users, items)``; items never listed, as those already heard in training.
        roc: A user's ROC-AUC over all items that may be listed, too; two thirds of the time where items are many.
        block: Users at once; by default about 8 million scores, 150 MB in all.
        progress: Called after each block with its number of users, as ``tqdm.update`` wants it.

    Returns:
        ``{"users": evaluated, "mean": {name: float}, "per_user": {name: (users,) float64, nan where left out},
        "coverage": {"C@k": share of all items on any list (aggregated diversity)}}``, names as ``MAP@500, P@5,
        nDCG@5, Hit@5, R@500, ROC``.

    Raises:
        DataError: a score is not finite, shapes differ, an excluded item is relevant, or no user has a relevant item.
        ConfigError: a cut-off is out of range.
    """
    relevance = _canonical(relevance)
    users, items = relevance.shape
    if any(not 0 < cutoff <= k for cutoff in [k, *cutoffs]):
        raise ConfigError(f"cutoffs={list(cutoffs)}, k={k}: cut-offs must lie between 1 and k")
    if exclude is not None:
        exclude = _canonical(exclude)
        if exclude.shape != relevance.shape:
            raise DataError(f"exclude has shape {exclude.shape}, relevance {relevance.shape}: they must be the same")
        both = relevance.multiply(exclude).tocoo()
        if both.nnz:
            raise DataError(f"user {both.row[0]}, item {both.col[0]}: relevant and excluded; held-out means unseen")
    relevant = np.diff(relevance.indptr)
    if not relevant.any():
        raise DataError(f"relevance {relevance.shape}: no user has a relevant item; nothing can be evaluated")
    cuts = sorted({*cutoffs, k})
    names = [f"MAP@{k}", f"R@{k}", *(f"{name}@{c}" for c in cuts for name in ("P", "nDCG", "Hit")), *["ROC"] * roc]
    per_user = {name: np.full(users, np.nan) for name in names}
    listed = {c: np.zeros(items, bool) for c in cuts}
    block = block or max(1, _BLOCK // max(items, 1))
    for start in range(0, users, block):
        stop = min(start + block, users)
        rows = start + np.flatnonzero(relevant[start:stop])
        if len(rows):
            scores = np.asarray(score_rows(start, stop))
            scores = scores.astype(np.result_type(scores, np.float32), copy=exclude is not None)
            if scores.shape != (stop - start, items):
                raise DataError(f"scores of users {start} to {stop}: shape {scores.shape}, not {(stop - start, items)}")
            _refuse(~np.isfinite(scores), scores, f"scores of users from {start} on", "must be finite")
            if exclude is not None:
                out = exclude[start:stop].tocoo()
                scores[out.row, out.col] = -np.inf
            scores = scores if len(rows) == len(scores) else scores[rows - start]
            true, count = relevance[rows], relevant[rows]
            ranked = top(scores, k)
            hit = hits(ranked, true)
            per_user[f"MAP@{k}"][rows] = average_precision_at(hit, count, k)
            per_user[f"R@{k}"][rows] = recall_at(hit, count, k)
            for c in cuts:
                per_user[f"P@{c}"][rows] = precision_at(hit, c)
                per_user[f"nDCG@{c}"][rows] = ndcg_at(hit, count, c)
                per_user[f"Hit@{c}"][rows] = hit_at(hit, c)
                listed[c][ranked[:, :c][ranked[:, :c] >= 0]] = True
            if roc:
                target = true.toarray() > 0
                part = scores > -np.inf  # nan where every listable item is relevant
                per_user["ROC"][rows] = [areas(t[p], s[p])[0] for t, s, p in zip(target, scores, part, strict=True)]
        if progress is not None:
            progress(stop - start)
    return {
        "users": int((relevant > 0).sum()),
        "mean": {name: None if np.isnan(v).all() else float(np.nanmean(v)) for name, v in per_user.items()},
        "per_user": per_user,
        "coverage": {f"C@{c}": float(marks.mean()) for c, marks in listed.items()},
    }


def _canonical(matrix: Any) -> sparse.csr_matrix:
    """A CSR copy of ones with sorted, distinct entries and no stored zeros."""
    matrix = sparse.csr_matrix(matrix, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data = np.ones(matrix.nnz, np.float32)
    return matrix


def evaluate_factors(
    user_vectors: np.ndarray, item_vectors: np.ndarray, relevance: sparse.spmatrix, **options: Any
) -> dict[str, Any]:
    """`evaluate_lists` of the scores user vector · item vector, ``(users, dimensions)`` and ``(items, dimensions)``.

    Raises:
        DataError: shapes do not fit, or as `evaluate_lists`.
    """
    users, items = np.asarray(user_vectors), np.asarray(item_vectors)
    shapes = f"user vectors {users.shape}, item vectors {items.shape}, relevance {relevance.shape}"
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise DataError(f"{shapes}: both kinds of vectors must have the same dimension")
    if relevance.shape != (len(users), len(items)):
        raise DataError(f"{shapes}: relevance must be (users, items)")
    return evaluate_lists(lambda start, stop: users[start:stop] @ items.T, relevance, **options)
