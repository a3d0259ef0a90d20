"""Areas against scikit-learn, list metrics against plain loops and hand tables."""

import json
import math

import numpy as np
import pytest
from scipy import sparse
from sklearn import metrics

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import areas, classification, lists


def _labels(rows=300, classes=8, seed=0, decimals=None):
    """Targets of rarer and rarer classes; with `decimals` many ties."""
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, classes)) < np.linspace(0.02, 0.6, classes)
    targets[0], targets[1] = True, False
    scores = (rng.standard_normal((rows, classes)) + targets).astype(np.float32)
    return targets, scores if decimals is None else scores.round(decimals)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_areas_equal_scikit_learn(decimals):
    targets, scores = _labels(decimals=decimals)
    assert targets.sum(axis=0).min() <= areas._FEW < targets.sum(axis=0).max()  # both ways of counting
    roc = metrics.roc_auc_score(targets, scores, average=None)
    pr = metrics.average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(areas.roc_auc(targets, scores), roc, atol=1e-12)
    np.testing.assert_allclose(areas.average_precision(targets, scores), pr, atol=1e-12)
    np.testing.assert_allclose(areas.average_precision(targets.astype(float), scores.astype(float)), pr, atol=1e-12)


def test_areas_by_hand():
    # Best first: + − + −: of the four pairs three are in order; precision 1/1 and 2/3 at the two positives.
    targets, scores = np.array([[1], [0], [1], [0]]), np.array([[4.0], [3], [2], [1]])
    assert areas.roc_auc(targets, scores)[0] == pytest.approx(3 / 4)
    assert areas.average_precision(targets, scores)[0] == pytest.approx((1 + 2 / 3) / 2)
    # All the same score: chance, and the share of positives.
    same = np.zeros((4, 1))
    assert areas.roc_auc(targets, same)[0] == pytest.approx(0.5)
    assert areas.average_precision(targets, same)[0] == pytest.approx(0.5)


def test_one_kind_of_label():
    targets = np.array([[0, 1, 1], [0, 1, 0]])
    scores = np.array([[0.1, 0.2, 0.9], [0.3, 0.4, 0.1]])
    np.testing.assert_array_equal(areas.roc_auc(targets, scores), [np.nan, np.nan, 1])
    np.testing.assert_array_equal(areas.average_precision(targets, scores), [np.nan, 1, 1])
    result = areas.summarise(targets, scores, ["never", "always", "good"])
    assert result["left_out"] == ["never", "always"]
    assert result["macro"] == {"roc_auc": 1.0, "pr_auc": 1.0}
    assert result["per_class"]["always"] == {"positives": 2, "roc_auc": None, "pr_auc": None}
    json.dumps(result, allow_nan=False)
    nothing = areas.summarise(np.zeros((2, 1)), np.zeros((2, 1)), ["never"])
    assert nothing["macro"] == nothing["micro"] == {"roc_auc": None, "pr_auc": None}


def test_summary_equals_scikit_learn():
    targets, scores = _labels(decimals=1)
    names = [f"tag {i}" for i in range(8)]
    result = areas.summarise(targets, scores, names)
    for average in ("macro", "micro"):
        roc = metrics.roc_auc_score(targets, scores, average=average)
        pr = metrics.average_precision_score(targets, scores, average=average)
        assert result[average] == pytest.approx({"roc_auc": roc, "pr_auc": pr}, abs=1e-12)
    assert result["tracks"] == 300
    assert [row["positives"] for row in result["per_class"].values()] == targets.sum(axis=0).tolist()


def test_bad_labels_and_scores():
    targets, scores = _labels(rows=5, classes=2)
    broken = scores.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match=r"scores\[3, 1\] \('b'\) is nan"):
        areas.summarise(targets, broken, ["a", "b"])
    broken[2, 0] = -np.inf
    with pytest.raises(DataError, match=r"scores\[2, 0\] is -inf"):
        areas.roc_auc(targets, broken)
    with pytest.raises(DataError, match=r"targets\[0, 0\] is 0.5"):
        areas.roc_auc(np.full((5, 2), 0.5), scores)
    with pytest.raises(DataError, match="the same"):
        areas.roc_auc(targets[:4], scores)
    with pytest.raises(DataError, match="3 names for 2"):
        areas.summarise(targets, scores, ["a", "b", "c"])


def test_best_thresholds_by_trying_all():
    targets, scores = _labels(rows=80, classes=3, decimals=1)
    targets[:, 0] = False
    thresholds, best = classification.best_thresholds(targets, scores)
    assert np.isnan([thresholds[0], best[0]]).all()
    for c in (1, 2):
        tried = {t: metrics.f1_score(targets[:, c], scores[:, c] >= t) for t in np.unique(scores[:, c])}
        assert best[c] == pytest.approx(max(tried.values()))
        assert tried[np.float32(thresholds[c])] == pytest.approx(best[c])


def test_classification_equals_scikit_learn():
    targets, predictions = np.array([0, 1, 2, 2, 1, 0]), np.array([0, 2, 2, 2, 1, 1])
    result = classification.classification(targets, predictions, ["a", "b", "c", "absent"])
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, predictions, labels=range(4), average="macro", zero_division=0
    )
    assert [result[key] for key in ("precision", "recall", "f1")] == pytest.approx([precision, recall, f1])
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["per_class"]["c"] == pytest.approx({"support": 2, "precision": 2 / 3, "recall": 1, "f1": 0.8})
    several, _ = _labels(rows=20, classes=3)
    exact = classification.classification(several, np.zeros((20, 3), bool), ["a", "b", "c"])["accuracy"]
    assert exact == pytest.approx((~several.any(axis=1)).mean())


def _relevance(rows, items):
    matrix = np.zeros((len(rows), items))
    for row, columns in enumerate(rows):
        matrix[row, columns] = 1
    return sparse.csr_matrix(matrix)


def test_list_metrics_by_hand():
    # Lists and what is relevant: hits at ranks 1 and 3 of 3 relevant; none; at rank 2 of 1.
    ranked = np.array([[5, 1, 2, 0], [0, 1, 2, 3], [3, 4, 5, -1]])
    relevance = _relevance([[5, 2, 4], [5], [4]], 6)
    hit, relevant = lists.hits(ranked, relevance), np.array([3, 1, 1])
    assert hit.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_allclose(lists.precision_at(hit, 3), [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(lists.recall_at(hit, relevant, 3), [2 / 3, 0, 1])
    np.testing.assert_allclose(lists.hit_at(hit, 1), [1, 0, 0])
    np.testing.assert_allclose(lists.average_precision_at(hit, relevant, 4), [(1 + 2 / 3) / 3, 0, 1 / 2])
    np.testing.assert_allclose(lists.average_precision_at(hit, relevant, 2), [1 / 2, 0, 1 / 2])
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    np.testing.assert_allclose(lists.ndcg_at(hit, relevant, 4), [(1 + 1 / math.log2(4)) / ideal, 0, 1 / math.log2(3)])


@pytest.mark.parametrize("items", [40, 3000])
@pytest.mark.parametrize("decimals", [None, 0], ids=["distinct", "many ties"])
def test_top_is_a_stable_sort(items, decimals):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((30, items)).astype(np.float32)
    scores = scores if decimals is None else scores.round(decimals)
    scores[1] = 0
    scores[2, 5:] = -np.inf
    ranked = lists.top(scores, 20)
    for row, found in zip(scores, ranked, strict=True):
        expected = [i for i in sorted(range(items), key=lambda i: (-row[i], i))[:20] if row[i] > -np.inf]
        assert found.tolist() == expected + [-1] * (20 - len(expected))
    assert lists.top(scores, items + 5).shape == (30, items)


def _loop(scores, relevant, excluded, k):
    """One user, the textbook way."""
    order = [i for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)) if i not in excluded]
    ranked = order[:k]
    found, total, gain = 0, 0.0, 0.0
    for rank, item in enumerate(ranked, 1):
        if item in relevant:
            found += 1
            total += found / rank
            gain += 1 / math.log2(rank + 1)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), k) + 1))
    return {
        "MAP": total / min(len(relevant), k),
        "P": found / k,
        "nDCG": gain / ideal,
        "R": found / len(relevant),
        "Hit": float(found > 0),
        "ROC": metrics.roc_auc_score([i in relevant for i in order], scores[order]),
        "ranked": ranked,
    }


@pytest.mark.parametrize("block", [None, 1, 7])
def test_evaluate_factors_against_a_loop(block):
    rng = np.random.default_rng(3)
    users, items = rng.standard_normal((25, 6)).astype(np.float32), rng.standard_normal((60, 6)).astype(np.float32)
    state = rng.random((25, 60))
    state[4] = 0.5  # nothing relevant
    relevance, exclude = sparse.csr_matrix((state < 0.08) * state), sparse.csr_matrix(state > 0.8)
    done = []
    result = lists.evaluate_factors(
        users, items, relevance, k=15, cutoffs=(1, 5), exclude=exclude, block=block, progress=done.append
    )
    assert sum(done) == 25
    per_user = result["per_user"]
    seen = {1: set(), 5: set(), 15: set()}
    evaluated = 0
    for u in range(25):
        relevant = set(np.flatnonzero(relevance[u].toarray()[0]))
        if not relevant:
            assert all(np.isnan(values[u]) for values in per_user.values())
            continue
        evaluated += 1
        for k in (1, 5, 15):
            expected = _loop((users @ items.T)[u], relevant, set(exclude[u].indices), k)
            seen[k] |= set(expected["ranked"])
            for name in ("P", "nDCG", "Hit"):
                assert per_user[f"{name}@{k}"][u] == pytest.approx(expected[name], abs=1e-12), (u, name, k)
        for name in ("MAP@15", "R@15", "ROC"):
            assert per_user[name][u] == pytest.approx(expected[name.split("@")[0]], abs=1e-12), (u, name)
    assert result["users"] == evaluated < 25
    assert result["coverage"] == {f"C@{k}": len(items_seen) / 60 for k, items_seen in seen.items()}
    assert result["mean"]["MAP@15"] == pytest.approx(np.nanmean(per_user["MAP@15"]))


def test_evaluate_lists_takes_any_scores():
    popularity = np.array([3, 9, 1, 9])  # integers; equal ones by the lower number: 1, 3, 0, 2
    result = lists.evaluate_lists(
        lambda start, stop: np.tile(popularity, (stop - start, 1)), _relevance([[3], [0, 1, 2, 3]], 4), k=2, cutoffs=()
    )
    assert result["per_user"]["MAP@2"].tolist() == [0.5, 1.0]
    assert np.isnan(result["per_user"]["ROC"][1])  # nothing to tell the relevant items from
    assert result["coverage"] == {"C@2": 0.5}


def test_bad_recommendations():
    vectors = np.ones((2, 3), np.float32)
    relevance = _relevance([[0], [1]], 2)
    with pytest.raises(DataError, match="same dimension"):
        lists.evaluate_factors(vectors, np.ones((2, 4)), relevance)
    with pytest.raises(DataError, match="must be"):
        lists.evaluate_factors(vectors, np.ones((3, 3)), relevance)
    with pytest.raises(DataError, match="user 1, item 1"):
        lists.evaluate_factors(vectors, vectors, relevance, exclude=_relevance([[], [0, 1]], 2))
    with pytest.raises(DataError, match="no user has"):
        lists.evaluate_factors(vectors, vectors, sparse.csr_matrix((2, 2)))
    with pytest.raises(DataError, match=r"scores of users from 0 on\[0, 0\] is nan"):
        lists.evaluate_factors(vectors * np.nan, vectors, relevance)
    with pytest.raises(ConfigError, match="k=5"):
        lists.evaluate_factors(vectors, vectors, relevance, k=5, cutoffs=(10,))


@pytest.mark.slow
def test_large_evaluation_takes_seconds_and_bounded_memory():
    import resource
    import time

    rng = np.random.default_rng(0)
    targets = rng.random((50_000, 200)) < np.linspace(0.002, 0.3, 200)
    scores = (rng.standard_normal((50_000, 200), dtype=np.float32) + targets).astype(np.float32)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    areas.summarise(targets, scores, [str(i) for i in range(200)])
    assert time.process_time() - start < 10  # about 1.5 s on one core
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024  # kB; about 100 MB


def test_precision_where_nothing_is_above_the_threshold_is_0():
    np.testing.assert_array_equal(areas.precision(np.array([0, 1, 3]), np.array([0, 1, 0])), [0, 0.5, 1])
