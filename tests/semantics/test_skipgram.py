"""Skip-gram: its samples against a hand-made table, learned vectors on planted groups of tags."""

import numpy as np
import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.semantics import clustering, cooccurrence, skipgram


def test_samples_by_hand():
    # The example, a track with one tag (no sample), and one with two.
    lists = [["t1", "t2", "t3"], ["t0"], ["t3", "t0"], []]
    tracks = cooccurrence.tag_matrix(lists, tags=["t0", "t1", "t2", "t3"])
    rows, inputs = skipgram.samples(tracks)
    targets = skipgram.targets(tracks, rows, inputs)
    found = {(int(i), tuple(map(int, t))) for i, t in zip(inputs, targets, strict=True)}
    assert found == {
        (1, (0, 0, 1, 1)),
        (2, (0, 1, 0, 1)),
        (3, (0, 1, 1, 0)),
        (0, (0, 0, 0, 1)),
        (3, (1, 0, 0, 0)),
    }
    assert len(rows) == 5


def test_batches_hold_every_sample_once_in_a_new_order_each_epoch():
    rng = np.random.default_rng(0)
    lists = [[f"t{i}" for i in rng.choice(9, 3, replace=False)] for _ in range(20)]
    tracks = cooccurrence.tag_matrix(lists)
    rows, inputs = skipgram.samples(tracks)
    batches = skipgram.Batches(tracks, rows, inputs, batch_size=7, seed=3)
    epochs = []
    for _ in range(2):
        content = [batches[i] for i in range(len(batches))]
        assert sum(len(x) for x, _ in content) == 60
        epochs.append(np.concatenate([x for x, _ in content]))
        batches.on_epoch_end()
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(inputs)
    assert (epochs[0] != epochs[1]).any()
    again = skipgram.Batches(tracks, rows, inputs, batch_size=7, seed=3)
    np.testing.assert_array_equal(again[0][0], epochs[0][:7])


def test_model_is_one_hot_times_matrix_then_softmax():
    network = skipgram.model(17)
    vectors, kernel, bias = network.get_weights()
    assert vectors.shape == (17, 4)
    logits = np.eye(17)[[3, 5]] @ vectors @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(network.predict(np.array([3, 5]), verbose=0), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="at least two"):
        skipgram.model(1)


@pytest.mark.slow
def test_tags_that_meet_get_near_vectors():
    rng = np.random.default_rng(0)
    lists = [[f"g{g}_{i}" for i in rng.choice(6, 3, replace=False)] for g in rng.integers(5, size=600)]
    tracks = cooccurrence.tag_matrix(lists)
    seen = []
    result = skipgram.embed(tracks, epochs=25, batch_size=64, seed=1, on_epoch=lambda e, loss: seen.append((e, loss)))
    assert result.vectors.shape == (30, 5) and result.samples == 3 * 540
    assert [loss for _, loss in seen] == list(result.loss) and result.loss[-1] < result.loss[0]
    labels = clustering.kmeans(result.vectors, 5, n_init=10).labels
    groups = {(tag.split("_")[0], int(label)) for tag, label in zip(tracks.tags, labels, strict=True)}
    assert len(groups) == 5
    again = skipgram.embed(tracks, epochs=2, batch_size=64, seed=1)
    assert again.loss == pytest.approx(result.loss[:2], rel=1e-5)


def test_early_stopping_and_no_pairs():
    # Independent tags: nothing to learn beyond their counts, so the validation loss soon rises.
    rng = np.random.default_rng(0)
    lists = [[f"t{i}" for i in rng.choice(6, 2, replace=False)] for _ in range(80)]
    result = skipgram.embed(cooccurrence.tag_matrix(lists), epochs=200, patience=2, learning_rate=0.1)
    assert len(result.loss) < 60 and min(result.loss) == result.loss[-3]
    with pytest.raises(DataError, match="no two of the 2 tags meet"):
        skipgram.embed(cooccurrence.tag_matrix([["a"], ["b"]]))
