"""Sample-level networks: Lee et al. 2017 (arXiv 1703.01789), with residuals and excitation Kim et al. 2018 (1710.10451)."""

from typing import Any

import keras

from orpheus.models.networks import blocks

# multiples of n_filters after the first layer; each layer is pooled by 3, so that 3^10 = 59,049 samples become one step
_MULTIPLES = (1, 1, 2, 2, 2, 2, 2, 2, 4)


def sample_level(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Eleven convolutions: one of length and stride 3, nine of length 3 with pooling by 3, one of length 1.

    Args:
        audio: (batch, samples), int16 amplitudes; as published 59,049 samples at 16 kHz, 3.7 s. Of a longer window the
            mean over steps is taken.
        n_filters: Of the first convolutions, 128 as published; the widest has four times as many.
        n_dense_units: Filters of the last convolution, 512 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    x = blocks.block(blocks.channel(blocks.amplitude(audio)), n_filters, 3, "conv_1", strides=3, **options)
    for number, multiple in enumerate(_MULTIPLES, 2):
        x = blocks.block(x, multiple * n_filters, 3, f"conv_{number}", pooling=3, **options)
    x = blocks.block(x, n_dense_units, 1, "conv_11", **options)
    return keras.layers.GlobalAveragePooling1D(name="embedding")(x)


def sample_level_se(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """The same layers as residual blocks with squeeze and excitation, then a dense layer.

    Args:
        audio: (batch, samples), int16 amplitudes; as published 59,049 samples at 16 kHz, 3.7 s. Of a longer window the
            mean over steps is taken.
        n_filters: Of the first blocks, 128 as published; the widest has four times as many.
        n_dense_units: Units of the dense layer, 512 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    x = blocks.channel(blocks.amplitude(audio))
    x = blocks.residual(x, n_filters, 3, "block_1", strides=3, excitation=True, **options)
    for number, multiple in enumerate(_MULTIPLES, 2):
        x = blocks.residual(x, multiple * n_filters, 3, f"block_{number}", pooling=3, excitation=True, **options)
    x = blocks.residual(x, _MULTIPLES[-1] * n_filters, 1, "block_11", excitation=True, **options)
    x = keras.layers.GlobalAveragePooling1D(name="pooled")(x)
    return blocks.dense_embedding(x, n_dense_units, **options)
