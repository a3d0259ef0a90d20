"""The loss of tags, songs and listeners in one space: pairs of both kinds, and cross-entropy of tags."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.losses.triplet import all_negatives, triplets


@dataclass(frozen=True)
class Layout:
    """What stands in which column of the outputs and the targets of a joint model.

    Outputs are ``(batch, …)`` float32: where there are pairs of tags, the places of a tag and of a song that has it and
    1 / temperature; where there are pairs of listeners, the same of a listener and a song that they heard; where there are
    classes, the logits of the tag's song. Targets: the example's position in the global batch; of each kind of pairs a
    number in [0, 1) and for each song of the global batch 1 where it lacks the anchor; the weight of the cross-entropy and
    1 for each class of the song.

    Args:
        dimension: Of the places.
        batch: Examples of the global batch.
        tags: Whether there are pairs of tags.
        listeners: Whether there are pairs of listeners.
        classes: How many classes the cross-entropy has; 0 for none.
    """

    dimension: int
    batch: int
    tags: bool
    listeners: bool
    classes: int

    def __post_init__(self):
        if not (self.tags or self.listeners or self.classes):
            raise ConfigError("a joint loss of nothing: give it tags, listeners or classes")

    @property
    def kinds(self) -> tuple[str, ...]:
        """``"tags"`` and ``"listeners"``, those that are there."""
        return tuple(name for name in ("tags", "listeners") if getattr(self, name))

    def outputs(self, outputs: Any) -> dict[str, Any]:
        """Each part of the outputs: kind → (anchors, songs, scale), and ``"classes"`` → logits."""
        found: dict[str, Any] = {}
        outputs, start, d = tf.cast(outputs, tf.float32), 0, self.dimension
        for kind in self.kinds:
            own = outputs[:, start : start + 2 * d + 1]
            found[kind] = own[:, :d], own[:, d : 2 * d], own[:, 2 * d]
            start += 2 * d + 1
        if self.classes:
            found["classes"] = outputs[:, start : start + self.classes]
        return found

    def targets(self, targets: Any) -> dict[str, Any]:
        """Each part of the targets: kind → (places, (rows, rows) bool), and ``"classes"`` → (weights, labels)."""
        targets, start, found = tf.cast(targets, tf.float32), 1, {}
        # A replica has its own rows of the batch, and the columns of its own songs.
        mine = tf.cast(targets[:, 0], tf.int32)
        for kind in self.kinds:
            lacking = targets[:, start + 1 : start + 1 + self.batch]
            found[kind] = targets[:, start], tf.gather(lacking, mine, axis=1) > 0.5
            start += 1 + self.batch
        if self.classes:
            found["classes"] = targets[:, start], targets[:, start + 1 : start + 1 + self.classes]
        return found


@keras.saving.register_keras_serializable(package="orpheus")
class JointLoss(keras.losses.Loss):
    """The weighted sum of what a batch says of tags, listeners and classes, one value per example.

    Pairs: as `triplet.TripletLoss` or `triplet.InfoNCE`, whose temperature the model gives. The pool of negatives are the
    songs of the same kind in the batch (in the replica's share of it). Classes: the mean over classes of the cross-entropy of the
    song's logits, times its weight.

    Args:
        layout: Of outputs and targets; a `Layout`, or its values.
        pairs: Kind → ``{"loss", "margin", "is_weighted", "weight"}``, of `config.joint.PairLoss`.
        class_weight: Of the cross-entropy.
        reduction, name, dtype: As for every Keras loss.
    """

    def __init__(
        self,
        layout: Layout | Mapping[str, Any],
        pairs: Mapping[str, Mapping[str, Any]],
        class_weight: float = 1.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "joint",
        dtype: Any = "float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.layout = layout if isinstance(layout, Layout) else Layout(**layout)
        self.pairs, self.class_weight = {kind: dict(one) for kind, one in pairs.items()}, class_weight

    def parts(self, y_true: Any, y_pred: Any) -> dict[str, tf.Tensor]:
        """(batch,) loss of each kind, without its weight."""
        outputs, targets = self.layout.outputs(y_pred), self.layout.targets(y_true)
        found = {}
        for kind in self.layout.kinds:
            (anchors, songs, scale), (places, lacking), how = outputs[kind], targets[kind], self.pairs[kind]
            cosines = tf.matmul(anchors, songs, transpose_b=True)
            near = tf.linalg.diag_part(cosines)
            if how["loss"] == "infonce":
                found[kind] = all_negatives(near, cosines, lacking, scale=scale)
            else:
                found[kind] = triplets(
                    near, cosines, lacking, places, margin=how["margin"], weighted=how["is_weighted"]
                )
        if self.layout.classes:
            weights, labels = targets["classes"]
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels, outputs["classes"])
            found["classes"] = weights * tf.reduce_mean(entropy, axis=1)
        return found

    def call(self, y_true, y_pred):
        weights = {**{kind: one["weight"] for kind, one in self.pairs.items()}, "classes": self.class_weight}
        return tf.add_n([weights[kind] * value for kind, value in self.parts(y_true, y_pred).items()])

    def get_config(self):
        own = {"layout": asdict(self.layout), "pairs": self.pairs, "class_weight": self.class_weight}
        return {**super().get_config(), **own}


class JointParts(keras.metrics.Metric):
    """The mean of each part of a `JointLoss` over the epoch, as ``{"tags": …, "listeners": …, "classes": …}``."""

    def __init__(self, loss: JointLoss, name: str = "parts", **kwargs):
        super().__init__(name=name, **kwargs)
        self._loss_of = loss
        layout = loss.layout
        self._names = (*layout.kinds, *(("classes",) if layout.classes else ()))
        self.totals = self.add_weight(name="totals", shape=(len(self._names),), initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        parts = self._loss_of.parts(y_true, y_pred)
        self.totals.assign_add(tf.stack([tf.reduce_sum(parts[name]) for name in self._names]))
        self.count.assign_add(tf.cast(tf.shape(y_pred)[0], tf.float32))

    def result(self):
        mean = tf.math.divide_no_nan(tf.convert_to_tensor(self.totals), tf.convert_to_tensor(self.count))
        return {f"{name}_loss": mean[index] for index, name in enumerate(self._names)}
