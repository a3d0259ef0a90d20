"""Harmonic CNN of Won, Chun, Nieto and Serra 2020, "Data-driven harmonic filters" (ICASSP 2020)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from orpheus.models import audio_in_graph
from orpheus.models.networks import blocks

HARMONICS, BANDS = 6, 128  # half semitones from C1 to E6, the highest note whose sixth harmonic is below 8 kHz


@keras.saving.register_keras_serializable("orpheus")
class HarmonicFilters(keras.layers.Layer):
    """Decibels in triangles around 128 pitches and their harmonics, all as wide as one learned number says.

    Band `b` of harmonic `h` is centred at f = h · 440 · 2^((24 + b / 2 − 69) / 12) Hz and (0.1079 f + 24.7) / Q Hz wide,
    the width of a critical band (Glasberg and Moore 1990) where the learned Q is 1. Always in float32. The Fourier
    transform is a convolution, which every export format has; the convolutions that follow cost a hundred times as much.

    Args:
        sample_rate: Hz. At another rate all pitches move alike.
        n_fft: Length of the Hann window and of the transform, samples.
        hop_length: Samples from frame to frame.

    Input: (batch, samples), amplitudes in [-1, 1). Output: (batch, samples // hop_length + 1, 128, 6), decibels of at
    least -100.
    """

    def __init__(self, sample_rate: int = 16000, n_fft: int = 512, hop_length: int = 256, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length

    def build(self, input_shape):
        self.quality = self.add_weight(shape=(), initializer="ones", name="quality")

    def filters(self):
        """(n_fft // 2 + 1, 6 · 128), the harmonics one after the other."""
        pitches = 440.0 * 2.0 ** ((24 + np.arange(BANDS) / 2 - 69) / 12)
        centres = np.outer(np.arange(1, HARMONICS + 1), pitches).ravel()
        bins = np.linspace(0, self.sample_rate / 2, self.n_fft // 2 + 1)[:, None]
        # One minus the distance over half the width.
        slope = (2 * np.abs(bins - centres) / (0.1079 * centres + 24.7)).astype(np.float32)
        return ops.maximum(0.0, 1.0 - ops.multiply(slope, self.quality))

    def call(self, inputs):
        power = audio_in_graph.power_spectrogram(inputs, n_fft=self.n_fft, hop_length=self.hop_length, convolution=True)
        bands = ops.maximum(ops.matmul(power, self.filters()), 1e-10)
        decibels = ops.log(bands) * np.float32(10 / np.log(10))
        batch, frames, _ = ops.shape(decibels)
        return ops.transpose(ops.reshape(decibels, (batch, frames, HARMONICS, BANDS)), (0, 1, 3, 2))

    def compute_output_shape(self, input_shape):
        batch, samples = input_shape
        return (batch, samples // self.hop_length + 1, BANDS, HARMONICS)

    def get_config(self):
        own = {"sample_rate": self.sample_rate, "n_fft": self.n_fft, "hop_length": self.hop_length}
        return {**super().get_config(), **own}


def harmonic(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Harmonic filters with a learned width, seven convolutional blocks, the maximum over time, and a dense layer.

    The settings are those of the re-implementation of Won et al. 2020 (arXiv 2006.00751), by the same author.

    Args:
        audio: (batch, samples), int16 amplitudes; as published 80,000 samples at 16 kHz, 5 s.
        n_filters: Of the first blocks, 128 as published; the last three have twice as many.
        n_dense_units: Units of the embedding, 256 as published.
        dropout: Not used: this network drops only before the last layer.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of the layer called ``embedding``.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    x = HarmonicFilters(name="harmonics")(blocks.amplitude(audio))  # (batch, frames, 128, 6)
    x = blocks.normalised(x, synchronized=synchronized)
    x = blocks.block(x, n_filters, 3, "conv_1", pooling=2, **options)
    for number in (2, 3, 4):
        x = blocks.residual(x, n_filters, 3, f"block_{number}", pooling=2, **options)
    x = blocks.block(x, 2 * n_filters, 3, "conv_5", pooling=2, **options)
    for number in (6, 7):
        x = blocks.residual(x, 2 * n_filters, 3, f"block_{number}", pooling=(3, 2), **options)
    x = keras.layers.GlobalMaxPooling2D(name="pooled")(x)
    return blocks.dense_embedding(x, n_dense_units, **options)
