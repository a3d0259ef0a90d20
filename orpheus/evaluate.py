"""Exact metrics of a run on one side of its split."""

import argparse
import logging
import sys

from orpheus.base import cli
from orpheus.errors import ConfigError

log = logging.getLogger("orpheus.evaluate")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.evaluate",
        "Exact ROC-AUC and PR-AUC (average precision) per class, micro and macro, over the mean of all windows of a "
        "track and over single windows, each with a 95 % interval by bootstrap over artists (tracks where there are none). "
        "Prints a table and writes RUN/metrics.json and the scores, RUN/scores_SPLIT.npz. Experiments are scored as their config "
        "says: lists per user, classes, or R2.",
        example="python -m orpheus.evaluate runs/log-mel-spectrogram_260101-120000 --split test",
    )
    result.add_argument("run", metavar="RUN", help="folder made by orpheus.train, or an experiment's (also model_1)")
    result.add_argument("--split", choices=("train", "valid", "test"), default="test", help="which side")
    result.add_argument(
        "--tfrecords-dir", metavar="DIR", help="where its records are now; where they were if not given"
    )
    result.add_argument(
        "--compare-tags",
        metavar="TAG_RUN",
        help="RUN is of clusters: judge it, class by class, against the scores that TAG_RUN gives the clusters' tags, "
        "on the same tracks; writes RUN/comparison.json instead",
    )
    result.add_argument(
        "--different-splits", action="store_true", help="compare or judge although the tracks were dealt otherwise"
    )
    result.add_argument("--batch-size", type=int, default=32, metavar="N", help="windows per pass")
    result.add_argument(
        "--bootstrap", type=int, metavar="N",
        help="replicates of 95 %% intervals, 0 for none; 1000 if not given, 200 for a million scores and more",
    )  # fmt: skip
    of = result.add_argument_group("of a tagger")
    of.add_argument("--csv", metavar="FILE", help="write the metrics and their bounds as a table, too")
    of.add_argument(
        "--without-leaks",
        metavar="AUDIT",
        help="JSON of tools.split --audit RUN --audit-json: also the metrics without the tracks that share artist, album "
        "or audio with what the model has learned from",
    )
    of.add_argument(
        "--suspects",
        metavar="CSV",
        help="write the tracks and tags where model and annotation disagree most: probably missing or wrong, for people "
        "to listen to",
    )
    of.add_argument("--suspects-count", type=int, default=200, metavar="N", help="how many, at most")
    of.add_argument(
        "--tracks",
        nargs="+",
        metavar="CSV",
        default=[],
        help="csv of tracks (track_id, audio_path) for paths of suspects",
    )
    of = result.add_argument_group("of a retrieval run")
    of.add_argument("--factors", metavar="FILE", help="where its factors are now; where they were if not given")
    of = result.add_argument_group("of an experiment's run")
    of.add_argument("--data-dir", metavar="DIR", help="data folder; where the run's was if not given")
    of.add_argument("-k", type=int, metavar="K", help="length of recommendation lists; the config's if not given")
    of.add_argument("--baselines", action="store_true", help="random, popularity, nearest neighbours, upper bound too")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.runs import finding

    if arguments.bootstrap is not None and arguments.bootstrap < 0:
        raise ConfigError(f"--bootstrap {arguments.bootstrap}: must be at least 0")
    if arguments.suspects_count < 1:
        raise ConfigError(f"--suspects-count {arguments.suspects_count}: must be at least 1")
    run = finding.find_run(arguments.run, arguments.data_dir)
    if arguments.compare_tags:
        return _compare(run, finding.find_run(arguments.compare_tags), arguments)
    if finding.is_experiment(run):
        return _items(run, arguments)
    (_retrieval if run.task == "retrieval" else _tagger)(run, arguments)
    run.publish()
    return 0


def _retrieval(run, arguments: argparse.Namespace) -> None:
    """Tags that find songs, on one side of the split."""
    from orpheus.tasks.retrieval import checks, job, metrics
    from orpheus.tasks.retrieval.data import reopen_data

    for option, value in (("--suspects", arguments.suspects), ("--without-leaks", arguments.without_leaks), ("--csv", arguments.csv)):  # fmt: skip
        if value:
            raise ConfigError(f"{option}: an option of taggers, and {run.folder} is a retrieval run; leave it out")
    split = arguments.split
    data = reopen_data(run, tfrecords_dir=arguments.tfrecords_dir, factors=arguments.factors)
    checks.check_reopened(run, data, different_splits=arguments.different_splits)
    result = job.evaluate(
        run,
        data,
        split,
        replicates=arguments.bootstrap,
        progress=lambda items: cli.progress(items, desc=f"embed {split}", unit="batch"),
    )
    run.write_metrics(split, result)
    print(metrics.table(result, split))


def _tagger(run, arguments: argparse.Namespace) -> None:
    """A tagger on one side of its records."""
    from orpheus.tasks.tagging import evaluation
    from orpheus.tasks.tagging.data import reopen_data

    split = arguments.split
    leaks = evaluation.read_leaks(arguments.without_leaks, split) if arguments.without_leaks else None
    data = reopen_data(run, tfrecords_dir=arguments.tfrecords_dir)
    evaluation.check_hashes(run, data, different_splits=arguments.different_splits)
    result, scores = evaluation.evaluate(
        run,
        data,
        split,
        batch_size=arguments.batch_size,
        replicates=arguments.bootstrap,
        leaks=leaks,
        progress=lambda items: cli.progress(items, desc=f"evaluate {split}", unit="batch"),
    )
    run.write_metrics(split, result)
    scores.save(run, split)
    if arguments.csv:
        evaluation.write_csv(arguments.csv, result)
    print(evaluation.table(result, split))
    if arguments.suspects:
        _write_suspects(scores, arguments)


def _write_suspects(scores, arguments: argparse.Namespace) -> None:
    """The most doubted annotations, for people."""
    from orpheus.data.splits import leaks
    from orpheus.tasks.tagging import suspects

    if arguments.split == "train":
        log.warning("--suspects of the train side: the model has learned these annotations, errors included")
    paths = leaks.read_facts(arguments.tracks).paths if arguments.tracks else {}
    found = suspects.find(scores.truth, scores.scores, count=arguments.suspects_count)
    suspects.write_csv(arguments.suspects, found, scores.scores, scores.ids, scores.classes, paths)
    missing = sum(one.direction == suspects.MISSING for one in found)
    print(f"{arguments.suspects}: {missing} tags probably missing, {len(found) - missing} probably wrong, worst first")


def _compare(run, tag_run, arguments: argparse.Namespace) -> int:
    """A cluster run against a tag run."""
    from orpheus.tasks.tagging import cluster_comparison

    result = cluster_comparison.compare(
        run,
        tag_run,
        arguments.split,
        tfrecords_dir=arguments.tfrecords_dir,
        batch_size=arguments.batch_size,
        replicates=arguments.bootstrap,
        different_splits=arguments.different_splits,
        progress=lambda items: cli.progress(items, desc=f"evaluate {arguments.split}", unit="batch"),
    )
    run.write("comparison", result)
    print(cluster_comparison.table(result))
    return 0


def _items(run, arguments: argparse.Namespace) -> int:
    """An experiment's run on a set of its data folder."""
    from orpheus.tasks.recommendation import run_table, steps

    subset = "val" if arguments.split == "valid" else arguments.split
    replicates = 1000 if arguments.bootstrap is None else arguments.bootstrap
    shown = steps.evaluate(
        run, subset, k=arguments.k, replicates=replicates, with_baselines=arguments.baselines,
        data_dir=arguments.data_dir,
    )  # fmt: skip
    print(shown)
    if run.folder.parent.name == "models":
        run_table.write_table(run.folder.parent)
    return 0


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
