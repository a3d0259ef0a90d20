"""Examples per second of the input pipeline: ours, the reference's way on its older layout, raw reading of our files.

The same random content is written in both layouts: today's (stored frames as bytes) and the reference's (a list of
floats). The candidates take turns in one process, each consuming batches and doing nothing with them; the files are in
the page cache. Shards are read over and over under several names, so that an epoch is long and needs little disk.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from orpheus.base import cli

FORMATS = ("log-mel-spectrogram", "waveform")
BATCH, SECONDS, WINDOW, CLASSES, VOCABULARY = 64, 30.0, 15.0, 50, 500
OURS, NORMALISED, REFERENCE = "orpheus", "orpheus, normalised in the pipeline", "reference's way, older records"
RAW = "raw reading of the same files"
# How many times as fast as each candidate ours should be.
TARGETS = {"log-mel-spectrogram": {REFERENCE: 2.5, RAW: 0.4}, "waveform": {REFERENCE: 2.0, RAW: 0.4}}


def parser() -> cli.Parser:
    result = common.parser("pipeline", __doc__, example="--formats waveform --tracks 100")
    result.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="records to measure")
    result.add_argument("--tracks", type=int, default=320, help="tracks of 30 s that are written")
    result.add_argument("--shards", type=int, default=20, help="files they are assigned to")
    result.add_argument("--batches", type=int, default=60, help="batches of 64 in a round (a third as many waveforms)")
    result.add_argument("--repeats", type=int, default=5, help="rounds after one that does not count")
    result.add_argument("--shuffle-buffer", type=int, default=256, help="records, for all candidates that shuffle")
    result.add_argument(
        "--growth",
        type=int,
        nargs="*",
        default=[1, 10, 100],
        help="times the shards are repeated to see whether speed holds",
    )
    result.add_argument("--folder", metavar="DIR", help="where the records go; a temporary folder if left out")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        for kind in arguments.formats:
            newer, older = Path(temporary) / kind / "newer", Path(temporary) / kind / "older"
            sizes = write(kind, newer, older, tracks=arguments.tracks, shards=arguments.shards)
            batches = arguments.batches if kind == FORMATS[0] else max(1, arguments.batches // 3)
            rows += _speeds(kind, newer, older, sizes, batches, arguments)
            if arguments.growth:
                rows += _growth(kind, newer, batches, arguments)
    return rows


def _speeds(
    kind: str, newer: Path, older: Path, sizes: tuple[int, int], batches: int, arguments: argparse.Namespace
) -> list[common.Row]:
    times, buffer = max(1, -(-BATCH * batches * 2 // arguments.tracks)), arguments.shuffle_buffer
    consumers = {
        OURS: Consumer(ours(kind, newer, times=times, shuffle_buffer=buffer), batches),
        NORMALISED: Consumer(normalised(ours(kind, newer, times=times, shuffle_buffer=buffer)), batches),
        REFERENCE: Consumer(reference(kind, older, shuffle_buffer=buffer), batches),
        RAW: Consumer(raw(newer), batches),
    }
    rates = common.interleaved(_candidates(consumers, batches, arguments))
    notes = {
        name: f"{statistics.median(consumer.cpu[1:]):.2f} ms of CPU an example" for name, consumer in consumers.items()
    }
    for name, size in ((OURS, sizes[0]), (REFERENCE, sizes[1])):
        notes[name] += f", {size / arguments.tracks / 1e3:,.0f} kB a track"
    return common.compared("pipeline", kind, rates, unit="examples/s", targets=TARGETS[kind], notes=notes)


def _candidates(consumers: dict[str, "Consumer"], batches: int, arguments: argparse.Namespace):
    return {
        name: common.Candidate(consumer, BATCH * batches, arguments.repeats, timed=True)
        for name, consumer in consumers.items()
    }


def _growth(kind: str, newer: Path, batches: int, arguments: argparse.Namespace) -> list[common.Row]:
    """Speed with the shards once, ten times and so on; memory over one whole epoch, in a process of its own."""
    buffer = arguments.shuffle_buffer
    names = {f"orpheus, {times} x {arguments.shards} shards": times for times in arguments.growth}
    consumers = {
        name: Consumer(ours(kind, newer, times=times, shuffle_buffer=buffer), batches) for name, times in names.items()
    }
    rates = common.interleaved(_candidates(consumers, batches, arguments))
    notes = {}
    for name, times in names.items():
        megabytes = common.in_process(memory, kind, newer, times, buffer, 10 * batches)
        notes[name] = "resident MB at quarters of an epoch: " + ", ".join(f"{value:,.0f}" for value in megabytes)
    return common.compared("pipeline, growth", kind, rates, unit="examples/s", notes=notes)


def write(kind: str, newer: Path, older: Path, *, tracks: int, shards: int, seed: int = 0) -> tuple[int, int]:
    """Write the same random tracks in both layouts.

    Returns:
        Bytes of today's and of the older layout.
    """
    import numpy as np

    from orpheus.base import files
    from orpheus.data.audio.spec import DECIBEL_FLOOR, AudioSpec
    from orpheus.data.records import format

    spec = AudioSpec(kind)
    rng = np.random.default_rng(seed)
    shape = (spec.frames(SECONDS), spec.width)
    popularity = 1 / np.arange(5, VOCABULARY + 5)
    popularity /= popularity.sum()
    rows, sizes = [], [0, 0]
    for folder in (newer, older):
        folder.mkdir(parents=True)
    for shard in range(shards):
        name = f"{kind}-{shard:05d}-of-{shards:05d}{format.SUFFIX}"
        contents: list[list[bytes]] = [[], []]
        for track in range(shard, tracks, shards):
            track_id = f"TR{track:06d}"
            chosen = rng.choice(VOCABULARY, size=rng.integers(3, 12), replace=False, p=popularity)
            tags = [f"tag {index}" for index in chosen]
            if kind == "waveform":
                stored = rng.integers(-32768, 32768, shape[0], np.int16)
                values = stored.astype(np.float32) / 32768
            else:
                stored = (100 * rng.random(shape, np.float32)).astype(spec.dtype)
                values = (stored.astype(np.float32) + DECIBEL_FLOOR).T.ravel()
            contents[0].append(format.encode(track_id, stored, [tags]))
            contents[1].append(older_record(track_id, values, tags))
            row = format.Row(track_id, "", (tuple(tags),), SECONDS, name, len(contents[0][-1]))
            rows.append(format.row_to_json(row))
        for index, (folder, content) in enumerate(zip((newer, older), contents, strict=True)):
            format.write_shard(folder / name, content)
            sizes[index] += (folder / name).stat().st_size
    format.write_spec(newer, spec, 1)
    files.write_jsonl(newer / format.MANIFEST, rows)
    return sizes[0], sizes[1]


def older_record(track_id: str, values: Any, tags: Sequence[str]) -> bytes:
    """A record as the reference lays it out."""
    import tensorflow as tf

    feature = {
        "audio": tf.train.Feature(float_list=tf.train.FloatList(value=values)),
        "tid": tf.train.Feature(bytes_list=tf.train.BytesList(value=[track_id.encode()])),
        "tags": tf.train.Feature(bytes_list=tf.train.BytesList(value=[tag.encode() for tag in tags])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def ours(kind: str, folder: Path, *, times: int, shuffle_buffer: int):
    """`orpheus.data.batches.epochs.training` on the shards of `folder`, each named `times` times."""
    from orpheus.data.batches import epochs, windows

    named = part(kind, folder, times)
    return epochs.training(
        named, windows.Windows(WINDOW, random=True), batch_size=BATCH, seed=0, shuffle_buffer=shuffle_buffer
    )


def part(kind: str, folder: Path, times: int):
    """The shards of `folder`, each named `times` times, with the most popular tags as classes."""
    from orpheus.data.batches.split_records import SplitRecords
    from orpheus.data.records import format
    from orpheus.data.tags.targets import TagTargets

    catalogue = format.open_folder(folder, format=kind)
    names = tuple(f"tag {index}" for index in range(CLASSES))
    targets = TagTargets(names, {name: index for index, name in enumerate(names)})
    return SplitRecords(catalogue, tuple(catalogue.shards) * times, targets)


def normalised(batches):
    """Each example of a batch to zero mean and unit variance."""
    import tensorflow as tf

    return batches.map(lambda audio, tags: (standardised(audio, first=1), tags), num_parallel_calls=tf.data.AUTOTUNE)


def standardised(audio, *, first: int):
    """Zero mean and unit variance over all axes from `first` on, float32."""
    import tensorflow as tf

    audio = tf.cast(audio, tf.float32)
    mean, variance = tf.nn.moments(audio, list(range(first, len(audio.shape))), keepdims=True)
    return (audio - mean) * tf.math.rsqrt(variance + 1e-12)


def reference(kind: str, folder: Path, *, shuffle_buffer: int):
    """The reference's way: every record by itself, all of it, a hash lookup, a filter, then the window."""
    import tensorflow as tf

    from orpheus.data.audio.spec import AudioSpec

    spec, auto = AudioSpec(kind), tf.data.AUTOTUNE
    window = spec.frames(WINDOW)
    names = tf.constant([f"tag {index}" for index in range(CLASSES)])
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(names, tf.range(CLASSES, dtype=tf.int64)), default_value=-1
    )
    fields = {
        "audio": tf.io.VarLenFeature(tf.float32),
        "tid": tf.io.FixedLenFeature([], tf.string),
        "tags": tf.io.VarLenFeature(tf.string),
    }

    def parsed(record):
        example = tf.io.parse_single_example(record, fields)
        audio = tf.sparse.to_dense(example["audio"])
        if kind != "waveform":
            audio = tf.reshape(audio, (spec.n_mels, -1))
        return audio, table.lookup(tf.sparse.to_dense(example["tags"]))

    def targets(audio, columns):
        return audio, tf.reduce_max(tf.one_hot(columns, CLASSES), axis=0)

    def windowed(audio, tags):
        shape = (window,) if kind == "waveform" else (spec.n_mels, window)
        return standardised(tf.image.random_crop(audio, shape), first=0), tags

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in sorted(folder.glob("*.tfrecord"))]).repeat()
    records = paths.interleave(tf.data.TFRecordDataset, cycle_length=4, block_length=1, num_parallel_calls=auto)
    examples = records.shuffle(shuffle_buffer).map(parsed, num_parallel_calls=auto)
    examples = examples.filter(lambda _, columns: tf.reduce_any(columns >= 0)).map(targets, num_parallel_calls=auto)
    return examples.map(windowed, num_parallel_calls=auto).batch(BATCH, drop_remainder=True).prefetch(auto)


def raw(folder: Path):
    """Serialised records of `folder`, four shards at a time, in batches; nothing is parsed."""
    import tensorflow as tf

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in sorted(folder.glob("*.tfrecord"))]).repeat()
    records = paths.interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=0),  # the fastest of those tried, and ours
        cycle_length=4,
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return records.batch(BATCH).prefetch(tf.data.AUTOTUNE)


class Consumer:
    """A step that takes batches and does nothing with them; returns the seconds that took.

    The clock starts behind the first few, when the shuffle buffer is full. Every round has an iterator of its own: what
    an older one had prefetched while others had their turn would count as fast.

    Attributes:
        cpu: Milliseconds of processor time an example, of all threads, per call: hardly changed by what else runs.
    """

    def __init__(self, dataset, batches: int, *, skipped: int = 4):
        self.dataset, self.batches, self.skipped = dataset, batches, skipped
        self.cpu: list[float] = []

    def __call__(self) -> float:
        iterator = iter(self.dataset)
        for _ in range(self.skipped):
            next(iterator)
        began, used = time.perf_counter(), time.process_time()
        for _ in range(self.batches):
            next(iterator)
        self.cpu.append(1000 * (time.process_time() - used) / (BATCH * self.batches))
        return time.perf_counter() - began


def memory(kind: str, folder: Path, times: int, shuffle_buffer: int, most: int) -> list[float]:
    """Resident megabytes at four points of an epoch, or of its first `most` batches."""
    from orpheus.data.batches import epochs, windows

    named = part(kind, folder, times)
    steps = min(most, epochs.steps_in_epoch(named, BATCH))
    marks = {max(1, steps * quarter // 4) for quarter in (1, 2, 3, 4)}
    found = []
    data = epochs.training(
        named, windows.Windows(WINDOW, random=True), batch_size=BATCH, seed=0, shuffle_buffer=shuffle_buffer
    )
    for number, _ in enumerate(data.take(steps), 1):
        if number in marks:
            found.append(common.resident())
    return found


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
