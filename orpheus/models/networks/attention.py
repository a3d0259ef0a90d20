"""What transformers are made of: attention, feed-forward layers, a class token and the positions of patches."""

import keras
import numpy as np
from keras import ops

from orpheus.models.layers import initializer, layer_seed

EPSILON = 1e-6  # of layer normalisation


def attention(x, name: str, *, heads: int, dropout: float, seed: int):
    """Every step as a mean of all steps, weighted by the softmax of their products (Vaswani et al. 2017, 1706.03762).

    `keras.layers.MultiHeadAttention` would start queries, keys and values from one seed, so that all three were equal.

    Args:
        x: (batch, steps, units), units a multiple of `heads`.
        name: Prefix of the dense layers ``NAME_query``, ``_key``, ``_value`` and ``_output``.
        heads: Number of independent weightings.
        dropout: Share of the weights dropped in training.
        seed: The model's seed.

    Returns:
        (batch, steps, units).
    """
    _, steps, units = x.shape
    size = units // heads

    def dense(x, part: str):
        kernel = initializer(seed, f"{name}_{part}")
        return keras.layers.Dense(units, kernel_initializer=kernel, name=f"{name}_{part}")(x)

    def by_head(part: str):  # (batch, heads, steps, size)
        split = keras.layers.Reshape((steps, heads, size), name=f"{name}_{part}_heads")(dense(x, part))
        return keras.layers.Permute((2, 1, 3), name=f"{name}_{part}_first")(split)

    scores = ops.matmul(by_head("query"), ops.transpose(by_head("key"), (0, 1, 3, 2))) * size**-0.5
    weights = keras.layers.Softmax(name=f"{name}_weights")(scores)  # (batch, heads, steps, steps)
    weights = keras.layers.Dropout(dropout, seed=layer_seed(seed, f"{name}_dropout"), name=f"{name}_dropout")(weights)
    x = keras.layers.Permute((2, 1, 3), name=f"{name}_joined")(ops.matmul(weights, by_head("value")))
    return dense(keras.layers.Reshape((steps, units), name=f"{name}_flat")(x), "output")


def feed_forward(x, name: str, *, seed: int):
    """Dense to four times the units, GELU, and back; (batch, steps, units) in and out."""
    units = x.shape[-1]
    kernels = [initializer(seed, f"{name}_{part}") for part in ("in", "out")]
    x = keras.layers.Dense(4 * units, activation="gelu", kernel_initializer=kernels[0], name=f"{name}_in")(x)
    return keras.layers.Dense(units, kernel_initializer=kernels[1], name=f"{name}_out")(x)


def transformer_layer(
    x, name: str, *, heads: int, normalise_first: bool, dropout: float, seed: int, attention_dropout: float = 0.0
):
    """Attention, then a feed-forward part, each added to what it was given.

    Args:
        x: (batch, steps, units), units a multiple of `heads`.
        name: Prefix of all layers.
        heads: Of the attention.
        normalise_first: Whether layer normalisation stands before each part (Xiong et al. 2020, arXiv 2002.04745) or
            after each sum, as in BERT.
        dropout: Share of each part's output dropped in training.
        seed: The model's seed.
        attention_dropout: Share of the attention's weights dropped in training.

    Returns:
        (batch, steps, units).
    """
    for part in ("attention", "forward"):
        own = f"{name}_{part}"
        norm = keras.layers.LayerNormalization(epsilon=EPSILON, name=f"{own}_norm")
        y = norm(x) if normalise_first else x
        if part == "attention":
            y = attention(y, own, heads=heads, dropout=attention_dropout, seed=seed)
        else:
            y = feed_forward(y, own, seed=seed)
        y = keras.layers.Dropout(dropout, seed=layer_seed(seed, f"{own}_drop"), name=f"{own}_drop")(y)
        x = keras.layers.Add(name=f"{own}_sum")([x, y])
        x = x if normalise_first else norm(x)
    return x


@keras.saving.register_keras_serializable("orpheus")
class ClassToken(keras.layers.Layer):
    """A learned step before the others, at whose place a transformer gathers what concerns the whole.

    Args:
        seed: Of its first value, normal of deviation 0.02 as BERT's (Devlin et al. 2018, arXiv 1810.04805).

    Input: (batch, steps, units). Output: (batch, 1 + steps, units).
    """

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        start = keras.initializers.RandomNormal(stddev=0.02, seed=self.seed)
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer=start, name="token")

    def call(self, inputs):
        token = ops.cast(self.token, inputs.dtype)
        return ops.concatenate([ops.broadcast_to(token, (ops.shape(inputs)[0], 1, inputs.shape[-1])), inputs], axis=1)

    def compute_output_shape(self, input_shape):
        batch, steps, units = input_shape
        return (batch, steps + 1, units)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("orpheus")
class PatchPositions(keras.layers.Layer):
    """Tells patches of a spectrogram apart: a learned vector per band, and fixed sines per step of time.

    The sines (Vaswani et al. 2017) have no weights, so that a trained network takes windows of any length.

    Args:
        seed: Of the bands' first vectors, normal of deviation 0.02.

    Input: (batch, time, bands, units), units even. Output: (batch, time · bands, units).
    """

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        start = keras.initializers.RandomNormal(stddev=0.02, seed=self.seed)
        self.bands = self.add_weight(shape=(1, 1, *input_shape[2:]), initializer=start, name="bands")

    def call(self, inputs):
        _, time, bands, units = inputs.shape
        rates = 10_000.0 ** (-np.arange(units // 2) / (units // 2))
        angles = np.arange(time)[:, None] * rates
        sines = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[None, :, None]  # (1, time, 1, units)
        x = inputs + ops.cast(self.bands, inputs.dtype) + ops.cast(sines, inputs.dtype)
        return ops.reshape(x, (-1, time * bands, units))

    def compute_output_shape(self, input_shape):
        batch, time, bands, units = input_shape
        return (batch, time * bands, units)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
