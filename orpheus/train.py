"""Train a tagger, a retrieval or a joint model: `python -m orpheus.train FRONTEND --config C --tfrecords-dir D`."""

import argparse
import shlex
import sys

from orpheus.base import cli
from orpheus.errors import ConfigError
from orpheus.tasks import plan

FRONTENDS = ("waveform", "log-mel-spectrogram", "features")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.train",
        "Train a tagger on records made by tools.preprocess, or, where the config has a section retrieval or joint, tags "
        "and songs, or tags, songs and listeners, in one space; leaves a run folder for orpheus.evaluate, orpheus.predict and "
        "orpheus.retrieve.",
        example="python -m orpheus.train log-mel-spectrogram --config configs/log-mel.json --tfrecords-dir records/mel --cuda 0 1",
    )
    result.add_argument(
        "frontend",
        nargs="?",
        choices=FRONTENDS,
        help="format of the records; the network is model.frontend of the config (not needed with --resume)",
    )
    data = result.add_argument_group("data")
    data.add_argument("--config", metavar="FILE", help="config.json, or the folder that holds it")
    data.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="change one value of the config; repeatable",
    )
    how = result.add_argument_group("training")
    how.add_argument("--epochs", type=int, metavar="N", help="epochs in all; 10 for a new run, n_epochs of retrieval")
    how.add_argument(
        "--steps-per-epoch", type=int, metavar="N", help="steps of an epoch, fewer than the whole data set"
    )
    how.add_argument(
        "--cuda",
        type=int,
        nargs="+",
        metavar="I",
        help="indices of GPUs to train on, mirrored; the first one or the CPU if not given, all of them with --strategy for several",
    )
    how.add_argument(
        "--strategy",
        choices=("one-device", "mirrored", "multi-worker"),
        help="devices: one GPU or CPU, several GPUs, or several machines: start the same command on each, with TF_CONFIG in its "
        "environment; by --cuda if not given",
    )
    how.add_argument(
        "--data-service",
        metavar="ADDRESS",
        help="grpc://host:port of a tf.data service that makes the batches, instead of every machine its own share",
    )
    how.add_argument("--built-in", action="store_true", help="train with model.fit instead of the custom loop")
    how.add_argument("--seed", type=int, default=0, help="seed of weights, order, windows, augmentation and dropout")
    how.add_argument(
        "--resume",
        metavar="RUN",
        help="run to go on with from its last complete epoch: its folder, or the time in the name of one in runs/",
    )
    how.add_argument(
        "--dry-run", action="store_true", help="load, check, build, run one batch and say what would happen"
    )
    out = result.add_argument_group("output")
    out.add_argument(
        "--update-freq", type=int, default=10, metavar="STEPS", help="steps from one record of metrics to the next"
    )
    plan.add_flags(result, "train")
    return result


def body(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from orpheus import config
    from orpheus.runs import finding

    values: dict = {}
    run, source = None, ""
    if arguments.resume:
        run = finding.find_run(arguments.resume)
        task = plan.task_of(run)
    else:
        values, source = config.read(arguments.config)
        task = plan.task_for(values)
    plan.check_flags(task, "train", arguments, run)
    task.check("train", arguments, run)

    from orpheus.learning.engine import devices
    from orpheus.tasks import training

    strategy = devices.strategy(arguments.cuda, arguments.strategy)
    planned = task.plan(arguments, values, source) if run is None else task.reopen(run, arguments)
    if arguments.epochs:
        planned.settings["epochs"] = arguments.epochs
    trained = training.train(
        planned,
        run,
        strategy,
        command=["python", "-m", "orpheus.train", *map(shlex.quote, sys.argv[1:])],
        data_service=arguments.data_service,
        dry_run=arguments.dry_run,
    )
    if trained is not None:
        print(trained.location)
    return cli.EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    """Refuse combinations that argparse cannot."""
    if arguments.resume:
        for option, value in (("--config", arguments.config), ("--set", arguments.set)):
            if value:
                raise ConfigError(
                    f"{option} with --resume: the run keeps its own config, classes and loss; leave it out"
                )
    else:
        for option, value in (("FRONTEND", arguments.frontend), ("--config", arguments.config)):
            if not value:
                raise ConfigError(f"{option} is missing: a new run needs FRONTEND --config C --tfrecords-dir D")
    if arguments.dry_run and arguments.strategy == "multi-worker":
        raise ConfigError("--dry-run with --strategy multi-worker: a dry run is of one machine; leave --strategy out")
    for option in ("epochs", "steps_per_epoch", "update_freq"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option.replace('_', '-')} {value}: must be at least 1")


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
