"""What training leaves for TensorBoard: read back from the event files, and (slow) shown by TensorBoard in a browser."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.config.tagging import ModelTraining
from orpheus.learning.engine import fit
from orpheus.learning.tensorboard import dashboard
from orpheus.runs.folder import Run
from tests import browser, engine

NAMES = ["drums", "piano & strings", "très $oft"]


def trained(folder, *, epochs=2, tensorboard="all", job=None, dropout=0.3, **settings) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder)
    run.write("config", {"model": {"dropout": dropout, "n_clusters": None}, "tags": {"with": ["a", "b"]}})
    run.write("run", {"task": "tagging", "seed": 3, "tfrecords_dir": "/records", "split": {"train": ["x"]}})
    run.write("classes", {"classes": NAMES})
    options = fit.Options(epochs=epochs, update_freq=2)
    fit.train(
        job or engine.job(),
        run,
        ModelTraining(tensorboard=tensorboard, **settings),
        options,
        tf.distribute.get_strategy(),
    )
    return run


def events(folder) -> dict[str, list]:
    """tag → (step, value proto) of all event files of a folder, by the low-level reader."""
    found: dict[str, list] = {}
    for path in sorted(map(str, folder.glob("events.out.tfevents.*"))):
        for record in tf.data.TFRecordDataset(path):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value))
    return found


def array(value) -> np.ndarray:
    return tf.make_ndarray(value.tensor)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> Run:
    """One epoch, then two more."""
    folder = tmp_path_factory.mktemp("resumed")
    trained(folder, epochs=1)
    return trained(folder, epochs=3)


def test_histograms_count_every_weight(resumed):
    run = resumed
    train, valid = events(run.folder / "train"), events(run.folder / "validation")
    model = keras.saving.load_model(run.model_path)
    for variable in model.trainable_variables:
        shown = next(values for tag, values in train.items() if tag.endswith(variable.path) and "weights/" in tag)
        assert [step for step, _ in shown] == [2, 3]  # a second build in one process has names of its own
        for _, value in shown:  # rows of (left, right, count)
            assert array(value)[:, 2].sum() == np.prod(variable.shape)
    areas = np.load(run.folder / "arrays/pr.npy")
    for epoch, (step, value) in enumerate(valid["per_class/PR-AUC"]):
        buckets = array(value)
        assert step == epoch + 1 and buckets[:, 2].sum() == len(NAMES)
        assert buckets[0, 0] == pytest.approx(areas[epoch].min(), abs=1e-6)
        assert buckets[-1, 1] == pytest.approx(areas[epoch].max(), abs=1e-6)
    pictures = valid["per_class/PR"]
    assert [step for step, _ in pictures] == [1, 2, 3]
    width, height, png = array(pictures[0][1])[:3]
    assert tf.io.decode_png(png).shape == (int(height), int(width), 3)


def test_config_hparams_and_projector(resumed):
    from tensorboard.plugins.hparams import plugin_data_pb2

    run = resumed
    root = events(run.folder)
    assert json.loads(array(root["config"][0][1])[()].decode()) == run.read("config")
    value = root["_hparams_/session_start_info"][-1][1]
    start = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info
    assert start.group_name == run.folder.name
    found = {key: getattr(one, one.WhichOneof("kind")) for key, one in start.hparams.items()}
    assert found == {"model.dropout": 0.3, "tags.with": '["a", "b"]', "task": "tagging", "seed": 3.0}
    assert "_hparams_/session_end_info" in root
    table = [line.split("\t") for line in (run.folder / "projector/metadata.tsv").read_text().splitlines()]
    assert [row[0] for row in table] == ["tag", *NAMES] and table[0][1:] == ["ROC-AUC", "PR-AUC"]
    last = fit.prepare(engine.job(), tf.distribute.get_strategy(), fit.Options(epochs=2))[0]
    last.load_weights(run.checkpoints()[-1][1] / "model.weights.h5")
    rows = np.loadtxt(run.folder / "projector/vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(rows, np.asarray(last.layers[-1].kernel).T, rtol=1e-5)


def test_resumed_goes_on_without_a_step_twice(resumed):
    valid = events(resumed.folder / "validation")
    for tag in ("per_class/PR", "per_class/PR-AUC", "PR-AUC"):
        assert [step for step, _ in valid[tag]] == [1, 2, 3], tag


@pytest.mark.slow
def test_switches(tmp_path):
    scalars = trained(tmp_path / "scalars", epochs=1, tensorboard="scalars").folder
    assert not list(scalars.glob("events*")) and not (scalars / "projector").exists()
    assert {"loss", "PR-AUC"} <= events(scalars / "validation").keys()
    assert not any("weights" in tag for tag in events(scalars / "train"))


@pytest.mark.slow
def test_off(tmp_path):
    assert not list(trained(tmp_path, epochs=1, tensorboard="none").folder.rglob("events*"))


def test_without_labels_classes_or_validation(tmp_path):
    """A task whose metrics have no classes (recommendation, retrieval) just has less to show, and its own vectors."""
    import dataclasses

    job = dataclasses.replace(
        engine.job(valid=False),
        metrics=lambda: [keras.metrics.MeanSquaredError("mse")],
        monitor="mse",
        vectors=lambda model: (["a\tb", "c"], np.arange(4.0).reshape(2, 2)),
    )
    run = trained(tmp_path, epochs=1, job=job)
    assert not (run.folder / "validation").exists()
    train = events(run.folder / "train")
    assert "mse" in train and not any(tag.startswith("per_class") for tag in train)
    assert (run.folder / "projector/metadata.tsv").read_text() == "tag\na b\nc\n"


@pytest.mark.slow
def test_a_run_that_says_nothing_of_itself(tmp_path):
    bare = Run(tmp_path)
    fit.train(engine.job(), bare, ModelTraining(), fit.Options(epochs=1), tf.distribute.get_strategy())
    assert not (bare.folder / "projector").exists() and not list(bare.folder.glob("events*"))


def test_everything_is_bounded(tmp_path):
    names, values = [f"class {i}" for i in range(500)], np.linspace(0, 1, 500)
    picture = dashboard.bars(names, np.where(np.arange(500) % 7, values, np.nan), np.full(500, 0.1), "epoch 1")
    assert picture.dtype == np.uint8 and picture.shape[0] < 1100 and picture.shape[1] < 600
    assert dashboard.bars(["a"], np.array([np.nan]), np.array([np.nan]), "").ndim == 3
    assert len(dashboard.as_text(["x" * 100] * 1000)) < 2 * dashboard.MAX_TEXT
    writer = tf.summary.create_file_writer(str(tmp_path / "big"))
    with writer.as_default(step=1):
        dashboard.histogram("big", np.random.default_rng(0).normal(size=1_000_003))
        dashboard.histogram("empty", np.zeros(0))
        dashboard.histogram("nan", np.array([np.nan]))
    writer.close()
    found = events(tmp_path / "big")
    assert list(found) == ["big"] and array(found["big"][0][1])[:, 2].sum() <= dashboard.MAX_SAMPLES


def test_prevalence_is_the_share_of_positives():
    from orpheus.learning.evaluation.tag_auc import TagAUC

    metric = TagAUC(2)
    assert np.isnan(metric.prevalence()).all()
    metric.update_state(np.array([[1, 0], [0, 0], [1, 0], [0, 1]]), np.full((4, 2), 0.5))
    np.testing.assert_allclose(metric.prevalence(), [0.5, 0.25])


@pytest.fixture
def tensorboard(tmp_path):
    """Starts TensorBoard on loopback for a folder of runs; gives its address."""
    started = []

    def start(folder) -> str:
        command = [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            str(folder),
            "--host",
            "127.0.0.1",
            "--port",
            "0",
        ]
        log = open(tmp_path / "tensorboard.log", "w+")  # noqa: SIM115  closed below
        started.append(
            (subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}), log)
        )
        for _ in range(600):
            if found := re.search(r"http://127.0.0.1:\d+/", (tmp_path / "tensorboard.log").read_text()):
                return found[0]
            try:
                started[-1][0].wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError((tmp_path / "tensorboard.log").read_text())

    yield start
    for process, log in started:
        process.terminate()
        process.wait(timeout=20)
        log.close()


@pytest.mark.slow
def test_tensorboards_pages_show_two_runs(tmp_path, tensorboard):
    browser.executable()  # skips before the work
    for name, dropout in (("first_260101-120000", 0.3), ("second_260102-120000", 0.1)):
        trained(tmp_path / "runs" / name, epochs=3, dropout=dropout, job=engine.job(dropout=dropout))
    address = tensorboard(tmp_path / "runs")
    pictures = tmp_path / "pictures"
    if kept := os.environ.get("ORPHEUS_PICTURES"):
        pictures = Path(kept)
    pictures.mkdir(exist_ok=True, parents=True)
    # page: words on it, what has to be drawn on it, how often
    drawn = "e.naturalWidth > 300", "e.getBoundingClientRect().width > 100"
    pages = {
        "timeseries": (
            ["PR-AUC", "first_260101-120000/validation", "per_class 6 cards"],
            ("line-chart svg path", "true"),
            4,
        ),
        "histograms": (["weights/", "per_class/PR-AUC", "tag: per_class/ROC-AUC"], ("path", "true"), 12),
        "images": (["tag: per_class/PR", "step 3"], ("img", drawn[0]), 2),
        "text": (["tag: config", "run 2", "piano & strings", '"dropout": 0.1'], ("body", "true"), 1),
        "hparams": (["model.dropout", "validation.PR-AUC", "second_260102-120000 0.10000"], ("body", "true"), 1),
        "projector": (["2 runs found", "1 tensor found", "tags 3x16"], ("canvas", drawn[1]), 1),
    }
    with browser.running(tmp_path / "profile", width=1400, height=1000) as page:
        for name, (words, (selector, condition), least) in pages.items():
            page.open(f"{address}?page={name}#{name}")
            page.wait_text(*words)
            for _ in range(100):
                if page.count(selector, condition) >= least:
                    break
                page.ask("new Promise(done => setTimeout(done, 100))")
            else:
                raise AssertionError(f"{name}: {page.count(selector, condition)} of {least} {selector}")
            page.picture(pictures / f"tensorboard-{name}.png")
            assert not page.problems, (name, page.problems)
