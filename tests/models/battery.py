"""What every model must do, whatever it is made of: taggers, pairs of towers and the networks of experiments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def in_a_graph(model: keras.Model, inputs: Any, outputs: np.ndarray) -> None:
    """A graph gives what eager execution gave."""
    graph = tf.function(lambda x: model(x, training=False))(inputs).numpy()
    np.testing.assert_allclose(graph, outputs, atol=1e-5)


def round_trip(model: keras.Model, inputs: Any, outputs: np.ndarray) -> None:
    """The model that its config describes is the same one, once it has the weights."""
    again = model.__class__.from_config(model.get_config())
    shapes = [[tuple(w.shape) for w in one.weights] for one in (model, again)]
    assert shapes[0] == shapes[1] and again.output_names == model.output_names
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again(inputs, training=False), outputs, atol=1e-6)


def learns(
    model: keras.Model,
    inputs: Any,
    loss: Callable[[tf.Tensor], tf.Tensor],
    *,
    steps: int = 3,
    rate: float = 3e-4,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Steps on one batch have finite gradients for all that is trained, and lower the loss of its outputs."""
    optimizer = optimizer or keras.optimizers.Adam(rate)
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            value = loss(model(inputs, training=True))
            scaled = optimizer.scale_loss(value)
        gradients = tape.gradient(scaled, model.trainable_variables)
        assert all(np.isfinite(tf.convert_to_tensor(one)).all() for one in gradients)
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(value))
    assert np.isfinite(losses).all() and (steps == 1 or min(losses[1:]) < losses[0])


def saved(model: keras.Model, inputs: Any, folder: Path) -> None:
    """A file gives the model back."""
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras", compile=False)
    np.testing.assert_allclose(again(inputs, training=False), model(inputs, training=False), atol=1e-6)


def mixed_precision(
    build: Callable[[], keras.Model],
    inputs: Any,
    loss: Callable[[tf.Tensor], tf.Tensor],
    policy: str,
    *,
    atol: float,
) -> None:
    """In bfloat16 or float16 the outputs are float32, near those of float32, and a step is finite."""
    single = build()
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    assert any(layer.compute_dtype == policy.removeprefix("mixed_") for layer in model.layers)
    model.set_weights(single.get_weights())
    outputs = model(inputs, training=False)
    assert outputs.dtype == tf.float32
    np.testing.assert_allclose(outputs, single(inputs, training=False), atol=atol)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=128)
    learns(model, inputs, loss, steps=1, optimizer=optimizer)


def whole(
    build: Callable[[], keras.Model],
    inputs: Any,
    loss: Callable[[tf.Tensor], tf.Tensor],
    folder: Path,
    *,
    steps: int = 3,
    rate: float = 3e-4,
) -> np.ndarray:
    """All of it but mixed precision, of a model that `build` makes alike each time; returns its first outputs."""
    model = build()
    for mine, theirs in zip(model.get_weights(), build().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    outputs = model(inputs, training=False).numpy()
    assert outputs.dtype == np.float32 and np.isfinite(outputs).all() and np.ptp(outputs) > 1e-3
    in_a_graph(model, inputs, outputs)
    round_trip(model, inputs, outputs)
    learns(model, inputs, loss, steps=steps, rate=rate)
    saved(model, inputs, folder)
    return outputs
