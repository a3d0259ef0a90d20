"""A trained tagger for other runtimes: `python -m orpheus.export RUN OUT --format savedmodel|tflite|onnx`."""

import argparse
import sys

from orpheus.base import cli

FORMATS = ("savedmodel", "tflite", "onnx")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.export",
        "Write a trained tagger as SavedModel, TFLite or ONNX: samples in, tags out, the spectrogram inside, with class "
        "names, sample rate, normalisation and thresholds. What was written is run by the format's own runtime and "
        "compared with the Keras model; a difference above 1e-3 is an error, and then nothing is left. "
        "How to use the files: docs/EXPORT.md.",
        example="python -m orpheus.export runs/log-mel-spectrogram_260101-120000 tagger.onnx --format onnx --check song.mp3",
    )
    result.add_argument("run", metavar="RUN", help="folder made by orpheus.train")
    result.add_argument("out", metavar="OUT", help="file to write, or the new folder of a SavedModel")
    result.add_argument("--format", choices=FORMATS, default="savedmodel", help="format of the file")
    checked = result.add_argument_group("check")
    checked.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="FILE",
        help="audio to compare on; windows of the run's records where they hold waveforms, else synthetic music, if not "
        "given",
    )
    checked.add_argument(
        "--tfrecords-dir", metavar="DIR", help="folder of the run's records now; where they were if not given"
    )
    inside = result.add_argument_group("what travels inside")
    inside.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="threshold of every class, 0 to 1; each class's best by F1 on the validation split if not given",
    )
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.runs.remote import open_run
    from orpheus.tasks.tagging import export

    written = export.export(
        open_run(arguments.run),
        arguments.out,
        arguments.format,
        check=arguments.check,
        threshold=arguments.threshold,
        tfrecords_dir=arguments.tfrecords_dir,
        progress=lambda items: cli.progress(items, desc="thresholds", unit="batch"),
    )
    print(
        f"largest difference from the Keras model: {written.difference:.2g}, {written.clips} windows of {written.source}"
    )
    print(written.path)
    return 0


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
