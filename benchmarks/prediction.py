"""Minutes of audio tagged per second: one long file, and many short ones, by an untrained tagger of full size or smaller.

Ours decodes the next windows while the model is at work, in batches across files, in memory that does not grow with the file.
The reference's way loads a file whole (librosa), and gives the model one window after the other. "All at once" loads a file
whole and gives the model all of its windows in batches: the most that can be done without overlap. The limit is the larger of
decoding alone and the model alone.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import common
from benchmarks.preprocessing import by_librosa, stored, synthesise
from orpheus.base import cli

CLASSES = tuple(f"tag {index}" for index in range(50))


def parser() -> cli.Parser:
    result = common.parser("prediction", __doc__, example="--minutes 60 --filters 32")
    result.add_argument("--minutes", type=float, default=10.0, help="length of the long file")
    result.add_argument("--files", type=int, default=20, help="short files, of 10 s each")
    result.add_argument("--window", type=float, default=5.0, metavar="SECONDS", help="length of a window")
    result.add_argument("--filters", type=int, default=8, help="of the log-mel model; full size is 32")
    result.add_argument("--batch-size", type=int, default=16, help="windows in a pass")
    result.add_argument("--repeats", type=int, default=3, help="rounds after one that does not count")
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tagger = untrained(folder / "runs", arguments.window, arguments.filters)
        for case, files, seconds in (("long", 1, 60 * arguments.minutes), ("short", arguments.files, 10.0)):
            (folder / case).mkdir()
            paths = synthesise(folder / case, files=files, seconds=seconds)
            minutes = files * seconds / 60
            candidates = {
                name: common.Candidate(way, minutes, arguments.repeats)
                for name, way in ways(tagger, paths, arguments.batch_size).items()
            }
            rates = common.interleaved(candidates)
            before, peak = common.in_process(memory, str(folder / "runs"), [str(path) for path in paths])
            notes = {"orpheus": f"peak {peak - before:,.0f} MB beyond what 100 s take"} if case == "long" else {}
            name = f"{files} x {seconds:g} s, windows of {arguments.window:g} s"
            rows += common.compared("prediction", name, rates, unit="minutes of audio/s", notes=notes)
    return rows


def ways(tagger, paths: Sequence[Path], batch_size: int) -> dict[str, Callable[[], object]]:
    """Name → tagging all paths; ours first."""
    import numpy as np

    from orpheus.data.audio import reading
    from orpheus.learning.engine import inference

    spec, window = tagger.spec, tagger.spec.frames(tagger.window_seconds)
    forward = inference.forward(tagger.model)

    def windows(path: Path):
        frames = stored(by_librosa(path, spec), spec)
        return np.stack([rows for _, rows in inference.sliding([frames], window, window)])

    def at_once() -> None:
        for path in paths:
            found = windows(path)
            for start in range(0, len(found), batch_size):
                forward(found[start : start + batch_size]).numpy()

    def one_by_one() -> None:
        for path in paths:
            for row in windows(path):
                tagger.model.predict(row[None].astype("float32"), verbose=0)

    def decoding() -> None:
        for path in paths:
            for _ in reading.stream(path, spec):
                pass

    ready = [windows(path) for path in paths]

    def model_alone() -> None:
        every = np.concatenate(ready)
        for start in range(0, len(every), batch_size):
            forward(every[start : start + batch_size]).numpy()

    return {
        "orpheus": lambda: list(tagger.predict_files(paths, batch_size=batch_size)),
        "all at once (librosa, batches)": at_once,
        "reference's way (librosa, window by window)": one_by_one,
        "limit: decoding and spectrogram alone": decoding,
        "limit: model alone": model_alone,
    }


def untrained(folder: Path, window: float, filters: int):
    """A tagger as `orpheus.train` leaves it, not trained."""
    from orpheus import models
    from orpheus.data.audio.spec import AudioSpec
    from orpheus.data.tags.targets import TagTargets
    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging.tagger import Tagger

    spec = AudioSpec("log-mel-spectrogram")
    run = Run.create(folder, "untrained", command=["benchmarks.prediction"])
    run.write("config", {"model": {"n_filters": filters}, "model-training": {"window_length": window}})
    run.write("spec", spec.to_json())
    run.write("classes", TagTargets(CLASSES, {name: index for index, name in enumerate(CLASSES)}).to_json())
    run.write("run", {"task": "tagging", "frontend": spec.format})
    models.build(spec.format, spec.window_shape(window), len(CLASSES), n_filters=filters).save(run.model_path)
    return Tagger(run)


def memory(folder: str, paths: Sequence[str]) -> tuple[float, float]:
    """Peak megabytes of a fresh process after 100 s of audio, and after all of it."""
    import resource

    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging.tagger import Tagger

    tagger = Tagger(Run(next(Path(folder).iterdir())))
    with tempfile.TemporaryDirectory() as temporary:
        list(tagger.predict_files(synthesise(Path(temporary), files=1, seconds=100.0)))  # a full batch
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    list(tagger.predict_files(paths))
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
