"""Vectors of tags from the tags they meet: the skip-gram model without a window (Model 4.2).

A track with the tags [0, 1, 1, 1] gives three samples: tag 1 in, tags 2 and 3 out; 2 in, 1 and 3 out; 3 in, 1 and 2 out.
The vector of a tag is its row of the hidden layer's weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from orpheus.errors import ConfigError, DataError
from orpheus.semantics.cooccurrence import TagMatrix


def samples(tracks: TagMatrix) -> tuple[np.ndarray, np.ndarray]:
    """All (track, tag) pairs of tracks that have at least two of the tags.

    Returns:
        (samples,) row of the track in `tracks.matrix`, and (samples,) column of the input tag. The target of a sample is
        its track's row without that tag.
    """
    matrix = tracks.matrix.tocsr()
    sizes = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), sizes)
    enough = sizes[rows] >= 2
    return rows[enough], matrix.indices[enough].astype(np.int64)


def targets(tracks: TagMatrix, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(samples, tags) float32 of 0 and 1: the other tags of each sample's track."""
    result = tracks.matrix[rows].toarray().astype(np.float32)
    result[np.arange(len(rows)), inputs] = 0
    return result


class Batches(keras.utils.PyDataset):
    """Samples in batches, made dense one batch at a time, in the order that `Job.train` promises."""

    def __init__(self, tracks: TagMatrix, rows: np.ndarray, inputs: np.ndarray, *, batch_size: int, seed: int | None):
        super().__init__()
        self._tracks, self._rows, self._inputs = tracks, rows, inputs
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0
        self._order = self._new_order()

    def _new_order(self) -> np.ndarray:
        if self._seed is None:
            return np.arange(len(self._rows))
        return np.random.default_rng((self._seed, self._epoch)).permutation(len(self._rows))

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs = self._inputs[chosen]
        return inputs, targets(self._tracks, self._rows[chosen], inputs)

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._new_order()


def model(tags: int, *, dimension: int | None = None, seed: int = 0) -> keras.Model:
    """One tag in, the probabilities of the others out.

    Args:
        tags: Vocabulary size N.
        dimension: Hidden size; ⌊√N⌋ by default.
        seed: Of the weights.

    Returns:
        A model of integer inputs (batch,) and outputs (batch, N) that sum to 1. A one-hot input times a matrix is a row
        of it, so the hidden layer is an `Embedding` named ``vectors``.
    """
    if tags < 2:
        raise ConfigError(f"skip-gram of {tags} tags: at least two are needed")
    dimension = dimension or math.isqrt(tags)
    first, second = (keras.initializers.GlorotUniform(seed=(seed + i) % 2**31) for i in (1, 2))
    tag = keras.Input((), dtype="int32", name="tag")
    hidden = keras.layers.Embedding(tags, dimension, embeddings_initializer=first, name="vectors")(tag)
    others = keras.layers.Dense(tags, activation="softmax", kernel_initializer=second, name="others")(hidden)
    return keras.Model(tag, others, name="skip_gram")


@dataclass(frozen=True)
class Embedding:
    """Vectors of tags, and how training went.

    Attributes:
        vectors: (tags, d) float32, not normalised.
        loss: Validation loss of each epoch.
        samples: Number of samples to learn from, those for validation apart.
    """

    vectors: np.ndarray
    loss: tuple[float, ...]
    samples: int


def embed(
    tracks: TagMatrix,
    *,
    dimension: int | None = None,
    epochs: int = 100,
    patience: int = 5,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
    validation_share: float = 0.1,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Embedding:
    """Train a skip-gram model and take its vectors: Adam, binary cross-entropy, early stopping on held-out tracks.

    Args:
        tracks: Tags of tracks.
        dimension: Hidden size; ⌊√N⌋ by default.
        epochs: At most.
        patience: Epochs without a better validation loss before training stops; the best epoch's vectors stay.
        batch_size: Samples per step.
        learning_rate: Of Adam.
        validation_share: SplitRecords of the tracks held out; whole tracks, since the samples of one resemble each other.
        seed: Of weights, held-out tracks and order.
        on_epoch: Called with the epoch from 1 and its validation loss.

    Raises:
        DataError: no two of the tags ever meet.
    """
    rows, inputs = samples(tracks)
    if not len(rows):
        raise DataError(f"skip-gram: no two of the {len(tracks.tags)} tags meet on a track")
    used = np.unique(rows)
    held_out = np.random.default_rng(seed).permutation(used)[: int(len(used) * validation_share)]
    valid = np.isin(rows, held_out)
    train = Batches(tracks, rows[~valid], inputs[~valid], batch_size=batch_size, seed=seed)
    # With a handful of tracks nothing is held out: the training loss decides.
    check = Batches(tracks, rows[valid], inputs[valid], batch_size=4096, seed=None) if valid.any() else None
    monitor = "val_loss" if check is not None else "loss"
    network = model(len(tracks.tags), dimension=dimension, seed=seed)
    network.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="binary_crossentropy")
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.EarlyStopping(monitor, mode="min", patience=patience, restore_best_weights=True)
    ]
    if on_epoch:
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: on_epoch(e + 1, logs[monitor])))
    history = network.fit(
        train, validation_data=check, epochs=epochs, callbacks=callbacks, verbose=0, shuffle=False
    ).history
    vectors = network.get_layer("vectors").get_weights()[0]
    return Embedding(vectors, tuple(map(float, history[monitor])), int((~valid).sum()))
