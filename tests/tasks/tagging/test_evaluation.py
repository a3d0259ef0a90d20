"""Intervals, hashes, leaks and suspects of an evaluation, on made-up scores: what is known comes out."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from orpheus.base.files import write_json
from orpheus.errors import DataError
from orpheus.learning.evaluation import bootstrap
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.scores import Scores
from orpheus.tasks.tagging import evaluation

CLASSES = ("guitar", "fast", "never")


def made_up(tracks: int = 60, seed: int = 0) -> Scores:
    """Scores that know guitar well and fast a little; four tracks by each artist."""
    rng = np.random.default_rng(seed)
    truth = np.stack([rng.random(tracks) < 0.4, rng.random(tracks) < 0.3, np.zeros(tracks, bool)], axis=1)
    scores = (1 / (1 + np.exp(-(truth * [1.5, 0.5, 0] + rng.normal(0, 1, truth.shape))))).astype(np.float32)
    ids = tuple(f"T{i:03d}" for i in range(tracks))
    return Scores(ids, tuple(f"A{i // 4}" for i in range(tracks)), CLASSES, truth, scores, "artist")


class Stand:
    """In the place of `tagging.Data`, where only its hashes are asked for."""

    def hashes(self):
        return {"split": "s" * 64, "records": "r" * 64}


@pytest.fixture
def evaluated(monkeypatch):
    """`evaluation.evaluate` with made-up scores instead of a model's; two windows of every track."""
    found = made_up()
    owner = np.repeat(np.arange(len(found.ids)), 2)
    noise = np.random.default_rng(9).normal(0, 0.3, (len(owner), len(CLASSES)))
    monkeypatch.setattr(
        evaluation, "score", lambda *_, **__: (found, (found.scores[owner] + noise).astype(np.float32), owner)
    )
    return lambda **options: evaluation.evaluate(None, Stand(), "test", **options)[0]


def test_every_metric_has_an_interval_and_it_is_the_loop_over_artists(evaluated):
    found, result = made_up(), evaluated(replicates=60)
    for kind in evaluation.KINDS:
        bounds = result[kind]["intervals"]
        assert bounds["groups"] == 15 and bounds["replicates"] == 60
        for average in ("macro", "micro"):
            for key in ("roc_auc", "pr_auc"):
                low, high = bounds[average][key]
                assert low < result[kind][average][key] < high
        assert set(bounds["per_class"]) == set(CLASSES)
    # Plain loop: artists drawn, their tracks repeated, scikit-learn's areas. Tolerance: merged thresholds, 1e-3.
    index, counts = bootstrap.draws(found.groups, n=60, seed=0)
    rows = [np.repeat(np.arange(60), counts[index, draw]) for draw in range(60)]
    expected = [
        np.percentile([area(found.truth[r, 0], found.scores[r, 0]) for r in rows], [2.5, 97.5])
        for area in (roc_auc_score, average_precision_score)
    ]
    stored = result["mean_of_windows"]["intervals"]["per_class"]["guitar"]
    np.testing.assert_allclose([stored["roc_auc"], stored["pr_auc"]], expected, atol=1e-3)
    assert result["mean_of_windows"]["intervals"]["per_class"]["never"] == {"roc_auc": None, "pr_auc": None}


def test_no_replicates_no_intervals_and_a_sensible_number_by_default(evaluated):
    assert "intervals" not in evaluated(replicates=0)["mean_of_windows"]
    assert evaluated()["mean_of_windows"]["intervals"]["replicates"] == 1000
    assert evaluation.default_replicates(50_000 * 200) == 200


def test_metrics_without_leaks_are_those_of_the_other_tracks(evaluated, tmp_path):
    found = made_up()
    write_json(
        tmp_path / "audit.json",
        {
            "leaks": {
                "artist": {"A0": {"train": ["X"], "test": list(found.ids[:4])}},
                "audio": {"h": {"valid": ["Y"], "test": ["T010"]}, "i": {"train": ["Z"], "valid": ["W"]}},
            }
        },
    )
    leaks = evaluation.read_leaks(tmp_path / "audit.json", "test")
    assert leaks == {"artist": set(found.ids[:4]), "audio": {"T010"}}
    assert evaluation.read_leaks(tmp_path / "audit.json", "valid") == {"artist": set(), "audio": {"W"}}
    result = evaluated(replicates=20, leaks=leaks)
    rest = [i for i in range(60) if i not in (0, 1, 2, 3, 10)]
    assert result["without_leaks"]["tracks"] == 55
    assert result["without_leaks"]["removed"] == {"artist": 4, "audio": 1}
    without = result["without_leaks"]["mean_of_windows"]["per_class"]["guitar"]["roc_auc"]
    assert without == pytest.approx(roc_auc_score(found.truth[rest, 0], found.scores[rest, 0]), abs=1e-9)
    assert "share nothing with the other splits (left out: artist 4, audio 1)" in evaluation.table(result, "test")
    with pytest.raises(DataError, match="all 60 test tracks leak"):
        evaluated(replicates=0, leaks={"artist": set(found.ids)})


def test_audits_that_are_none_are_refused(tmp_path):
    write_json(tmp_path / "other.json", {"train": []})
    with pytest.raises(DataError, match=r"no audit; make one with python -m tools\.split"):
        evaluation.read_leaks(tmp_path / "other.json", "test")
    with pytest.raises(DataError, match="what the model has learned"):
        evaluation.read_leaks(tmp_path / "other.json", "train")


def test_table_and_csv_show_values_and_bounds(evaluated, tmp_path):
    result = evaluated(replicates=20)
    lines = evaluation.table(result, "test").splitlines()
    assert lines[1] == "in brackets: 95 % interval by 20 bootstrap draws of 15 artists"
    guitar = next(line for line in lines if line.startswith("guitar"))
    value = result["mean_of_windows"]["per_class"]["guitar"]["roc_auc"]
    low, high = result["mean_of_windows"]["intervals"]["per_class"]["guitar"]["roc_auc"]
    assert f"{value:.4f} [{low:.4f}, {high:.4f}]" in guitar
    assert "[" not in evaluation.table(evaluated(replicates=0), "test")
    alone = evaluated(replicates=20)
    for kind in evaluation.KINDS:
        alone[kind]["intervals"] = bootstrap.area_intervals(
            np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.2, 0.7]]), ["a", "a"], ["guitar", "sad"], n=5
        )
    error = alone["mean_of_windows"].pop("calibration")
    assert f"ECE {error['ece']:.4f} [" in "\n".join(lines) and error["ece"] > error["ece_by_sampling"]
    text = evaluation.table(alone, "test")
    assert text.splitlines()[1] == "one artist: no interval" and "[" not in text
    evaluation.write_csv(tmp_path / "m.csv", result)
    rows = list(csv.DictReader((tmp_path / "m.csv").open(encoding="utf-8")))
    assert len(rows) == 2 * (2 + len(CLASSES))
    row = next(row for row in rows if row["class"] == "guitar" and row["scores"] == "mean_of_windows")
    assert float(row["roc_auc"]) == pytest.approx(value, abs=1e-6) and float(row["roc_auc_high"]) == pytest.approx(
        high, abs=1e-6
    )
    never = next(row for row in rows if row["class"] == "never")
    assert never["positives"] == "0" and never["roc_auc"] == never["pr_auc_low"] == ""


def test_scores_come_back_as_they_were_saved(tmp_path):
    found, run = made_up(), Run(tmp_path)
    assert Scores.load(run, "test") is None
    found.save(run, "test")
    back = Scores.load(run, "test")
    assert (back.ids, back.groups, back.classes, back.unit) == (found.ids, found.groups, found.classes, "artist")
    np.testing.assert_array_equal(back.truth, found.truth)
    np.testing.assert_array_equal(back.scores, found.scores)


def test_paired_differences_are_the_loop_over_the_same_draws():
    found = made_up()
    other = (0.5 * found.scores + np.random.default_rng(3).normal(0, 1, found.scores.shape)).astype(np.float32)
    arguments = (found.groups, CLASSES)
    result = bootstrap.area_differences(found.truth, found.scores, other, *arguments, n=50)
    index, counts = bootstrap.draws(found.groups, n=50, seed=0)
    rows = [np.repeat(np.arange(60), counts[index, draw]) for draw in range(50)]

    def difference(r):
        return [roc_auc_score(found.truth[r, 0], one[r, 0]) for one in (found.scores, other)]

    values = np.array([np.subtract(*difference(r)) for r in rows])
    guitar = result["per_class"]["guitar"]["roc_auc"]
    assert guitar["value"] == pytest.approx(np.subtract(*difference(np.arange(60))), abs=1e-9)
    np.testing.assert_allclose([guitar["low"], guitar["high"]], np.percentile(values, [2.5, 97.5]), atol=1e-3)
    assert result["per_class"]["never"]["pr_auc"] == {"value": None, "low": None, "high": None}
    same = bootstrap.area_differences(found.truth, found.scores, found.scores, *arguments, n=20)
    assert same["macro"]["pr_auc"] == {"value": 0, "low": 0, "high": 0}


def test_a_split_is_told_by_what_is_where_and_nothing_else():
    one = comparability.of_split({"train": ["a", "b"], "test": ["c"]})
    assert one == comparability.of_split({"test": ["c"], "train": ["b", "a"]})
    assert one != comparability.of_split({"train": ["a"], "test": ["b", "c"]})


def test_different_splits_are_refused_unless_asked_for():
    a, b = ({"hashes": {"split": letter * 64, "records": "r"}} for letter in "ab")
    assert comparability.check_split({"one": a, "two": a}) == []
    with pytest.raises(
        DataError, match=r"one and two are of different split: aaaaaaaa and bbbbbbbb .*--different-splits"
    ):
        comparability.check_split({"one": a, "two": b})
    (note,) = comparability.check_split({"one": a, "two": b}, different_splits=True)
    assert "different split" in note
    (note,) = comparability.check_split({"one": a, "two": {"hashes": {**a["hashes"], "records": "q"}}})
    assert "different records" in note  # said, not refused: waveforms and spectrograms of the same tracks
    (first, *_) = comparability.check_split({"one": a, "old": {}})
    assert first.startswith("old does not say of which split")


def test_records_dealt_otherwise_than_in_training_are_refused(tmp_path, caplog):
    run, data = Run(tmp_path), Stand()
    data.catalogue = SimpleNamespace(folder="elsewhere")
    run.write("run", {"hashes": data.hashes()})
    evaluation.check_comparable(run, data)
    run.write("run", {"hashes": {**data.hashes(), "records": "q"}})
    evaluation.check_comparable(run, data)
    assert "elsewhere are of different records" in caplog.text
    run.write("run", {"hashes": {**data.hashes(), "split": "t" * 64}})
    with pytest.raises(DataError, match="elsewhere are of different split"):
        evaluation.check_comparable(run, data)
    evaluation.check_comparable(run, data, different_splits=True)
    run.write("run", {"task": "tagging"})  # of an older orpheus
    evaluation.check_comparable(run, data)
