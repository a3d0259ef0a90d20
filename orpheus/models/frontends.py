"""Frontends of Pons et al. 2018 (arXiv 1711.02520): standardised audio → (batch, time, channels)."""

from functools import partial

import keras

from orpheus.errors import ConfigError
from orpheus.models.layers import FrequencySlices, convolve

WAVEFORM_FILTERS = (64, 64, 64, 128, 128, 128, 256)
TIMBRAL_HEIGHTS = (0.9, 0.4)  # shares of the mel bands
TIMBRAL_WIDTHS = ((7, 1), (3, 2), (1, 4))  # frames, multiple of n_filters
TEMPORAL_LENGTHS = ((165, 1), (128, 2), (64, 4), (32, 8))  # frames, multiple of n_filters
MINIMUM_MELS = 3  # the lower filters are int(0.4 · mels) high


def waveform(audio, *, n_filters: int, seed: int, synchronized: bool):
    """Seven convolutions of length 3: the first has stride 3, each later one is followed by max-pooling by 3.

    Args:
        audio: (batch, samples). One output step stands for about 3^7 = 2,187 samples.
        n_filters: Not used: the widths of this frontend are fixed at 64 to 256.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, steps, 256), as many steps as `waveform_samples` has samples for.
    """
    x = keras.layers.Reshape((audio.shape[1], 1), name="channel")(audio)
    for number, filters in enumerate(WAVEFORM_FILTERS, 1):
        strides = 3 if number == 1 else 1
        x = convolve(
            x, filters, 3, f"wave_{number}", strides=strides, padding="valid", seed=seed, synchronized=synchronized
        )
        if number > 1:
            x = keras.layers.MaxPooling1D(3, name=f"wave_{number}_pool")(x)
    return x


def waveform_samples(steps: int) -> int:
    """The shortest window, in samples, for which `waveform` returns so many time steps."""
    for _ in WAVEFORM_FILTERS[1:]:
        steps = 3 * steps + 2
    return 3 * steps


def log_mel(audio, *, n_filters: int, seed: int, synchronized: bool):
    """Timbral filters that move over frequency, beside temporal filters on the mean over frequency.

    Timbral: int(0.9 M) and int(0.4 M) bands high and 7, 3, 1 frames wide with n, 2n, 4n filters each, then the maximum
    over what is left of frequency. Temporal: 165, 128, 64, 32 frames long with n, 2n, 4n, 8n filters.

    Args:
        audio: (batch, frames, mels), at least 3 mels.
        n_filters: n, default of the paper 16.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, frames, 29 n).

    Raises:
        ConfigError: fewer than 3 mels.
    """
    _, frames, mels = audio.shape
    if mels < MINIMUM_MELS:
        raise ConfigError(
            f"n_mels={mels}: the log-mel model needs at least {MINIMUM_MELS}; re-run preprocessing with more"
        )
    block = partial(convolve, seed=seed, synchronized=synchronized)
    features = []
    for share in TIMBRAL_HEIGHTS:
        height = int(share * mels)
        slices = FrequencySlices(height, name=f"slices_{height}")(audio)  # (batch, frames, mels - height + 1, height)
        for width, multiple in TIMBRAL_WIDTHS:
            name = f"timbral_{height}x{width}"
            x = block(slices, multiple * n_filters, width, name)
            x = keras.layers.MaxPooling2D((1, slices.shape[2]), name=f"{name}_pool")(x)
            features.append(keras.layers.Reshape((frames, multiple * n_filters), name=f"{name}_flat")(x))
    # channels_first makes frequency the axis that is averaged: (batch, frames, 1)
    mean = keras.layers.GlobalAveragePooling1D(data_format="channels_first", keepdims=True, name="mean_frequency")(
        audio
    )
    for length, multiple in TEMPORAL_LENGTHS:
        features.append(block(mean, multiple * n_filters, length, f"temporal_{length}"))
    return keras.layers.Concatenate(name="features")(features)
