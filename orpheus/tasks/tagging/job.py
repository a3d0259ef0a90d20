"""The job of a tagger: its model, loss, metrics and batches, for the engine."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from orpheus import models
from orpheus.config.tagging import Config
from orpheus.data.batches import epochs as batch_epochs
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.errors import ConfigError
from orpheus.learning.engine import fit
from orpheus.learning.engine.job import Job
from orpheus.learning.evaluation.tag_auc import TagAUC
from orpheus.tasks.tagging import network
from orpheus.tasks.tagging.data import TaggingData


def job(
    data: TaggingData,
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
        readers: Shares of the shards that each batch has equally many of: one per machine. The order of the data depends
            on it, and not on how many machines there are.

    Raises:
        ConfigError: the window is too short for the model, or batch or shards cannot be shared by the readers.
    """
    settings, spec = config.training, data.catalogue.spec
    records, classes = data.records_of("train"), len(data.targets.classes)
    shares = _shares(records, readers, settings.batch_size)
    steps = min(batch_epochs.steps_in_epoch(one, settings.batch_size // readers, steps_per_epoch) for one in shares)
    shape = spec.window_shape(settings.window_length)
    config = network.settled(config, spec.format)
    network.check(config, spec)

    def numbers(first_epoch: int):
        return batch_epochs.training_numbers(records, **order(0, first_epoch))

    def order(number: int, first_epoch: int) -> dict[str, Any]:
        return {
            "batch_size": settings.batch_size // readers,
            "seed": seed + 1_000_003 * number,
            "first_epoch": first_epoch,
            "steps_per_epoch": steps if readers > 1 else steps_per_epoch,
            "shuffle": settings.shuffle if shuffle is None else shuffle,
            "shuffle_buffer": max(1, settings.shuffle_buffer_size // readers),
            "cycle": settings.interleave_cycle_length,
            "block": settings.interleave_block_length,
        }

    def read(number: int, first_epoch: int):
        return batch_epochs.training(shares[number], training_windows(config), **order(number, first_epoch))

    def train(first_epoch: int, numbers: Sequence[int] = range(readers)):
        return batch_epochs.side_by_side([read(number, first_epoch) for number in numbers])

    def share(worker: int, workers: int):
        if readers % workers:
            return None
        numbers = range(worker * readers // workers, (worker + 1) * readers // workers)
        return lambda first_epoch: train(first_epoch, numbers), _valid_share(data, config, worker, workers)

    valid = None
    if data.split["valid"]:
        valid = batch_epochs.validation(
            data.records_of("valid"), Windows(settings.window_length), batch_size=settings.batch_size
        )
    return Job(
        build=lambda: models.build(
            str(config.model.frontend),
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
        numbers=numbers if readers == 1 else None,
    )


def training_windows(config: Config) -> Windows:
    """The windows that a tagger learns from."""
    settings = config.training
    return Windows(settings.window_length, settings.window_random, config.augmentation.model_dump())


def _shares(records: SplitRecords, readers: int, batch_size: int) -> list[SplitRecords]:
    """The training shards in as many shares, in turn."""
    if batch_size % readers:
        raise ConfigError(f"model-training.batch_size={batch_size}: must be a multiple of the {readers} machines")
    if len(records.shards) < readers:
        raise ConfigError(
            f"{records.catalogue.folder}: {len(records.shards)} training shards for {readers} machines, each of which reads its "
            "own; make more with tools.preprocess -n"
        )
    return [replace(records, shards=records.shards[number::readers]) for number in range(readers)]


def _valid_share(data: TaggingData, config: Config, worker: int, workers: int):
    """One worker's shards of the validation, in batches; None where some worker would have none."""
    shards = data.split["valid"]
    shares = [replace(data.records_of("valid"), shards=shards[w::workers]) for w in range(workers)] if shards else []
    if not shares or not all(any(map(any, share.kept())) for share in shares):
        return None
    settings = config.training
    size = settings.batch_size // workers
    return batch_epochs.validation(shares[worker], Windows(settings.window_length), batch_size=size)
