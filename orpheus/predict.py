"""Tags of audio files by a trained run."""

import argparse
import csv
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.tagging.taggram import taggram

log = logging.getLogger("orpheus.predict")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.predict",
        "Tag audio files with a trained run. Windows slide over each whole file in bounded memory. Files that cannot be "
        "read are reported, the rest goes on, and the exit code is 1. Of an experiment's run: write what it, or a hidden "
        "layer of it, says of a set of its data folder.",
        example="python -m orpheus.predict runs/log-mel-spectrogram_260101-120000 ~/Music -t 0.3 --csv tags.csv",
    )
    result.add_argument("run", metavar="RUN", help="folder made by orpheus.train, or an experiment's (also model_1)")
    result.add_argument(
        "inputs", metavar="FILE_OR_FOLDER", nargs="*", help="audio files; folders are searched for them"
    )
    shown = result.add_argument_group("what is shown")
    shown.add_argument(
        "-t", "--threshold", type=float, default=0.1, metavar="P", help="tags below it are not shown, 0 to 1"
    )
    shown.add_argument("--top", type=int, default=10, metavar="K", help="at most so many tags per file")
    written = result.add_argument_group("what is written")
    written.add_argument("--csv", metavar="FILE", help="a row per file, a column per class")
    written.add_argument("--json", metavar="FILE", help="tags and scores of every window, per file")
    written.add_argument(
        "--taggram", metavar="PNG", help="tags over time as a picture; with several files their names are added"
    )
    written.add_argument(
        "--timeline",
        metavar="HTML",
        help="tags over time as a page that plays the file and moves along; names likewise",
    )
    written.add_argument(
        "--embed-audio", action="store_true", help="the audio inside that page instead of a relative link to it"
    )
    how = result.add_argument_group("how")
    how.add_argument("--hop-seconds", type=float, metavar="S", help="from window to window; a window if not given")
    how.add_argument("--batch-size", type=int, default=16, metavar="N", help="windows per pass")
    of = result.add_argument_group("of an experiment's run")
    of.add_argument("-s", "--set", choices=("train", "val", "test"), default="test", help="whose items")
    of.add_argument(
        "-l", "--layer", metavar="LAYER",
        help="index or name of a hidden layer: its output becomes the features RUN-pred_LAYER, a setting of the next "
        "experiment",
    )  # fmt: skip
    of.add_argument("-p", "--patches", action="store_true", help="the run takes audio patches (checked, not needed)")
    of.add_argument("--data-dir", metavar="DIR", help="data folder; where the run's was if not given")
    return result


def body(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.threshold <= 1:
        raise ConfigError(f"--threshold {arguments.threshold}: must be between 0 and 1")
    if arguments.top < 1 or arguments.batch_size < 1:
        raise ConfigError("--top and --batch-size must be at least 1")
    if arguments.embed_audio and not arguments.timeline:
        raise ConfigError("--embed-audio: goes with --timeline")
    from orpheus.runs import finding

    run = finding.find_run(arguments.run, arguments.data_dir)
    if finding.is_experiment(run):
        return _items(run, arguments)
    if not arguments.inputs or arguments.layer or arguments.patches:
        raise ConfigError(f"{run.folder}: a tagger takes audio files, and neither -l nor -p")
    from orpheus.tasks.tagging.tagger import Tagger

    paths = audio_files(arguments.inputs)
    tagger = Tagger(run)
    predictions, failures = {}, {}
    found = tagger.predict_files(paths, hop_seconds=arguments.hop_seconds, batch_size=arguments.batch_size)
    for path, prediction in cli.progress(found, desc="predict", unit="file", total=len(paths)):
        if isinstance(prediction, DataError):
            failures[path] = str(prediction)
            log.error("%s", prediction)
            continue
        predictions[path] = prediction
        print(path)
        for name, score in prediction.top(arguments.top, threshold=arguments.threshold):
            print(f"  {score:.3f}  {name}")
    if arguments.csv:
        _write_csv(Path(arguments.csv), tagger.classes, predictions)
    if arguments.json:
        _write_json(Path(arguments.json), predictions, failures)
    if arguments.taggram:
        for target, name, prediction in _targets(Path(arguments.taggram), predictions):
            taggram(prediction, target, title=Path(name).name, top=arguments.top)
    if arguments.timeline:
        from orpheus.tasks.tagging import timeline

        for target, name, prediction in _targets(Path(arguments.timeline), predictions):
            timeline.write(target, prediction, name, top=arguments.top, embed=arguments.embed_audio)
    if failures:
        print(f"{len(failures)} of {len(paths)} files could not be read", file=sys.stderr)
    return cli.EXIT_PARTIAL if failures else cli.EXIT_OK


def _items(run, arguments: argparse.Namespace) -> int:
    """Items of a set by an experiment's run."""
    from orpheus.tasks.recommendation import data, steps

    if arguments.inputs:
        raise ConfigError(
            f"{run.folder}: an experiment predicts its sets (-s); for new files see orpheus.recommend --new"
        )
    kinds = {value.kind for value in data.load_config(run).inputs.values()}
    if arguments.patches and "patches" not in kinds:
        raise ConfigError(f"-p: the inputs of {run.folder} are {', '.join(sorted(kinds))}, not patches; leave it out")
    for path in steps.predict(run, arguments.set, layer=arguments.layer, data_dir=arguments.data_dir):
        print(path)
    return cli.EXIT_OK


def audio_files(inputs: Sequence[str | os.PathLike]) -> list[str]:
    """The files named, and the audio files in the folders named, sorted within each.

    Raises:
        DataError: an input does not exist, or there is no audio file in a folder.
    """
    from orpheus.data.audio.reading import AUDIO_SUFFIXES

    found: list[str] = []
    for given in map(Path, inputs):
        if given.is_dir():
            inside = sorted(str(p) for p in given.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
            if not inside:
                raise DataError(f"{given}: no audio file in this folder")
            found += inside
        elif given.is_file():
            found.append(str(given))
        else:
            raise DataError(f"{given}: no such file or folder")
    return list(dict.fromkeys(found))


def _write_csv(path: Path, classes: Sequence[str], predictions: dict) -> None:
    with files.atomic(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *classes])
        for name, prediction in predictions.items():
            writer.writerow([name, *(f"{score:.5f}" for score in prediction.mean)])


def _write_json(path: Path, predictions: dict, failures: dict) -> None:
    content: dict[str, dict] = {
        name: {
            "tags": dict(prediction.top()),
            "window_seconds": prediction.window_seconds,
            "starts": prediction.starts.tolist(),
            "classes": list(prediction.classes),
            "scores": [[round(float(score), 6) for score in row] for row in prediction.scores],
        }
        for name, prediction in predictions.items()
    }
    content.update({name: {"error": reason} for name, reason in failures.items()})
    with files.atomic(path) as file:
        json.dump(content, file, ensure_ascii=False, allow_nan=False)


def _targets(path: Path, predictions: dict) -> Iterator[tuple[Path, str, Any]]:
    """(file to write, file it is of, its prediction); of several files each gets its name, and a number where it must."""
    taken: set[Path] = set()
    for name, prediction in predictions.items():
        target, number = path, 1
        while len(predictions) > 1 and (target in taken or target == path):
            more = "" if number == 1 else f"-{number}"
            target, number = path.with_name(f"{path.stem}_{Path(name).stem}{more}{path.suffix}"), number + 1
        taken.add(target)
        yield target, name, prediction


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
