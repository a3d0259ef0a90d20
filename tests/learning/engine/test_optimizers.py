"""The optimizer with an L2 penalty against Adam's equations in float64."""

import keras
import numpy as np
import pytest

from orpheus.config.sections import Training
from orpheus.errors import ConfigError
from orpheus.learning.engine import fit
from orpheus.learning.engine.optimizers import AdamL2


def steps(weights, gradients, *, l2, rate=0.01, a=0.9, b=0.999, epsilon=1e-7):
    """Kingma & Ba 2015, algorithm 1, on gradient + l2 · weight, with Keras' place of epsilon."""
    weights, first, second = weights.astype(np.float64), 0.0, 0.0
    for number, gradient in enumerate(gradients.astype(np.float64), 1):
        gradient = gradient + l2 * weights
        first, second = a * first + (1 - a) * gradient, b * second + (1 - b) * gradient**2
        weights = weights - rate * np.sqrt(1 - b**number) / (1 - a**number) * first / (np.sqrt(second) + epsilon)
    return weights


def test_steps_equal_the_equations():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=6).astype(np.float32), 0.1 * rng.normal(size=(5, 6)).astype(np.float32)
    settings = Training.model_validate({"optimizer": {"name": "AdamL2", "learning_rate": 0.01, "l2": 0.1}})
    variable, optimizer = keras.Variable(start), fit.optimizer(settings, steps_per_epoch=1, epochs=1)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(variable.numpy(), steps(start, gradients, l2=0.1), atol=1e-5)
    assert np.abs(variable.numpy() - steps(start, gradients, l2=0)).max() > 1e-3, "the penalty does something"


def test_is_saved_and_refuses():
    again = keras.optimizers.deserialize(keras.optimizers.serialize(AdamL2(0.5, l2=0.25)))
    assert isinstance(again, AdamL2) and again.l2 == 0.25 and float(again.learning_rate) == 0.5
    settings = Training.model_validate({"optimizer": {"name": "adaml2", "l2": -1}})
    with pytest.raises(ConfigError, match="l2=-1"):
        fit.optimizer(settings, steps_per_epoch=1, epochs=1)
