"""Samples to what is stored: a waveform, or decibels of a mel spectrogram above the floor."""

import functools
from collections.abc import Iterator

import numpy as np

from orpheus.data.audio.spec import DECIBEL_FLOOR, WAVEFORM, AudioSpec
from orpheus.errors import ConfigError

# Slaney's scale: 15 mel to 1000 Hz, linear up to there and logarithmic above, 27 mel to each factor of 6.4.
_BEND, _BEND_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27
_FRAMES = 16  # transformed at once: arrays so small stay in the cache, and the allocator keeps their pages
_GROUP = 16  # mel bands in one matrix product: most of the whole filter matrix is zeros


def convert(samples: np.ndarray, spec: AudioSpec) -> np.ndarray:
    """Audio in memory as it is stored in a record.

    Args:
        samples: (samples,) float32, mono, -1 to 1, at the spec's sample rate.
        spec: What to make of it.

    Returns:
        (samples,) or (frames, n_mels) in the spec's dtype.
    """
    return np.concatenate(list(stored_blocks(iter([np.asarray(samples, np.float32)]), spec)))


def mono(block: np.ndarray) -> np.ndarray:
    """(samples,) mean of the channels of (samples, channels).

    The same numbers as ``block.mean(axis=1)``, which takes thirty times as long for two channels.
    """
    channels = block.shape[1]
    if channels == 1:
        return block[:, 0]
    total = block[:, 0] + block[:, 1]
    for channel in range(2, channels):
        total += block[:, channel]
    total /= channels
    return total


def stored_blocks(blocks: Iterator[np.ndarray], spec: AudioSpec) -> Iterator[np.ndarray]:
    """Mono blocks at the spec's sample rate to stored frames."""
    if spec.format == WAVEFORM:
        yield from (_store_waveform(block, spec) for block in blocks)
    else:
        decibels: Iterator[np.ndarray] = (_decibels(power) for power in _mel_power(blocks, spec))
        if spec.top_db is not None:
            decibels = _clipped(decibels, spec.top_db)
        yield from (block.astype(spec.dtype) for block in decibels)


@functools.lru_cache(maxsize=4)
def mel_filterbank(spec: AudioSpec) -> np.ndarray:
    """Mel filters for a spec, (n_fft // 2 + 1, n_mels) float32: triangles of equal area on Slaney's scale.

    librosa's `filters.mel` with its defaults to 1e-7 of the highest; loading librosa takes as long as decoding ten songs.

    Raises:
        ConfigError: a band would be empty, because there are too many for this sample rate and window.

    References:
        Slaney, "Auditory Toolbox", 1998.
    """
    highest = _BEND_MEL + np.log(spec.sample_rate / 2 / _BEND) / _LOG_STEP
    if spec.sample_rate / 2 < _BEND:
        highest = spec.sample_rate / 2 / _BEND * _BEND_MEL
    mel = np.linspace(0, highest, spec.n_mels + 2)
    edges = np.where(mel < _BEND_MEL, mel / _BEND_MEL * _BEND, _BEND * np.exp(_LOG_STEP * (mel - _BEND_MEL)))
    frequencies = np.arange(spec.n_fft // 2 + 1)[:, None] * (spec.sample_rate / spec.n_fft)
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    filters = np.maximum(np.minimum(rising, falling), 0)
    if spec.mel_norm == "slaney":  # every filter has the same area
        filters *= 2 / (edges[2:] - edges[:-2])
    if not (filters.max(axis=0) > 0).all():
        raise ConfigError(
            f"n_mels={spec.n_mels}: some bands hold no frequency at sample_rate={spec.sample_rate} and "
            f"n_fft={spec.n_fft}; take fewer bands or a larger n_fft"
        )
    return filters.astype(np.float32)


@functools.lru_cache(maxsize=4)
def _filter_groups(spec: AudioSpec) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """The filters in groups of neighbouring bands: (bands, the frequencies that any of them passes, their filters)."""
    filters = mel_filterbank(spec)
    groups = []
    for first in range(0, spec.n_mels, _GROUP):
        bands = slice(first, first + _GROUP)
        passed = np.flatnonzero(filters[:, bands].any(axis=1))
        frequencies = slice(int(passed[0]), int(passed[-1]) + 1)
        groups.append((bands, frequencies, np.ascontiguousarray(filters[frequencies, bands])))
    return tuple(groups)


def _mel_power(blocks: Iterator[np.ndarray], spec: AudioSpec) -> Iterator[np.ndarray]:
    """Yield mel power, (frames, n_mels) float32, of centred frames: librosa.feature.melspectrogram, streamed."""
    import scipy.fft
    import scipy.signal

    window = scipy.signal.get_window("hann", spec.n_fft).astype(np.float32)
    groups = _filter_groups(spec)
    padding = np.zeros(spec.n_fft // 2, np.float32)
    buffer = padding

    def transform(signal: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(signal, spec.n_fft)[:: spec.hop_length]
        mel = np.empty((len(frames), spec.n_mels), np.float32)
        for start in range(0, len(frames), _FRAMES):
            part = slice(start, start + _FRAMES)
            spectrum = scipy.fft.rfft(frames[part] * window, axis=1)
            squares = spectrum.view(np.float32)  # real and imaginary parts in turn
            np.multiply(squares, squares, out=squares)
            power = squares[:, ::2] + squares[:, 1::2]
            for bands, frequencies, filters in groups:
                mel[part, bands] = power[:, frequencies] @ filters
        return mel

    for block in blocks:
        buffer = np.concatenate([buffer, block])
        frames = (len(buffer) - spec.n_fft) // spec.hop_length + 1
        if frames > 0:
            yield transform(buffer[: (frames - 1) * spec.hop_length + spec.n_fft])
            buffer = buffer[frames * spec.hop_length :]
    buffer = np.concatenate([buffer, padding])
    if len(buffer) >= spec.n_fft:
        yield transform(buffer)


def _store_waveform(samples: np.ndarray, spec: AudioSpec) -> np.ndarray:
    """Amplitudes in [-1, 1] to the stored type."""
    if spec.dtype == "int16":
        return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return samples.astype(spec.dtype)


def _decibels(power: np.ndarray) -> np.ndarray:
    """Power to decibels above the floor of −100 dB."""
    decibels = 10.0 * np.log10(np.maximum(power, 10 ** (DECIBEL_FLOOR / 10))) - DECIBEL_FLOOR
    return np.maximum(decibels, 0.0)


def _clipped(blocks: Iterator[np.ndarray], top_db: float) -> Iterator[np.ndarray]:
    """Blocks of a clip, none of whose values lies more than `top_db` below the clip's largest."""
    held = list(blocks)
    lowest = max((block.max() for block in held), default=0.0) - top_db
    yield from (np.maximum(block, lowest) for block in held)
