"""Losses that Keras lacks: cross-entropy that knows which tags are alike, and the cosine distance of factors."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from orpheus.errors import ConfigError

_BLOCK = 128  # classes compared at once: bounds memory to batch × classes × 128 floats
_NONE = -4.0  # lies below every cosine by more than the penalty can undo


@keras.saving.register_keras_serializable(package="orpheus")
class EmbeddingAwareCrossentropy(keras.losses.Loss):
    """Binary cross-entropy that costs more for a false positive the less it resembles the true tags (Model 5).

    Per example, with T its true labels, ω the normalised word vectors and n the number of classes::

        −1/n Σ_i [ t_i log ŷ_i + (1 − t_i) log(1 − ŷ_i) (1 + γ (1 − max_{j∈T} ω_i·ω_j)) ]

    Classes without a vector get no extra penalty and do not enter the maximum; an example none of whose true labels
    has a vector, or without true labels, gets none at all. With soft targets every class with a target above 0 is in
    T. The cross-entropy itself is Keras's (clipped at 1e-7, or from the logits where Keras can see them), so γ = 0 is
    ``keras.losses.BinaryCrossentropy``.

    Args:
        similarity: ``(classes, classes)`` cosines between class vectors; nan (or None) rows and columns mark classes
            without a vector.
        gamma: Strength of the extra penalty, at least 0; at 1 the worst mistake, of an opposite tag, counts 3 times.
        reduction: As for every Keras loss.
        name: Of the loss.
        dtype: Of the computation, float32 by default, whatever the model's precision.

    Raises:
        ConfigError: γ is negative or not finite, or `similarity` is not a symmetric matrix of cosines.
    """

    def __init__(
        self,
        similarity: np.ndarray | Sequence[Sequence[float | None]],
        gamma: float = 1.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "embedding_aware_crossentropy",
        dtype: Any = "float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not (np.isfinite(gamma) and gamma >= 0):
            raise ConfigError(f"gamma={gamma}: must be at least 0 (0 is plain cross-entropy)")
        matrix = np.array(similarity, np.float32)  # None becomes nan
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
            raise ConfigError(f"similarity has shape {matrix.shape}: must be (classes, classes)")
        known = ~np.isnan(np.diagonal(matrix))
        if not np.array_equal(np.isnan(matrix), ~np.outer(known, known)):
            raise ConfigError("similarity: nan must fill whole rows and columns, of the classes without a vector")
        inside = matrix[np.ix_(known, known)]
        if (np.abs(inside) > 1.001).any() or not np.allclose(inside, inside.T, atol=1e-3):
            raise ConfigError("similarity: must be symmetric cosines between −1 and 1; normalise the vectors first")
        self.similarity, self.gamma = matrix, float(gamma)
        self._known = known
        self._cosines = np.where(np.isnan(matrix), np.float32(0), matrix)

    def call(self, y_true, y_pred):
        """One value per example.

        Args:
            y_true: ``(batch, classes)``, 0 and 1.
            y_pred: ``(batch, classes)`` probabilities.

        Returns:
            ``(batch,)``.

        Raises:
            ConfigError: the number of classes is not that of `similarity`.
        """
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        if y_pred.shape[-1] != len(self.similarity):
            raise ConfigError(
                f"similarity is for {len(self.similarity)} classes and the model has {y_pred.shape[-1]}; "
                "build it from the run's classes"
            )
        losses = ops.binary_crossentropy(y_true, y_pred)
        if self.gamma and self._known.any():
            # In T the penalty is 0 (a class resembles itself fully): it falls on the other classes' term alone.
            losses = losses * (1 + self.gamma * self.penalty(y_true))
        return ops.mean(losses, axis=-1)

    def penalty(self, y_true):
        """1 − the cosine with the nearest true label, ``(batch, classes)``; 0 for true labels and where undefined."""
        usable = ops.logical_and(y_true > 0, ops.convert_to_tensor(self._known))
        bias = ops.where(usable, 0.0, ops.cast(_NONE, "float32"))  # (batch, classes)
        nearest = ops.full_like(bias, 2 * _NONE)
        for start in range(0, len(self.similarity), _BLOCK):
            part = slice(start, start + _BLOCK)
            block = ops.max(bias[:, None, part] + self._cosines[None, :, part], axis=-1)
            nearest = ops.maximum(nearest, block)
        defined = ops.logical_and(nearest > _NONE / 2, ops.convert_to_tensor(self._known))
        extra = ops.where(ops.logical_and(defined, y_true <= 0), 1 - nearest, 0.0)
        return ops.cast(ops.stop_gradient(extra), self.dtype)

    def get_config(self) -> dict[str, Any]:
        # The shortest decimals that give the same float32 again.
        rows = [[None if np.isnan(value) else float(str(value)) for value in row] for row in self.similarity]
        return {**super().get_config(), "similarity": rows, "gamma": self.gamma, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="orpheus")
class CosineDistance(keras.losses.Loss):
    """(1 − cos) / 2 between target and prediction: 0 for the same direction, 1 for opposite ones.

    Both are L2-normalised here, ``(batch, dimensions)``. A zero vector has no direction: its cosine counts as 0, so
    the loss as 0.5, and it gets no gradient.
    """

    def __init__(
        self,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str = "cosine_distance",
        dtype: Any = "float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        """One value per example, ``(batch,)``."""
        y_true, y_pred = (_unit(ops.convert_to_tensor(y, dtype=self.dtype)) for y in (y_true, y_pred))
        return (1 - ops.sum(y_true * y_pred, axis=-1)) / 2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.dtype}


def _unit(vectors):
    """Rows of length 1; rows shorter than 1e-6 become zero, with a zero gradient where it would explode."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    long = squares > 1e-12
    return ops.where(long, vectors * ops.rsqrt(ops.where(long, squares, 1.0)), 0.0)
