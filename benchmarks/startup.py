"""Seconds until a command answers: `--help`, a training run of one step, tags of one file, each in a process of its own.

The limits are Python starting and doing nothing, and Python importing TensorFlow and Keras, without which no training starts.
The reference's commands import TensorFlow before they read their options: their --help takes what that import takes.
A second file is tagged in a process that has tagged one already.
"""

import argparse
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import common
from orpheus.base import cli

IMPORT = [sys.executable, "-c", "import tensorflow, keras"]


def parser() -> cli.Parser:
    result = common.parser("startup", __doc__, example="--repeats 10")
    result.add_argument("--repeats", type=int, default=5, help="rounds after one that does not count")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    rounds = arguments.repeats
    module = [sys.executable, "-m"]
    helps = {
        "orpheus": [*module, "orpheus.train", "--help"],
        "reference's way: TensorFlow first": IMPORT,
        "limit: Python alone": [sys.executable, "-c", "pass"],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train = [*module, "orpheus.train", *tiny(folder)]
        tagger, song = tagged(folder)
        limit = {"limit: importing TensorFlow and Keras": IMPORT}
        cases: dict[str, dict[str, Callable[[], object]]] = {
            "--help": {name: functools.partial(called, command) for name, command in helps.items()},
            "a training run of one step": {
                name: functools.partial(called, command) for name, command in {"orpheus": train, **limit}.items()
            },
            "tags of a file of 30 s": {
                name: functools.partial(called, command)
                for name, command in {
                    "orpheus": [*module, "orpheus.predict", str(tagger.run.folder), str(song)],
                    **limit,
                }.items()
            },
            "tags of a second file of 30 s": {"orpheus": lambda: tagger.predict(song)},
        }
        rows = []
        for case, steps in cases.items():
            rates = common.interleaved({name: common.Candidate(step, 1, rounds) for name, step in steps.items()})
            seconds = {name: [1 / rate for rate in values] for name, values in rates.items()}
            for row in common.compared("startup", case, seconds, unit="s"):
                # Of times the smaller is the better: how many times as fast is the other way round.
                ratios = tuple(1 / ratio for ratio in row.ratios)
                rows.append(common.Row(row.benchmark, row.case, row.candidate, row.values, row.unit, ratios))
    return rows


def tagged(folder: Path):
    """An untrained log-mel tagger of full size, and a file of 30 s."""
    from benchmarks.prediction import untrained
    from benchmarks.preprocessing import synthesise

    (folder / "songs").mkdir()
    return untrained(folder / "runs", 15.0, 32), synthesise(folder / "songs", files=1, seconds=30.0)[0]


def called(command: list[str]) -> None:
    """Run a command, which must end well."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    root = Path(__file__).resolve().parent.parent
    subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def tiny(folder: Path) -> list[str]:
    """Options of orpheus.train: records of 32 tracks, a small network, an epoch of one step."""
    from benchmarks.pipeline import write
    from orpheus.base import files

    kind = "log-mel-spectrogram"
    write(kind, folder / "newer", folder / "older", tracks=32, shards=4)
    config = {
        "model": {"n_filters": 1, "n_dense_units": 8},
        "model-training": {"batch_size": 4, "window_length": 3, "split": [100, 0, 0], "log_dir": str(folder / "runs")},
        "tags": {"top": 20},
    }
    files.write_json(folder / "config.json", config)
    options = ["--config", str(folder / "config.json"), "--tfrecords-dir", str(folder / "newer")]
    return [kind, *options, "--epochs", "1", "--steps-per-epoch", "1"]


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
