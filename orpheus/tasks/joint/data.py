"""The joint task: songs, their inputs, tags and listeners joined by id, and what a run keeps of them."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from orpheus.base import storage
from orpheus.config import joint
from orpheus.config.joint import JointConfig
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.batches import random_access
from orpheus.data.items import interactions, tables
from orpheus.data.records import format
from orpheus.data.tags.categories import read_categories
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.joint import checks
from orpheus.tasks.retrieval import checks as song_checks
from orpheus.tasks.retrieval import joining

log = logging.getLogger(__name__)
PLACES = (
    "tfrecords_dir",
    "factors",
    "texts",
    "counts",
    "listener_factors",
)  # keys of run.json that say where something is

Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Choices(joining.Choices):
    """Besides: what only joint runs take.

    Attributes:
        texts: Vectors of songs' texts, a table with ids, where joint.inputs has text.
        counts: Listener, song, count a line (`interactions.read`).
        listener_factors: A table with ids, where joint.listeners is factors.
    """

    texts: str | os.PathLike | None = None
    counts: str | os.PathLike | None = None
    listener_factors: str | os.PathLike | None = None


@dataclass(frozen=True)
class JointData:
    """Songs with a tag or a listener, what is known of them, and the split.

    Attributes:
        ids: Of all songs of the split, in the order of their numbers.
        groups: What is resampled together: the artist where records say so, else the song.
        splits: train, valid and test → numbers of songs.
        targets: Tags that have a vector.
        labels: (songs, tags) CSR bool.
        vectors: (tags, d) float32 word vectors.
        categories: Tag → category, of those that have one.
        inputs: Names of joint.inputs, in its order.
        present: (songs, inputs) bool: which inputs a song has. No song of valid or test has factors.
        audio: Windows of songs, or None; of a song without a record there are none, and it is another's.
        spec: Of the audio.
        tables: ``"text"``, ``"factors"`` → (songs, columns) float32, 0 where not present.
        listeners: Ids of the rows of `heard`, in the order of their first appearance in the file.
        heard: (listeners, songs) CSR float32, how often.
        listener_factors: (listeners, columns) float32, or None; 0 for a listener without.
        has_factors: (listeners,) bool.
        provenance: Paths and hashes, for run.json.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: dict[str, np.ndarray]
    targets: TagTargets
    labels: scipy.sparse.csr_matrix
    vectors: np.ndarray
    categories: Mapping[str, str]
    inputs: tuple[str, ...]
    present: np.ndarray
    audio: random_access.Audio | None
    spec: AudioSpec | None
    tables: Mapping[str, np.ndarray]
    listeners: tuple[str, ...]
    heard: scipy.sparse.csr_matrix
    listener_factors: np.ndarray | None
    has_factors: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one song's inputs by name, in the order of `inputs`."""
        return {
            name: self.audio.shape if name == "audio" and self.audio is not None else self.tables[name].shape[1:]
            for name in self.inputs
        }

    def songs_of(self, name: str) -> np.ndarray:
        """Numbers of the songs of one split.

        Raises:
            DataError: the split leaves it empty.
        """
        if not len(self.splits[name]):
            raise DataError(f"the split has no {name} songs with a tag or a listener; give another --split")
        return self.splits[name]

    def given(self, rows: np.ndarray) -> np.ndarray:
        """(rows, tags) bool: the tags of songs."""
        return self.labels[rows].toarray()

    def history(self) -> scipy.sparse.csr_matrix:
        """(listeners, training songs) CSR: what a listener is known by, columns in the order of ``splits["train"]``."""
        return self.heard[:, self.splits["train"]].tocsr()

    def hashes(self) -> dict[str, str]:
        """``{"split"}``: runs and evaluations with equal ones can be compared; and those of the inputs."""
        splits = {name: [self.ids[i] for i in rows] for name, rows in self.splits.items()}
        found = {"split": comparability.of_split(splits)}
        found |= {name: checks.hash_of_rows(self.ids, matrix) for name, matrix in self.tables.items()}
        if self.listeners:
            found["counts"] = checks.hash_of_counts(self.listeners, self.ids, self.heard)
        if self.listener_factors is not None:
            found["listener_factors"] = checks.hash_of_rows(self.listeners, self.listener_factors)
        return found


def open_data(frontend: str, config: JointConfig, choices: Choices, *, progress: Progress = lambda x: x) -> JointData:
    """Open what a new run trains on, check it, choose the tags and their vectors.

    Raises:
        ConfigError, DataError: inputs and config disagree, no tag has a vector, no song is left; one clear line.
    """
    checks.check_inputs(frontend, config.joint, choices)
    catalogue = None
    if "audio" in config.joint.inputs:
        catalogue = format.open_folder(
            str(choices.tfrecords_dir), format=frontend, wanted=config.tfrecords.model_dump(), progress=progress
        )
    of_songs, groups, source = joining.tags_of_songs(choices, catalogue)
    splits, split_tags = joining.split_of_songs(choices, config, catalogue)
    held_out = {song for name in ("valid", "test") for song in splits[name]}
    for option, path in (("--factors", choices.factors), ("--listener-factors", choices.listener_factors)):
        if path:
            checks.check_unseen(path, held_out, option)
    targets, vectors, known = joining.tags_with_vectors(
        of_songs, splits, split_tags, choices.vectors, config.tags, unit=config.joint.unit_vectors
    )
    provenance = {
        "vectors": joining.of_vectors(choices.vectors, known),
        "tags": source,
        "split_file": str(choices.split) if choices.split else None,
    }
    return assemble(
        config,
        targets,
        vectors,
        of_songs,
        groups,
        splits,
        catalogue,
        {key: getattr(choices, key) for key in PLACES},
        categories=read_categories(choices.categories) if choices.categories else {},
        provenance=provenance,
    )


def assemble(
    config: JointConfig,
    targets: TagTargets,
    vectors: np.ndarray,
    of_songs: Mapping[str, Sequence[str]],
    groups: Mapping[str, str],
    splits: Mapping[str, Sequence[str]],
    catalogue: format.Catalogue | None,
    places: Mapping[str, Any],
    *,
    categories: Mapping[str, str],
    provenance: dict[str, Any],
) -> JointData:
    """Join by id. Songs with neither tag nor listener, and (with a warning) those without an input, are left out."""
    section = config.joint
    everybody = [song for ids in splits.values() for song in ids]
    plays = _plays(places["counts"], everybody)
    wanted = [song for song in everybody if targets.any(of_songs.get(song, ())) or song in plays.known]
    held_out = {song for name in ("valid", "test") for song in splits[name]}
    located = random_access.locate(catalogue) if catalogue is not None else {}
    found = {name: tables.read(places[key]) for name, key in (("text", "texts"), ("factors", "factors")) if places[key]}
    having: dict[str, Any] = {"audio": located, **found}
    names: list[str] = list(section.inputs)

    def has(song: str, name: str) -> bool:
        return song in having[name] and not (name == "factors" and song in held_out)

    masked = sum(song in held_out for song in found["factors"].ids) if "factors" in found else 0
    if masked:
        log.info("factors: those of %d songs of validation and test are not used", masked)
    with_inputs = {song for song in wanted if any(has(song, name) for name in section.inputs)}
    wanted = joining.there(wanted, with_inputs, f"joint.inputs={section.inputs}: none")
    kept, ids = set(wanted), tuple(wanted)
    number = {song: index for index, song in enumerate(ids)}
    rows = {name: np.array([number[s] for s in ids_ if s in kept], np.int64) for name, ids_ in splits.items()}
    checks.check_split(rows, splits)
    present = np.array([[has(song, name) for name in section.inputs] for song in ids], bool)
    checks.check_masked(present, section.inputs, rows, ids)
    audio = None
    if catalogue is not None:
        seconds = catalogue.spec.seconds(section.input_length)
        any_record = next(iter(located.values()))
        songs = [located.get(song, any_record) for song in ids]
        audio = random_access.Audio(catalogue, songs, targets, seconds)
    dense = {name: _filled(table, ids, np.asarray(present[:, names.index(name)])) for name, table in found.items()}
    heard, listener_factors, has_factors = plays.of(ids), None, np.zeros(len(plays.listeners), bool)
    if places["listener_factors"]:
        table = tables.read(places["listener_factors"])
        has_factors = np.array([one in table for one in plays.listeners], bool)
        joining.there(plays.listeners, table, f"--listener-factors {table.name}: no row")
        listener_factors = _filled(table, plays.listeners, has_factors)
    return JointData(
        ids=ids,
        groups=tuple(groups.get(song) or song for song in ids),
        splits=rows,
        targets=targets,
        labels=_labels(targets, [of_songs.get(song, ()) for song in ids]),
        vectors=vectors,
        categories={tag: categories[tag] for tag in targets.classes if tag in categories},
        inputs=tuple(section.inputs),
        present=present,
        audio=audio,
        spec=catalogue.spec if catalogue is not None else None,
        tables=dense,
        listeners=plays.listeners,
        heard=heard,
        listener_factors=listener_factors,
        has_factors=has_factors,
        provenance=provenance,
    )


@dataclass(frozen=True)
class _Plays:
    """Counts of songs of the split."""

    listeners: tuple[str, ...]
    items: tuple[str, ...]
    counts: scipy.sparse.csr_matrix

    @property
    def known(self) -> set[str]:
        return set(self.items)

    def of(self, ids: Sequence[str]) -> scipy.sparse.csr_matrix:
        """(listeners, ids) float32."""
        row = {item: index for index, item in enumerate(self.items)}
        there = np.array([index for index, song in enumerate(ids) if song in row], np.int64)
        picked = np.array([row[ids[index]] for index in there], np.int64)
        where = scipy.sparse.csr_matrix(
            (np.ones(len(there), np.float32), (picked, there)), shape=(len(self.items), len(ids))
        )
        return (self.counts @ where).tocsr().astype(np.float32)


def _plays(path: Any, songs: Sequence[str]) -> _Plays:
    if not path:
        return _Plays((), (), scipy.sparse.csr_matrix((0, 0), dtype=np.float32))
    found = interactions.read(Path(path))
    checks.check_counts(path, found.items, songs)
    known = set(songs)
    columns = np.array([index for index, item in enumerate(found.items) if item in known])
    counts = found.counts[:, columns]
    rows = np.flatnonzero(np.diff(counts.tocsr().indptr))
    items = tuple(found.items[column] for column in columns)
    return _Plays(tuple(found.users[row] for row in rows), items, counts.tocsr()[rows])


def _labels(targets: TagTargets, tags: Sequence[Iterable[str]]) -> scipy.sparse.csr_matrix:
    """(songs, tags) CSR bool."""
    columns = [sorted({targets.columns[tag] for tag in own if tag in targets.columns}) for own in tags]
    indptr = np.concatenate([[0], np.cumsum([len(own) for own in columns])]).astype(np.int64)
    indices = np.array([column for own in columns for column in own], np.int64)
    shape = (len(tags), len(targets.classes))
    return scipy.sparse.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=shape)


def _filled(table: tables.Table, ids: Sequence[str], there: np.ndarray) -> np.ndarray:
    """(ids, columns) float32: rows of a table, 0 where there is none."""
    rows = song_checks.matrix_of(table, [one for one, has in zip(ids, there, strict=True) if has])
    result = np.zeros((len(ids), table.dim), np.float32)
    result[there] = rows
    return result


def describe(data: JointData, config: JointConfig, frontend: str, choices: Choices, **more: Any) -> dict:
    """run.json."""
    places = {key: getattr(choices, key) for key in PLACES}
    return {
        "version": 1,
        "task": "joint",
        "frontend": frontend,
        "inputs": list(data.inputs),
        "listeners": config.joint.listeners,
        "tfrecords_dir": storage.absolute(str(choices.tfrecords_dir)) if choices.tfrecords_dir else None,
        **{key: os.path.abspath(place) if place else None for key, place in places.items() if key != "tfrecords_dir"},
        "dimensions": {name: list(shape) for name, shape in data.shapes().items()},
        "split": {name: [data.ids[i] for i in rows] for name, rows in data.splits.items()},
        "hashes": data.hashes(),
        "categories": dict(data.categories),
        **data.provenance,
        **more,
    }


def save(run: Run, data: JointData, config: JointConfig) -> None:
    """Write what a run keeps besides run.json: config, tags, their vectors, songs' tags, spec."""
    bounds = zip(data.labels.indptr[:-1], data.labels.indptr[1:], strict=True)
    own = [[data.targets.classes[column] for column in data.labels.indices[a:b]] for a, b in bounds]
    joining.save(run, data, config, own)


def load_config(run: Run) -> JointConfig:
    """The config of a run."""
    return joint.parse(run.read("config"), source=str(run.folder / "config.json"))


def reopen_data(run: Run, *, places: Mapping[str, str | os.PathLike | None] | None = None) -> JointData:
    """The data of an existing run, its split, tags and vectors as they were.

    Args:
        run: Of this task.
        places: Where records, factors, texts, counts and listeners' factors are now, by the keys of run.json; None, or a
            key that is not there, for where they were.

    Raises:
        DataError: they are not there, or lack all songs.
    """
    settings, config = run.read("run"), load_config(run)
    moved = {key: place for key, place in (places or {}).items() if place}
    checks.check_moved(settings, moved)
    kept = joining.reopen(run, config.tfrecords, moved.get("tfrecords_dir"))
    now = {key: moved.get(key) or settings.get(key) for key in PLACES}
    return assemble(
        config,
        kept.targets,
        kept.vectors,
        kept.tags_of,
        kept.groups,
        kept.splits,
        kept.catalogue,
        now,
        categories=kept.categories,
        provenance=kept.provenance,
    )


def lines(data: JointData, settings: dict) -> list[tuple[str, str]]:
    """What a dry run says of the data."""
    counts = np.asarray(data.labels.sum(axis=0)).ravel()
    shown = ", ".join(f"{tag} ({int(n)})" for tag, n in list(zip(data.targets.classes, counts, strict=True))[:10])
    inputs = (f"{name} of {int(n)}" for name, n in zip(data.inputs, data.present.sum(axis=0), strict=True))
    return [
        *((name, f"{len(rows)} songs") for name, rows in data.splits.items()),
        ("inputs", f"{', '.join(inputs)} songs; factors of validation and test are never used"),
        ("tags", f"{len(counts)}: {shown}{', …' if len(counts) > 10 else ''}"),
        ("vectors", f"{data.vectors.shape[1]} dimensions of {data.provenance['vectors']['name']}"),
        ("listeners", f"{len(data.listeners)}, who heard {data.heard.nnz} songs in all"),
    ]
