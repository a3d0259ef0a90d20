"""A trained joint run on new songs, tags and listeners: their places, and songs' tags as probabilities."""

import itertools
import logging
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.base import arrays, files
from orpheus.data.audio import reading
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError
from orpheus.models.joint import MASK
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.joint import checks, data, embedding
from orpheus.tasks.retrieval import song_windows
from orpheus.tasks.retrieval.word_space import WordSpace

log = logging.getLogger(__name__)
LISTENERS = "listeners.npz"  # in a run: places of its listeners
_SONGS = 4  # embedded at once, each of num_chunk windows


class JointSpace(WordSpace):
    """A trained joint model, with the methods of `orpheus.tasks.retrieval.retriever.Retriever` and more.

    A song is placed by whichever of the run's inputs is given of it, at least one.

    Attributes:
        run: Its folder.
        identity: Hash of the run's weights: embeddings of another run lie in another space.
        dimension: Of the space.
        input_type: ``"joint"``.
        inputs: What a song can be placed by: audio, text, factors.
        training_tags: The run's tags, of which it gives probabilities.
        spec: What audio is turned into, None for a run without audio.
        model: The Keras model, see `orpheus.models.joint.build_joint`.

    Raises:
        DataError: no finished run of task joint, or one that has not learned tags.
    """

    input_type = "joint"

    def __init__(self, run: Run):
        run.check_task("joint", "a space of songs, tags and listeners needs one of task joint")
        settings, self.config = run.read("run"), data.load_config(run)
        model = load_model(run)
        if not embedding.has_layer(model, "tag_tower"):
            raise DataError(f"{run.folder}: tag_loss and class_loss have weight 0, so that it has no place for tags")
        super().__init__(run, model, settings["vectors"], unit=self.config.joint.unit_vectors)
        self.inputs: tuple[str, ...] = tuple(settings["inputs"])
        self._shapes = {name: tuple(shape) for name, shape in settings["dimensions"].items()}
        self._targets = run.classes()
        self.training_tags = self._targets.classes
        self.spec = run.spec() if "audio" in self.inputs else None

    @classmethod
    def load(cls, run: str | os.PathLike) -> "JointSpace":
        """Open a run folder; errors as of the class."""
        return cls(Run.open(run))

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """(songs, training_tags) float32 in (0, 1): how probable each tag of the run is.

        Args:
            vectors: (songs, dimension) places of songs.

        Raises:
            ConfigError: the run was trained with class_loss.weight=0.
        """
        found = embedding.probabilities(self.model, np.asarray(vectors, np.float32), self._tag_places)
        if found is None:
            raise ConfigError(
                f"{self.run.folder}: trained with joint.class_loss.weight=0, so that it has no probabilities"
            )
        return found

    @cached_property
    def _tag_places(self) -> np.ndarray:
        return self.tags(self.training_tags)

    def files(
        self,
        paths: Iterable[str | os.PathLike],
        *,
        damaged: str = reading.KEEP,
        factors: Table | None = None,
        texts: Table | None = None,
        ids: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[Path, np.ndarray | DataError]]:
        """Places of audio files: the mean over windows at equal distances, as in validation.

        Args:
            paths: The files.
            damaged: As of `orpheus.data.audio.reading.load`.
            factors: Of some or all of the songs, besides their sound.
            texts: The same.
            ids: Path → id in those tables; a path that is not there is placed by its sound alone.

        Yields:
            Path and (dimension,) unit vector, or the error of a file that cannot be used.

        Raises:
            ConfigError, DataError: the run was trained without audio, or without what is given.
        """
        spec = self._need_audio("audio files")
        given, ids = self._checked(factors, texts), ids or {}
        for path, found in song_windows.of_files(paths, spec, self.config.joint, damaged=damaged):
            if isinstance(found, DataError):
                yield path, found
            else:
                yield path, embedding.embed(self.model, found[None], self._others([ids.get(str(path))], given))[0]

    def _need_audio(self, what: str) -> AudioSpec:
        if self.spec is None:
            raise ConfigError(f"{self.run.folder}: was trained on {' and '.join(self.inputs)} and cannot place {what}")
        return self.spec

    def _others(self, ids: Sequence[Any], given: Mapping[str, Table | None]) -> dict[str, np.ndarray]:
        """Inputs besides audio, 0 where a song has none, and which of them songs have; audio counts as there."""
        found: dict[str, np.ndarray] = {}
        present = np.zeros((len(ids), len(self.inputs)), np.float32)
        for column, name in enumerate(self.inputs):
            if name == "audio":
                present[:, column] = 1
                continue
            rows, table = np.zeros((len(ids), self._shapes[name][0]), np.float32), given.get(name)
            if table is not None:
                there = [index for index, song in enumerate(ids) if song in table]
                rows[there] = table.dense([ids[index] for index in there])
                present[there, column] = 1
            found[name] = rows
        return {**found, MASK: present}

    def _checked(self, factors: Table | None, texts: Table | None) -> dict[str, Table | None]:
        given = {"factors": factors, "text": texts}
        for name, table in given.items():
            if table is not None and name not in self.inputs:
                raise ConfigError(
                    f"{self.run.folder}: was trained on {' and '.join(self.inputs)} and does not use {table.name}"
                )
            if table is not None:
                checks.check_columns(table, self._shapes[name][0], str(self.run.folder))
        return given

    def records(
        self,
        folder: str | os.PathLike,
        *,
        only: Container[str] | None = None,
        factors: Table | None = None,
        texts: Table | None = None,
    ) -> Iterator[tuple[str, tuple[str, ...], np.ndarray]]:
        """Places of the records of a folder: id, tags, (dimension,) unit vector.

        Args:
            folder: Of records made as those of training.
            only: Ids to embed; None for all.
            factors: Of some or all of the songs.
            texts: The same.

        Raises:
            ConfigError, DataError: the run was trained without audio or without what is given; records were made otherwise.
        """
        spec, given = self._need_audio("records"), self._checked(factors, texts)
        rows, batches = song_windows.of_records(
            folder, spec, self.config.joint, self._targets, only=only, batch_size=_SONGS
        )
        others = self._others([row.track_id for row in rows], given)
        placed = embedding.embed_batches(self.model, batches, _SONGS, others)
        for row, vector in zip(rows, itertools.chain.from_iterable(placed), strict=True):
            yield row.track_id, tuple(tag for tags in row.tags for tag in tags), vector

    def tables(self, factors: Table | None = None, texts: Table | None = None) -> tuple[list[str], np.ndarray]:
        """Ids and places (songs, dimension) of all songs that have factors or texts, without their sound.

        Raises:
            ConfigError, DataError: neither is given, or the run was trained without, or on other columns.
        """
        given = self._checked(factors, texts)
        ids = list(dict.fromkeys(song for table in given.values() if table is not None for song in table.ids))
        if all(table is None for table in given.values()):
            raise ConfigError(f"{self.run.folder}: give factors or texts of songs")
        if not ids:
            return [], np.zeros((0, self.dimension), np.float32)
        others = self._others(ids, given)
        if self.spec is None:
            return ids, embedding.embed(self.model, None, others)
        others[MASK][:, self.inputs.index("audio")] = 0
        silent = np.zeros((1, 1, *self._shapes["audio"]), np.float32)
        batches = (
            np.broadcast_to(silent, (len(ids[i : i + _SONGS]), *silent.shape[1:])) for i in range(0, len(ids), _SONGS)
        )
        return ids, np.concatenate(list(embedding.embed_batches(self.model, batches, _SONGS, others)))

    def factors(self, table: Table) -> tuple[list[str], np.ndarray]:
        """`tables` of factors alone."""
        return self.tables(factors=table)

    @cached_property
    def listeners(self) -> dict[str, np.ndarray]:
        """Id → (dimension,) unit place of every listener of the run who has one.

        By their factors, or by the training songs that they heard; computed once, from the run's data, and kept in the run.
        """
        path = self.run.folder / LISTENERS
        if path.is_file():
            try:
                kept = arrays.load_npz(path, ("identity", "ids", "matrix"))
                if str(kept["identity"]) == self.identity and len(kept["ids"]) == len(kept["matrix"]):
                    return dict(zip(map(str, kept["ids"]), kept["matrix"], strict=True))
            except DataError as error:
                log.warning("%s; it is made again", error)
        opened = data.reopen_data(self.run)
        places = embedding.listeners_of(self.model, opened, self.config)
        there = np.flatnonzero(np.linalg.norm(places, axis=1) > 0.5)
        ids = [opened.listeners[row] for row in there]
        if os.access(self.run.folder, os.W_OK):
            with files.atomic(path, "wb") as file:
                np.savez(file, ids=np.array(ids, str), matrix=places[there], identity=np.array(self.identity))
        return dict(zip(ids, places[there], strict=True))

    def listeners_of(self, names: Sequence[str]) -> np.ndarray:
        """(len(names), dimension) float32 places of listeners of the run.

        Raises:
            DataError: the run knows no such listener, or nothing of them by which to place them.
        """
        unknown = [name for name in names if name not in self.listeners]
        if unknown:
            some = ", ".join(list(self.listeners)[:3])
            raise DataError(
                f"{self.run.folder}: knows no listener {unknown[0]!r}, or none of their songs (it has {some}, …); a list of "
                "songs that they heard places anybody"
            )
        rows = [self.listeners[name] for name in names]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)

    @staticmethod
    def by_history(places: np.ndarray) -> np.ndarray:
        """(dimension,) unit place of somebody who heard songs at `places` (songs, dimension)."""
        return embedding.unit(np.asarray(places, np.float32).mean(axis=0, keepdims=True))[0]
