"""Custom layers against plain NumPy in float64 and against Keras' own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.models import layers


def standardised(example: np.ndarray) -> np.ndarray:
    """Reference: a loop over positions, two exact passes in float64."""
    rows = example.reshape(len(example), -1).astype(np.float64)
    kept = [i for i, row in enumerate(rows) if any(value != 0 for value in row)]
    result = np.zeros_like(rows)
    if kept:
        values = rows[kept]
        deviation = max(values.std(), 1e-5 * abs(values.mean()))
        result[kept] = (values - values.mean()) / deviation if deviation else 0
    return result.reshape(example.shape)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [("waveform", (3, 48_000), np.int16), ("spectrogram", (3, 60, 24), np.float16), ("float", (3, 5_000), np.float32)],
)
def test_standardise_is_the_reference_loop(name, shape, dtype):
    rng = np.random.default_rng(1)
    scale, offset = {"waveform": (8_000, 120), "spectrogram": (12, 50), "float": (1e-3, 2e-4)}[name]
    stored = (rng.normal(size=shape) * scale + offset).clip(-32_000, 32_000).astype(dtype)
    stored[0, 40:] = 0  # padded at the end
    stored[1, ::7] = 0  # silence in between
    result = layers.StandardiseExample()(stored.astype("float32")).numpy()
    expected = np.stack([standardised(example) for example in stored])
    np.testing.assert_allclose(result, expected, atol=2e-5)
    assert (result[0, 40:] == 0).all() and (result[1, ::7] == 0).all()
    assert result.dtype == np.float32


def test_single_zeros_of_a_sounding_frame_count():
    frames = np.zeros((1, 4, 2), np.float32)
    frames[0, :2] = [[0, 4], [0, 4]]  # mean 2, deviation 2 over two frames; the others are padding
    np.testing.assert_allclose(layers.StandardiseExample()(frames)[0], [[-1, 1], [-1, 1], [0, 0], [0, 0]], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1000.3, -3e-7, 32_767.0])
@pytest.mark.parametrize("shape", [(2, 30_001), (2, 97, 31)])
def test_constant_examples_come_out_near_zero(value, shape):
    result = layers.StandardiseExample()(np.full(shape, value, np.float32)).numpy()
    assert np.abs(result).max() < 1e-3
    if value == 0:
        assert (result == 0).all()


def test_standardising_does_not_depend_on_the_scale():
    x = np.random.default_rng(2).normal(size=(2, 4_000)).astype("float32")
    layer = layers.StandardiseExample()
    np.testing.assert_allclose(layer(x * 2**-20), layer(x * 2**14), atol=1e-6)


def test_standardise_stays_float32_under_a_float16_policy():
    layer = layers.StandardiseExample(dtype="mixed_float16")
    result = layer(np.array([[-70_000.0, 70_000.0, 0.0]], np.float32))  # beyond float16's 65,504
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, [[-1, 1, 0]], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(9, 7), (4, 3), (10, 1)])
def test_convolution_over_slices_is_the_two_dimensional_filter(height, width):
    """Reference: one timbral filter as four nested loops in float64, zero padding in time only; 1e-5."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 12, 10)).astype("float32")
    kernel, bias = rng.normal(size=(width, height)), 0.3
    padded = np.pad(x.astype(np.float64), [(0, 0), (width // 2, width // 2), (0, 0)])
    expected = np.zeros((2, 12, 10 - height + 1))
    for batch in range(2):
        for time in range(12):
            for low in range(10 - height + 1):
                patch = padded[batch, time : time + width, low : low + height]
                expected[batch, time, low] = max((patch * kernel).sum() + bias, 0)
    conv = keras.layers.Conv2D(1, (width, 1), padding="same", activation="relu")
    slices = layers.FrequencySlices(height)(x)
    assert slices.shape == (2, 12, 10 - height + 1, height)
    conv.build(slices.shape)
    conv.set_weights([kernel[:, None, :, None], np.array([bias])])
    np.testing.assert_allclose(conv(slices)[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 9, 6), (3, 5, 4, 6)])
def test_channel_normalisation_is_keras_batch_normalisation(shape):
    """Outputs, gradients and moving statistics of a training call, then an inference call; 1e-5."""
    x = tf.constant(np.random.default_rng(4).normal(3, 5, size=shape).astype("float32"))
    upstream = tf.constant(np.random.default_rng(5).normal(size=shape).astype("float32"))
    weights = [np.array([1, -2, 0.5, 3, 1, -1.0]), np.arange(6.0), np.full(6, 0.2), np.full(6, 1.5)]
    results = []
    for layer in (layers.ChannelNormalization(), keras.layers.BatchNormalization()):
        layer.build(shape)
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) * upstream)
        gradients = tape.gradient(loss, [x, *layer.trainable_variables])
        results.append([layer(x, training=True), *gradients, *layer.get_weights(), layer(x, training=False)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_frozen_channel_normalisation_keeps_its_statistics():
    layer = layers.ChannelNormalization()
    layer.build((2, 5, 3))
    layer.trainable = False
    layer(np.random.default_rng(6).normal(5, 2, size=(2, 5, 3)), training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


def test_layer_seeds_differ_by_name_and_seed():
    assert len({layers.layer_seed(seed, name) for seed in range(3) for name in ("a", "b")}) == 6
    assert layers.layer_seed(0, "tags") == 3_100_726_753  # no salt: the same in every process


@pytest.mark.parametrize(
    "layer",
    [
        layers.StandardiseExample(epsilon=1e-4, name="s"),
        layers.FrequencySlices(5, name="f"),
        layers.ChannelNormalization(momentum=0.9, synchronized=True, name="c"),
    ],
)
def test_layers_are_registered_and_keep_their_config(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer) and again.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(type(layer)).startswith("orpheus>")
