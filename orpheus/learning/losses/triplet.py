"""The triplet loss of tags and songs, with given negatives or with negatives drawn within the batch.

Source: Won et al. 2021, Multimodal metric learning for tag-based music retrieval (arXiv 2010.16030); the weighted draw
after Wu et al. 2017, Sampling matters in deep embedding learning (arXiv 1706.07567).
"""

from typing import Any

import keras
import tensorflow as tf

from orpheus.errors import ConfigError

# Columns of the targets before the songs' tags: the anchor's column and its random number.
ANCHOR, PLACE, LABELS = 0, 1, 2


@keras.saving.register_keras_serializable(package="orpheus")
class TripletLoss(keras.losses.Loss):
    """max(0, margin − cos(anchor, positive) + cos(anchor, negative)), one value per anchor.

    Outputs are ``(batch, 3, d)``: embeddings of the anchor tag, of a song that has it and of one that has not. With
    ``(batch, 2, d)`` the negative is one of the batch's other positive songs, see `draw_negatives`; an anchor all of
    whose batch has its tag costs nothing (`WithoutNegative` counts them).

    Targets are ``(batch, 2 + tags)`` float32: the anchor's column, a number in [0, 1) that makes its draw, and 1 for
    each tag of the positive song (needed with two embeddings only).

    Args:
        margin: 0 to 2, by how much the positive must be nearer. Default 0.4.
        reduction, name, dtype: As for every Keras loss; float32 under any policy.

    Raises:
        ConfigError: the margin is out of range.
    """

    def __init__(
        self,
        margin: float = 0.4,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "triplet",
        dtype: Any = "float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not 0 <= margin <= 2:
            raise ConfigError(f"margin={margin}: cosines differ by 0 to 2, the paper's margin is 0.4")
        self.margin = margin

    def call(self, y_true, y_pred):
        outputs = tf.math.l2_normalize(tf.cast(y_pred, tf.float32), axis=-1, epsilon=1e-12)
        anchors, positives = outputs[:, 0], outputs[:, 1]
        near = tf.reduce_sum(anchors * positives, axis=-1)
        if outputs.shape[1] == 3:
            far = tf.reduce_sum(anchors * outputs[:, 2], axis=-1)
            return tf.nn.relu(self.margin - near + far)
        targets = tf.cast(y_true, tf.float32)
        cosines = tf.matmul(anchors, positives, transpose_b=True)
        chosen, found = draw_negatives(tf.stop_gradient(cosines), without_anchor(targets), targets[:, PLACE])
        far = tf.gather(cosines, chosen, batch_dims=1)
        return tf.where(found, tf.nn.relu(self.margin - near + far), 0.0)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


def without_anchor(targets: tf.Tensor) -> tf.Tensor:
    """(batch, batch) bool: whether the song of column j lacks the tag of anchor i."""
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
        if y_pred.shape[1] == 2:
            found = tf.reduce_any(without_anchor(tf.cast(y_true, tf.float32)), axis=1)
            self.count.assign_add(tf.reduce_sum(tf.cast(~found, tf.float32)))

    def result(self):
        return self.count + 0.0
