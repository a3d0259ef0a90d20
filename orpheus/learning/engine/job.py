"""What a task hands to the engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

Share = Callable[[int, int], tuple[Callable[[int], tf.data.Dataset], tf.data.Dataset | None] | None]


@dataclass(frozen=True)
class Job:
    """A model to train, and on what. The engine (`fit`, `loop`) knows nothing else of the task.

    Attributes:
        build: Makes the model; called under the strategy's scope.
        optimizer: Makes the optimizer, under the scope too.
        loss: One value per example, averaged over the global batch.
        metrics: Makes the metrics, under the scope too. Results may be dictionaries of named values.
        train: first epoch → endless dataset of (input, target) batches, in an order that depends on seed and epoch and on nothing
            else, so that a resumed run sees what an uninterrupted one would.
        valid: Every validation example once, or None.
        validate: For what is measured on the whole validation at once: model → named values, after every epoch.
        steps_per_epoch: Batches of `train` that make an epoch.
        batch_size: Examples per step over all replicas.
        monitor: Quantity that picks the best epoch, with ``val_`` in front where it is of the validation.
        mode: ``"max"`` or ``"min"``.
        seed: Of the run.
        share: For several machines: (worker, workers) → `train` and `valid` of that worker alone, batches of its rows of
            each global batch; None where it has no such thing. Without it every worker reads everything.
        vectors: model → (names, (names, d) array) for TensorBoard's projector; None: the output layer's rows, where
            classes.json names its units.
        failure: What reading raised inside the batches, where TensorFlow only says that they ended.
        numbers: As `train`, the batches as numbers of their examples instead of the examples, for who has made
            something of each; None where they have none.
        whole: The trained model → the one whose weights checkpoints and model.keras have, with the same layers: for a
            job that trains the end of a network on what the beginning has made of the examples.
    """

    build: Callable[[], keras.Model]
    optimizer: Callable[[], keras.optimizers.Optimizer]
    loss: keras.losses.Loss
    metrics: Callable[[], Sequence[keras.metrics.Metric]]
    train: Callable[[int], tf.data.Dataset]
    valid: tf.data.Dataset | None
    steps_per_epoch: int
    batch_size: int
    monitor: str
    mode: str = "max"
    seed: int = 0
    validate: Callable[[keras.Model], dict[str, float]] | None = None
    share: Share | None = None
    vectors: Callable[[keras.Model], tuple[Sequence[str], np.ndarray]] | None = None
    failure: Callable[[], Exception | None] = lambda: None
    numbers: Callable[[int], tf.data.Dataset] | None = None
    whole: Callable[[keras.Model], keras.Model] = lambda model: model

    @property
    def validated(self) -> bool:
        """Whether there is a validation of either kind."""
        return self.valid is not None or self.validate is not None
