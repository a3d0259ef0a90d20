"""Songs by number: any record of a folder read at its place in its shard, and rows of features, in the graph.

Sampling for metric learning asks for songs in an order of its own. A shard is a sequence, but the manifest says how long
each record is, so that where it begins is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from orpheus.base import storage
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Cutter, Windows
from orpheus.data.records import format
from orpheus.data.records.format import Catalogue, Row
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import DataError

AUTOTUNE = tf.data.AUTOTUNE


@dataclass(frozen=True)
class Song:
    """A record and where it lies."""

    row: Row
    offset: int  # of its first byte in the shard, which is that of its length


def locate(catalogue: Catalogue) -> dict[str, Song]:
    """Track id → song, of every record of a folder.

    Raises:
        DataError: the manifest does not say how long records are, a shard has another size than it says, or an id
            comes twice.
    """
    songs: dict[str, Song] = {}
    for shard, rows in catalogue.shards.items():
        if not all(row.bytes for row in rows):
            raise DataError(
                f"{catalogue.folder}: its manifest does not say how long the records of {shard} are, so that none can "
                "be read by itself; make the records again with tools.preprocess"
            )
        path = catalogue.paths([shard])[0]
        if problem := format.wrong_size(path, rows):
            raise DataError(f"{path}: {problem}; copy it again")
        begin = 0
        for row in rows:
            if row.track_id in songs:
                raise DataError(f"{catalogue.folder}: track id {row.track_id!r} comes twice; ids must be unique")
            songs[row.track_id] = Song(row, begin)
            begin += format.shard_bytes([row.bytes])
    return songs


class Audio:
    """Windows of songs, asked for by number.

    Args:
        catalogue: The folder.
        songs: In the order of their numbers; of `locate`.
        targets: Any classes of the records.
        seconds: Length of a window.
    """

    def __init__(self, catalogue: Catalogue, songs: Sequence[Song], targets: TagTargets, seconds: float):
        part = SplitRecords(catalogue, tuple(catalogue.shards), targets)
        self._random = Cutter(part, Windows(seconds, True))
        self.shape = self._random.shape
        self._folder = catalogue.folder
        paths = [path for song in songs for path in catalogue.paths([song.row.shard])]
        self._paths = tf.constant(paths, tf.string, shape=(len(paths),))
        self._offsets = tf.constant([song.offset for song in songs], tf.int64, shape=(len(songs),))

    def record(self, song: tf.Tensor) -> tf.Tensor:
        """The serialised record of one song; its checksums are compared, as in reading a shard from its start."""
        offset = tf.gather(self._offsets, song)
        path = storage.tensorflow_path_in_graph(tf.gather(self._paths, song), self._folder)
        # tf.data has no public way to begin within a file. A buffer would read ahead of the one record that is wanted.
        shard = tf.raw_ops.TFRecordDatasetV2(
            filenames=[path], compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=[offset]
        )
        one = {"output_types": [tf.string], "output_shapes": [[]]}
        first = tf.raw_ops.TakeDataset(input_dataset=shard, count=tf.constant(1, tf.int64), **one)
        return tf.raw_ops.DatasetToSingleElement(dataset=first, **one)[0]

    def random(self, batches: tf.data.Dataset, shape: tuple[int, int]) -> tf.data.Dataset:
        """Windows at random places: batches of ((batch, songs) numbers, seed) → (batch, songs, …) windows."""
        count = shape[0] * shape[1]
        numbers = batches.map(lambda songs, _: tf.reshape(songs, [count])).unbatch()
        read = numbers.map(self.record, num_parallel_calls=AUTOTUNE).batch(count, drop_remainder=True)
        seeds = batches.map(lambda _, seed: seed)

        def cut(found: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            return tf.reshape(self._random.training(found, seed)[0], (*shape, *self.shape))

        return tf.data.Dataset.zip((read, seeds)).map(cut, num_parallel_calls=AUTOTUNE)

    def spread(self, songs: Sequence[int], count: int, *, batch_size: int, whole: bool = True) -> tf.data.Dataset:
        """`count` windows at `spread_starts` of each song, once: batches of whole songs, (songs, count, …)."""
        numbers = tf.data.Dataset.from_tensor_slices(np.asarray(songs, np.int32))
        windows = numbers.map(
            lambda song: self._random.spread(self.record(song), count, whole=whole), num_parallel_calls=AUTOTUNE
        )
        return windows.batch(batch_size).prefetch(AUTOTUNE)
