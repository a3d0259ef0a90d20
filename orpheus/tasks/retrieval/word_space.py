"""Tags of a trained run with a tag tower: those of training, and any other whose words its vectors know."""

import difflib
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from orpheus.data.items import tables
from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.semantics import words

TAG_VECTORS = "tags.npz"  # in a run: its tags and their word vectors


class WordSpace:
    """Tags in the space of a model.

    Args:
        run: Its folder.
        model: Has a layer ``tag_tower``.
        source: Of its word vectors, as in run.json.
        unit: Whether the tower takes them at length 1.

    Attributes:
        run: Its folder.
        model: As given.
        identity: Hash of the run's weights: embeddings of another run lie in another space.
        dimension: Of the embeddings.
    """

    def __init__(self, run: Run, model: keras.Model, source: dict[str, Any], *, unit: bool):
        self.run, self.model, self._source, self._unit = run, model, source, unit
        self.identity = hashlib.sha256(run.model_path.read_bytes()).hexdigest()
        self.dimension = int(model.get_layer("tag_tower").output_shape[-1])
        known = tables.read(run.folder / TAG_VECTORS)
        self._vectors = dict(zip(known.ids, known.matrix, strict=True))
        self._words: words.WordVectors | None = None

    def knows(self, name: str) -> bool:
        """Whether a tag has a vector."""
        return self._vector(name) is not None

    def tags(self, names: Sequence[str]) -> np.ndarray:
        """Embeddings of tags, those of training or any other whose words the vectors know.

        Returns:
            (len(names), dimension) float32 unit rows.

        Raises:
            DataError: some have no vector; names them and the nearest known words.
        """
        rows = self.word_vectors(names)
        if not len(rows):
            return np.zeros((0, self.dimension), np.float32)
        return self.model.get_layer("tag_tower")(rows, training=False).numpy().astype(np.float32)

    def word_vectors(self, names: Sequence[str]) -> np.ndarray:
        """What the tag tower is given: (len(names), d) float32, unit rows unless retrieval.unit_vectors is false."""
        rows = {name: self._vector(name) for name in names}
        known = {name: row for name, row in rows.items() if row is not None}
        unknown = [name for name in rows if name not in known]
        if unknown:
            near = "; ".join(f"{name!r}{self._near(name)}" for name in unknown[:5])
            raise DataError(f"{self._source['name']}: no vector for {near}")
        return np.stack([known[name] for name in names]) if names else np.zeros((0, 0), np.float32)

    def _vector(self, name: str) -> np.ndarray | None:
        if name not in self._vectors:
            found = words.tag_vector(name, self._source_words(), unit=self._unit)
            if found is None:
                return None
            self._vectors[name] = found
        return self._vectors[name]

    def _source_words(self) -> words.WordVectors:
        """The run's word vectors, read when a tag is asked for that training did not know."""
        if self._words is None:
            path = self._source["path"]
            if not os.path.exists(path):
                raise DataError(
                    f"{path}: the run's word vectors are gone, so that only its {len(self._vectors)} own tags can be "
                    "searched; put them back"
                )
            self._words = words.load(path)
            if self._words.sha256 != self._source["sha256"]:
                raise DataError(f"{path}: not the word vectors that the run was trained with; put those back")
        return self._words

    def _near(self, name: str) -> str:
        known = [*self._vectors, *self._source_words().names]
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
        return f" (nearest known: {', '.join(dict.fromkeys(near))})" if near else ""
