"""A named experiment on a data folder: train, predict and evaluate in one go, or each alone."""

import argparse
import shlex
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.recommendation import plan
from orpheus.tasks.recommendation.flags import SCORES


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.experiment",
        "Run an experiment of configs/experiments on a data folder: train, predict the test set, evaluate. The run is "
        "DATA/models/model_N; all runs are rows of DATA/models/trained_models.tsv.",
        example="python -m orpheus.experiment rec_multi a-sem-emb audio-emb --data-dir data --set model-training.epochs=20",
    )
    result.add_argument("name", nargs="?", metavar="NAME", help="experiment, or a JSON file like those there")
    result.add_argument(
        "settings", nargs="*", metavar="SETTING", help="features of its inputs, X_SET_SETTING_DATASET, in their order"
    )
    data = result.add_argument_group("data and config")
    data.add_argument("--data-dir", metavar="DIR", help="data folder: ./data, or where the run's was with --resume")
    data.add_argument(
        "--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="change one value; repeatable"
    )
    what = result.add_argument_group("what is done")
    what.add_argument("--list", action="store_true", help="show the trained models, and the experiments there are")
    what.add_argument(
        "--different-splits", action="store_true", help="with --list: one table of all, not one for each split"
    )
    what.add_argument(
        "--only",
        choices=("train", "predict", "evaluate"),
        help="step to take alone; the last two are of the newest such run",
    )
    what.add_argument("--resume", metavar="RUN", help="run (a folder, or model_N) to go on with from its last epoch")
    how = result.add_argument_group("training")
    how.add_argument("--epochs", type=int, metavar="N", help="epochs in all; the config's if not given")
    how.add_argument(
        "--cuda", type=int, nargs="+", metavar="I", help="indices of GPUs, mirrored; the first one or the CPU"
    )
    how.add_argument("--built-in", action="store_true", help="train with model.fit instead of the custom loop")
    how.add_argument("--seed", type=int, default=0, help="seed of weights, order, dropout and a drawn val set")
    scores = result.add_argument_group("evaluation")
    scores.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="replicates of 95 %% intervals; 0: none"
    )
    for option in SCORES:
        scores.add_argument(*option.names, **option.options)
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.runs import finding
    from orpheus.tasks.recommendation import registry, run_table

    models = Path(arguments.data_dir or "data").expanduser() / "models"
    if arguments.list:
        print(run_table.show(models, different_splits=arguments.different_splits))
        print(f"experiments: {', '.join(registry.names())}")
        return cli.EXIT_OK
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ConfigError(f"--epochs {arguments.epochs}: must be at least 1")
    if arguments.bootstrap < 0 or (arguments.k is not None and arguments.k < 1):
        raise ConfigError(f"--bootstrap {arguments.bootstrap}, -k {arguments.k}: must be at least 0 and 1")
    if not arguments.resume and not arguments.name:
        raise ConfigError(f"NAME is missing: one of {', '.join(registry.names())}")
    if arguments.resume and (arguments.name or arguments.set):
        raise ConfigError("--resume: the run keeps its own experiment and config; leave NAME and --set out")
    # The data folder of an existing run is where it was, unless another is given.
    if arguments.resume:
        run = finding.find_run(arguments.resume, arguments.data_dir)
        if (models / arguments.resume).is_dir():
            arguments.data_dir = None
        _train(arguments, run, plan.reopen(run, arguments))
    elif arguments.only in ("predict", "evaluate"):
        registry.load(arguments.name, arguments.settings, overrides=arguments.set)  # refuses what is not there
        run = _newest(models, Path(arguments.name).stem, arguments.settings)
    else:
        run = _train(arguments, None, plan.plan(arguments, *registry.read(arguments.name, arguments.settings)))
    if arguments.only in (None, "predict"):
        from orpheus.tasks.recommendation import prediction

        prediction.predict(run)
    if arguments.only in (None, "evaluate"):
        arguments.split, arguments.data_dir = "test", None
        print(plan.evaluate(run, arguments))
    print(run_table.write_table(models))
    print(run.folder)
    return cli.EXIT_OK


def _train(arguments: argparse.Namespace, run, planned):
    """Train a plan on the GPUs that were asked for; returns the run."""
    from orpheus.learning.engine import devices
    from orpheus.tasks import training

    if arguments.epochs:
        planned.settings["epochs"] = arguments.epochs
    command = ["python", "-m", "orpheus.experiment", *map(shlex.quote, sys.argv[1:])]
    return training.train(planned, run, devices.strategy(arguments.cuda), command=command)


def _newest(models: Path, name: str, settings: list[str]):
    """The newest trained run of an experiment with these settings."""
    from orpheus.runs.folder import Run
    from orpheus.tasks.recommendation import run_table

    found = [
        row["id"]
        for row in run_table.trained(models)
        if row["experiment"] == name and (not settings or row["settings"] == " ".join(settings))
    ]
    if not found:
        raise DataError(f"{models}: no run of {' '.join([name, *settings])}; train it first, without --only")
    return Run.open(models / found[-1])


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
