"""Precision × XLA × micro-batches × steps per execution × replicas × loop: equal results, or a line that says what to do."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.base import files
from orpheus.config.tagging import ModelTraining
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import fit
from orpheus.runs.folder import Run
from tests import engine

# Without dropout: its masks depend on the shape of what is drawn, and XLA draws others. With momentum: Adam divides
# rounding errors of small gradients by their own size.
PLAIN = {"dropout": 0.0, "sgd": True, "rate": 0.1}
# float32 differs by the order of sums (measured: 9e-8), the others by rounding of activations to 8 and 11 bits (measured
# 8e-3 and 2e-4).
TOLERANCE = {None: 1e-6, "bfloat16": 0.03, "float16": 2e-3}


def trained(folder, job: dict, on=None, **options) -> tuple[np.ndarray, list]:
    """(last epoch's weights, history) of two epochs of the tiny job."""
    run, on = Run(folder), on or tf.distribute.get_strategy()
    settings = fit.Options(**{"epochs": 2, "update_freq": 4, **options})
    try:
        fit.train(engine.job(**{**PLAIN, **job}), run, ModelTraining(tensorboard="none"), settings, on)
        model, _ = fit.prepare(engine.job(**{**PLAIN, **job}), on, settings)
    finally:
        keras.config.set_dtype_policy("float32")
    model.load_weights(run.checkpoints()[-1][1] / "model.weights.h5")
    return engine.weights(model), run.read("history")


def close(history, other, tolerance) -> None:
    for a, b in zip(history, other, strict=True):
        assert a == pytest.approx(b, abs=tolerance)


@pytest.mark.slow
def test_micro_batches_equal_the_whole_batch(tmp_path):
    whole, history = trained(tmp_path / "whole", {"normalized": False})
    parts, other = trained(tmp_path / "parts", {"normalized": False}, micro_batches=3)
    np.testing.assert_allclose(parts, whole, atol=TOLERANCE[None])
    close(history, other, 1e-5)


@pytest.mark.slow
def test_batch_normalisation_sees_micro_batches_one_by_one(tmp_path):
    """Against Keras' own accumulation over steps of a third of the batch."""
    weights, _ = trained(tmp_path, {}, micro_batches=3, epochs=1)
    job = engine.job(**PLAIN)
    model = job.build()
    optimizer = keras.optimizers.SGD(0.1, 0.9, gradient_accumulation_steps=3)
    model.compile(optimizer, job.loss, jit_compile=False)
    for x, y in job.train(0).take(engine.STEPS):
        for part in range(3):
            third = slice(part * engine.BATCH // 3, (part + 1) * engine.BATCH // 3)
            model.train_on_batch(x[third], y[third])
    np.testing.assert_allclose(weights, engine.weights(model), atol=1e-5)


@pytest.mark.slow
def test_several_steps_in_one_execution_change_nothing(tmp_path):
    """Dropout on; four steps do not divide the six of an epoch, and logs come every four and at the end."""
    single, history = trained(tmp_path / "single", {"dropout": 0.3})
    several, other = trained(tmp_path / "several", {"dropout": 0.3}, steps_per_execution=3)
    np.testing.assert_allclose(several, single, atol=1e-7)
    close(history, other, 1e-6)


class Heard(keras.callbacks.Callback):
    """What a callback is told of batches."""

    def __init__(self):
        super().__init__()
        self.begun, self.logged, self.ended = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.ended.append(batch)
        if logs:
            self.logged.append(batch)


@pytest.mark.parametrize("steps", [1, 5])
def test_callbacks_hear_of_every_step(steps):
    from orpheus.learning.engine import loop

    job, on, heard = engine.job(), tf.distribute.get_strategy(), Heard()
    model, metrics = fit.prepare(job, on, fit.Options(epochs=1))
    loop.train(job, model, metrics, on, [heard], first_epoch=0, epochs=1, update_freq=4, steps_per_execution=steps)
    assert heard.begun == heard.ended == list(range(engine.STEPS))
    assert heard.logged == [3, 5]


@pytest.mark.slow
def test_resumed_equals_uninterrupted_and_divergence_names_its_step(tmp_path):
    options = {"steps_per_execution": 4, "micro_batches": 2}
    whole, history = trained(tmp_path / "whole", {"dropout": 0.3}, **options)
    trained(tmp_path / "parts", {"dropout": 0.3}, epochs=1, **options)
    parts, other = trained(tmp_path / "parts", {"dropout": 0.3}, **options)
    np.testing.assert_array_equal(parts, whole)
    assert other == history
    with pytest.raises(DataError, match="loss=nan at step 3 of epoch 1"):
        trained(tmp_path / "nan", {"blow_up": (2, 1)}, update_freq=6, **options)


SINGLE = [
    {"mixed_precision": precision, "jit": jit, "micro_batches": parts, "steps_per_execution": steps}
    for precision in (None, "bfloat16", "float16")
    for jit in (False, True)
    for parts, steps in ((1, 1), (3, 1), (1, 4), (3, 4))
]
FIT = [
    {"mixed_precision": p, "jit": jit, "built_in": True} for p in (None, "bfloat16", "float16") for jit in (False, True)
]


def name(options: dict) -> str:
    return "-".join(f"{key}={value}" for key, value in options.items() if value not in (None, False, 1)) or "plain"


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict:
    """One device, float32, whole batches, single steps: with batch normalisation and without."""
    folder = tmp_path_factory.mktemp("reference")
    return {norm: trained(folder / str(norm), {"normalized": norm})[0] for norm in (False, True)}


@pytest.mark.slow
@pytest.mark.parametrize("options", SINGLE + FIT, ids=name)
def test_one_device(tmp_path, reference, options):
    tolerance = TOLERANCE[options["mixed_precision"]]
    weights, _ = trained(tmp_path / "plain", {"normalized": False}, **options)
    np.testing.assert_allclose(weights, reference[False], atol=tolerance)
    if options.get("micro_batches", 1) == 1:
        weights, _ = trained(tmp_path / "normalized", {}, **options)
        np.testing.assert_allclose(weights, reference[True], atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, "bfloat16", "float16"])
def test_two_replicas(tmp_path, reference, precision):
    """One process for all combinations: a distribution is set up once in a process."""
    one = {"mixed_precision": precision}
    wanted = [
        *(({"normalized": False}, o) for o in SINGLE if o["mixed_precision"] == precision),
        *(({"synchronized": True}, {**one, "steps_per_execution": steps}) for steps in (1, 4)),
        ({"normalized": False}, {**one, "built_in": True}),
        ({"synchronized": True}, {**one, "built_in": True}),
    ]
    files.write_json(tmp_path / "wanted.json", wanted)
    done = subprocess.run([sys.executable, "-m", __name__, str(tmp_path)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, (job, options) in enumerate(wanted):
        weights = np.load(tmp_path / f"{number}.npy")
        expected = reference[job.get("normalized", True)]
        np.testing.assert_allclose(weights, expected, atol=TOLERANCE[precision], err_msg=f"{job} {name(options)}")


def two_replicas():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


REFUSED = [
    ({"synchronized": True}, {"jit": True}, {}, "XLA cannot compile synchronised batch normalisation .*turn jit off"),
    ({"normalized": False}, {"jit": True, "built_in": True}, {}, "jit with --built-in .*leave --built-in out"),
    ({}, {"micro_batches": 4}, {}, "micro_batches=4: each of the 2 replicas has 6 examples"),
    ({}, {"built_in": True, "micro_batches": 3}, {}, "micro_batches=3: model.fit has no such thing"),
    ({}, {"built_in": True, "steps_per_execution": 3}, {}, "steps_per_execution=3: model.fit has no such thing"),
    ({}, {}, {"gradient_accumulation_steps": 2}, "gradient_accumulation_steps: .*use model-training.micro_batches"),
]


class Two:
    """What `fit.check` asks of a strategy."""

    num_replicas_in_sync = 2


@pytest.mark.parametrize(("job", "options", "optimizer", "message"), REFUSED)
def test_what_cannot_be_combined_is_refused(job, options, optimizer, message):
    settings = ModelTraining(optimizer=optimizer)
    with pytest.raises(ConfigError, match=message):
        fit.check(engine.job(**job), settings, fit.Options(epochs=1, **options), Two())
    fit.check(engine.job(normalized=False), ModelTraining(), fit.Options(epochs=1, jit=True, micro_batches=3), Two())


if __name__ == "__main__":
    from pathlib import Path

    folder, on = Path(sys.argv[1]), two_replicas()
    for number, (job, options) in enumerate(json.loads((folder / "wanted.json").read_text())):
        np.save(folder / f"{number}.npy", trained(folder / str(number), job, on, **options)[0])
