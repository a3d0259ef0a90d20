"""Experiments on a data folder: items from several inputs to factors of users, to classes, or to other targets."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import orpheus.learning.losses  # noqa: F401  registers the losses that model.keras may name
from orpheus import config_experiment, files, models
from orpheus.config_experiment import ExperimentConfig
from orpheus.data import layout, tables, texts
from orpheus.data.layout import DataFolder, Splits
from orpheus.data.patches import Patches
from orpheus.errors import ConfigError, DataError
from orpheus.learning import fit
from orpheus.learning.job import Job
from orpheus.learning.losses import CosineDistance
from orpheus.learning.metrics import TagAUC
from orpheus.run import Run
from orpheus.tasks import hashes
from orpheus.tasks.batches import Examples, PatchRows, Reader, Rows, WordIds

log = logging.getLogger(__name__)


@dataclass
class Data:
    """The files of an experiment, opened and checked against each other.

    Attributes:
        folder: Where they are.
        config: Of the experiment, every input's setting given.
        splits: Items of the sets.
        dim: Columns of the targets.
        classes: Names of classes, empty where the folder has none.
        shapes: Of one example of each input.
        embeddings: Word vectors of each text input.
        errors: What reading raised inside input pipelines.
    """

    folder: DataFolder
    config: ExperimentConfig
    splits: Splits
    dim: int
    classes: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    errors: list[DataError] = field(default_factory=list)
    _open: dict[Path, Patches] = field(default_factory=dict)

    def examples(self, subset: str, *, ids: tuple[str, ...] | None = None, targets: bool = False) -> Examples:
        """The items of a set, read batch by batch.

        Args:
            subset: ``"train"``, ``"val"`` or ``"test"``.
            ids: Items of it; all in the order of the splits if None.
            targets: Read them too.

        Raises:
            DataError: a file is missing or lacks some of the items; names both.
        """
        ids = getattr(self.splits, subset) if ids is None else ids
        readers = {name: self._reader(name, subset, ids) for name in self.config.inputs}
        counts = [settings.count for settings in self.config.inputs.values() if settings.kind == "patches"]
        wanted = None
        if targets:
            table = tables.targets(self.folder, subset, self.config.data.fact, self.dim)
            wanted = Rows(table, ids, unit=self.config.data.normalize)
        return Examples(ids, readers, wanted, max(counts, default=1), self.errors)

    def hashes(self) -> dict[str, str]:
        """``{"split", "records"}``: of which items are where, and of the files of the truth that is learned and judged by."""
        folder, fact = self.folder, self.config.data.fact
        paths = [folder.targets(subset, fact, self.dim) for subset in layout.SETS]
        paths += [folder.matrix(subset) for subset in layout.SETS]
        found = {path.name: files.content_hash(path) for path in paths if path.is_file()}
        return {"split": hashes.of_split(self.splits._asdict()), "records": hashes.of_values(found)}

    def setting(self, name: str) -> str:
        """The setting of an input that has one."""
        settings = self.config.inputs[name]
        assert settings.kind != "patches" and settings.setting, "open_data refuses an input without a setting"
        return settings.setting

    def table(self, name: str, subset: str) -> tables.Table:
        """The feature file of an input that has a setting."""
        known = self.shapes.get(name)
        table = tables.features(self.folder, subset, self.setting(name), dim=known[0] if known else None)
        if table.matrix.ndim != 2:
            raise DataError(f"{table.name}: shape {table.matrix.shape}, expected (items, columns)")
        return table

    def patches(self, name: str, subset: str) -> Patches:
        """The open patch file of an input."""
        settings = self.config.inputs[name]
        assert settings.kind == "patches"
        path = self.folder.patches_file(self.folder.source(subset), settings.count, settings.seconds)
        if path not in self._open:
            self._open[path] = Patches(path)
        opened = self._open[path]
        shape = (opened.frames, opened.width)
        if name in self.shapes and shape != self.shapes[name]:
            raise DataError(f"{path}: patches of {shape}, but those of train are {self.shapes[name]}; make both again")
        return opened

    def _reader(self, name: str, subset: str, ids: tuple[str, ...]) -> Reader:
        kind = self.config.inputs[name].kind
        if kind == "patches":
            return PatchRows(self.patches(name, subset), ids)
        if kind == "text":
            return WordIds(self.table(name, subset), ids, len(self.embeddings[name]))
        return Rows(self.table(name, subset), ids)


def open_data(data_dir: str | os.PathLike, config: ExperimentConfig, *, seed: int = 0) -> Data:
    """Open the files of an experiment and check that they fit each other, before any work starts.

    Args:
        data_dir: The data folder.
        config: Of the experiment.
        seed: Draws the val set where the folder has none.

    Raises:
        ConfigError: an input without a setting, or a dim that the classes contradict.
        DataError: a file is missing, sizes differ, ids are missing, or a test item was learned from; names the file.
    """
    folder = DataFolder(Path(data_dir).expanduser(), config.data.dataset)
    splits = folder.sets(val_share=config.data.val_share, seed=seed)
    classes = layout.read_ids(folder.labels()) if folder.labels().is_file() else ()
    dim = config.data.dim
    if dim is None:
        if config.data.fact != "class" or not classes:
            raise ConfigError(f"data.dim is missing: fact={config.data.fact} of {folder.root} does not say how many")
        dim = len(classes)
    if config.data.fact != "class":
        folder.check_unseen(config.data.fact, dim)
    data = Data(folder, config, splits, dim, classes)
    for name, settings in config.inputs.items():
        if settings.kind == "patches":
            opened = data.patches(name, "train")
            shape: tuple[int, ...] = (opened.frames, opened.width)
        else:
            if settings.setting is None:
                raise ConfigError(
                    f"inputs.{name}.setting is missing; train features here: {', '.join(folder.settings()) or 'none'}"
                )
            shape = (data.table(name, "train").dim,)
            if settings.kind == "text":
                data.embeddings[name] = np.asarray(tables.load_matrix(folder.embedding(settings.setting)), np.float32)
        data.shapes[name] = shape
    for subset in ("train", "val"):
        data.examples(subset, targets=True)
    return data


def reopen_data(run: Run, *, data_dir: str | os.PathLike | None = None) -> Data:
    """The data of an existing run.

    Args:
        run: Made by `orpheus.experiment`.
        data_dir: Where its data folder is now; None for where it was.

    Raises:
        DataError: a file of it is gone or has other sizes than the run's.
    """
    settings = run.read("run")
    data = open_data(data_dir or settings["data_dir"], load_config(run), seed=settings["seed"])
    shapes = {name: tuple(shape) for name, shape in settings["shapes"].items()}
    for name, shape in data.shapes.items():
        if shape != shapes[name]:
            raise DataError(f"{data.folder.root}: input {name} has shape {shape}, {run.folder} was trained on {shapes[name]}")  # fmt: skip
    return data


def load_config(run: Run) -> ExperimentConfig:
    """The config of a run."""
    return config_experiment.parse(run.read("config"), source=str(run.folder / "config.json"))


def describe(data: Data, name: str, **more) -> dict:
    """run.json: what evaluation, prediction and resuming need beside the config."""
    config = data.config
    return {
        "version": 1,
        "task": "recommendation" if config.evaluation == "recommendation" else "classification",
        "experiment": name,
        "settings": [value.setting for value in config.inputs.values() if value.kind != "patches"],
        "data_dir": str(data.folder.root.absolute()),
        "hashes": data.hashes(),
        "shapes": {key: list(shape) for key, shape in data.shapes.items()},
        "dim": data.dim,
        "epochs": config.training.epochs,
        **more,
    }


def job(data: Data, *, epochs: int, seed: int = 0, synchronized: bool = False) -> Job:
    """The Job of an experiment: the best epoch is that of the lowest validation loss.

    Args:
        data: From `open_data`.
        epochs: In all.
        seed: Of weights, order and dropout.
        synchronized: Batch normalisation over all replicas; for several.
    """
    settings = data.config.training
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
    )


def _word_vectors(data: Data) -> Callable[[keras.Model], tuple[list[str], np.ndarray]] | None:
    """Words and vectors of the first text input whose vocabulary is there, for TensorBoard's projector."""
    for name, settings in data.config.inputs.items():
        if settings.kind != "text" or not (path := data.folder.text_model(settings.setting or "")).is_file():
            continue
        words = list(texts.load_model(path).words)
        layer = f"{name}_word_vectors" if len(data.config.inputs) > 1 else "word_vectors"
        return lambda model, words=words, layer=layer: (words, model.get_layer(layer).get_weights()[0][texts.UNKNOWN + 1 :])  # type: ignore[misc]  # fmt: skip
    return None


def build(data: Data, *, seed: int = 0, synchronized: bool = False) -> keras.Model:
    """The network of an experiment."""
    config = data.config
    return models.build_modalities(
        config.inputs, data.shapes, data.dim, network=config.network, output=config.output,
        embeddings=data.embeddings, synchronized=synchronized, seed=seed,
    )  # fmt: skip


def loss(name: str) -> keras.losses.Loss:
    """A loss by the name in the config."""
    known = {
        "cosine": CosineDistance,
        "binary_crossentropy": keras.losses.BinaryCrossentropy,
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "mean_squared_error": keras.losses.MeanSquaredError,
    }
    return known[name]()


def _metrics(data: Data) -> list[keras.metrics.Metric]:
    config = data.config
    if config.evaluation == "multilabel" and config.output.activation == "sigmoid" and config.data.fact == "class":
        return [TagAUC(data.dim, average="macro")]
    if config.evaluation == "multiclass" and config.data.fact == "class":
        return [keras.metrics.CategoricalAccuracy("accuracy")]
    if config.evaluation == "binary":
        return [keras.metrics.BinaryAccuracy("accuracy")]
    return [keras.metrics.MeanSquaredError("mean_squared_error")]


def train(data: Data, run: Run, options: fit.Options, on: tf.distribute.Strategy, *, seed: int) -> keras.Model:
    """Train a run by the engine, or go on with it; see `fit.train`.

    Raises:
        DataError: an item's features are not finite, the loss is not, or a file changed under the training.
    """
    task = job(data, epochs=options.epochs, seed=seed, synchronized=on.num_replicas_in_sync > 1)
    try:
        return fit.train(task, run, data.config.training, options, on)
    except tf.errors.OpError:
        if data.errors:
            raise data.errors[0] from None
        raise


def load_model(run: Run) -> keras.Model:
    """model.keras of a run.

    Raises:
        DataError: the run was interrupted before it had one.
    """
    if not run.model_path.is_file():
        raise DataError(f"{run.model_path}: not there; finish it with python -m orpheus.experiment --resume {run.folder}")  # fmt: skip
    return keras.saving.load_model(run.model_path, compile=False)


def hidden(model: keras.Model, layer: str | int) -> keras.Model:
    """The part of a model up to a layer.

    Args:
        model: Whole.
        layer: Name, or index in ``model.layers`` (negative ones count from the end); a string of digits is an index.

    Raises:
        ConfigError: no such layer; names those there are.
    """
    names = [one.name for one in model.layers]
    text = str(layer)
    if text.lstrip("-").isdecimal() and -len(names) <= int(text) < len(names):
        chosen = model.layers[int(text)]
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
