"""tf.data from shards to batches: order by (seed, epoch), only the window's bytes decoded, tags to multi-hot in the graph.

Audio leaves here as stored (int16, float16): standardising belongs to the model's first layer, on the device, where it
costs nothing beside the network; here it would halve the pipeline's speed (benchmarks/).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from orpheus.data import wire
from orpheus.data.audio import DECIBEL_FLOOR, LOG_MEL
from orpheus.data.records import Catalogue, Layout
from orpheus.data.tags import TagTargets
from orpheus.errors import ConfigError, DataError

AUTOTUNE = tf.data.AUTOTUNE


@dataclass(frozen=True)
class Windows:
    """What is cut from each record, and how it is changed.

    Attributes:
        seconds: Length of a window.
        random: A random place (training); otherwise the centre.
        augmentation: Keys of the config's section augmentation; empty for none.
    """

    seconds: float
    random: bool = False
    augmentation: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One side of a split: shards of a catalogue, the classes, and which of the records have any of them."""

    catalogue: Catalogue
    shards: tuple[str, ...]
    targets: TagTargets
    database: int = 0

    def kept(self) -> list[list[bool]]:
        """Per shard and record: whether the track has a tag of any class."""
        return [
            [self.targets.any(row.tags[self.database]) for row in self.catalogue.shards[shard]] for shard in self.shards
        ]

    def rows(self) -> list:
        """Rows of the records that are kept, in the order of `validation` and `all_windows`."""
        return [row for row in self.catalogue.rows(self.shards) if self.targets.any(row.tags[self.database])]

    def truth(self) -> np.ndarray:
        """(tracks, classes) float32 of `rows`."""
        return self.targets.matrix([row.tags[self.database] for row in self.rows()])


def split_shards(
    shards: Sequence[str], split: Sequence[float], *, key: str = "model-training.split"
) -> tuple[tuple[str, ...], ...]:
    """Deal shards to training, validation and test.

    Shards named train-…, valid-… and test-… (tools.preprocess --split) keep their part. Otherwise `split` counts
    shards, or per cent of them when it adds up to 100; every part that asks for more than nothing gets a shard. Their
    order is that of their names: which tracks are in which shard was already drawn by seed when they were made.

    Args:
        shards: Their names, sorted.
        split: Training, validation and, unless left out, test.
        key: What messages call `split`.

    Returns:
        Three tuples of names; the last is empty where `split` has two numbers.

    Raises:
        ConfigError: more shards asked for than there are.
    """
    parts = ("train", "valid", "test")
    named = tuple(tuple(s for s in shards if s.startswith(part)) for part in parts)
    if named[0] and sum(map(len, named)) == len(shards):
        return named
    wanted = [*split, 0.0][:3]
    total, asked = len(shards), sum(wanted)
    per_cent = abs(asked - 100) < 1e-6
    if not per_cent and (asked > total or any(share != int(share) for share in wanted)):
        raise ConfigError(
            f"{key}={list(split)}: adds up to {asked:g}; give per cent that add up to 100, "
            f"or numbers of shards, of which there are {total}"
        )
    counts = [int(share) for share in wanted]
    if per_cent:
        counts = [max(1, int(share * total / 100 + 1e-9)) if share > 0 else 0 for share in wanted]
        counts[0] = total - counts[1] - counts[2]
        if counts[0] < 1:
            raise ConfigError(f"{key}={list(split)}: {total} shards are too few; make more with tools.preprocess -n")
    ends = np.cumsum(counts)
    return tuple(tuple(shards[end - count : end]) for end, count in zip(ends, counts, strict=True))


def training(
    part: Part,
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
        part: The training side.
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
    kept = part.kept()
    cut = Cutter(part, windows)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        if not tf.executing_eagerly():  # the order depends on (seed, epoch) alone, and on no global seed
            tf.compat.v1.set_random_seed(1)
        shards = _shards(part, kept)
        if shuffle:
            shards = shards.shuffle(len(kept), seed=_mixed_seed(seed, number, 0), reshuffle_each_iteration=False)
        records = shards.interleave(_records, cycle_length=cycle, block_length=block, num_parallel_calls=AUTOTUNE)
        if shuffle:
            records = records.shuffle(shuffle_buffer, seed=_mixed_seed(seed, number, 1), reshuffle_each_iteration=False)
        batches = records.batch(batch_size, drop_remainder=True).take(steps).enumerate()
        return batches.map(
            lambda index, batch: cut.training(batch, tf.stack([_mixed_seed(seed, number, 2), index])),
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


def steps_in_epoch(part: Part, batch_size: int, steps_per_epoch: int | None = None) -> int:
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


def validation(part: Part, windows: Windows, *, batch_size: int) -> tf.data.Dataset:
    """Batches of every kept track's centre window once, in the order of `Part.rows`, the last one ragged."""
    cut = Cutter(part, windows)
    records = _shards(part, part.kept()).flat_map(_records)
    return records.batch(batch_size).map(cut.centred, num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE)


def all_windows(part: Part, windows: Windows, *, batch_size: int) -> tf.data.Dataset:
    """Every window of every kept track: consecutive ones, and a last one that ends with the track.

    Returns:
        Batches of (audio, index of the track in `Part.rows`), the last one ragged.
    """
    cut = Cutter(part, windows)
    records = _shards(part, part.kept()).flat_map(_records).enumerate()
    windows_of_tracks = records.flat_map(
        lambda index, record: tf.data.Dataset.from_tensor_slices(cut.consecutive(record)).map(
            lambda window: (window, index)
        )
    )
    return windows_of_tracks.batch(batch_size).prefetch(AUTOTUNE)


def window_starts(length: int, window: int) -> list[int]:
    """First frames of the windows of a track of `length` frames: consecutive, the last one ending with the track."""
    if length <= window:
        return [0]
    starts = list(range(0, length - window + 1, window))
    return starts if starts[-1] + window == length else [*starts, length - window]


def _mixed_seed(seed: int, epoch: tf.Tensor, stream: int) -> tf.Tensor:
    """One int64 out of (seed, epoch, stream), for ops that take a single seed."""
    key = tf.stack([tf.constant(seed, tf.int64) * 4 + stream, epoch])
    return tf.random.stateless_uniform([], key, maxval=None, minval=None, dtype=tf.int64)


def _shards(part: Part, kept: list[list[bool]]) -> tf.data.Dataset:
    """(path, mask of records to keep as bytes, whether all are) per shard."""
    if not any(map(any, kept)):
        raise DataError(
            f"{part.catalogue.folder}: no track in {len(kept)} shards has any of the {len(part.targets.classes)} classes "
            f"({', '.join(part.targets.classes[:5])}…); choose other tags or another dictionary"
        )
    masks = [np.asarray(mask, np.uint8).tobytes() for mask in kept]
    return tf.data.Dataset.from_tensor_slices((part.catalogue.paths(part.shards), masks))


def _records(path: tf.Tensor, mask: tf.Tensor) -> tf.data.Dataset:
    """Serialised records of a shard that are kept.

    tf.data calls no function that only picks one of its arguments: a comparison in the filter would be a call for every
    record.
    """
    keep = tf.data.Dataset.from_tensor_slices(tf.io.decode_raw(mask, tf.uint8) > 0)
    # Local files are read straight into the records: a buffer is one more copy, and a large one, allocated anew for
    # every shard, costs more than the rest. Object storage would be asked twice for every record without one.
    buffer = tf.where(tf.strings.regex_full_match(path, ".*://.*"), tf.constant(8 << 20, tf.int64), 0)
    records = tf.data.Dataset.zip((tf.data.TFRecordDataset(path, buffer_size=buffer), keep))
    return records.filter(lambda _, wanted: wanted).map(lambda record, _: record)


class Cutter:
    """Serialised records to windows and targets, in the graph."""

    def __init__(self, part: Part, windows: Windows):
        self.spec, self.layout = part.catalogue.spec, part.catalogue.layout
        self.window = self.spec.frames(windows.seconds)
        self.shape = self.spec.window_shape(windows.seconds)
        self.random, self.augmentation = windows.random, windows.augmentation
        self.tag_field = self.layout.tag_fields[part.database]
        self.n_classes = len(part.targets.classes)
        self.columns = _Columns(part)

    def training(self, batch: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Random (or centred) windows of a batch, augmented."""
        place = tf.random.stateless_uniform([tf.shape(batch)[0]], seed) if self.random else None
        audio, targets = self._windows(batch, place)
        if any(self.augmentation.get(k) for k in ("frequency_masks", "time_masks", "mixup_alpha", "gain_db")):
            from orpheus.data import augment

            audio, targets = augment.apply(audio, targets, self.spec, self.augmentation, seed)
        return audio, targets

    def centred(self, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Centre windows of a batch."""
        return self._windows(batch, None)

    def _windows(self, batch: tf.Tensor, place: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        audio, first, length, tags = self._parse(batch)
        room = tf.maximum(length - self.window, 0)
        if place is None:
            start = room // 2
        else:
            # place < 1, but its product with a large room may round up to room + 1.
            start = tf.minimum(tf.cast(place * tf.cast(room + 1, tf.float32), tf.int32), room)
        return self._slice(audio, first, length, start), self.columns.multi_hot(tags)

    def consecutive(self, record: tf.Tensor) -> tf.Tensor:
        """All windows of one record, (windows, …), as `window_starts` places them."""
        length = self._parse(record[tf.newaxis])[2][0]
        count = tf.maximum((length + self.window - 1) // self.window, 1)
        return self._at(record, tf.maximum(tf.minimum(tf.range(count) * self.window, length - self.window), 0))

    def spread(self, record: tf.Tensor, count: int) -> tf.Tensor:
        """(count, …) windows of one record, from its first to its last at equal distances; of one, the centre."""
        room = tf.maximum(self._parse(record[tf.newaxis])[2][0] - self.window, 0)
        places = tf.range(count) * room // (count - 1) if count > 1 else (room // 2)[tf.newaxis]
        return self._at(record, places)

    def _at(self, record: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        """Windows of one record that begin at the frames `starts`."""
        audio, first, length, _ = self._parse(record[tf.newaxis])
        count = tf.size(starts)
        # Strings are repeated, ragged rows gathered.
        audio = tf.repeat(audio, count) if self.layout.audio == "bytes" else tf.gather(audio, tf.zeros_like(starts))
        return self._slice(audio, tf.repeat(first, count), tf.repeat(length, count), starts)

    def _parse(self, batch: tf.Tensor) -> tuple:
        """What serialised records hold.

        Returns:
            Strings or ragged floats with the audio in them, where it begins (bytes), its number of frames, and tags:
            ragged strings or dense one-hot.
        """
        if self.layout.tags == "strings":
            tags = {self.tag_field: tf.io.RaggedFeature(tf.string)}
        else:
            tags = {self.tag_field: tf.io.FixedLenFeature([len(self.layout.positions)], tf.int64)}
        if self.layout.audio == "floats":
            fields = tf.io.parse_example(batch, {"audio": tf.io.RaggedFeature(tf.float32), **tags})
            audio = fields["audio"]
            length = tf.cast(audio.row_lengths(), tf.int32) // self.spec.width
            return audio, tf.zeros_like(length), length, fields[self.tag_field]

        found, start, size = wire.locate_audio(batch)

        def located() -> tuple:
            rest = wire.without_audio(batch, start + size)
            return batch, start, size, tf.io.parse_example(rest, tags)[self.tag_field]

        def parsed() -> tuple:
            fields = tf.io.parse_example(batch, {"audio": tf.io.FixedLenFeature([], tf.string), **tags})
            length = tf.strings.length(fields["audio"])
            return fields["audio"], tf.zeros_like(length), length, fields[self.tag_field]

        audio, start, size, found_tags = tf.cond(found, located, parsed)
        return audio, start, size // self.spec.frame_bytes, found_tags

    def _slice(self, audio: tf.Tensor, first: tf.Tensor, length: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """(batch, window…) from each record's `start`; what a short record lacks is zero, which is silence."""
        if self.layout.audio == "bytes":
            size = self.spec.frame_bytes
            part = tf.strings.substr(audio, first + start * size, tf.minimum(length - start, self.window) * size)
            # There is no padded decoding of float16; its bits pass through int16.
            kind = tf.int16 if self.spec.dtype == "float16" else tf.as_dtype(self.spec.dtype)
            values = tf.io.decode_raw(part, kind, fixed_length=self.window * size)
            return tf.reshape(tf.bitcast(values, self.spec.dtype), (-1, *self.shape))
        return tf.map_fn(
            lambda row: self._slice_floats(*row),
            (audio, start),
            fn_output_signature=tf.TensorSpec(self.shape, tf.float32),
        )

    def _slice_floats(self, values: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """One older record: a list of floats, log-mel with bands first."""
        frames = tf.reshape(values, (self.spec.width, -1))
        window = frames[:, start : start + self.window]
        if self.spec.format == LOG_MEL:  # the reference stored decibels themselves, here they count from the floor
            window = tf.maximum(window - DECIBEL_FLOOR, 0.0)
        window = tf.pad(window, [[0, 0], [0, self.window - tf.shape(window)[1]]])
        return tf.reshape(tf.transpose(window), self.shape)


class _Columns:
    """Tags of a batch to multi-hot rows, by a static table in the graph."""

    def __init__(self, part: Part):
        self.n_classes = len(part.targets.classes)
        self.layout: Layout = part.catalogue.layout
        names = list(part.targets.columns)
        values = [part.targets.columns[name] for name in names]
        if self.layout.tags == "strings":
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(tf.constant(names), tf.constant(values, tf.int64)), -1
            )
        else:
            matrix = np.zeros((len(self.layout.positions), self.n_classes), np.float32)
            for position, name in enumerate(self.layout.positions):
                if name in part.targets.columns:
                    matrix[position, part.targets.columns[name]] = 1
            self.matrix = tf.constant(matrix)

    def multi_hot(self, tags: tf.Tensor) -> tf.Tensor:
        """(batch, classes) float32."""
        if self.layout.tags == "one-hot":
            return tf.minimum(tf.cast(tags, tf.float32) @ self.matrix, 1.0)
        # One operation for the whole batch: unknown tags, column −1, are counted in a column of their own. Masks and a
        # scatter cost two and a half times as much.
        counted = tf.raw_ops.RaggedBincount(
            splits=tf.cast(tags.row_splits, tf.int64),
            values=self.table.lookup(tags.values) + 1,
            size=tf.constant(self.n_classes + 1, tf.int64),
            weights=tf.zeros([0], tf.float32),
            binary_output=True,
        )
        return tf.ensure_shape(counted[:, 1:], [None, self.n_classes])
