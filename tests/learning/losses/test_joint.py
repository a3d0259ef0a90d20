"""The joint loss against a float64 loop; a replica's share of a batch is the loss of that share."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.losses.joint import JointLoss, JointParts, Layout

BATCH, D, CLASSES, SCALE = 12, 5, 4, 7.0
PAIRS = {
    "tags": {"loss": "infonce", "margin": 0.4, "is_weighted": False, "weight": 0.5},
    "listeners": {"loss": "triplet", "margin": 0.6, "is_weighted": True, "weight": 2.0},
}
LAYOUT = Layout(D, BATCH, tags=True, listeners=True, classes=CLASSES)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def batch(seed: int = 0):
    """Outputs and targets of a global batch, and its pieces."""
    rng = np.random.default_rng(seed)
    places = {name: unit(rng.normal(size=(BATCH, D))) for name in ("tag", "tag song", "listener", "listener song")}
    lacking = {kind: (rng.random((BATCH, BATCH)) < 0.7) & ~np.eye(BATCH, dtype=bool) for kind in PAIRS}
    drawn = {kind: rng.random(BATCH) for kind in PAIRS}
    logits, labels, weights = rng.normal(size=(BATCH, CLASSES)), rng.random((BATCH, CLASSES)) < 0.4, rng.random(BATCH)
    scale = np.full((BATCH, 1), SCALE)
    outputs = [places["tag"], places["tag song"], scale, places["listener"], places["listener song"], scale, logits]
    targets = [np.arange(BATCH)[:, None]]
    for kind in PAIRS:
        targets += [drawn[kind][:, None], lacking[kind]]
    targets += [weights[:, None], labels]
    joined = [np.concatenate(parts, axis=1).astype(np.float32) for parts in (outputs, targets)]
    return joined, (places, lacking, drawn, logits, labels, weights)


def by_loop(pieces, rows) -> dict[str, np.ndarray]:
    """Each part of the loss of some rows, whose pool is theirs."""
    places, lacking, drawn, logits, labels, weights = pieces
    found = {"tags": [], "listeners": [], "classes": []}
    for i in rows:
        near = SCALE * places["tag"][i] @ places["tag song"][i]
        negatives = [SCALE * places["tag"][i] @ places["tag song"][j] for j in rows if lacking["tags"][i, j]]
        found["tags"].append(np.log(np.exp([near, *negatives]).sum()) - near)
        cosines = {j: places["listener"][i] @ places["listener song"][j] for j in rows if lacking["listeners"][i, j]}
        near = places["listener"][i] @ places["listener song"][i]
        cumulated = np.cumsum([(1 + cosine) / 2 for cosine in cosines.values()])
        chosen = list(cosines)[int(np.argmax(cumulated > drawn["listeners"][i] * cumulated[-1]))]
        found["listeners"].append(max(0.0, 0.6 - near + cosines[chosen]))
        probable = 1 / (1 + np.exp(-logits[i]))
        entropy = -np.where(labels[i], np.log(probable), np.log(1 - probable)).mean()
        found["classes"].append(weights[i] * entropy)
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("rows", [range(BATCH), range(BATCH // 2, BATCH)], ids=["whole", "a replica's half"])
def test_parts_are_those_of_a_loop(rows):
    (outputs, targets), pieces = batch()
    loss = JointLoss(LAYOUT, PAIRS, 3.0)
    mine = [tf.constant(one[list(rows)]) for one in (targets, outputs)]
    truth = by_loop(pieces, rows)
    found = loss.parts(*mine)
    assert set(found) == set(truth)
    for name, values in truth.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    whole = 0.5 * truth["tags"] + 2 * truth["listeners"] + 3 * truth["classes"]
    np.testing.assert_allclose(loss.call(*mine), whole, rtol=1e-5, atol=1e-5)
    assert not np.allclose(by_loop(pieces, range(BATCH))["tags"][-6:], by_loop(pieces, range(6, BATCH))["tags"])


def test_the_means_are_a_metric():
    (outputs, targets), pieces = batch()
    loss = JointLoss(LAYOUT, PAIRS)
    metric = JointParts(loss)
    for half in (slice(0, 6), slice(6, BATCH)):
        metric.update_state(tf.constant(targets[half]), tf.constant(outputs[half]))
    truth = {
        name: np.mean([*by_loop(pieces, range(6))[name], *by_loop(pieces, range(6, BATCH))[name]]) for name in PAIRS
    }
    found = metric.result()
    assert list(found) == ["tags_loss", "listeners_loss", "classes_loss"]
    for name, value in truth.items():
        np.testing.assert_allclose(found[f"{name}_loss"], value, rtol=1e-5)


def test_a_part_that_is_left_out_has_no_columns():
    (outputs, targets), pieces = batch()
    layout = Layout(D, BATCH, tags=False, listeners=True, classes=0)
    pairs = 2 * D + 1
    mine = [targets[:, [0, *range(1 + BATCH + 1, 1 + 2 * (BATCH + 1))]], outputs[:, pairs : 2 * pairs]]
    found = JointLoss(layout, {"listeners": PAIRS["listeners"]}).parts(*map(tf.constant, mine))
    assert list(found) == ["listeners"]
    np.testing.assert_allclose(found["listeners"], by_loop(pieces, range(BATCH))["listeners"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="a joint loss of nothing"):
        Layout(D, BATCH, tags=False, listeners=False, classes=0)


def test_it_is_made_again_from_its_config():
    (outputs, targets), _ = batch()
    loss = JointLoss(LAYOUT, PAIRS, 3.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    np.testing.assert_array_equal(again.call(targets, outputs), loss.call(targets, outputs))
