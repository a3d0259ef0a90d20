"""Short-chunk CNN and its residual form, of Won, Ferraro, Bogdanov and Serra 2020 (arXiv 2006.00751)."""

from typing import Any

import keras

from orpheus.models.networks import blocks

_MULTIPLES = (1, 1, 2, 2, 2, 2, 4)  # of n_filters: 128 to 512 as published


def short_chunk(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Seven convolutions of 3 × 3, each pooled by 2 × 2, the maximum over time, and a dense layer.

    Args:
        audio: (batch, frames, mels), decibels above the floor; as published 3.7 s at 16 kHz, hop 256, 128 bands.
        n_filters: Of the first convolution, 128 as published; the last has four times as many.
        n_dense_units: Units of the embedding, 512 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    x = trunk(x, n_filters=n_filters, **options)
    x = keras.layers.GlobalMaxPooling2D(name="pooled")(x)
    return blocks.dense_embedding(x, n_dense_units, **options)


def trunk(x, *, n_filters: int, seed: int, synchronized: bool, use_bias: bool = False):
    """The seven convolutions, which retrieval's song tower shares; (batch, frames, mels, 1) → (batch, …, 4 n_filters).

    By default without the published biases: batch normalisation takes them away. An axis of which one position is left
    is pooled no further.
    """
    for number, multiple in enumerate(_MULTIPLES, 1):
        x = blocks.block(
            x,
            multiple * n_filters,
            3,
            f"conv_{number}",
            pooling=2,
            use_bias=use_bias,
            seed=seed,
            synchronized=synchronized,
        )
    return x


def short_chunk_residual(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Seven residual blocks of stride 2, the maximum over time, and a dense layer.

    Args:
        audio: (batch, frames, mels), decibels above the floor; as published 3.7 s at 16 kHz, hop 256, 128 bands.
        n_filters: Of the first block, 128 as published; the last has four times as many.
        n_dense_units: Units of the embedding, 512 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    for number, multiple in enumerate(_MULTIPLES, 1):
        x = blocks.residual(x, multiple * n_filters, 3, f"block_{number}", strides=2, **options)
    x = keras.layers.GlobalMaxPooling2D(name="pooled")(x)
    return blocks.dense_embedding(x, n_dense_units, **options)
