"""Baselines against plain loops and cases whose answer is known."""

import numpy as np
import pytest
import scipy.sparse

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import baselines


def loop(train, test, counts, k):
    """The definition, one pair at a time."""
    scores = np.zeros((len(test), counts.shape[1]))
    for row, vector in enumerate(test):
        cosine = [v @ vector / (np.linalg.norm(v) * np.linalg.norm(vector)) for v in train]
        for near in sorted(range(len(train)), key=lambda n: -cosine[n])[:k]:
            scores[row] += max(cosine[near], 0) * (counts[near] > 0)
    return scores


def nearest_neighbours(train, test, counts, *, k=100, block=1024):
    """Scores (test items, users), by the weights of the neighbours."""
    heard = (counts > 0).astype(np.float32)
    return (baselines.neighbours(train, test, heard.shape[0], k, block) @ heard).toarray()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("block", [3, 100])
def test_nearest_neighbours_is_the_definition(sparse, block):
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(30, 6)), rng.normal(size=(8, 6))
    counts = rng.poisson(0.5, (30, 5))
    form = scipy.sparse.csr_matrix if sparse else np.asarray
    scores = nearest_neighbours(form(train), form(test), scipy.sparse.csr_matrix(counts), k=7, block=block)
    np.testing.assert_allclose(scores, loop(train, test, counts, 7), atol=1e-5)
    assert scores.dtype == np.float32


def test_items_without_features_score_zero_and_k_may_exceed_the_items():
    train, test = np.array([[1.0, 0], [0, 1], [0, 0]]), np.array([[0.0, 0], [2, 0]])
    counts = scipy.sparse.csr_matrix([[1, 0], [0, 9], [1, 1]])
    np.testing.assert_array_equal(nearest_neighbours(train, test, counts, k=50), [[0, 0], [1, 0]])


def test_expected_listeners_is_the_mean_of_the_neighbours():
    train, test = np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([[1.0, 0], [0, 3], [0, 0]])
    counts = scipy.sparse.csr_matrix([[5, 1, 1], [1, 0, 0], [1, 1, 0]])
    np.testing.assert_allclose(baselines.expected_listeners(train, test, counts, k=2), [2, 2, 0], atol=1e-6)


def test_random_and_popularity():
    one = baselines.random(4, 3, seed=1)
    np.testing.assert_array_equal(one, baselines.random(4, 3, seed=1))
    assert not np.array_equal(one, baselines.random(4, 3, seed=2)) and one.shape == (4, 3)
    np.testing.assert_array_equal(baselines.popularity(np.array([3, 1]), 2), [[3, 3], [1, 1]])


def test_sizes_must_fit():
    with pytest.raises(DataError, match="do not fit counts of 2 items"):
        nearest_neighbours(np.ones((3, 2)), np.ones((1, 2)), scipy.sparse.csr_matrix((2, 4)))
    with pytest.raises(ConfigError, match="k=0"):
        nearest_neighbours(np.ones((2, 2)), np.ones((1, 2)), scipy.sparse.csr_matrix((2, 4)), k=0)
