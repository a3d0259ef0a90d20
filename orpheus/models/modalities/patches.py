"""Spectrogram patches to a vector: convolutions over time and frequency, filters of many shapes, or a CRNN."""

import math

import keras

from orpheus.config.experiment import Convolution, PatchesInput
from orpheus.errors import ConfigError
from orpheus.models.layers import BatchNormalization, layer_seed


def vector(x, settings: PatchesInput, *, name: str, prefix: str, seed: int, synchronized: bool):
    """The vector of a patch, by ``settings.architecture``.

    ``cnn``: up to five 'valid' convolutions, each with pooling and dropout, then all that is left as one vector.
    Layers ``channel conv_1 [conv_1_norm] pool_1 drop_1 conv_2 … flat``.

    ``multi-filter``: a first layer of filters of several shapes side by side, 'same' over time and 'valid' over
    frequency, of each the maximum over frequency (Pons et al. 2016, "Experimenting with musically motivated
    convolutional neural networks"); the later convolutions move over time only. Layers ``channel conv_1_TxF … conv_1
    pool_1 drop_1 conv_2 …``.

    ``crnn``: 'same' convolutions over a patch padded with zeros on both sides until the pooling divides it, then
    recurrent layers (GRU) over time (Choi et al. 2016, "Convolutional recurrent neural networks for music
    classification", whose sizes are 96 bands × 1,366 frames, 64–128–128–128 filters of 3×3, pooling of (2, 2), (3, 3),
    (4, 4), (4, 4), two GRU of 32). Layers ``channel pad input_norm conv_1 … sequence gru_1 …``.

    ``flat``: all values as they are, for descriptors that are stored as patches of one frame. Layer ``flat``.

    Args:
        x: (batch, frames, bands).
        settings: Of the input.
        name: Of the input, for errors.
        prefix: Of layer names.
        seed: Of weights and dropout.
        synchronized: Share batch statistics across replicas.

    Returns:
        (batch, features).

    Raises:
        ConfigError: a kernel or a pooling is larger than what is left of the patch; names the convolution.
    """
    frames, bands = x.shape[1:]
    if settings.architecture == "flat":
        return keras.layers.Flatten(name=f"{prefix}flat")(x)
    x = keras.layers.Reshape((frames, bands, 1), name=f"{prefix}channel")(x)
    block = _Block(settings, name, prefix, seed, synchronized)
    convolutions = settings.convolutions
    if settings.architecture == "crnn":
        return _recurrent(x, block, convolutions)
    if settings.architecture == "multi-filter":
        x = _many_shapes(x, block, convolutions[0])
        convolutions = convolutions[1:]
    for number, convolution in enumerate(convolutions, len(settings.convolutions) - len(convolutions) + 1):
        x = block(x, convolution, number)
    return keras.layers.Flatten(name=f"{prefix}flat")(x)


class _Block:
    """Convolution, normalisation, activation, pooling and dropout, with checked sizes and seeded weights."""

    def __init__(self, settings: PatchesInput, name: str, prefix: str, seed: int, synchronized: bool):
        self.settings, self.name, self.prefix, self.seed, self.synchronized = settings, name, prefix, seed, synchronized

    def __call__(self, x, convolution: Convolution, number: int, *, padding: str = "valid"):
        where = f"inputs.{self.name}.convolutions.{number - 1}"
        if padding == "valid":
            _check_fits(f"{where}.kernel", convolution.kernel, x.shape[1:3])
        x = self.convolve(x, convolution.filters, convolution.kernel, f"conv_{number}", padding)
        return self.pool(x, convolution.pool, number)

    def convolve(self, x, filters: int, kernel: tuple[int, int], name: str, padding: str):
        """Convolution → [batch normalisation] → activation."""
        name = f"{self.prefix}{name}"
        after = self.settings.batch_norm
        x = keras.layers.Conv2D(
            filters,
            kernel,
            padding=padding,
            activation=None if after else self.settings.activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed=layer_seed(self.seed, name)),
            name=name,
        )(x)
        if after:
            x = BatchNormalization(synchronized=self.synchronized, name=f"{name}_norm")(x)
            x = keras.layers.Activation(self.settings.activation, name=f"{name}_activation")(x)
        return x

    def pool(self, x, size: tuple[int, int], number: int):
        """Max-pooling → dropout."""
        _check_fits(f"inputs.{self.name}.convolutions.{number - 1}.pool", size, x.shape[1:3])
        x = keras.layers.MaxPooling2D(size, name=f"{self.prefix}pool_{number}")(x)
        name = f"{self.prefix}drop_{number}"
        return keras.layers.Dropout(self.settings.dropout, seed=layer_seed(self.seed, name), name=name)(x)


def _many_shapes(x, block: _Block, convolution: Convolution):
    """(batch, frames, bands, 1) → (batch, frames / pooling, 1, filters of all shapes)."""
    found = []
    for number, (length, height) in enumerate(block.settings.shapes):
        _check_fits(f"inputs.{block.name}.shapes.{number}", (length, height), x.shape[1:3])
        left, name = length - 1, f"conv_1_{length}x{height}"
        padded = keras.layers.ZeroPadding2D(((left // 2, left - left // 2), (0, 0)), name=f"{block.prefix}{name}_pad")(
            x
        )
        y = block.convolve(padded, convolution.filters, (length, height), name, "valid")
        found.append(keras.layers.MaxPooling2D((1, y.shape[2]), name=f"{block.prefix}{name}_pool")(y))
    x = keras.layers.Concatenate(name=f"{block.prefix}conv_1")(found)
    return block.pool(x, (convolution.pool[0], 1), 1)


def _recurrent(x, block: _Block, convolutions: list[Convolution]):
    """(batch, frames, bands, 1) → (batch, units of the last recurrent layer)."""
    pads = []
    for axis in (0, 1):
        step = math.prod(convolution.pool[axis] for convolution in convolutions)
        lacking = -x.shape[axis + 1] % step
        pads.append((lacking // 2, lacking - lacking // 2))
    x = keras.layers.ZeroPadding2D(pads, name=f"{block.prefix}pad")(x)
    norm = {"synchronized": block.synchronized}
    x = BatchNormalization(axis=2, name=f"{block.prefix}input_norm", **norm)(x)  # each band by itself
    for number, convolution in enumerate(convolutions, 1):
        x = block(x, convolution, number, padding="same")
    frames, bands, channels = x.shape[1:]
    x = keras.layers.Reshape((frames, bands * channels), name=f"{block.prefix}sequence")(x)
    recurrent = block.settings.recurrent
    for number, units in enumerate(recurrent, 1):
        name = f"{block.prefix}gru_{number}"
        seeds = {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=layer_seed(block.seed, name)),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=layer_seed(block.seed, f"{name}_recurrent")),
        }
        x = keras.layers.GRU(units, return_sequences=number < len(recurrent), name=name, **seeds)(x)
    return x


def _check_fits(key: str, size: tuple[int, int], shape: tuple[int, ...]) -> None:
    for axis, wanted, there in zip(("frames", "bands"), size, shape, strict=True):
        if wanted > there:
            raise ConfigError(f"{key}={list(size)}: {wanted} {axis} on a patch of which {there} {axis} are left")
