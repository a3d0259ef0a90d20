"""Weights of the published TensorFlow 1 taggers (musicnn 0.1.0, Pons & Serra 2019) for the networks of this package."""

import os

import keras
import numpy as np
import tensorflow as tf

from orpheus.errors import DataError

_CONVOLUTIONS = {
    "musicnn": ("timbral_38", "timbral_67", "temporal_128", "temporal_64", "temporal_32", "mid_1", "mid_2", "mid_3"),
    "vgg": ("conv_1", "conv_2", "conv_3", "conv_4", "conv_5"),
}


def load(model: keras.Model, network: str, prefix: str | os.PathLike) -> keras.Model:
    """Give a tagger the weights of a checkpoint.

    Args:
        model: With the network and the tags' layer at the published sizes.
        network: ``"musicnn"`` or ``"vgg"``.
        prefix: Of the checkpoint's files.

    Returns:
        The same model.

    Raises:
        DataError: the checkpoint is not of this network: a variable is missing, left over, or of another shape.
    """
    checkpoint = tf.train.load_checkpoint(str(prefix))
    left = {name for name in checkpoint.get_variable_to_shape_map() if "Adam" not in name and "_power" not in name}
    for name, scope in _scopes(network).items():
        layer, values = model.get_layer(name), []
        for weight in layer.weights:
            variable = f"{scope}/{weight.name}"
            if variable not in left:
                raise DataError(f"{prefix}: has no variable {variable}, which {network} needs for {name}")
            left.remove(variable)
            values.append(_arranged(checkpoint.get_tensor(variable), name, weight.shape, f"{prefix}: {variable}"))
        layer.set_weights(values)
    if left:
        raise DataError(f"{prefix}: {len(left)} variables are no part of {network}, for example {min(left)}")
    return model


def _scopes(network: str) -> dict[str, str]:
    """Layer → scope of its variables: TensorFlow numbered every kind of layer in the order in which it was made."""
    convolutions = _CONVOLUTIONS[network]
    norms = ["input_norm", *(f"{name}_norm" for name in convolutions)]
    dense = ["tags"]
    if network == "musicnn":
        norms += ["pooled_norm", "embedding"]
        dense = ["dense", "tags"]
        found = _numbered(convolutions, "conv2d")
    else:
        found = {name: f"{number}CNN" for number, name in enumerate(convolutions, 1)}
    return {**found, **_numbered(norms, "batch_normalization"), **_numbered(dense, "dense")}


def _numbered(layers, scope: str) -> dict[str, str]:
    return {name: f"{scope}_{number}" if number else scope for number, name in enumerate(layers)}


def _arranged(value: np.ndarray, layer: str, shape: tuple[int, ...], source: str) -> np.ndarray:
    """A variable as this package's layer holds it.

    The checkpoint's convolutions over time are 2-D with one input channel. Its flattened pooling alternates maximum and
    mean of each feature, where ``pooled`` has all maxima before all means.
    """
    if layer == "pooled_norm" or (layer == "dense" and value.ndim == 2):
        value = np.concatenate([value[0::2], value[1::2]])
    if value.ndim == len(shape) + 1:
        value = value.squeeze(2)
    if value.shape != tuple(shape):
        raise DataError(f"{source}: has shape {value.shape}, and {layer} {tuple(shape)}")
    return value
