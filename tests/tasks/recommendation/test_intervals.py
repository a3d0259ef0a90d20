"""Intervals over items against the plain loop: items repeated, scikit-learn's figures, percentiles of them."""

import numpy as np
import pytest
from sklearn import metrics

from orpheus.learning.evaluation import bootstrap
from orpheus.tasks.recommendation import intervals


def drawn(items, n):
    index, counts = bootstrap.draws(range(items), n=n, seed=0)
    return [np.repeat(np.arange(items), counts[index, draw]) for draw in range(n)]


def test_r_squared():
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 1, (40, 3))  # far from zero: sums of squares must not lose the variance
    outputs = truth + rng.normal(0, 0.5, (40, 3))
    expected = np.percentile([metrics.r2_score(truth[rows], outputs[rows]) for rows in drawn(40, 130)], [2.5, 97.5])
    np.testing.assert_allclose(intervals.r_squared(truth, outputs, n=130), expected, atol=1e-9)


@pytest.mark.parametrize("several", [False, True])
def test_classification(several):
    rng = np.random.default_rng(1)
    if several:
        truth, predicted = rng.random((30, 3)) < 0.4, rng.random((30, 3)) < 0.5
    else:
        truth, predicted = (
            np.eye(3, dtype=bool)[rng.integers(3, size=30)],
            np.eye(3, dtype=bool)[rng.integers(3, size=30)],
        )
    found = intervals.classification(truth, predicted, "abc", n=40)
    rows = drawn(30, 40)
    scores = [metrics.precision_recall_fscore_support(truth[r], predicted[r], zero_division=0)[:3] for r in rows]
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)  # (3 ratios, classes)
    for i, key in enumerate(intervals.RATIOS):
        np.testing.assert_allclose(found[key], np.percentile([s[i].mean() for s in scores], [2.5, 97.5]), atol=1e-9)
        np.testing.assert_allclose(found["per_class"]["b"][key], [low[i, 1], high[i, 1]], atol=1e-9)
    accuracy = [metrics.accuracy_score(truth[r], predicted[r]) for r in rows]
    np.testing.assert_allclose(found["accuracy"], np.percentile(accuracy, [2.5, 97.5]), atol=1e-9)
