"""Stored audio computed in the graph against what preprocessing stores, and against librosa."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from orpheus.data.audio import spectrogram
from orpheus.data.audio.spec import DECIBEL_FLOOR, AudioSpec
from orpheus.models import audio_in_graph

RATE = 8000


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """2 s: a chord that decays over noise, then half a second of digital silence."""
    time = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(0).normal(size=len(time))
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in (110.0, 554.37, 1975.5, 3300.0))
    result = (0.2 * chord * np.exp(-2 * time) + 0.003 * noise).astype(np.float32)
    result[-RATE // 2 :] = 0
    return result


def in_graph(clip, spec: AudioSpec, **options) -> np.ndarray:
    function = tf.function(
        lambda samples: audio_in_graph.decibels(
            samples,
            spectrogram.mel_filterbank(spec),
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            floor=DECIBEL_FLOOR,
            dtype=spec.dtype,
            **options,
        )
    )
    return function(clip[None])[0].numpy()


@pytest.mark.parametrize("convolution", [False, True])
@pytest.mark.parametrize(("n_fft", "hop"), [(512, 128), (400, 160)])
def test_decibels_are_what_preprocessing_stores(clip, n_fft, hop, convolution):
    spec = AudioSpec("log-mel-spectrogram", RATE, n_fft, hop, 32)
    expected = spectrogram.convert(clip, spec).astype(np.float32)
    found = in_graph(clip, spec, convolution=convolution)
    assert found.shape == expected.shape
    # Single precision may fall on the other side of a float16 step, which is 1/16 dB between 64 and 128.
    assert np.abs(found - expected).max() <= 0.0625
    assert np.mean(found != expected) < 0.01
    assert (found[-10:] == 0).all(), "silence is zero"


def test_decibels_clipped_below_each_clips_largest(clip):
    spec = AudioSpec("log-mel-spectrogram", RATE, 512, 128, 32, dtype="float32", top_db=40.0)
    expected = spectrogram.convert(clip, spec)
    np.testing.assert_allclose(in_graph(clip, spec, top_db=spec.top_db), expected, atol=2e-3)
    assert np.abs(in_graph(clip, spec) - expected).max() > 20  # dB


def test_decibels_are_librosas(clip):
    spec = AudioSpec("log-mel-spectrogram", RATE, 512, 128, 32, dtype="float32")
    power = librosa.feature.melspectrogram(
        y=clip.astype(np.float64), sr=RATE, n_fft=512, hop_length=128, n_mels=32, pad_mode="constant"
    )
    expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).T + 100
    for convolution in (False, True):
        assert np.abs(in_graph(clip, spec, convolution=convolution) - expected).max() < 2e-3  # dB


def test_amplitudes_round_and_clip_as_preprocessing_does():
    samples = np.array([0, 1 / 32768, 0.5 / 32768, 1.5 / 32768, -1.0, 1.0, 1.7, -1.7, 0.123456], np.float32)
    for dtype in ("int16", "float32"):
        spec = AudioSpec("waveform", RATE, dtype=dtype)
        found = audio_in_graph.amplitudes(tf.constant(samples[None]), dtype=dtype)[0].numpy()
        np.testing.assert_array_equal(found, spectrogram.convert(samples, spec).astype(np.float32))
