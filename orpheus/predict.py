"""Tags of audio files by a trained run."""

import argparse
import sys

from orpheus.base import cli
from orpheus.tasks import plan


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
    plan.add_flags(result, "predict")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.runs import finding

    run = finding.find_run(arguments.run, arguments.data_dir)
    task = plan.task_of(run)
    plan.check_flags(task, "predict", arguments, run)
    task.check("predict", arguments, run)
    return task.predict(run, arguments)


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
