"""Metrics as tartarus computes them under the same names, where that is something else than ours.

========  ==============================================  ====================================================
name      tartarus (here)                                 ours (`lists`, `metrics.r_squared`)
========  ==============================================  ====================================================
R²        of each item over its dimensions, then the      of each dimension over the items, then the mean over
          mean over items                                 dimensions
nDCG@k    gains are play counts; the ideal list is made   gain 1; the ideal list begins with all relevant items
          of the k items that were retrieved
MAP, P@k  a list without a relevant item counts as zero   it is left out of the mean
ADiv@k    share of the items that are on any list         the same, called C@k
========  ==============================================  ====================================================

So their nDCG is 1 for a list of one relevant item among k, wherever it would have been missed otherwise, and rises where
lists find little; their MAP and P@k fall with the number of users without a held-out play.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from orpheus.learning.evaluation.areas import areas
from orpheus.learning.evaluation.lists import average_precision_at, hits, precision_at, top

_BLOCK = 1 << 23  # scores at once


def r_squared_of_items(truth: np.ndarray, outputs: np.ndarray) -> float | None:
    """Mean over items of 1 − Σ_d (y_d − ŷ_d)² / Σ_d (y_d − ȳ)², ȳ the mean of the item's own values.

    Args:
        truth: (items, dim).
        outputs: (items, dim).

    Returns:
        None where no item's values vary; items whose values are all equal take no part.

    Example:
        >>> r_squared_of_items(np.array([[0.0, 2.0], [0.0, 4.0]]), np.array([[0.0, 2.0], [0.0, 0.0]]))
        0.0
    """
    truth, outputs = np.asarray(truth, np.float64), np.asarray(outputs, np.float64)
    spread = ((truth - truth.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    error, varies = ((truth - outputs) ** 2).sum(axis=1), spread > 0
    return float((1 - error[varies] / spread[varies]).mean()) if varies.any() else None


def ndcg_of_retrieved(gains: np.ndarray, k: int) -> np.ndarray:
    """Σ_{i≤k} gain_i / log2(i + 1) over that sum with the same k gains in falling order; 0 where all are 0.

    Args:
        gains: (users, items on the list), in the order of the list: play counts.
        k: Cut-off.

    Returns:
        (users,).
    """
    gains = np.asarray(gains, np.float64)[:, :k]
    discount = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
    ideal = -np.sort(-gains, axis=1) @ discount
    return np.divide(gains @ discount, ideal, out=np.zeros(len(gains)), where=ideal > 0)


def lists(
    score_rows: Callable[[int, int], np.ndarray],
    counts: sparse.spmatrix,
    *,
    k: int = 500,
    cutoffs: Sequence[int] = (1, 3, 5, 10),
    pr_auc: bool = True,
) -> dict[str, float]:
    """Means over all users of the metrics of their lists, as tartarus computes them.

    Args:
        score_rows: ``(start, stop) → (stop − start, items)`` scores of these users.
        counts: ``(users, items)`` play counts; of classes, 0 and 1.
        k: Length of the lists, cut-off of MAP.
        cutoffs: Of P, nDCG and ADiv.
        pr_auc: Average precision of each user over all items, too.

    Returns:
        ``{"MAP@k", "P@c", "nDCG@c", "ADiv@c" for each cut-off, "PR-AUC"}``.
    """
    counts = sparse.csr_matrix(counts)
    users, items = counts.shape
    relevant = np.asarray((counts > 0).sum(axis=1)).ravel()
    total = dict.fromkeys([f"MAP@{k}", *(f"{name}@{c}" for c in cutoffs for name in ("P", "nDCG"))], 0.0)
    listed, precision = {c: np.zeros(items, bool) for c in cutoffs}, 0.0
    block = max(1, _BLOCK // max(items, 1))
    for start in range(0, users, block):
        stop = min(start + block, users)
        scores = np.asarray(score_rows(start, stop))
        ranked, true, number = top(scores, k), counts[start:stop], relevant[start:stop]
        hit = hits(ranked, true)
        gains = np.take_along_axis(true.toarray(), np.maximum(ranked, 0), axis=1) * hit
        total[f"MAP@{k}"] += np.nansum(average_precision_at(hit, number, k))
        for c in cutoffs:
            total[f"P@{c}"] += precision_at(hit, c).sum()
            total[f"nDCG@{c}"] += ndcg_of_retrieved(gains, c).sum()
            listed[c][ranked[:, :c][ranked[:, :c] >= 0]] = True
        if pr_auc:
            dense = true.toarray() > 0
            precision += sum(areas(t, s)[1] for t, s in zip(dense, scores, strict=True) if t.any())
    result = {name: float(value / users) for name, value in total.items()}
    result |= {f"ADiv@{c}": float(marks.mean()) for c, marks in listed.items()}
    return result | ({"PR-AUC": float(precision / users)} if pr_auc else {})
