"""Convolutional recurrent network of Choi, Fazekas, Sandler and Cho 2017 (arXiv 1609.04243)."""

import keras

from orpheus.models.layers import initializer, layer_seed
from orpheus.models.networks import blocks

_BLOCKS = ((1, 2), (2, 3), (2, 4), (2, 4))  # multiple of n_filters, and what is pooled of both axes


def crnn(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Four convolutions of 3 × 3, of which 96 bands leave one, then two GRUs over time.

    ReLU as in the PyTorch re-implementation of Won et al. 2020 (arXiv 2006.00751); the paper has exponential units.

    Args:
        audio: (batch, frames, mels), decibels above the floor; as published 29 s at 16 kHz, hop 256, 96 bands.
        n_filters: Of the first convolution, 64 as published; the others have twice as many.
        n_dense_units: Units of each GRU, 32 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the second GRU's last state, the output of the layer called ``embedding``.
    """
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    for number, (multiple, pooling) in enumerate(_BLOCKS, 1):
        name = f"conv_{number}"
        x = blocks.block(x, multiple * n_filters, 3, name, pooling=pooling, seed=seed, synchronized=synchronized)
    _, time, bands, channels = x.shape
    x = keras.layers.Reshape((time, bands * channels), name="features")(x)
    x = _recurrent(x, n_dense_units, "gru_1", seed=seed, return_sequences=True)
    return _recurrent(x, n_dense_units, "embedding", seed=seed)


def _recurrent(x, units: int, name: str, *, seed: int, return_sequences: bool = False):
    """A GRU, unrolled: 29 s are 18 steps, and no format that models are exported to needs a loop then."""
    return keras.layers.GRU(
        units,
        return_sequences=return_sequences,
        unroll=True,
        kernel_initializer=initializer(seed, name),
        recurrent_initializer=keras.initializers.Orthogonal(seed=layer_seed(seed, f"{name}_recurrent")),
        name=name,
    )(x)
