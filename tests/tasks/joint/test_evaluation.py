"""A joint run's evaluation on a stand-in for its data and its model: what is asked, what is kept, what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from orpheus.errors import DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.joint import evaluation
from orpheus.tasks.joint.metrics import Outputs
from orpheus.tasks.scores import Scores

TAGS, LISTENERS = ("rock", "jazz", "sad"), 12
IDS = tuple(f"s{i}" for i in range(40))
ROWS = {"train": np.arange(20), "valid": np.arange(20, 25), "test": np.arange(25, 40)}


class Stand:
    """In the place of `joint.data.JointData`: listener 0 has heard nothing in training and has no factors."""

    ids, listeners = IDS, tuple(f"u{i}" for i in range(LISTENERS))
    groups = tuple(f"artist {i // 2}" for i in range(40))
    targets, categories = SimpleNamespace(classes=TAGS), {}
    splits = ROWS
    has_factors = np.zeros(LISTENERS, bool)

    def __init__(self):
        rng = np.random.default_rng(0)
        self.tables = {"text": rng.normal(size=(40, 4)).astype(np.float32)}
        labels = rng.random((40, 3)) < 0.4
        labels[30] = False
        self.labels = sparse.csr_matrix(labels)
        heard = rng.random((LISTENERS, 40)) < 0.3
        heard[0, :20], heard[0, 30] = False, True
        self.heard = sparse.csr_matrix(heard.astype(np.float32))

    def songs_of(self, split):
        return ROWS[split]

    def given(self, rows):
        return self.labels[rows].toarray()

    def history(self):
        return self.heard[:, ROWS["train"]].tocsr()

    def shapes(self):
        return {"text": (4,)}

    def hashes(self):
        return {"split": "s" * 64, "text": f"{float(self.tables['text'].sum()):.6f}"}


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path)
    split = {name: [IDS[row] for row in rows] for name, rows in ROWS.items()}
    made.write(
        "run",
        {"task": "joint", "dimensions": {"text": [4]}, "hashes": Stand().hashes(), "split": split, "frontend": "x"},
    )
    return made


@pytest.fixture
def evaluated(run, monkeypatch):
    """Data, and the evaluation of a model that knows the truth, and of listener 0 nothing."""
    data, rows = Stand(), ROWS["test"]
    labels = data.given(rows)
    known = Outputs(labels + 0.1, labels * 0.8 + 0.1, lambda numbers: data.heard[:, rows].toarray()[numbers])
    monkeypatch.setattr(evaluation, "load_model", lambda run: None)
    monkeypatch.setattr(evaluation, "load_config", lambda run: None)
    monkeypatch.setattr(evaluation.embedding, "outputs", lambda *_, **__: known)
    result, scores, per_user = evaluation.evaluate(run, data, "test", replicates=20)
    scores.save(run, "test")
    evaluation.save_listeners(run, "test", per_user, data.listeners)
    return data, result


def test_what_is_asked_and_kept(run, evaluated):
    data, result = evaluated
    assert result["tag_songs"]["MAP"] == result["song_tags"]["MAP"] == result["listener_songs"]["MAP@500"] == 1
    tagged = [IDS[row] for row in ROWS["test"] if data.labels[row].nnz]
    assert result["songs"] == 15 and 5 < result["tag_songs"]["songs"] == len(tagged) < 15
    asked = np.diff(data.heard[1:, ROWS["test"]].tocsr().indptr) > 0
    assert result["listener_songs"]["listeners"] == asked.sum()
    with np.load(run.folder / "per_user_test.npz") as stored:
        assert tuple(stored["ids"]) == data.listeners
        assert np.isnan(stored["MAP@500"][0]), "nobody knows anything of listener 0"
        np.testing.assert_array_equal(~np.isnan(stored["MAP@500"][1:]), asked)
    kept = Scores.load(run, "test")
    assert kept.ids == tuple(tagged) and kept.unit == "artist"
    np.testing.assert_array_equal(kept.truth, kept.scores > 0.5)
    np.testing.assert_allclose(kept.probabilities, kept.truth * 0.8 + 0.1)
    assert json.loads(json.dumps(result)) == result
    splits = {name: [IDS[row] for row in rows if data.labels[row].nnz] for name, rows in ROWS.items()}
    assert result["hashes"] == {**data.hashes(), "tagged": comparability.of_split(splits)}
    assert "nearest neighbours" in result["baselines"]


def test_the_table_has_every_question_with_its_baselines(evaluated):
    _, result = evaluated
    text = evaluation.table(result, "test")
    assert text.startswith("test: 15 songs") and text.count("nearest neighbours") == 3
    for title in evaluation.TITLES.values():
        assert title in text
    low, high = result["song_tags"]["calibration"]["intervals"]["ece"]
    assert f"ECE {result['song_tags']['calibration']['ece']:.4f} [{low:.4f}, {high:.4f}]" in text
    assert text.endswith("mean of the 3 questions' MAP: 1.0000")
    without = {key: value for key, value in result.items() if key not in ("listener_songs", "baselines")}
    assert "songs for a listener" not in evaluation.table(without, "test")


def test_other_songs_and_other_values_are_refused_or_said(run, caplog):
    data = Stand()
    evaluation.check_comparable(run, data, resumed=True)
    assert not caplog.records
    data.tables["text"] = data.tables["text"] * 2
    evaluation.check_comparable(run, data)
    assert "text: other values than those it was trained on" in caplog.text
    with pytest.raises(DataError, match="text: other values than those it was trained on; put those back"):
        evaluation.check_comparable(run, data, resumed=True)
    data.hashes = lambda: {"split": "t" * 64}
    data.ids = IDS[:30]
    with pytest.raises(
        DataError, match=r"10 of its 40 songs are not there any more; put them back; --different-splits"
    ):
        evaluation.check_comparable(run, data)
    evaluation.check_comparable(run, data, different_splits=True)
    assert "numbers do not compare with those of the whole" in caplog.text
    data.shapes = lambda: {"text": (5,)}
    with pytest.raises(DataError, match=r"was trained on text of shape \(4,\), and these have \(5,\)"):
        evaluation.check_comparable(run, data)
