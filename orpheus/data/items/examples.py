"""Batches of several inputs, read lazily: memory-mapped matrices, sparse rows made dense per batch, patches by row."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from orpheus.data.items import tables
from orpheus.data.items.patch_files import Patches
from orpheus.data.items.tables import Table
from orpheus.errors import DataError

Reader = Callable[[np.ndarray, int], np.ndarray]


class Rows:
    """Rows of a table for given items, as float32, whatever their number.

    Args:
        table: Dense (memory-mapped) or sparse.
        ids: Items wanted, in this order.
        unit: Make rows length 1; zero rows stay zero.

    Raises:
        DataError: the table lacks some of the items.
    """

    def __init__(self, table: Table, ids: Sequence[str], *, unit: bool = False):
        self.table, self.unit, self._rows = table, unit, table.positions(ids)

    def __call__(self, items: np.ndarray, part: int) -> np.ndarray:
        rows = tables.densify(self.table.matrix[self._rows[items]])
        bad = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
        if bad.any():
            item = self.table.ids[self._rows[items[int(np.argmax(bad))]]]
            raise DataError(f"{self.table.name}: item {item!r} has a value that is not finite; write the file again")
        if self.unit:
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
        return rows


class WordIds:
    """Rows of word ids as int32, checked against the number of word vectors.

    Raises:
        DataError: the table lacks some of the items; on reading, an id has no vector (named).
    """

    def __init__(self, table: Table, ids: Sequence[str], words: int):
        self.table, self.words, self._rows = table, words, table.positions(ids)

    def __call__(self, items: np.ndarray, part: int) -> np.ndarray:
        rows = np.asarray(self.table.matrix[self._rows[items]], np.int32)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.words:
            raise DataError(f"{self.table.name}: word id {rows.max()}, but there are vectors of {self.words} words")
        return rows


class PatchRows:
    """One patch of each item, read from the file when asked for.

    Args:
        patches: The open file.
        ids: Items wanted.

    Raises:
        DataError: an item has no patch (named).
    """

    def __init__(self, patches: Patches, ids: Sequence[str]):
        self.patches, self._rows = patches, patches.positions(ids)

    def __call__(self, items: np.ndarray, part: int) -> np.ndarray:
        # An item with fewer patches than the others has its first ones again.
        return self.patches.rows([self._rows[item][part % len(self._rows[item])] for item in items])


@dataclass
class Examples:
    """Items of one set: named inputs, and targets where they are known.

    Attributes:
        ids: Items.
        inputs: Name → reader of (items, part).
        targets: Reader, or None.
        parts: Examples per item: its patches. Example e is item e // parts, patch e % parts.
        errors: What reading raised inside the input pipeline, where TensorFlow hides it.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, Reader]
    targets: Reader | None = None
    parts: int = 1
    errors: list[DataError] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids) * self.parts

    def read(self, examples: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Inputs and targets of examples, in their order."""
        items, part = np.divmod(np.asarray(examples), self.parts)
        inputs = {name: _by_part(reader, items, part) for name, reader in self.inputs.items()}
        return inputs, None if self.targets is None else self.targets(items, 0)

    def batches(self, size: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """(inputs, item of each example) in order, each example once."""
        for start in range(0, len(self), size):
            examples = np.arange(start, min(start + size, len(self)))
            yield self.read(examples)[0], examples // self.parts

    def training(self, size: int, *, seed: int, first_epoch: int) -> tf.data.Dataset:
        """Endless batches of `size`, in the order that `Job.train` promises.

        The last batch of an epoch is filled up with the epoch's first examples, so that all are equally large.
        """

        def generate():
            for epoch in itertools.count(first_epoch):
                order = np.random.default_rng([seed, epoch]).permutation(len(self))
                order = np.resize(order, -(-len(self) // size) * size)
                for start in range(0, len(order), size):
                    yield self._read_or_note(order[start : start + size])

        return self._dataset(generate, size)

    def validation(self, size: int) -> tf.data.Dataset:
        """Every example once, in order."""

        def generate():
            for start in range(0, len(self), size):
                yield self._read_or_note(np.arange(start, min(start + size, len(self))))

        batches = self._dataset(generate, None)
        return batches.apply(
            tf.data.experimental.assert_cardinality(-(-len(self) // size))
        )  # else fit warns of the end

    def _read_or_note(self, examples: np.ndarray):
        try:
            return self.read(examples)
        except DataError as error:
            self.errors.append(error)
            raise

    def _dataset(self, generate, size: int | None) -> tf.data.Dataset:
        inputs, targets = self.read(np.zeros(1, np.int64))
        assert targets is not None, "only examples with targets are trained on"
        signature = (
            {name: tf.TensorSpec((size, *value.shape[1:]), value.dtype) for name, value in inputs.items()},
            tf.TensorSpec((size, *targets.shape[1:]), targets.dtype),
        )
        return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)


def _by_part(reader: Reader, items: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Rows of (item, part) pairs, read with one call per part."""
    if not part.any():
        return reader(items, 0)
    chosen = [part == number for number in np.unique(part)]
    rows = [reader(items[one], int(part[one][0])) for one in chosen]
    result = np.empty((len(items), *rows[0].shape[1:]), rows[0].dtype)
    for one, values in zip(chosen, rows, strict=True):
        result[one] = values
    return result
