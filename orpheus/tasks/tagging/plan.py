"""The plan of a tagger, from the command line."""

import argparse

from orpheus.base import cli
from orpheus.tasks.plan import engine_settings, scan_progress


def tagging(arguments: argparse.Namespace, run, values: dict, source: str):
    """The plan of a tagger."""
    from orpheus import config as config_module
    from orpheus.tasks.plan import Plan
    from orpheus.tasks.tagging import clusters, evaluation, fine_tuning, network, similarity_loss
    from orpheus.tasks.tagging import data as tagging_data
    from orpheus.tasks.tagging import job as tagging_job

    if run is not None:
        config, settings = tagging_data.load_config(run), run.read("run")
        data = tagging_data.reopen_data(run, tfrecords_dir=arguments.tfrecords_dir)
        evaluation.check_hashes(run, data)
        loss, start = similarity_loss.load_loss(run), fine_tuning.reopen(run)
    else:
        config = config_module.parse(values, overrides=arguments.set, source=source)
        config = network.settled(config, arguments.frontend)
        choices = tagging_data.Choices(
            arguments.tfrecords_dir,
            lastfm=arguments.lastfm,
            multi_db=arguments.multi_db,
            multi_db_default=arguments.multi_db_default,
            filter_path=arguments.filter_path if arguments.filter else None,
            dictionary=arguments.dictionary_dir,
            genres=arguments.genre_path,
        )
        data = tagging_data.open_data(arguments.frontend, config, choices, progress=scan_progress)
        loss, start, more = None, None, {}
        if arguments.init_from:
            vectors = arguments.init_embeddings_path or arguments.custom_loss_embeddings_path
            start = fine_tuning.start(arguments.init_from, data, config, embeddings=vectors, progress=cli.progress)
            more["init_from"] = start.to_json()
        if arguments.dictionary_dir:
            more["dictionary"] = clusters.provenance(arguments.dictionary_dir, arguments.genre_path)
        if arguments.custom_loss_embeddings_path:
            gamma = 1.0 if arguments.gamma is None else arguments.gamma
            loss, more["loss"] = similarity_loss.embedding_loss(
                data.targets, arguments.custom_loss_embeddings_path, gamma, progress=cli.progress
            )
        settings = tagging_data.describe(
            data,
            config,
            arguments.frontend,
            shuffle=config.training.shuffle and not arguments.no_shuffle,
            multi_tag=arguments.multi_tag,
            **engine_settings(arguments, 10),
            **more,
        )

    def save(run) -> None:
        run.write("config", config.to_json())
        run.write("classes", data.targets.to_json())
        run.write("spec", data.catalogue.spec.to_json())
        if loss is not None:
            similarity_loss.save_loss(run, loss)
        if arguments.save_cooccurrence:
            clusters.save_cooccurrence(data.part("train"), arguments.save_cooccurrence, run.folder.name)

    def job(synchronized: bool):
        made = tagging_job.job(
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
        lambda _: tagging_job.lines(data, settings),
        data.targets.classes,
    )
