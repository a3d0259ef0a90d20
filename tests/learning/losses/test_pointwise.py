"""The embedding-aware loss against a plain loop and finite differences; the cosine distance against its formula."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.losses.pointwise import CosineDistance, EmbeddingAwareCrossentropy


def _cosines(classes, seed=0, without=()):
    vectors = np.random.default_rng(seed).standard_normal((classes, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[list(without)] = np.nan
    return vectors @ vectors.T


def _batch(classes, rows=12, seed=1, share=0.25):
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, classes)) < share).astype(np.float32)
    targets[0] = 0
    return targets, rng.uniform(0.02, 0.98, (rows, classes)).astype(np.float32)


def _loop(similarity, gamma, targets, predictions):
    """The formula, term by term, in float64."""
    values = []
    for t, p in zip(targets.astype(float), predictions.astype(float), strict=True):
        true = [j for j in range(len(t)) if t[j] > 0 and not np.isnan(similarity[j, j])]
        total = 0.0
        for i in range(len(t)):
            extra = 0.0
            if true and not np.isnan(similarity[i, i]):
                extra = 1 - max(similarity[i, j] for j in true)
            total += t[i] * np.log(p[i]) + (1 - t[i]) * np.log(1 - p[i]) * (1 + gamma * extra)
        values.append(-total / len(t))
    return np.array(values)


@pytest.mark.parametrize("classes", [1, 5, 130, 300])
@pytest.mark.parametrize("gamma", [0.3, 2.0])
def test_equals_the_plain_loop(classes, gamma):
    without = range(0, classes, 4) if classes > 1 else ()
    similarity = _cosines(classes, without=without)
    targets, predictions = _batch(classes, share=min(0.25, 4 / classes))
    targets[1] = 0
    targets[1, list(without)] = 1  # only labels without a vector
    loss = EmbeddingAwareCrossentropy(similarity, gamma, reduction=None)
    np.testing.assert_allclose(loss(targets, predictions), _loop(similarity, gamma, targets, predictions), rtol=2e-6)


def test_hand_table():
    # Classes: rock, metal (cosine 0.8 to rock), jazz (cosine 0 to both), one without a vector. True: rock.
    nan = float("nan")
    similarity = [[1, 0.8, 0, nan], [0.8, 1, 0, nan], [0, 0, 1, nan], [nan] * 4]
    loss = EmbeddingAwareCrossentropy(similarity, gamma=2.0)
    half = np.log(2)
    expected = half * (1 + (1 + 2 * 0.2) + (1 + 2 * 1.0) + 1) / 4
    assert float(loss([[1.0, 0, 0, 0]], [[0.5] * 4])) == pytest.approx(expected, rel=1e-6)
    # No true label, or one without a vector: plain cross-entropy.
    for targets in ([[0.0, 0, 0, 0]], [[0.0, 0, 0, 1]]):
        assert float(loss(targets, [[0.5] * 4])) == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize("graph", [False, True])
def test_gamma_zero_is_binary_crossentropy(graph):
    targets, predictions = _batch(20)
    predictions[2] = [0.0, 1.0] * 10  # clipped
    loss = EmbeddingAwareCrossentropy(_cosines(20), 0.0)
    call = tf.function(loss.__call__) if graph else loss
    plain = keras.losses.BinaryCrossentropy()(targets, predictions)
    assert float(call(targets, predictions)) == pytest.approx(float(plain), rel=1e-6)


def test_gradient_by_finite_differences():
    similarity, gamma = _cosines(9, without=[3]), 1.5
    targets, predictions = _batch(9, rows=5)
    variable = tf.Variable(predictions)
    with tf.GradientTape() as tape:
        value = EmbeddingAwareCrossentropy(similarity, gamma)(targets, variable)
    gradient = tape.gradient(value, variable).numpy()
    step, expected = 1e-6, np.zeros(predictions.shape)
    for index in np.ndindex(*predictions.shape):
        up, down = predictions.astype(float), predictions.astype(float)
        up[index] += step
        down[index] -= step
        rise = _loop(similarity, gamma, targets, up).mean() - _loop(similarity, gamma, targets, down).mean()
        expected[index] = rise / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stable_in_half_precision(dtype):
    targets, predictions = _batch(30)
    predictions[1, :15], predictions[1, 15:] = 0.0, 1.0
    half = tf.cast(predictions, dtype)
    loss = EmbeddingAwareCrossentropy(_cosines(30), 1.0)
    with tf.GradientTape() as tape:
        tape.watch(half)
        value = loss(tf.cast(targets, dtype), half)
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(float(loss(targets, tf.cast(half, "float32"))), rel=1e-6)
    assert np.isfinite(tf.cast(tape.gradient(value, half), "float32").numpy()).all()


@pytest.mark.parametrize("jit", [False, True])
def test_in_a_graph(jit):
    similarity = _cosines(140)
    targets, predictions = _batch(140, share=0.03)
    loss = EmbeddingAwareCrossentropy(similarity, 0.7, reduction=None)
    compiled = tf.function(lambda t, p: loss(t, p), jit_compile=jit)
    value = compiled(tf.constant(targets), tf.constant(predictions))
    np.testing.assert_allclose(value, _loop(similarity, 0.7, targets, predictions), rtol=2e-6)


def test_soft_targets_count_as_true():
    similarity = _cosines(4)
    targets = np.array([[0.5, 0.5, 0, 0]], np.float32)
    predictions = np.full((1, 4), 0.3, np.float32)
    value = EmbeddingAwareCrossentropy(similarity, 1.0)(targets, predictions)
    assert float(value) == pytest.approx(_loop(similarity, 1.0, targets, predictions)[0], rel=1e-6)


def test_config_is_json_and_model_reloads(tmp_path):
    similarity = _cosines(6, without=[2])
    loss = EmbeddingAwareCrossentropy(similarity, 0.4)
    text = json.dumps(loss.get_config(), allow_nan=False)
    again = EmbeddingAwareCrossentropy.from_config(json.loads(text))
    np.testing.assert_array_equal(again.similarity, similarity.astype(np.float32))
    targets, predictions = _batch(6)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, activation="sigmoid")])
    model.compile("adam", loss)
    model.fit(predictions, targets, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.gamma == 0.4
    value = model.evaluate(predictions, targets, verbose=0)
    assert loaded.evaluate(predictions, targets, verbose=0) == pytest.approx(value, rel=1e-6)


def test_bad_arguments():
    good = _cosines(3)
    half_known = good.copy()
    half_known[0, 1] = np.nan
    for similarity, gamma, words in (
        (good, -0.1, "gamma=-0.1"),
        (good, float("nan"), "gamma=nan"),
        (good[:2], 1.0, "shape"),
        (good[0], 1.0, "shape"),
        (half_known, 1.0, "whole rows"),
        (good * 5, 1.0, "normalise"),
        (np.triu(np.ones((3, 3))), 1.0, "symmetric"),
    ):
        with pytest.raises(ConfigError, match=words):
            EmbeddingAwareCrossentropy(similarity, gamma)
    with pytest.raises(ConfigError, match="3 classes and the model has 4"):
        EmbeddingAwareCrossentropy(good)(np.zeros((2, 4)), np.full((2, 4), 0.5))


def test_cosine_distance():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 7, 5)).astype(np.float32)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    loss = CosineDistance(reduction=None)
    np.testing.assert_allclose(loss(a, b), (1 - cosine) / 2, atol=1e-6)
    np.testing.assert_allclose(loss(a, a * 3), 0, atol=1e-6)
    np.testing.assert_allclose(loss(a, -a), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_cosine_distance_of_zero_vectors(dtype):
    prediction = tf.zeros((2, 3), dtype)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = CosineDistance()(tf.constant([[1.0, 0, 0], [0, 0, 0]]), prediction)
    assert float(value) == pytest.approx(0.5)
    np.testing.assert_array_equal(tf.cast(tape.gradient(value, prediction), "float32"), 0)


def test_cosine_distance_reloads():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(CosineDistance(reduction="sum")))
    assert isinstance(again, CosineDistance)
    assert again.reduction == "sum"
