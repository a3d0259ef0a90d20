"""Exact metrics of a run on one side of its split."""

import argparse
import logging
import sys

from orpheus import cli
from orpheus.errors import DataError

log = logging.getLogger("orpheus.evaluate")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.evaluate",
        "Exact ROC-AUC and PR-AUC (average precision) per class, micro and macro, over the mean of all windows of a "
        "track and over single windows. Prints a table and writes RUN/metrics.json. Experiments are scored as their config "
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
    result.add_argument("--batch-size", type=int, default=32, metavar="N", help="windows per pass")
    of = result.add_argument_group("of an experiment's run")
    of.add_argument("--data-dir", metavar="DIR", help="data folder; where the run's was if not given")
    of.add_argument("-k", type=int, metavar="K", help="length of recommendation lists; the config's if not given")
    of.add_argument("--baselines", action="store_true", help="random, popularity, nearest neighbours, upper bound too")
    of.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="replicates of 95 %% intervals; 0: none")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.run import Run
    from orpheus.tasks import experiments

    run = experiments.find_run(arguments.run, arguments.data_dir)
    if arguments.compare_tags:
        return _compare(run, Run.open(arguments.compare_tags), arguments)
    if experiments.is_experiment(run):
        return _items(run, arguments)
    from orpheus.tasks import tagging

    data = tagging.reopen_data(run, tfrecords_dir=arguments.tfrecords_dir)
    result = evaluate(run, data, arguments.split, batch_size=arguments.batch_size)
    stored = run.read("metrics") if (run.folder / "metrics.json").exists() else {}
    run.write("metrics", {**stored, arguments.split: result})
    print(table(result, arguments.split))
    return 0


def _compare(run, tag_run, arguments: argparse.Namespace) -> int:
    """A cluster run against a tag run."""
    from orpheus.tasks import comparison

    result = comparison.compare(
        run,
        tag_run,
        arguments.split,
        tfrecords_dir=arguments.tfrecords_dir,
        batch_size=arguments.batch_size,
        progress=lambda items: cli.progress(items, desc=f"evaluate {arguments.split}", unit="batch"),
    )
    run.write("comparison", result)
    print(comparison.table(result))
    return 0


def _items(run, arguments: argparse.Namespace) -> int:
    """An experiment's run on a set of its data folder."""
    from orpheus import experiment
    from orpheus.tasks import experiments

    subset = "val" if arguments.split == "valid" else arguments.split
    shown = experiment.evaluate(
        run, subset, k=arguments.k, replicates=arguments.bootstrap, with_baselines=arguments.baselines,
        data_dir=arguments.data_dir,
    )  # fmt: skip
    print(shown)
    if run.folder.parent.name == "models":
        experiments.write_table(run.folder.parent)
    return 0


def evaluate(run, data, split: str, *, batch_size: int = 32) -> dict:
    """Metrics of a run on one side of its split, as metrics.json holds them.

    Args:
        run: The run; its model.keras is evaluated.
        data: `tagging.reopen_data(run)`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Windows per pass.
    """
    import numpy as np

    from orpheus.data import pipeline
    from orpheus.learning import inference, ranking
    from orpheus.tasks import tagger, tagging

    part = data.part(split)
    truth = part.truth()
    if not len(truth):
        raise DataError(f"{data.catalogue.folder}: no {split} track has any of the {len(data.targets.classes)} classes")
    windows = pipeline.Windows(tagging.load_config(run).training.window_length)
    batches = pipeline.all_windows(part, windows, batch_size=batch_size)
    mean, scores, owner = inference.by_track(
        tagger.load_model(run),
        batches,
        len(truth),
        progress=lambda items: cli.progress(items, desc=f"evaluate {split}", unit="batch"),
    )
    classes = data.targets.classes
    return {
        "split_hash": data.digest(),
        "tracks": len(truth),
        "windows": len(owner),
        "mean_of_windows": ranking.summarise(truth, mean, classes),
        "single_windows": ranking.summarise(np.asarray(truth)[owner], scores, classes),
    }


def table(result: dict, split: str) -> str:
    """The metrics as text: classes by falling PR-AUC, then the means."""
    summary = result["mean_of_windows"]
    rows = sorted(summary["per_class"].items(), key=lambda item: -(item[1]["pr_auc"] or 0))
    width = max(len(name) for name, _ in rows)
    lines = [
        f"{split}: {result['tracks']} tracks, {result['windows']} windows",
        f"{'class':<{width}}  positives  ROC-AUC   PR-AUC",
    ]
    for name, row in rows:
        lines.append(f"{name:<{width}}  {row['positives']:>9}  {_number(row['roc_auc'])}  {_number(row['pr_auc'])}")
    lines.append("")
    for kind, title in (("mean_of_windows", "mean of windows"), ("single_windows", "single windows")):
        for average in ("macro", "micro"):
            values = result[kind][average]
            lines.append(
                f"{title:<16} {average}  ROC-AUC {_number(values['roc_auc'])}  PR-AUC {_number(values['pr_auc'])}"
            )
    if summary["left_out"]:
        lines.append(f"left out of the macro means (one kind of label only): {', '.join(summary['left_out'])}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return f"{value:7.4f}" if value is not None else "      –"


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
