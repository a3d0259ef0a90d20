"""Recommendation of items nobody has heard, without a model: what every result is compared with.

Each function gives scores (test items, users), float32; higher is better. Metrics are computed elsewhere.
"""

import numpy as np
import scipy.sparse

from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import lists


def random(n_items: int, n_users: int, *, seed: int = 0) -> np.ndarray:
    """Uniform scores in [0, 1)."""
    return np.random.default_rng(seed).random((n_items, n_users), dtype=np.float32)


def popularity(listeners: np.ndarray, n_users: int) -> np.ndarray:
    """The same ranking for every user: by a number of listeners per item.

    The true numbers of unheard items are not known in practice: with them this is an oracle. `expected_listeners`
    gives what can be known.

    Args:
        listeners: (items,).

    Returns:
        A read-only view of shape (items, n_users).
    """
    return np.broadcast_to(np.asarray(listeners, np.float32)[:, None], (len(listeners), n_users))


def expected_listeners(
    train_features, test_features, train_counts: scipy.sparse.spmatrix, *, k: int = 50
) -> np.ndarray:
    """Mean number of listeners of the `k` training items most like each test item, weighted by cosine, float32 (items,).

    Args:
        train_features: As of `neighbours`.
        test_features: As of `neighbours`.
        train_counts: (training items, users); above zero is heard.
        k: As of `neighbours`.
    """
    listeners = np.diff(scipy.sparse.csr_matrix(train_counts).indptr).astype(np.float32)
    weights = neighbours(train_features, test_features, len(listeners), k)
    total = np.asarray(weights.sum(axis=1)).ravel()
    return np.divide(weights @ listeners, total, out=np.zeros(len(total), np.float32), where=total > 0)


def neighbours(train, test, n_items: int, k: int, block: int = 1024) -> scipy.sparse.csr_matrix:
    """Cosine similarities of each test item to its k nearest training items, CSR (test items, training items).

    The score of a user and an unheard item is the sum of these over what the user has heard: ``neighbours(…) @ heard``,
    heard (training items, users) of 0 and 1. Negative similarities count as 0.

    Args:
        train: (training items, features), dense or sparse.
        test: (test items, features).
        n_items: Number of training items, checked.
        k: Neighbours of each test item; at most all training items are taken.
        block: Test items compared at a time; memory is block × training items × 4 bytes.

    Raises:
        ConfigError: k below 1. DataError: sizes do not fit.
    """
    if k < 1:
        raise ConfigError(f"k={k}: expected at least 1")
    if train.shape[0] != n_items or train.shape[1] != test.shape[1]:
        raise DataError(
            f"features of shape {train.shape} (training) and {test.shape} (test) do not fit counts of {n_items} items"
        )
    train, test, k = unit(train), unit(test), min(k, n_items)
    parts = []
    for start in range(0, test.shape[0], block):
        similarity = test[start : start + block] @ train.T
        similarity = similarity.toarray() if scipy.sparse.issparse(similarity) else np.asarray(similarity)
        nearest = lists.top(similarity, k)  # ties go to the first item, on any machine
        values = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0).astype(np.float32)
        ends = np.arange(0, values.size + 1, k)
        parts.append(scipy.sparse.csr_matrix((values.ravel(), nearest.ravel(), ends), shape=similarity.shape))
    return scipy.sparse.vstack(parts).tocsr() if parts else scipy.sparse.csr_matrix((0, n_items), dtype=np.float32)


def unit(rows):
    """Rows of length 1; zero rows stay zero; never sparse with dense."""
    if scipy.sparse.issparse(rows):
        norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        return scipy.sparse.diags(np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)) @ rows
    rows = np.asarray(rows, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
