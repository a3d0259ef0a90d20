"""Exact metrics of a run on one split."""

import argparse
import sys

from orpheus.base import cli, files
from orpheus.errors import ConfigError
from orpheus.tasks import plan


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.evaluate",
        "Exact ROC-AUC and PR-AUC (average precision) per class, micro and macro, over the mean of all windows of a "
        "track and over single windows, each with a 95 % interval by bootstrap over artists (tracks where there are none); and whether "
        "probabilities come true as often as they say (ECE). "
        "Prints a table and writes RUN/metrics.json and the scores, RUN/scores_SPLIT.npz. Experiments are scored as their config "
        "says: lists per user, classes, or R2.",
        example="python -m orpheus.evaluate runs/log-mel-spectrogram_260101-120000 --split test",
    )
    result.add_argument("run", metavar="RUN", help="folder made by orpheus.train, or an experiment's (also model_1)")
    result.add_argument("--split", choices=("train", "valid", "test"), default="test", help="split to evaluate")
    result.add_argument(
        "--different-splits", action="store_true", help="evaluate although the tracks were assigned to other splits"
    )
    result.add_argument(
        "--bootstrap",
        type=int,
        metavar="N",
        help="replicates of 95 %% intervals, 0 for none; 1000 if not given, 200 for a million scores and more",
    )
    plan.add_flags(result, "evaluate")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.runs import finding

    if arguments.bootstrap is not None and arguments.bootstrap < 0:
        raise ConfigError(f"--bootstrap {arguments.bootstrap}: must be at least 0")
    run = finding.find_run(arguments.run, arguments.data_dir)
    task = plan.task_of(run)
    plan.check_flags(task, "evaluate", arguments, run)
    task.check("evaluate", arguments, run)
    files.check_output(run.folder / "metrics.json")
    print(task.evaluate(run, arguments))
    run.publish()
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
