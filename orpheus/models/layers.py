"""Registered Keras layers that the models share, and the convolution block that every frontend and the backend use."""

import zlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

_MINIMUM_RELATIVE_DEVIATION = 1e-5


@keras.saving.register_keras_serializable("orpheus")
class StandardiseExample(keras.layers.Layer):
    """Zero mean and unit variance per example, over what was recorded and not over silence or padding.

    Stored audio uses 0 for digital silence and padding: int16 samples of a waveform, and decibels above a floor of
    -100 dB of a log-mel spectrogram. Statistics are over the samples (waveform) or whole frames (log-mel) that are not
    all zero; the others come out as exactly 0, which is the mean. An example of zeros only comes out as zeros.

    Always computes in float32, whatever the mixed-precision policy: int16 overflows nothing but float16 would. The mean
    is taken off twice, so that the rounding of the first sum (up to 240,000 samples) is gone before squaring. The
    deviation is at least ``epsilon`` times the mean's magnitude, so that a constant example does not become rounding
    noise of unit variance; the result does not depend on the scale of the input.

    Args:
        epsilon: Smallest deviation, relative to the mean's magnitude. Default 1e-5.

    Input: (batch, samples) or (batch, frames, mels). Output: the same shape, float32.
    """

    def __init__(self, *, epsilon: float = _MINIMUM_RELATIVE_DEVIATION, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        self.epsilon = epsilon

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        axes = tuple(range(1, len(x.shape)))
        present = ops.not_equal(x, 0)
        values_per_position = 1
        if len(x.shape) == 3:
            present = ops.any(present, axis=-1, keepdims=True)  # (batch, frames, 1)
            values_per_position = x.shape[-1]
        count = ops.sum(ops.cast(present, "float32"), axis=axes, keepdims=True) * values_per_position
        count = ops.maximum(count, 1.0)
        mean = ops.sum(x, axis=axes, keepdims=True) / count
        x = ops.where(present, x - mean, 0.0)
        x = ops.where(present, x - ops.sum(x, axis=axes, keepdims=True) / count, 0.0)
        deviation = ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=True) / count)
        deviation = ops.maximum(deviation, self.epsilon * ops.abs(mean))
        return x / ops.where(deviation > 0, deviation, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("orpheus")
class LogCompression(keras.layers.Layer):
    """Decibels as stored to log10(10,000 p + 1) of the power p, the input of musicnn (Pons & Serra 2019).

    Stored are d = 10 log10(p) + 100, so the result is log10(10^(d/10 − 6) + 1): 4e-7 where d is 0, which is silence or
    padding. Always computes in float32, whatever the mixed-precision policy.

    Input and output: any shape; the output is float32.
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        power = ops.exp((ops.cast(inputs, "float32") / 10 - 6) * np.float32(np.log(10)))  # times 10,000
        return ops.log(power + 1.0) / np.float32(np.log(10))  # ONNX has no log1p

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("orpheus")
class FrequencySlices(keras.layers.Layer):
    """Every slice of `height` neighbouring frequency bins, as channels.

    A filter `height` bins high and `width` frames wide that moves over both axes is then a convolution over time only,
    (width, 1) long over `height` channels. The products and their sum are those of the one-channel 2-D convolution;
    they run as one well-shaped matrix product, twice as fast on CPU.

    Args:
        height: Bins in a slice, from 1 to the number of bins.

    Input: (batch, frames, bins). Output: (batch, frames, bins - height + 1, height).
    """

    def __init__(self, height: int, **kwargs):
        super().__init__(**kwargs)
        self.height = height

    def call(self, inputs):
        first = np.arange(inputs.shape[-1] - self.height + 1)
        return ops.take(inputs, first[:, None] + np.arange(self.height), axis=-1)

    def compute_output_shape(self, input_shape):
        *leading, bins = input_shape
        return (*leading, bins - self.height + 1, self.height)

    def get_config(self):
        return {**super().get_config(), "height": self.height}


@keras.saving.register_keras_serializable("orpheus")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` whose statistics over several replicas are exact.

    Keras reduces Σx and Σx² over the replicas and takes E[x²] − E[x]², which in float32 is nothing where the mean is far
    above the deviation: of a channel of mean 50 and deviation .1 the variance was off by 5 % and the gradient by 3 %
    (tests/models/test_replicas.py). Here the mean is reduced first, and then E[(x − mean)²], as one replica computes it.

    It has the name of Keras' class, by which weights are found in a checkpoint: those of runs that were trained with
    Keras' layer load.
    """

    def _moments(self, inputs, mask):
        context = tf.distribute.get_replica_context()
        if not self.synchronized or mask is not None or context is None or context.num_replicas_in_sync == 1:
            return _unshared(self, inputs, mask)
        axes = self._reduction_axes
        total = tf.reduce_sum(inputs, axes)
        count = tf.cast(tf.size(inputs) // tf.size(total), total.dtype)
        total, count = context.all_reduce(tf.distribute.ReduceOp.SUM, [total, count])
        mean = total / count
        shape = [1 if axis in axes else -1 for axis in range(len(inputs.shape))]
        squares = tf.reduce_sum(tf.square(inputs - tf.reshape(mean, shape)), axes)
        return mean, context.all_reduce(tf.distribute.ReduceOp.SUM, squares) / count


def _unshared(layer: keras.layers.BatchNormalization, inputs, mask):
    """Keras' moments of one replica, in two passes."""
    if mask is None:
        return ops.moments(inputs, axes=layer._reduction_axes)
    return keras.layers.BatchNormalization._moments(layer, inputs, mask)


@keras.saving.register_keras_serializable("orpheus")
class ChannelNormalization(BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis, with TensorFlow's fused kernel where it is exact.

    Keras 3 normalises in several passes over the tensor and keeps all of them for the gradient. On (batch, samples, 64)
    of a waveform that costs more than the convolutions: the fused kernel halves the training step on CPU. Same
    variables, same numbers (population variance in the moving statistics, as Keras). Statistics that are synchronised
    over replicas take `BatchNormalization`'s path, and inference Keras'.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable) or self.synchronized or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        x = inputs if len(inputs.shape) == 4 else tf.expand_dims(inputs, 1)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel returns the sample variance (over count - 1).
        count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        variance *= (count - 1) / count
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        return y if len(inputs.shape) == 4 else tf.squeeze(y, 1)


@keras.saving.register_keras_serializable("orpheus")
class UnitLength(keras.layers.Layer):
    """Rows of L2 length 1, in float32 under any policy; a row shorter than 1e-6 becomes zero and gets no gradient.

    Input and output: (batch, dimensions).
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs):
        squares = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
        long = squares > 1e-12
        # Where the gradient of the root explodes, it must not be taken at all: 0 · inf is nan.
        return ops.where(long, inputs * ops.rsqrt(ops.where(long, squares, 1.0)), 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape


def layer_seed(seed: int, name: str) -> int:
    """The seed of the layer called `name`, so that a weight depends on `seed` and its place, not on building order."""
    return zlib.crc32(f"{seed}/{name}".encode())


def initializer(seed: int, name: str) -> keras.initializers.Initializer:
    """Variance scaling over the fan-in (Glorot & Bengio 2010, as Pons et al. 2018), seeded for the layer `name`."""
    return keras.initializers.VarianceScaling(seed=layer_seed(seed, name))


def convolve(
    x,
    filters: int,
    size: int | tuple[int, int],
    name: str,
    *,
    seed: int,
    synchronized: bool,
    strides: int = 1,
    padding: str = "same",
):
    """Convolution with bias, ReLU, then batch normalisation (in this order).

    Args:
        x: (batch, time, channels), or (batch, time, bands, channels).
        filters: Number of filters.
        size: Time steps of a filter, or (time steps, bands); a number alone convolves every band alike.
        name: Layer name; the normalisation is called ``NAME_norm``.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.
        strides: Steps between outputs.
        padding: ``"same"`` (zeros) or ``"valid"``.
    """
    options = {
        "strides": strides,
        "padding": padding,
        "activation": "relu",
        "kernel_initializer": initializer(seed, name),
        "name": name,
    }
    if len(x.shape) == 4:
        x = keras.layers.Conv2D(filters, size if isinstance(size, tuple) else (size, 1), **options)(x)
    else:
        x = keras.layers.Conv1D(filters, size, **options)(x)
    return ChannelNormalization(synchronized=synchronized, name=f"{name}_norm")(x)
