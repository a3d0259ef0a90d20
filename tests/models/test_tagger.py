"""The tagger around its network, and what only the two networks of Pons et al. 2018 have (all: test_networks)."""

import keras
import numpy as np
import pytest

from benchmarks import training_step
from orpheus import models
from orpheus.errors import ConfigError
from orpheus.models import frontends

SMALL = {"waveform": (20_000,), "log-mel-spectrogram": (40, 20)}


def small(frontend: str, **options) -> keras.Model:
    return models.build(frontend, SMALL[frontend], 7, **{"n_filters": 4, "n_dense_units": 24, **options})


def stored(frontend: str, batch: int = 4) -> np.ndarray:
    """A batch as the pipeline stores it, padded at the end."""
    rng = np.random.default_rng(0)
    shape = (batch, *SMALL[frontend])
    if frontend == "waveform":
        audio = (rng.normal(size=shape) * 9_000).clip(-32_768, 32_767).astype(np.int16)
    else:
        audio = rng.uniform(5, 100, size=shape).astype(np.float16)
    audio[0, -7:] = 0
    return audio


@pytest.mark.parametrize(
    ("frontend", "shape", "parameters"),
    [
        ("log-mel-spectrogram", (469, 96), 5_931_198),
        ("log-mel-spectrogram", (100, 128), 5_942_622),
        ("waveform", (240_000,), 5_384_862),
    ],
)
def test_parameter_counts(frontend, shape, parameters):
    model = models.build(frontend, shape, 50)
    assert model.count_params() == parameters
    assert model.input_shape == (None, *shape) and model.output_shape == (None, 50)
    channels = {"waveform": 256, "log-mel-spectrogram": 464}[frontend]
    assert model.get_layer("back_1").kernel.shape == (7, channels, 512)
    assert model.get_layer("embedding").output.shape == (None, 500)


def test_integers_reach_the_model_whole_under_float16():
    """int16 samples must not pass through float16: 32,767 and 32,750 would become one value."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small("waveform")
    finally:
        keras.config.set_dtype_policy("float32")
    audio = np.full((1, 20_000), 32_767, np.int16)
    audio[0, ::2] = 32_765
    seen = keras.Model(model.input, model.get_layer("standardise").output)(audio).numpy()
    np.testing.assert_allclose(np.unique(seen), [-1, 1], atol=1e-3)


@pytest.mark.parametrize("mels", [3, 16, 97])
def test_any_number_of_mels(mels):
    model = models.build("log-mel-spectrogram", (8, mels), 3, n_filters=2, n_dense_units=5)
    assert model.get_layer("features").output.shape == (None, 8, 58)
    heights = {int(0.9 * mels), int(0.4 * mels)}
    assert {layer.height for layer in model.layers if hasattr(layer, "height")} == heights
    assert np.isfinite(model(np.ones((2, 8, mels), np.float16))).all()


@pytest.mark.parametrize(("frontend", "minimum"), [("waveform", 19_680), ("log-mel-spectrogram", 8)])
def test_shortest_window(frontend, minimum):
    assert models.minimum_window(frontend) == minimum
    rest = SMALL[frontend][1:]
    model = models.build(frontend, (minimum, *rest), 3, n_filters=2, n_dense_units=5)
    assert model.get_layer("back_1").output.shape[1] == 2
    with pytest.raises(ConfigError, match=rf"window_length.* {minimum - 1} .*at least {minimum} "):
        models.build(frontend, (minimum - 1, *rest), 3)


@pytest.mark.parametrize("samples", [19_680, 48_000, 65_536, 240_000])
def test_waveform_samples_is_the_shortest_window_of_so_many_steps(samples):
    model = models.build("waveform", (samples,), 2, n_dense_units=2)
    steps = model.get_layer("wave_7_pool").output.shape[1]
    assert frontends.waveform_samples(steps) <= samples < frontends.waveform_samples(steps + 1)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("mel", (40, 20), 3), {}, "frontend='mel'.*waveform, log-mel-spectrogram"),
        (("waveform", (40, 20, 1), 3), {}, r"input_shape=\(40, 20, 1\).*\(samples,\)"),
        (("waveform", (40, 20), 3), {}, "frontend=waveform: .* choose one of log-mel-spectrogram, "),
        (("log-mel-spectrogram", (20_000,), 3), {}, "frontend=log-mel-spectrogram: .* choose one of waveform, "),
        (("log-mel-spectrogram", (40, 2), 3), {}, "n_mels=2.*at least 3"),
        (("waveform", (20_000,), 0), {}, "n_classes=0"),
        (("waveform", (20_000,), 3), {"n_filters": 0}, "n_filters=0"),
        (("waveform", (20_000,), 3), {"n_dense_units": 1.5}, "n_dense_units=1.5"),
        (("waveform", (20_000,), 3), {"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_wrong_arguments(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        models.build(*arguments, **options)


@pytest.mark.parametrize(("frontend", "parameters"), [("log-mel-spectrogram", 5_927_110), ("waveform", 5_380_774)])
def test_the_benchmarks_reference_network_has_the_references_size(frontend, parameters):
    """4,088 fewer than ours: two of its normalisations share one scale over 512 channels."""
    assert training_step.reference_model(frontend).count_params() == parameters


@pytest.mark.slow
@pytest.mark.parametrize("frontend", ["log-mel-spectrogram", "waveform"])
def test_same_weights_same_outputs_as_the_references_network(frontend):
    """Every weight of the network as the reference states it has its place in ours, and the outputs are equal."""
    theirs = training_step.reference_model(frontend)
    shape, rng = theirs.input_shape[1:], np.random.default_rng(0)
    for weight in theirs.weights:
        scale = np.sqrt(2 / max(np.prod(weight.shape[:-1]), 1)) if weight.ndim > 1 else 0.1
        draw = scale * rng.normal(size=weight.shape) + (
            weight.ndim == 1 and weight.path.endswith(("gamma", "variance"))
        )
        weight.assign(draw.astype(np.float32))
    ours = models.build(frontend, shape, theirs.output_shape[1], n_filters=16, n_dense_units=500)
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense, keras.layers.BatchNormalization)
    named = [layer for layer in theirs.layers if isinstance(layer, kinds)]
    mine = [layer for layer in ours.layers if isinstance(layer, kinds)]
    # A sum names its branches in another order in the two models: convolutions and norms are paired by kind.
    for wanted in (kinds[:3], kinds[3:]):
        one = [layer for layer in named if isinstance(layer, wanted)]
        other = [layer for layer in mine if isinstance(layer, wanted)]
        assert len(one) == len(other)
        for source, target in zip(one, other, strict=True):
            values = source.get_weights()
            shapes = [value.shape for value in target.get_weights()]
            if isinstance(source, kinds[3]):  # one scale for all 512 channels is 512 equal ones here
                values = [np.broadcast_to(value, to) for value, to in zip(values, shapes, strict=True)]
            else:
                values = [value.reshape(to) for value, to in zip(values, shapes, strict=True)]
            target.set_weights(values)
    assert ours.count_params() - theirs.count_params() == 4_088
    audio = stored(frontend)[:1]
    audio = np.resize(audio, (1, *shape)).astype(audio.dtype)
    standardised = keras.Model(ours.input, ours.get_layer("standardise").output)(audio)
    expected = theirs(standardised, training=False)
    np.testing.assert_allclose(ours(audio, training=False), expected, atol=2e-4)
    assert np.ptp(expected) > 0.05
    mine[0].set_weights([0 * value for value in mine[0].get_weights()])
    assert np.abs(ours(audio, training=False) - expected).max() > 1e-3


def test_layer_order_is_convolution_relu_norm_pool():
    model = small("waveform")
    assert model.get_layer("wave_2").activation is keras.activations.relu and model.get_layer("wave_2").use_bias
    names = [layer.name for layer in model.layers]
    at = names.index("wave_2")
    assert names[at : at + 3] == ["wave_2", "wave_2_norm", "wave_2_pool"]


def test_synchronised_statistics_reach_every_normalisation():
    model = small("log-mel-spectrogram", synchronized=True)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 14 and all(layer.synchronized for layer in norms)
    plain = small("log-mel-spectrogram")
    audio = stored("log-mel-spectrogram")
    for each in (model, plain):  # without replicas both kinds give the same moving statistics
        each(audio, training=True)
    pair = [each.get_layer("back_1_norm").get_weights() for each in (model, plain)]
    for a, b in zip(*pair, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
