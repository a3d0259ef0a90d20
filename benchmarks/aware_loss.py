"""A training step with the embedding-aware loss next to the same step with binary cross-entropy: the log-mel tagger,
100 classes of which one in ten has no vector, forward, backward and Adam, float32, the two in turns."""

import sys
from collections.abc import Callable

from benchmarks import common
from benchmarks.common import Candidate, Row, compared, interleaved
from orpheus.base import cli

SHAPE = (469, 96)  # 15 s


def parser() -> cli.Parser:
    result = common.parser("aware_loss", __doc__, example="--repeats 9")
    result.add_argument("--classes", type=int, default=100, help="of the tagger")
    result.add_argument("--batch-size", type=int, default=16, help="examples in a step")
    result.add_argument("--steps", type=int, default=2, help="steps in a turn")
    result.add_argument("--repeats", type=int, default=7, help="rounds after one that does not count")
    return result


def measure(arguments) -> list[Row]:
    """All rows of this benchmark."""
    import keras
    import numpy as np

    from orpheus.learning.losses.pointwise import EmbeddingAwareCrossentropy

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(arguments.classes, 50))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = (vectors @ vectors.T).astype(np.float32)
    similarity[::10], similarity[:, ::10] = np.nan, np.nan
    losses = {
        "embedding-aware": EmbeddingAwareCrossentropy(similarity),
        "binary cross-entropy": keras.losses.BinaryCrossentropy(),
    }
    amount = arguments.steps * arguments.batch_size
    candidates = {name: Candidate(_steps(loss, arguments), amount, arguments.repeats) for name, loss in losses.items()}
    rates = interleaved(candidates)
    case = f"log-mel step, {arguments.classes} classes, batch of {arguments.batch_size}"
    return compared("aware_loss", case, rates, unit="examples/s", targets={"binary cross-entropy": 0.95})


def _steps(loss, arguments) -> Callable[[], None]:
    """Some training steps of a tagger of its own."""
    import keras
    import numpy as np
    import tensorflow as tf

    from orpheus import models

    model = models.build("log-mel-spectrogram", SHAPE, arguments.classes)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(1)
    audio = tf.constant(rng.normal(size=(arguments.batch_size, *SHAPE)).astype(np.float32))
    tags = tf.constant((rng.random((arguments.batch_size, arguments.classes)) < 0.05).astype(np.float32))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss.call(tags, model(audio, training=True)))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    def several() -> None:
        for _ in range(arguments.steps):
            float(step())

    return several


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
