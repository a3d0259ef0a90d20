"""The command line of orpheus.train, as the task that the config asks for understands it."""

import argparse

from orpheus import cli


def tagging(arguments: argparse.Namespace, run, values: dict, source: str):
    """The plan of a tagger."""
    from orpheus import config as config_module
    from orpheus.tasks import evaluation, fine_tuning, targets
    from orpheus.tasks import tagging as task
    from orpheus.tasks.plan import Plan

    if run is not None:
        config, settings = task.load_config(run), run.read("run")
        data = task.reopen_data(run, tfrecords_dir=arguments.tfrecords_dir)
        evaluation.check_hashes(run, data)
        loss, start = targets.load_loss(run), fine_tuning.reopen(run)
    else:
        config = config_module.parse(values, overrides=arguments.set, source=source)
        choices = task.Choices(
            arguments.tfrecords_dir,
            lastfm=arguments.lastfm,
            multi_db=arguments.multi_db,
            multi_db_default=arguments.multi_db_default,
            filter_path=arguments.filter_path if arguments.filter else None,
            dictionary=arguments.dictionary_dir,
            genres=arguments.genre_path,
        )
        data = task.open_data(arguments.frontend, config, choices, progress=_scan)
        loss, start, more = None, None, {}
        if arguments.init_from:
            vectors = arguments.init_embeddings_path or arguments.custom_loss_embeddings_path
            start = fine_tuning.start(arguments.init_from, data, config, embeddings=vectors, progress=cli.progress)
            more["init_from"] = start.to_json()
        if arguments.dictionary_dir:
            more["dictionary"] = targets.provenance(arguments.dictionary_dir, arguments.genre_path)
        if arguments.custom_loss_embeddings_path:
            gamma = 1.0 if arguments.gamma is None else arguments.gamma
            loss, more["loss"] = targets.embedding_loss(
                data.targets, arguments.custom_loss_embeddings_path, gamma, progress=cli.progress
            )
        settings = task.describe(
            data,
            config,
            arguments.frontend,
            shuffle=config.training.shuffle and not arguments.no_shuffle,
            multi_tag=arguments.multi_tag,
            **_engine(arguments, 10),
            **more,
        )

    def save(run) -> None:
        run.write("config", config.to_json())
        run.write("classes", data.targets.to_json())
        run.write("spec", data.catalogue.spec.to_json())
        if loss is not None:
            targets.save_loss(run, loss)
        if arguments.save_cooccurrence:
            targets.save_cooccurrence(data.part("train"), arguments.save_cooccurrence, run.folder.name)

    def job(synchronized: bool):
        made = task.job(
            data,
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
        return start.job(made) if start is not None else made

    return Plan(
        config,
        settings,
        job,
        save,
        lambda _: task.lines(data, settings),
        data.targets.classes,
    )


def retrieval(arguments: argparse.Namespace, run, values: dict, source: str):
    """The plan of a retrieval model."""
    from orpheus import config_retrieval
    from orpheus.tasks import retrieval as task
    from orpheus.tasks import retrieval_checks, retrieval_job
    from orpheus.tasks.plan import Plan

    if run is not None:
        config, settings = task.load_config(run), run.read("run")
        data = task.reopen_data(run, tfrecords_dir=arguments.tfrecords_dir, factors=arguments.factors)
        retrieval_checks.check_reopened(run, data, resumed=True)
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
        data = task.open_data(arguments.frontend, config, choices, progress=_scan)
        settings = task.describe(
            data, config, arguments.frontend, choices, **_engine(arguments, config.training.n_epochs)
        )
    return Plan(
        config,
        settings,
        lambda synchronized: retrieval_job.job(
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


def _engine(arguments: argparse.Namespace, epochs: int) -> dict:
    """What run.json says of the engine."""
    return {
        "seed": arguments.seed,
        "epochs": arguments.epochs or epochs,
        "steps_per_epoch": arguments.steps_per_epoch,
        "built_in": arguments.built_in,
        "update_freq": arguments.update_freq,
    }


def _scan(names):
    return cli.progress(names, desc="scan", unit="shard")
