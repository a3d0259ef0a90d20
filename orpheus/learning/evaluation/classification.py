"""Accuracy and F1 of classes, and the thresholds that maximise it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from orpheus.learning.evaluation.areas import check, thresholds


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
