"""Fully convolutional network of Choi, Fazekas and Sandler 2016 (arXiv 1606.00298)."""

from typing import Any

import keras

from orpheus.models.networks import blocks

# multiple of n_filters, and what is pooled: (frames, bands)
_BLOCKS = ((1, (4, 2)), (2, (4, 2)), (2, (4, 2)), (2, (5, 3)))
_LAST_POOLING = (4, 4)


def fcn(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Five convolutions of 3 × 3 with pooling so strong that 29 s × 96 bands become one position.

    Args:
        audio: (batch, frames, mels), decibels above the floor; as published 29 s at 16 kHz, hop 256, 96 bands. Of a
            shorter window, the last positions are pooled whole; of a longer one, the maximum over positions is taken.
        n_filters: Of the first convolution, 64 as published; the next three have twice as many.
        n_dense_units: Filters of the last convolution, 64 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    for number, (multiple, pooling) in enumerate(_BLOCKS, 1):
        x = blocks.block(x, multiple * n_filters, 3, f"conv_{number}", pooling=pooling, **options)
    x = blocks.block(x, n_dense_units, 3, "conv_5", pooling=_LAST_POOLING, **options)
    return keras.layers.GlobalMaxPooling2D(name="embedding")(x)
