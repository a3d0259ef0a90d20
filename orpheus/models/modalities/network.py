"""Networks of several inputs joined late: feature vectors, audio patches and texts, to factors or classes.

Sources: Oramas et al. 2017, "A deep multimodal approach for cold-start music recommendation" (arXiv 1706.09739), and
Oramas et al. 2018, "Multimodal deep learning for music genre classification" (TISMIR 1).
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from orpheus.config.experiment import Input, Network, Output, TextInput
from orpheus.errors import ConfigError
from orpheus.models.layers import BatchNormalization, UnitLength, layer_seed
from orpheus.models.modalities import patches, text

_TAKEN = ("channel", "factors", "flat", "joined", "output", "pad", "sequence", "text_vector", "unit", "word_vectors")


def build_modalities(
    inputs: Mapping[str, Input],
    shapes: Mapping[str, tuple[int, ...]],
    outputs: int,
    *,
    network: Network | None = None,
    output: Output | None = None,
    embeddings: Mapping[str, np.ndarray] | None = None,
    synchronized: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A network of any number of inputs: each to a vector, the vectors joined, dense layers, the output.

    Layers in order of their index, for each input (its name in front of the layer's where there are several inputs):
    the input itself, [``input_norm``]; of a vector: ``dropout_1 [parallel_relu … parallel parallel_dropout] dense_1
    dropout_2 … unit``; of patches and texts see `patches.vector` and `text.vector`. Then ``joined`` (several inputs only), ``joined_dropout``, ``hidden_1 …``, ``output`` and,
    where the output has length 1, ``factors``.

    Args:
        inputs: Name → config of an input; the order is that of joining.
        shapes: Name → shape of one example: (features,), (frames, bands) or (words,).
        outputs: Dimensions of the output.
        network: What stands on the joined vectors.
        output: Activation of the last layer, and whether a linear one has length 1.
        embeddings: Word vectors of each text input, (words, dimensions).
        synchronized: Share batch statistics across replicas.
        seed: Of weights and dropout.

    Returns:
        A functional model from a dictionary of named inputs to (batch, outputs), float32.

    Raises:
        ConfigError: an input's shape does not fit its kind, or a kernel is larger than what it is laid on.

    Example:
        >>> from orpheus.config.experiment import VectorInput
        >>> build_modalities({"bio": VectorInput(dense=[8])}, {"bio": (10,)}, 3).output_shape
        (None, 3)
    """
    if not inputs:
        raise ConfigError("inputs: none; give at least one")
    if outputs < 1:
        raise ConfigError(f"outputs={outputs}: must be at least 1")
    layers, network, output = keras.layers, network or Network(), output or Output()
    tensors, vectors = {}, []
    for name, settings in inputs.items():
        if name in _TAKEN:
            raise ConfigError(f"inputs.{name}: a layer is called so; give the input another name")
        shape = tuple(shapes[name])
        _check_shape(name, settings.kind, shape)
        prefix = f"{name}_" if len(inputs) > 1 else ""
        options: dict[str, Any] = {"prefix": prefix, "seed": seed, "synchronized": synchronized}
        tensors[name] = x = keras.Input(shape, dtype="int32" if settings.kind == "text" else "float32", name=name)
        if settings.input_norm:
            x = BatchNormalization(synchronized=synchronized, name=f"{prefix}input_norm")(x)
        if settings.kind == "patches":
            x = patches.vector(x, settings, name=name, **options)
        elif settings.kind == "text":
            x = text.vector(x, settings, _embedding(name, settings, embeddings), **options)
        first = settings.kind == "vector" or (settings.kind == "patches" and settings.architecture == "flat")
        x = _stack(x, settings, first=first, **options)
        vectors.append(UnitLength(name=f"{prefix}unit")(x) if settings.l2 else x)

    x = layers.Concatenate(name="joined")(vectors) if len(vectors) > 1 else vectors[0]
    x = layers.Dropout(network.dropout, seed=layer_seed(seed, "joined_dropout"), name="joined_dropout")(x)
    for number, units in enumerate(network.hidden, 1):
        name = f"hidden_{number}"
        if number > 1:
            x = layers.Dropout(network.dropout, seed=layer_seed(seed, f"{name}_dropout"), name=f"{name}_dropout")(x)
        x = _dense(x, units, name, network.activation, network.batch_norm, seed, synchronized)
    x = layers.Dense(
        outputs, output.activation, kernel_initializer=_glorot(seed, "output"), dtype="float32", name="output"
    )(x)
    if output.activation == "linear" and output.l2:
        x = UnitLength(name="factors")(x)
    model = keras.Model(tensors, x, name="modalities")
    for name, settings in inputs.items():
        if settings.kind == "text":
            prefix = f"{name}_" if len(inputs) > 1 else ""
            model.get_layer(f"{prefix}word_vectors").set_weights([_embedding(name, settings, embeddings)])
    return model


def _stack(x, settings: Input, *, first: bool, prefix: str, seed: int, synchronized: bool):
    """Layers side by side, then dense ones, each with dropout after it; dropout before where the vector comes `first`."""
    names = [f"{prefix}dropout_{number}" for number in range(1, len(settings.dense) + 2)]
    drop = [keras.layers.Dropout(settings.dropout, seed=layer_seed(seed, name), name=name) for name in names]
    if (settings.dense or settings.parallel) and first:
        x = drop[0](x)
    if settings.parallel:
        units, found = settings.parallel.units, []
        for activation in settings.parallel.activations:
            name = f"{prefix}parallel_{activation}"
            found.append(_dense(x, units, name, activation, settings.batch_norm, seed, synchronized))
        x = keras.layers.Concatenate(name=f"{prefix}parallel")(found) if len(found) > 1 else found[0]
        name = f"{prefix}parallel_dropout"
        x = keras.layers.Dropout(settings.dropout, seed=layer_seed(seed, name), name=name)(x)
    for number, units in enumerate(settings.dense, 1):
        x = _dense(x, units, f"{prefix}dense_{number}", "relu", settings.batch_norm, seed, synchronized)
        x = drop[number](x)
    return x


def _dense(x, units: int, name: str, activation: str, batch_norm: bool, seed: int, synchronized: bool):
    x = keras.layers.Dense(units, activation, kernel_initializer=_glorot(seed, name), name=name)(x)
    return BatchNormalization(synchronized=synchronized, name=f"{name}_norm")(x) if batch_norm else x


def _glorot(seed: int, name: str) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=layer_seed(seed, name))


def _embedding(name: str, settings: TextInput, embeddings: Mapping[str, np.ndarray] | None) -> np.ndarray:
    if not embeddings or name not in embeddings:
        raise ConfigError(f"inputs.{name}: a text input needs its word vectors")
    return embeddings[name]


def _check_shape(name: str, kind: str, shape: tuple[int, ...]) -> None:
    axes = {"vector": ("features",), "patches": ("frames", "bands"), "text": ("words",)}[kind]
    if len(shape) != len(axes) or min(shape) < 1:
        raise ConfigError(f"inputs.{name}: examples of shape {shape}, but {kind} takes ({', '.join(axes)})")
