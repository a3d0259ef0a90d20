"""Learning rates that change at every step: cyclical (Smith 2017) and one-cycle (Smith 2018)."""

import math

import keras
from keras import ops

from orpheus.errors import ConfigError

SHAPES = ("cosine", "linear")


@keras.saving.register_keras_serializable("orpheus")
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """A triangle between two learning rates: up in `half_cycle_steps`, down in as many, and so on.

    Smith 2017, "Cyclical learning rates for training neural networks" (arXiv 1506.01186), policy "triangular"; half a
    cycle of 2 to 10 epochs is recommended there.

    Args:
        base: Learning rate at step 0 and at every multiple of two half cycles, above 0.
        maximum: Learning rate at the top, at least `base`.
        half_cycle_steps: Optimizer steps from the bottom to the top, at least 1.

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(self, base: float, maximum: float, half_cycle_steps: int):
        if not 0 < base <= maximum:
            raise ConfigError(
                f"base={base}, maximum={maximum}: learning rates must be above 0 and base at most maximum"
            )
        _check_steps("half_cycle_steps", half_cycle_steps, 1)
        self.base, self.maximum, self.half_cycle_steps = float(base), float(maximum), int(half_cycle_steps)

    def __call__(self, step):
        # The remainder is taken on integers: a float32 step loses single steps after 16.8 million.
        position = ops.cast(ops.mod(ops.cast(step, "int64"), 2 * self.half_cycle_steps), "float32")
        height = 1 - ops.abs(position / self.half_cycle_steps - 1)
        return self.base + (self.maximum - self.base) * height

    def get_config(self):
        return {"base": self.base, "maximum": self.maximum, "half_cycle_steps": self.half_cycle_steps}


@keras.saving.register_keras_serializable("orpheus")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """One rise to a large learning rate and one long fall far below the first one, then constant.

    Smith 2018, "A disciplined approach to neural network hyper-parameters" (arXiv 1803.09820), section 4. Only the
    learning rate: Keras optimizers take no schedule of the momentum.

    Args:
        maximum: Learning rate at the top, above 0.
        total_steps: Optimizer steps of the whole training, at least 2.
        warmup: Share of `total_steps` before the top, above 0 and below 1. Default 0.3.
        start_divisor: The first learning rate is `maximum` over this, at least 1. Default 25.
        end_divisor: The last one is `maximum` over this, at least 1. Default 10,000.
        shape: ``"cosine"`` (half a cosine up, half a cosine down) or ``"linear"``.

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(
        self,
        maximum: float,
        total_steps: int,
        *,
        warmup: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
        shape: str = "cosine",
    ):
        if not maximum > 0:
            raise ConfigError(f"maximum={maximum}: the learning rate must be above 0")
        _check_steps("total_steps", total_steps, 2)
        if not 0 < warmup < 1:
            raise ConfigError(f"warmup={warmup}: the share of steps before the top must be above 0 and below 1")
        for key, divisor in (("start_divisor", start_divisor), ("end_divisor", end_divisor)):
            if not divisor >= 1:
                raise ConfigError(f"{key}={divisor}: must be at least 1")
        if shape not in SHAPES:
            raise ConfigError(f"shape={shape!r}: no such shape; available are {', '.join(SHAPES)}")
        self.maximum, self.total_steps, self.warmup = float(maximum), int(total_steps), float(warmup)
        self.start_divisor, self.end_divisor, self.shape = float(start_divisor), float(end_divisor), shape

    def __call__(self, step):
        step = ops.cast(step, "float32")
        top = self.warmup * self.total_steps
        rising = ops.clip(step / top, 0, 1)
        falling = ops.clip((step - top) / (self.total_steps - top), 0, 1)
        start, end = self.maximum / self.start_divisor, self.maximum / self.end_divisor
        up = start + (self.maximum - start) * self._eased(rising)
        down = end + (self.maximum - end) * self._eased(1 - falling)
        return ops.where(step < top, up, down)

    def _eased(self, share):
        return share if self.shape == "linear" else (1 - ops.cos(math.pi * share)) / 2

    def get_config(self):
        return {
            "maximum": self.maximum,
            "total_steps": self.total_steps,
            "warmup": self.warmup,
            "start_divisor": self.start_divisor,
            "end_divisor": self.end_divisor,
            "shape": self.shape,
        }


def _check_steps(key: str, value: int, minimum: int) -> None:
    if int(value) != value or value < minimum:
        raise ConfigError(f"{key}={value}: must be a whole number of at least {minimum}")
