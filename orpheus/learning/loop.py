"""The custom training loop: `tf.GradientTape` under `strategy.run`, loss averaged over the global batch.

It drives the same Keras callbacks as `model.fit`, with logs every `update_freq` steps instead of at each one, so that
nothing waits for the device in between.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from orpheus.errors import DataError
from orpheus.learning.job import Job


def train(
    job: Job,
    model: keras.Model,
    metrics: Sequence[keras.metrics.Metric],
    strategy: tf.distribute.Strategy,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    first_epoch: int,
    epochs: int,
    update_freq: int = 1,
    jit: bool = False,
) -> None:
    """Train a compiled model from `first_epoch` up to `epochs`.

    Args:
        job: Data, loss and lengths.
        model: Compiled and with a built optimizer, under the strategy's scope.
        metrics: Made under the scope.
        strategy: One device or mirrored.
        callbacks: Keras callbacks; batch logs are given every `update_freq` steps and at the last one.
        first_epoch: Epochs completed before.
        epochs: Epochs in all.
        update_freq: Steps between logs.
        jit: XLA around forward and backward pass; applying gradients stays outside, so that it works mirrored.

    Raises:
        DataError: loss or gradient norm is not finite; names epoch, step and value.
    """
    steps = _Steps(model, job.loss, metrics, strategy, jit)
    watchers = keras.callbacks.CallbackList(list(callbacks), add_history=False, model=model)
    watchers.set_params({"epochs": epochs, "steps": job.steps_per_epoch, "verbose": 0})
    batches = iter(strategy.experimental_distribute_dataset(job.train(first_epoch)))
    valid = strategy.experimental_distribute_dataset(job.valid) if job.valid is not None else None
    model.stop_training = False
    watchers.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(first_epoch, epochs):
        steps.reset()
        watchers.on_epoch_begin(epoch)
        unchecked: list[dict[str, tf.Tensor]] = []
        for step in range(job.steps_per_epoch):
            watchers.on_train_batch_begin(step)
            unchecked.append(steps.train(next(batches)))
            if (step + 1) % update_freq == 0 or step + 1 == job.steps_per_epoch:
                _check_finite(epoch, step, unchecked)
                logs = steps.results()
                watchers.on_train_batch_end(step, logs)
            else:
                watchers.on_train_batch_end(step, {})
        if valid is not None:
            steps.reset()
            watchers.on_test_begin()
            for batch in valid:
                steps.test(batch)
            logs = {**logs, **{f"val_{name}": value for name, value in steps.results().items()}}
            watchers.on_test_end(logs)
        watchers.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    watchers.on_train_end(logs)


def _check_finite(epoch: int, last: int, steps: list[dict[str, tf.Tensor]]) -> None:
    """Raise for the first of the steps up to `last` with a quantity that is not finite; forget them."""
    for step, quantities in enumerate(steps, last + 1 - len(steps)):
        for name, value in quantities.items():
            if not np.isfinite(float(value)):
                raise not_finite(epoch, step, name, float(value))
    steps.clear()


def not_finite(epoch: int, step: int, quantity: str, value: float) -> DataError:
    """The error of a training that has diverged."""
    return DataError(
        f"{quantity}={value} at step {step + 1} of epoch {epoch + 1}: training diverged; lower "
        "model-training.optimizer.learning_rate (with mixed_precision=float16 try bfloat16), then train anew or --resume"
    )


class _Steps:
    """One training and one validation step as graphs, and the running means they feed."""

    def __init__(
        self,
        model: keras.Model,
        loss: keras.losses.Loss,
        metrics: Sequence[keras.metrics.Metric],
        strategy: tf.distribute.Strategy,
        jit: bool,
    ):
        with strategy.scope():
            self.mean_loss = keras.metrics.Mean("loss")
        self.metrics = list(metrics)
        replicas = strategy.num_replicas_in_sync
        # Loss scaling probes for the largest scale whose gradients are finite: there, some are not.
        loss_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)

        def mean_loss(targets, outputs):
            # Calling the loss would divide by the replicas: Keras scales for fit, and only where there is a strategy.
            return tf.reduce_mean(loss.call(targets, outputs))

        def gradients(audio, targets):
            with tf.GradientTape() as tape:
                outputs = model(audio, training=True)
                value = mean_loss(targets, outputs)
                # Gradients are summed over replicas, which have equal shares of the batch.
                share = (value + sum(model.losses)) / replicas
                scaled = model.optimizer.scale_loss(share)
            return value, outputs, tape.gradient(scaled, model.trainable_variables)

        if jit:
            gradients = tf.function(gradients, jit_compile=True)

        def train_on(audio, targets):
            value, outputs, grads = gradients(audio, targets)
            model.optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
            self._update(value, targets, outputs)
            quantities = {"loss": value}
            if not loss_scaled:
                # A ReLU turns nan into 0: weights may be lost while the loss still looks fine.
                quantities["gradient norm"] = tf.linalg.global_norm(grads)
            return quantities

        def test_on(audio, targets):
            outputs = model(audio, training=False)
            self._update(mean_loss(targets, outputs), targets, outputs)

        @tf.function(reduce_retracing=True)
        def train(batch):
            quantities = strategy.run(train_on, args=batch)
            return {
                name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
                for name, value in quantities.items()
            }

        @tf.function(reduce_retracing=True)
        def test(batch):
            strategy.run(test_on, args=batch)

        self.train, self.test = train, test

    def _update(self, value, targets, outputs):
        """Feed the running means with one replica's share."""
        count = tf.shape(outputs)[0]
        self.mean_loss.update_state(tf.where(count > 0, value, 0.0), sample_weight=tf.cast(count, tf.float32))
        for metric in self.metrics:
            metric.update_state(targets, outputs)

    def reset(self):
        for metric in (self.mean_loss, *self.metrics):
            metric.reset_state()

    def results(self) -> dict[str, float]:
        """Current values; a metric with a dictionary of results gives each under its own name."""
        values = {"loss": float(self.mean_loss.result())}
        for metric in self.metrics:
            result = metric.result()
            named = result if isinstance(result, dict) else {metric.name: result}
            values.update({name: float(value) for name, value in named.items()})
        return values
