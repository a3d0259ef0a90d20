"""Draws over sparse pairs: distributions against a plain loop, membership against scipy, modality dropout, size and speed."""

import resource
import time

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from orpheus.data.batches import draws
from orpheus.data.batches.pairs import Pairs
from orpheus.errors import DataError

SONGS, ANCHORS = 30, 8


def table(seed: int = 0) -> scipy.sparse.csr_matrix:
    """Songs × anchors with weights; anchor 6 has no song, anchor 7 all, song 0 none but that."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((SONGS, ANCHORS)) < 0.3, rng.integers(1, 9, (SONGS, ANCHORS)), 0)
    dense[0], dense[:, 6], dense[:, 7] = 0, 0, 1
    return scipy.sparse.csr_matrix(dense)


def expected(dense: np.ndarray, kind: str) -> np.ndarray:
    """(songs, anchors) probability of each pair, by a plain loop."""
    chance = np.zeros(dense.shape)
    usable = [a for a in range(ANCHORS) if 0 < (dense[:, a] > 0).sum() < SONGS]
    if kind == "random":
        own = [song for song in range(SONGS) if any(dense[song, a] > 0 for a in usable)]
        for song in own:
            mine = [a for a in usable if dense[song, a] > 0]
            for anchor in mine:
                chance[song, anchor] = 1 / len(own) / len(mine)
        return chance
    for anchor in usable:
        weights = dense[:, anchor] if kind == "weighted" else (dense[:, anchor] > 0)
        chance[:, anchor] = weights / weights.sum() / len(usable)
    return chance


@pytest.mark.parametrize("kind", ["random", "balanced", "weighted"])
def test_draws_have_the_distribution_of_a_plain_loop(kind):
    sparse = table()
    pairs = Pairs(sparse, balanced=kind != "random", weighted=kind == "weighted")
    count = 60_000
    drawn = pairs.draw(count, tf.constant([3, 4], tf.int64))
    found = np.zeros((SONGS, ANCHORS))
    np.add.at(found, (drawn.songs[:, 0].numpy(), drawn.anchors.numpy()), 1)
    chance = expected(sparse.toarray(), kind)
    assert not found[chance == 0].any()
    there = chance > 0
    statistic = ((found[there] - count * chance[there]) ** 2 / (count * chance[there])).sum()
    degrees = there.sum() - 1
    assert statistic < degrees + 4 * np.sqrt(2 * degrees)  # χ² has this mean and deviation
    other = {"random": "balanced", "balanced": "weighted", "weighted": "balanced"}[kind]
    wrong = expected(sparse.toarray(), other)
    assert np.abs(found / count - wrong).sum() > 5 * np.abs(found / count - chance).sum()
    assert 0 <= float(tf.reduce_min(drawn.places)) < float(tf.reduce_max(drawn.places)) < 1


def test_equal_seeds_draw_equal_pairs():
    pairs = Pairs(table(), balanced=True, history=2)
    one, same, other = (pairs.draw(50, tf.constant([1, seed], tf.int64)) for seed in (5, 5, 6))
    assert np.array_equal(one.songs, same.songs) and np.array_equal(one.anchors, same.anchors)
    assert not np.array_equal(one.songs, other.songs)


@pytest.mark.parametrize("balanced", [False, True])
def test_history_is_of_the_other_songs_of_the_anchor(balanced):
    sparse = table()
    dense = sparse.toarray()
    drawn = Pairs(sparse, balanced=balanced, history=3).draw(40_000, tf.constant([0, 1], tf.int64))
    songs, anchors = drawn.songs.numpy(), drawn.anchors.numpy()
    assert songs.shape == (40_000, 4)
    assert (dense[songs, anchors[:, None]] > 0).all()
    assert (songs[:, 1:] != songs[:, :1]).all()
    anchor = anchors[0]
    mine = np.flatnonzero(dense[:, anchor])
    first = songs[(anchors == anchor) & (songs[:, 0] == mine[0])][:, 1:].ravel()
    shares = np.array([(first == song).mean() for song in mine[1:]])
    assert np.abs(shares - 1 / (len(mine) - 1)).max() < 0.05


def test_members_are_those_of_scipy():
    sparse = scipy.sparse.random(200, 90, density=0.05, random_state=3, format="csr")
    rng = np.random.default_rng(1)
    anchors, songs = rng.integers(0, 90, 60), rng.integers(0, 200, 70)
    found = Pairs(sparse).members(tf.constant(anchors), tf.constant(songs)).numpy()
    truth = sparse[songs][:, anchors].toarray().T > 0
    assert found.dtype == bool and 0 < truth.sum() < truth.size
    np.testing.assert_array_equal(found, truth)


def test_unusable_anchors():
    assert Pairs(table()).usable.tolist() == [0, 1, 2, 3, 4, 5]
    one = scipy.sparse.csr_matrix(np.eye(3))
    assert Pairs(one).usable.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="none of the 3 columns can be an anchor: of the 3 training songs at least two"):
        Pairs(one, history=1)
    with pytest.raises(DataError, match="at least one must have it, and some not"):
        Pairs(scipy.sparse.csr_matrix((4, 2)))


def test_modality_dropout_keeps_one_and_drops_by_its_rates():
    rng = np.random.default_rng(0)
    present = rng.random((20_000, 3)) < 0.6
    rates = np.array([0.8, 0.3, 0.0], np.float32)
    kept = draws.keep_some(
        tf.constant(present), tf.constant(rates), tf.constant(rng.random((20_000, 3)), tf.float32)
    ).numpy()
    assert not (kept & ~present).any()
    np.testing.assert_array_equal(kept.any(axis=1), present.any(axis=1))
    whole = kept[present.all(axis=1)]  # the third always stays, and the others are free to go
    assert np.abs(whole.mean(axis=0) - (1 - rates)).max() < 0.02
    alone = present & (present.sum(axis=1, keepdims=True) == 1)
    assert (kept == alone)[alone.any(axis=1)].all()


@pytest.mark.slow
def test_five_million_pairs_fit_and_are_drawn_fast():
    songs, anchors, count = 50_000, 100_000, 5_000_000
    rng = np.random.default_rng(0)
    where = (rng.integers(0, songs, count), rng.integers(0, anchors, count))
    sparse = scipy.sparse.coo_matrix((np.ones(count, np.float32), where), shape=(songs, anchors)).tocsr()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = Pairs(sparse, balanced=True, weighted=True, history=4)
    batch = 256

    @tf.function
    def step(seed):
        drawn = pairs.draw(batch, tf.stack([tf.constant(0, tf.int64), seed]))
        return tf.reduce_sum(tf.cast(pairs.members(drawn.anchors, drawn.songs[:, 0]), tf.int32))

    assert int(step(tf.constant(0, tf.int64))) >= batch  # each anchor's positive is its own
    began = time.perf_counter()
    for number in range(20):
        step(tf.constant(number, tf.int64))
    assert 20 * batch / (time.perf_counter() - began) > 2_000  # pairs/s; some 20,000 on an idle core
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 1500, grown  # MB; a dense table of bools alone has 5,000
