"""A retriever without a model: what it hears in a file is the words that are written there."""

from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np

from orpheus.data.audio.spec import WAVEFORM, AudioSpec
from orpheus.data.items.tables import Table
from orpheus.data.records import format
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.semantics.words import tokens

WORDS = ("sad", "happy", "piano", "guitar", "vocals", "rock", "jazz", "eighties")


def vector(text: str) -> np.ndarray | None:
    """(8,) unit: the directions of the words of a text that are known, the first one a little louder."""
    known = [word for word in tokens(text) if word in WORDS]
    total = sum((np.eye(len(WORDS))[WORDS.index(word)] * (1 - 0.01 * n) for n, word in enumerate(known)), np.zeros(8))
    return (total / np.linalg.norm(total)).astype(np.float32) if known else None


class FakeRetriever:
    """The methods of `orpheus.tasks.retrieval.retriever.Retriever`; counts what it embeds."""

    dimension, input_type = len(WORDS), "spec"
    training_tags = ("sad", "Piano", "rock", "80s")
    spec = AudioSpec(WAVEFORM, sample_rate=8000)

    def __init__(self, folder: Path, identity: str = "a" * 64, *, stop_after: int = 10**9):
        self.run, self.identity, self.stop_after = Run(folder), identity, stop_after
        self.embedded: list[str] = []
        self.asked: list[str] = []

    def knows(self, name: str) -> bool:
        return vector(name) is not None

    def tags(self, names: Sequence[str]) -> np.ndarray:
        self.asked += names
        unknown = [name for name in names if vector(name) is None]
        if unknown:
            raise DataError(f"words.txt: no vector for {unknown[0]!r} (nearest known: sad)")
        return np.array([vector(name) for name in names], np.float32).reshape(-1, self.dimension)

    word_vectors = tags

    def files(self, paths, *, damaged="keep"):
        if self.input_type == "cf":
            raise ConfigError("run: was trained on factors and cannot embed audio files alone")
        for path in map(Path, paths):
            if len(self.embedded) >= self.stop_after:
                raise KeyboardInterrupt
            found = vector(path.read_text())
            self.embedded.append(path.name)
            yield path, found if found is not None else DataError(f"{path}: silent")

    def records(self, folder, *, only: Container[str] | None = None, factors: Table | None = None):
        for name in format.shard_names(folder):
            for record in format.read_shard(Path(folder) / name):
                fields = format.decode(record)
                song, words = fields["tid"][0].decode(), fields["audio"][0].decode().strip("\0")
                if only is None or song in only:
                    self.embedded.append(song)
                    heard = vector(words)
                    total = heard if factors is None else heard + factors.dense([song])[0]
                    yield song, tuple(tag.decode() for tag in fields["tags"]), total / np.linalg.norm(total)

    def factors(self, table: Table):
        if self.input_type != "cf":
            raise ConfigError(f"run: was trained on {self.input_type} and cannot embed factors alone")
        self.embedded += table.ids
        rows = table.dense(table.ids)
        return list(table.ids), rows / np.linalg.norm(rows, axis=1, keepdims=True)
