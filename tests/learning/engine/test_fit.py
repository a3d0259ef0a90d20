"""The engine: both loops agree, replicas agree, resuming changes nothing, divergence and Ctrl-C end cleanly."""

import errno
import json
import math
import resource
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.config.tagging import ModelTraining
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import callbacks, devices, fit
from orpheus.runs.folder import Run
from tests import engine

QUIET = ModelTraining(tensorboard="none")  # its callbacks have tests of their own


def trained(folder, *, epochs=2, settings=None, job=None, **options) -> tuple[np.ndarray, Run]:
    """(last epoch's weights, run)."""
    run = Run(folder)
    on = tf.distribute.get_strategy()
    job = job or engine.job()
    fit.train(job, run, settings or QUIET, fit.Options(epochs=epochs, **options), on)
    model, _ = fit.prepare(job, on, fit.Options(epochs=epochs))
    model.load_weights(run.checkpoints()[-1][1] / "model.weights.h5")
    return engine.weights(model), run


@pytest.mark.slow
@pytest.mark.pins
def test_custom_loop_equals_fit(tmp_path):
    ours, run = trained(tmp_path / "loop")
    theirs, built_in = trained(tmp_path / "fit", built_in=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for a, b in zip(run.read("history"), built_in.read("history"), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name] == pytest.approx(b[name], abs=1e-4), name


def test_dropout_is_on_and_statistics_move(tmp_path):
    without, _ = trained(tmp_path / "without", job=engine.job(dropout=0.0))
    with_dropout, run = trained(tmp_path / "with")
    assert not np.allclose(without, with_dropout, atol=1e-3)
    model = keras.saving.load_model(run.model_path)
    statistics = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    assert np.abs(np.asarray(statistics.moving_mean)).max() > 0.01


def test_learns_the_known_answer(tmp_path):
    _, run = trained(tmp_path, epochs=25, job=engine.job(dropout=0.0))
    assert run.read("history")[-1]["val_ROC-AUC"] > 0.95


@pytest.mark.parametrize("built_in", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.pins])])
def test_resumed_equals_uninterrupted(tmp_path, built_in):
    # Falling learning rate and early stopping are among what has to go on where it was.
    settings = ModelTraining(
        tensorboard="none",
        reduceLRoP_patience=1,
        reduceLRoP_factor=0.5,
        reduceLRoP_min_delta=0.5,
        early_stop_patience=6,
    )
    whole, run = trained(tmp_path / "whole", epochs=4, settings=settings, built_in=built_in)
    trained(tmp_path / "parts", epochs=2, settings=settings, built_in=built_in)
    parts, resumed = trained(tmp_path / "parts", epochs=4, settings=settings, built_in=built_in)
    np.testing.assert_array_equal(parts, whole)
    assert resumed.read("history") == run.read("history")
    np.testing.assert_array_equal(np.load(resumed.folder / "arrays/pr.npy"), np.load(run.folder / "arrays/pr.npy"))


def test_early_stopping_stops_and_stays_stopped(tmp_path):
    settings = ModelTraining(tensorboard="none", early_stop_patience=1, early_stop_min_delta=0.9)
    _, run = trained(tmp_path, epochs=9, settings=settings)
    assert len(run.read("history")) == 2
    trained(tmp_path, epochs=9, settings=settings)
    assert len(run.read("history")) == 2


def test_best_epoch_is_what_model_keras_holds(tmp_path):
    _, run = trained(tmp_path, epochs=7, job=engine.job(rate=0.5))
    history = run.read("history")
    best = max(history, key=lambda row: row["val_PR-AUC"])
    state = json.loads((run.best_checkpoint() / "state.json").read_text())
    assert state["best_epoch"] == best["epoch"] < 6, "the best epoch must not be of the last two"
    assert run.best_checkpoint().name == f"epoch-{best['epoch']:04d}"
    assert len(run.checkpoints()) == 3  # the last two and the best
    model = keras.saving.load_model(run.model_path)
    x, y = engine.data(1, 29)
    loss = keras.losses.BinaryCrossentropy()(y, model(x, training=False))
    assert float(loss) == pytest.approx(best["val_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("built_in", "side", "message"),
    [(False, 1, "loss=nan at step 3"), (True, 1, "loss=nan at step 3"), (False, 0, "gradient norm=nan at step 3")],
)
def test_non_finite_loss_names_step_and_quantity(tmp_path, built_in, side, message):
    with pytest.raises(DataError, match=f"{message} of epoch 1"):
        trained(tmp_path, job=engine.job(blow_up=(2, side)), built_in=built_in, update_freq=100)
    assert not (tmp_path / "model.keras").exists()


def test_tensorboard_has_training_and_validation(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, run = trained(tmp_path, settings=ModelTraining(), update_freq=2)
    for split, expected in (
        ("train", {"loss", "ROC-AUC", "PR-AUC", "learning_rate", "examples_per_second", "batch_loss"}),
        ("validation", {"loss", "ROC-AUC", "PR-AUC"}),
    ):
        events = EventAccumulator(str(run.folder / split), size_guidance={"tensors": 0})
        events.Reload()
        assert expected <= set(events.Tags()["tensors"])
        assert [event.step for event in events.Tensors("loss")] == [1, 2]
    train = EventAccumulator(str(run.folder / "train"), size_guidance={"tensors": 0})
    train.Reload()
    assert [event.step for event in train.Tensors("batch_loss")] == [2, 4, 6, 8, 10, 12]


def test_arrays_have_a_row_per_epoch(tmp_path):
    paths = {"roc": tmp_path / "roc.npy", "pr": tmp_path / "pr.npy", "confusion": tmp_path / "confusion.npy"}
    _, run = trained(tmp_path / "run", epochs=3, array_paths=paths)
    roc, confusion = np.load(paths["roc"]), np.load(paths["confusion"])
    assert roc.shape == (3, engine.CLASSES)
    assert confusion.shape == (4, 200, engine.CLASSES)
    assert (confusion.sum(axis=0) == 29).all()  # every validation example once
    np.testing.assert_array_equal(roc, np.load(run.folder / "arrays/roc.npy"))


@pytest.mark.slow
@pytest.mark.pins
def test_jit_agrees(tmp_path):
    # XLA draws other random numbers from the same seed, so dropout is off where results are compared.
    plain, _ = trained(tmp_path / "plain", epochs=1, job=engine.job(dropout=0.0))
    jit, _ = trained(tmp_path / "jit", epochs=1, job=engine.job(dropout=0.0), jit=True)
    np.testing.assert_allclose(jit, plain, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_agrees_within_its_precision(tmp_path, precision):
    plain, _ = trained(tmp_path / "plain", epochs=1, job=engine.job(dropout=0.0))
    try:
        mixed, _ = trained(tmp_path / "mixed", epochs=1, job=engine.job(dropout=0.0), mixed_precision=precision)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(mixed, plain, atol=0.1)
    assert not np.array_equal(mixed, plain)


@pytest.mark.slow
@pytest.mark.parametrize("built_in", [False, True])
def test_interrupt_saves_and_resume_goes_on(tmp_path, built_in):
    whole, _ = trained(tmp_path / "whole", epochs=3, built_in=built_in)

    class Interrupting:
        """A progress bar during whose second epoch Ctrl-C is pressed."""

        epochs = 0

        def __init__(self, **_):
            Interrupting.epochs += 1

        def update(self):
            if Interrupting.epochs == 2:
                raise KeyboardInterrupt

        def set_postfix_str(self, *_, **__):
            pass

        def close(self):
            pass

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", epochs=3, built_in=built_in, bar=Interrupting)
    assert (tmp_path / "stopped/model.keras").is_file()
    parts, _ = trained(tmp_path / "stopped", epochs=3, built_in=built_in)
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.slow
def test_two_replicas_equal_one(tmp_path):
    # Adam divides rounding errors of small gradients by their own size; with momentum they stay rounding errors.
    settings = {"job": {"dropout": 0.0, "synchronized": True, "sgd": True, "rate": 0.1}}
    for name, more in (
        ("one", {}),
        ("two", {"replicas": 2}),
        ("two-fit", {"replicas": 2, "options": {"epochs": 2, "built_in": True}}),
    ):
        _script(tmp_path / name, {**settings, **more})
    one, two, two_fit = (np.load(tmp_path / name / "weights.npy") for name in ("one", "two", "two-fit"))
    np.testing.assert_allclose(two, one, atol=1e-5)
    np.testing.assert_allclose(two_fit, one, atol=1e-5)
    first, second = (json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two"))
    for a, b in zip(first, second, strict=True):
        for name in a:
            assert a[name] == pytest.approx(b[name], abs=1e-4), name


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(tmp_path):
    epochs = {"options": {"epochs": 40}}
    _script(tmp_path / "whole", epochs)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine", str(tmp_path / "killed"), json.dumps(epochs)], stderr=subprocess.DEVNULL
    )
    while len(Run(tmp_path / "killed").checkpoints()) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = Run(tmp_path / "killed").checkpoints()[-1][0]
    assert reached < 40, "the run ended before it was killed"
    _script(tmp_path / "killed", epochs)
    np.testing.assert_array_equal(np.load(tmp_path / "killed/weights.npy"), np.load(tmp_path / "whole/weights.npy"))


def _script(folder, settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine", str(folder), json.dumps(settings)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_mistakes_are_refused_before_training():
    job = engine.job()
    with pytest.raises(ConfigError, match="no GPU"):
        devices.strategy([0])
    with pytest.raises(ConfigError, match=r"optimizer.name='Adamm'"):
        fit.optimizer(ModelTraining(optimizer={"name": "Adamm"}), steps_per_epoch=1, epochs=1)
    with pytest.raises(ConfigError, match="SGD does not take this"):
        fit.optimizer(ModelTraining(optimizer={"name": "SGD", "beta_1": 0.5}), steps_per_epoch=1, epochs=1)
    with pytest.raises(ConfigError, match="split leaves none"):
        fit.monitoring_callbacks(ModelTraining(early_stop_patience=3), engine.job(valid=False))
    cyclical = ModelTraining(
        optimizer={"learning_rate": 0.1, "max_learning_rate": 0.2}, reduceLRoP_patience=1, reduceLRoP_factor=0.5
    )
    with pytest.raises(ConfigError, match="follows a schedule"):
        fit.monitoring_callbacks(cyclical, job)
    assert fit.monitoring_callbacks(ModelTraining(early_stop_patience=0, reduceLRoP_patience=0), job) == []


def test_optimizers_by_name_and_schedules():
    nesterov = fit.optimizer(
        ModelTraining(optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
        steps_per_epoch=10,
        epochs=1,
    )
    assert nesterov.nesterov and nesterov.momentum == 0.9
    settings = {"learning_rate": 0.1, "max_learning_rate": 0.5}
    cyclical = fit.optimizer(ModelTraining(optimizer=settings, iterations=20), steps_per_epoch=10, epochs=8)
    cyclical.iterations.assign(20)
    assert float(cyclical.learning_rate) == pytest.approx(0.5)
    one = fit.optimizer(ModelTraining(optimizer=settings, schedule="one-cycle"), steps_per_epoch=10, epochs=8)
    assert float(one.learning_rate) == pytest.approx(0.1)
    assert math.isclose(max(_rates(one, 80)), 0.5, rel_tol=1e-3)


@pytest.mark.slow
def test_a_full_disk_ends_the_training_and_not_the_process(tmp_path):
    settings, space = QUIET, resource.getrlimit(resource.RLIMIT_FSIZE)
    trained(tmp_path, epochs=1, settings=settings)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, space[1]))
    try:
        with pytest.raises(OSError) as full:
            trained(tmp_path, epochs=2, settings=settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, space)
    assert full.value.errno == errno.EFBIG and full.value.filename.endswith("model.weights.h5")
    assert [epochs for epochs, _ in Run(tmp_path).checkpoints()] == [1]
    trained(tmp_path, epochs=2, settings=settings)


def test_other_epochs_would_bend_a_one_cycle_schedule():
    rates = {"learning_rate": 0.1, "max_learning_rate": 0.5}
    one = ModelTraining(optimizer=rates, schedule="one-cycle")
    with pytest.raises(ConfigError, match=r"--epochs 9 with --resume: model-training\.schedule=one-cycle .* 8 epochs"):
        fit.check_epochs(one, before=8, now=9)
    fit.check_epochs(one, before=8, now=8)
    for schedule in ("cyclical", None):
        fit.check_epochs(ModelTraining(optimizer=rates, schedule=schedule), before=8, now=9)


def test_dropout_is_seeded_by_seed_epoch_and_layer():
    model = engine.job().build()
    (dropout,) = (layer for layer in callbacks.layers(model) if isinstance(layer, keras.layers.Dropout))

    def state(seed, epoch):
        hook = callbacks.EpochSeed(seed)
        hook.set_model(model)
        hook.on_epoch_begin(epoch)
        return tuple(np.asarray(dropout.seed_generator.state))

    drawn = {(seed, epoch): state(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(set(drawn.values())) == 6, "an epoch, or a seed, draws what another one does"
    assert state(1, 2) == drawn[1, 2]  # and not what came before it
    inputs = keras.Input((4,))
    twice = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5)(inputs)))
    hook = callbacks.EpochSeed(0)
    hook.set_model(twice)
    hook.on_epoch_begin(0)
    first, second = (tuple(np.asarray(layer.seed_generator.state)) for layer in twice.layers[1:])
    assert first != second


def _rates(optimizer, steps):
    for step in range(steps):
        optimizer.iterations.assign(step)
        yield float(optimizer.learning_rate)
