"""The retrieval task on planted data and on the demo's audio: joined inputs, training, scores, the retriever."""

import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from orpheus import evaluate, retrieve, train
from orpheus.config import retrieval as config_retrieval
from orpheus.data.batches import random_access
from orpheus.data.batches.triplets import Triplets
from orpheus.data.batches.windows import spread
from orpheus.data.items import tables
from orpheus.data.records import format
from orpheus.data.splits import search
from orpheus.data.tags.targets import TagTargets, popularity
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import areas
from orpheus.learning.losses.triplet import draw_negatives
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.retrieval import embedding
from orpheus.tasks.retrieval.data import Choices, load_config, open_data, reopen_data
from orpheus.tasks.retrieval.metrics import summarise
from orpheus.tasks.retrieval.retriever import Retriever
from orpheus.tasks.scores import Scores

TAGS = ("calm", "angry", "piano", "drums", "old", "new")


def plant(folder, *, count=240, noise=0.3, seed=0, zero_shot=(), lacking=0, options=None):
    """Songs whose factors say their tags, with noise; returns the arguments of orpheus.train."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(TAGS), 12))
    labels = rng.random((count, len(TAGS))) < 0.3
    factors = labels @ vectors + noise * rng.normal(size=(count, 12))
    ids = [f"song {i}" for i in range(count)]
    tables.write(folder / "factors.npz", tables.Table("f", tuple(ids[lacking:]), factors[lacking:].astype(np.float32)))
    lines = [json.dumps({"id": ids[i], "tags": [TAGS[c] for c in np.flatnonzero(labels[i])]}) for i in range(count)]
    (folder / "tags.jsonl").write_text("\n".join(lines) + "\n")
    words = [f"{tag} " + " ".join(f"{v:.6f}" for v in row) for tag, row in zip(TAGS, vectors, strict=True)]
    words.append("quiet " + " ".join(f"{v:.6f}" for v in vectors[0] * 1.1))
    (folder / "vectors.txt").write_text("\n".join(words) + "\n")
    splits = {"train": ids[: count // 2], "valid": ids[count // 2 : count * 3 // 4], "test": ids[count * 3 // 4 :]}
    content = {"format": search.FORMAT, "version": search.VERSION, "made": {}, "tags": {}, "least": 0, **splits}
    (folder / "split.json").write_text(json.dumps(content))
    section = {"input_type": "cf", "embedding": 16, "triplets_per_epoch": 640, "zero_shot": list(zero_shot)}
    values = {
        "retrieval": {**section, **(options or {})},
        "model-training": {
            "optimizer": {"name": "Adam", "learning_rate": 0.003},
            "batch_size": 32,
            "log_dir": str(folder / "runs"),
            "tensorboard": "scalars",
        },
    }
    (folder / "config.json").write_text(json.dumps(values))
    named = {
        "--config": "config.json",
        "--factors": "factors.npz",
        "--tags": "tags.jsonl",
        "--split": "split.json",
        "--word-vectors": "vectors.txt",
    }
    return ["features", *(each for key, name in named.items() for each in (key, str(folder / name)))]


def the_run(folder):
    return Run.open(next((folder / "runs").iterdir()))


SAMPLINGS = [
    pytest.param({}, "balanced, batch", id="batch"),
    pytest.param({"is_weighted": True}, "balanced-weighted, batch", id="weighted", marks=pytest.mark.slow),
    pytest.param({"negatives": "all"}, "balanced, all", id="all", marks=pytest.mark.slow),
    pytest.param(
        {"negatives": "all", "is_weighted": True},
        "balanced-weighted, all",
        id="all-weighted",
        marks=pytest.mark.slow,
    ),
    pytest.param({"loss": "infonce"}, "balanced, batch, infonce", id="infonce", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("sampling, name", SAMPLINGS)
def test_planted_tags_are_found_and_zero_shot_ones_too(tmp_path, capsys, sampling, name):
    arguments = plant(tmp_path, zero_shot=["new"], options={"is_balanced": True, **sampling})
    assert train.main([*arguments, "--epochs", "4"]) == 0
    run = the_run(tmp_path)
    history = run.read("history")
    assert history[-1]["val_MAP"] > 0.9 and history[-1]["loss"] < history[0]["loss"] < 2
    assert ("without_negative" in history[0]) == (name != "balanced, all")
    assert evaluate.main([str(run.folder), "--bootstrap", "50"]) == 0
    result = run.read("metrics")["test"]
    assert result["macro"]["MAP"] > 0.9 and result["macro"]["ROC-AUC"] > 0.95 and result["macro"]["P@10"] > 0.9
    low, high = result["intervals"]["macro"]["MAP"]
    assert low <= result["macro"]["MAP"] <= high + 0.02
    assert set(result["zero_shot"]) == {"MAP", "ROC-AUC", "P@10"}
    kept = Scores.load(run, "test")
    assert summarise(kept.truth, kept.scores, kept.classes)["per_class"] == result["per_class"]
    assert kept.ids == tuple(run.read("run")["split"]["test"]) and kept.unit == "song"
    assert "zero-shot tags" in capsys.readouterr().out
    assert retrieve.main(["runs", str(run.folder), str(run.folder), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["runs"] == "2" and row["MAP"] == f"{result['macro']['MAP']:.4f} ± 0.0000"
    assert row["sampling"] == name and row["vectors"] == "vectors.txt"
    retriever = Retriever.load(run.folder)
    assert retriever.training_tags == tuple(tag for tag in retriever._targets.classes if tag != "new")
    calm, quiet = retriever.tags(["calm", "quiet"])
    assert calm @ quiet > 0.999, "the same direction, under a word that training did not know"
    ids, found = retriever.factors(tables.read(tmp_path / "factors.npz"))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    best = [ids[i] for i in np.argsort(-(found @ calm))[:5]]
    tags = {row["id"]: row["tags"] for row in map(json.loads, (tmp_path / "tags.jsonl").read_text().splitlines())}
    assert all("calm" in tags[song] for song in best)
    assert retriever.knows("angry piano") and not retriever.knows("xyzzy")
    with pytest.raises(DataError, match=r"no vector for 'callm' \(nearest known: calm"):
        retriever.tags(["calm", "callm"])
    with pytest.raises(ConfigError, match="cannot embed audio files"):
        next(retriever.files(["x.wav"]))


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    weights = []
    for name, steps in (("whole", [["--epochs", "3"]]), ("resumed", [["--epochs", "1"], ["--epochs", "3"]])):
        folder = tmp_path / name
        folder.mkdir()
        arguments = plant(folder, options={"is_balanced": True, "is_weighted": True})
        for number, more in enumerate(steps):
            start = arguments if number == 0 else ["--resume", str(the_run(folder).folder)]
            assert train.main([*start, *more]) == 0
        model = load_model(the_run(folder))
        weights.append(np.concatenate([np.ravel(w) for w in model.get_weights()]))
    np.testing.assert_array_equal(*weights)


def test_scores_against_scikit_learn():
    rng = np.random.default_rng(0)
    labels, scores = rng.random((60, 5)) < 0.3, rng.normal(size=(60, 5))
    labels[:, 4] = False
    result = summarise(
        labels,
        scores,
        list("abcde"),
        categories={"a": "x", "b": "x", "d": "y"},
        zero_shot=np.array([0, 0, 1, 0, 0], bool),
    )
    ap = [metrics.average_precision_score(labels[:, c], scores[:, c]) for c in range(4)]
    ten = [labels[np.argsort(-scores[:, c])[:10], c].mean() for c in range(4)]
    assert result["per_class"]["b"]["MAP"] == pytest.approx(ap[1])
    assert result["per_class"]["c"]["ROC-AUC"] == pytest.approx(metrics.roc_auc_score(labels[:, 2], scores[:, 2]))
    assert result["macro"]["MAP"] == pytest.approx(np.mean([ap[0], ap[1], ap[3]]))
    assert result["macro"]["P@10"] == pytest.approx(np.mean([ten[0], ten[1], ten[3]]))
    assert result["zero_shot"]["P@10"] == pytest.approx(ten[2])
    assert result["categories"]["x"] == {"tags": 2, **result["categories"]["x"]}
    assert result["categories"]["x"]["MAP"] == pytest.approx(np.mean(ap[:2]))
    assert result["left_out"] == ["e"] and result["per_class"]["e"]["P@10"] is None
    assert areas.summarise(labels, scores, list("abcde"))["macro"]["pr_auc"] == pytest.approx(np.mean(ap))


def test_the_top_tags_are_those_with_a_vector(tmp_path, caplog):
    arguments = plant(tmp_path)
    lists = [json.loads(row)["tags"] for row in (tmp_path / "tags.jsonl").read_text().splitlines()]
    first, second, third = (tag for tag, _ in popularity(lists)[:3])
    vectors = (tmp_path / "vectors.txt").read_text().splitlines()
    (tmp_path / "vectors.txt").write_text("\n".join(row for row in vectors if row.split()[0] != first) + "\n")
    config = config_retrieval.parse({"retrieval": {"input_type": "cf"}, "tags": {"top": 2}})
    named = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    choices = Choices(
        named["--word-vectors"], factors=named["--factors"], tags=[named["--tags"]], split=named["--split"]
    )
    assert open_data("features", config, choices).targets.classes == (second, third)
    assert f"no vector for 1 of the most popular tags, and the next ones take their places: {first}" in caplog.text


def test_songs_without_factors_are_named(tmp_path, caplog):
    arguments = plant(tmp_path, lacking=3)
    assert train.main([*arguments, "--dry-run"]) == 0
    assert "no factors of" in caplog.text and "song 2" in caplog.text  # the first two have no tags
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        (["--factors", ""], "--factors is missing: retrieval.input_type=cf needs it"),
        (["--split", ""], "--split is missing"),
        (["--tfrecords-dir", "x"], "does not use it"),
        (["--set", 'retrieval.zero_shot=["jazz"]'], "'jazz' is not among the 6 tags"),
        (["--set", "retrieval.margins=1"], "did you mean margin?"),
        (["--set", "retrieval.margin=3"], "retrieval.margin=3"),
        (["--set", "retrieval.input_type=spec"], "log-mel-spectrogram or waveform, not features"),
        (["--word-vectors", "nowhere.txt"], "nowhere.txt"),
        (["--filter"], "--filter"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, change, message):
    assert train.main([*plant(tmp_path, count=40), *change]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1] and not (tmp_path / "runs").exists()


def test_old_runs_keep_the_pool_they_were_trained_with():
    for weighted, pool in ((False, "all"), (True, "batch")):
        old = {"retrieval": {"is_weighted": weighted}}
        assert config_retrieval.parse(config_retrieval.as_trained(old)).retrieval.negatives == pool
    new = config_retrieval.parse({"retrieval": {}}).to_json()
    assert new["retrieval"]["negatives"] == "batch" and config_retrieval.as_trained(new) == new
    with pytest.raises(ConfigError, match="set is_weighted to false"):
        config_retrieval.parse({"retrieval": {"loss": "infonce", "is_weighted": True}})


def reference_negatives(labels, batches, size):
    """Share of each song among the reference's negatives, balanced: of each anchor, any song of the batch without its
    tag."""
    rng, count = np.random.default_rng(0), np.zeros(len(labels))
    for _ in range(batches):
        pairs = []
        for _ in range(size):
            tag = rng.integers(labels.shape[1])
            song = rng.choice(np.flatnonzero(labels[:, tag]))
            pairs.append((tag, song))
        for tag, _ in pairs:
            allowed = [song for _, song in pairs if not labels[song, tag]]
            if allowed:
                count[rng.choice(allowed)] += 1
    return count / count.sum()


def test_negatives_of_the_batch_follow_the_references_distribution():
    rng = np.random.default_rng(1)
    labels = rng.random((40, 12)) < np.geomspace(0.03, 0.6, 12)
    labels[np.arange(12), np.arange(12)] = True
    expected = reference_negatives(labels, 250, 32)
    triplets, found = Triplets(labels, balanced=True, within_batch=True), np.zeros(40)
    for number in range(300):
        drawn = triplets.draw(32, tf.constant([2, number]))
        songs = drawn.songs.numpy()[:, 0]
        allowed = tf.constant(~labels[songs[None], drawn.anchors.numpy()[:, None]])
        chosen, there = draw_negatives(tf.zeros((32, 32)), allowed, drawn.places)
        found += np.bincount(songs[chosen.numpy()[there.numpy()]], minlength=40)
    everywhere = Triplets(labels, balanced=True).draw(48_000, tf.constant([2, 3])).songs.numpy()[:, 1]
    distance = 0.5 * np.abs(found / found.sum() - expected).sum()
    other = 0.5 * np.abs(np.bincount(everywhere, minlength=40) / 48_000 - expected).sum()
    assert distance < 0.06 < 0.15 < other, (distance, other)


def test_the_references_names_are_understood():
    config = config_retrieval.parse({"retrieval": {"batch_size": 64, "lr": 0.01, "n_epochs": 3, "is_balanced": True}})
    assert (config.training.batch_size, config.training.optimizer.learning_rate, config.training.n_epochs) == (
        64,
        0.01,
        3,
    )
    plain = config_retrieval.parse({"retrieval": {}})
    assert (plain.training.batch_size, plain.training.optimizer.learning_rate, plain.training.n_epochs) == (
        128,
        1e-4,
        200,
    )
    assert (plain.retrieval.num_chunk, plain.retrieval.input_length, plain.retrieval.margin) == (8, 173, 0.4)


@pytest.fixture(scope="module")
def catalogue(demo):
    return format.open_folder(str(demo / "mel"), format="log-mel-spectrogram", wanted={})


def test_songs_are_read_at_their_place(catalogue):
    located = random_access.locate(catalogue)
    assert set(located) == {row.track_id for row in catalogue.rows(catalogue.shards)}
    order = sorted(located)
    audio = random_access.Audio(catalogue, [located[song] for song in order], TagTargets(("x",), {"x": 0}), 1.0)
    window = audio.shape[0]
    spreads = np.concatenate(list(audio.spread(range(len(order)), 3, batch_size=8)))
    published = np.concatenate(list(audio.spread(range(len(order)), 3, batch_size=8, whole=False)))
    read = tf.function(audio.record)
    for shard in catalogue.shards:
        for record in format.read_shard(catalogue.paths([shard])[0]):
            fields = format.decode(record)
            number = order.index(fields["tid"][0].decode())
            assert read(tf.constant(number)).numpy() == record
            frames = np.frombuffer(fields["audio"][0], np.float16).reshape(-1, 32)
            np.testing.assert_array_equal(spreads[number], spread(frames, window, 3))
            np.testing.assert_array_equal(published[number], spread(frames, window, 3, whole=False))
    batches = tf.data.Dataset.from_tensors((tf.constant([[0, 1], [2, 0]]), tf.constant([5, 6], tf.int64)))
    first, again = (next(iter(audio.random(batches, (2, 2)))).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 2, window, 32) and not np.array_equal(first[0, 0], first[1, 1]), "places are drawn"


def test_spread_covers_a_song_and_pads_a_short_one():
    np.testing.assert_array_equal(spread(np.arange(10), 4, 3)[:, 0], [0, 3, 6])
    np.testing.assert_array_equal(spread(np.arange(10), 4, 1)[:, 0], [3])
    published = [i * ((10 - 4) // 4) for i in range(4)]
    np.testing.assert_array_equal(spread(np.arange(10), 4, 4, whole=False)[:, 0], published)
    np.testing.assert_array_equal(spread(np.array([7, 8]), 4, 2), [[7, 8, 0, 0]] * 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spec", "hybrid"])
def test_audio_end_to_end(tmp_path, demo, catalogue, kind):
    rows = catalogue.rows(catalogue.shards)
    names = sorted({tag for row in rows for tag in row.tags[0]})
    rng = np.random.default_rng(0)
    word = {name.lower(): rng.normal(size=8) for tag in names for name in tag.split()}
    (tmp_path / "v.txt").write_text("\n".join(f"{n} " + " ".join(f"{x:.4f}" for x in row) for n, row in word.items()))
    values = {
        "retrieval": {
            "input_type": kind,
            "n_filters": 2,
            "input_length": 20,
            "num_chunk": 2,
            "embedding": 8,
            "triplets_per_epoch": 64,
            "is_balanced": True,
        },
        "model-training": {"batch_size": 16, "log_dir": str(tmp_path / "runs"), "split": [60, 20, 20]},
        "tags": {"top": 10},
    }
    (tmp_path / "c.json").write_text(json.dumps(values))
    more = []
    if kind == "hybrid":
        ids = tuple(row.track_id for row in rows)
        tables.write(tmp_path / "f.npz", tables.Table("f", ids, rng.normal(size=(len(ids), 5)).astype(np.float32)))
        more = ["--factors", str(tmp_path / "f.npz")]
    arguments = [
        "log-mel-spectrogram",
        "--config",
        str(tmp_path / "c.json"),
        "--tfrecords-dir",
        str(demo / "mel"),
        "--word-vectors",
        str(tmp_path / "v.txt"),
    ]
    assert train.main([*arguments, *more, "--epochs", "2"]) == 0
    run = the_run(tmp_path)
    assert evaluate.main([str(run.folder)]) == 0
    retriever = Retriever.load(run.folder)
    table = tables.read(tmp_path / "f.npz") if kind == "hybrid" else None
    found = {song: vector for song, _, vector in retriever.records(demo / "mel", factors=table)}
    assert len(found) == len(rows)
    data = reopen_data(run)
    model = load_model(run)
    embedded = embedding.embed(model, data, data.splits["train"], load_config(run))
    for row, vector in zip(data.splits["train"], embedded, strict=True):
        np.testing.assert_allclose(found[data.ids[row]], vector, atol=1e-5)
    if kind == "hybrid":
        with pytest.raises(ConfigError, match="audio and factors together and cannot embed records alone"):
            next(retriever.records(demo / "mel"))
    else:
        with pytest.raises(ConfigError, match="was trained on audio alone and does not use extra"):
            next(retriever.records(demo / "mel", factors=tables.Table("extra", ("a",), np.ones((1, 5)))))
        path = next((demo / "data").rglob("*.mp3"), None) or next((demo / "data").rglob("*.wav"))
        (_, vector), (_, error) = retriever.files([path, tmp_path / "none.mp3"])
        assert isinstance(error, DataError)
        nearest = max(found, key=lambda song: found[song] @ vector)
        assert found[nearest] @ vector > 0.99 and nearest in str(path)
