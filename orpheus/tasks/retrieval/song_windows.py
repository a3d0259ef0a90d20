"""Windows of songs by which a trained tower places them: of audio files, and of the records of a folder."""

import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from orpheus.data.audio import reading
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.batches import random_access, windows
from orpheus.data.records import format
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import DataError


class Settings(Protocol):
    """What of a config's section says how windows are cut."""

    @property
    def input_length(self) -> int: ...
    @property
    def num_chunk(self) -> int: ...
    @property
    def evaluation_windows(self) -> str: ...


def of_files(
    paths: Iterable[str | os.PathLike], spec: AudioSpec, section: Settings, *, damaged: str
) -> Iterator[tuple[Path, np.ndarray | DataError]]:
    """Windows at equal distances of audio files, as in validation.

    Args:
        paths: The files.
        spec: Of the run.
        section: Of its config.
        damaged: As of `orpheus.data.audio.reading.load`.

    Yields:
        Path and (num_chunk, …) windows, or the error of a file that cannot be used.
    """
    for path in map(Path, paths):
        try:
            frames = reading.load(path, spec, damaged=damaged)
        except DataError as error:
            yield path, error
            continue
        whole = section.evaluation_windows == "whole"
        yield path, windows.spread(frames, section.input_length, section.num_chunk, whole=whole)


def of_records(
    folder: str | os.PathLike,
    spec: AudioSpec,
    section: Settings,
    targets: TagTargets,
    *,
    only: Container[str] | None,
    batch_size: int,
) -> tuple[list[format.Row], tf.data.Dataset]:
    """Rows of a folder of records, made as those of training, and batches of their songs' windows in the same order.

    Args:
        folder: Of records.
        spec: Of the run.
        section: Of its config.
        targets: Any classes.
        only: Ids that are wanted; None for all.
        batch_size: Songs of a batch.

    Raises:
        ConfigError, DataError: they were made otherwise, or are damaged.
    """
    catalogue = format.open_folder(str(folder), format=spec.format, wanted=spec.made_with())
    rows = [row for row in catalogue.rows(catalogue.shards) if only is None or row.track_id in only]
    located = random_access.locate(catalogue)
    seconds = spec.seconds(section.input_length)
    found = random_access.Audio(catalogue, [located[row.track_id] for row in rows], targets, seconds)
    whole = section.evaluation_windows == "whole"
    return rows, found.spread(range(len(rows)), section.num_chunk, batch_size=batch_size, whole=whole)
