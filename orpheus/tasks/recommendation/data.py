"""Experiments on a data folder: items from several inputs to factors of users, to classes, or to other targets."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from orpheus.base import files
from orpheus.config import experiment
from orpheus.config.experiment import ExperimentConfig
from orpheus.data.items import layout, tables
from orpheus.data.items.examples import Examples, PatchRows, Reader, Rows, WordIds
from orpheus.data.items.layout import DataFolder, Splits
from orpheus.data.items.patch_files import Patches
from orpheus.errors import ConfigError, DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run

log = logging.getLogger(__name__)


@dataclass
class RecommendationData:
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
        held_out: Items of the train files that are in none of the sets (`data.test_share`): they have factors, and the
            model has not learned from them.
    """

    folder: DataFolder
    config: ExperimentConfig
    splits: Splits
    dim: int
    classes: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    errors: list[DataError] = field(default_factory=list)
    held_out: tuple[str, ...] = ()
    _open: dict[Path, Patches] = field(default_factory=dict)

    def examples(self, subset: str, *, ids: tuple[str, ...] | None = None, targets: bool = False) -> Examples:
        """The items of a set, read batch by batch.

        Args:
            subset: ``"train"``, ``"val"`` or ``"test"``.
            ids: Items of its files, `held_out` ones too; those of the splits, in their order, if None.
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
        """``{"split", "records"}``: of which items are where, and of the files of the truth that training and evaluation use."""
        folder, fact = self.folder, self.config.data.fact
        paths = [folder.targets(subset, fact, self.dim) for subset in layout.SETS]
        paths += [folder.matrix(subset) for subset in layout.SETS]
        found = {path.name: files.content_hash(path) for path in paths if path.is_file()}
        return {"split": comparability.of_split(self.splits._asdict()), "records": comparability.of_values(found)}

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


def open_data(data_dir: str | os.PathLike, config: ExperimentConfig, *, seed: int = 0) -> RecommendationData:
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
    splits, held_out = folder.sets_and_rest(
        val_share=config.data.val_share, test_share=config.data.test_share, seed=seed
    )
    classes = layout.read_ids(folder.labels()) if folder.labels().is_file() else ()
    dim = config.data.dim
    if dim is None:
        if config.data.fact != "class" or not classes:
            raise ConfigError(f"data.dim is missing: fact={config.data.fact} of {folder.root} does not say how many")
        dim = len(classes)
    if config.data.fact != "class":
        folder.check_unseen(config.data.fact, dim)
    data = RecommendationData(folder, config, splits, dim, classes, held_out=held_out)
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


def reopen_data(run: Run, *, data_dir: str | os.PathLike | None = None) -> RecommendationData:
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
            raise DataError(
                f"{data.folder.root}: input {name} has shape {shape}, {run.folder} was trained on {shapes[name]}"
            )
    return data


def load_config(run: Run) -> ExperimentConfig:
    """The config of a run."""
    return experiment.parse(run.read("config"), source=str(run.folder / "config.json"))


def save(run: Run, data: RecommendationData, config: ExperimentConfig) -> None:
    """Write what a run keeps besides run.json: config and names of classes."""
    run.write("config", config.to_json())
    if data.classes:
        run.write("classes", {"classes": list(data.classes)})


def lines(data: RecommendationData, settings: dict) -> list[tuple[str, str]]:
    """What a dry run says of the data."""
    found = [(name, f"{len(ids)} items") for name, ids in data.splits._asdict().items()]
    return [*found, ("inputs", ", ".join(f"{name} {shape}" for name, shape in data.shapes.items()))]


def describe(data: RecommendationData, config: ExperimentConfig, name: str, **more) -> dict:
    """run.json: what evaluation, prediction and resuming need beside the config."""
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
