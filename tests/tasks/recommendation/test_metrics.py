"""Scores of experiments against textbook loops and scikit-learn; baselines on data with a known answer."""

import argparse

import numpy as np
import pytest
from sklearn import metrics

from orpheus.config import experiment as config_experiment
from orpheus.data.items import layout, tables
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import calibration, lists
from orpheus.runs.folder import Run
from orpheus.tasks.recommendation import data as recommendation_data
from orpheus.tasks.recommendation import demo, evaluation, plan
from orpheus.tasks.recommendation import metrics as recommendation_metrics
from orpheus.tasks.recommendation.data import open_data

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = demo.write(tmp_path_factory.mktemp("demo"), users=80, artists=120)
    values = {
        "evaluation": "recommendation",
        "data": {"dataset": "DEMO", "fact": "als", "dim": demo.DIM},
        "inputs": {"bio": {"kind": "vector", "setting": "bio"}, "audio": {"kind": "vector", "setting": "audio-emb"}},
        "evaluating": {"k": 7, "cutoffs": [1, 3]},
    }
    return open_data(folder.root, config_experiment.parse(values))


def textbook(data, vectors, k):
    """MAP@k by the formula, one user after the other."""
    users, counts = recommendation_metrics.user_factors(data), tables.counts(data.folder, "test").matrix.toarray()
    values = []
    for number, user in enumerate(users):
        relevant = {item for item in range(len(vectors)) if counts[item, number] > 0}
        if not relevant:
            continue
        ranked = sorted(range(len(vectors)), key=lambda item: -float(user @ vectors[item]))[:k]
        hits, total = 0, 0.0
        for place, item in enumerate(ranked, 1):
            if item in relevant:
                hits += 1
                total += hits / place
        values.append(total / min(len(relevant), k))
    return np.mean(values), len(values)


def test_lists_and_r_squared_against_the_textbook(data):
    vectors = RNG.normal(size=(len(data.splits.test), demo.DIM)).astype(np.float32)
    result = recommendation_metrics.evaluate(data, vectors, "test", replicates=100)
    expected, users = textbook(data, vectors, 7)
    assert result["users"] == users and result["mean"]["MAP@7"] == pytest.approx(expected, abs=1e-9)
    low, high = result["intervals"]["MAP@7"]
    assert low < expected < high
    truth = data.examples("test", targets=True).targets(np.arange(len(vectors)), 0)
    assert result["R2"] == pytest.approx(metrics.r2_score(truth, vectors), abs=1e-5)
    again = recommendation_metrics.evaluate(data, vectors, "test", k=3)
    assert again["mean"]["MAP@3"] == pytest.approx(textbook(data, vectors, 3)[0], abs=1e-9)


def test_the_references_figures_are_beside_ours(data):
    vectors = RNG.normal(size=(len(data.splits.test), demo.DIM)).astype(np.float32)
    theirs = recommendation_metrics.as_reference(data, vectors, "test")
    ours = recommendation_metrics.evaluate(data, vectors, "test")
    users = len(recommendation_metrics.user_factors(data))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    at_length_1 = recommendation_metrics.evaluate(data, units, "test")
    assert theirs["MAP@7"] == pytest.approx(at_length_1["mean"]["MAP@7"] * ours["users"] / users)
    assert at_length_1["mean"]["MAP@7"] != pytest.approx(ours["mean"]["MAP@7"], abs=1e-4), "lengths count in ours"
    truth = data.examples("test", targets=True).targets(np.arange(len(vectors)), 0)
    expected = np.mean([metrics.r2_score(t, v) for t, v in zip(truth, vectors, strict=True)])
    assert theirs["R2"] == pytest.approx(expected, abs=1e-5) and theirs["R2"] != pytest.approx(ours["R2"], abs=1e-3)
    assert set(theirs) == {"MAP@7", "P@1", "P@3", "nDCG@1", "nDCG@3", "ADiv@1", "ADiv@3", "PR-AUC", "R2"}
    shown = evaluation.table({**ours, "as_reference": theirs}, "test", name="model_1")
    assert shown.splitlines()[-1].startswith("as tartarus computes them: MAP@7 ")


def test_items_may_stand_in_any_order_in_the_splits(data):
    """Scores belong to ids: a set that is read in another order gives the same result."""
    from dataclasses import replace

    vectors = RNG.normal(size=(len(data.splits.test), demo.DIM)).astype(np.float32)
    turned = replace(data, splits=data.splits._replace(test=data.splits.test[::-1]))
    one, other = (
        recommendation_metrics.evaluate(data, vectors, "test"),
        recommendation_metrics.evaluate(turned, vectors[::-1], "test"),
    )
    assert one["mean"]["MAP@7"] == pytest.approx(other["mean"]["MAP@7"], abs=1e-12)


def test_baselines_stand_in_the_order_they_must(data):
    found = {name: one["mean"]["MAP@7"] for name, one in recommendation_metrics.compare(data, replicates=10).items()}
    assert list(found) == ["random", "popularity", "nearest neighbours", "popularity, oracle", "upper bound"]
    assert found["random"] < found["nearest neighbours"] < found["upper bound"]
    assert found["random"] < found["popularity, oracle"] < found["upper bound"]
    features = recommendation_metrics.raw_features(data, list(data.splits._asdict().items()))[0]
    assert features.shape == (sum(map(len, data.splits)), sum(shape[0] for shape in data.shapes.values()))
    norms = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
    np.testing.assert_allclose(norms, np.sqrt(2), atol=1e-5)


def classes_folder(tmp_path, truth, *, fact="class", factors=None):
    folder = layout.DataFolder(tmp_path, "C")
    names = [f"class {number}" for number in range(truth.shape[1])]
    layout.write_ids(folder.labels(), names)
    third = len(truth) // 3
    for number, subset in enumerate(layout.SETS):
        rows = slice(number * third, (number + 1) * third)
        layout.write_ids(folder.items_index(subset), [f"i{n}" for n in range(len(truth))[rows]])
        tables.save_matrix(folder.targets(subset, "class", truth.shape[1]), truth[rows])
        tables.save_sets(folder, "x", {subset: RNG.normal(size=(third, 3)).astype(np.float32)})
        if factors is not None:
            tables.save_matrix(folder.targets(subset, fact, factors.shape[1]), truth[rows] @ factors)
    if factors is not None:
        tables.save_matrix(folder.class_factors(fact, factors.shape[1]), factors)
    return folder


def open_classes(folder, evaluation, *, fact="class", dim=None, activation="sigmoid", loss="binary_crossentropy"):
    values = {
        "evaluation": evaluation,
        "data": {"dataset": "C", "fact": fact, "dim": dim},
        "inputs": {"x": {"kind": "vector", "setting": "x"}},
        "output": {"activation": activation},
        "model-training": {"loss": loss},
        "evaluating": {"cutoffs": [1, 3, 5]},
    }
    return open_data(folder.root, config_experiment.parse(values))


def test_multilabel_against_scikit_learn(tmp_path):
    truth = (RNG.random((90, 6)) < 0.35).astype(np.float32)
    truth[:, 5] = 0  # a class that never occurs
    truth[60:, 0] = np.arange(30) % 2
    data = open_classes(classes_folder(tmp_path, truth), "multilabel")
    values = np.clip(truth * 0.3 + RNG.random((90, 6)), 0, 1.3).astype(np.float32)
    result = recommendation_metrics.evaluate(data, values[60:], "test", validation=values[30:60], replicates=20)
    part, out = truth[60:], values[60:]
    occurring = [c for c in range(6) if 0 < part[:, c].sum() < 30]
    assert result["left_out"] == ["class 5"]
    expected = metrics.roc_auc_score(part[:, occurring], out[:, occurring], average="macro")
    assert result["macro"]["roc_auc"] == pytest.approx(expected, abs=1e-9)
    first = out.argmax(axis=1)
    some = part.any(axis=1)
    assert result["lists"]["P@1"] == pytest.approx(part[np.arange(30), first][some].mean(), abs=1e-6)
    assert result["diversity"]["ADiv/C@1"] == pytest.approx(len(set(first[some])) / 6)
    limits = result["thresholds"]
    assert limits["class 5"] is None
    best = max(metrics.f1_score(truth[30:60, 1], values[30:60, 1] >= limit) for limit in values[30:60, 1])
    assert metrics.f1_score(truth[30:60, 1], values[30:60, 1] >= limits["class 1"]) == pytest.approx(best)
    assert set(result["at_thresholds"]) == {"accuracy", "precision", "recall", "f1"}
    assert "ADiv/C@3" in evaluation.table({"items": 30, **result}, "test", name="m")


def test_lists_of_classes_as_the_reference(tmp_path):
    """MAP@500 over lists of classes; an item without a label is a zero there, and left out here."""
    truth = np.tile(np.array([[1, 0, 1], [0, 0, 0]], np.float32), (30, 1))
    data = open_classes(classes_folder(tmp_path, truth), "multilabel")
    scores = np.tile([0.9, 0.5, 0.1], (20, 1)).astype(np.float32)
    theirs = recommendation_metrics.as_reference(data, scores, "test")
    found = recommendation_metrics.class_truth(data, "test").any(axis=1).mean()
    assert 0 < found < 1
    assert theirs["MAP@500"] == pytest.approx(found * (1 + 2 / 3) / 2) and theirs["ADiv@1"] == pytest.approx(1 / 3)
    other = open_classes(
        classes_folder(tmp_path / "one", np.eye(3, dtype=np.float32)[np.arange(60) % 3]),
        "multiclass",
        activation="softmax",
        loss="categorical_crossentropy",
    )
    with pytest.raises(ConfigError, match="whose figures are the reference's anyway"):
        recommendation_metrics.as_reference(other, scores, "test")


def test_factors_are_scored_by_their_cosine_with_the_classes(tmp_path):
    factors = RNG.normal(size=(4, 3)).astype(np.float32)
    truth = np.eye(4, dtype=np.float32)[np.arange(60) % 4]
    folder = classes_folder(tmp_path, truth, fact="pmi", factors=factors)
    data = open_classes(folder, "multilabel", fact="pmi", dim=3, activation="linear", loss="cosine")
    outputs = 7 * factors[np.arange(20) % 4]  # long vectors in the right direction
    cosine = recommendation_metrics.class_scores(data, outputs)
    np.testing.assert_allclose(cosine.max(axis=1), 1, atol=1e-5)
    assert recommendation_metrics.evaluate(data, outputs, "test")["macro"]["pr_auc"] == pytest.approx(1.0)
    tables.save_matrix(folder.class_factors("pmi", 3), factors[:2])
    with pytest.raises(DataError, match=r"class_factors_pmi_3_C.npy: shape \(2, 3\), expected \(4, 3\)"):
        recommendation_metrics.class_scores(data, outputs)


def test_multiclass_and_its_picture(tmp_path):
    labels = np.arange(90) % 3
    folder = classes_folder(tmp_path, np.eye(3, dtype=np.float32)[labels])
    data = open_classes(folder, "multiclass", activation="softmax", loss="categorical_crossentropy")
    outputs = RNG.random((30, 3)).astype(np.float32)
    result = recommendation_metrics.evaluate(data, outputs, "test", replicates=50)
    truth, predicted = labels[60:], outputs.argmax(axis=1)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert result["f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    np.testing.assert_array_equal(result["confusion"], metrics.confusion_matrix(truth, predicted))
    recommendation_metrics.draw_confusion(result["confusion"], result["classes"], tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    two = np.eye(3, dtype=np.float32)[labels]
    two[61] = 1
    tables.save_matrix(folder.targets("test", "class", 3), two[60:])
    with pytest.raises(DataError, match="item 'i61' has not exactly one class"):
        recommendation_metrics.evaluate(data, outputs, "test")


def test_binary(tmp_path):
    truth = (np.arange(60) % 2).astype(np.float32)[:, None]
    data = open_classes(classes_folder(tmp_path, truth), "binary")
    result = recommendation_metrics.evaluate(data, np.full((20, 1), 0.5, np.float32), "test")
    assert result["accuracy"] == 0.5 and result["classes"] == ["not class 0", "class 0"]
    assert result["confusion"] == [[0, 10], [0, 10]]


def test_what_cannot_be_scored_is_said(tmp_path, data):
    truth = np.eye(3, dtype=np.float32)[np.arange(9) % 3]
    other = open_classes(classes_folder(tmp_path, truth), "multiclass", activation="softmax")
    with pytest.raises(ConfigError, match="baselines: evaluation=multiclass"):
        recommendation_metrics.compare(other)
    data.folder.matrix("test").rename(tmp_path / "away.npz")
    with pytest.raises(DataError, match=r"matrix_test_DEMO\.npz: no such file"):
        recommendation_metrics.evaluate(data, np.zeros((len(data.splits.test), demo.DIM), np.float32), "test")
    (tmp_path / "away.npz").rename(data.folder.matrix("test"))


def test_the_evaluation_is_written_before_baselines_that_cannot_be_made(tmp_path, data, monkeypatch):
    result = {"items": 2, "users": 3, "mean": {"MAP@7": 0.5}, "coverage": {}}
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: dict(result))
    monkeypatch.setattr(evaluation, "check_comparable", lambda *_, **__: None)
    monkeypatch.setattr(recommendation_data, "reopen_data", lambda *_, **__: data)
    monkeypatch.setattr(recommendation_metrics, "compare", lambda *_, **__: broken())

    def broken():
        raise DataError("matrix_test_DEMO.npz: no such file")

    run = Run(tmp_path / "model_1")
    run.write("run", {"task": "recommendation"})
    asked = argparse.Namespace(
        split="test", data_dir=None, different_splits=False, k=None, bootstrap=0, baselines=True, as_reference=False
    )
    with pytest.raises(DataError, match=r"--baselines: matrix_test_DEMO\.npz: no such file; the evaluation"):
        plan.evaluate(run, asked)
    assert run.read("metrics") == {"test": result}
    monkeypatch.setattr(recommendation_metrics, "compare", lambda *_, **__: {"random": {**result, "per_user": 0}})
    assert "random" in plan.evaluate(run, asked)
    assert run.read("metrics")["test"]["baselines"] == {"random": result}


def test_the_table_says_whether_the_model_beats_what_needs_no_training():
    def scored(value):
        return {"mean": {"MAP@7": value}, "coverage": {}}

    known = {"nearest neighbours": scored(0.4), "popularity": scored(0.1), "upper bound": scored(0.9)}
    last = {}
    for value in (0.3, 0.5):
        result = {"items": 2, "users": 3, **scored(value), "baselines": known}
        last[value] = evaluation.table(result, "test", name="model_1").splitlines()[-1]
    assert last[0.3].startswith("by MAP@7, the model loses to nearest neighbours (0.40000) and beats popularity")
    assert last[0.5] == "by MAP@7, the model beats nearest neighbours and popularity"
    alone = evaluation.table({"items": 2, "users": 3, **scored(0.3)}, "test", name="model_1")
    assert "the model" not in alone


def test_outputs_trained_as_probabilities_are_checked_for_calibration(tmp_path, monkeypatch):
    truth = (RNG.random((90, 4)) < 0.4).astype(np.float32)
    folder, values = classes_folder(tmp_path, truth), RNG.random((30, 4)).astype(np.float32)
    monkeypatch.setattr(evaluation, "load_model", lambda run: None)
    monkeypatch.setattr(evaluation.job, "outputs", lambda model, examples: values)
    data = open_classes(folder, "multilabel", activation="sigmoid", loss="binary_crossentropy")
    result = evaluation.evaluate(Run(tmp_path), data, "test", replicates=20)
    assert result["calibration"]["ece"] == calibration.expected_calibration_error(truth[60:] > 0, values)
    low, high = result["calibration"]["intervals"]["ece"]
    text = evaluation.table(result, "test", name="m")
    assert f"calibration: ECE {result['calibration']['ece']:.4f} [{low:.4f}, {high:.4f}]" in text
    similar = open_classes(folder, "multilabel", activation="sigmoid", loss="cosine")
    assert "calibration" not in evaluation.evaluate(Run(tmp_path), similar, "test", replicates=0)


def test_a_row_without_anything_relevant_has_no_value():
    hit, relevant = np.zeros((2, 3), bool), np.array([0, 2])
    for formula in (lists.average_precision_at, lists.ndcg_at):
        np.testing.assert_array_equal(formula(hit, relevant, 3), [np.nan, 0])
