"""A trained retrieval run on new tags and songs: any tag with a word vector, audio files, records, factors."""

import itertools
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import numpy as np

from orpheus.data.audio import reading
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.retrieval import data, embedding, song_windows
from orpheus.tasks.retrieval.word_space import WordSpace

_SONGS = 4  # embedded at once, each of num_chunk windows


class Retriever(WordSpace):
    """A trained retrieval model.

    Attributes:
        run: Its folder.
        identity: Hash of the run's weights: embeddings of another run lie in another space.
        dimension: Of the embeddings.
        input_type: ``"spec"``, ``"cf"`` or ``"hybrid"``.
        training_tags: Tags that training has seen.
        spec: What audio is turned into, None for cf.
        model: The Keras model with its layers ``tag_tower`` and ``song_tower``.
    """

    def __init__(self, run: Run):
        self.run = run
        run.check_task("retrieval", "search needs one of task retrieval")
        settings, self.config = run.read("run"), data.load_config(run)
        self.model = load_model(run)
        self.input_type: str = settings["input_type"]
        self._columns = settings["dimensions"].get("factors", [0])[0]
        self.spec = run.spec() if self.input_type != "cf" else None
        self._targets = run.classes()
        self.training_tags = tuple(
            tag for tag in self._targets.classes if tag not in set(self.config.retrieval.zero_shot)
        )
        super().__init__(run, self.model, settings["vectors"], unit=self.config.retrieval.unit_vectors)

    @classmethod
    def load(cls, run: str | os.PathLike) -> "Retriever":
        """Open a run folder.

        Raises:
            DataError: no run, a run of another task, or one that is not finished.
        """
        return cls(Run.open(run))

    def files(
        self, paths: Iterable[str | os.PathLike], *, damaged: str = reading.KEEP
    ) -> Iterator[tuple[Path, np.ndarray | DataError]]:
        """Embeddings of audio files: the mean over windows at equal distances, as in validation.

        Args:
            paths: The files.
            damaged: As of `orpheus.data.audio.reading.load`.

        Yields:
            Path and (dimension,) unit vector, or the error of a file that cannot be used.

        Raises:
            ConfigError: the run was trained on factors.
        """
        spec = self._need_audio("audio files")
        for path, found in song_windows.of_files(paths, spec, self.config.retrieval, damaged=damaged):
            if isinstance(found, DataError):
                yield path, found
            else:
                yield path, embedding.embed_songs(self.model, found[None], None)[0]

    def _need_audio(self, what: str, factors: Table | None = None) -> AudioSpec:
        if self.spec is None or (self.input_type == "hybrid" and factors is None):
            needs = "factors" if self.spec is None else "audio and factors together"
            raise ConfigError(f"{self.run.folder}: was trained on {needs} and cannot embed {what} alone")
        if factors is not None:
            if self.input_type != "hybrid":
                raise ConfigError(f"{self.run.folder}: was trained on audio alone and does not use {factors.name}")
            self._check_columns(factors)
        return self.spec

    def _check_columns(self, table: Table) -> None:
        if table.dim != self._columns:
            raise DataError(f"{table.name}: {table.dim} columns, but {self.run.folder} was trained on {self._columns}")

    def records(
        self, folder: str | os.PathLike, *, only: Container[str] | None = None, factors: Table | None = None
    ) -> Iterator[tuple[str, tuple[str, ...], np.ndarray]]:
        """Embeddings of the records of a folder: id, tags, (dimension,) unit vector.

        Args:
            folder: Of records made as those of training.
            only: Ids to embed; None for all.
            factors: Has a row for each of them; for runs of audio and factors together.

        Raises:
            ConfigError, DataError: the run was trained on factors; the records were made otherwise; a song has no factors.
        """
        spec = self._need_audio("records", factors)
        rows, batches = song_windows.of_records(
            folder, spec, self.config.retrieval, self._targets, only=only, batch_size=_SONGS
        )
        values = factors.dense([row.track_id for row in rows]) if factors is not None else None
        embedded = embedding.embed_batches(self.model, batches, _SONGS, values)
        for row, vector in zip(rows, itertools.chain.from_iterable(embedded), strict=True):
            yield row.track_id, tuple(tag for tags in row.tags for tag in tags), vector

    def factors(self, table: Table) -> tuple[list[str], np.ndarray]:
        """Ids and embeddings (songs, dimension) of a table of factors.

        Raises:
            ConfigError, DataError: the run takes audio, or factors of another length.
        """
        if self.input_type != "cf":
            raise ConfigError(f"{self.run.folder}: was trained on {self.input_type} and cannot embed factors alone")
        self._check_columns(table)
        if not len(table):
            return [], np.zeros((0, self.dimension), np.float32)
        rows = [
            embedding.embed_songs(self.model, None, table.dense(table.ids[i : i + 4096]))
            for i in range(0, len(table), 4096)
        ]
        return list(table.ids), np.concatenate(rows)
