"""Metrics of ranked lists of items: precision, recall, MAP and nDCG at k."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation.areas import areas, refuse_where

_BLOCK = 1 << 23  # scores per block of users: 32 MiB, and about three times that while selecting


_SHORT = 2048  # items up to which sorting whole rows beats looking for each row's candidates


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
    """AP@k = Σ_{i≤k, i relevant} P@i / min(relevant, k), whose mean over users is MAP@k; ``(users,)``.

    Retrieval ranks all songs for a tag, so its MAP has no cut-off: it is the mean of the average precision of
    `areas.areas`, to which AP@k comes when k is the number of songs and no two scores are equal.

    Example:
        >>> average_precision_at(np.array([[True, False, True]]), np.array([2]), 3)
        array([0.83333333])
    """
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
            refuse_where(~np.isfinite(scores), scores, f"scores of users from {start} on", "must be finite")
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
