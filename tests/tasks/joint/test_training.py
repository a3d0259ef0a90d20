"""Joint runs on planted data: all three questions learned, masked factors, cold songs, resuming, replicas."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from orpheus import evaluate, train
from orpheus.config import joint as config_joint
from orpheus.data.batches.pairs import Pairs
from orpheus.data.items import tables
from orpheus.data.items.tables import Table
from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.joint import checks, embedding, job
from orpheus.tasks.joint.data import Choices, load_config, open_data, reopen_data
from orpheus.tasks.joint.space import JointSpace
from orpheus.tasks.search import tagger_space
from tests.conftest import ROOT
from tests.tasks.joint import planted


def the_run(folder) -> Run:
    return Run.open(next((folder / "runs").iterdir()))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A trained run on texts and factors, its files, and its metrics of the test split."""
    folder = tmp_path_factory.mktemp("joint")
    files = planted.plant(folder)
    assert train.main(files.arguments(planted.config(folder))) == 0
    run = the_run(folder)
    assert evaluate.main([str(run.folder), "--bootstrap", "0"]) == 0
    return files, run


def opened(folder, config, **changes):
    """The data of a config on planted files."""
    values = json.loads(config.read_text())
    named = {"factors": "factors.npz", "texts": "texts.npz", "counts": "plays.csv", "split": "split.json", **changes}
    places = {key: folder / name if name else None for key, name in named.items()}
    choices = Choices(folder / "vectors.txt", tags=[folder / "tags.jsonl"], **places)
    parsed = config_joint.parse(values)
    return open_data("features", parsed, choices), parsed


@pytest.mark.slow
def test_all_three_questions_are_learned(world):
    _files, run = world
    found = run.read("metrics")["test"]
    chance = found["baselines"]["random"]
    for question, metric, least in (
        ("tag_songs", "MAP", 0.7),
        ("song_tags", "MAP", 0.75),
        ("listener_songs", "MAP@500", 0.5),
    ):
        assert found[question][metric] > least > 1.5 * chance[question][metric], question
    assert found["song_tags"]["calibration"]["ece"] < 0.08
    history = run.read("history")
    assert history[-1]["loss"] < history[0]["loss"]
    best = max(row["val_mean"] for row in history)
    assert run.best_checkpoint() is not None and best > 0.65
    assert {"val_tag_songs", "val_song_tags", "val_listener_songs", "val_ECE", "tags_loss", "classes_loss"} <= set(
        history[0]
    )


@pytest.mark.slow
def test_factors_of_songs_held_out_change_nothing_and_those_of_training_do(world, tmp_path):
    files, run = world
    table = tables.read(files.folder / "factors.npz")
    split = json.loads((files.folder / "split.json").read_text())
    rng, scores = np.random.default_rng(0), {}
    model, config = load_model(run), load_config(run)
    for part in ("test", "train"):
        noisy = table.matrix.copy()
        rows = table.positions(split[part])
        noisy[rows] = 10 * rng.normal(size=noisy[rows].shape)
        tables.write(tmp_path / f"{part}.npz", Table("f", table.ids, noisy.astype(np.float32)))
    for name, place in (("same", None), ("test", tmp_path / "test.npz"), ("train", tmp_path / "train.npz")):
        data = reopen_data(run, places={"factors": place})
        assert not data.present[data.songs_of("test"), data.inputs.index("factors")].any()
        scores[name] = [embedding.songs(model, data, data.songs_of(part), config) for part in ("test", "train")]
    np.testing.assert_array_equal(scores["test"][0], scores["same"][0])
    np.testing.assert_array_equal(scores["test"][1], scores["same"][1])
    np.testing.assert_array_equal(scores["train"][0], scores["same"][0])
    assert np.abs(scores["train"][1] - scores["same"][1]).max() > 0.1
    unmasked = data.present.copy()
    unmasked[data.songs_of("test")[0]] = True
    with pytest.raises(
        DataError, match=r"test: 1 songs have factors \(s\d+, …\), which tell who listened to them; they must"
    ):
        checks.check_masked(unmasked, data.inputs, data.splits, data.ids)


@pytest.mark.slow
def test_a_song_without_factors_gets_good_answers_by_modality_dropout_alone(tmp_path):
    """Factors that say it all beside texts that say it badly: without dropout a model leans on what a cold song lacks."""
    means = {}
    for rate in (0.0, 0.6):
        folder = tmp_path / str(rate)
        folder.mkdir()
        files = planted.plant(folder, noise=1.2)
        kinds = np.eye(planted.KINDS, dtype=np.float32)[files.kinds] * 4
        table = tables.read(folder / "factors.npz")
        tables.write(folder / "factors.npz", Table("f", table.ids, kinds))
        assert train.main(files.arguments(planted.config(folder, modality_dropout=rate))) == 0
        means[rate] = max(row["val_mean"] for row in the_run(folder).read("history"))
    assert means[0.6] > means[0.0] + 0.03 and means[0.6] > 0.5, means


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    weights = []
    for name, steps in (("whole", [["--epochs", "3"]]), ("parts", [["--epochs", "1"], ["--epochs", "3"]])):
        folder = tmp_path / name
        folder.mkdir()
        arguments = planted.plant(folder).arguments(planted.config(folder, pairs_per_epoch=240))
        for number, more in enumerate(steps):
            start = arguments if number == 0 else ["--resume", str(the_run(folder).folder)]
            assert train.main([*start, *more]) == 0
        model = load_model(the_run(folder))
        weights.append(np.concatenate([np.ravel(w) for w in model.get_weights()]))
    np.testing.assert_array_equal(*weights)


MIRRORED = """
import json, sys
from pathlib import Path
import tensorflow as tf
replicas, parts, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
from orpheus.learning.engine import fit
from orpheus.runs.folder import Run
from orpheus.tasks.joint.job import job
from tests.tasks.joint.test_training import opened
data, config = opened(folder, folder / "joint.json")
on = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])
run = Run(folder / f"run-{replicas}-{parts}")
run.folder.mkdir()
made = job(data, config, epochs=2, seed=0)
fit.train(made, run, config.training, fit.Options(epochs=2, micro_batches=parts), on)
print(json.dumps(run.read("history")))
"""


@pytest.mark.slow
def test_two_replicas_equal_one_that_passes_its_batch_in_two_parts(tmp_path):
    """Each replica, and each part, has its own share of the batch as pool; no dropout of units, whose masks differ."""
    planted.plant(tmp_path)
    path = planted.config(tmp_path, dropout=0, pairs_per_epoch=240)
    values = json.loads(path.read_text())
    values["model-training"]["optimizer"] = {"name": "SGD", "learning_rate": 0.05}
    path.write_text(json.dumps(values))

    def history(replicas, parts) -> list[dict]:
        words = [sys.executable, "-c", MIRRORED, str(replicas), str(parts), str(tmp_path)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    two, parts, whole = history(2, 1), history(1, 2), history(1, 1)
    for kind in ("loss", "classes_loss"):  # the other parts are measured over the whole batch, parts or not
        assert two[-1][kind] == pytest.approx(parts[-1][kind], rel=1e-4), kind
    assert abs(two[-1]["loss"] - whole[-1]["loss"]) > 0.1, "another pool of negatives"


def test_batches_depend_on_seed_epoch_and_step_alone(tmp_path):
    planted.plant(tmp_path)
    data, config = opened(tmp_path, planted.config(tmp_path))
    drawn = job.Batches(data, config.joint)
    batches = {
        name: list(drawn.datasets(8, steps=3, seed=seed, first_epoch=epoch).take(6))
        for name, (seed, epoch) in {"one": (1, 0), "later": (1, 1), "other": (2, 0)}.items()
    }
    for one, same in zip(batches["one"][3:], batches["later"][:3], strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, same)
    assert not np.array_equal(batches["one"][0][1], batches["other"][0][1])
    inputs, target = batches["one"][0]
    assert inputs["text"].shape == (8, 5, 20) and inputs["present"].shape == (8, 5, 2)
    layout = drawn.layout(8)
    parts = layout.targets(target)
    train_rows = data.songs_of("train")
    songs = {row.tobytes(): number for number, row in enumerate(data.tables["text"][train_rows])}
    picked = np.array([[songs[row.tobytes()] for row in one] for one in inputs["text"].numpy()])
    labels = data.given(train_rows)
    np.testing.assert_array_equal(parts["classes"][1] > 0.5, labels[picked[:, 0]])
    np.testing.assert_array_equal(parts["tags"][1], ~labels[picked[:, 0]][:, inputs["tag"]].T)
    assert not np.diag(parts["tags"][1]).any()
    heard = data.heard[:, train_rows].toarray() > 0
    together = heard.T.astype(int) @ heard
    for row in picked:
        assert (together[row[1], row[2:]] > 0).all() and row[1] not in row[2:]
    assert (inputs["present"].numpy().sum(axis=-1) > 0).all()


def test_weights_of_the_cross_entropy_make_every_tagged_song_count_alike():
    rng = np.random.default_rng(0)
    labels = rng.random((40, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.6]
    labels[0] = False
    table = scipy.sparse.csr_matrix(labels)
    pairs = Pairs(table.astype(float), balanced=True)
    weights = job.class_weights(table, pairs.usable, balanced=True)
    drawn = pairs.draw(100_000, tf.constant([0, 5], tf.int64)).songs[:, 0].numpy()
    values = labels[:, 4] + rng.normal(size=40)
    tagged = labels.any(axis=1)
    assert np.mean(values[drawn] * weights[drawn]) == pytest.approx(values[tagged].mean(), abs=0.02)
    assert abs(np.mean(values[drawn]) - values[tagged].mean()) > 0.05
    assert not weights[0]
    assert set(job.class_weights(table, pairs.usable, balanced=False)) == {0.0, 1.0}


@pytest.mark.slow
def test_a_space_of_songs_tags_and_listeners(world, tmp_path):
    files, run = world
    space = tagger_space.load(run.folder)
    assert isinstance(space, JointSpace) and space.inputs == ("text", "factors") and space.spec is None
    texts = tables.read(files.folder / "texts.npz")
    ids, places = space.tables(texts=texts)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)
    probable = space.probabilities(places)
    assert probable.shape == (planted.SONGS, len(space.training_tags)) and 0 < probable.min() < probable.max() < 1
    column = space.training_tags.index("tag0a")
    assert probable[files.kinds == 0, column].mean() > probable[files.kinds != 0, column].mean() + 0.3
    both, _ = space.tables(tables.read(files.folder / "factors.npz"), texts)
    assert both == ids
    data, config = reopen_data(run), load_config(run)
    expected = embedding.songs(space.model, data, data.songs_of("test"), config)
    order = [ids.index(data.ids[row]) for row in data.songs_of("test")]
    np.testing.assert_allclose(places[order], expected, atol=1e-5)
    # A listener is the mean of the training songs that they heard, and so is anybody by a list of plays.
    data_rows = dict(zip(data.ids, embedding.songs(space.model, data, np.arange(len(data.ids)), config), strict=True))
    heard = [data.ids[row] for row in data.heard[3].indices if row in set(data.songs_of("train"))]
    mine = space.by_history(np.stack([data_rows[song] for song in heard]))
    np.testing.assert_allclose(space.listeners_of([data.listeners[3]])[0], mine, atol=1e-5)
    assert (run.folder / "listeners.npz").is_file()
    again = JointSpace.load(run.folder)
    np.testing.assert_array_equal(again.listeners_of(["u03"]), space.listeners_of(["u03"]))
    with pytest.raises(DataError, match="knows no listener 'nobody'"):
        space.listeners_of(["nobody"])


@pytest.mark.slow
def test_listeners_by_factors_and_new_ones_by_what_they_heard(tmp_path):
    files = planted.plant(tmp_path)
    config = planted.config(tmp_path, listeners="factors", monitor="listener_songs", class_loss={"weight": 0})
    table = tables.read(tmp_path / "listeners.npz")
    tables.write(tmp_path / "listeners.npz", Table("l", table.ids[:50], table.matrix[:50]))
    assert train.main([*files.arguments(config), "--listener-factors", str(tmp_path / "listeners.npz")]) == 0
    run = the_run(tmp_path)
    data, model = reopen_data(run), load_model(run)
    found = embedding.outputs(model, data, data.songs_of("test"), load_config(run))
    assert found.probabilities is None and not data.has_factors[50:].any()
    truth = embedding.truth(data, data.songs_of("test"))
    heard = truth.heard.toarray() > 0
    for rows in (np.arange(50), np.arange(50, 60)):
        scores = found.listener_scores(rows)
        gap = [row[own].mean() - row[~own].mean() for row, own in zip(scores, heard[rows], strict=True)]
        assert np.mean(gap) > 0.2
    shutil.copy(tmp_path / "listeners.npz", tmp_path / "elsewhere.npz")
    assert (
        evaluate.main([str(run.folder), "--bootstrap", "0", "--listener-factors", str(tmp_path / "elsewhere.npz")]) == 0
    )
