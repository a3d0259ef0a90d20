"""Runs of each kind made before the code was moved: they load, say what they said, are evaluated and trained on."""

import json
import shutil

import numpy as np
import pytest

import orpheus
from orpheus import evaluate, predict, report, train
from orpheus.runs.folder import Run
from orpheus.tasks.recommendation import demo as listening_demo
from orpheus.tasks.retrieval.retriever import Retriever
from orpheus.tasks.scores import Scores
from tests.conftest import ROOT

OLD = ROOT / "tests" / "old_runs"
RECORDS = {"log-mel": "mel", "clusters": "mel", "waveform": "wave", "retrieval": "mel"}
CLOSE = 2e-5  # other kernels of TensorFlow sum in another order


@pytest.fixture
def old(tmp_path):
    """A copy of an old run by name."""
    return lambda name: Run.open(shutil.copytree(OLD / name, tmp_path / name))


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    # Factors as they were made then.
    root = tmp_path_factory.mktemp("listening")
    return listening_demo.write(root, users=80, artists=150, alpha=40.0, regularization=0.1).root


@pytest.mark.parametrize(
    "name",
    ["log-mel", pytest.param("clusters", marks=pytest.mark.slow), pytest.param("waveform", marks=pytest.mark.slow)],
)
def test_a_tagger_says_what_it_said(name, old, demo):
    run = old(name)
    before = json.loads((run.folder / "predictions.json").read_text())
    tagger = orpheus.load(run.folder)
    seen = []
    for path, said in before.items():
        result = tagger.predict(demo / "data" / "audio" / path.rpartition("/")[2])
        assert list(result.classes) == said["classes"]
        np.testing.assert_allclose(
            result.scores, said["scores"], atol=1e-4
        )  # decoders differ between versions of ffmpeg
        seen.append(result.mean)
    assert np.abs(seen[0] - seen[1]).max() > 1e-3, "of two files it says two things"


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_an_old_run_is_evaluated_as_it_was(name, old, demo):
    run = old(name)
    before, scores = run.metrics()["test"], Scores.load(run, "test")
    assert evaluate.main([str(run.folder), "--tfrecords-dir", str(demo / RECORDS[name]), "--bootstrap", "0"]) == 0
    again = run.metrics()["test"]
    assert again["hashes"] == before["hashes"], "the same records in the same splits"
    if name == "retrieval":
        assert again["macro"] == pytest.approx(before["macro"], abs=CLOSE)
        return
    found = Scores.load(run, "test")
    assert (found.ids, found.classes) == (scores.ids, scores.classes)
    np.testing.assert_array_equal(found.truth, scores.truth)
    np.testing.assert_allclose(found.scores, scores.scores, atol=CLOSE)
    assert again["mean_of_windows"]["macro"] == pytest.approx(before["mean_of_windows"]["macro"], abs=1e-4)


@pytest.mark.slow
def test_an_old_run_goes_on_from_its_checkpoint(old, demo):
    run = old("log-mel")
    before = run.history()
    assert [row["epoch"] for row in before] == [1, 2]
    assert train.main(["--resume", str(run.folder), "--epochs", "3", "--tfrecords-dir", str(demo / "mel")]) == 0
    assert run.history()[:2] == before and [row["epoch"] for row in run.history()] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_an_old_run_could_be_trained_on(name, old, demo, capsys):
    run = old(name)
    records = str(demo / RECORDS[name])
    assert train.main(["--resume", str(run.folder), "--dry-run", "--tfrecords-dir", records]) == 0
    shown = capsys.readouterr().out
    assert "parameters; loss of one batch" in shown and ("embedding-aware" in shown) == (name == "clusters")


@pytest.mark.slow
def test_an_old_index_finds_what_it_found(old, demo, tmp_path):
    run = old("retrieval")
    folder = shutil.copytree(OLD / "songs.index", tmp_path / "songs.index")
    before = json.loads((folder / "search.json").read_text())
    index = orpheus.SongIndex(folder, run=run.folder)
    hits = index.search("loud", 4)
    assert [hit.id for hit in hits] == [row["id"] for row in before]
    assert [hit.score for hit in hits] == pytest.approx([row["score"] for row in before], abs=CLOSE)
    first = demo / "data" / "audio" / before[0]["id"].rpartition("/")[2]
    ((_, vector),) = Retriever.load(run.folder).files([first])
    near = index.similar(str(first), 4)
    assert near[0].id == before[0]["id"] and near[0].score == pytest.approx(1, abs=1e-3)
    assert near[1].score < 0.999
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_an_old_experiment_says_what_it_said(old, listening):
    run = old("experiment")
    before, said = run.metrics()["test"], np.load(run.folder / "predictions.npy")
    assert predict.main([str(run.folder), "--data-dir", str(listening)]) == 0
    found = np.load(listening / "predictions" / "pred_test_experiment_DEMO.npy")
    np.testing.assert_allclose(found, said, atol=CLOSE)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert run.read("run")["data_dir"] != str(listening)
    assert evaluate.main([str(run.folder), "--data-dir", str(listening), "--bootstrap", "0"]) == 0
    assert run.read("run")["data_dir"] == str(listening)  # it remembers where its data is now
    again = run.metrics()["test"]
    assert again["hashes"] == before["hashes"] and again["mean"] == pytest.approx(before["mean"], abs=1e-4)


@pytest.mark.parametrize("name", [*RECORDS, "experiment"])
def test_a_report_reads_an_old_run(name, old, tmp_path):
    out = tmp_path / "report.html"
    assert report.main([str(old(name).folder), "-o", str(out)]) == 0
    page = out.read_text()
    figure = old_figure(name)
    assert f"{figure:.4f}" in page or f"{figure:.3f}" in page


def old_figure(name: str) -> float:
    """A figure of the stored evaluation that a report must show."""
    found = json.loads((OLD / name / "metrics.json").read_text())["test"]
    if name == "experiment":
        return found["mean"]["MAP@500"]
    return found["macro"]["MAP"] if name == "retrieval" else found["mean_of_windows"]["macro"]["pr_auc"]
