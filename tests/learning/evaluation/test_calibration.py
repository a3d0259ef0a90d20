"""Calibration against a plain loop, closed forms and what sampling alone makes of perfect probabilities."""

import itertools

import numpy as np
import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import calibration


@pytest.fixture(scope="module")
def forecasts():
    generator = np.random.default_rng(3)
    probabilities = generator.beta(0.4, 1.5, (300, 7)).round(2)  # many ties, and many on the edges of bins
    probabilities[0] = [0, 1, 0.2, 0.4, 0.6, 1 / 3, 2 / 3]
    return generator.random((300, 7)) < probabilities**1.3, probabilities


def plain_ece(targets, probabilities, edges):
    """ECE bin by bin: each is open below and closed above, the first closed at both ends."""
    pairs = sorted(zip(map(float, probabilities.ravel()), map(bool, targets.ravel()), strict=True))
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = [(p, y) for p, y in pairs if low < p <= high or (p == low == edges[0])]
        if inside:
            gap = sum(p for p, _ in inside) / len(inside) - sum(y for _, y in inside) / len(inside)
            total += len(inside) / len(pairs) * abs(gap)
    return total


def test_ece_is_the_plain_loops(forecasts):
    targets, probabilities = forecasts
    edges = [i / 15 for i in range(16)]
    found = calibration.expected_calibration_error(targets, probabilities)
    assert found == pytest.approx(plain_ece(targets, probabilities, edges), abs=1e-12)
    columns = [plain_ece(targets[:, [c]], probabilities[:, [c]], edges) for c in range(7)]
    np.testing.assert_allclose(calibration.by_class(targets, probabilities), columns, atol=1e-12)
    macro = calibration.expected_calibration_error(targets, probabilities, average="macro")
    assert macro == pytest.approx(np.mean(columns), abs=1e-12)
    assert macro > found  # classes cannot make up for each other


def test_ece_of_a_constant_is_its_distance_from_the_share():
    targets = np.array([[1], [0], [0], [0]])
    for kind in calibration.KINDS:
        assert calibration.expected_calibration_error(targets, np.full((4, 1), 0.6), kind=kind) == pytest.approx(0.35)
        assert calibration.expected_calibration_error(targets, np.full((4, 1), 0.25), kind=kind) == pytest.approx(0)


def test_ece_of_certain_and_wrong_is_one():
    targets = np.array([[True, False], [False, True]])
    assert calibration.expected_calibration_error(targets, ~targets * 1.0) == 1
    assert calibration.expected_calibration_error(targets, targets * 1.0) == 0


def test_bins_of_equal_mass_hold_equal_shares_and_keep_ties_together():
    values = np.random.default_rng(0).permutation(100) / 100
    assert np.bincount(calibration.bin_numbers(values, 10, "mass")).tolist() == [10] * 10
    tied = np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9])
    found = calibration.bin_numbers(tied, 3, "mass")
    assert len(set(found[1:5])) == 1 and found[0] <= found[1] < found[5]
    assert np.array_equal(calibration.bin_numbers(tied[::-1], 3, "mass"), found[::-1])


@pytest.mark.parametrize("bins", [1, 3, 15, 400])
def test_bins_of_equal_mass_are_ranks_over_bins(forecasts, bins):
    values = forecasts[1].ravel()
    ranks = np.array([(values < one).sum() for one in values])
    np.testing.assert_array_equal(calibration.bin_numbers(values, bins, "mass"), ranks * bins // len(values))
    assert calibration.bin_numbers(np.zeros(0), bins, "mass").shape == (0,)


def test_curve_of_edges_by_hand():
    found = calibration.curve(np.array([[0, 1, 1, 0]]), np.array([[0.0, 0.5, 0.6, 1.0]]), bins=2)
    assert found["count"].tolist() == [2, 2]
    np.testing.assert_allclose(found["probability"], [0.25, 0.8])
    np.testing.assert_allclose(found["frequency"], [0.5, 0.5])
    assert np.isnan(calibration.curve(np.array([[1]]), np.array([[0.9]]), bins=2)["frequency"][0])


def test_sampling_alone_explains_the_ece_of_perfect_probabilities_and_not_of_wrong_ones():
    generator = np.random.default_rng(1)
    probabilities = generator.beta(0.5, 2, (400, 30))
    draws = [generator.random(probabilities.shape) < probabilities for _ in range(60)]
    measured = np.mean([calibration.expected_calibration_error(one, probabilities) for one in draws])
    expected = calibration.expected_by_sampling(probabilities)
    assert measured == pytest.approx(expected, rel=0.05)
    by_class = np.mean([calibration.expected_calibration_error(one, probabilities, average="macro") for one in draws])
    # Of a class a bin has few tracks, and the gap of few is not normal.
    assert by_class == pytest.approx(calibration.expected_by_sampling(probabilities, average="macro"), rel=0.1)
    wrong = generator.random(probabilities.shape) < np.sqrt(probabilities)
    assert calibration.expected_calibration_error(wrong, probabilities) > 10 * expected


def test_brier_is_scikit_learns(forecasts):
    metrics = pytest.importorskip("sklearn.metrics")
    targets, probabilities = forecasts
    expected = [metrics.brier_score_loss(targets[:, c], probabilities[:, c]) for c in range(7)]
    np.testing.assert_allclose(calibration.brier(targets, probabilities), expected, atol=1e-12)


def test_summary_has_intervals_about_its_figures(forecasts):
    targets, probabilities = forecasts
    names = [f"tag {c}" for c in range(7)]
    artists = np.arange(300) // 3
    found = calibration.summarise(targets, probabilities, names, groups=artists, n=100)
    for key, (low, high) in found["intervals"].items():
        assert low < found[key] < high, key
    for row in found["reliability"]:
        assert row["low"] <= row["frequency"] <= row["high"]
    assert sum(row["count"] for row in found["reliability"]) == targets.size
    assert found["per_class"].keys() == set(names)
    without = calibration.summarise(targets, probabilities, names)
    assert "intervals" not in without and without["ece"] == found["ece"]


def test_intervals_draw_whole_groups(forecasts):
    """The replicates' pooled figures are those of tracks repeated as often as their artists were drawn."""
    targets, probabilities = forecasts
    groups = np.arange(300) // 30
    numbers = calibration.bin_numbers(probabilities)
    pooled, macro, _ = calibration._replicates(targets, probabilities, numbers, groups, n=3, bins=15, seed=5)
    index, counts = calibration.bootstrap.draws(groups, n=3, seed=5)
    for b in range(3):
        rows = np.repeat(np.arange(300), counts[index, b])
        again = targets[rows], probabilities[rows]
        assert pooled[b] == pytest.approx(calibration.expected_calibration_error(*again), abs=1e-12)
        assert macro[b] == pytest.approx(calibration.expected_calibration_error(*again, average="macro"), abs=1e-12)


@pytest.mark.parametrize(("power", "truth", "expected", "percentiles"), [(1.3, 0.0513, 29, 28), (1.1, 0.0198, 19, 2)])
def test_shifted_intervals_hold_the_truth_as_often_as_the_docs_say(power, truth, expected, percentiles):
    """Of 30 samples of 200 tracks; the truths are of 4 million draws: 2.4 times what chance alone gives, and 0.9 times."""
    shifted = plain = 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        probabilities = generator.beta(0.5, 2, (200, 10))
        targets = generator.random(probabilities.shape) < probabilities**power
        value = calibration.expected_calibration_error(targets, probabilities)
        numbers = calibration.bin_numbers(probabilities)
        drawn = calibration._replicates(targets, probabilities, numbers, range(200), n=100, bins=15, seed=0)[0]
        low, high = calibration._around(value, drawn)
        shifted += low <= truth <= high
        low, high = np.percentile(drawn, [2.5, 97.5])
        plain += low <= truth <= high
    assert (shifted, plain) == (pytest.approx(expected, abs=1), pytest.approx(percentiles, abs=1))


def test_one_group_has_no_interval(forecasts):
    targets, probabilities = forecasts
    found = calibration.summarise(targets, probabilities, list("abcdefg"), groups=["one"] * 300)
    assert found["intervals"] == {"ece": None, "ece_macro": None} and found["reliability"][0]["low"] is None


def test_refusals(forecasts):
    targets, probabilities = forecasts
    with pytest.raises(
        DataError, match=r"probabilities\[2, 1\] \('b'\) is 1.5: probabilities must lie between 0 and 1"
    ):
        bad = probabilities.copy()
        bad[2, 1] = 1.5
        calibration.summarise(targets, bad, list("abcdefg"))
    with pytest.raises(ConfigError, match="kind='size'"):
        calibration.bin_numbers(probabilities, kind="size")
    with pytest.raises(ConfigError, match="bins=0"):
        calibration.curve(targets, probabilities, bins=0)
    with pytest.raises(ConfigError, match="average='micro'"):
        calibration.expected_calibration_error(targets, probabilities, average="micro")
