"""Networks of several inputs: the published parameter counts, one battery for every kind, and checked sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus import models
from orpheus.config.experiment import Network, Output, PatchesInput, TextInput, VectorInput
from orpheus.errors import ConfigError
from orpheus.models.layers import UnitLength
from tests.models import battery

WORDS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
CRNN = [
    {"filters": f, "kernel": (3, 3), "pool": p}
    for f, p in zip((64, 128, 128, 128), ((2, 2), (3, 3), (4, 4), (4, 4)), strict=True)
]
SMALL = {
    "vector": (VectorInput(), (6,)),
    "stack": (VectorInput(dense=[16, 16], dropout=0.3, batch_norm=True, l2=False), (6,)),
    "cnn": (
        PatchesInput(
            convolutions=[{"filters": 4, "kernel": (3, 8), "pool": (2, 1)}, {"filters": 3, "kernel": (2, 1)}],
            dropout=0.1,
        ),
        (12, 8),
    ),
    "normed": (
        PatchesInput(convolutions=[{"filters": 4, "kernel": (3, 5)}], batch_norm=True, activation="elu"),
        (12, 8),
    ),
    "multi": (
        PatchesInput(
            architecture="multi-filter",
            shapes=[(1, 5), (3, 8)],
            convolutions=[{"filters": 3, "kernel": (1, 1), "pool": (2, 1)}, {"filters": 2, "kernel": (3, 1)}],
        ),
        (12, 8),
    ),
    "crnn": (
        PatchesInput(
            architecture="crnn",
            activation="elu",
            batch_norm=True,
            recurrent=[3, 2],
            convolutions=[{"filters": 4, "kernel": (3, 3), "pool": (2, 2)}] * 2,
        ),
        (13, 7),
    ),
    "words": (TextInput(filters=3, dense=[6], dropout=0.2), (9,)),
    "static": (TextInput(filters=3, filter_lengths=[2], fine_tune=False), (9,)),
    "lstm": (TextInput(architecture="lstm", units=3), (9,)),
}


def example(shape, kind, batch=5):
    rng = np.random.default_rng(len(kind))
    if kind == "text":
        return rng.integers(0, 20, (batch, *shape)).astype(np.int32)
    return rng.normal(size=(batch, *shape)).astype(np.float32)


def build(names, outputs=4, **options):
    inputs = {name: SMALL[name][0] for name in names}
    return models.build_modalities(
        inputs,
        {name: SMALL[name][1] for name in names},
        outputs,
        embeddings={name: WORDS for name in names if inputs[name].kind == "text"},
        **options,
    )


def batch(names):
    return {name: example(SMALL[name][1], SMALL[name][0].kind) for name in names}


def cosine_loss(outputs):
    target = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]
    return tf.reduce_mean((1 - tf.reduce_sum(target * outputs, axis=1)) / 2)


def test_music_recommender_has_the_published_number_of_parameters():
    model = models.build_modalities(
        {"biography": VectorInput(dense=[512, 512], dropout=0.5), "audio": VectorInput()},
        {"biography": (10_000,), "audio": (4_096,)},
        200,
        network=Network(hidden=[512], dropout=0.5),
    )
    assert model.count_params() == 7_845_576
    dense = [layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert dense == [5_120_512, 262_656, 2_359_808, 102_600]
    assert [type(layer).__name__ for layer in model.layers].count("UnitLength") == 3
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 4


def test_crnn_has_the_sizes_of_the_paper():
    settings = PatchesInput(architecture="crnn", convolutions=CRNN, batch_norm=True, activation="elu", dropout=0.1)
    model = models.build_modalities({"mel": settings}, {"mel": (1366, 96)}, 50, output=Output(activation="sigmoid"))
    assert model.get_layer("pad").output.shape[1:3] == (1440, 96)  # 37 frames on either side
    assert model.get_layer("sequence").output.shape == (None, 15, 128)
    assert model.get_layer("gru_2").output.shape == (None, 32)
    convolutions = 9 * 64 + 64 + 9 * 64 * 128 + 128 + 2 * (9 * 128 * 128 + 128)
    norms = 4 * (96 + 64 + 3 * 128)
    gru = 3 * (32 * (128 + 32) + 2 * 32) + 3 * (32 * (32 + 32) + 2 * 32)
    assert model.count_params() == convolutions + norms + gru + 32 * 50 + 50


@pytest.mark.parametrize(("height", "second"), [(96, (4, 1)), (70, (4, 6))])
def test_first_kernels_of_the_reference(height, second):
    pools = [(4, 96 - height + 1 if height == 96 else 4), (4, 1)]
    layers = [
        {"filters": f, "kernel": k, "pool": p} for f, k, p in zip((64, 128), ((4, height), second), pools, strict=True)
    ]
    model = models.build_modalities({"a": PatchesInput(convolutions=layers, l2=False)}, {"a": (322, 96)}, 3)
    assert model.get_layer("conv_1").kernel.shape == (4, height, 1, 64)
    assert model.get_layer("flat").output.shape == (None, 19 * 128)  # (322 - 3) // 4 = 79; (79 - 3) // 4 = 19


def test_layers_side_by_side_against_their_formula():
    settings = VectorInput(parallel={"units": 3, "activations": ["relu", "tanh", "sigmoid"]}, dense=[2], l2=False)
    model = models.build_modalities({"a": settings}, {"a": (6,)}, 4, output=Output(l2=False))
    x = example((6,), "vector")
    parts = []
    for activation in (lambda v: np.maximum(v, 0), np.tanh, lambda v: 1 / (1 + np.exp(-v))):
        kernel, bias = model.get_layer(f"parallel_{('relu', 'tanh', 'sigmoid')[len(parts)]}").get_weights()
        parts.append(activation(x @ kernel + bias))
    found = keras.Model(model.inputs, model.get_layer("parallel").output)({"a": x}).numpy()
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), atol=1e-6)
    assert model.get_layer("dense_1").kernel.shape == (9, 2)


def test_architectures_of_patches_beside_a_vector_and_of_normalised_inputs():
    """Architectures 2 and 11 (patches beside a vector) and 31 (batch normalisation of inputs) of the reference."""
    audio = SMALL["cnn"][0]
    both = models.build_modalities({"audio": audio, "text": VectorInput()}, {"audio": (12, 8), "text": (6,)}, 4)
    plain = models.build_modalities({"audio": audio}, {"audio": (12, 8)}, 4)
    assert both.count_params() == plain.count_params() + 6 * 4
    norm = models.build_modalities(
        {"audio": audio.model_copy(update={"input_norm": True}), "text": VectorInput(input_norm=True)},
        {"audio": (12, 8), "text": (6,)},
        4,
    )
    assert norm.count_params() == both.count_params() + 4 * (8 + 6)  # per band, per column
    inputs = {"audio": example((12, 8), "cnn"), "text": 7 + 3 * example((6,), "vector")}
    seen = keras.Model(norm.inputs, norm.get_layer("text_input_norm").output)(inputs, training=True).numpy()
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=2e-3)


LONG = [pytest.param([name], marks=pytest.mark.slow, id=name) for name in ("crnn", "lstm", "multi", "normed")]


@pytest.mark.parametrize(
    "names",
    [
        *LONG,
        *(pytest.param(names, id="-".join(names)) for names in (["stack"], ["vector", "cnn", "static"], ["words"])),
    ],
)
def test_battery(names, tmp_path):
    network = Network(hidden=[7], dropout=0.2, activation="tanh")
    out = battery.whole(lambda: build(names, network=network), batch(names), cosine_loss, tmp_path, steps=5, rate=0.02)
    assert out.shape == (5, 4)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", [name for name in SMALL if name != "lstm"])
def test_mixed_precision_trains_and_stays_close(name, policy):
    """The outputs are of length 1; bfloat16 has eight bits of mantissa."""
    battery.mixed_precision(lambda: build([name]), batch([name]), cosine_loss, policy, atol=0.05)


def test_word_vectors_are_those_given_and_static_ones_stay():
    for name, trained in (("words", True), ("static", False)):
        model = build([name])
        np.testing.assert_array_equal(model.get_layer("word_vectors").get_weights()[0], WORDS)
        assert (
            model.get_layer("word_vectors").weights[0].path in {v.path for v in model.trainable_variables}
        ) == trained


def test_a_convolution_over_words_against_a_loop():
    model, ids = build(["static"]), example((9,), "text")
    inner = keras.Model(model.inputs, model.get_layer("pool_2").output)
    kernel, bias = model.get_layer("conv_2").get_weights()
    expected = np.zeros((5, 3))
    for row, words in enumerate(ids):
        at = [np.einsum("td,tdf->f", WORDS[words[p : p + 2]], kernel) + bias for p in range(8)]
        expected[row] = np.maximum(at, 0).max(axis=0)
    np.testing.assert_allclose(inner({"static": ids}), expected, atol=1e-5)


def test_late_fusion_joins_unit_vectors_in_order():
    model, inputs = build(["vector", "words"]), batch(["vector", "words"])
    joined = keras.Model(model.inputs, model.get_layer("joined").output)(inputs).numpy()
    unit = inputs["vector"] / np.linalg.norm(inputs["vector"], axis=1, keepdims=True)
    np.testing.assert_allclose(joined[:, :6], unit, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(joined[:, 6:], axis=1), 1, atol=1e-5)


def test_zero_vectors_stay_zero_and_have_finite_gradients():
    x = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        y = UnitLength()(x)
        loss = tf.reduce_sum(y[:, 0])
    np.testing.assert_allclose(y, [[0, 0], [0.6, 0.8]], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, x), [[0, 0], [0.128, -0.096]], atol=1e-6)


def test_outputs():
    for activation, row_sums in (("sigmoid", False), ("softmax", True)):
        out = build(["vector"], output=Output(activation=activation))(batch(["vector"])).numpy()
        assert (out > 0).all() and (out < 1).all() and np.allclose(out.sum(axis=1), 1) == row_sums
    assert build(["vector"], output=Output(l2=False)).layers[-1].name == "output"


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (VectorInput(), (3, 3), r"inputs.x: examples of shape \(3, 3\), but vector takes \(features\)"),
        (
            PatchesInput(convolutions=[{"filters": 1, "kernel": (4, 96)}]),
            (50, 80),
            r"convolutions.0.kernel=\[4, 96\]: 96 bands on a patch of which 80 bands are left",
        ),
        (
            PatchesInput(convolutions=[{"filters": 1, "kernel": (4, 8), "pool": (4, 1)}] * 2),
            (10, 8),
            r"convolutions.1.kernel=\[4, 8\]: 4 frames on a patch of which 1 frames are left",
        ),
        (
            PatchesInput(architecture="multi-filter", shapes=[(1, 9)], convolutions=[{"filters": 1, "kernel": (1, 1)}]),
            (5, 8),
            "shapes.0",
        ),
        (TextInput(), (9,), "inputs.x: a text input needs its word vectors"),
    ],
)
def test_sizes_that_do_not_fit_are_named(settings, shape, message):
    with pytest.raises(ConfigError, match=message):
        models.build_modalities({"x": settings}, {"x": shape}, 3)
