"""The triplet loss and its draws against plain NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.losses.triplet import InfoNCE, TripletLoss, WithoutNegative, draw_negatives, without_anchor


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def targets(anchors, places, labels):
    return np.concatenate([np.stack([anchors, places], axis=1), labels], axis=1).astype(np.float32)


def choose(cosines, allowed, place):
    """One anchor's negative: the plain loop over cumulated similarities."""
    weights = [(1 + c) / 2 + 1e-6 if a else 0.0 for c, a in zip(cosines, allowed, strict=True)]
    goal, total = place * sum(weights), 0.0
    for song, weight in enumerate(weights):
        total += weight
        if weight and total > goal:
            return song
    return max(np.flatnonzero(allowed), default=None)


def test_given_negatives():
    outputs = np.random.default_rng(0).normal(size=(50, 3, 8)).astype(np.float32)
    anchor, positive, negative = np.moveaxis(unit(outputs), 1, 0)
    expected = np.maximum(0, 0.4 - (anchor * positive).sum(1) + (anchor * negative).sum(1))
    found = TripletLoss(0.4).call(np.zeros((50, 2), np.float32), outputs)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (expected == 0).any() and (expected > 0).any()


def test_negatives_within_the_batch():
    rng = np.random.default_rng(1)
    size, tags = 24, 5
    outputs = rng.normal(size=(size, 2, 8)).astype(np.float32)
    labels = rng.random((size, tags)) < 0.4
    anchors, places = rng.integers(0, tags, size), rng.random(size)
    anchor, positive = np.moveaxis(unit(outputs), 1, 0)
    cosines, expected = anchor @ positive.T, []
    for i in range(size):
        song = choose(cosines[i], ~labels[:, anchors[i]], places[i])
        expected.append(0 if song is None else max(0, 0.4 - cosines[i, i] + cosines[i, song]))
    found = TripletLoss(0.4).call(targets(anchors, places, labels), outputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("songs", [1, 2])
def test_unweighted_negatives_are_uniform_over_the_pool(songs):
    rng = np.random.default_rng(5)
    labels = rng.random((8, 3)) < 0.4
    anchors, outputs = rng.integers(0, 3, 8), rng.normal(size=(8, 1 + songs, 4)).astype(np.float32)
    unit_outputs = unit(outputs)
    near, cosines = (unit_outputs[:, 0] * unit_outputs[:, 1]).sum(1), unit_outputs[:, 0] @ unit_outputs[:, -1].T
    uniform, likely_near = (tf.function(TripletLoss(2, weighted=each).call) for each in (False, True))
    drawn = [tf.constant(targets(anchors, np.full(8, place), labels)) for place in (np.arange(400) + 0.5) / 400]
    found, weighted = ([loss(y, outputs).numpy() for y in drawn] for loss in (uniform, likely_near))
    for i in range(8):
        allowed = np.flatnonzero(~labels[:, anchors[i]])
        expected = np.mean([2 - near[i] + cosines[i, j] for j in allowed])
        assert np.mean([row[i] for row in found]) == pytest.approx(expected, abs=0.02)
        likely = (1 + cosines[i, allowed]) / 2
        assert np.mean([row[i] for row in weighted]) == pytest.approx(
            2 - near[i] + (likely * cosines[i, allowed]).sum() / likely.sum(), abs=0.02
        )
    assert np.mean(weighted) > np.mean(found) + 0.05, "nearer songs are drawn"


@pytest.mark.parametrize("songs", [1, 2])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_infonce_against_the_formula(songs, temperature):
    rng = np.random.default_rng(6)
    labels = rng.random((12, 4)) < 0.4
    labels[:, 3] = True  # an anchor without any negative
    anchors = np.arange(12) % 4
    outputs = rng.normal(size=(12, 1 + songs, 5))
    expected = []
    for i in range(12):
        anchor, positive = unit(outputs[i, 0]), unit(outputs[i, 1])
        own = np.exp(anchor @ positive / temperature)
        total = own
        for j in range(12):
            if not labels[j, anchors[i]]:
                total += np.exp(anchor @ unit(outputs[j, -1]) / temperature)
        expected.append(-np.log(own / total))
    y = targets(anchors, rng.random(12), labels)
    found = InfoNCE(temperature).call(y, outputs.astype(np.float32)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    assert (found[3::4] == 0).all() and (found[:3] > 0.01).any()
    variable = tf.Variable(outputs.astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(InfoNCE(temperature).call(y, variable))
    gradient = tape.gradient(loss, variable).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_draws_are_proportional_to_similarity_and_never_have_the_tag():
    cosines = np.array([-1.0, -0.5, 0.0, 0.5, 1.0, 0.9], np.float32)
    allowed = np.array([True, True, True, False, True, True])
    draws = 20_000
    places = ((np.arange(draws) + 0.5) / draws).astype(np.float32)
    chosen, found = draw_negatives(np.tile(cosines, (draws, 1)), np.tile(allowed, (draws, 1)), places)
    assert found.numpy().all()
    weights = np.where(allowed, (1 + cosines) / 2 + 1e-6, 0)
    np.testing.assert_allclose(np.bincount(chosen, minlength=6) / draws, weights / weights.sum(), atol=2e-4)


@pytest.mark.parametrize("place", [0.0, 0.5, np.nextafter(np.float32(1), np.float32(0))])
def test_the_only_allowed_song_is_always_found(place):
    for only in range(5):
        allowed = np.zeros((1, 5), bool)
        allowed[0, only] = True
        chosen, found = draw_negatives(np.full((1, 5), -1, np.float32), allowed, np.array([place], np.float32))
        assert chosen.numpy() == [only] and found.numpy() == [True]


def test_an_anchor_without_any_negative_costs_nothing_and_is_counted():
    labels = np.array([[1, 1], [1, 0], [1, 1]])
    y = targets(np.array([0, 1, 0]), np.full(3, 0.3), labels)
    outputs = tf.Variable(np.random.default_rng(2).normal(size=(3, 2, 4)).astype(np.float32))
    np.testing.assert_array_equal(without_anchor(tf.constant(y)), [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    with tf.GradientTape() as tape:
        loss = TripletLoss().call(y, outputs)
        total = tf.reduce_sum(loss[::2])
    np.testing.assert_array_equal(loss.numpy()[::2], [0, 0])
    np.testing.assert_array_equal(tape.gradient(total, outputs), np.zeros((3, 2, 4)))
    metric = WithoutNegative()
    metric.update_state(y, outputs)
    metric.update_state(y, outputs)
    assert float(metric.result()) == 4
    metric.update_state(y[:, :2], tf.zeros((3, 3, 4)))
    assert float(metric.result()) == 4, "given negatives are there"


@pytest.mark.parametrize("songs", [1, 2])
def test_gradients_against_differences(songs):
    rng = np.random.default_rng(4)
    outputs = rng.normal(size=(6, 1 + songs, 3)).astype(np.float32)
    y = targets(rng.integers(0, 4, 6), rng.random(6), rng.random((6, 4)) < 0.4)[:, : 2 if songs == 2 else None]
    loss = TripletLoss(0.7)
    variable = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss.call(y, variable))
    gradient = tape.gradient(value, variable).numpy()
    step, checked = 1e-3, 0
    for index in np.ndindex(outputs.shape):
        sides = []
        for sign in (1, -1):
            moved = outputs.copy()
            moved[index] += sign * step
            sides.append(float(tf.reduce_sum(loss.call(y, moved))))
        # A step that changes which song is drawn, or crosses the hinge, is no derivative.
        if abs((sides[0] + sides[1]) / 2 - float(value)) < 1e-4:
            assert abs((sides[0] - sides[1]) / (2 * step) - gradient[index]) < 5e-3
            checked += 1
    assert checked > outputs.size // 2


def test_is_saved_and_loaded_and_refuses_margins():
    loss = keras.losses.deserialize(keras.losses.serialize(TripletLoss(0.25)))
    assert loss.margin == 0.25 and loss.weighted
    assert not keras.losses.deserialize(keras.losses.serialize(TripletLoss(weighted=False))).weighted
    assert keras.losses.deserialize(keras.losses.serialize(InfoNCE(0.2))).temperature == 0.2
    with pytest.raises(ConfigError, match="temperature=0"):
        InfoNCE(0)
    with pytest.raises(ConfigError, match=r"margin=2.5"):
        TripletLoss(2.5)
