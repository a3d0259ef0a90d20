"""A tagger's space of songs: what its network hears, beside how sure it is of each class. Songs are found by both."""

import difflib
import functools
import hashlib
import itertools
import logging
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from orpheus.data.audio import reading
from orpheus.data.items.tables import Table
from orpheus.data.records import format
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import inference
from orpheus.runs.folder import Run
from orpheus.semantics import words
from orpheus.semantics.words import tokens
from orpheus.tasks.joint.space import JointSpace
from orpheus.tasks.retrieval.retriever import Retriever
from orpheus.tasks.tagging import similarity_loss
from orpheus.tasks.tagging.tagger import Tagger

log = logging.getLogger(__name__)
_WINDOWS = 16  # per pass
_NEIGHBOURS = 3  # classes that stand for a word that is none
_HEARD = (
    "pooled_norm",
    "pooled",
    "embedding",
)  # the first that a network has; the first is standardised by its training


def load(run: str | os.PathLike, word_vectors: str | os.PathLike | None = None) -> "Space":
    """What embeds songs by a run: of retrieval, a joint one, or a tagger.

    Args:
        run: The folder.
        word_vectors: For a tagger, see `TaggerSpace`; a retrieval run has its own.

    Raises:
        ConfigError: word vectors for a retrieval run.
        DataError: no run, a run of another task, or one that is not finished.
    """
    opened = Run.open(run)
    if opened.task == "tagging":
        return TaggerSpace(opened, word_vectors)
    if word_vectors is not None:
        raise ConfigError(f"--word-vectors {word_vectors}: are for a tagger's run; {run} has its own")
    return JointSpace(opened) if opened.task == "joint" else Retriever(opened)


class TaggerSpace:
    """A tagger with the methods of `orpheus.tasks.retrieval.retriever.Retriever`, for `SongIndex`.

    A song's vector has two halves of equal length: the mean over windows of what the network pools, and the mean scores of the
    classes. Songs are near each other by both. A class is an axis of the second half, so a song's cosine with it is the share
    of that class in all that the tagger says of the song, at most 0.71. A word that is no class stands, where there are word
    vectors, for the 3 classes nearest to it, each in the share of its cosine with the word (none below 0).

    Args:
        run: Of a tagger.
        word_vectors: Any source of `orpheus.semantics.words.load`, read when a word is asked for that is no class; None:
            classes alone are known.

    Attributes:
        run: Its folder.
        identity: Hash of the run's weights.
        dimension: Of the vectors.
        input_type: ``"spec"``.
        training_tags: Its classes.
        tagger: Itself.
    """

    input_type = "spec"

    def __init__(self, run: Run, word_vectors: str | os.PathLike | None = None):
        self.run, self.tagger, self._source = run, Tagger(run), word_vectors
        self.identity = hashlib.sha256(run.model_path.read_bytes()).hexdigest()
        self.training_tags = self.tagger.classes
        model = self.tagger.model
        names = {layer.name for layer in model.layers}
        heard = model.get_layer(next(name for name in _HEARD if name in names)).output
        self.dimension = int(heard.shape[-1]) + len(self.training_tags)
        both = keras.layers.Concatenate(dtype="float32")([heard, model.output])
        self._forward = inference.forward(keras.Model(model.input, both))
        self._column = {tokens(name): column for column, name in enumerate(self.training_tags)}

    @functools.cached_property
    def _words(self) -> words.WordVectors:
        assert self._source is not None
        return words.load(self._source)

    @functools.cached_property
    def _of_classes(self) -> np.ndarray:
        """(classes, d) unit vectors of the classes by their words, zeros where none has a vector."""
        return np.nan_to_num(similarity_loss.class_vectors(self.run.classes(), self._words))

    def _word(self, name: str) -> np.ndarray | None:
        return None if self._source is None else words.tag_vector(name, self._words)

    def nearest(self, name: str) -> list[tuple[str, float]]:
        """The classes that stand for a word, nearest first, with their cosines by word vector; none where it has no vector."""
        vector = self._word(name)
        if vector is None:
            return []
        cosines = self._of_classes @ vector
        order = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
        return [(self.training_tags[place], float(cosines[place])) for place in order if cosines[place] > 0]

    def knows(self, name: str) -> bool:
        """Whether it is a class, or there are classes that stand for it."""
        return tokens(name) in self._column or bool(self.nearest(name))

    def tags(self, names: Sequence[str]) -> np.ndarray:
        """Vectors of classes, and of words that classes stand for, (len(names), dimension) float32.

        Raises:
            DataError: some are neither; names them and the nearest classes.
        """
        unknown = [name for name in names if not self.knows(name)]
        if unknown:
            near = difflib.get_close_matches(unknown[0].lower(), map(str.lower, self.training_tags), n=3, cutoff=0.5)
            classes = f" (nearest: {', '.join(near)})" if near else f"; it has {', '.join(self.training_tags[:10])}, …"
            if self._source is not None:
                raise DataError(
                    f"{self._source}: no vector for {unknown[0]!r} that is near a class's; nor is it one{classes}"
                )
            raise DataError(
                f"{self.run.folder}: a tagger is searched by its classes, and {unknown[0]!r} is none{classes}"
            )
        rows = np.zeros((len(names), self.dimension), np.float32)
        offset = self.dimension - len(self.training_tags)
        for row, name in zip(rows, names, strict=True):
            if (column := self._column.get(tokens(name))) is not None:
                row[offset + column] = 1
                continue
            stand_in = self.nearest(name)
            log.info(
                "%s is no class; for it stand %s", name, ", ".join(f"{tag} ({cosine:.2f})" for tag, cosine in stand_in)
            )
            for tag, cosine in stand_in:
                row[offset + self._column[tokens(tag)]] = cosine
            row /= np.linalg.norm(row)
        return rows

    def word_vectors(self, names: Sequence[str]) -> np.ndarray:
        """(len(names), d) float32 unit rows by the words alone.

        Raises:
            ConfigError: there are no word vectors.
            DataError: one has none.
        """
        if self._source is None:
            raise ConfigError(f"{self.run.folder}: a tagger knows no word vectors; give a retrieval run")
        rows = [self._word(name) for name in names]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows):
            lacking = next(name for name, row in zip(names, rows, strict=True) if row is None)
            raise DataError(f"{self._source}: no vector for {lacking!r}")
        return np.stack(known) if known else np.zeros((0, 0), np.float32)

    def files(
        self, paths: Iterable[str | os.PathLike], *, damaged: str = reading.KEEP
    ) -> Iterator[tuple[Path, np.ndarray | DataError]]:
        """Path and unit vector of audio files, or the error of one that cannot be used; `damaged` as of `reading.load`."""
        for path in map(Path, paths):
            try:
                yield path, self._embed(reading.stream(path, self.tagger.spec, damaged=damaged))
            except DataError as error:
                yield path, error

    def records(
        self, folder: str | os.PathLike, *, only: Container[str] | None = None, factors: Table | None = None
    ) -> Iterator[tuple[str, tuple[str, ...], np.ndarray]]:
        """Id, tags and unit vector of the records of a folder, made as the tagger's are.

        Raises:
            ConfigError, DataError: factors are given, or the records were made otherwise.
        """
        if factors is not None:
            self.factors(factors)
        spec = self.tagger.spec
        catalogue = format.open_folder(str(folder), format=spec.format, wanted=spec.made_with())
        if catalogue.layout.audio != "bytes":
            raise DataError(f"{folder}: records of the reference's layout; re-run tools.preprocess to index them")
        stored = catalogue.spec
        for shard, rows in catalogue.shards.items():
            (path,) = catalogue.paths([shard])
            for row, record in zip(rows, format.read_shard(path), strict=True):
                if only is None or row.track_id in only:
                    audio = np.frombuffer(format.decode(record)["audio"][0], stored.dtype)
                    frames = audio.reshape(-1, stored.width) if stored.width > 1 else audio
                    yield row.track_id, tuple(tag for tags in row.tags for tag in tags), self._embed([frames])

    def factors(self, table: Table) -> tuple[list[str], np.ndarray]:
        """None: a tagger takes audio.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.run.folder}: a tagger takes audio and does not use {table.name}")

    def _embed(self, stored: Iterable[np.ndarray]) -> np.ndarray:
        """(dimension,) unit vector of stored frames."""
        frames = self.tagger.spec.frames(self.tagger.window_seconds)
        windows = (window for _, window in inference.sliding(stored, frames, frames, whole=self.tagger.windows.whole))
        outputs = []
        while batch := list(itertools.islice(windows, _WINDOWS)):
            outputs.append(self._forward(np.stack(batch)).numpy())
        mean = np.concatenate(outputs).mean(axis=0)
        halves = np.split(mean, [self.dimension - len(self.training_tags)])
        return np.concatenate([half / max(float(np.linalg.norm(half)), 1e-9) for half in halves]) / np.float32(
            np.sqrt(2)
        )


Space = Retriever | JointSpace | TaggerSpace
