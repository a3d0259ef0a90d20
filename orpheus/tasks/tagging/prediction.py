"""Tags of audio files by a tagger: printed, as tables, as pictures, as pages."""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orpheus.base import cli, csv_files, files
from orpheus.data.audio.finding import audio_files, printable
from orpheus.data.audio.unusable import Memory
from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.tasks.tagging import feature_table, segments, timeline
from orpheus.tasks.tagging.tagger import Tagger
from orpheus.tasks.tagging.taggram import taggram

log = logging.getLogger(__name__)


def predict(run: Run, arguments: argparse.Namespace) -> int:
    """See `orpheus.tasks.plan.Task`: exit code 1 where some files could not be read."""
    paths = audio_files(arguments.inputs)
    jams = arguments.segments if arguments.segments and arguments.segments.suffix.lower() == ".jams" else None
    for given in filter(None, (arguments.taggram, arguments.timeline, jams)):
        for target, *_ in _targets(Path(given), dict.fromkeys(paths)):
            files.check_output(target)
    memory = Memory(arguments.failures, damaged=arguments.damaged, retry=arguments.retry)
    tagger = Tagger(run)
    if arguments.out:
        return _ended(feature_table.write(tagger, paths, memory, arguments), len(paths))
    predictions, failures = {}, {}
    options = {"damaged": arguments.damaged, "hop_seconds": arguments.hop_seconds, "batch_size": arguments.batch_size}
    found = memory.through(paths, lambda some: tagger.predict_files(some, **options))
    for path, prediction in cli.progress(found, desc="predict", unit="file", total=len(paths)):
        if isinstance(prediction, DataError):
            failures[printable(path)] = printable(str(prediction))
            log.error("%s", printable(str(prediction)))
            continue
        predictions[path] = prediction
        print(printable(path))
        for name, score in prediction.top(arguments.top, threshold=arguments.threshold):
            print(f"  {score:.3f}  {name}")
    named = {printable(path): prediction for path, prediction in predictions.items()}
    if arguments.csv:
        _write_csv(Path(arguments.csv), tagger.classes, named)
    if arguments.json:
        _write_json(Path(arguments.json), named, failures)
    if arguments.segments:
        _write_segments(arguments.segments, predictions, named, failures, arguments.threshold)
    if arguments.taggram:
        for target, name, prediction in _targets(Path(arguments.taggram), predictions):
            taggram(prediction, target, title=printable(Path(name).name), top=arguments.top)
    if arguments.timeline:
        for target, name, prediction in _targets(Path(arguments.timeline), predictions):
            timeline.write(target, prediction, name, top=arguments.top, embed=arguments.embed_audio)
    return _ended(len(failures), len(paths))


def _ended(failures: int, files_: int) -> int:
    """The exit code; says how many files could not be read."""
    if failures:
        print(f"{failures} of {files_} files could not be read", file=sys.stderr)
    return cli.EXIT_PARTIAL if failures else cli.EXIT_OK


def _write_csv(path: Path, classes: Sequence[str], predictions: dict) -> None:
    with files.atomic(path) as file:
        csv_files.write(file, [["file", *classes]])
        for name, prediction in predictions.items():
            csv_files.write(file, [[name, *(f"{score:.5f}" for score in prediction.mean)]])


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


def _write_segments(path: Path, predictions: dict, named: dict, failures: dict, threshold: float) -> None:
    if path.suffix.lower() == ".jams":  # a file of its own per track
        for target, name, prediction in _targets(path, predictions):
            segments.write_jams(target, prediction, printable(Path(name).stem), threshold)
    elif path.suffix.lower() == ".csv":
        segments.write_csv(path, named, threshold)
    else:
        segments.write_json(path, named, failures, threshold)


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
