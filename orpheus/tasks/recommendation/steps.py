"""The steps of an experiment: start, train, predict, evaluate."""

import argparse
import logging
import shlex
import signal
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError

log = logging.getLogger(__name__)


def start(arguments: argparse.Namespace, config, models: Path):
    """Make a run and train it."""
    from orpheus.runs.folder import Run
    from orpheus.tasks.recommendation import job
    from orpheus.tasks.recommendation.data import describe, open_data

    data = open_data(models.parent, config, seed=arguments.seed)
    job.build(data, seed=arguments.seed)  # refuses a network that cannot be, before there is a run
    command = ["python", "-m", "orpheus.experiment", *map(shlex.quote, sys.argv[1:])]
    run = Run.create_numbered(models, "model", command=command)
    run.write("config", config.to_json())
    if data.classes:
        run.write("classes", {"classes": list(data.classes)})
    about = describe(data, Path(arguments.name).stem, seed=arguments.seed, built_in=arguments.built_in)
    run.write("run", about)
    train(run, epochs=arguments.epochs, cuda=arguments.cuda, data=data)
    return run


def train(run, *, data_dir=None, epochs: int | None = None, cuda=None, data=None) -> None:
    """Train a run from its start or its last epoch.

    Args:
        run: Its folder, with config.json and run.json.
        data_dir: Where its data folder is now; where it was if None.
        epochs: In all; run.json's if None.
        cuda: GPUs.
        data: Already open, of a new run.
    """
    from orpheus.learning.engine import fit
    from orpheus.tasks.recommendation import job
    from orpheus.tasks.recommendation.data import reopen_data

    settings = run.read("run")
    data = data or reopen_data(run, data_dir=data_dir)
    epochs = epochs or settings["epochs"]
    training = data.config.training
    strategy = fit.strategy(cuda)
    options = fit.Options(
        epochs=epochs, built_in=settings["built_in"], jit=training.jit, mixed_precision=training.mixed_precision,
        micro_batches=training.micro_batches, steps_per_execution=training.steps_per_execution, bar=cli.progress,
    )  # fmt: skip
    for subset, ids in data.splits._asdict().items():
        log.info("%s: %d items", subset, len(ids))
    log.info("run: %s", run.folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        model = job.train(data, run, options, strategy, seed=settings["seed"])
    except KeyboardInterrupt:
        log.warning("interrupted; go on with: python -m orpheus.experiment --resume %s", run.folder)
        raise
    run.write("run", {**settings, "epochs": epochs, "parameters": model.count_params()})
    if log.isEnabledFor(logging.DEBUG):
        model.summary(print_fn=log.debug)


def predict(run, subset: str = "test", *, layer: str | None = None, data_dir=None) -> list[Path]:
    """Write what a run, or a hidden layer of it, says of a set.

    Args:
        run: Trained.
        subset: ``"train"``, ``"val"`` or ``"test"``.
        layer: Name or index; its output becomes a feature file X_SET_RUN-pred_LAYER_DATASET.npy. None: the last one,
            to predictions/.
        data_dir: Where its data folder is now; where it was if None.

    Returns:
        The matrix and the index of its items.
    """
    from orpheus.data.items import layout, tables
    from orpheus.runs.models import load_model
    from orpheus.tasks.recommendation import job
    from orpheus.tasks.recommendation.data import reopen_data

    data = reopen_data(run, data_dir=data_dir)
    folder = data.folder
    model = load_model(run)
    name, setting = run.folder.name, ""
    if layer is not None:
        if folder.source(subset) != subset:
            raise ConfigError(f"-s {subset}: this folder has no {subset} items of its own; they are in -s train")
        model, setting = job.hidden(model, layer), f"{name}-pred_{layer}"
    # A feature file has a row for each line of its set's index, the drawn val items included.
    ids = folder.items(subset) if layer is not None else getattr(data.splits, subset)
    values = job.outputs(
        model, data.examples(subset, ids=ids), progress=lambda items: cli.progress(items, desc=f"predict {subset}")
    )
    if layer is not None:
        paths = [*tables.save_sets(folder, setting, {subset: values})]
        index = folder.train_data / f"items_index_{subset}_{setting}_{folder.dataset}.tsv"
    else:
        paths = [folder.predictions / f"pred_{subset}_{name}_{folder.dataset}.npy"]
        tables.save_matrix(paths[0], values)
        index = folder.predictions / f"items_index_{subset}_{name}_{folder.dataset}.tsv"
    layout.write_ids(index, ids)
    log.info("%s: %s", paths[0], values.shape)
    return [*paths, index]


def evaluate(
    run, subset: str = "test", *, k: int | None = None, replicates: int = 1000, with_baselines: bool = False,
    data_dir=None,
) -> str:  # fmt: skip
    """Score a run on a set, write metrics.json (and confusion_SET.png), and return a table of it."""
    import numpy as np

    from orpheus.base import files
    from orpheus.runs.models import load_model
    from orpheus.tasks.recommendation import job, metrics
    from orpheus.tasks.recommendation.data import reopen_data

    if replicates < 0 or (k is not None and k < 1):
        raise ConfigError(f"--bootstrap {replicates}, -k {k}: must be at least 0 and 1")
    data = reopen_data(run, data_dir=data_dir)
    model = load_model(run)
    values = job.outputs(model, data.examples(subset))
    validation = None
    if data.config.evaluation == "multilabel" and subset != "val":
        validation = job.outputs(model, data.examples("val"))
    result = metrics.evaluate(
        data, values, subset, k=k, replicates=replicates, validation=validation, keep_per_user=True,
        progress=cli.progress,
    )  # fmt: skip
    if "per_user" in result:  # by which reports compare runs, user by user
        with files.atomic(run.folder / f"per_user_{subset}.npz", "wb") as file:
            np.savez_compressed(file, **{name: one.astype(np.float32) for name, one in result.pop("per_user").items()})
    result["hashes"] = data.hashes()
    if with_baselines:
        found = metrics.compare(data, subset, k=k, replicates=replicates, progress=cli.progress)
        result["baselines"] = {
            name: {key: value for key, value in one.items() if key != "per_user"} for name, one in found.items()
        }
    run.write_metrics(subset, result)
    if "confusion" in result:
        metrics.draw_confusion(result["confusion"], result["classes"], run.folder / f"confusion_{subset}.png")
    return table(result, run.folder.name, subset)


def table(result: dict, name: str, subset: str) -> str:
    """An evaluation as text."""
    if "mean" in result:
        lines = [f"{subset}: {result['items']} items, {result['users']} users", *_lists_table(result, name)]
    elif "confusion" in result:
        lines = [f"{subset}: {result['items']} items"]
        for key in ("accuracy", "precision", "recall", "f1"):
            lines.append(f"{key:<10} {result[key]:.4f}{_interval(result, key)}")
        width = max(map(len, result["per_class"]))
        for label, row in result["per_class"].items():
            lines.append(f"{label:<{width}}  {row['support']:>6}  P {row['precision']:.3f}  R {row['recall']:.3f}  F1 {row['f1']:.3f}")  # fmt: skip
    elif "macro" in result:
        lines = [f"{subset}: {result['items']} items, {len(result['per_class'])} classes"]
        for kind in ("macro", "micro"):
            areas = (result.get("intervals") or {}).get(kind) or {}
            cells = [_number(result[kind][key]) + _interval({"intervals": areas}, key) for key in ("roc_auc", "pr_auc")]
            lines.append(f"{kind}  ROC-AUC {cells[0]}  PR-AUC {cells[1]}")
        lists = {"intervals": (result.get("intervals") or {}).get("lists")}
        lines.append(
            "  ".join(f"{key} {_number(value)}{_interval(lists, key)}" for key, value in result["lists"].items())
        )
        lines.append("  ".join(f"{key} {_number(value)}" for key, value in result["diversity"].items()))
        if "at_thresholds" in result:
            found = "  ".join(f"{key} {_number(value)}" for key, value in result["at_thresholds"].items())
            lines.append(f"at thresholds chosen on val: {found}")
    else:
        lines = [f"{subset}: {result['items']} items"]
    if result.get("R2") is not None:
        lines.append(f"R2 avg {result['R2']:.4f}{_interval(result, 'R2')}")
    return "\n".join(lines)


def _lists_table(result: dict, name: str) -> list[str]:
    rows = {name: result, **result.get("baselines", {})}
    columns = [key for key in result["mean"] if not key.startswith(("Hit", "R@"))]
    width = max(map(len, rows))
    lines = [f"{'':<{width}}  {'  '.join(f'{column:>8}' for column in columns)}  {columns[0]}, 95 %"]
    for label, one in rows.items():
        values = "  ".join(f"{_number(one['mean'][column]):>8}" for column in columns)
        lines.append(f"{label:<{width}}  {values}  {_interval(one, columns[0])}")
    lines.append("  ".join(f"{key} {value:.3f}" for key, value in result["coverage"].items()) + "  (share of items on any list)")  # fmt: skip
    return lines


def _interval(result: dict, key: str) -> str:
    bounds = (result.get("intervals") or {}).get(key)
    return f" [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
