"""ROC-AUC and PR-AUC of tags while training, from counts between fixed thresholds; `ranking` has the exact values."""

from typing import Any

import keras
import numpy as np
from keras import ops

from orpheus.errors import ConfigError


@keras.saving.register_keras_serializable(package="orpheus")
class TagAUC(keras.metrics.Metric):
    """Areas under the ROC and the precision–recall curve, over all classes and per class.

    Values equal ``keras.metrics.AUC(num_thresholds, curve="ROC" or "PR", multi_label=average == "macro")``: the same
    thresholds i/(num_thresholds − 1) with −ε and 1 + ε at the ends, ``prediction > threshold``, trapezoids for ROC
    (Fawcett 2006) and Davis & Goadrich (2006) interpolation for PR. One histogram per kind of label serves both
    curves, all classes and the confusion counts. It is kept in float64, where counts are exact to 2^53: float32, as in
    Keras, stops counting at 16.8 million.

    Few thresholds blur: with 200, predictions of rare tags that crowd near zero share a few of them.

    Args:
        n_classes: Columns of targets and predictions.
        num_thresholds: At least 2.
        average: ``"micro"``: of the classes' confusion counts added up. ``"macro"``: the mean over the classes that
            have both kinds of label so far; the others say nothing and are left out (Keras counts them as 0).
        name: Of the metric; results go by their own names.
        dtype: Of the results; float32 by default.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        num_thresholds: int = 200,
        average: str = "micro",
        name: str = "auc",
        dtype: Any = None,
    ):
        if n_classes < 1:
            raise ConfigError(f"n_classes={n_classes}: must be at least 1")
        if num_thresholds < 2:
            raise ConfigError(f"num_thresholds={num_thresholds}: must be at least 2 (200 is usual)")
        if average not in ("micro", "macro"):
            raise ConfigError(f"average={average!r}: must be 'micro' or 'macro'")
        super().__init__(name=name, dtype=dtype)
        self.n_classes, self.num_thresholds, self.average = int(n_classes), int(num_thresholds), average
        # (negatives then positives, intervals between thresholds, classes)
        self.counts = self.add_variable(
            shape=(2, self.num_thresholds - 1, self.n_classes), initializer="zeros", dtype="float64", name="counts"
        )

    @property
    def thresholds(self) -> np.ndarray:
        """``(num_thresholds,)`` float64, ascending."""
        values = np.arange(self.num_thresholds) / (self.num_thresholds - 1)
        values[0], values[-1] = -keras.config.epsilon(), 1 + keras.config.epsilon()
        return values

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        """Count a batch.

        Args:
            y_true: ``(batch, classes)``; what is not zero counts as positive.
            y_pred: ``(batch, classes)`` probabilities of any float type; clipped to 0 … 1.
            sample_weight: None, a number, ``(batch,)``, ``(batch, 1)`` or ``(batch, classes)``.
        """
        y_pred = ops.cast(y_pred, "float32")
        labels = ops.cast(ops.cast(y_true, "bool"), "int32")
        steps = self.num_thresholds - 1
        interval = ops.cast(ops.ceil(ops.clip(y_pred, 0.0, 1.0) * steps), "int32") - 1
        interval = ops.clip(interval, 0, steps - 1)  # 0 lies above −ε; a nan must not count outside
        cell = (labels * steps + interval) * self.n_classes + ops.arange(self.n_classes, dtype="int32")
        weights = ops.cast(1.0 if sample_weight is None else sample_weight, "float64")
        if len(weights.shape) == 1:
            weights = ops.expand_dims(weights, -1)
        weights = ops.broadcast_to(weights, ops.shape(y_pred))
        added = ops.segment_sum(
            ops.reshape(weights, (-1,)), ops.reshape(cell, (-1,)), num_segments=2 * steps * self.n_classes
        )
        self.counts.assign_add(ops.reshape(added, self.counts.shape))

    def result(self) -> dict[str, Any]:
        """``{"ROC-AUC": scalar, "PR-AUC": scalar}``, 0 while there is only one kind of label."""
        negatives, positives = self._above(self.counts)
        if self.average == "micro":
            negatives, positives = (ops.sum(counts, axis=1, keepdims=True) for counts in (negatives, positives))
        usable = ops.logical_and(negatives[0] > 0, positives[0] > 0)
        number = ops.maximum(ops.sum(ops.cast(usable, "float64")), 1.0)
        means = [
            ops.cast(ops.sum(ops.where(usable, area, 0.0)) / number, self.dtype)
            for area in _areas(negatives, positives)
        ]
        return dict(zip(("ROC-AUC", "PR-AUC"), means, strict=True))

    def per_label(self) -> dict[str, np.ndarray]:
        """``{"roc": (classes,), "pr": (classes,)}`` float64, nan where a class has only one kind of label."""
        negatives, positives = self._above(self.counts)
        roc, pr = (ops.convert_to_numpy(area) for area in _areas(negatives, positives))
        usable = ops.convert_to_numpy(ops.logical_and(negatives[0] > 0, positives[0] > 0))
        return {"roc": np.where(usable, roc, np.nan), "pr": np.where(usable, pr, np.nan)}

    def prevalence(self) -> np.ndarray:
        """``(classes,)`` float64 share of positives: the PR-AUC of a guess. nan where nothing was counted."""
        positives, total = (
            ops.convert_to_numpy(ops.sum(counts, axis=0)) for counts in (self.counts[1], ops.sum(self.counts, axis=0))
        )
        return np.where(total > 0, positives / np.maximum(total, 1), np.nan)

    def confusion(self) -> np.ndarray:
        """True positives, true negatives, false positives, false negatives at every threshold.

        Returns:
            ``(4, thresholds, classes)`` int64, thresholds ascending; weighted counts are rounded.
        """
        negatives, positives = (ops.convert_to_numpy(counts) for counts in self._above(self.counts))
        counts = [positives, negatives[0] - negatives, negatives, positives[0] - positives]
        return np.rint(np.stack(counts)).astype(np.int64)

    def get_config(self) -> dict[str, Any]:
        own = {"n_classes": self.n_classes, "num_thresholds": self.num_thresholds, "average": self.average}
        return {**super().get_config(), **own}

    def _above(self, counts) -> tuple[Any, Any]:
        """Negatives and positives predicted above each threshold, each ``(thresholds, classes)``."""
        sums = ops.flip(ops.cumsum(ops.flip(ops.convert_to_tensor(counts), axis=1), axis=1), axis=1)
        sums = ops.concatenate([sums, ops.zeros((2, 1, self.n_classes), dtype="float64")], axis=1)
        return sums[0], sums[1]


def _areas(false, true) -> tuple[Any, Any]:
    """ROC-AUC and PR-AUC of each column, from counts above ascending thresholds ``(thresholds, columns)``."""
    recall, fall_out = ops.divide_no_nan(true, true[:1]), ops.divide_no_nan(false, false[:1])
    roc = ops.sum((fall_out[:-1] - fall_out[1:]) * (recall[:-1] + recall[1:]) / 2, axis=0)
    # Between thresholds A and B, true positives grow with all predicted positives along a straight line (Davis &
    # Goadrich); the area under precision is then slope·(ΔTP + intercept·ln(P_A/P_B)).
    found = true + false
    gained = true[:-1] - true[1:]
    slope = ops.divide_no_nan(gained, found[:-1] - found[1:])
    intercept = true[1:] - slope * found[1:]
    both = ops.logical_and(found[:-1] > 0, found[1:] > 0)
    ratio = ops.where(both, ops.divide_no_nan(found[:-1], found[1:]), 1.0)
    pr = ops.sum(slope * (gained + intercept * ops.log(ratio)), axis=0)
    return roc, ops.divide_no_nan(pr, true[0])
