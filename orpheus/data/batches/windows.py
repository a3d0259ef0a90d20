"""How a window is cut from a stored track, and where the windows of a track begin."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from orpheus.data.audio.spec import DECIBEL_FLOOR, LOG_MEL
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.records import wire
from orpheus.data.records.format import Layout


@dataclass(frozen=True)
class Windows:
    """What is cut from each record, and how it is changed.

    Attributes:
        seconds: Length of a window.
        random: A random place (training); otherwise the centre.
        augmentation: Keys of the config's section augmentation; empty for none.
        whole: Of all windows of a track: whole ones side by side only, without a last one that ends with the track.
    """

    seconds: float
    random: bool = False
    augmentation: dict = field(default_factory=dict)
    whole: bool = False

    @property
    def augmented(self) -> bool:
        """Whether any augmentation is on."""
        return any(self.augmentation.get(key) for key in ("frequency_masks", "time_masks", "mixup_alpha", "gain_db"))


class Cutter:
    """Serialised records to windows and targets, in the graph."""

    def __init__(self, part: SplitRecords, windows: Windows):
        self.spec, self.layout = part.catalogue.spec, part.catalogue.layout
        self.window = self.spec.frames(windows.seconds)
        self.shape = self.spec.window_shape(windows.seconds)
        self.random, self.augmentation, self.whole = windows.random, windows.augmentation, windows.whole
        self.augmented = windows.augmented
        self.tag_field = self.layout.tag_fields[part.database]
        self.n_classes = len(part.targets.classes)
        self.columns = _Columns(part)

    def training(self, batch: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Random (or centred) windows of a batch, augmented."""
        place = tf.random.stateless_uniform([tf.shape(batch)[0]], seed) if self.random else None
        audio, targets = self._windows(batch, place)
        if self.augmented:
            from orpheus.data.batches import augment

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
        """All windows of one record, (windows, …): consecutive, the last one ending with the track."""
        length = self._parse(record[tf.newaxis])[2][0]
        count = tf.maximum((length + (0 if self.whole else self.window - 1)) // self.window, 1)
        return self._at(record, tf.maximum(tf.minimum(tf.range(count) * self.window, length - self.window), 0))

    def spread(self, record: tf.Tensor, count: int, *, whole: bool = True) -> tf.Tensor:
        """(count, …) windows of one record at `spread_starts`."""
        room = tf.maximum(self._parse(record[tf.newaxis])[2][0] - self.window, 0)
        return self._at(record, spread_starts(room, count, whole=whole))

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


def spread_starts(room: Any, count: int, *, whole: bool = True) -> Any:
    """Where `count` windows begin, from the first place to the last at equal distances; of one, the middle.

    Args:
        room: Frames beyond a window: a number, or a scalar tensor.
        count: At least 1.
        whole: False for the places of Won et al. 2021: multiples of room / count, rounded down, from 0, so that the last
            window ends about one such step before the song does.

    Returns:
        (count,) of what `room` is, rounded down.

    Example:
        >>> spread_starts(9, 4).tolist(), spread_starts(9, 1).tolist()
        ([0, 3, 6, 9], [4])
        >>> spread_starts(9, 4, whole=False).tolist()
        [0, 2, 4, 6]
    """
    numbers = tf.range(count) if tf.is_tensor(room) else np.arange(count)
    if not whole:
        return numbers * (room // count)
    return numbers * room // (count - 1) if count > 1 else numbers + room // 2


def spread(frames: np.ndarray, window: int, count: int, *, whole: bool = True) -> np.ndarray:
    """(count, window, …) windows of decoded audio at `spread_starts`, a short song padded with silence."""
    if len(frames) < window:
        frames = np.concatenate([frames, np.zeros((window - len(frames), *frames.shape[1:]), frames.dtype)])
    return np.stack(
        [frames[start : start + window] for start in spread_starts(len(frames) - window, count, whole=whole)]
    )


class _Columns:
    """Tags of a batch to multi-hot rows, by a static table in the graph."""

    def __init__(self, part: SplitRecords):
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
