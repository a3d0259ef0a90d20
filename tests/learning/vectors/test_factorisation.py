"""Factors against closed forms, plain loops and known ranks."""

import numpy as np
import pytest
import scipy.sparse

from orpheus.errors import ConfigError, DataError
from orpheus.learning.vectors import factorisation


def counts(users=60, items=40, seed=0):
    """Two groups of users, each listening to its half of the items."""
    rng = np.random.default_rng(seed)
    same = (np.arange(users)[:, None] % 2) == (np.arange(items)[None] % 2)
    heard = rng.random((users, items)) < np.where(same, 0.6, 0.02)
    return scipy.sparse.csr_matrix(heard * rng.integers(1, 100, (users, items)))


def test_confidence_by_hand():
    matrix = scipy.sparse.csr_matrix([[0, 1.0], [9.0, 0]])
    log = factorisation.confidence(matrix, weighting="log", alpha=2, epsilon=3)
    np.testing.assert_allclose(log.toarray(), [[0, 1 + 2 * np.log(4 / 3)], [1 + 2 * np.log(4), 0]], rtol=1e-6)
    np.testing.assert_array_equal(factorisation.confidence(matrix, weighting="linear", alpha=2).data, [3, 19])
    np.testing.assert_array_equal(factorisation.confidence(matrix, weighting="binary", alpha=2).data, [3, 3])
    np.testing.assert_array_equal(matrix.data, [1, 9])  # the counts are left as they were
    with pytest.raises(ConfigError, match="weighting='sqrt'"):
        factorisation.confidence(matrix, weighting="sqrt")
    with pytest.raises(DataError, match="negative"):
        factorisation.confidence(-matrix)


def loop(users, row, regularization):
    """One item's least squares as the paper writes it: dense C and p, no shortcuts (equation 5)."""
    weights = np.where(row > 0, row, 1.0)
    left = users.T @ np.diag(weights) @ users + regularization * np.eye(users.shape[1])
    return np.linalg.solve(left, users.T @ np.diag(weights) @ (row > 0))


def test_als_ends_at_the_least_squares_of_the_paper():
    weighted = factorisation.confidence(counts(), alpha=3)
    result = factorisation.als(weighted, 5, regularization=0.5, iterations=5, exact=True, threads=1)
    expected = [loop(result.others.astype(float), row, 0.5) for row in weighted.T.toarray()]
    np.testing.assert_allclose(result.items, expected, atol=2e-4)  # float32 solver
    np.testing.assert_allclose(
        factorisation.fold_in(result.others, weighted.T, regularization=0.5), expected, atol=1e-6
    )
    assert result.items.dtype == np.float32 and result.others.shape == (60, 5)


def test_als_finds_the_two_groups_and_repeats_by_seed():
    weighted = factorisation.confidence(counts(), alpha=1)
    one = factorisation.als(weighted, 8, seed=4, threads=1)
    scores = one.others @ one.items.T
    same = (np.arange(60)[:, None] % 2) == (np.arange(40)[None] % 2)
    assert scores[same].mean() > 0.4 > 0.1 > np.abs(scores[~same].mean())
    two = factorisation.als(weighted, 8, seed=4, threads=2)
    np.testing.assert_array_equal(one.items, two.items)
    assert not np.array_equal(one.items, factorisation.als(weighted, 8, seed=5, threads=1).items)


def test_fold_in_of_an_unheard_item_is_zero_and_sizes_must_fit():
    users = np.ones((3, 2))
    np.testing.assert_array_equal(factorisation.fold_in(users, scipy.sparse.csr_matrix((1, 3))), [[0, 0]])
    with pytest.raises(DataError, match="4 users do not fit factors of 3 users"):
        factorisation.fold_in(users, scipy.sparse.csr_matrix((1, 4)))


def test_pmi_by_hand():
    # total 10; rows 4, 6; columns 5, 5: ln(3·10/(4·5)) = ln 1.5; ln(1·10/(4·5)) < 0; ln(2·10/30) < 0; ln(4·10/30)
    np.testing.assert_allclose(
        factorisation.pmi(np.array([[3, 1], [2, 4]])).toarray(), [[np.log(1.5), 0], [0, np.log(4 / 3)]], rtol=1e-12
    )
    with pytest.raises(DataError, match="negative"):
        factorisation.pmi(np.array([[1.0, -1.0]]))


def test_pmi_of_independent_classes_is_zero():
    assert np.abs(factorisation.pmi(np.outer([1, 2, 3], [4, 5])).toarray()).max() < 1e-12


def test_all_pmi_factors_give_the_matrix_back_and_fewer_the_best_approximation():
    matrix = (np.random.default_rng(0).random((30, 8)) < 0.3).astype(float)
    matrix[:, 0] = 1
    information = factorisation.pmi(matrix).toarray()
    whole = factorisation.pmi_factors(matrix, 8)
    np.testing.assert_allclose(whole.items @ whole.others.T, information, atol=1e-5)
    some = factorisation.pmi_factors(matrix, 3)
    values = np.linalg.svd(information, compute_uv=False)
    error = np.linalg.norm(information - some.items @ some.others.T)
    np.testing.assert_allclose(error, np.sqrt((values[3:] ** 2).sum()), rtol=1e-5)  # Eckart–Young
    with pytest.raises(ConfigError, match="dim=9"):
        factorisation.pmi_factors(matrix, 9)


def test_the_randomised_svd_of_large_matrices_agrees():
    rng = np.random.default_rng(0)
    block = scipy.sparse.csr_matrix((rng.random((2500, 10)) < 0.3).astype(float))
    wide = scipy.sparse.hstack([block, scipy.sparse.csr_matrix((2500, 1700))]).tocsr()  # above 4 million cells
    small, large = factorisation.pmi_factors(block, 10), factorisation.pmi_factors(wide, 10)
    product = large.items @ large.others[:10].T
    np.testing.assert_allclose(product, small.items @ small.others.T, atol=1e-4)
    assert np.abs(large.others[10:]).max() < 1e-5


def test_folding_in_the_training_items_gives_their_factors():
    matrix = (np.random.default_rng(1).random((30, 8)) < 0.3).astype(float)
    result = factorisation.pmi_factors(matrix, 8)
    again = factorisation.pmi_fold_in(result.others, matrix, marginals=(matrix.sum(axis=0), matrix.sum()))
    np.testing.assert_allclose(again, result.items, atol=1e-5)


def test_bad_sizes_are_refused():
    with pytest.raises(ConfigError, match="dim=0"):
        factorisation.als(counts(), 0)
    with pytest.raises(ConfigError, match="iterations=0"):
        factorisation.als(counts(), 2, iterations=0)
