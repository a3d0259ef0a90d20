"""Retrieval: songs, their tags and inputs joined by id, and what a run keeps of them."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orpheus.base import storage
from orpheus.config import retrieval
from orpheus.config.retrieval import RetrievalConfig
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.batches import random_access
from orpheus.data.items import tables
from orpheus.data.records import format
from orpheus.data.tags.categories import read_categories
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import ConfigError, DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.retrieval import checks, joining
from orpheus.tasks.retrieval.joining import Choices

log = logging.getLogger(__name__)

Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class RetrievalData:
    """Songs, their tags and inputs, and the split.

    Attributes:
        ids: Of all songs of the split, in the order of their numbers.
        groups: What is resampled together: the artist where records say so, else the song.
        splits: train, valid and test → numbers of songs.
        targets: Tags that have a vector, zero-shot ones included.
        labels: (songs, tags) bool.
        vectors: (tags, d) float32, unit rows unless retrieval.unit_vectors is false.
        zero_shot: (tags,) bool, tags that training never sees.
        categories: Tag → category, of those that have one.
        audio: Windows of songs, or None.
        spec: Of the audio.
        factors: (songs, columns) float32, or None.
        provenance: Paths and hashes, for run.json.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: dict[str, np.ndarray]
    targets: TagTargets
    labels: np.ndarray
    vectors: np.ndarray
    zero_shot: np.ndarray
    categories: Mapping[str, str]
    audio: random_access.Audio | None
    spec: AudioSpec | None
    factors: np.ndarray | None
    provenance: dict[str, Any] = field(default_factory=dict)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one song's inputs by name, as `towers.build_towers` takes them."""
        found: dict[str, tuple[int, ...]] = {}
        if self.audio is not None:
            found["audio"] = self.audio.shape
        if self.factors is not None:
            found["factors"] = self.factors.shape[1:]
        return found

    def songs_of(self, name: str) -> np.ndarray:
        """Numbers of the songs of one split.

        Raises:
            DataError: the split leaves it empty.
        """
        if not len(self.splits[name]):
            raise DataError(f"the split has no {name} songs with any of the tags; give another --split")
        return self.splits[name]

    def hashes(self) -> dict[str, str]:
        """``{"split"}``: runs and evaluations with equal ones can be compared; and those of the inputs."""
        splits = {split: [self.ids[i] for i in rows] for split, rows in self.splits.items()}
        return {"split": comparability.of_split(splits), **checks.of_inputs(self)}


def open_data(
    frontend: str, config: RetrievalConfig, choices: Choices, *, progress: Progress = lambda x: x
) -> RetrievalData:
    """Open what a new run trains on, check it, choose the tags and their vectors.

    Raises:
        ConfigError, DataError: inputs and config disagree, no tag has a vector, no song is left; one clear line.
    """
    wanted = config.retrieval.input_type
    checks.check_inputs(frontend, wanted, choices)
    catalogue = None
    if wanted != "cf":
        catalogue = format.open_folder(
            str(choices.tfrecords_dir), format=frontend, wanted=config.tfrecords.model_dump(), progress=progress
        )
    of_songs, groups, source = joining.tags_of_songs(choices, catalogue)
    splits, split_tags = joining.split_of_songs(choices, config, catalogue)
    targets, matrix, vectors = joining.tags_with_vectors(
        of_songs, splits, split_tags, choices.vectors, config.tags, unit=config.retrieval.unit_vectors
    )
    provenance = {
        "vectors": joining.of_vectors(choices.vectors, vectors),
        "tags": source,
        "split_file": str(choices.split) if choices.split else None,
    }
    found = assemble(
        config,
        targets,
        matrix,
        of_songs,
        groups,
        splits,
        catalogue,
        choices.factors,
        categories=read_categories(choices.categories) if choices.categories else {},
        provenance=provenance,
    )
    checks.check_emptied(found, splits, of_songs, choices)
    return found


def assemble(
    config: RetrievalConfig,
    targets: TagTargets,
    vectors: np.ndarray,
    of_songs: Mapping[str, Sequence[str]],
    groups: Mapping[str, str],
    splits: Mapping[str, Sequence[str]],
    catalogue: format.Catalogue | None,
    factors: str | os.PathLike | None,
    *,
    categories: Mapping[str, str],
    provenance: dict[str, Any],
) -> RetrievalData:
    """Join inputs by id. Songs without any of the tags, and (with a warning that names them) without an input, are left
    out."""
    section = config.retrieval
    zero_shot = np.isin(np.array(targets.classes), section.zero_shot)
    for tag in section.zero_shot:
        if tag not in targets.classes:
            raise ConfigError(f"retrieval.zero_shot: {tag!r} is not among the {len(targets.classes)} tags with vectors")
    if zero_shot.all():
        raise ConfigError("retrieval.zero_shot: names all tags, and none is left to train on")
    wanted = {name: [song for song in ids if targets.any(of_songs.get(song, ()))] for name, ids in splits.items()}
    everybody = [song for ids in wanted.values() for song in ids]
    located = random_access.locate(catalogue) if catalogue is not None else None
    table = tables.read(factors) if factors else None
    for where, name in (
        (located, f"{catalogue.folder if catalogue else ''}: no record"),
        (table, f"{factors}: no factors"),
    ):
        if where is not None:
            everybody = joining.there(everybody, where, name)
    kept = set(everybody)
    ids = tuple(everybody)
    number = {song: index for index, song in enumerate(ids)}
    audio = None
    if catalogue is not None and located is not None:
        seconds = catalogue.spec.seconds(section.input_length)
        audio = random_access.Audio(catalogue, [located[song] for song in ids], targets, seconds)
    matrix = None
    if table is not None:
        matrix = checks.matrix_of(table, ids)
    return RetrievalData(
        ids=ids,
        groups=tuple(groups.get(song) or song for song in ids),
        splits={name: np.array([number[s] for s in songs_ if s in kept], np.int64) for name, songs_ in wanted.items()},
        targets=targets,
        labels=targets.matrix([of_songs[song] for song in ids]).astype(bool),
        vectors=vectors,
        zero_shot=zero_shot,
        categories={tag: categories[tag] for tag in targets.classes if tag in categories},
        audio=audio,
        spec=catalogue.spec if catalogue is not None else None,
        factors=matrix,
        provenance=provenance,
    )


def describe(data: RetrievalData, config: RetrievalConfig, frontend: str, choices: Choices, **more: Any) -> dict:
    """run.json."""
    return {
        "version": 1,
        "task": "retrieval",
        "frontend": frontend,
        "input_type": config.retrieval.input_type,
        "tfrecords_dir": storage.absolute(str(choices.tfrecords_dir)) if choices.tfrecords_dir else None,
        "factors": os.path.abspath(choices.factors) if choices.factors else None,
        "dimensions": {name: list(shape) for name, shape in data.shapes().items()},
        "split": {name: [data.ids[i] for i in rows] for name, rows in data.splits.items()},
        "hashes": data.hashes(),
        "categories": dict(data.categories),
        **data.provenance,
        **more,
    }


def save(run: Run, data: RetrievalData, config: RetrievalConfig) -> None:
    """Write what a run keeps besides run.json: config, tags, their vectors, songs' tags, spec."""
    own = [[data.targets.classes[column] for column in np.flatnonzero(row)] for row in data.labels]
    joining.save(run, data, config, own)


def load_config(run: Run) -> RetrievalConfig:
    """The config of a run."""
    return retrieval.parse(retrieval.as_trained(run.read("config")), source=str(run.folder / "config.json"))


def reopen_data(
    run: Run, *, tfrecords_dir: str | os.PathLike | None = None, factors: str | os.PathLike | None = None
) -> RetrievalData:
    """The data of an existing run, its split, tags and vectors as they were.

    Args:
        run: Of this task.
        tfrecords_dir: Where its records are now; None for where they were.
        factors: As above.

    Raises:
        DataError: they are not there, or lack all songs.
    """
    settings, config = run.read("run"), load_config(run)
    checks.check_moved(settings, tfrecords_dir, factors)
    kept = joining.reopen(run, config.tfrecords, tfrecords_dir)
    factors = (factors or settings["factors"]) if settings["factors"] else None
    return assemble(
        config,
        kept.targets,
        kept.vectors,
        kept.tags_of,
        kept.groups,
        kept.splits,
        kept.catalogue,
        factors,
        categories=kept.categories,
        provenance=kept.provenance,
    )


def lines(data: RetrievalData, settings: dict) -> list[tuple[str, str]]:
    """What a dry run says of the data."""
    counts = data.labels.sum(axis=0)
    shown = ", ".join(
        f"{tag} ({int(count)})" for tag, count in list(zip(data.targets.classes, counts, strict=True))[:10]
    )
    unseen = int(data.zero_shot.sum())
    return [
        *((name, f"{len(rows)} songs") for name, rows in data.splits.items()),
        ("tags", f"{len(counts)}, {unseen} of them zero-shot: {shown}{', …' if len(counts) > 10 else ''}"),
        ("vectors", f"{data.vectors.shape[1]} dimensions of {data.provenance['vectors']['name']}"),
    ]
