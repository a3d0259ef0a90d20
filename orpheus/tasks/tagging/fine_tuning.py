"""A new tagger that starts from a trained one: its frontend and backend, and what it knows of the classes."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from orpheus.base import files
from orpheus.config.tagging import Config
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine.job import Job
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.semantics import words
from orpheus.tasks.tagging import data as tagging_data
from orpheus.tasks.tagging import network, similarity_loss

log = logging.getLogger(__name__)
NEIGHBOURS = 3
HEAD = "tags"


@dataclass(frozen=True)
class Start:
    """Where a model's weights come from.

    Attributes:
        run: Folder of the trained tagger.
        sha256: Of its model.keras.
        rows: New class → the old classes whose output rows' mean is its own at first: itself where both know it, its
            nearest by word vectors, or none for a fresh row.
        embeddings: Source of the word vectors, "" for none.
        weights: Layer → weights of the trained tagger.
        classes: Its classes.
    """

    run: str
    sha256: str
    rows: dict[str, list[str]]
    embeddings: str
    weights: dict[str, list[np.ndarray]] = field(repr=False)
    classes: tuple[str, ...]

    def apply(self, model: keras.Model) -> keras.Model:
        """Give a tagger of the new classes these weights; returns it."""
        for layer in model.layers:
            if layer.weights and layer.name != HEAD:
                layer.set_weights(self.weights[layer.name])
        head = model.get_layer(HEAD)
        new, old = head.get_weights(), self.weights[HEAD]  # (units, classes) and (classes,)
        column = {name: index for index, name in enumerate(self.classes)}
        for index, sources in enumerate(self.rows.values()):
            if sources:
                columns = [column[name] for name in sources]
                for mine, theirs in zip(new, old, strict=True):
                    mine[..., index] = theirs[..., columns].mean(axis=-1)
        head.set_weights(new)
        return model

    def job(self, job: Job) -> Job:
        """The same job, of a model that starts so.

        Raises:
            ConfigError: the model has a layer that the trained tagger has not, or not of that shape.
        """
        self._check_layers(job.build())
        return replace(job, build=lambda: self.apply(job.build()))

    def _check_layers(self, model: keras.Model) -> None:
        """Equal settings can build another model: the trained one's code may have been another version's."""
        for layer in model.layers:
            ours = [tuple(weight.shape) for weight in layer.weights]
            theirs = [weight.shape for weight in self.weights.get(layer.name, [])]
            if layer.name != HEAD and ours != theirs:
                has = f"one of weights {theirs}, not {ours}" if theirs else "no such layer"
                raise ConfigError(
                    f"--init-from {self.run}: layer {layer.name} of the network cannot start from it, its model.keras has "
                    f"{has}; it was made by other code: take a run of this version, or leave --init-from out"
                )

    def to_json(self) -> dict[str, Any]:
        """What run.json says of it; enough for `reopen`."""
        return {"run": self.run, "sha256": self.sha256, "embeddings": self.embeddings, "rows": self.rows}


def start(
    origin: str | os.PathLike,
    data: tagging_data.TaggingData,
    config: Config,
    *,
    embeddings: str | os.PathLike | None = None,
    by_name: bool | None = None,
    progress: Callable[..., Iterable] | None = None,
) -> Start:
    """Plan a model's first weights.

    Args:
        origin: Run folder of a tagger of the same network, audio and sizes; its window may be of another length.
        data: Records and classes of the new run.
        config: Of the new run.
        embeddings: Word vectors, anything that `words.load` takes: a new class starts from the mean of the rows of the
            `NEIGHBOURS` old classes nearest to it. None, or no vector: from a fresh row.
        by_name: Whether a class that both know starts from its own old row. None: not that of a published tagger, whose
            words may mean another thing (``piano`` is an instrument there and may be a dynamic here).
        progress: As for `words.load`.

    Raises:
        ConfigError: the new model has other sizes or another input than the old one; names the key.
        DataError: not a trained tagger's run, or word vectors that cannot be read.
    """
    run = Run.open(origin)
    run.check_task("tagging", "--init-from takes a tagger's")
    _check_fits(run, run.spec(), tagging_data.load_config(run), data.catalogue.spec, config)
    old = run.classes()
    near, source = _nearest(old, data.targets, embeddings, progress) if embeddings else ({}, "")
    if by_name is None:
        by_name = "pretrained" not in run.read("run")
    kept = set(old.classes) if by_name else set()
    rows = {name: [name] if name in kept else near.get(name, []) for name in data.targets.classes}
    planned = _read(run, old.classes, rows, source)
    _say(planned)
    return planned


def frozen(job: Job) -> Job:
    """The same job, of a model that learns the tags' layer only; the others' batch statistics stay too."""

    def build() -> keras.Model:
        model = job.build()
        for layer in model.layers:
            layer.trainable = layer.name == HEAD
        return model

    return replace(job, build=build)


def reopen(run: Run) -> Start | None:
    """The start of an existing run that has no checkpoint yet; None where it needs none.

    Raises:
        DataError: the run it started from is gone or has another model.
    """
    described = run.read("run").get("init_from")
    if described is None or run.checkpoints():
        return None
    origin = Run.open(described["run"])
    planned = _read(origin, origin.classes().classes, described["rows"], described["embeddings"])
    if planned.sha256 != described["sha256"]:
        raise DataError(f"{origin.model_path}: not the model that {run.folder} started from; start a new run")
    return planned


def _read(run: Run, classes: tuple[str, ...], rows: dict[str, list[str]], source: str) -> Start:
    model = load_model(run)
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    return Start(str(Path(run.folder).absolute()), files.content_hash(run.model_path), rows, source, weights, classes)


def _check_fits(run: Run, old: AudioSpec, old_config: Config, new: AudioSpec, config: Config) -> None:
    if old.format != new.format:
        raise ConfigError(f"--init-from {run.folder}: a {old.format} model, and the records hold {new.format}")
    for key, theirs, ours in old.differences(new.to_json()):
        raise ConfigError(
            f"--init-from {run.folder}: learned from audio of {key}={theirs}, the records have {ours}; re-run "
            "tools.preprocess with its value"
        )
    before, now = (network.settled(one, new.format).model for one in (old_config, config))
    for key in ("frontend", "n_filters", "n_dense_units"):
        theirs, ours = getattr(before, key), getattr(now, key)
        if theirs != ours and not (key == "n_filters" and now.frontend == "waveform"):
            raise ConfigError(f"model.{key}={ours}: --init-from {run.folder} has {theirs}; take the same")


def _nearest(
    old: TagTargets, new: TagTargets, source: str | os.PathLike, progress: Callable[..., Iterable] | None
) -> tuple[dict[str, list[str]], str]:
    """(new class → its nearest old classes, nearest first; the vectors' name). Classes without a vector are left out."""
    needed = words.needed_words([*old.columns, *new.columns])
    vectors = words.load(source, words=needed, progress=progress)
    theirs, ours = (similarity_loss.class_vectors(side, vectors) for side in (old, new))
    known = np.flatnonzero(~np.isnan(theirs[:, 0]))
    found = {}
    for name, vector in zip(new.classes, ours, strict=True):
        if not np.isnan(vector[0]) and len(known):
            order = np.argsort(-(theirs[known] @ vector), kind="stable")[:NEIGHBOURS]
            found[name] = [old.classes[known[index]] for index in order]
    return found, vectors.source


def _say(planned: Start) -> None:
    kept = [name for name, sources in planned.rows.items() if sources == [name]]
    same = [name for name in planned.rows if name in planned.classes and name not in kept]
    fresh = [name for name, sources in planned.rows.items() if not sources]
    log.info("weights of %s; %d of %d classes are its own", planned.run, len(kept), len(planned.rows))
    if same:
        log.info("known to both by name, and not taken over (--init-rows by-name does): %s", "; ".join(same))
    for name, sources in planned.rows.items():
        if sources and sources != [name]:
            log.info("%s starts from %s", name, ", ".join(sources))
    if fresh:
        why = (
            f"{planned.embeddings} has no vector for them"
            if planned.embeddings
            else "no word vectors given, --init-embeddings-path"
        )
        log.warning("%d classes start fresh (%s): %s", len(fresh), why, "; ".join(fresh))
