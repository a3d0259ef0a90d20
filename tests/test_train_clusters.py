"""Training on clusters and with the embedding-aware loss, through the commands, on the small demo dataset."""

import csv
import json
import logging
import shutil
from collections import Counter

import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from orpheus import evaluate, predict, train
from orpheus.data.tags.targets import TagTargets
from orpheus.learning.losses import pointwise
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.semantics import dictionary, genres, words
from orpheus.tasks.tagging import cluster_comparison, job, similarity_loss
from orpheus.tasks.tagging.clusters import cluster_targets, read_clusters
from orpheus.tasks.tagging.data import load_config, reopen_data

CLUSTERS = {  # in this order the clusters' most frequent tags; 3 and 6 are absent, 7 occurs nowhere
    0: ("loud", "energetic", "Loud"),
    1: ("quiet", "soft", "Quiet"),
    2: ("fast", "up tempo"),
    4: ("slow", "down tempo", "down-tempo"),
    5: ("strings", "violins"),
    7: ("polka", "mazurka"),
}
VECTORS = {  # three dimensions, so that cosines can be told by hand
    "loud": (1, 0, 0),
    "energetic": (1, 0, 0),
    "quiet": (-1, 0, 0),
    "soft": (0, 2, 0),
    "fast": (0, 0, 3),
    "up": (0, 0, 1),
    "tempo": (0, 0, 1),
    "slow": (3, 4, 0),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory, demo):
    """A folder with a config, a dictionary, word vectors and genres.txt."""
    folder = tmp_path_factory.mktemp("clusters")
    values = {
        "model": {"n_filters": 1, "n_dense_units": 8},
        "model-training": {
            "batch_size": 4,
            "window_length": 1.5,
            "split": [60, 20, 20],
            "log_dir": str(folder / "runs"),
            "shuffle_buffer_size": 20,
        },
        "tags": {"top": 12},
    }
    (folder / "config.json").write_text(json.dumps(values))
    clusters = {tag: cluster for cluster, tags in CLUSTERS.items() for tag in tags}
    counts = {tag: 100 - 10 * position for tags in CLUSTERS.values() for position, tag in enumerate(tags)}
    (folder / "dictionary").mkdir()
    dictionary.Dictionary(clusters, counts).save(folder / "dictionary" / "tags_dict_8.json")
    lines = [f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()]
    (folder / "glove.txt").write_text("\n".join(lines) + "\n")
    genres.write(folder / "genres", genres.Genres((0, 1, 4), ((1, 4), (2, 3))))
    return folder


def call(place, demo, *more, epochs=1):
    """orpheus.train in this process: (exit code, newest run)."""
    options = ["--config", place / "config.json", "--tfrecords-dir", demo / "mel", "--epochs", epochs, *more]
    code = train.main(["log-mel-spectrogram", *map(str, options)])
    made = sorted((place / "runs").glob("log-mel-spectrogram_*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    return code, Run(made[-1].parent) if made else None


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


def tags_of(demo):
    rows = [json.loads(line) for line in (demo / "mel" / "manifest.jsonl").read_text().splitlines()]
    return {row["id"]: row["tags"] for row in rows}, {row["id"]: row["shard"] for row in rows}


def by_hand(tags):
    """The five clusters that occur, by the table above."""
    return [float(bool(set(tags) & set(CLUSTERS[cluster]))) for cluster in (0, 1, 2, 4, 5)]


def test_cluster_targets_by_hand(place, demo, caplog):
    tracks, _ = tags_of(demo)
    clusters = read_clusters(place / "dictionary")
    with caplog.at_level(logging.INFO, "orpheus"):
        found = cluster_targets(clusters, {tag for tags in tracks.values() for tag in tags})
    assert found.kind == "clusters" and len(found.classes) == 5
    assert found.classes[0] == "loud, energetic, Loud" and found.classes[4] == "strings, violins"
    assert "1 of 6 clusters" in caplog.text and "polka, mazurka" in caplog.text
    for tags in tracks.values():
        assert found.multi_hot(tags).tolist() == by_hand(tags)
    # A filter takes tags, and a cluster with them where nothing is left.
    fewer = cluster_targets(clusters, {"loud", "quiet", "soft"}, without=["quiet", "loud", "Loud", "energetic"])
    assert fewer.columns == {"soft": 0, "Quiet": 0}


def test_genres_keep_and_merge(place):
    reduced = read_clusters(place / "dictionary", place / "genres")
    # Positions 0, 1 and 4 of (0, 1, 2, 4, 5, 7), 1 and 4 merged; the pair (2, 3) has no genre.
    assert set(reduced.clusters) == {0, 1}
    assert set(reduced.clusters[1]) == {*CLUSTERS[1], *CLUSTERS[5]}
    found = cluster_targets(reduced, ["loud", "violins", "fast"])
    assert found.multi_hot(["violins"]).tolist() == [0, 1] and not found.any(["fast"])


def test_cluster_run_folder(cluster_run, place, demo):
    tracks, shards = tags_of(demo)
    data = reopen_data(cluster_run)
    assert data.targets.kind == "clusters"
    settings = cluster_run.read("run")
    assert settings["dictionary"]["file"].endswith("tags_dict_8.json") and len(settings["dictionary"]["sha256"]) == 64
    for side in ("train", "valid", "test"):
        expected = {
            track: by_hand(tags)
            for track, tags in tracks.items()
            if shards[track] in data.split[side] and any(by_hand(tags))
        }
        rows = data.records_of(side).rows()
        assert {
            row.track_id: row_truth.tolist() for row, row_truth in zip(rows, data.records_of(side).truth(), strict=True)
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


def test_similarity_of_tags_is_that_of_words(place):
    vectors = words.load(place / "glove.txt")
    classes = ("quiet", "soft", "guitar", "fast", "slow")
    found = similarity_loss.class_similarity(TagTargets(classes, {tag: i for i, tag in enumerate(classes)}), vectors)
    np.testing.assert_allclose(found, words.similarity(classes, vectors), atol=1e-6)


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


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def stored(tags: dict, version=1) -> dict:
    """A dictionary file's content as it should not be."""
    clusters: dict = {}
    for tag, cluster in tags.items():
        clusters.setdefault(str(cluster), []).append([tag, None])
    return {
        "format": "orpheus-dictionary",
        "version": version,
        "tags": tags,
        "clusters": clusters,
        "made": {},
        "scores": {},
    }


@pytest.mark.parametrize(
    "name, options, message",
    [
        (
            "gamma below 0",
            ["--gamma", -0.5, "--custom-loss-embeddings-path", "glove.txt"],
            "--gamma -0.5: must be at least 0",
        ),
        ("gamma nan", ["--gamma", "nan", "--custom-loss-embeddings-path", "glove.txt"], "--gamma nan"),
        ("gamma alone", ["--gamma", 1], "--custom-loss-embeddings-path"),
        ("genres alone", ["--genre-path", "genres"], "--dictionary-dir"),
        ("no vectors", ["--custom-loss-embeddings-path", "none.txt"], "none.txt: no such file"),
        (
            "another dimension",
            ["--custom-loss-embeddings-path", "short.txt"],
            "short.txt:2: expected 3 numbers behind the word, found 2",
        ),
        ("malformed", ["--custom-loss-embeddings-path", "letters.txt"], "letters.txt:1"),
        ("other language", ["--custom-loss-embeddings-path", "foreign.txt"], "foreign.txt"),
        ("empty dictionary", ["--dictionary-dir", "empty.json"], "empty.json: holds no tag"),
        ("no dictionary", ["--dictionary-dir", "nothing"], "nothing: no such file"),
        ("no pickle", ["--dictionary-dir", "old.pkl"], "old.pkl"),
        (
            "few vectors",
            ["--custom-loss-embeddings-path", "few.txt"],
            "has vectors of 1 of 12 classes, fewer than --min-coverage 0.5",
        ),
        (
            "coverage",
            ["--min-coverage", 2, "--custom-loss-embeddings-path", "few.txt"],
            "--min-coverage 2.0: must be between 0 and 1",
        ),
        ("not a dictionary", ["--dictionary-dir", "config.json"], "not a dictionary"),
        ("version", ["--dictionary-dir", "version.json"], "version 2"),
        (
            "no tag occurs",
            ["--dictionary-dir", "klingon.json"],
            "none of its 2 tags (qa'vam, 'oH, …) occurs in the records",
        ),
        ("case", ["--dictionary-dir", "case.json"], "differ in case only"),
        (
            "genres that do not exist",
            ["--dictionary-dir", "dictionary", "--genre-path", "wrong"],
            "cluster 6 does not exist; ",
        ),
        ("no genres", ["--dictionary-dir", "dictionary", "--merge-outside"], "give --genre-path too"),
        (
            "no genres.txt",
            ["--dictionary-dir", "dictionary", "--genre-path", "runs"],
            "neither genres.txt nor genres.json",
        ),
        ("genres malformed", ["--dictionary-dir", "dictionary", "--genre-path", "bad"], "genres.txt:2"),
    ],
)
def test_bad_input_is_one_line(place, demo, capsys, name, options, message):
    (place / "runs").mkdir(exist_ok=True)
    write(place / "short.txt", "loud 1 0 0\nfast 1 0\n")
    write(place / "letters.txt", "loud one two three\n")
    write(place / "few.txt", "loud 1 0 0\n")
    write(place / "foreign.txt", "laut 1 0\nleise 0 1\n")
    write(place / "empty.json", stored({}))
    write(place / "klingon.json", stored({"qa'vam": 0, "'oH": 1}))
    write(place / "case.json", stored({"FAST": 0, "SLOW": 1}))
    write(place / "version.json", stored({"fast": 0}, version=2))
    write(place / "old.pkl", "no matter")
    for folder, text in (("wrong", "[0, 6]\n[]\n"), ("bad", "[0]\n[[1, 2, 3]]\n")):
        (place / folder).mkdir(exist_ok=True)
        write(place / folder / "genres.txt", text)
    names = {path.name for path in place.iterdir()} | {"none.txt", "nothing"}
    code, _ = call(place, demo, *(place / option if option in names else option for option in options))
    assert code == 2, name
    assert message in one_line(capsys)


@pytest.mark.parametrize("option", ["--dictionary-dir", "--genre-path", "--custom-loss-embeddings-path", "--gamma"])
def test_resume_refuses_other_classes_or_loss(cluster_run, capsys, option):
    assert train.main(["--resume", str(cluster_run.folder), option, "1"]) == 2
    assert option in one_line(capsys)


def test_dictionary_overrules_section_tags_and_says_so(place, demo, caplog, capsys):
    with caplog.at_level(logging.INFO, "orpheus"):
        code, _ = call(
            place,
            demo,
            "--dictionary-dir",
            place / "dictionary",
            "--genre-path",
            place / "genres",
            "--dry-run",
            "--set",
            'tags.with=["seen live"]',
        )
    assert code == 0
    assert "tags.top, tags.with of the config are ignored" in caplog.text
    tracks, _ = tags_of(demo)
    wanted = {*CLUSTERS[0], *CLUSTERS[1], *CLUSTERS[5]}
    kept = sum(bool(wanted & set(tags)) for tags in tracks.values())
    assert f"{kept} of 24 tracks have any of the 2 classes; {24 - kept} are left out" in caplog.text
    assert "loud, energetic, Loud" in capsys.readouterr().out


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


@pytest.mark.slow
def test_trains_with_a_converted_dictionary(shared, place, demo, tmp_path):
    from tools import convert_dictionary

    old = shared / "seed-dictionaries" / "embeddings_baseline" / "tags_dict_500.pkl"
    convert_dictionary.convert(old, tmp_path / "new.json")
    code, run = call(place, demo, "--dictionary-dir", tmp_path / "new.json")
    assert code == 0
    tracks, _ = tags_of(demo)
    mapping = dictionary.load(tmp_path / "new.json").tag_to_cluster
    present = Counter(
        cluster for tags in tracks.values() for cluster in {mapping[tag] for tag in tags if tag in mapping}
    )
    data = reopen_data(run)
    assert len(data.targets.classes) == len(present) > 10
    assert sum(data.records_of(side).truth().sum() for side in data.split) == sum(present.values())
