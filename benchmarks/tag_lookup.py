"""What the lookup of tags costs the input pipeline: no lookup, a table of 50 tags, a dictionary of 8,000 tags.

Synthetic log-mel records of 15 s with some 20 tags each, read as in training (random windows of 3 s, seeded shuffle). The
three pipelines take turns in one process; a round's ratio is against the pipeline without lookup of that round. CPU time
is that of the whole process: where other programs keep the machine busy, it is the steadier of the two.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

from orpheus.base import cli

CLASSES, TAGS_PER_TRACK = 50, 20


def parser() -> cli.Parser:
    result = cli.parser("benchmarks.tag_lookup", __doc__.strip(), example="python -m benchmarks.tag_lookup --rounds 15")
    result.add_argument("--tags", type=int, default=8000, metavar="N", help="tags in the dictionary")
    result.add_argument("--tracks", type=int, default=1024, metavar="N", help="records")
    result.add_argument("--batch-size", type=int, default=64, metavar="N", help="examples in a batch")
    result.add_argument("--batches", type=int, default=150, metavar="N", help="batches per turn")
    result.add_argument(
        "--rounds", type=int, default=11, metavar="N", help="turns of each, after one that does not count"
    )
    return result


def body(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pipelines = _pipelines(Path(folder), arguments)
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in pipelines}
        for number in cli.progress(range(arguments.rounds + 1), desc="rounds"):
            names = list(pipelines)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                started = time.perf_counter(), time.process_time()
                for _ in pipelines[name]:  # a new iterator, so that nothing is left that reads ahead in others' turns
                    pass
                if number:
                    spent[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    examples = arguments.batches * arguments.batch_size
    print(f"{'':<12} {'examples/s':>10}   against no lookup, median (quartiles): {'time':<24} CPU time")
    for name, values in spent.items():
        speed = examples / statistics.median(wall for wall, _ in values)
        print(
            f"{name:<12} {speed:>10.0f}   {'':<38} {_against(spent['no lookup'], values, 0):<24} {_against(spent['no lookup'], values, 1)}"
        )


def _against(base: list[tuple[float, float]], values: list[tuple[float, float]], which: int) -> str:
    """How much more of one kind of time, per cent."""
    ratios = [value[which] / none[which] - 1 for none, value in zip(base, values, strict=True)]
    low, middle, high = (100 * ratio for ratio in statistics.quantiles(ratios, n=4))
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"


def _pipelines(folder: Path, arguments: argparse.Namespace) -> dict:
    """Name → data set of batches."""
    from unittest import mock

    import tensorflow as tf

    from orpheus.data.batches import epochs, split_records, windows
    from orpheus.data.tags.targets import TagTargets

    catalogue, vocabulary = _records(folder, arguments.tracks, arguments.tags)
    classes = tuple(f"class {index}" for index in range(CLASSES))
    few = TagTargets(classes, {tag: index for index, tag in enumerate(vocabulary[:CLASSES])})
    many = TagTargets(classes, {tag: index % CLASSES for index, tag in enumerate(vocabulary)}, "clusters")

    def nothing(_, tags):
        return tf.zeros([tags.nrows(), CLASSES])

    result = {}
    for name, targets in (("no lookup", few), (f"{CLASSES} tags", few), (f"{arguments.tags} tags", many)):
        records = split_records.SplitRecords(catalogue, tuple(catalogue.shards), targets)
        bare = (
            mock.patch.object(windows._Columns, "multi_hot", nothing)
            if name == "no lookup"
            else contextlib.nullcontext()
        )
        with bare:
            data = epochs.training(records, windows.Windows(3.0, True), batch_size=arguments.batch_size, seed=0)
            result[name] = data.take(arguments.batches)
    return result


def _records(folder: Path, tracks: int, tags: int):
    """Shards of noise whose tracks all have one of the first tags, and the vocabulary."""
    import numpy as np

    from orpheus.data.audio.spec import LOG_MEL, AudioSpec
    from orpheus.data.records import format
    from orpheus.data.records.format import Catalogue, Layout, Row

    rng, spec = np.random.default_rng(0), AudioSpec(LOG_MEL)
    vocabulary = [f"tag number {index}" for index in range(tags)]
    audio = rng.random((spec.frames(15), spec.n_mels)).astype(spec.dtype)
    shards = {}
    for start in range(0, tracks, 128):
        name, rows, written = f"shard-{start:06d}.tfrecord", [], []
        for number in range(start, min(start + 128, tracks)):
            others = rng.choice(tags, TAGS_PER_TRACK - 1, replace=False)
            mine = tuple(dict.fromkeys([vocabulary[number % CLASSES], *(vocabulary[other] for other in others)]))
            rows.append(Row(str(number), str(number), (mine,), 15.0, name))
            written.append(format.encode(str(number), audio, [mine]))
        format.write_shard(folder / name, written)
        shards[name] = tuple(rows)
    return Catalogue(str(folder), spec, Layout(), shards), vocabulary


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
