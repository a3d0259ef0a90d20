"""Songs, tags and listeners to their places in the space, and songs' tags to probabilities."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from orpheus.config.joint import JointConfig
from orpheus.models.joint import MASK
from orpheus.tasks.joint.data import JointData, Progress
from orpheus.tasks.joint.metrics import Outputs, Truth

_WINDOWS = 128  # embedded at once
_ROWS = 4096


def songs(
    model: keras.Model,
    data: JointData,
    rows: np.ndarray,
    config: JointConfig,
    *,
    windows: int | None = None,
    progress: Progress = lambda x: x,
) -> np.ndarray:
    """(songs, d) float32 unit rows: the mean over windows of whole songs; of what each song has.

    Args:
        model: Of the run.
        data: Its data.
        rows: Numbers of songs.
        config: Of the run.
        windows: Of each song; None for joint.num_chunk.
        progress: Wraps the batches.
    """
    rows = np.asarray(rows, np.int64)
    inputs = {name: table[rows] for name, table in data.tables.items()}
    inputs[MASK] = data.present[rows].astype(np.float32)
    if data.audio is None:
        return embed(model, None, inputs)
    count = windows or config.joint.num_chunk
    size = max(1, _WINDOWS // count)
    whole = config.joint.evaluation_windows == "whole"
    batches = data.audio.spread(rows.tolist(), count, batch_size=size, whole=whole)
    found = list(embed_batches(model, progress(batches), size, inputs))
    return np.concatenate(found) if found else np.zeros((0, dimension(model)), np.float32)


def embed_batches(
    model: keras.Model, batches: Any, size: int, inputs: Mapping[str, np.ndarray]
) -> Iterator[np.ndarray]:
    """Places of batches of `size` songs' windows, beside which are the songs' rows of the other inputs."""
    for number, found in enumerate(batches):
        part = slice(number * size, number * size + len(found))
        yield embed(model, found, {name: rows[part] for name, rows in inputs.items()})


def embed(model: keras.Model, windows: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """(songs, d) float32 unit rows.

    Args:
        model: With a layer ``song_tower``.
        windows: (songs, count, …), or None for a model without audio.
        inputs: Name → (songs, columns) of the other inputs, and ``"present"`` → (songs, inputs) of 0 and 1.
    """
    if windows is None:
        total = len(inputs[MASK])
        parts = (slice(first, first + _ROWS) for first in range(0, total, _ROWS))
        found = [_forward(model, {name: rows[part] for name, rows in inputs.items()}) for part in parts]
        return np.concatenate(found) if found else np.zeros((0, dimension(model)), np.float32)
    count = windows.shape[1]
    repeated = {name: np.repeat(rows, count, axis=0) for name, rows in inputs.items()}
    repeated["audio"] = tf.cast(tf.reshape(windows, (-1, *windows.shape[2:])), tf.float32)
    outputs = _forward(model, repeated)
    return unit(outputs.reshape(-1, count, outputs.shape[-1]).mean(axis=1))


def dimension(model: keras.Model) -> int:
    """Of the space."""
    return int(model.get_layer("song_tower").output.shape[-1])


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one."""
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def _forward(model: keras.Model, inputs: Mapping[str, Any]) -> np.ndarray:
    tower = model.get_layer("song_tower")
    if not hasattr(tower, "_orpheus_graph"):  # traced once, for any number of songs
        one = {name: tf.TensorSpec(given.shape, tf.float32) for name, given in tower.input.items()}
        tower._orpheus_graph = tf.function(lambda given: tower(given, training=False), input_signature=[one])
    tensors = {name: tf.cast(tf.convert_to_tensor(rows), tf.float32) for name, rows in inputs.items()}
    return tower._orpheus_graph(tensors).numpy().astype(np.float32)


def has_layer(model: keras.Model, name: str) -> bool:
    """Whether a model has learned a part that weights of 0 leave out."""
    return any(layer.name == name for layer in model.layers)


def tags(model: keras.Model, vectors: np.ndarray) -> np.ndarray:
    """(tags, d) float32 unit rows of word vectors."""
    return model.get_layer("tag_tower")(np.asarray(vectors, np.float32), training=False).numpy().astype(np.float32)


def probabilities(model: keras.Model, places: np.ndarray, tag_places: np.ndarray) -> np.ndarray | None:
    """(songs, tags) float32 in (0, 1) of the run's tags; None of a model that has learned none.

    Args:
        model: Of the run.
        places: (songs, d) unit rows.
        tag_places: (tags, d) of all tags of the run, in their order.
    """
    if not has_layer(model, "tag_logits"):
        return None
    logits = model.get_layer("tag_logits")(places @ tag_places.T)
    return tf.sigmoid(logits).numpy().astype(np.float32)


def listeners(model: keras.Model, data: JointData, training_places: np.ndarray | None) -> np.ndarray:
    """(listeners, d) float32 unit rows: by the tower on their factors, else the mean of the training songs they heard.

    Listeners without either are rows of zeros.

    Args:
        model: Of the run.
        data: Its data.
        training_places: (training songs, d); None where every listener has factors.
    """
    if training_places is not None:
        found = by_history(data.history(), training_places)
    else:
        found = np.zeros((len(data.listeners), dimension(model)), np.float32)
    if data.listener_factors is not None and has_layer(model, "listener_tower"):
        rows = np.flatnonzero(data.has_factors)
        tower = model.get_layer("listener_tower")
        for first in range(0, len(rows), _ROWS):
            part = rows[first : first + _ROWS]
            found[part] = tower(data.listener_factors[part], training=False).numpy()
    return found


def by_history(heard: Any, places: np.ndarray) -> np.ndarray:
    """(listeners, d) unit rows, the mean of the places of what each heard, every song once.

    Args:
        heard: (listeners, songs) sparse, not zero where heard.
        places: (songs, d).
    """
    once = heard.copy()
    once.data = (once.data > 0).astype(np.float32)
    return unit(np.asarray(once @ places))


def outputs(
    model: keras.Model,
    data: JointData,
    rows: np.ndarray,
    config: JointConfig,
    *,
    training_windows: int | None = None,
    progress: Progress = lambda x: x,
) -> Outputs:
    """What a model makes of songs: cosines of tags and listeners, probabilities of tags.

    Args:
        model, data, rows, config, progress: As of `songs`.
        training_windows: Of training songs, for listeners that are the mean of these; None for joint.num_chunk.
    """
    places = songs(model, data, rows, config, progress=progress)
    found = listeners_of(model, data, config, windows=training_windows, progress=progress) if data.listeners else None
    scores = probable = None
    if has_layer(model, "tag_tower"):
        tag_places = tags(model, data.vectors)
        scores, probable = places @ tag_places.T, probabilities(model, places, tag_places)
    rows_of = None if found is None else (lambda numbers: found[numbers] @ places.T)
    return Outputs(scores, probable, rows_of)


def listeners_of(
    model: keras.Model,
    data: JointData,
    config: JointConfig,
    *,
    windows: int | None = None,
    progress: Progress = lambda x: x,
) -> np.ndarray:
    """`listeners` of the run's data, of whose training songs only those are embedded that somebody heard."""
    history = data.history()
    if data.listener_factors is not None and has_layer(model, "listener_tower"):
        history = history[~data.has_factors]
    wanted = np.unique(history.indices)
    places = np.zeros((len(data.splits["train"]), dimension(model)), np.float32)
    if len(wanted):
        places[wanted] = songs(model, data, data.splits["train"][wanted], config, windows=windows, progress=progress)
    return listeners(model, data, places)


def truth(data: JointData, rows: np.ndarray) -> Truth:
    """What is known of songs, for the metrics; of listeners those who have a place: the others are asked nothing.

    Args:
        data: Of the run.
        rows: Numbers of the songs.
    """
    heard = None
    if data.listeners:
        placed = data.has_factors | (np.diff(data.history().indptr) > 0)
        heard = scipy.sparse.csr_matrix(scipy.sparse.diags(placed.astype(np.float32)) @ data.heard[:, rows])
        heard.eliminate_zeros()
    return Truth(
        tags=data.targets.classes,
        labels=data.given(rows),
        groups=[data.groups[row] for row in rows],
        heard=heard,
        categories=data.categories,
    )
