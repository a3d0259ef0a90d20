"""tf.data from shards to batches in the order that `Job.train` promises: only the window's bytes decoded, tags to multi-hot in the graph.

Audio leaves here as stored (int16, float16): standardising belongs to the model's first layer, on the device, where it
costs nothing beside the network; here it would halve the pipeline's speed (benchmarks/).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from orpheus.base import storage
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Cutter, Windows
from orpheus.errors import DataError

AUTOTUNE = tf.data.AUTOTUNE


def training(
    part: SplitRecords,
    windows: Windows,
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    steps_per_epoch: int | None = None,
    shuffle: bool = True,
    shuffle_buffer: int = 1000,
    cycle: int = 4,
    block: int = 1,
) -> tf.data.Dataset:
    """Endless training batches, epoch after epoch, (audio, multi-hot); ragged last batches are dropped.

    Args:
        part: The training split.
        windows: What to cut.
        batch_size: Examples over all replicas.
        seed: With the epoch's number it fixes the order of shards and records, windows and augmentation, so that a
            run resumed at `first_epoch` sees what an uninterrupted one would.
        steps_per_epoch: Fewer than the whole epoch; each epoch starts anew.
        shuffle: Order of shards by epoch, and a buffer of `shuffle_buffer` records.
        cycle: Shards read at a time, `block` records from each in turn.

    Returns:
        Batches of stored-type audio, (batch, samples) or (batch, frames, n_mels), and float32 (batch, classes).

    Raises:
        DataError: fewer tracks with a chosen tag than one batch.
    """
    steps = steps_in_epoch(part, batch_size, steps_per_epoch)
    cut = Cutter(part, windows)
    return _epochs(
        _shards(part, part.kept()),
        functools.partial(_records, folder=part.catalogue.folder),
        cut.training,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        first_epoch=first_epoch,
        shuffle=shuffle,
        shuffle_buffer=shuffle_buffer,
        cycle=cycle,
        block=block,
    )


def training_numbers(
    part: SplitRecords, *, batch_size: int, steps_per_epoch: int | None = None, **order: Any
) -> tf.data.Dataset:
    """The batches of `training` as numbers of their tracks in `SplitRecords.rows`, for who has made something of them.

    Args:
        part: The training split; nothing of it is read.
        batch_size, steps_per_epoch, order: As for `training`, of which all but the windows say the order.

    Returns:
        Batches of int64, (batch,).

    Raises:
        DataError: fewer tracks with a chosen tag than one batch.
    """
    steps = steps_in_epoch(part, batch_size, steps_per_epoch)
    counts = np.array([sum(mask) for mask in part.kept()], np.int64)
    shards = tf.data.Dataset.from_tensor_slices((np.cumsum(counts) - counts, counts))
    numbers = tf.autograph.experimental.do_not_convert(lambda first, count: tf.data.Dataset.range(first, first + count))
    return _epochs(shards, numbers, lambda batch, _: batch, steps=steps, batch_size=batch_size, **order)


def _epochs(
    shards: tf.data.Dataset,
    read: Callable[..., tf.data.Dataset],
    finish: Callable[[tf.Tensor, tf.Tensor], Any],
    *,
    steps: int,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    shuffle: bool = True,
    shuffle_buffer: int = 1000,
    cycle: int = 4,
    block: int = 1,
) -> tf.data.Dataset:
    """What `read` gives of the shards in the order of training; `finish` gets each batch and its seed."""
    count = len(shards)

    @tf.autograph.experimental.do_not_convert  # nothing in it branches on tensors
    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        if not tf.executing_eagerly():  # the order depends on (seed, epoch) alone, and on no global seed
            tf.compat.v1.set_random_seed(1)
        ordered = shards
        if shuffle:
            ordered = shards.shuffle(count, seed=_mixed_seed(seed, number, 0), reshuffle_each_iteration=False)
        records = ordered.interleave(read, cycle_length=cycle, block_length=block, num_parallel_calls=AUTOTUNE)
        if shuffle:
            records = records.shuffle(shuffle_buffer, seed=_mixed_seed(seed, number, 1), reshuffle_each_iteration=False)
        batches = records.batch(batch_size, drop_remainder=True).take(steps).enumerate()
        return batches.map(
            lambda index, batch: finish(batch, tf.stack([_mixed_seed(seed, number, 2), index])),
            num_parallel_calls=AUTOTUNE,
        )

    return tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(epoch).prefetch(AUTOTUNE)


def side_by_side(datasets: Sequence[tf.data.Dataset]) -> tf.data.Dataset:
    """Batches whose rows are those of every dataset's batch, one after the other."""
    if len(datasets) == 1:
        return datasets[0]
    together = tf.data.Dataset.zip(tuple(datasets))
    join = tf.autograph.experimental.do_not_convert(
        lambda *batches: tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *batches)
    )
    return together.map(join, num_parallel_calls=AUTOTUNE)


def steps_in_epoch(part: SplitRecords, batch_size: int, steps_per_epoch: int | None = None) -> int:
    """Whole batches in an epoch, or `steps_per_epoch` where that is fewer.

    Raises:
        DataError: not even one batch.
    """
    tracks = sum(map(sum, part.kept()))
    if tracks < batch_size:
        raise DataError(
            f"{part.catalogue.folder}: {tracks} training tracks have any of the {len(part.targets.classes)} classes, "
            f"fewer than one batch; lower model-training.batch_size={batch_size} or choose other tags"
        )
    return min(steps_per_epoch or tracks, tracks // batch_size)


def validation(part: SplitRecords, windows: Windows, *, batch_size: int) -> tf.data.Dataset:
    """Batches of every kept track's centre window once, in the order of `SplitRecords.rows`, the last one ragged."""
    cut = Cutter(part, windows)
    batches = _in_order(part).batch(batch_size).map(cut.centred, num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE)
    # What a filter leaves tf.data does not know, and `model.fit` would warn that the data ran out.
    return batches.apply(tf.data.experimental.assert_cardinality(-(-len(part.rows()) // batch_size)))


def all_windows(part: SplitRecords, windows: Windows, *, batch_size: int) -> tf.data.Dataset:
    """Every window of every kept track: consecutive ones, and, if not `windows.whole`, a last one that ends with it.

    Returns:
        Batches of (audio, index of the track in `SplitRecords.rows`), the last one ragged.
    """
    cut = Cutter(part, windows)
    windows_of_tracks = (
        _in_order(part)
        .enumerate()
        .flat_map(
            lambda index, record: tf.data.Dataset.from_tensor_slices(cut.consecutive(record)).map(
                lambda window: (window, index)
            )
        )
    )
    return windows_of_tracks.batch(batch_size).prefetch(AUTOTUNE)


def _mixed_seed(seed: int, epoch: tf.Tensor, stream: int) -> tf.Tensor:
    """One int64 out of (seed, epoch, stream), for ops that take a single seed."""
    key = tf.stack([tf.constant(seed, tf.int64) * 4 + stream, epoch])
    return tf.random.stateless_uniform([], key, maxval=None, minval=None, dtype=tf.int64)


def _shards(part: SplitRecords, kept: list[list[bool]]) -> tf.data.Dataset:
    """(path, mask of records to keep as bytes, whether all are) per shard."""
    if not any(map(any, kept)):
        raise DataError(
            f"{part.catalogue.folder}: no track in {len(kept)} shards has any of the {len(part.targets.classes)} classes "
            f"({', '.join(part.targets.classes[:5])}…); choose other tags or another dictionary"
        )
    masks = [np.asarray(mask, np.uint8).tobytes() for mask in kept]
    return tf.data.Dataset.from_tensor_slices((part.catalogue.paths(part.shards), masks))


def _in_order(part: SplitRecords) -> tf.data.Dataset:
    """Serialised records that are kept, in the order of `SplitRecords.rows`."""
    return _shards(part, part.kept()).flat_map(functools.partial(_records, folder=part.catalogue.folder))


def _records(path: tf.Tensor, mask: tf.Tensor, *, folder: str) -> tf.data.Dataset:
    """Serialised records of a shard in `folder` that are kept.

    tf.data calls no function that only picks one of its arguments: a comparison in the filter would be a call for every
    record.
    """
    keep = tf.data.Dataset.from_tensor_slices(tf.io.decode_raw(mask, tf.uint8) > 0)
    path = storage.tensorflow_path_in_graph(path, folder)
    # Local files are read straight into the records: a buffer is one more copy, and a large one, allocated anew for
    # every shard, costs more than the rest. Object storage would be asked twice for every record without one.
    buffer = tf.where(tf.strings.regex_full_match(path, ".*://.*"), tf.constant(8 << 20, tf.int64), 0)
    records = tf.data.Dataset.zip((tf.data.TFRecordDataset(path, buffer_size=buffer), keep))
    return records.filter(lambda _, wanted: wanted).map(lambda record, _: record)
