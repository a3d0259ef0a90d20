"""tartarus' figures and ours on the same small tables, both worked out by hand."""

import numpy as np
import pytest
from scipy import sparse
from sklearn import metrics

from orpheus.learning.evaluation import as_reference, lists
from orpheus.tasks.recommendation.metrics import r_squared

# Three users, four items; the scores rank items 0 1 2 3 for everybody. The last user has no held-out play.
COUNTS = sparse.csr_matrix([[0, 9, 0, 1], [5, 0, 0, 0], [0, 0, 0, 0]])
SCORES = np.tile([4.0, 3.0, 2.0, 1.0], (3, 1))


def rows(start, stop):
    return SCORES[start:stop]


def test_lists_of_both_by_hand():
    theirs = as_reference.lists(rows, COUNTS, k=4, cutoffs=[1, 2])
    ours = lists.evaluate_lists(rows, COUNTS, k=4, cutoffs=[1, 2])
    # AP of user 0: items at places 2 and 4, (1/2 + 2/4) / 2 = .5; of user 1: 1; user 2 has nothing to find.
    assert theirs["MAP@4"] == pytest.approx(1.5 / 3) and ours["mean"]["MAP@4"] == pytest.approx(1.5 / 2)
    assert theirs["P@2"] == pytest.approx((0.5 + 0.5 + 0) / 3) and ours["mean"]["P@2"] == pytest.approx(0.5)
    # nDCG@2 of user 0: gains 0, 9. Retrieved and sorted: 9, 0, so (9 / log2 3) / 9. Ours: gain 1, and two could be there.
    log = 1 / np.log2(3)
    assert theirs["nDCG@2"] == pytest.approx((log + 1 + 0) / 3)
    assert ours["mean"]["nDCG@2"] == pytest.approx((log / (1 + log) + 1) / 2)
    assert theirs["ADiv@2"] == ours["coverage"]["C@2"] == 0.5
    expected = [metrics.average_precision_score(COUNTS.toarray()[n] > 0, SCORES[n]) for n in (0, 1)]
    assert theirs["PR-AUC"] == pytest.approx(sum(expected) / 3)
    assert "PR-AUC" not in as_reference.lists(rows, COUNTS, k=4, cutoffs=[1], pr_auc=False)


def test_gains_are_play_counts_and_the_ideal_is_of_what_was_retrieved():
    # One play in place 1, nine in place 2: the ideal list swaps them.
    found = as_reference.ndcg_of_retrieved(np.array([[1, 9, 0], [0, 0, 3], [0, 0, 0]]), 3)
    log = 1 / np.log2([2, 3, 4])
    np.testing.assert_allclose(found, [(1 + 9 * log[1]) / (9 + log[1]), log[2], 0])
    # A relevant item beyond the cut-off costs nothing there: the list of one hit is ideal.
    assert as_reference.ndcg_of_retrieved(np.array([[2, 0, 0, 7]]), 2)[0] == 1


def test_r_squared_of_both_by_hand():
    truth, outputs = np.array([[0.0, 2.0], [0.0, 4.0], [1.0, 1.0]]), np.array([[0.0, 2.0], [0.0, 0.0], [5.0, 5.0]])
    # Items: 1 − 0/2 and 1 − 16/8; the third does not vary. Dimensions: 1 − 16/(2/3) and 1 − 32/(14/3).
    assert as_reference.r_squared_of_items(truth, outputs) == pytest.approx((1 - 1) / 2)
    assert r_squared(truth, outputs) == pytest.approx(((1 - 24) + (1 - 32 / (14 / 3))) / 2)
    rng = np.random.default_rng(0)
    truth, outputs = rng.normal(size=(9, 5)), rng.normal(size=(9, 5))
    one_by_one = np.mean([metrics.r2_score(t, o) for t, o in zip(truth, outputs, strict=True)])
    assert as_reference.r_squared_of_items(truth, outputs) == pytest.approx(one_by_one)
    assert r_squared(truth, outputs) == pytest.approx(metrics.r2_score(truth, outputs))
    assert as_reference.r_squared_of_items(np.ones((2, 3)), outputs[:2, :3]) is None


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    scores, counts = rng.normal(size=(40, 30)), sparse.csr_matrix(rng.poisson(0.2, (40, 30)))
    whole = as_reference.lists(lambda a, b: scores[a:b], counts, k=10)
    monkeypatch.setattr(as_reference, "_BLOCK", 100)
    assert as_reference.lists(lambda a, b: scores[a:b], counts, k=10) == pytest.approx(whole)
