"""The job of an experiment: its network, loss and metrics, and what its layers give."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from orpheus import models
from orpheus.config.experiment import ExperimentConfig
from orpheus.data.items import texts
from orpheus.data.items.examples import Examples
from orpheus.errors import ConfigError
from orpheus.learning.engine import fit
from orpheus.learning.engine.job import Job
from orpheus.learning.evaluation.tag_auc import TagAUC
from orpheus.learning.losses.pointwise import CosineDistance
from orpheus.tasks.recommendation.data import RecommendationData


def job(
    data: RecommendationData, config: ExperimentConfig, *, epochs: int, seed: int = 0, synchronized: bool = False
) -> Job:
    """The Job of an experiment: the best epoch is that of the lowest validation loss.

    Args:
        data: From `open_data` or `reopen_data`.
        config: Of the run.
        epochs: In all.
        seed: Of weights, order and dropout.
        synchronized: Batch normalisation over all replicas; for several.
    """
    settings = config.training
    train, valid = (data.examples(subset, targets=True) for subset in ("train", "val"))
    size = min(settings.batch_size, len(train))
    steps = -(-len(train) // size)
    return Job(
        build=lambda: build(data, seed=seed, synchronized=synchronized),
        optimizer=lambda: fit.optimizer(settings, steps_per_epoch=steps, epochs=epochs),
        loss=loss(settings.loss),
        metrics=lambda: _metrics(data),
        train=lambda first_epoch: train.training(size, seed=seed, first_epoch=first_epoch),
        valid=valid.validation(size),
        steps_per_epoch=steps,
        batch_size=size,
        monitor="val_loss",
        mode="min",
        seed=seed,
        vectors=_word_vectors(data),
        failure=lambda: data.errors[0] if data.errors else None,
    )


def _word_vectors(data: RecommendationData) -> Callable[[keras.Model], tuple[list[str], np.ndarray]] | None:
    """Words and vectors of the first text input whose vocabulary is there, for TensorBoard's projector."""
    for name, settings in data.config.inputs.items():
        if settings.kind != "text" or not (path := data.folder.text_model(settings.setting or "")).is_file():
            continue
        words = list(texts.load_model(path).words)
        layer = f"{name}_word_vectors" if len(data.config.inputs) > 1 else "word_vectors"
        return lambda model, words=words, layer=layer: (
            words,
            model.get_layer(layer).get_weights()[0][texts.UNKNOWN + 1 :],
        )  # type: ignore[misc]
    return None


def build(data: RecommendationData, *, seed: int = 0, synchronized: bool = False) -> keras.Model:
    """The network of an experiment."""
    config = data.config
    return models.build_modalities(
        config.inputs,
        data.shapes,
        data.dim,
        network=config.network,
        output=config.output,
        embeddings=data.embeddings,
        synchronized=synchronized,
        seed=seed,
    )


def loss(name: str) -> keras.losses.Loss:
    """A loss by the name in the config."""
    known = {
        "cosine": CosineDistance,
        "binary_crossentropy": keras.losses.BinaryCrossentropy,
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "mean_squared_error": keras.losses.MeanSquaredError,
    }
    return known[name]()


def _metrics(data: RecommendationData) -> list[keras.metrics.Metric]:
    config = data.config
    if config.evaluation == "multilabel" and config.output.activation == "sigmoid" and config.data.fact == "class":
        return [TagAUC(data.dim, average="macro")]
    if config.evaluation == "multiclass" and config.data.fact == "class":
        return [keras.metrics.CategoricalAccuracy("accuracy")]
    if config.evaluation == "binary":
        return [keras.metrics.BinaryAccuracy("accuracy")]
    return [keras.metrics.MeanSquaredError("mean_squared_error")]


def hidden(model: keras.Model, layer: str | int) -> keras.Model:
    """The part of a model up to a layer.

    Args:
        model: Whole.
        layer: Name, or index in ``model.layers`` (negative ones count from the end); a string of digits is an index. The
            axis of channels, which inputs of the reference have, is no layer there and not counted.

    Raises:
        ConfigError: no such layer; names those there are.
    """
    counted = [one for one in model.layers if not one.name.endswith("channel")]
    names = [one.name for one in counted]
    text = str(layer)
    if text.lstrip("-").isdecimal() and -len(names) <= int(text) < len(names):
        chosen = counted[int(text)]
    elif text in names:
        chosen = model.get_layer(text)
    else:
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        raise ConfigError(f"layer {text!r}: not in the model, which has {shown}")
    return keras.Model(model.input, chosen.output)


def outputs(
    model: keras.Model,
    examples: Examples,
    *,
    batch_size: int = 256,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> np.ndarray:
    """What a model says of each item, the mean over its patches: (items, …) float32, more axes made one.

    Raises:
        DataError: an item's features are not finite.
    """
    graph = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)
    result, counts = np.zeros((0, 0), np.float32), np.zeros(len(examples.ids), np.int64)
    for inputs, items in progress(examples.batches(batch_size)):
        values = graph({name: tf.constant(value) for name, value in inputs.items()}).numpy().astype(np.float32)
        values = values.reshape(len(values), -1)
        if not result.size:
            result = np.zeros((len(examples.ids), values.shape[1]), np.float32)
        np.add.at(result, items, values)
        np.add.at(counts, items, 1)
    return result / counts[:, None]
