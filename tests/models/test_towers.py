"""The two towers: shapes, sizes, unit length, saving, bad input."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.models.towers import build_towers
from tests.models import battery

SHAPES = {"audio": (40, 32), "factors": (10,)}


def inputs(shapes, count=3, songs=2):
    rng = np.random.default_rng(0)
    return {"tag": rng.normal(size=(count, 6)).astype(np.float32)} | {
        name: rng.normal(size=(count, songs, *shape)).astype(np.float32) for name, shape in shapes.items()
    }


NAMES = [("audio",), ("factors",), ("audio", "factors")]


def triplet_loss(outputs):
    """Of each row's tag, the song that has it and the song that has not, cosines apart by 0.4."""
    tag, positive, negative = tf.unstack(outputs, axis=1)
    cosines = [tf.reduce_sum(tag * song, axis=1) for song in (positive, negative)]
    return tf.reduce_mean(tf.maximum(0.0, 0.4 - cosines[0] + cosines[1]))


@pytest.mark.parametrize("names", NAMES)
def test_outputs_are_unit_rows_and_towers_work_alone(names):
    shapes = {name: SHAPES[name] for name in names}
    model = build_towers(shapes, 6, n_filters=2, dimension=16)
    x = inputs(shapes)
    outputs = model(x, training=False).numpy()
    assert outputs.shape == (3, 3, 16)
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=-1), 1, atol=1e-5)
    alone = model.get_layer("song_tower")({name: x[name][:, 1] for name in names}, training=False)
    np.testing.assert_allclose(alone, outputs[:, 2], atol=1e-5)
    np.testing.assert_allclose(model.get_layer("tag_tower")(x["tag"], training=False), outputs[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    "names", [pytest.param(names, marks=pytest.mark.slow) if names != ("factors",) else names for names in NAMES]
)
def test_battery(names, tmp_path):
    shapes = {name: SHAPES[name] for name in names}
    build = functools.partial(build_towers, shapes, 6, n_filters=2, dimension=16, dropout=0.0, seed=3)
    battery.whole(build, inputs(shapes), triplet_loss, tmp_path, steps=5, rate=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("names", NAMES)
def test_mixed_precision_trains_and_stays_close(names, policy):
    """The outputs are of length 1; bfloat16 has eight bits of mantissa."""
    shapes = {name: SHAPES[name] for name in names}
    build = functools.partial(build_towers, shapes, 6, n_filters=2, dimension=16, dropout=0.0, seed=3)
    battery.mixed_precision(build, inputs(shapes), triplet_loss, policy, atol=0.05)


def test_short_chunk_cnn_has_the_papers_layers():
    model = build_towers({"audio": (173, 128)}, 300, audio_tower="standardised")
    tower = model.get_layer("song_tower")
    kernels = [w.shape for w in tower.weights if len(w.shape) == 4]
    channels = [1, 128, 128, 256, 256, 256, 256, 512]
    assert kernels == [(3, 3, a, b) for a, b in itertools.pairwise(channels)] + [(1, 1, 512, 256)]
    expected = sum(9 * a * b + 4 * b for a, b in itertools.pairwise(channels)) + 512 * 256 + 256
    assert tower.count_params() == expected
    assert model.get_layer("tag_tower").count_params() == 300 * 512 + 512 + 4 * 512 + 512 * 256 + 256


def trainable(model):
    """What PyTorch calls parameters: moving means and variances are none."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shapes, options, parameters",
    [
        ({"audio": (173, 128)}, {}, 3_816_322),  # the reference's AudioModel
        ({"audio": (173, 128), "factors": (200,)}, {"fusion": "concat-raw"}, 4_125_146),  # its HybridModel
        ({"factors": (200,)}, {}, 521_728),  # its CFModel: 2 · (512 + 2 · 512 + 256 + 512 · 256) + 512 · (200 + 300)
        ({"audio": (173, 128)}, {"audio_tower": "standardised"}, 3_814_016),
        (
            {"audio": (173, 128), "factors": (200,)},
            {"fusion": "concat", "audio_tower": "standardised"},
            4_180_608,
        ),
    ],
)
def test_parameters_of_the_published_models(shapes, options, parameters):
    assert trainable(build_towers(shapes, 300, **options)) == parameters


def test_the_published_ends_of_the_song_tower():
    """Two songs as one batch: the picture is normalised over both, and the embedding is never below 0."""
    model = build_towers({"audio": (40, 32)}, 6, n_filters=2, dimension=16)
    tower = model.get_layer("song_tower")
    x = {"audio": np.abs(inputs({"audio": (40, 32)})["audio"][:, 0]) * 20}
    normalised = keras.Model(tower.inputs, tower.get_layer("normalise").output)(x, training=True).numpy()
    expected = (x["audio"] - x["audio"].mean()) / np.sqrt(x["audio"].var() + 1.001e-5)
    np.testing.assert_allclose(normalised[..., 0], expected, atol=1e-4)
    outputs = tower(x, training=True).numpy()
    assert (outputs >= 0).all() and outputs.max() > 0
    louder = build_towers({"audio": (40, 32)}, 6, n_filters=2, dimension=16, audio_tower="standardised")
    assert (louder.get_layer("song_tower")(x, training=False).numpy() < 0).any()


def test_raw_factors_stand_beside_the_sound():
    model = build_towers(SHAPES, 6, n_filters=2, dimension=8, fusion="concat-raw")
    tower = model.get_layer("song_tower")
    x = {name: value[:, 0] for name, value in inputs(SHAPES).items() if name != "tag"}
    joined = keras.Model(tower.inputs, tower.get_layer("joined").output)(x, training=False).numpy()
    assert joined.shape == (3, 200 + 10)
    np.testing.assert_array_equal(joined[:, 200:], x["factors"])
    assert tower.get_layer("fused_dense").kernel.shape == (210, 512)


def test_summed_inputs_weigh_alike_whatever_their_scale():
    model = build_towers(SHAPES, 6, n_filters=2, dimension=8)
    tower = model.get_layer("song_tower")
    add = tower.get_layer("fused")
    parts = keras.Model(tower.inputs, add.input)
    x = inputs(SHAPES)
    for part in parts({name: 1000 * x[name][:, 0] for name in SHAPES}):
        np.testing.assert_allclose(np.linalg.norm(part, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("frontend, shape", [("log-mel-spectrogram", (40, 32)), ("waveform", (19_683,))])
@pytest.mark.slow
def test_the_taggers_frontends_fit(frontend, shape):
    model = build_towers({"audio": shape}, 6, n_filters=1, frontend=frontend, dimension=8)
    assert model(inputs({"audio": shape}, 1), training=True).shape == (1, 3, 8)


@pytest.mark.parametrize(
    "shapes, options, message",
    [
        ({}, {}, "takes audio, factors or both"),
        ({"text": (3,)}, {}, "takes audio, factors or both"),
        ({"audio": (900,)}, {}, "choose one of waveform, "),
        (SHAPES, {"fusion": "product"}, "choose sum, concat or concat-raw"),
        (SHAPES, {"audio_tower": "nothing"}, "choose published or standardised"),
        ({"audio": (40, 32)}, {"frontend": "nothing"}, "no such network"),
        ({"factors": (3,)}, {"dimension": 0}, "dimension=0"),
    ],
)
def test_bad_input(shapes, options, message):
    with pytest.raises(ConfigError, match=message):
        build_towers(shapes, 6, **options)
