"""Songs to their places in the space: windows embedded and averaged."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from orpheus.config.retrieval import RetrievalConfig
from orpheus.tasks.retrieval.data import Progress, RetrievalData

_WINDOWS = 128  # embedded at once


def score(
    model: keras.Model,
    data: RetrievalData,
    rows: np.ndarray,
    config: RetrievalConfig,
    *,
    progress: Progress = lambda x: x,
) -> np.ndarray:
    """(songs, tags) float32 cosines of whole songs and all tags."""
    embedded = embed(model, data, rows, config, progress=progress)
    return embedded @ model.get_layer("tag_tower")(data.vectors, training=False).numpy().astype(np.float32).T


def embed(
    model: keras.Model,
    data: RetrievalData,
    rows: np.ndarray,
    config: RetrievalConfig,
    *,
    progress: Progress = lambda x: x,
) -> np.ndarray:
    """(songs, dimension) float32 unit rows of whole songs: the mean over num_chunk windows of each.

    Args:
        model: Of the run.
        data: Its data.
        rows: Numbers of songs.
        config: Of the run.
        progress: Wraps the batches.
    """
    count = config.retrieval.num_chunk
    factors = data.factors[rows] if data.factors is not None else None
    if data.audio is None:
        assert factors is not None
        return embed_songs(model, None, factors)
    batch = max(1, _WINDOWS // count)
    whole = config.retrieval.evaluation_windows == "whole"
    batches = data.audio.spread(rows.tolist(), count, batch_size=batch, whole=whole)
    return np.concatenate(list(embed_batches(model, progress(batches), batch, factors)))


def embed_batches(model: keras.Model, batches: Iterable, size: int, factors: np.ndarray | None) -> Iterator[np.ndarray]:
    """Embeddings of batches of `size` songs' windows, beside which are the songs' rows of factors or None."""
    for number, windows in enumerate(batches):
        mine = factors[number * size : number * size + len(windows)] if factors is not None else None
        yield embed_songs(model, windows, mine)


def embed_songs(model: keras.Model, windows: Any, factors: np.ndarray | None) -> np.ndarray:
    """(songs, dimension) of windows (songs, count, …) and factors (songs, columns), either None."""
    inputs = {}
    count = 1
    if windows is not None:
        count = windows.shape[1]
        inputs["audio"] = tf.cast(tf.reshape(windows, (-1, *windows.shape[2:])), tf.float32)
    if factors is not None:
        inputs["factors"] = tf.repeat(tf.constant(factors, tf.float32), count, axis=0)
    outputs = _graph(model)(inputs).numpy().astype(np.float32)
    mean = outputs.reshape(-1, count, outputs.shape[-1]).mean(axis=1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)


def _graph(model: keras.Model) -> Any:
    """The song tower's inference as a graph, kept with the model so that it is traced once."""
    tower = model.get_layer("song_tower")
    if not hasattr(tower, "_orpheus_graph"):
        tower._orpheus_graph = tf.function(lambda inputs: tower(inputs, training=False), reduce_retracing=True)
    return tower._orpheus_graph
