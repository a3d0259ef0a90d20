"""A training step of the tags' layer: with the frozen network in every step, and on outputs of it that were kept.

musicnn at the published size with made-up weights and windows of 3 s; processor seconds on one thread, so that other work on
the machine does not count. What keeping them costs once is one pass over the clips, about the first row's time.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import common
from benchmarks.common import Candidate, Row, compared, interleaved

SHAPE, CLASSES, LAYER = (187, 96), 40, "pooled_norm"


def parser():
    result = common.parser("frozen", __doc__, example="--repeats 5")
    result.add_argument("--batch-size", type=int, default=32, help="windows in a step")
    result.add_argument("--steps", type=int, default=2, help="in a round")
    result.add_argument("--repeats", type=int, default=5, help="rounds")
    return result


def measure(arguments: argparse.Namespace) -> Sequence[Row]:
    import keras
    import numpy as np

    from orpheus import models

    whole = models.build("musicnn", SHAPE, CLASSES)
    for layer in whole.layers:
        layer.trainable = layer.name == "tags"
    end = keras.Model(whole.get_layer(LAYER).output, whole.output)
    rng, amount = np.random.default_rng(0), arguments.steps * arguments.batch_size
    tags = (rng.random((arguments.batch_size, CLASSES)) < 0.1).astype(np.float32)
    audio = rng.uniform(1, 90, (arguments.batch_size, *SHAPE)).astype(np.float32)
    features = rng.normal(size=(arguments.batch_size, end.input_shape[-1])).astype(np.float32)
    candidates = {
        name: Candidate(_steps(model, batch, tags, arguments.steps), amount, arguments.repeats, timed=True)
        for name, model, batch in (("kept outputs", end, features), ("network in every step", whole, audio))
    }
    case = f"musicnn, batches of {arguments.batch_size}"
    return compared("frozen", case, interleaved(candidates), unit="windows/core-s")


def _steps(model, batch, tags, count: int) -> Callable[[], float]:
    """Some training steps; their processor seconds."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    inputs, targets = tf.constant(batch), tf.constant(tags)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(targets, model(inputs, training=True)))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    def several() -> float:
        began = time.process_time()
        for _ in range(count):
            float(step())
        return time.process_time() - began

    return several


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
