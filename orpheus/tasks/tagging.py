"""Tagging: sigmoid over tags (or clusters of them), binary cross-entropy, the best epoch by validation PR-AUC."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import keras

from orpheus import models
from orpheus.config import Config
from orpheus.data import lastfm, pipeline, records, storage, tags
from orpheus.data.audio import AudioSpec
from orpheus.data.pipeline import Part, Windows
from orpheus.data.tags import TagTargets
from orpheus.errors import ConfigError, DataError
from orpheus.learning import fit
from orpheus.learning.job import Job
from orpheus.learning.metrics import TagAUC
from orpheus.run import Run
from orpheus.tasks import hashes
from orpheus.tasks import targets as targets_module

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """Records, classes and split of a tagging run."""

    catalogue: records.Catalogue
    targets: TagTargets
    database: int
    split: dict[str, tuple[str, ...]]  # train, valid, test → shards

    def part(self, name: str) -> Part:
        """One side of the split: ``"train"``, ``"valid"`` or ``"test"``.

        Raises:
            DataError: the split leaves that side empty.
        """
        if not self.split[name]:
            raise DataError(f"{self.catalogue.folder}: the split has no {name} shards; see model-training.split")
        return Part(self.catalogue, self.split[name], self.targets, self.database)

    def hashes(self) -> dict[str, str]:
        """``{"split", "records"}``: runs and evaluations with equal ones can be compared (`hashes.check_split`)."""
        ids = {name: [row.track_id for row in self.catalogue.rows(shards)] for name, shards in self.split.items()}
        return {"split": hashes.of_split(ids), "records": hashes.of_records(self.catalogue)}


@dataclass(frozen=True)
class Choices:
    """Where the records are, and which tags become classes beyond the config's section tags."""

    tfrecords_dir: str | os.PathLike
    lastfm: str | os.PathLike | None = None
    multi_db: int | None = None
    multi_db_default: int | None = None
    filter_path: str | os.PathLike | None = None
    dictionary: str | os.PathLike | None = None  # clusters of tags as classes instead of tags
    genres: str | os.PathLike | None = None  # only these of its clusters


def open_data(
    frontend: str, config: Config, choices: Choices, *, progress: Callable[[Iterable], Iterable] = lambda items: items
) -> Data:
    """Open records for a new run: check them, choose the classes, deal the split.

    Raises:
        ConfigError, DataError: records and config disagree, no such tags, nothing to train on.
    """
    clusters = targets_module.read_clusters(choices.dictionary, choices.genres) if choices.dictionary else None
    database_file = lastfm.TagDatabase(choices.lastfm) if choices.lastfm else None
    names = [tag for tag, _ in database_file.popularity()] if database_file else []
    catalogue = records.open_folder(
        choices.tfrecords_dir,
        format=frontend,
        wanted=config.tfrecords.model_dump(),
        tag_names=names,
        progress=progress,
    )
    fields = len(catalogue.layout.tag_fields)
    if choices.multi_db is not None and choices.multi_db != fields:
        raise ConfigError(f"--multi-db {choices.multi_db}: {catalogue.folder} holds tags of {fields} databases")
    database = catalogue.tag_field(choices.multi_db_default)
    rows = catalogue.rows(catalogue.shards)
    popular = database_file.popularity() if database_file else tags.popularity(row.tags[database] for row in rows)
    if not popular:
        raise DataError(f"{catalogue.folder}: no record has any tag; give tools.preprocess the right tag database")
    removed = tags.read_filter(str(choices.filter_path)) if choices.filter_path else []
    if clusters is not None:
        _say_ignored(config)
        present = {tag for row in rows for tag in row.tags[database]}
        targets = targets_module.cluster_targets(clusters, present, without=removed)
    else:
        targets = tags.choose(
            popular,
            top=config.tags.top,
            with_=config.tags.with_,
            without=[*config.tags.without, *removed],
            merge=config.tags.merge,
        )
    train, valid, test = pipeline.split_shards(list(catalogue.shards), config.training.split)
    data = Data(catalogue, targets, database, {"train": train, "valid": valid, "test": test})
    kept = sum(targets.any(row.tags[database]) for row in rows)
    log.info(
        "%d of %d tracks have any of the %d classes; %d are left out",
        kept,
        len(rows),
        len(targets.classes),
        len(rows) - kept,
    )
    return data


def _say_ignored(config: Config) -> None:
    """Which keys of section tags a dictionary overrules."""
    given = {"top": config.tags.top, "with": config.tags.with_, "without": config.tags.without, "merge": config.tags.merge}  # fmt: skip
    keys = [f"tags.{key}" for key, value in given.items() if value]
    if keys:
        log.info("the dictionary decides the classes: %s of the config %s ignored", ", ".join(keys), "is" if len(keys) == 1 else "are")  # fmt: skip


def reopen_data(run: Run, *, tfrecords_dir: str | os.PathLike | None = None) -> Data:
    """The records of an existing run, with its classes and its split.

    Args:
        run: Made by `orpheus.train`.
        tfrecords_dir: Where its records are now; None for where they were.

    Raises:
        DataError: they are not there, lack a shard of the split, or were made otherwise.
    """
    settings = run.read("run")
    config = load_config(run)
    spec = AudioSpec.from_json(run.read("spec"), str(run.folder / "spec.json"))
    folder = tfrecords_dir or settings["tfrecords_dir"]
    wanted = {
        **config.tfrecords.model_dump(),
        **{k: v for k, v in spec.to_json().items() if k not in ("format", "dtype")},
    }
    catalogue = records.open_folder(folder, format=spec.format, wanted=wanted, tag_names=settings["tag_names"])
    targets = TagTargets.from_json(run.read("classes"), str(run.folder / "classes.json"))
    split = {name: tuple(shards) for name, shards in settings["split"].items()}
    for shard in sum(split.values(), ()):
        if shard not in catalogue.shards:
            raise DataError(
                f"{folder}: lacks {shard}, which {run.folder} was split over; give its records with --tfrecords-dir"
            )
    return Data(catalogue, targets, settings["database"], split)


def load_config(run: Run) -> Config:
    """The config of a run."""
    from orpheus import config

    return config.load(run.folder / "config.json")


def describe(data: Data, config: Config, frontend: str, **more) -> dict:
    """run.json: what evaluation, prediction and resuming need beside config, classes and spec."""
    return {
        "version": 1,
        "task": "tagging",
        "frontend": frontend,
        "tfrecords_dir": storage.absolute(data.catalogue.folder),
        "database": data.database,
        "tag_names": list(data.catalogue.layout.positions),
        "split": {name: list(shards) for name, shards in data.split.items()},
        "hashes": data.hashes(),
        **more,
    }


def job(
    data: Data,
    config: Config,
    *,
    epochs: int,
    seed: int = 0,
    steps_per_epoch: int | None = None,
    shuffle: bool | None = None,
    macro: bool = False,
    synchronized: bool = False,
    loss: keras.losses.Loss | None = None,
    readers: int = 1,
) -> Job:
    """The Job of a tagging run.

    Args:
        data: From `open_data` or `reopen_data`.
        config: Of the run.
        epochs: In all (one-cycle schedules need it).
        seed: Of weights, order, windows, augmentation and dropout.
        steps_per_epoch: Fewer than the whole epoch.
        shuffle: None for the config's.
        macro: Mean of the classes' areas (--multi-tag) instead of one area over all labels.
        synchronized: Batch normalisation over all replicas; for several.
        loss: None for binary cross-entropy.
        readers: Shares of the shards that each batch has equal parts of: one per machine. The order of the data depends
            on it, and not on how many machines there are.

    Raises:
        ConfigError: the window is too short for the model, or batch or shards cannot be shared by the readers.
    """
    settings, spec = config.training, data.catalogue.spec
    part, classes = data.part("train"), len(data.targets.classes)
    shares = _shares(part, readers, settings.batch_size)
    steps = min(pipeline.steps_in_epoch(one, settings.batch_size // readers, steps_per_epoch) for one in shares)
    shape = spec.window_shape(settings.window_length)
    shortest = models.minimum_window(spec.format)
    if shape[0] < shortest:
        raise ConfigError(
            f"model-training.window_length={settings.window_length:g}: the {spec.format} model needs at least "
            f"{spec.seconds(shortest):.2f} s"
        )

    def read(number: int, first_epoch: int):
        return pipeline.training(
            shares[number],
            Windows(settings.window_length, settings.window_random, config.augmentation.model_dump()),
            batch_size=settings.batch_size // readers,
            seed=seed + 1_000_003 * number,
            first_epoch=first_epoch,
            steps_per_epoch=steps if readers > 1 else steps_per_epoch,
            shuffle=settings.shuffle if shuffle is None else shuffle,
            shuffle_buffer=max(1, settings.shuffle_buffer_size // readers),
            cycle=settings.interleave_cycle_length,
            block=settings.interleave_block_length,
        )

    def train(first_epoch: int, numbers: Sequence[int] = range(readers)):
        return pipeline.side_by_side([read(number, first_epoch) for number in numbers])

    def share(worker: int, workers: int):
        if readers % workers:
            return None
        numbers = range(worker * readers // workers, (worker + 1) * readers // workers)
        return lambda first_epoch: train(first_epoch, numbers), _valid_share(data, config, worker, workers)

    valid = None
    if data.split["valid"]:
        valid = pipeline.validation(data.part("valid"), Windows(settings.window_length), batch_size=settings.batch_size)
    return Job(
        build=lambda: models.build(
            spec.format,
            shape,
            classes,
            n_filters=config.model.n_filters,
            n_dense_units=config.model.n_dense_units,
            dropout=config.model.dropout,
            synchronized=synchronized,
            seed=seed,
        ),
        optimizer=lambda: fit.optimizer(settings, steps_per_epoch=steps, epochs=epochs),
        loss=loss or keras.losses.BinaryCrossentropy(),
        metrics=lambda: [
            TagAUC(classes, num_thresholds=config.metrics.num_thresholds, average="macro" if macro else "micro")
        ],
        train=train,
        valid=valid,
        share=share,
        steps_per_epoch=steps,
        batch_size=settings.batch_size,
        monitor="val_PR-AUC" if valid is not None else "PR-AUC",
        seed=seed,
    )


def _shares(part: Part, readers: int, batch_size: int) -> list[Part]:
    """The training shards in as many parts, dealt in turn."""
    if batch_size % readers:
        raise ConfigError(f"model-training.batch_size={batch_size}: must be a multiple of the {readers} machines")
    if len(part.shards) < readers:
        raise ConfigError(
            f"{part.catalogue.folder}: {len(part.shards)} training shards for {readers} machines, each of which reads its "
            "own; make more with tools.preprocess -n"
        )
    return [replace(part, shards=part.shards[number::readers]) for number in range(readers)]


def _valid_share(data: Data, config: Config, worker: int, workers: int):
    """One worker's shards of the validation, in batches; None where some worker would have none."""
    shards = data.split["valid"]
    parts = [replace(data.part("valid"), shards=shards[w::workers]) for w in range(workers)] if shards else []
    if not parts or not all(any(map(any, part.kept())) for part in parts):
        return None
    settings = config.training
    size = settings.batch_size // workers
    return pipeline.validation(parts[worker], Windows(settings.window_length), batch_size=size)


def counts(part: Part) -> Sequence[tuple[str, int]]:
    """(class, positive tracks) of one side of a split, in column order."""
    return list(zip(part.targets.classes, map(int, part.truth().sum(axis=0)), strict=True))


def lines(data: Data, settings: dict) -> list[tuple[str, str]]:
    """What a dry run says of the data."""
    found = [
        (name, f"{len(data.part(name).rows())} tracks in {len(shards)} shards") for name, shards in data.split.items() if shards
    ]  # fmt: skip
    if aware := settings.get("loss"):
        found.append(("loss", f"{aware['name']}, gamma {aware['gamma']:g}, vectors of {aware['embeddings']}"))
    shown = ", ".join(f"{name} ({count})" for name, count in counts(data.part("train"))[:10])
    classes = len(data.targets.classes)
    return [*found, ("classes", f"{classes}: {shown}{', …' if classes > 10 else ''}")]
