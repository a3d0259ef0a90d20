"""Losses of tags and songs: triplets, whose negatives are given or drawn from the batch, and all negatives (InfoNCE).

Source: Won et al. 2021, Multimodal metric learning for tag-based music retrieval (arXiv 2010.16030); the weighted draw
after Wu et al. 2017, Sampling matters in deep embedding learning (arXiv 1706.07567); InfoNCE after van den Oord et al.
2018, Representation learning with contrastive predictive coding (arXiv 1807.03748), equation 4.

Both losses take the same outputs and targets. Outputs are ``(batch, 2, d)``: embeddings of an anchor tag and of a song
that has it; or ``(batch, 3, d)``, beside them a song that has it not. Targets are ``(batch, 2 + tags)`` float32: the
anchor's column, a number in [0, 1) that makes its draw, and 1 for each tag of the last song. The anchors' last songs are
the pool of negatives: those of them that lack an anchor's tag may be its negative. With several replicas the pool of a
replica is its own share of the batch.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from orpheus.errors import ConfigError

# Columns of the targets before the pool's tags: the anchor's column and its random number.
ANCHOR, PLACE, LABELS = 0, 1, 2


@keras.saving.register_keras_serializable(package="orpheus")
class TripletLoss(keras.losses.Loss):
    """max(0, margin − cos(anchor, positive) + cos(anchor, negative)), one value per anchor.

    The negative is drawn from the pool; an anchor without any costs nothing (`WithoutNegative` counts them). Where the
    targets say nothing of tags, ``(batch, 2)``, it is the third embedding.

    Args:
        margin: 0 to 2, by how much the positive must be nearer. Default 0.4.
        weighted: Draw with probability proportional to similarity (`draw_negatives`), the default, or uniformly.
        reduction, name, dtype: As for every Keras loss; float32 under any policy.

    Raises:
        ConfigError: the margin is out of range.
    """

    def __init__(
        self,
        margin: float = 0.4,
        *,
        weighted: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "triplet",
        dtype: Any = "float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not 0 <= margin <= 2:
            raise ConfigError(f"margin={margin}: cosines differ by 0 to 2, the paper's margin is 0.4")
        self.margin, self.weighted = margin, weighted

    def call(self, y_true, y_pred):
        near, cosines, targets = _compare(y_true, y_pred)
        if not _pooled(y_true):
            return tf.nn.relu(self.margin - near + tf.linalg.diag_part(cosines))
        return triplets(
            near, cosines, without_anchor(targets), targets[:, PLACE], margin=self.margin, weighted=self.weighted
        )

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "weighted": self.weighted}


@keras.saving.register_keras_serializable(package="orpheus")
class InfoNCE(keras.losses.Loss):
    """−log of the positive's share among itself and all negatives of the pool, one value per anchor.

    With s = exp(cos / temperature): −log(s(positive) / (s(positive) + Σ s(negatives))). Songs of the pool that have the
    anchor's tag count as neither. An anchor without any negative costs nothing.

    Args:
        temperature: Above 0; the smaller, the more the nearest negatives count. Default 0.1.
        reduction, name, dtype: As for every Keras loss; float32 under any policy.

    Raises:
        ConfigError: the temperature is not above 0.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "infonce",
        dtype: Any = "float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not temperature > 0:
            raise ConfigError(f"temperature={temperature}: cosines are divided by it; 0.05 to 0.2 are usual")
        self.temperature = temperature

    def call(self, y_true, y_pred):
        near, cosines, targets = _compare(y_true, y_pred)
        return all_negatives(near, cosines, without_anchor(targets), scale=1 / self.temperature)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


def triplets(
    near: tf.Tensor, cosines: tf.Tensor, allowed: tf.Tensor, places: tf.Tensor, *, margin: float, weighted: bool
) -> tf.Tensor:
    """max(0, margin − near + far) with one negative per anchor from the pool; 0 where there is none.

    Args:
        near: (anchors,) cosine of each anchor and its positive.
        cosines: (anchors, songs) of anchors and the pool.
        allowed: (anchors, songs) bool: the song may be the anchor's negative.
        places: (anchors,) in [0, 1), each anchor's draw.
        margin: See `TripletLoss`.
        weighted: Draw by similarity (`draw_negatives`) or uniformly.

    Returns:
        (anchors,).
    """
    likeness = tf.stop_gradient(cosines) if weighted else tf.zeros_like(cosines)
    chosen, found = draw_negatives(likeness, allowed, places)
    far = tf.gather(cosines, chosen, batch_dims=1)
    return tf.where(found, tf.nn.relu(margin - near + far), 0.0)


def all_negatives(near: tf.Tensor, cosines: tf.Tensor, allowed: tf.Tensor, *, scale: Any) -> tf.Tensor:
    """−log of the positive's share among itself and all allowed songs of the pool, (anchors,); see `InfoNCE`.

    Args:
        near, cosines, allowed: As of `triplets`.
        scale: 1 / temperature; a number, or (anchors,) where a model has learned it.
    """
    column = tf.reshape(tf.cast(scale, tf.float32), [-1, 1])
    negatives = tf.where(allowed, cosines * column, -np.inf)
    positive = near[:, tf.newaxis] * column
    return tf.reduce_logsumexp(tf.concat([positive, negatives], axis=1), axis=1) - positive[:, 0]


def _compare(y_true: Any, y_pred: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(batch,) cosine of each anchor and its positive, (batch, batch) of anchors and the pool, targets as float32."""
    outputs = tf.math.l2_normalize(tf.cast(y_pred, tf.float32), axis=-1, epsilon=1e-12)
    anchors = outputs[:, 0]
    near = tf.reduce_sum(anchors * outputs[:, 1], axis=-1)
    return near, tf.matmul(anchors, outputs[:, -1], transpose_b=True), tf.cast(y_true, tf.float32)


def _pooled(y_true: Any) -> bool:
    """Whether targets tell the tags of the pool."""
    return y_true.shape[1] is None or y_true.shape[1] > LABELS


def without_anchor(targets: tf.Tensor) -> tf.Tensor:
    """(batch, batch) bool: whether the pool's song j lacks the tag of anchor i."""
    columns = LABELS + tf.cast(targets[:, ANCHOR], tf.int32)
    return tf.transpose(tf.gather(targets, columns, axis=1)) < 0.5


def draw_negatives(cosines: tf.Tensor, allowed: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One allowed song per anchor with probability proportional to its similarity (1 + cos) / 2.

    Args:
        cosines: (anchors, songs) in [−1, 1].
        allowed: (anchors, songs) bool.
        places: (anchors,) in [0, 1): where along the cumulated similarities each draw falls.

    Returns:
        (anchors,) int32 song, always an allowed one where there is any; (anchors,) bool whether there is any.
    """
    # The small constant keeps a song exactly opposite to the anchor possible where it is the only one left.
    weights = tf.where(allowed, tf.maximum((1.0 + cosines) / 2.0, 0.0) + 1e-6, 0.0)
    cumulated = tf.cumsum(weights, axis=1)
    ahead = allowed & (cumulated > (places * cumulated[:, -1])[:, tf.newaxis])
    # The first allowed song past the draw; rounding may leave none, and then it is the last one.
    songs = tf.shape(cosines)[1]
    first = tf.argmax(tf.cast(ahead, tf.int32), axis=1, output_type=tf.int32)
    last = songs - 1 - tf.argmax(tf.cast(allowed[:, ::-1], tf.int32), axis=1, output_type=tf.int32)
    return tf.where(tf.reduce_any(ahead, axis=1), first, last), tf.reduce_any(allowed, axis=1)


@keras.saving.register_keras_serializable(package="orpheus")
class WithoutNegative(keras.metrics.Metric):
    """How many anchors of the epoch found no song in their batch (in their replica's share of it) without their tag."""

    def __init__(self, name: str = "without_negative", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        if _pooled(y_true):
            found = tf.reduce_any(without_anchor(tf.cast(y_true, tf.float32)), axis=1)
            self.count.assign_add(tf.reduce_sum(tf.cast(~found, tf.float32)))

    def result(self):
        return self.count + 0.0
