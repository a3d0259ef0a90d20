"""Weighted areas against repeated rows; intervals against known distributions and exact replicates."""

import json

import numpy as np
import pytest
from sklearn import metrics

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import bootstrap
from orpheus.learning.evaluation.areas import average_precision, roc_auc, summarise


def _column(rows, share, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    target = rng.random(rows) < share
    score = (rng.standard_normal(rows) + target).astype(np.float32)
    return target, score if decimals is None else score.round(decimals), rng.integers(0, rows // 5, rows)


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["distinct", "ties", "many ties"])
@pytest.mark.parametrize("chunk", [1 << 18, 64])
def test_weights_equal_repeated_rows(decimals, chunk, monkeypatch):
    monkeypatch.setattr(bootstrap, "_CHUNK", chunk)
    target, score, group = _column(300, 0.3, decimals=decimals)
    weights = np.random.default_rng(1).integers(0, 4, (60, 9)).astype(np.float32)
    roc, pr = bootstrap.weighted_areas(target, score, group, weights)
    for b in range(9):
        often = weights[group, b].astype(int)
        repeated = np.repeat(target, often)[:, None], np.repeat(score, often)[:, None]
        assert roc[b] == pytest.approx(roc_auc(*repeated)[0], abs=1e-12)
        assert pr[b] == pytest.approx(average_precision(*repeated)[0], abs=1e-12)


def test_fractional_weights_equal_scikit_learn():
    target, score, group = _column(300, 0.3, decimals=1)
    weights = np.random.default_rng(1).random((60, 4))
    roc, pr = bootstrap.weighted_areas(target, score, group, weights)
    for b in range(4):
        row = weights[group, b]
        assert roc[b] == pytest.approx(metrics.roc_auc_score(target, score, sample_weight=row), abs=1e-12)
        assert pr[b] == pytest.approx(metrics.average_precision_score(target, score, sample_weight=row), abs=1e-12)


def test_undefined_replicates_are_nan():
    target, score = np.array([True, False]), np.array([0.9, 0.1])
    weights = np.array([[1.0, 0, 2], [1, 3, 0]])  # both, only the negative, only the positive
    roc, pr = bootstrap.weighted_areas(target, score, np.arange(2), weights)
    np.testing.assert_array_equal(roc, [1, np.nan, np.nan])
    np.testing.assert_array_equal(pr, [1, np.nan, 1])
    nothing = bootstrap.weighted_areas(~target & target, score, np.arange(2), weights)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("decimals", [None, 2])
def test_merging_changes_little(decimals):
    target, score, group = _column(6000, 0.3, decimals=decimals)
    exact, merged = (
        bootstrap.replicate_areas(target[:, None], score[:, None], group, n=40, merge=merge) for merge in (0, 0.01)
    )
    for name in ("roc", "pr"):
        difference = getattr(exact, name) - getattr(merged, name)
        assert np.abs(difference).max() < 3e-4
        assert np.abs(difference).max() < 0.05 * getattr(exact, name).std()
    assert np.abs(exact.roc - merged.roc).max() > 0 or decimals  # merging took place


def test_replicates_are_resampled_data():
    rng = np.random.default_rng(0)
    targets = rng.random((120, 3)) < [0.2, 0.5, 0]
    scores = rng.random((120, 3)).astype(np.float32)
    artists = np.array([f"artist {i}" for i in rng.integers(0, 30, 120)])
    result = bootstrap.replicate_areas(targets, scores, artists, n=5, seed=7, merge=0)
    index, counts = bootstrap.draws(artists, n=5, seed=7)
    assert (counts.sum(axis=0) == len(np.unique(artists))).all()
    for b in range(5):
        rows = np.repeat(np.arange(120), counts[index, b])
        expected = summarise(targets[rows], scores[rows], ["a", "b", "c"])
        assert result.macro[b] == pytest.approx(list(expected["macro"].values()), abs=1e-12)
        assert result.micro[b] == pytest.approx(list(expected["micro"].values()), abs=1e-12)
        assert result.roc[b, 1] == pytest.approx(expected["per_class"]["b"]["roc_auc"], abs=1e-12)
    assert np.isnan(result.roc[:, 2]).all()


def test_draws_depend_on_groups_only():
    names = np.array(["b", "a", "c", "a"])
    index, counts = bootstrap.draws(names, n=50, seed=3)
    order = np.array([3, 0, 2, 1])
    shuffled, again = bootstrap.draws(names[order], n=50, seed=3)
    np.testing.assert_array_equal(counts, again)
    np.testing.assert_array_equal(index[order], shuffled)
    assert not np.array_equal(counts, bootstrap.draws(names, n=50, seed=4)[1])


def test_interval_of_a_mean_covers_it():
    """Standard normal units: the interval holds the true mean in about 95 % of data sets, and has the known width."""
    rng = np.random.default_rng(0)
    covered, widths = 0, []
    for trial in range(200):
        result = bootstrap.interval(rng.standard_normal(100), range(100), n=400, seed=trial)
        covered += result.low <= 0 <= result.high
        widths.append(result.high - result.low)
    assert 0.90 <= covered / 200 <= 0.98
    assert np.mean(widths) == pytest.approx(2 * 1.96 / 10, rel=0.05)


def test_groups_widen_the_interval():
    """Ten equal copies of each of 50 units are 50 units, not 500."""
    values = np.random.default_rng(0).standard_normal(50)
    copies, group = np.repeat(values, 10), np.repeat(np.arange(50), 10)
    single = bootstrap.interval(values, range(50), n=500)
    grouped = bootstrap.interval(copies, group, n=500)
    naive = bootstrap.interval(copies, range(500), n=500)
    np.testing.assert_allclose(grouped, single, atol=1e-12)
    assert (grouped.high - grouped.low) > 2.5 * (naive.high - naive.low)


def test_interval_of_a_function_equals_that_of_a_mean():
    values, group = np.random.default_rng(0).random(40), np.arange(40) % 13
    direct = bootstrap.interval(values, group, n=60, level=0.8, seed=5)
    called = bootstrap.interval(lambda w: (values * w).sum() / w.sum(), group, n=60, level=0.8, seed=5)
    np.testing.assert_allclose(direct, called, atol=1e-12)
    assert direct.value == pytest.approx(values.mean())
    table = np.stack([values, values * 2], axis=1)
    table[3, 0] = np.nan
    several = bootstrap.interval(table, group, n=60, level=0.8, seed=5)
    assert several.value.shape == several.low.shape == (2,)
    assert several.value[0] == pytest.approx(np.delete(values, 3).mean())
    assert several.high[1] == pytest.approx(2 * direct.high)


def test_area_intervals():
    rng = np.random.default_rng(0)
    targets = rng.random((400, 3)) < [0.3, 0.2, 0]
    scores = rng.random((400, 3)) + 0.3 * targets
    artists = rng.integers(0, 80, 400)
    result = bootstrap.area_intervals(targets, scores, artists, ["a", "b", "never"], n=100)
    values = summarise(targets, scores, ["a", "b", "never"])
    assert (result["groups"], result["replicates"], result["level"]) == (80, 100, 0.95)
    for part in ("macro", "micro"):
        for area in ("roc_auc", "pr_auc"):
            low, high = result[part][area]
            assert low < values[part][area] < high
            assert high - low < 0.2
    assert result["per_class"]["never"] == {"roc_auc": None, "pr_auc": None}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result == bootstrap.area_intervals(targets, scores, artists, ["a", "b", "never"], n=100)


def test_roc_interval_covers_the_true_area():
    """Normal scores one apart: the true ROC-AUC is Φ(1/√2) = 0.7602."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        target = np.arange(300) < 100
        score = rng.standard_normal(300) + target
        areas = bootstrap.replicate_areas(target[:, None], score[:, None], np.arange(300), n=200, seed=trial)
        low, high = bootstrap.percentiles(areas.roc[:, 0])
        covered += low <= 0.76025 <= high
    assert 88 <= covered <= 100


def test_bad_arguments():
    values = np.zeros(4)
    with pytest.raises(ConfigError, match="n=0"):
        bootstrap.interval(values, range(4), n=0)
    with pytest.raises(ConfigError, match="level=95"):
        bootstrap.interval(values, range(4), level=95)
    with pytest.raises(DataError, match="4 units and groups 3"):
        bootstrap.interval(values, range(3))
    with pytest.raises(DataError, match="at least one unit"):
        bootstrap.interval(np.zeros(0), [])
    with pytest.raises(DataError, match="3 entries for 4 tracks"):
        bootstrap.replicate_areas(np.zeros((4, 1)), np.zeros((4, 1)), range(3))


def test_one_group_gives_no_interval():
    """Every draw of one artist is the data itself: bounds that equal the value would say that nothing is uncertain."""
    rng = np.random.default_rng(0)
    targets = rng.random((40, 3)) < 0.4
    scores, others = rng.random((2, 40, 3)) + targets
    alone, several = ["a"] * 40, [f"a{number % 5}" for number in range(40)]
    found = bootstrap.area_intervals(targets, scores, alone, "xyz", n=20)
    assert found["groups"] == 1
    assert found["macro"] == found["micro"] == found["per_class"]["x"] == {"roc_auc": None, "pr_auc": None}
    assert all(bootstrap.area_intervals(targets, scores, several, "xyz", n=20)["macro"].values())
    value = (
        summarise(targets, scores, "xyz")["macro"]["roc_auc"] - summarise(targets, others, "xyz")["macro"]["roc_auc"]
    )
    difference = bootstrap.area_differences(targets, scores, others, alone, "xyz", n=20)["macro"]["roc_auc"]
    assert difference == {"value": pytest.approx(value), "low": None, "high": None}
    mean = bootstrap.interval(scores[:, 0], alone, n=20)
    assert mean.value == pytest.approx(scores[:, 0].mean()) and np.isnan(mean.low) and np.isnan(mean.high)
    assert not np.isnan(bootstrap.interval(scores[:, 0], several, n=20).low)
