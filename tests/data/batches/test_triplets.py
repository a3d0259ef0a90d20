"""Triplet draws against counting over the label matrix."""

import numpy as np
import pytest
import tensorflow as tf

from orpheus.data.batches.triplets import Triplets
from orpheus.errors import DataError

# Column 3: no song has it; column 4: every song has it. Song 5 has only that one.
LABELS = np.array(
    [
        [1, 0, 0, 0, 1],
        [1, 1, 0, 0, 1],
        [0, 1, 0, 0, 1],
        [0, 1, 1, 0, 1],
        [1, 1, 0, 0, 1],
        [0, 0, 0, 0, 1],
    ]
)
DRAWS = 60_000


def drawn(triplets, count=DRAWS, seed=(1, 2)):
    result = triplets.draw(count, tf.constant(seed, tf.int64))
    return result.anchors.numpy(), result.songs.numpy(), result.places.numpy()


def close(found, expected):
    """Frequencies within five standard deviations of a binomial."""
    expected = np.asarray(expected)
    bound = 5 * np.sqrt(np.maximum(expected * (1 - expected), 1e-9) / DRAWS)
    assert (np.abs(found - expected) <= bound).all(), (found, expected)


def test_balanced_draws_are_uniform_over_tags_then_songs():
    anchors, songs, places = drawn(Triplets(LABELS, balanced=True))
    close(np.bincount(anchors, minlength=5) / DRAWS, [1 / 3, 1 / 3, 1 / 3, 0, 0])
    joint = np.zeros((5, 6, 6))
    np.add.at(joint, (anchors, songs[:, 0], songs[:, 1]), 1 / DRAWS)
    expected = np.zeros_like(joint)
    for tag in range(3):
        own, others = np.flatnonzero(LABELS[:, tag]), np.flatnonzero(1 - LABELS[:, tag])
        for positive in own:
            expected[tag, positive, others] = 1 / 3 / len(own) / len(others)
    close(joint, expected)
    assert places.min() >= 0 and places.max() < 1 and abs(places.mean() - 0.5) < 0.01


def test_random_draws_are_uniform_over_songs_then_tags():
    anchors, songs, _ = drawn(Triplets(LABELS))
    joint = np.zeros((6, 5))
    np.add.at(joint, (songs[:, 0], anchors), 1 / DRAWS)
    usable = LABELS[:, :3]
    expected = np.zeros((6, 5))
    expected[:5, :3] = usable[:5] / usable[:5].sum(axis=1, keepdims=True) / 5
    close(joint, expected)


@pytest.mark.parametrize("balanced", [False, True])
def test_no_negative_ever_has_the_anchors_tag(balanced):
    labels = np.random.default_rng(3).random((200, 40)) < np.linspace(0.01, 0.99, 40)
    anchors, songs, _ = drawn(Triplets(labels, balanced=balanced), 20_000)
    assert labels[songs[:, 0], anchors].all()
    assert not labels[songs[:, 1], anchors].any()
    seen = np.zeros_like(labels)
    seen[songs[:, 1], anchors] = True
    rare = np.flatnonzero((~labels).sum(axis=0) == (~labels).sum(axis=0)[labels.sum(axis=0) < 200].min())
    assert seen[~labels[:, rare[0]], rare[0]].any(), "the few songs that lack a frequent tag are found"


def test_unusable_tags_are_named_and_none_left_is_refused():
    assert Triplets(LABELS).unusable_names("abcde") == ["d", "e"]
    with pytest.raises(DataError, match="none of the 2 tags can be an anchor"):
        Triplets(np.array([[1, 0], [1, 0]]))


def test_batches_depend_on_seed_epoch_and_step_alone():
    triplets = Triplets(LABELS, balanced=True)

    def epochs(first, seed=7):
        batches = triplets.batches(16, steps=3, seed=seed, first_epoch=first).take(6)
        return [
            np.concatenate([np.ravel(part) for part in (*triplet, own)]) for triplet, own in batches.as_numpy_iterator()
        ]

    whole, resumed = epochs(0), epochs(1)
    np.testing.assert_array_equal(whole[3:], resumed[:3])
    assert not np.array_equal(whole[0], whole[3]), "epochs differ"
    assert not np.array_equal(whole[0], epochs(0, seed=8)[0]), "seeds differ"


def test_within_batch_draws_positives_only():
    anchors, songs, _ = drawn(Triplets(LABELS, within_batch=True), 100)
    assert songs.shape == (100, 1) and LABELS[songs[:, 0], anchors].all()
