"""What the field's networks are made of: convolution, normalisation, ReLU and pooling, in this order, in 1-D and 2-D.

Strides, padding, momentum and epsilon are PyTorch's, in which most of these networks were published, so that weights
and outputs are comparable. (The blocks of Pons et al. put the ReLU before the normalisation: `orpheus.models.layers`.)
"""

from typing import Any

import keras

from orpheus.models.layers import BatchNormalization, ChannelNormalization, initializer

# PyTorch's momentum of 0.1 and epsilon of 1e-5; cuDNN takes nothing below 1e-5, which float32 cannot hold exactly.
NORMALISATION = {"momentum": 0.9, "epsilon": 1.001e-5}


def normalised(x, *, synchronized: bool):
    """Decibels normalised over the batch, in float32 under any policy, so that the level is heard.

    Args:
        x: (batch, frames, bands, channels).
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        The same shape, the output of the layer called ``normalise``.
    """
    return ChannelNormalization(synchronized=synchronized, dtype="float32", name="normalise", **NORMALISATION)(x)


def amplitude(audio):
    """Stored int16 samples as amplitudes in [-1, 1), in float32 under any policy; (batch, samples) in and out."""
    return keras.layers.Rescaling(1 / 32768, dtype="float32", name="amplitude")(audio)


def channel(audio):
    """A last axis of length 1, the channel; in float32 under any policy."""
    return keras.layers.Reshape((*audio.shape[1:], 1), dtype="float32", name="channel")(audio)


def convolution(
    x, filters: int, length: int, name: str, *, seed: int, synchronized: bool, strides=1, use_bias: bool = True
):
    """A convolution that pads zeros on both ends of every axis, then batch normalisation, without activation.

    Args:
        x: (batch, time, channels), or (batch, time, frequency, channels) for a square filter.
        filters: Number of filters.
        length: Positions of a filter along every axis, odd.
        name: Layer name; the normalisation is called ``NAME_norm``.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.
        strides: Positions between outputs, one number or one per axis.
        use_bias: Whether there is a bias, which the normalisation takes away again: published counts contain it.

    Returns:
        The same axes, each ceil(length / stride) long, and `filters` channels.
    """
    flat = len(x.shape) == 3
    padding = "same"
    if strides != 1 and length > 1:  # Keras' "same" would pad the end only where the length is even
        pad = keras.layers.ZeroPadding1D if flat else keras.layers.ZeroPadding2D
        x, padding = pad(length // 2, name=f"{name}_pad")(x), "valid"
    make = keras.layers.Conv1D if flat else keras.layers.Conv2D
    x = make(
        filters,
        length,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=initializer(seed, name),
        name=name,
    )(x)
    return ChannelNormalization(synchronized=synchronized, name=f"{name}_norm", **NORMALISATION)(x)


def block(x, filters: int, length: int, name: str, *, pooling=1, **options):
    """Convolution, batch normalisation, ReLU and max-pooling; arguments as in `convolution` and `pool`."""
    x = keras.layers.ReLU(name=f"{name}_relu")(convolution(x, filters, length, name, **options))
    return pool(x, pooling, name=f"{name}_pool")


def residual(
    x, filters: int, length: int, name: str, *, seed: int, synchronized: bool, strides=1, pooling=1, excitation=False
):
    """Two convolutions beside a shortcut, their sum, ReLU and max-pooling.

    The shortcut is the input itself where the shape stays, else a third convolution like the first.

    Args:
        x: (batch, time, channels) or (batch, time, frequency, channels).
        filters: Of each convolution.
        length: As in `convolution`.
        name: The convolutions are ``NAME_a``, ``NAME_b`` and ``NAME_shortcut``.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.
        strides: Of the first convolution and of the shortcut.
        pooling: As in `pool`.
        excitation: Whether the channels are weighted (`excite`) before the sum.
    """
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    y = convolution(x, filters, length, f"{name}_a", strides=strides, **options)
    y = keras.layers.ReLU(name=f"{name}_a_relu")(y)
    y = convolution(y, filters, length, f"{name}_b", **options)
    if excitation:
        y = excite(y, f"{name}_excite", seed=seed)
    if strides != 1 or x.shape[-1] != filters:
        x = convolution(x, filters, length, f"{name}_shortcut", strides=strides, **options)
    x = keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_sum")([x, y]))
    return pool(x, pooling, name=f"{name}_pool")


def excite(x, name: str, *, seed: int):
    """Squeeze and excitation (Hu et al. 2018, arXiv 1709.01507): channels weighted by what their means say.

    Args:
        x: (batch, time, channels).
        name: Prefix of the two dense layers, both as wide as there are channels.
        seed: The model's seed.
    """
    layers, channels = keras.layers, x.shape[-1]
    weights = layers.GlobalAveragePooling1D(keepdims=True, name=f"{name}_mean")(x)  # (batch, 1, channels)
    for step, activation in (("dense", "relu"), ("weights", "sigmoid")):
        kernel = initializer(seed, f"{name}_{step}")
        dense = layers.Dense(channels, activation=activation, kernel_initializer=kernel, name=f"{name}_{step}")
        weights = dense(weights)
    return layers.Multiply(name=name)([x, weights])


def pool(x, size, name: str):
    """Max-pooling; an axis shorter than its share of `size` is pooled whole, so that short windows are taken too.

    Args:
        x: (batch, time, channels) or (batch, time, frequency, channels).
        size: Positions that become one, one number or one per axis.
        name: Of the layer; there is none where nothing is pooled.
    """
    axes = x.shape[1:-1]
    sizes = tuple(map(min, (size,) * len(axes) if isinstance(size, int) else size, axes))
    if set(sizes) == {1}:
        return x
    if len(axes) == 1:
        return keras.layers.MaxPooling1D(sizes[0], name=name)(x)
    return keras.layers.MaxPooling2D(sizes, name=name)(x)


def dense_embedding(x, units: int, *, seed: int, synchronized: bool):
    """Dense, batch normalisation and ReLU, the last called ``embedding``; (batch, channels) → (batch, units)."""
    x = keras.layers.Dense(units, kernel_initializer=initializer(seed, "dense"), name="dense")(x)
    x = BatchNormalization(synchronized=synchronized, name="dense_norm", **NORMALISATION)(x)
    return keras.layers.ReLU(name="embedding")(x)
