"""Training on clusters and with the embedding-aware loss, through the commands, on the small demo dataset."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from orpheus import evaluate, predict, train
from orpheus.learning.losses import pointwise
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import cluster_comparison, job, similarity_loss
from orpheus.tasks.tagging.data import load_config, reopen_data
from tests.clusters import CLUSTERS, by_hand, call, make_folder, one_line, tags_of, write


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("clusters"))


@pytest.fixture(scope="module")
def cluster_run(place, demo):
    """One epoch, then a second one by --resume; with vectors that are gone by then."""
    vectors = shutil.copy(place / "glove.txt", place / "gone.txt")
    code, run = call(
        place,
        demo,
        "--dictionary-dir",
        place / "dictionary",
        "--gamma",
        0.5,
        "--custom-loss-embeddings-path",
        vectors,
        "--save-coocurrence-matrix-path",
        place / "cooccurrence",
    )
    assert code == 0
    (place / "gone.txt").unlink()
    assert train.main(["--resume", str(run.folder), "--epochs", "2"]) == 0
    return run


@pytest.fixture(scope="module")
def tag_run(place, demo):
    code, run = call(place, demo)
    assert code == 0
    return run


def test_cluster_run_folder(cluster_run, place, demo):
    tracks, shards = tags_of(demo)
    data = reopen_data(cluster_run)
    assert data.targets.kind == "clusters"
    settings = cluster_run.read("run")
    assert settings["dictionary"]["file"].endswith("tags_dict_8.json") and len(settings["dictionary"]["sha256"]) == 64
    for split in ("train", "valid", "test"):
        expected = {
            track: by_hand(tags)
            for track, tags in tracks.items()
            if shards[track] in data.split[split] and any(by_hand(tags))
        }
        rows = data.records_of(split).rows()
        assert {
            row.track_id: row_truth.tolist()
            for row, row_truth in zip(rows, data.records_of(split).truth(), strict=True)
        } == expected
    # The graph's lookup gives the same as the table.
    _, batch = next(iter(job.job(data, load_config(cluster_run), epochs=1).valid))
    assert np.array_equal(batch.numpy(), data.records_of("valid").truth()[: len(batch)])


def test_cooccurrence_against_a_loop(cluster_run, place):
    matrix = np.load(place / "cooccurrence" / f"cooccurrence_{cluster_run.folder.name}.npy")
    names = np.load(place / "cooccurrence" / f"cooccurrence_{cluster_run.folder.name}_names.npy")
    truth = reopen_data(cluster_run).records_of("train").truth()
    assert names.tolist() == list(reopen_data(cluster_run).targets.classes)
    expected = np.zeros((5, 5), int)
    for row in truth:
        for i in np.flatnonzero(row):
            for j in np.flatnonzero(row):
                expected[i, j] += 1
    assert np.array_equal(matrix, expected) and expected.diagonal().sum() > 0


def test_evaluate_and_predict_on_clusters(cluster_run, demo, capsys, tmp_path):
    assert evaluate.main([str(cluster_run.folder)]) == 0
    assert "loud, energetic, Loud" in capsys.readouterr().out
    assert len(cluster_run.read("metrics")["test"]["mean_of_windows"]["per_class"]) == 5
    with open(demo / "data" / "tracks.csv", newline="") as file:
        audio = demo / "data" / next(csv.DictReader(file))["audio_path"]
    assert predict.main([str(cluster_run.folder), str(audio), "-t", "0", "--csv", str(tmp_path / "p.csv")]) == 0
    assert '"fast, up tempo"' in (tmp_path / "p.csv").read_text().splitlines()[0]


def test_similarity_of_clusters_by_hand(cluster_run):
    # loud, energetic, Loud: (1,0,0); quiet, Quiet and soft: twice (-1,0,0) and (0,1,0); fast and up tempo: (0,0,1);
    # slow: (.6,.8,0), and twice (0,0,1) of down tempo; strings and violins: none.
    root = np.sqrt(5)
    vectors = np.array([[1, 0, 0], np.array([-2, 1, 0]) / root, [0, 0, 1], np.array([0.6, 0.8, 2]) / root])
    found = np.load(cluster_run.folder / "similarity.npy")
    np.testing.assert_allclose(found[:4, :4], vectors @ vectors.T, atol=1e-6)
    assert np.isnan(found[4]).all() and np.isnan(found[:, 4]).all()
    described = cluster_run.read("run")["loss"]
    assert described["gamma"] == 0.5 and described["without_vector"] == ["strings, violins"]


def test_loss_is_kept_for_resume_and_in_the_model(cluster_run):
    restored = similarity_loss.load_loss(cluster_run)
    saved = keras.saving.load_model(cluster_run.model_path).loss
    for loss in (restored, saved):
        assert isinstance(loss, pointwise.EmbeddingAwareCrossentropy) and loss.gamma == 0.5
        np.testing.assert_array_equal(loss.similarity, np.load(cluster_run.folder / "similarity.npy"))
    assert [row["epoch"] for row in cluster_run.read("history")] == [1, 2]


@pytest.mark.slow
def test_resumed_training_is_the_uninterrupted_one(cluster_run, place, demo):
    code, whole = call(
        place,
        demo,
        "--dictionary-dir",
        place / "dictionary" / "tags_dict_8.json",
        "--gamma",
        0.5,
        "--custom-loss-embeddings-path",
        place / "glove.txt",
        epochs=2,
    )
    assert code == 0 and whole.folder != cluster_run.folder
    pairs = zip(whole.read("history"), cluster_run.read("history"), strict=True)
    for ours, theirs in pairs:
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-5)


def test_loss_of_a_run_needs_its_similarity(cluster_run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(cluster_run.folder, copy)
    np.save(copy / "similarity.npy", np.eye(3))
    assert train.main(["--resume", str(copy), "--epochs", "3"]) == 2
    assert "(3, 3), the run has 5 classes" in one_line(capsys)
    (copy / "similarity.npy").unlink()
    assert train.main(["--resume", str(copy), "--epochs", "3"]) == 2
    assert "similarity.npy" in one_line(capsys)


@pytest.mark.parametrize("option", ["--dictionary-dir", "--genre-path", "--custom-loss-embeddings-path", "--gamma"])
def test_resume_refuses_other_classes_or_loss(cluster_run, capsys, option):
    assert train.main(["--resume", str(cluster_run.folder), option, "1"]) == 2
    assert option in one_line(capsys)


def test_compare_tags_against_scikit_learn(cluster_run, tag_run, capsys, monkeypatch):
    outputs, real = {}, cluster_comparison.track_scores
    monkeypatch.setattr(
        cluster_comparison, "track_scores", lambda run, *a, **k: outputs.setdefault(run, real(run, *a, **k))
    )
    assert evaluate.main([str(cluster_run.folder), "--compare-tags", str(tag_run.folder), "--split", "valid"]) == 0
    text, result = capsys.readouterr().out, cluster_run.read("comparison")
    mine, other = reopen_data(cluster_run), reopen_data(tag_run)
    rows = mine.records_of("valid").rows()
    truth = np.array([by_hand(row.tags[0]) for row in rows])
    assert result["tracks"] == len(rows) and result["split"] == "valid"
    known, (own, scores) = other.targets.columns, outputs.values()
    assert own.shape == (len(rows), 5) and scores.shape == (len(rows), 12)
    assert result["compared"] + len(result["not_compared"]) == 5 and result["compared"] >= 3
    for column, cluster in enumerate((0, 1, 2, 4, 5)):
        name = mine.targets.classes[column]
        tags = [tag for tag in CLUSTERS[cluster] if tag in known]
        if not tags:
            assert name in result["not_compared"]
            continue
        assert sorted(result["rules"][name]) == sorted(tags) and name in text
        best = np.array([max(row[known[tag]] for tag in tags) for row in scores])
        found = result["rule"]["per_class"][name]
        assert found["positives"] == truth[:, column].sum()
        if 0 < truth[:, column].sum() < len(truth):
            cluster_model = result["clusters"]["per_class"][name]
            assert cluster_model["roc_auc"] == pytest.approx(roc_auc_score(truth[:, column], own[:, column]))
            assert found["roc_auc"] == pytest.approx(roc_auc_score(truth[:, column], best))
            assert found["pr_auc"] == pytest.approx(average_precision_score(truth[:, column], best))


def test_track_scores_are_those_of_the_stored_model(tag_run):
    """The mean over windows against one forward pass per window, written out."""
    from orpheus.data.records import format

    data = reopen_data(tag_run)
    records, model = data.records_of("test"), load_model(tag_run)
    window = data.catalogue.spec.frames(1.5)
    found = cluster_comparison.track_scores(tag_run, records)
    at = 0
    for path in data.catalogue.paths(records.shards):
        for record in format.read_shard(path):
            fields = format.decode(record)
            if not data.targets.any(tag.decode() for tag in fields["tags"]):
                continue
            frames = np.frombuffer(fields["audio"][0], np.float16).reshape(-1, 32)
            starts = [*range(0, len(frames) - window + 1, window)]
            if starts[-1] + window < len(frames):
                starts.append(len(frames) - window)
            mean = np.mean([model(frames[None, s : s + window].astype(np.float32))[0] for s in starts], axis=0)
            np.testing.assert_allclose(found[at], mean, atol=1e-5)
            at += 1
    assert at == len(found) > 0


def test_compare_tags_refuses_what_would_mislead(cluster_run, tag_run, tmp_path, capsys):
    assert evaluate.main([str(tag_run.folder), "--compare-tags", str(cluster_run.folder)]) == 2
    assert "a run on tags, expected one on clusters" in one_line(capsys)
    assert evaluate.main([str(cluster_run.folder), "--compare-tags", str(tag_run.folder), "--split", "train"]) == 2
    assert "unseen" in one_line(capsys)
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other" / "run.json", {"task": "recommendation"}).parent
    for first, second in ((other, tag_run.folder), (cluster_run.folder, other)):
        assert evaluate.main([str(first), "--compare-tags", str(second)]) == 2
        line = one_line(capsys)
        assert str(other) in line and "a run of recommendation" in line
    copy = tmp_path / "run"
    shutil.copytree(tag_run.folder, copy)
    settings = json.loads((copy / "run.json").read_text())
    split = settings["split"]
    split["train"][0], split["test"][0] = split["test"][0], split["train"][0]
    write(copy / "run.json", settings)
    assert evaluate.main([str(cluster_run.folder), "--compare-tags", str(copy)]) == 2
    message = one_line(capsys)
    assert "was trained on 4 of the test tracks" in message and str(copy) in message
