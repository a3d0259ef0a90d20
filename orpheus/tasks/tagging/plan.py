"""Tagging as a task: what `orpheus.tasks.plan.Task` asks of it."""

import argparse
from pathlib import Path
from typing import Any

from orpheus.base import cli, files
from orpheus.tasks.plan import Plan, engine_settings, scan_progress
from orpheus.tasks.tagging.flags import FLAGS, check

__all__ = ["FLAGS", "NAME", "SECTION", "check", "evaluate", "plan", "predict", "reopen"]
NAME, SECTION = "tagging", None


def plan(arguments: argparse.Namespace, values: dict[str, Any], source: str) -> Plan:
    from orpheus import config as config_module
    from orpheus.tasks.tagging import clusters, data, fine_tuning, network, similarity_loss

    config = config_module.parse(values, overrides=arguments.set, source=source)
    config = network.settled(config, arguments.frontend)
    choices = data.Choices(
        arguments.tfrecords_dir,
        lastfm=arguments.lastfm,
        multi_db=arguments.multi_db,
        multi_db_default=arguments.multi_db_default,
        filter_path=arguments.filter_path if arguments.filter else None,
        dictionary=arguments.dictionary_dir,
        genres=arguments.genre_path,
        merge_outside=arguments.merge_outside,
    )
    opened = data.open_data(arguments.frontend, config, choices, progress=scan_progress)
    loss, start, more = None, None, {}
    if arguments.init_from:
        vectors = arguments.init_embeddings_path or arguments.custom_loss_embeddings_path
        by_name = None if arguments.init_rows is None else arguments.init_rows == "by-name"
        start = fine_tuning.start(
            arguments.init_from, opened, config, embeddings=vectors, by_name=by_name, progress=cli.progress
        )
        more["init_from"], more["freeze"] = start.to_json(), arguments.freeze
    if arguments.dictionary_dir:
        more["dictionary"] = clusters.provenance(
            arguments.dictionary_dir, arguments.genre_path, merge_outside=arguments.merge_outside
        )
    if arguments.custom_loss_embeddings_path:
        gamma = 1.0 if arguments.gamma is None else arguments.gamma
        loss, more["loss"] = similarity_loss.embedding_loss(
            opened.targets,
            arguments.custom_loss_embeddings_path,
            gamma,
            min_coverage=similarity_loss.MIN_COVERAGE if arguments.min_coverage is None else arguments.min_coverage,
            progress=cli.progress,
        )
    settings = data.describe(
        opened,
        config,
        arguments.frontend,
        shuffle=config.training.shuffle and not arguments.no_shuffle,
        multi_tag=arguments.multi_tag,
        **engine_settings(arguments, 10),
        **more,
    )
    return _plan(arguments, opened, config, settings, loss, start)


def reopen(run, arguments: argparse.Namespace) -> Plan:
    from orpheus.base import storage
    from orpheus.tasks.tagging import data, evaluation, fine_tuning, similarity_loss

    opened = data.reopen_data(run, tfrecords_dir=arguments.tfrecords_dir)
    evaluation.check_comparable(run, opened)
    if arguments.tfrecords_dir and not arguments.dry_run:
        run.moved(storage.absolute(opened.catalogue.folder))
    loss, start = similarity_loss.load_loss(run), fine_tuning.reopen(run)
    return _plan(arguments, opened, data.load_config(run), run.read("run"), loss, start)


def _plan(arguments: argparse.Namespace, opened, config, settings: dict[str, Any], loss, start) -> Plan:
    from orpheus.runs import remote
    from orpheus.tasks.tagging import clusters, data, fine_tuning, frozen_features, job, similarity_loss

    def make(synchronized: bool):
        made = job.job(
            opened,
            config,
            epochs=settings["epochs"],
            seed=settings["seed"],
            steps_per_epoch=settings["steps_per_epoch"],
            shuffle=settings["shuffle"],
            macro=settings["multi_tag"],
            synchronized=synchronized,
            loss=loss,
            readers=settings.get("readers", 1),
        )
        made = start.job(made) if start is not None else made
        if not settings.get("freeze"):
            return made
        at_once = not (arguments.dry_run or arguments.data_service)
        frozen = fine_tuning.frozen(made)
        return frozen_features.kept(frozen, opened, config) if at_once else frozen

    def save(run) -> None:
        data.save(run, opened, config)
        if loss is not None:
            similarity_loss.save_loss(run, loss)
        if arguments.save_cooccurrence:
            clusters.save_cooccurrence(opened.records_of("train"), arguments.save_cooccurrence, run.folder.name)

    return Plan(
        config,
        settings,
        make,
        create=lambda command: remote.create_run(
            config.training.log_dir, settings.get("network") or settings["frontend"], command=command
        ),
        save=save,
        lines=lambda: data.lines(opened, settings),
        arrays=lambda run: _arrays(arguments, run.folder.name, opened.targets.classes),
    )


def _arrays(arguments: argparse.Namespace, name: str, classes: tuple[str, ...]) -> dict[str, Path]:
    """Files for --save-*; their names say frontend and time, as the run's does. Writes the classes at once."""
    import numpy as np

    wanted = {
        "roc": ("ROC", arguments.save_ROC),
        "pr": ("PR", arguments.save_PR),
        "confusion": ("confusion-matrix", arguments.save_confusion_matrix),
    }
    if arguments.save_tags_path:
        with files.atomic(Path(arguments.save_tags_path).expanduser() / f"tags_{name}.npy", "wb") as file:
            np.save(file, np.array(classes))
    return {key: Path(folder).expanduser() / f"{label}_{name}.npy" for key, (label, folder) in wanted.items() if folder}


def evaluate(run, arguments: argparse.Namespace) -> str:
    from orpheus.base import storage
    from orpheus.tasks.tagging import evaluation
    from orpheus.tasks.tagging.data import reopen_data

    split = arguments.split
    if arguments.compare_tags:
        return _compare(run, arguments)
    leaks = evaluation.read_leaks(arguments.without_leaks, split) if arguments.without_leaks else None
    data = reopen_data(run, tfrecords_dir=arguments.tfrecords_dir)
    evaluation.check_comparable(run, data, different_splits=arguments.different_splits)
    result, scores = evaluation.evaluate(
        run,
        data,
        split,
        batch_size=arguments.batch_size,
        replicates=arguments.bootstrap,
        leaks=leaks,
        progress=_progress(split),
    )
    run.write_metrics(split, result)
    scores.save(run, split)
    if arguments.tfrecords_dir and not arguments.different_splits:
        run.moved(storage.absolute(data.catalogue.folder))
    if arguments.csv:
        evaluation.write_csv(arguments.csv, result)
    shown = table(run, split)
    return f"{shown}\n{_write_suspects(scores, arguments)}" if arguments.suspects else shown


def table(run, split: str) -> str:
    from orpheus.tasks.tagging import evaluation

    return evaluation.table(run.evaluation(split), split)


def _write_suspects(scores, arguments: argparse.Namespace) -> str:
    """The most doubted annotations, for people."""
    from orpheus.data.splits import leaks
    from orpheus.tasks.tagging import suspects

    paths = leaks.read_facts(arguments.tracks).paths if arguments.tracks else {}
    found = suspects.find(scores.truth, scores.scores, count=arguments.suspects_count)
    suspects.write_csv(arguments.suspects, found, scores.scores, scores.ids, scores.classes, paths)
    missing = sum(one.direction == suspects.MISSING for one in found)
    return f"{arguments.suspects}: {missing} tags probably missing, {len(found) - missing} probably wrong, worst first"


def _compare(run, arguments: argparse.Namespace) -> str:
    """A cluster run against a tag run."""
    from orpheus.runs import finding
    from orpheus.tasks.tagging import cluster_comparison

    result = cluster_comparison.compare(
        run,
        finding.find_run(arguments.compare_tags),
        arguments.split,
        tfrecords_dir=arguments.tfrecords_dir,
        batch_size=arguments.batch_size,
        replicates=arguments.bootstrap,
        different_splits=arguments.different_splits,
        progress=_progress(arguments.split),
    )
    run.write("comparison", result)
    return cluster_comparison.table(result)


def _progress(split: str):
    return lambda items: cli.progress(items, desc=f"evaluate {split}", unit="batch")


def predict(run, arguments: argparse.Namespace) -> int:
    from orpheus.tasks.tagging import prediction

    return prediction.predict(run, arguments)
