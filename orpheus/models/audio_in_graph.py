"""Samples to what records store, inside a graph: the counterpart of `data.audio.reading` for models that leave Python."""

import numpy as np
import tensorflow as tf


def amplitudes(audio, *, dtype: str = "int16"):
    """Samples in [-1, 1] to stored amplitudes.

    Args:
        audio: (batch, samples) float32.
        dtype: Of the records: ``"int16"`` rounds and clips, ``"float32"`` changes nothing.

    Returns:
        (batch, samples) float32.
    """
    return tf.clip_by_value(tf.round(audio * 32768.0), -32768.0, 32767.0) if dtype == "int16" else audio


def decibels(
    audio,
    filters: np.ndarray,
    *,
    n_fft: int,
    hop_length: int,
    floor: float,
    dtype: str = "float16",
    top_db: float | None = None,
    convolution: bool = False,
):
    """Samples in [-1, 1] to a log-mel spectrogram in decibels above the floor, of centred frames.

    Args:
        audio: (batch, samples) float32.
        filters: (n_fft // 2 + 1, n_mels) float32, as `data.audio.spectrogram.mel_filterbank` gives them.
        n_fft: Length of the Hann window and of the transform, even.
        hop_length: Samples from frame to frame.
        floor: Decibels that become zero, for example −100.
        dtype: Of the records: ``"float16"`` rounds to its steps.
        top_db: Clips so far below the largest value of each example; None: not at all.
        convolution: The Fourier transform as a convolution with sines, ten times as slow, for formats that have no
            transform (ONNX), or none of this length (TFLite: powers of two only).

    Returns:
        (batch, samples // hop_length + 1, n_mels) float32.
    """
    power = power_spectrogram(audio, n_fft=n_fft, hop_length=hop_length, convolution=convolution)
    mel = tf.maximum(tf.matmul(power, filters), 10 ** (floor / 10))
    result = tf.maximum(tf.math.log(mel) * np.float32(10 / np.log(10)) - floor, 0.0)
    if top_db is not None:
        result = tf.maximum(result, tf.reduce_max(result, axis=[1, 2], keepdims=True) - top_db)
    if dtype == "float16":
        # Veltkamp's splitting, which leaves float16's 11 bits: ONNX Runtime would remove a cast there and back.
        scaled = result * 8193.0
        result = scaled - (scaled - result)
    return result


def power_spectrogram(audio, *, n_fft: int, hop_length: int, convolution: bool):
    """Squared magnitudes of centred frames under a Hann window, zeros beyond both ends; arguments as in `decibels`.

    Returns:
        (batch, samples // hop_length + 1, n_fft // 2 + 1).
    """
    audio = tf.pad(audio, [[0, 0], [n_fft // 2, n_fft // 2]])
    if convolution:
        parts = tf.nn.conv1d(audio[..., None], _sines(n_fft), hop_length, "VALID")
        return tf.add_n([tf.square(part) for part in tf.split(parts, 2, axis=-1)])
    spectrum = tf.signal.stft(audio, n_fft, hop_length, n_fft)
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def _sines(n_fft: int) -> np.ndarray:
    """(n_fft, 1, 2 (n_fft // 2 + 1)) float32: cosines and sines of every frequency under a Hann window."""
    phase = np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) % n_fft * (2 * np.pi / n_fft)
    window = np.hanning(n_fft + 1)[:-1, None]
    return np.concatenate([np.cos(phase) * window, np.sin(phase) * window], axis=1).astype(np.float32)[:, None]
