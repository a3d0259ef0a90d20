"""The custom training loop: `tf.GradientTape` under `strategy.run`, loss averaged over the global batch.

It drives the same Keras callbacks as `model.fit`, with logs every `update_freq` steps instead of at each one, so that
nothing waits for the device in between.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from orpheus.errors import DataError
from orpheus.learning.engine import multi_worker
from orpheus.learning.engine.job import Job


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
    micro_batches: int = 1,
    steps_per_execution: int = 1,
    data_service: str | None = None,
    shown: Sequence[keras.metrics.Metric] | None = None,
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
        micro_batches: Equal parts of a replica's share of the batch, one after the other; their gradients are averaged.
        steps_per_execution: Most steps in one call of the graph, which never goes past the next log. Callbacks hear of
            them afterwards, one by one.
        data_service: ``grpc://host:port`` of a tf.data service that makes the training batches.
        shown: Metrics that are given the state of `metrics` at every log, for callbacks to read; None for themselves.

    Raises:
        DataError: loss or gradient norm is not finite; names epoch, step and value.
    """
    steps = _Steps(model, job.loss, metrics, strategy, jit, micro_batches, steps_per_execution == 1)
    steps.shown = list(shown or metrics)
    callback_list = keras.callbacks.CallbackList(list(callbacks), add_history=False, model=model)
    callback_list.set_params({"epochs": epochs, "steps": job.steps_per_epoch, "verbose": 0})
    batches = iter(multi_worker.training(job, first_epoch, strategy, service=data_service))
    valid = multi_worker.validation(job, strategy)
    model.stop_training = False
    callback_list.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(first_epoch, epochs):
        steps.reset()
        callback_list.on_epoch_begin(epoch)
        done, unchecked = 0, []
        while done < job.steps_per_epoch:
            # Logs are read from the device, which ends the run ahead of it: nothing is read in between.
            log = min(done - done % update_freq + update_freq, job.steps_per_epoch)
            count = min(steps_per_execution, log - done)
            callback_list.on_train_batch_begin(done)
            unchecked.append(steps.train(batches, count))
            for step in range(done, done + count):
                if step > done:
                    callback_list.on_train_batch_begin(step)
                if step + 1 == log:
                    _check_finite(epoch, step, unchecked)
                    logs = steps.results()
                callback_list.on_train_batch_end(step, logs if step + 1 == log else {})
            done += count
        if valid is not None:
            steps.reset()
            callback_list.on_test_begin()
            for batch in valid:
                steps.test(batch)
            logs = {**logs, **{f"val_{name}": value for name, value in steps.results().items()}}
            callback_list.on_test_end(logs)
        callback_list.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    callback_list.on_train_end(logs)


def _check_finite(epoch: int, last: int, executions: list[dict[str, tf.Tensor]]) -> None:
    """Raise for the first of the steps up to `last` with a quantity that is not finite; forget them."""
    values = {name: np.concatenate([np.atleast_1d(one[name]) for one in executions]) for name in executions[0]}
    executions.clear()
    bad = np.any([~np.isfinite(value) for value in values.values()], axis=0)
    if bad.any():
        first = int(np.argmax(bad))
        name, value = next((n, v[first]) for n, v in values.items() if not np.isfinite(v[first]))
        raise not_finite(epoch, last + 1 - len(bad) + first, name, float(value))


def not_finite(epoch: int, step: int, quantity: str, value: float) -> DataError:
    """The error of a training that has diverged."""
    return DataError(
        f"{quantity}={value} at step {step + 1} of epoch {epoch + 1}: training diverged; lower "
        "model-training.optimizer.learning_rate (with mixed_precision=float16 try bfloat16), then train anew or --resume"
    )


class _Steps:
    """Training steps and a validation step as graphs, and the running means they feed."""

    def __init__(
        self,
        model: keras.Model,
        loss: keras.losses.Loss,
        metrics: Sequence[keras.metrics.Metric],
        strategy: tf.distribute.Strategy,
        jit: bool,
        micro_batches: int,
        single: bool,
    ):
        self.single = single
        with strategy.scope():
            self.mean_loss = keras.metrics.Mean("loss")
        self.metrics = self.shown = list(metrics)
        # Gradients are summed over replicas and micro-batches, which have equal shares of the batch.
        shares = strategy.num_replicas_in_sync * micro_batches
        # Loss scaling probes for the largest scale whose gradients are finite: there, some are not.
        loss_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)

        def mean_loss(targets, outputs):
            # Calling the loss would divide by the replicas: Keras scales for fit, and only where there is a strategy.
            return tf.reduce_mean(loss.call(targets, outputs))

        def gradients(audio, targets):
            with tf.GradientTape() as tape:
                outputs = model(audio, training=True)
                value = mean_loss(targets, outputs)
                scaled = model.optimizer.scale_loss((value + sum(model.losses)) / shares)
            return value, outputs, tape.gradient(scaled, model.trainable_variables)

        if jit:
            gradients = tf.function(gradients, jit_compile=True)

        def train_on(audio, targets):
            if micro_batches == 1:
                value, outputs, grads = gradients(audio, targets)
            else:
                value, outputs, grads = _in_parts(gradients, audio, targets, micro_batches)
            model.optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
            self._update(value, targets, outputs)
            quantities = {"loss": value}
            if not loss_scaled:
                # A ReLU turns nan into 0: weights may be lost while the loss still looks fine.
                quantities["gradient norm"] = tf.linalg.global_norm(grads)
            return quantities

        def test_on(audio, targets):
            if strategy.num_replicas_in_sync > 1:
                # A replica for which nothing is left gets no rows, and TensorFlow's convolutions go wrong on none.
                count = tf.shape(targets)[0]
                outputs = model(tf.nest.map_structure(_at_least_one, audio), training=False)[:count]
            else:
                outputs = model(audio, training=False)
            self._update(mean_loss(targets, outputs), targets, outputs)

        # Nothing in a step branches on tensors: AutoGraph would translate the source of all that it calls for nothing.
        @tf.autograph.experimental.do_not_convert
        def step(batch):
            quantities = strategy.run(train_on, args=batch)
            return {
                name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
                for name, value in quantities.items()
            }

        names = ["loss"] if loss_scaled else ["loss", "gradient norm"]

        def steps(iterator, count):
            found = {name: tf.TensorArray(tf.float32, count, element_shape=()) for name in names}
            for index in tf.range(count):
                quantities = step(next(iterator))
                found = {name: found[name].write(index, quantities[name]) for name in names}
            return {name: values.stack() for name, values in found.items()}

        @tf.function(reduce_retracing=True)
        def test(batch):
            strategy.run(test_on, args=batch)

        self._one, self._several = tf.function(step, reduce_retracing=True), tf.function(steps)
        self.test = test

    def train(self, batches: Iterator, count: int) -> dict[str, tf.Tensor]:
        """Take `count` steps; what each gave, as scalars (one step) or vectors."""
        return self._one(next(batches)) if self.single else self._several(batches, tf.constant(count))

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
        for metric, copy in zip(self.metrics, self.shown, strict=True):
            if copy is not metric:
                for variable, total in zip(copy.variables, metric.variables, strict=True):
                    variable.assign(keras.ops.convert_to_tensor(total))
        for metric in self.shown:
            result = metric.result()
            named = result if isinstance(result, dict) else {metric.name: result}
            values.update({name: float(value) for name, value in named.items()})
        return values


def _at_least_one(rows: tf.Tensor) -> tf.Tensor:
    """The rows, or one of zeros where there are none."""
    missing = tf.maximum(1 - tf.shape(rows)[:1], 0)
    return tf.concat([rows, tf.zeros(tf.concat([missing, tf.shape(rows)[1:]], 0), rows.dtype)], 0)


def _in_parts(gradients, audio, targets, parts: int) -> tuple[Any, Any, Any]:
    """Mean loss, outputs and summed gradients of a batch that is passed in `parts`.

    The graph holds the parts side by side, each waiting for the gradients before it, so that the activations of one are
    gone when the next begins. A loop in the graph would not do: replicas cannot meet inside one, and synchronised batch
    normalisation makes them meet.
    """
    values: list[Any] = []
    outputs: list[Any] = []
    total: list[Any] | None = None
    whole = (audio, targets)
    pieces = [tf.split(tensor, parts) for tensor in tf.nest.flatten(whole)]
    for part in zip(*pieces, strict=True):
        with tf.control_dependencies([grad for grad in total or [] if grad is not None]):
            value, output, grads = gradients(*tf.nest.pack_sequence_as(whole, [tf.identity(piece) for piece in part]))
            dense = [grad if grad is None else tf.convert_to_tensor(grad) for grad in grads]
            total = dense if total is None else [a if a is None else a + b for a, b in zip(total, dense, strict=True)]
        values.append(value)
        outputs.append(output)
    joined = tf.nest.map_structure(lambda *each: tf.concat(each, 0), *outputs)
    return tf.reduce_mean(tf.stack(values)), joined, total
