"""The joint task: what `orpheus.tasks.plan.Task` asks of it."""

import argparse
from typing import Any

from orpheus.base import cli
from orpheus.tasks.joint.flags import FLAGS, check
from orpheus.tasks.plan import Plan, engine_settings, scan_progress

__all__ = ["FLAGS", "NAME", "SECTION", "check", "evaluate", "plan", "predict", "reopen", "table"]
NAME, SECTION = "joint", "joint"


def plan(arguments: argparse.Namespace, values: dict[str, Any], source: str) -> Plan:
    from orpheus.config import joint
    from orpheus.tasks.joint import data

    config = joint.parse(values, overrides=arguments.set, source=source)
    choices = data.Choices(
        arguments.word_vectors,
        tfrecords_dir=arguments.tfrecords_dir,
        factors=arguments.factors,
        texts=arguments.texts,
        counts=arguments.counts,
        listener_factors=arguments.listener_factors,
        tags=arguments.tags,
        split=arguments.split,
        categories=arguments.categories,
        database=arguments.multi_db_default,
    )
    opened = data.open_data(arguments.frontend, config, choices, progress=scan_progress)
    engine = engine_settings(arguments, config.training.n_epochs)
    return _plan(opened, config, data.describe(opened, config, arguments.frontend, choices, **engine))


def reopen(run, arguments: argparse.Namespace) -> Plan:
    from orpheus.base import storage
    from orpheus.tasks.joint import data, evaluation

    opened = data.reopen_data(run, places=_places(arguments))
    evaluation.check_comparable(run, opened, resumed=True)
    if arguments.tfrecords_dir and not arguments.dry_run:
        run.moved(storage.absolute(arguments.tfrecords_dir))
    return _plan(opened, data.load_config(run), run.read("run"))


def _places(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where the command line says that inputs are now."""
    from orpheus.tasks.joint import data

    return {key: getattr(arguments, key) for key in data.PLACES}


def _plan(opened, config, settings: dict[str, Any]) -> Plan:
    from orpheus.runs import remote
    from orpheus.tasks.joint import data, job

    return Plan(
        config,
        settings,
        lambda synchronized: job.job(
            opened,
            config,
            epochs=settings["epochs"],
            seed=settings["seed"],
            steps_per_epoch=settings["steps_per_epoch"],
            synchronized=synchronized,
        ),
        create=lambda command: remote.create_run(config.training.log_dir, "joint", command=command),
        save=lambda run: data.save(run, opened, config),
        lines=lambda: data.lines(opened, settings),
    )


def evaluate(run, arguments: argparse.Namespace) -> str:
    from orpheus.base import storage
    from orpheus.tasks.joint import data, evaluation

    split = arguments.split
    opened = data.reopen_data(run, places=_places(arguments))
    evaluation.check_comparable(run, opened, different_splits=arguments.different_splits)
    result, scores, per_user = evaluation.evaluate(
        run,
        opened,
        split,
        replicates=arguments.bootstrap,
        progress=lambda items: cli.progress(items, desc=f"embed {split}", unit="batch"),
    )
    run.write_metrics(split, result)
    if scores is not None:
        scores.save(run, split)
    if per_user:
        evaluation.save_listeners(run, split, per_user, opened.listeners)
    if arguments.tfrecords_dir and not arguments.different_splits:
        run.moved(storage.absolute(arguments.tfrecords_dir))
    return table(run, split)


def table(run, split: str) -> str:
    from orpheus.tasks.joint import evaluation

    return evaluation.table(run.evaluation(split), split)


def predict(run, arguments: argparse.Namespace) -> int:
    from orpheus.tasks.joint import prediction

    return prediction.predict(run, arguments)
