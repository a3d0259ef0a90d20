"""Draws inside the graph that are a function of seed, epoch and step: what metric learning's batches have in common."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

_BLOCK = 64  # batches drawn in one call: the call costs as much as the drawing of some thousand triplets


def batches(
    draw: Callable[[int, tf.Tensor], tuple[tf.Tensor, ...]],
    batch: int,
    *,
    steps: int,
    seed: int,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Endless (what was drawn, seed of the batch), as `Job.train` promises: a function of seed, epoch and step.

    Args:
        draw: (count, (2,) seed) → tensors of `count` rows each.
        batch: Rows of a batch.
        steps: Batches of an epoch.
        seed: Of the run.
        first_epoch: Where it begins.

    Returns:
        Dataset of (tuple of (batch, …) tensors, (2,) int64).
    """

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        def block(index: tf.Tensor):
            own = tf.stack([tf.constant(seed, tf.int64), number * steps + index])
            drawn = draw(_BLOCK * batch, own)
            seeds = tf.random.stateless_uniform([_BLOCK, 2], own + 2, maxval=None, minval=None, dtype=tf.int64)
            return tuple(tf.reshape(part, (_BLOCK, batch, *part.shape[1:])) for part in drawn), seeds

        blocks = tf.data.Dataset.range(-(-steps // _BLOCK)).map(block, num_parallel_calls=tf.data.AUTOTUNE)
        return blocks.unbatch().take(steps)

    return tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max).flat_map(epoch)


def below(uniform: tf.Tensor, limit: Any) -> tf.Tensor:
    """int64 in [0, limit) from numbers in [0, 1)."""
    limit = tf.cast(limit, tf.int64)
    drawn = tf.cast(uniform * tf.cast(limit, tf.float64), tf.int64)
    return tf.minimum(drawn, limit - 1)


def keep_some(present: tf.Tensor, rates: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Modality dropout: each input that is present is dropped with its rate, but never all of a row.

    Where every draw says to drop, the one that was nearest to being kept stays (Neverova et al. 2016, ModDrop, arXiv
    1501.00102, drops whole modalities in the same way).

    Args:
        present: (…, inputs) bool.
        rates: (inputs,) from 0 to 1, how often each is dropped.
        uniform: (…, inputs) in [0, 1).

    Returns:
        (…, inputs) bool, a subset of `present`; a row without any stays without any.
    """
    kept = present & (uniform >= rates)
    margin = tf.where(present, uniform - rates, -np.inf)
    nearest = tf.cast(tf.one_hot(tf.argmax(margin, axis=-1), tf.shape(present)[-1]), tf.bool)
    return tf.where(tf.reduce_any(kept, axis=-1, keepdims=True), kept, nearest & present)
