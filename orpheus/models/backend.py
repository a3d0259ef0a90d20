"""The backend that all frontends share, after Pons et al. 2018: (batch, time, channels) → (batch, units)."""

from functools import partial

import keras

from orpheus.models.layers import BatchNormalization, convolve, initializer, layer_seed

FILTERS, LENGTH = 512, 7
MINIMUM_STEPS = 8  # the first convolution takes 6 away, and pooling by 2 must leave one


def backend(x, *, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Three convolutions over time, two of them residual, global pooling and a dense layer.

    The first convolution is 'valid', as in the reference, so that its outputs see no padding; the residual ones are
    'same'. A window must therefore give at least `MINIMUM_STEPS` steps: 8 log-mel frames, 19,680 waveform samples.

    Args:
        x: (batch, time, channels), at least 8 steps.
        n_dense_units: Units of the embedding.
        dropout: Share of the pooled features dropped in training, 0 to below 1.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    layers = keras.layers
    block = partial(convolve, seed=seed, synchronized=synchronized)
    x = block(x, FILTERS, LENGTH, "back_1", padding="valid")
    x = layers.Add(name="back_2_sum")([x, block(x, FILTERS, LENGTH, "back_2")])
    x = layers.MaxPooling1D(2, name="back_2_pool")(x)
    x = layers.Add(name="back_3_sum")([x, block(x, FILTERS, LENGTH, "back_3")])
    x = layers.Concatenate(name="pooled")(
        [layers.GlobalMaxPooling1D(name="maximum")(x), layers.GlobalAveragePooling1D(name="mean")(x)]
    )
    x = layers.Dropout(dropout, seed=layer_seed(seed, "pooled_dropout"), name="pooled_dropout")(x)
    x = layers.Dense(n_dense_units, activation="relu", kernel_initializer=initializer(seed, "dense"), name="dense")(x)
    return BatchNormalization(synchronized=synchronized, name="embedding")(x)
