"""Self-attention network of Won, Chun and Serra 2019, "Toward interpretable music tagging" (arXiv 1906.04972)."""

import keras

from orpheus.errors import ConfigError
from orpheus.models.layers import initializer, layer_seed
from orpheus.models.networks import blocks
from orpheus.models.networks.attention import ClassToken, transformer_layer

HEADS, LAYERS = 8, 2
# multiple of n_filters, and strides: three blocks halve both axes, four more the frequency only
_BLOCKS = ((1, 2), (1, 2), (2, 2), (2, (1, 2)), (2, (1, 2)), (2, (1, 2)), (2, (1, 2)))


def self_attention(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Seven residual blocks leave a sequence, over which two transformer layers gather at a class token.

    As the PyTorch re-implementation of Won et al. 2020 (arXiv 2006.00751), whose class token is a fixed vector.

    Args:
        audio: (batch, frames, mels), decibels above the floor; as published 15 s at 16 kHz, hop 256, 128 bands.
        n_filters: Of the first blocks, 128 as published, a multiple of 4; the sequence has twice as many channels.
        n_dense_units: Units of the embedding, 256 as published.
        dropout: Share of the attention's weights dropped in training; of the layers' outputs four fifths of it, 0.5
            and 0.4 as published.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.

    Raises:
        ConfigError: `n_filters` that the heads cannot share.
    """
    if 2 * n_filters % HEADS:
        raise ConfigError(f"n_filters={n_filters}: the {HEADS} heads of self-attention need a multiple of {HEADS // 2}")
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    for number, (multiple, strides) in enumerate(_BLOCKS, 1):
        name = f"block_{number}"
        x = blocks.residual(x, multiple * n_filters, 3, name, strides=strides, seed=seed, synchronized=synchronized)
    _, time, bands, channels = x.shape
    if bands > 1:  # more than 128 mels
        x = keras.layers.MaxPooling2D((1, bands), name="bands")(x)
    x = keras.layers.Reshape((time, channels), name="features")(x)
    x = ClassToken(layer_seed(seed, "class_token"), name="class_token")(x)
    for number in range(1, LAYERS + 1):
        name, shares = f"layer_{number}", {"dropout": 0.8 * dropout, "attention_dropout": dropout}
        x = transformer_layer(x, name, heads=HEADS, normalise_first=False, seed=seed, **shares)
    x = keras.layers.Flatten(name="pooled")(keras.layers.Cropping1D((0, time), name="class_step")(x))
    kernel = initializer(seed, "embedding")
    return keras.layers.Dense(n_dense_units, activation="tanh", kernel_initializer=kernel, name="embedding")(x)
