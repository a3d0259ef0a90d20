"""A tiny Job on known data, for the tests of the engine; run as a script it trains in a process of its own."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from orpheus.config.tagging import ModelTraining
from orpheus.learning.engine import fit, multi_worker
from orpheus.learning.engine.job import Job
from orpheus.learning.evaluation.tag_auc import TagAUC
from orpheus.runs.folder import Run

CLASSES, FEATURES, BATCH, STEPS = 3, 8, 12, 6


def data(seed: int = 0, count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Features whose first three columns decide the three labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    return x, (x[:, :CLASSES] > 0.3).astype(np.float32)


def job(
    *,
    dropout: float = 0.3,
    normalized: bool = True,
    synchronized: bool = False,
    valid: bool = True,
    rate: float = 0.01,
    sgd: bool = False,
    blow_up: tuple[int, int] | None = None,
) -> Job:
    """A dense network with dropout and, if `normalized`, batch normalisation.

    `blow_up` is (step, 0 or 1): that step of every epoch gets nan as input (0) or target (1).
    """
    x, y = data()

    def train(first_epoch: int) -> tf.data.Dataset:
        def epoch(number):
            order = tf.random.experimental.stateless_shuffle(tf.range(len(x)), seed=tf.stack([5, number]))
            batches = tf.data.Dataset.from_tensor_slices(order).batch(BATCH, drop_remainder=True).take(STEPS)
            return batches.map(lambda index: (tf.gather(x, index), tf.gather(y, index))).enumerate().map(spoil)

        def spoil(step, batch):
            if blow_up is None:
                return batch
            bad = [tf.where(step == blow_up[0], np.float32("nan"), part) for part in batch]
            return (bad[0], batch[1]) if blow_up[1] == 0 else (batch[0], bad[1])

        return tf.data.Dataset.range(first_epoch, 1000).flat_map(epoch)

    def build() -> keras.Model:
        inputs = keras.Input((FEATURES,), name="audio")
        hidden = keras.layers.Dense(16, "relu", kernel_initializer=keras.initializers.GlorotUniform(1))(inputs)
        if normalized:
            hidden = keras.layers.BatchNormalization(synchronized=synchronized)(hidden)
        hidden = keras.layers.Dropout(dropout, seed=3)(hidden)
        kernel = keras.initializers.GlorotUniform(2)
        outputs = keras.layers.Dense(CLASSES, "sigmoid", kernel_initializer=kernel, dtype="float32")(hidden)
        return keras.Model(inputs, outputs)

    test_x, test_y = data(1, 29)  # 29: the last batch is ragged, and no multiple of two replicas
    return Job(
        build=build,
        optimizer=lambda: keras.optimizers.SGD(rate, 0.9) if sgd else keras.optimizers.Adam(rate),
        loss=keras.losses.BinaryCrossentropy(),
        metrics=lambda: [TagAUC(CLASSES)],
        train=train,
        valid=tf.data.Dataset.from_tensor_slices((test_x, test_y)).batch(BATCH) if valid else None,
        steps_per_epoch=STEPS,
        batch_size=BATCH,
        monitor="val_PR-AUC" if valid else "PR-AUC",
        seed=11,
    )


def weights(model: keras.Model) -> np.ndarray:
    """All weights, moving statistics included, as one vector."""
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


def main() -> None:
    """``engine.py RUN OPTIONS_JSON``: train in RUN and save the last weights to RUN/weights.npy.

    With ``"workers"`` it is one of several by TF_CONFIG, and the chief saves.
    """
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    on = tf.distribute.get_strategy()
    if replicas := settings.get("replicas"):
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
        on = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])
    if settings.get("workers"):
        on = multi_worker.connect(seconds=60)
    options = fit.Options(**settings.get("options", {"epochs": 2}))
    run = Run(folder)
    chief = multi_worker.member(on).index == 0
    fit.train(
        job(**settings.get("job", {})),
        run if chief or run.checkpoints() else None,
        ModelTraining(**settings.get("training", {})),
        options,
        on,
    )
    if not chief:
        return
    on = tf.distribute.get_strategy()
    last = fit.prepare(job(**settings.get("job", {})), on, options)[0]
    last.load_weights(run.checkpoints()[-1][1] / "model.weights.h5")
    np.save(run.folder / "weights.npy", weights(last))


if __name__ == "__main__":
    main()
