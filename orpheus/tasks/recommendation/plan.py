"""Recommendation, and every other experiment on a data folder, as a task: what `orpheus.tasks.plan.Task` asks of it."""

import argparse
from pathlib import Path
from typing import Any

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.plan import Plan
from orpheus.tasks.recommendation.flags import FLAGS, check

__all__ = ["FLAGS", "NAME", "SECTION", "check", "evaluate", "plan", "predict", "reopen"]
NAME, SECTION = "experiment", "inputs"


def plan(arguments: argparse.Namespace, values: dict[str, Any], source: str) -> Plan:
    """See `orpheus.tasks.plan.Task`; the arguments are those of `orpheus.experiment`."""
    from orpheus.config import experiment
    from orpheus.tasks.recommendation import data, job

    config = experiment.parse(values, overrides=arguments.set, source=source)
    opened = data.open_data(arguments.data_dir or "data", config, seed=arguments.seed)
    job.build(opened, seed=arguments.seed)  # refuses a network that cannot be, before there is a run
    settings = data.describe(
        opened, config, Path(arguments.name).stem, seed=arguments.seed, built_in=arguments.built_in
    )
    return _plan(opened, config, settings)


def reopen(run, arguments: argparse.Namespace) -> Plan:
    from orpheus.tasks.recommendation import data, evaluation

    folder = getattr(arguments, "data_dir", None)
    opened = data.reopen_data(run, data_dir=folder)
    evaluation.check_comparable(run, opened)
    if folder and not getattr(arguments, "dry_run", False):
        _remember(run, opened)
    return _plan(opened, data.load_config(run), run.read("run"))


def _remember(run, opened) -> None:
    run.moved(str(opened.folder.root.absolute()), key="data_dir")


def _plan(opened, config, settings: dict[str, Any]) -> Plan:
    from orpheus.runs.folder import Run
    from orpheus.tasks.recommendation import data, job

    return Plan(
        config,
        settings,
        lambda synchronized: job.job(
            opened, config, epochs=settings["epochs"], seed=settings["seed"], synchronized=synchronized
        ),
        create=lambda command: Run.create_numbered(opened.folder.models, "model", command=command),
        save=lambda run: data.save(run, opened, config),
        lines=lambda: data.lines(opened, settings),
    )


def evaluate(run, arguments: argparse.Namespace) -> str:
    from orpheus.tasks.recommendation import data, evaluation, run_table

    split = {"valid": "val"}.get(arguments.split, arguments.split)
    opened = data.reopen_data(run, data_dir=arguments.data_dir)
    evaluation.check_comparable(run, opened, different_splits=arguments.different_splits)
    result = evaluation.evaluate(
        run,
        opened,
        split,
        k=arguments.k,
        replicates=arguments.bootstrap,
        as_reference=arguments.as_reference,
        progress=cli.progress,
    )
    run.write_metrics(split, result)
    if arguments.data_dir and not arguments.different_splits:
        _remember(run, opened)
    if arguments.baselines:
        try:
            result["baselines"] = evaluation.baselines(
                opened, split, k=arguments.k, replicates=arguments.bootstrap, progress=cli.progress
            )
        except (ConfigError, DataError) as error:
            raise DataError(f"--baselines: {error}; the evaluation of the run itself is in its metrics.json") from None
        run.write_metrics(split, result)
    if run.folder.parent.name == "models":
        run_table.write_table(run.folder.parent)
    return table(run, split)


def table(run, split: str) -> str:
    from orpheus.tasks.recommendation import evaluation

    split = {"valid": "val"}.get(split, split)
    return evaluation.table(run.evaluation(split), split, name=run.folder.name)


def predict(run, arguments: argparse.Namespace) -> int:
    from orpheus.tasks.recommendation import data, prediction

    kinds = {value.kind for value in data.load_config(run).inputs.values()}
    if arguments.patches and "patches" not in kinds:
        raise ConfigError(f"-p: the inputs of {run.folder} are {', '.join(sorted(kinds))}, not patches; leave it out")
    split = {"valid": "val"}.get(arguments.split, arguments.split)
    for path in prediction.predict(run, split, layer=arguments.layer, data_dir=arguments.data_dir):
        print(path)
    return cli.EXIT_OK
