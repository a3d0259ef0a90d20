"""Answers to the joint task's questions without a model, which every result is compared with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from orpheus.learning.evaluation import baselines
from orpheus.tasks.joint.metrics import Outputs, Truth

_NEIGHBOURS = 100  # training songs whose tags and listeners a song takes, as recommendation's


@dataclass(frozen=True)
class Learned:
    """What a training knows.

    Attributes:
        labels: (training songs, tags) bool.
        heard: (listeners, training songs) sparse, not zero where the listener has played the song; None without listeners.
        features: (training songs, features), dense or sparse, of the model's own inputs; None where they are no vectors.
        of_songs: (songs, features) of the songs of the split.
    """

    labels: np.ndarray
    heard: sparse.spmatrix | None = None
    features: Any = None
    of_songs: Any = None


def outputs(truth: Truth, learned: Learned, *, seed: int = 0) -> dict[str, Outputs]:
    """The answers by name, as far as they can be had.

    ``random``. ``popularity``: tags by the share of training songs that have them; songs by how many tags, and how many
    listeners, the training songs most like them have: nobody knows more of a new song. ``popularity, oracle``: by the
    split's own numbers, which nobody knows of new songs. ``nearest neighbours``: the tags and the
    listeners of the training songs most like a song, weighted by cosine; of tags the weighted share.

    Args:
        truth: Of the songs of a split.
        learned: By the training.
        seed: Of ``random``.
    """
    count = len(truth.labels)
    drawn = np.random.default_rng(seed).random(truth.labels.shape, np.float32)

    def random_rows(listeners: np.ndarray) -> np.ndarray:
        first = int(listeners[0]) if len(listeners) else 0
        return np.random.default_rng([seed, first]).random((len(listeners), count), np.float32)

    found = {"random": Outputs(drawn, drawn, random_rows)}
    prevalence = np.asarray(learned.labels, np.float32).mean(axis=0)
    if learned.features is None or learned.of_songs is None:
        found["popularity"] = Outputs(probabilities=_repeated(prevalence, count))
    else:
        found["popularity"] = Outputs(
            _same(_expected(learned, sparse.csr_matrix(learned.labels, dtype=np.float32)), truth.labels.shape[1]),
            _repeated(prevalence, count),
            None if learned.heard is None else _ranking(_expected(learned, sparse.csr_matrix(learned.heard).T)),
        )
    labels, tagged = np.asarray(truth.labels, np.float32), truth.tagged
    found["popularity, oracle"] = Outputs(
        _same(labels.sum(axis=1), labels.shape[1]),
        _repeated(labels[tagged].mean(axis=0), count) if tagged.any() else None,
        None if truth.heard is None else _ranking(np.diff(sparse.csc_matrix(truth.heard).indptr)),
    )
    if learned.features is not None and learned.of_songs is not None:
        found["nearest neighbours"] = _neighbours(learned)
    return found


def _neighbours(learned: Learned) -> Outputs:
    near = baselines.neighbours(learned.features, learned.of_songs, learned.features.shape[0], _NEIGHBOURS)
    weights = np.asarray(near.sum(axis=1))
    sums = np.asarray(near @ np.asarray(learned.labels, np.float32))
    shares = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
    rows = None
    if learned.heard is not None:
        heard = sparse.csr_matrix(learned.heard, dtype=np.float32, copy=True)
        heard.data[:] = heard.data > 0

        def rows(listeners: np.ndarray) -> np.ndarray:
            return (heard[listeners] @ near.T).toarray()

    shares = np.clip(shares, 0, 1)
    return Outputs(shares, shares, rows)


def _expected(learned: Learned, counts: Any) -> np.ndarray:
    """(songs,): how many entries the rows of the training songs most like each song have."""
    counts = sparse.csr_matrix(counts, copy=True)
    counts.eliminate_zeros()
    return baselines.expected_listeners(learned.features, learned.of_songs, counts)


def _same(of_songs: np.ndarray, columns: int) -> np.ndarray:
    return baselines.popularity(of_songs, columns)


def _repeated(of_tags: np.ndarray, songs: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(of_tags, np.float32), (songs, len(of_tags)))


def _ranking(of_songs: np.ndarray) -> Any:
    """Scores of listeners that are the same for each."""
    row = np.asarray(of_songs, np.float32)
    return lambda listeners: np.broadcast_to(row, (len(listeners), len(row)))
