"""Batch normalisation over two replicas: exact statistics, and training under Adam that is one replica's.

Logical devices must be made before TensorFlow starts, so all of it runs in one process of its own.
"""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import dataclasses, json, sys
import keras, numpy as np, tensorflow as tf
from orpheus.config.tagging import ModelTraining
from orpheus.learning.engine import fit
from orpheus.models import layers
from orpheus.runs.folder import Run
from tests import engine

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
found = {}

# A channel of mean 50 and deviation .1 beside one of mean 0: moving statistics of momentum 0 are those of the batch.
x = np.random.default_rng(0).normal([50, 0, -3], [0.1, 1, 0.5], (64, 20, 3)).astype(np.float32)
upstream = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
exact = x.astype(np.float64).reshape(-1, 3)

def statistics(kind, on, share):
    with on.scope():
        layer = kind(synchronized=True, momentum=0.0)
        layer.build((None, 20, 3))

    @tf.function
    def run(part):
        def step(part):
            with tf.GradientTape() as tape:
                tape.watch(part[0])
                loss = tf.reduce_sum(layer(part[0], training=True) * part[1])
            return tape.gradient(loss, part[0])
        return on.run(step, (part,))

    values = lambda context: tuple(a[context.replica_id_in_sync_group::share] for a in (x, upstream))
    gradient = on.experimental_local_results(run(on.experimental_distribute_values_from_function(values)))
    whole = np.empty_like(x)
    for number, one in enumerate(gradient):
        whole[number::share] = one
    return layer.moving_variance.numpy(), layer.moving_mean.numpy(), whole

alone = statistics(layers.BatchNormalization, tf.distribute.MirroredStrategy(["CPU:0"]), 1)
for name, kind in (("ours", layers.BatchNormalization), ("channel", layers.ChannelNormalization), ("keras", keras.layers.BatchNormalization)):
    variance, mean, gradient = statistics(kind, both, 2)
    found[name] = {
        "variance": float(np.abs(variance / exact.var(axis=0) - 1).max()),
        "mean": float(np.abs(mean - exact.mean(axis=0)).max()),
        "gradient": float(np.abs(gradient - alone[2]).max() / np.abs(alone[2]).max()),
    }

def build():
    inputs = keras.Input((engine.FEATURES,), name="audio")
    h = keras.layers.Reshape((engine.FEATURES, 1))(inputs)
    for name in ("a", "b"):
        h = layers.convolve(h, 8, 3, name, seed=1, synchronized=True)
    h = keras.layers.Flatten()(h)
    return keras.Model(inputs, keras.layers.Dense(engine.CLASSES, "sigmoid", kernel_initializer=keras.initializers.GlorotUniform(2))(h))

def trained(name, on, flip=False):
    job = dataclasses.replace(engine.job(dropout=0.0), build=build)
    if flip:  # the same batches, summed in another order
        first = job.train
        job = dataclasses.replace(job, train=lambda epoch: first(epoch).map(lambda a, b: (a[::-1], b[::-1])))
    run = Run(sys.argv[1] + "/" + name)
    run.folder.mkdir()
    model = fit.train(job, run, ModelTraining(tensorboard="none"), fit.Options(epochs=2), on)
    return model.predict(engine.data(1, 200)[0], verbose=0)

one = trained("one", tf.distribute.MirroredStrategy(["CPU:0"]))
found["control"] = float(np.abs(one - trained("control", tf.distribute.MirroredStrategy(["CPU:0"]), flip=True)).max())
found["replicas"] = float(np.abs(one - trained("two", both)).max())
found["moved"] = float(one.std())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_are_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    for name in ("ours", "channel"):
        assert found[name]["variance"] < 1e-4 and found[name]["mean"] < 1e-4, found
        assert found[name]["gradient"] < 1e-3, found
    assert found["keras"]["variance"] > 0.01, "Keras computes it exactly by now: a layer of our own is not needed"
    assert found["moved"] > 0.01
    # Adam divides rounding errors of small gradients by their own size; summing a batch backwards shows how far.
    assert found["replicas"] < max(10 * found["control"], 1e-5), found
