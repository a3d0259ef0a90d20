"""A small transformer on patches of a spectrogram, after the Audio Spectrogram Transformer (Gong et al. 2021, 2104.01778)."""

import keras

from orpheus.errors import ConfigError
from orpheus.models.layers import initializer, layer_seed
from orpheus.models.networks import blocks
from orpheus.models.networks.attention import EPSILON, PatchPositions, transformer_layer

PATCH = 16  # frames and mel bands
HEAD_UNITS, LAYERS = 64, 6


def spectrogram_transformer(
    audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool
):
    """Patches of 16 frames × 16 bands, six transformer layers, and their mean.

    Half as deep as the paper's tiny form and without overlap, so that it trains from nothing on one GPU. The mean of
    all patches takes the class token's place (Zhai et al. 2022, arXiv 2106.04560).

    Args:
        audio: (batch, frames, mels), decibels above the floor, at least 16 of both; what is left of a multiple is cut.
        n_filters: Units of a patch, 192 in the paper's tiny form; a multiple of 64, or an even number below.
        n_dense_units: Units of the embedding.
        dropout: Share of each layer's two outputs dropped in training: a fifth of it.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.

    Raises:
        ConfigError: `n_filters` that the heads cannot share.
    """
    if n_filters % 2 or (n_filters > HEAD_UNITS and n_filters % HEAD_UNITS):
        raise ConfigError(f"n_filters={n_filters}: a patch has an even number of units, above 64 a multiple of 64")
    layers = keras.layers
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    kernel = initializer(seed, "patches")
    x = layers.Conv2D(n_filters, PATCH, strides=PATCH, kernel_initializer=kernel, name="patches")(x)
    x = PatchPositions(layer_seed(seed, "positions"), name="positions")(x)  # (batch, patches, units)
    heads = max(1, n_filters // HEAD_UNITS)
    for number in range(1, LAYERS + 1):
        name = f"layer_{number}"
        x = transformer_layer(x, name, heads=heads, normalise_first=True, dropout=0.2 * dropout, seed=seed)
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="pooled")(x)
    kernel = initializer(seed, "embedding")
    return layers.Dense(n_dense_units, activation="gelu", kernel_initializer=kernel, name="embedding")(x)
