"""Learning-rate schedules against the closed forms of the papers, in plain Python."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.engine.schedules import Cyclical, OneCycle


def test_cyclical_is_smiths_formula():
    """cycle = floor(1 + step / 2h), x = |step / h - 2 cycle + 1|, rate = base + (max - base) max(0, 1 - x); 1e-6."""
    schedule = Cyclical(1e-4, 6e-3, 7)
    for step in range(60):
        cycle = math.floor(1 + step / 14)
        x = abs(step / 7 - 2 * cycle + 1)
        assert float(schedule(step)) == pytest.approx(1e-4 + (6e-3 - 1e-4) * max(0, 1 - x), rel=1e-6)


def test_cyclical_counts_single_steps_after_many():
    """Beyond 2^24 a float32 step would stand still."""
    schedule = Cyclical(1.0, 2.0, 4)
    first = 8 * 5_000_000
    rates = [float(schedule(tf.constant(first + i, tf.int64))) for i in range(8)]
    np.testing.assert_allclose(rates, [1, 1.25, 1.5, 1.75, 2, 1.75, 1.5, 1.25])


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_one_cycle_is_its_closed_form(shape):
    schedule = OneCycle(0.4, 200, warmup=0.25, start_divisor=10, end_divisor=1_000, shape=shape)
    for step in [*range(0, 201, 5), 49, 51, 199, 300]:
        if step < 50:
            low, share = 0.04, step / 50
        else:
            low, share = 0.0004, max(0.0, 1 - (step - 50) / 150)
        if shape == "cosine":
            share = 0.5 - 0.5 * math.cos(math.pi * share)
        assert float(schedule(step)) == pytest.approx(low + (0.4 - low) * share, rel=1e-4, abs=1e-7)


def test_one_cycle_by_hand():
    rates = [float(OneCycle(1.0, 100, shape="linear")(step)) for step in (0, 15, 30, 65, 100, 1_000)]
    np.testing.assert_allclose(rates, [0.04, 0.52, 1.0, 0.50005, 1e-4, 1e-4], rtol=1e-5)


@pytest.mark.parametrize(
    "schedule", [Cyclical(0.01, 0.1, 3), OneCycle(0.3, 50, warmup=0.4, shape="linear"), OneCycle(0.1, 10)]
)
def test_schedules_drive_an_optimizer_and_survive_saving(schedule):
    optimizer = keras.optimizers.SGD(schedule)
    variable = keras.Variable(0.0)
    optimizer.build([variable])
    step = tf.function(lambda: optimizer.apply([tf.ones(())]))
    expected = 0.0
    for number in range(5):
        expected -= float(schedule(number))
        step()
        assert float(variable.value) == pytest.approx(expected, rel=1e-5)

    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    other = again._learning_rate
    assert type(other) is type(schedule) and other.get_config() == schedule.get_config()
    assert [float(other(i)) for i in range(12)] == [float(schedule(i)) for i in range(12)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cyclical(0.1, 0.01, 5), "base=0.1, maximum=0.01"),
        (lambda: Cyclical(0.0, 0.01, 5), "base=0.0"),
        (lambda: Cyclical(0.01, 0.1, 0), "half_cycle_steps=0"),
        (lambda: Cyclical(0.01, 0.1, 2.5), "half_cycle_steps=2.5"),
        (lambda: OneCycle(0, 10), "maximum=0"),
        (lambda: OneCycle(float("nan"), 10), "maximum=nan"),
        (lambda: OneCycle(0.1, 1), "total_steps=1"),
        (lambda: OneCycle(0.1, 10, warmup=1.0), "warmup=1.0"),
        (lambda: OneCycle(0.1, 10, end_divisor=0.5), "end_divisor=0.5"),
        (lambda: OneCycle(0.1, 10, shape="square"), "shape='square'.*cosine, linear"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_divisors_may_be_one_and_not_less():
    assert float(OneCycle(0.5, 10, start_divisor=1, end_divisor=1)(0)) == pytest.approx(0.5)
    for key in ("start_divisor", "end_divisor"):
        with pytest.raises(ConfigError, match=f"{key}=0.9: must be at least 1"):
            OneCycle(0.5, 10, **{key: 0.9})
