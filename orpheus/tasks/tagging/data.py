"""Tagging: sigmoid over tags (or clusters of them), binary cross-entropy, the best epoch by validation PR-AUC."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orpheus.base import storage
from orpheus.config.tagging import Config
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.data.records import format
from orpheus.data.records.shards import split_shards
from orpheus.data.tags.database import TagDatabase
from orpheus.data.tags.targets import TagTargets, choose, popularity, read_filter
from orpheus.errors import ConfigError, DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.tagging import clusters as targets_module

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaggingData:
    """Records, classes and split of a tagging run."""

    catalogue: format.Catalogue
    targets: TagTargets
    database: int
    split: dict[str, tuple[str, ...]]  # train, valid, test → shards

    def records_of(self, name: str) -> SplitRecords:
        """One split: ``"train"``, ``"valid"`` or ``"test"``.

        Raises:
            DataError: that split is empty.
        """
        if not self.split[name]:
            raise DataError(f"{self.catalogue.folder}: the split has no {name} shards; see model-training.split")
        return SplitRecords(self.catalogue, self.split[name], self.targets, self.database)

    def hashes(self) -> dict[str, str]:
        """``{"split", "records"}``: runs and evaluations with equal ones can be compared (`comparability.check_split`)."""
        ids = {name: [row.track_id for row in self.catalogue.rows(shards)] for name, shards in self.split.items()}
        return {"split": comparability.of_split(ids), "records": comparability.of_records(self.catalogue)}


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
    merge_outside: bool = False  # pairs of genres.txt of which one is no genre, too


def open_data(
    frontend: str, config: Config, choices: Choices, *, progress: Callable[[Iterable], Iterable] = lambda items: items
) -> TaggingData:
    """Open records for a new run: check them, choose the classes, make the split.

    Raises:
        ConfigError, DataError: records and config disagree, no such tags, nothing to train on.
    """
    clusters = None
    if choices.dictionary:
        clusters = targets_module.read_clusters(choices.dictionary, choices.genres, merge_outside=choices.merge_outside)
    database_file = TagDatabase(choices.lastfm) if choices.lastfm else None
    catalogue = format.open_folder(
        choices.tfrecords_dir,
        format=frontend,
        wanted=config.tfrecords.model_dump(),
        tag_names=database_file.by_row() if database_file else [],
        progress=progress,
    )
    fields = len(catalogue.layout.tag_fields)
    if choices.multi_db is not None and choices.multi_db != fields:
        raise ConfigError(f"--multi-db {choices.multi_db}: {catalogue.folder} holds tags of {fields} databases")
    database = catalogue.tag_field(choices.multi_db_default)
    rows = catalogue.rows(catalogue.shards)
    popular = database_file.popularity() if database_file else popularity(row.tags[database] for row in rows)
    if not popular:
        raise DataError(f"{catalogue.folder}: no record has any tag; give tools.preprocess the right tag database")
    removed = read_filter(str(choices.filter_path)) if choices.filter_path else []
    if clusters is not None:
        _say_ignored(config)
        present = {tag for row in rows for tag in row.tags[database]}
        targets = targets_module.cluster_targets(clusters, present, without=removed)
    else:
        targets = choose(
            popular,
            top=config.tags.top,
            with_=config.tags.with_,
            without=config.tags.without,
            removed=removed,
            merge=config.tags.merge,
        )
    train, valid, test = split_shards(list(catalogue.shards), config.training.split)
    data = TaggingData(catalogue, targets, database, {"train": train, "valid": valid, "test": test})
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
    given = {
        "top": config.tags.top,
        "with": config.tags.with_,
        "without": config.tags.without,
        "merge": config.tags.merge,
    }
    keys = [f"tags.{key}" for key, value in given.items() if value]
    if keys:
        log.info(
            "the dictionary decides the classes: %s of the config %s ignored",
            ", ".join(keys),
            "is" if len(keys) == 1 else "are",
        )


def reopen_data(run: Run, *, tfrecords_dir: str | os.PathLike | None = None) -> TaggingData:
    """The records of an existing run, with its classes and its split; of a published tagger all are its test split.

    Args:
        run: Made by `orpheus.train` or `tools.pretrained`.
        tfrecords_dir: Where its records are now; None for where they were.

    Raises:
        DataError: they are not there, lack a shard of the split, or were made otherwise.
    """
    settings = run.read("run")
    config = load_config(run)
    spec = run.spec()
    folder = run.records(tfrecords_dir)
    wanted = {
        **config.tfrecords.model_dump(),
        **spec.made_with(),
    }
    catalogue = format.open_folder(folder, format=spec.format, wanted=wanted, tag_names=settings["tag_names"])
    targets = run.classes()
    split = {name: tuple(shards) for name, shards in settings["split"].items()}
    if "pretrained" in settings:
        split["test"] = tuple(catalogue.shards)
    for shard in sum(split.values(), ()):
        if shard not in catalogue.shards:
            raise DataError(
                f"{folder}: lacks {shard}, which {run.folder} was split over; give its records with --tfrecords-dir"
            )
    return TaggingData(catalogue, targets, settings["database"], split)


def load_config(run: Run) -> Config:
    """The config of a run."""
    from orpheus import config

    return config.load(run.folder / "config.json")


def save(run: Run, data: TaggingData, config: Config) -> None:
    """Write what a run keeps besides run.json: config, classes, spec."""
    run.write("config", config.to_json())
    run.write("classes", data.targets.to_json())
    run.write("spec", data.catalogue.spec.to_json())


def windows(config: Config) -> Windows:
    """The windows on which a tagger of this config is evaluated."""
    return Windows(config.training.window_length, whole=config.training.whole_windows)


def describe(data: TaggingData, config: Config, frontend: str, **more) -> dict:
    """run.json: what evaluation, prediction and resuming need beside config, classes and spec."""
    _, _, spec = format.read_spec(data.catalogue.folder)
    benchmark = {"benchmark": spec["split"]} if spec.get("split") else {}  # made with tools.preprocess --split-file
    return {
        "version": 1,
        "task": "tagging",
        "frontend": frontend,
        "network": config.model.frontend,
        "tfrecords_dir": storage.absolute(data.catalogue.folder),
        "database": data.database,
        "tag_names": list(data.catalogue.layout.positions),
        "split": {name: list(shards) for name, shards in data.split.items()},
        "hashes": data.hashes(),
        **benchmark,
        **more,
    }


def counts(records: SplitRecords) -> Sequence[tuple[str, int]]:
    """(class, positive tracks) of one split, in column order."""
    return list(zip(records.targets.classes, map(int, records.truth().sum(axis=0)), strict=True))


def lines(data: TaggingData, settings: dict) -> list[tuple[str, str]]:
    """What a dry run says of the data."""
    found = [
        (name, f"{len(data.records_of(name).rows())} tracks in {len(shards)} shards")
        for name, shards in data.split.items()
        if shards
    ]
    if aware := settings.get("loss"):
        found.append(("loss", f"{aware['name']}, gamma {aware['gamma']:g}, vectors of {aware['embeddings']}"))
    shown = ", ".join(f"{name} ({count})" for name, count in counts(data.records_of("train"))[:10])
    classes = len(data.targets.classes)
    return [*found, ("classes", f"{classes}: {shown}{', …' if classes > 10 else ''}")]
