"""Train a tagger or a retrieval model: `python -m orpheus.train FRONTEND --config C --tfrecords-dir D`."""

import argparse
import dataclasses
import logging
import math
import shlex
import signal
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError

log = logging.getLogger("orpheus.train")
FRONTENDS = ("waveform", "log-mel-spectrogram", "features")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.train",
        "Train a tagger on records made by tools.preprocess, or, where the config has a section retrieval, tags and songs "
        "in one space; leaves a run folder for orpheus.evaluate, orpheus.predict and orpheus.retrieve.",
        example="python -m orpheus.train log-mel-spectrogram --config configs/log-mel.json --tfrecords-dir records/mel --cuda 0 1",
    )
    result.add_argument(
        "frontend",
        nargs="?",
        choices=FRONTENDS,
        help="format of the records; the network is model.frontend of the config (not needed with --resume)",
    )
    data = result.add_argument_group("data")
    data.add_argument("--tfrecords-dir", metavar="DIR", help="records of that format")
    data.add_argument("--config", metavar="FILE", help="config.json, or the folder that holds it")
    data.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="change one value of the config; repeatable",
    )
    data.add_argument(
        "--lastfm", metavar="DB", help="tag database whose popularity picks the top tags; the records' own if not given"
    )
    data.add_argument("--multi-db", type=int, metavar="N", help="number of tag databases in the records (checked)")
    data.add_argument("--multi-db-default", type=int, metavar="I", help="which of them to train on, from 0")
    data.add_argument("--filter", action="store_true", help="leave out the tags of tags_remove.txt")
    data.add_argument("--filter-path", metavar="DIR", default="dictionaries", help="folder that holds tags_remove.txt")
    clusters = result.add_argument_group("clusters as classes (Models 3 and 4)")
    clusters.add_argument(
        "--dictionary-dir",
        metavar="FILE_OR_DIR",
        help="dictionary of tools.cluster_tags, or the folder of one: train on its clusters instead of tags",
    )
    clusters.add_argument(
        "--genre-path", metavar="DIR", help="folder that holds genres.txt: only its clusters, pairs of it merged"
    )
    clusters.add_argument(
        "--save-cooccurrence-matrix-path",
        "--save-coocurrence-matrix-path",
        dest="save_cooccurrence",
        metavar="DIR",
        help="write on how many training tracks each two classes meet, .npy, and the names of the classes",
    )
    aware = result.add_argument_group("embedding-aware loss (Model 5)")
    aware.add_argument(
        "--custom-loss-embeddings-path",
        metavar="PATH",
        help="word vectors (GloVe or word2vec file, TF-Hub model): a false positive costs more the less it resembles "
        "the true classes",
    )
    aware.add_argument(
        "--gamma", type=float, metavar="G", help="how much more, at least 0 (plain cross-entropy); 1 if not given"
    )
    found = result.add_argument_group("retrieval")
    found.add_argument(
        "--word-vectors", metavar="PATH", help="of the tags (GloVe or word2vec file, TF-Hub model); needed"
    )
    found.add_argument(
        "--factors", metavar="FILE", help="input_type cf and hybrid: .npz with ids and matrix, or text, an id and numbers a line"
    )  # fmt: skip
    found.add_argument(
        "--tags",
        metavar="SOURCE",
        nargs="+",
        help="tags of songs by id, as of tools.split; the records' own if not given",
    )
    found.add_argument(
        "--split", metavar="FILE", help="of tools.split; shards by the config's model-training.split if not given"
    )
    found.add_argument("--categories", metavar="TSV", help="tag and category a line: tables by category")
    how = result.add_argument_group("training")
    how.add_argument("--epochs", type=int, metavar="N", help="epochs in all; 10 for a new run, n_epochs of retrieval")
    how.add_argument("--steps-per-epoch", type=int, metavar="N", help="fewer than the whole data set")
    how.add_argument(
        "--no-shuffle", action="store_true", help="keep the order of the records, whatever the config says"
    )
    how.add_argument(
        "--multi-tag", action="store_true", help="macro-averaged metrics (mean over classes) instead of micro"
    )
    how.add_argument(
        "--cuda",
        type=int,
        nargs="+",
        metavar="I",
        help="GPUs to train on, mirrored; the first one or the CPU if not given, all of them with --strategy for several",
    )
    how.add_argument(
        "--strategy",
        choices=("one-device", "mirrored", "multi-worker"),
        help="one GPU or CPU, several GPUs, or several machines: start the same command on each, with TF_CONFIG in its "
        "environment; by --cuda if not given",
    )
    how.add_argument(
        "--data-service",
        metavar="ADDRESS",
        help="grpc://host:port of a tf.data service that makes the batches, instead of every machine its own share",
    )
    how.add_argument("--built-in", action="store_true", help="train with model.fit instead of the custom loop")
    how.add_argument("--seed", type=int, default=0, help="of weights, order, windows, augmentation and dropout")
    how.add_argument(
        "--init-from",
        metavar="RUN",
        help="start from a trained tagger: its network and the output rows of classes that both know",
    )
    how.add_argument(
        "--init-embeddings-path",
        metavar="PATH",
        help="word vectors for --init-from: a new class starts from the mean of the rows of the 3 classes nearest to it; "
        "those of --custom-loss-embeddings-path if not given, and fresh without any",
    )
    how.add_argument("--resume", metavar="RUN", help="go on with a run from its last complete epoch")
    how.add_argument(
        "--dry-run", action="store_true", help="load, check, build, run one batch and say what would happen"
    )
    out = result.add_argument_group("output")
    out.add_argument("--update-freq", type=int, default=10, metavar="STEPS", help="how often metrics are recorded")
    out.add_argument("--save-PR", metavar="DIR", help="write validation PR-AUC per class, (epochs, classes) .npy")
    out.add_argument("--save-ROC", metavar="DIR", help="write validation ROC-AUC per class, (epochs, classes) .npy")
    out.add_argument(
        "--save-confusion-matrix",
        metavar="DIR",
        help="write TP, TN, FP, FN, (4, thresholds, classes) .npy of the last epoch",
    )
    out.add_argument("--save-tags-path", metavar="DIR", help="write the names of the classes, .npy")
    return result


def body(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from orpheus import config as config_module
    from orpheus.config.retrieval import is_retrieval
    from orpheus.learning.engine import fit
    from orpheus.runs import finding
    from orpheus.tasks.retrieval import plan as retrieval_plan
    from orpheus.tasks.tagging.plan import tagging

    if arguments.resume:
        run = finding.find_run(arguments.resume)
        if finding.is_experiment(run):
            return _resume_experiment(run, arguments)
        strategy = fit.strategy(arguments.cuda, arguments.strategy)
        plan = (retrieval_plan.retrieval if run.task == "retrieval" else tagging)(arguments, run, {}, "")
    else:
        run = None
        values, source = config_module.read(arguments.config)
        retrieval = is_retrieval(values)
        _check_task(arguments, retrieval)
        strategy = fit.strategy(arguments.cuda, arguments.strategy)
        plan = (retrieval_plan.retrieval if retrieval else tagging)(arguments, None, values, source)
    if arguments.epochs:
        plan.settings["epochs"] = arguments.epochs
    return _train(arguments, run, plan, strategy)


def _resume_experiment(run, arguments: argparse.Namespace) -> int:
    """Go on with a run of orpheus.experiment."""
    from orpheus.tasks.recommendation import steps as recommendation_steps

    for option in ("tfrecords_dir", "dry_run", "steps_per_epoch", "strategy", "data_service"):
        if getattr(arguments, option):
            raise ConfigError(f"--{option.replace('_', '-')}: {run.folder} is an experiment's, which has no such thing")
    recommendation_steps.train(run, epochs=arguments.epochs, cuda=arguments.cuda)
    print(run.folder)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse combinations that argparse cannot."""
    if arguments.resume:
        fixed = {
            "--config": arguments.config,
            "--set": arguments.set,
            "--lastfm": arguments.lastfm,
            "--filter": arguments.filter,
            "--dictionary-dir": arguments.dictionary_dir,
            "--genre-path": arguments.genre_path,
            "--custom-loss-embeddings-path": arguments.custom_loss_embeddings_path,
            "--gamma": arguments.gamma is not None,
            "--init-from": arguments.init_from,
            "--word-vectors": arguments.word_vectors,
            "--tags": arguments.tags,
            "--split": arguments.split,
            "--categories": arguments.categories,
        }
        for option, value in fixed.items():
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
    if arguments.gamma is not None:
        if not 0 <= arguments.gamma < math.inf:
            raise ConfigError(f"--gamma {arguments.gamma}: must be at least 0 (0 is plain cross-entropy)")
        if not arguments.custom_loss_embeddings_path:
            raise ConfigError(f"--gamma {arguments.gamma}: needs word vectors, --custom-loss-embeddings-path")
    if arguments.init_embeddings_path and not arguments.init_from:
        raise ConfigError("--init-embeddings-path: says how new classes of --init-from start; give it too")
    if arguments.genre_path and not arguments.dictionary_dir:
        raise ConfigError("--genre-path: chooses clusters of a dictionary; give --dictionary-dir too")
    for option in ("epochs", "steps_per_epoch", "update_freq"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option.replace('_', '-')} {value}: must be at least 1")


def _check_task(arguments: argparse.Namespace, retrieval: bool) -> None:
    """Refuse options of the other task, and see that the task's own are there."""
    given = {"--tfrecords-dir": arguments.tfrecords_dir, "--word-vectors": arguments.word_vectors}
    needed = "--word-vectors" if retrieval else "--tfrecords-dir"
    if not given[needed]:
        raise ConfigError(f"{needed} is missing: a new {'retrieval ' if retrieval else ''}run needs it")
    of_retrieval = {
        name: getattr(arguments, name) for name in ("word_vectors", "factors", "tags", "split", "categories")
    }
    of_tagging = {
        name: getattr(arguments, name)
        for name in ("lastfm", "filter", "dictionary_dir", "genre_path", "save_cooccurrence", "no_shuffle", "multi_tag",
                     "custom_loss_embeddings_path", "init_from", "save_PR", "save_ROC", "save_confusion_matrix",
                     "save_tags_path")
    }  # fmt: skip
    for name, value in (of_tagging if retrieval else of_retrieval).items():
        if value:
            option = "--" + name.replace("_", "-")
            cure = "the config has a section retrieval" if retrieval else "the config has no section retrieval"
            raise ConfigError(f"{option}: {cure}, and it is an option of the other task; leave it out")
    if not retrieval and arguments.frontend == "features":
        raise ConfigError("FRONTEND=features: only retrieval trains on features alone; give a config with its section")


def _train(arguments: argparse.Namespace, run, plan, strategy) -> int:
    from orpheus.base import storage
    from orpheus.learning.engine import fit, multi_worker
    from orpheus.runs import remote

    config, settings = plan.config, plan.settings
    if arguments.data_service and storage.is_copied(settings["tfrecords_dir"] or ""):
        raise ConfigError(
            f"--data-service with {settings['tfrecords_dir']}: fsspec opens it, and in this process only; install "
            "tensorflow-io, or copy the records to a folder that the service's workers see"
        )
    me = multi_worker.member(strategy)
    if run is None:
        # The order of the data is theirs, on however many machines a run goes on. A data service is one reader.
        settings["readers"] = 1 if arguments.data_service else me.workers
    job = plan.job(strategy.num_replicas_in_sync > 1)
    options = fit.Options(
        epochs=settings["epochs"],
        built_in=settings["built_in"],
        update_freq=settings["update_freq"],
        jit=config.training.jit,
        mixed_precision=config.training.mixed_precision,
        micro_batches=config.training.micro_batches,
        steps_per_execution=config.training.steps_per_execution,
        data_service=arguments.data_service,
        bar=cli.progress,
    )
    fit.check(job, config.training, options, strategy)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's notice ends like Ctrl-C
    if me.index > 0:
        log.info("worker %d of %d: %s writes", me.index + 1, me.workers, me.addresses[0])
        fit.train(job, run, config.training, options, strategy)
        return 0
    if arguments.dry_run:
        return _dry_run(job, options, strategy, plan)
    if run is None:
        run = remote.create_run(
            config.training.log_dir,
            settings.get("network") or settings["frontend"],
            command=["python", "-m", "orpheus.train", *map(shlex.quote, sys.argv[1:])],
        )
        plan.save(run)
    run.write("run", settings)
    log.info("run: %s", run.place)
    options = dataclasses.replace(options, array_paths=_array_paths(arguments, run, plan.classes))
    try:
        fit.train(job, run, config.training, options, strategy)
    except KeyboardInterrupt:
        log.warning("interrupted; go on with: python -m orpheus.train --resume %s", run.place)
        raise
    finally:
        run.publish()
    print(run.place)
    return 0


def _array_paths(arguments: argparse.Namespace, run, classes) -> dict[str, Path]:
    """Files for --save-*; their names say frontend and time, as the run's does. Writes the classes at once."""
    import numpy as np

    from orpheus.base import files

    name = run.folder.name
    wanted = {"roc": ("ROC", arguments.save_ROC), "pr": ("PR", arguments.save_PR), "confusion": ("confusion-matrix", arguments.save_confusion_matrix)}  # fmt: skip
    paths = {
        key: Path(folder).expanduser() / f"{label}_{name}.npy" for key, (label, folder) in wanted.items() if folder
    }
    if arguments.save_tags_path:
        with files.atomic(Path(arguments.save_tags_path).expanduser() / f"tags_{name}.npy", "wb") as file:
            np.save(file, np.array(classes))
    return paths


def _dry_run(job, options, strategy, plan) -> int:
    """One batch through the whole machine, and what a run would do."""
    import tensorflow as tf

    from orpheus.learning.engine import fit

    model, _ = fit.prepare(job, strategy, options)
    inputs, targets = next(iter(job.train(0)))
    outputs = model(inputs, training=False)
    shapes = ", ".join(f"{tuple(one.shape)} {one.dtype.name}" for one in tf.nest.flatten(inputs))
    steps = f"{plan.settings['epochs']} of {job.steps_per_epoch} steps of {job.batch_size}"
    rows = [
        (
            "network",
            f"{plan.settings.get('network') or plan.settings['frontend']}: batches {shapes} -> {tuple(outputs.shape)}",
        ),
        ("model", f"{model.count_params():,} parameters; loss of one batch {float(job.loss(targets, outputs)):.4f}"),
        ("epochs", f"{steps}, {strategy.num_replicas_in_sync} replica(s)"),
        *plan.lines(job),
    ]
    for name, text in rows:
        print(f"{name:<13} {text}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
