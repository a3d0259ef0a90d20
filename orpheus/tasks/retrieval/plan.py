"""The plan of a retrieval model, from the command line."""

import argparse

from orpheus.tasks.plan import engine_settings, scan_progress


def retrieval(arguments: argparse.Namespace, run, values: dict, source: str):
    """The plan of a retrieval model."""
    from orpheus.config import retrieval as config_retrieval
    from orpheus.tasks.plan import Plan
    from orpheus.tasks.retrieval import checks, job
    from orpheus.tasks.retrieval import data as task

    if run is not None:
        config, settings = task.load_config(run), run.read("run")
        data = task.reopen_data(run, tfrecords_dir=arguments.tfrecords_dir, factors=arguments.factors)
        checks.check_reopened(run, data, resumed=True)
    else:
        config = config_retrieval.parse(values, overrides=arguments.set, source=source)
        choices = task.Choices(
            arguments.word_vectors,
            tfrecords_dir=arguments.tfrecords_dir,
            factors=arguments.factors,
            tags=arguments.tags,
            split=arguments.split,
            categories=arguments.categories,
            database=arguments.multi_db_default,
        )
        data = task.open_data(arguments.frontend, config, choices, progress=scan_progress)
        settings = task.describe(
            data, config, arguments.frontend, choices, **engine_settings(arguments, config.training.n_epochs)
        )
    return Plan(
        config,
        settings,
        lambda synchronized: job.job(
            data,
            config,
            epochs=settings["epochs"],
            seed=settings["seed"],
            steps_per_epoch=settings["steps_per_epoch"],
            synchronized=synchronized,
        ),
        lambda run: task.save(run, data, config),
        lambda _: task.lines(data),
    )
