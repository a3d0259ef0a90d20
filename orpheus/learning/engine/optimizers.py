"""Optimizers that Keras lacks, by name in a config beside its own."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="orpheus")
class AdamL2(keras.optimizers.Adam):
    """Adam with an L2 penalty in the gradient: weight decay as PyTorch's Adam has it.

    Keras' ``weight_decay`` (AdamW, Loshchilov & Hutter 2019) shrinks weights beside the step, by learning rate times
    decay; here ``l2`` times each weight, biases and normalisation included, is added to its gradient before Adam scales it.

    Args:
        l2: At least 0; 1e-4 in Won et al. 2021.
        learning_rate, kwargs: As `keras.optimizers.Adam`.

    Raises:
        ValueError: `l2` is negative.
    """

    def __init__(self, learning_rate=1e-3, *, l2: float = 1e-4, **kwargs):
        if not l2 >= 0:
            raise ValueError(f"l2={l2}: must be at least 0")
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        decay = ops.cast(variable, variable.dtype) * self.l2
        super().update_step(ops.convert_to_tensor(gradient) + decay, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}
