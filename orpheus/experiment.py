"""A named experiment on a data folder: train, predict and evaluate in one go, or each alone."""

import argparse
import logging
import shlex
import signal
import sys
from pathlib import Path

from orpheus import cli
from orpheus.errors import ConfigError, DataError

log = logging.getLogger("orpheus.experiment")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.experiment",
        "Run an experiment of configs/experiments on a data folder: train, predict the test set, evaluate. The run is "
        "DATA/models/model_N; all runs are rows of DATA/models/trained_models.tsv.",
        example="python -m orpheus.experiment rec_multi a-sem-emb audio-emb --data-dir data --set model-training.epochs=20",
    )
    result.add_argument("name", nargs="?", metavar="NAME", help="experiment, or a JSON file like those there")
    result.add_argument(
        "settings", nargs="*", metavar="SETTING", help="features of its inputs, X_SET_SETTING_DATASET, in their order"
    )
    data = result.add_argument_group("data and config")
    data.add_argument("--data-dir", metavar="DIR", help="data folder: ./data, or where the run's was with --resume")
    data.add_argument(
        "--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="change one value; repeatable"
    )
    what = result.add_argument_group("what is done")
    what.add_argument("--list", action="store_true", help="show the trained models, and the experiments there are")
    what.add_argument(
        "--different-splits", action="store_true", help="with --list: one table of all, not one for each split"
    )
    what.add_argument(
        "--only", choices=("train", "predict", "evaluate"), help="one step; the last two of the newest such run"
    )
    what.add_argument("--resume", metavar="RUN", help="go on with a run (a folder, or model_N) from its last epoch")
    how = result.add_argument_group("training")
    how.add_argument("--epochs", type=int, metavar="N", help="epochs in all; the config's if not given")
    how.add_argument("--cuda", type=int, nargs="+", metavar="I", help="GPUs, mirrored; the first one or the CPU")
    how.add_argument("--built-in", action="store_true", help="train with model.fit instead of the custom loop")
    how.add_argument("--seed", type=int, default=0, help="of weights, order, dropout and a drawn val set")
    scores = result.add_argument_group("evaluation")
    add_score_options(scores)
    return result


def add_score_options(group) -> None:
    """Options that orpheus.evaluate has too."""
    group.add_argument("-k", type=int, metavar="K", help="length of recommendation lists; the config's if not given")
    group.add_argument(
        "--baselines", action="store_true", help="random, popularity, nearest neighbours, upper bound too"
    )
    group.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="replicates of 95 %% intervals; 0: none"
    )


def body(arguments: argparse.Namespace) -> int:
    from orpheus.tasks import experiments

    models = Path(arguments.data_dir or "data").expanduser() / "models"
    if arguments.list:
        print(experiments.show(models, different_splits=arguments.different_splits))
        print(f"experiments: {', '.join(experiments.names())}")
        return cli.EXIT_OK
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ConfigError(f"--epochs {arguments.epochs}: must be at least 1")
    if arguments.resume:
        if arguments.name or arguments.set:
            raise ConfigError("--resume: the run keeps its own experiment and config; leave NAME and --set out")
        run = experiments.find_run(arguments.resume, arguments.data_dir)
        data_dir = None if (models / arguments.resume).is_dir() else arguments.data_dir
        train(run, data_dir=data_dir, epochs=arguments.epochs, cuda=arguments.cuda)
    elif not arguments.name:
        raise ConfigError(f"NAME is missing: one of {', '.join(experiments.names())}")
    else:
        config = experiments.load(arguments.name, arguments.settings, overrides=arguments.set)
        if arguments.only in ("predict", "evaluate"):
            run = _newest(models, Path(arguments.name).stem, arguments.settings)
        else:
            run = start(arguments, config, models)
    if arguments.only in (None, "predict"):
        predict(run)
    if arguments.only in (None, "evaluate"):
        print(evaluate(run, k=arguments.k, replicates=arguments.bootstrap, with_baselines=arguments.baselines))
    print(experiments.write_table(models))
    print(run.folder)
    return cli.EXIT_OK


def start(arguments: argparse.Namespace, config, models: Path):
    """Make a run and train it."""
    from orpheus.run import Run
    from orpheus.tasks import recommendation

    data = recommendation.open_data(models.parent, config, seed=arguments.seed)
    recommendation.build(data, seed=arguments.seed)  # refuses a network that cannot be, before there is a run
    command = ["python", "-m", "orpheus.experiment", *map(shlex.quote, sys.argv[1:])]
    run = Run.create_numbered(models, "model", command=command)
    run.write("config", config.to_json())
    if data.classes:
        run.write("classes", {"classes": list(data.classes)})
    about = recommendation.describe(data, Path(arguments.name).stem, seed=arguments.seed, built_in=arguments.built_in)
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
    from orpheus.learning import fit
    from orpheus.tasks import recommendation

    settings = run.read("run")
    data = data or recommendation.reopen_data(run, data_dir=data_dir)
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
        model = recommendation.train(data, run, options, strategy, seed=settings["seed"])
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
    from orpheus.data import layout, tables
    from orpheus.tasks import recommendation

    data = recommendation.reopen_data(run, data_dir=data_dir)
    folder = data.folder
    model = recommendation.load_model(run)
    name, setting = run.folder.name, ""
    if layer is not None:
        if folder.source(subset) != subset:
            raise ConfigError(f"-s {subset}: this folder has no {subset} items of its own; they are in -s train")
        model, setting = recommendation.hidden(model, layer), f"{name}-pred_{layer}"
    # A feature file has a row for each line of its set's index, the drawn val items included.
    ids = folder.items(subset) if layer is not None else getattr(data.splits, subset)
    values = recommendation.outputs(
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

    from orpheus import files
    from orpheus.tasks import recommendation, scores

    if replicates < 0 or (k is not None and k < 1):
        raise ConfigError(f"--bootstrap {replicates}, -k {k}: must be at least 0 and 1")
    data = recommendation.reopen_data(run, data_dir=data_dir)
    model = recommendation.load_model(run)
    values = recommendation.outputs(model, data.examples(subset))
    validation = None
    if data.config.evaluation == "multilabel" and subset != "val":
        validation = recommendation.outputs(model, data.examples("val"))
    result = scores.evaluate(
        data, values, subset, k=k, replicates=replicates, validation=validation, keep_per_user=True,
        progress=cli.progress,
    )  # fmt: skip
    if "per_user" in result:  # by which reports compare runs, user by user
        with files.atomic(run.folder / f"per_user_{subset}.npz", "wb") as file:
            np.savez_compressed(file, **{name: one.astype(np.float32) for name, one in result.pop("per_user").items()})
    result["hashes"] = data.hashes()
    if with_baselines:
        found = scores.compare(data, subset, k=k, replicates=replicates, progress=cli.progress)
        result["baselines"] = {
            name: {key: value for key, value in one.items() if key != "per_user"} for name, one in found.items()
        }
    stored = run.read("metrics") if (run.folder / "metrics.json").exists() else {}
    run.write("metrics", {**stored, subset: result})
    if "confusion" in result:
        scores.draw_confusion(result["confusion"], result["classes"], run.folder / f"confusion_{subset}.png")
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


def _newest(models: Path, name: str, settings: list[str]):
    """The newest trained run of an experiment with these settings."""
    from orpheus.run import Run
    from orpheus.tasks import experiments

    found = [row["id"] for row in experiments.trained(models) if row["experiment"] == name and (not settings or row["settings"] == " ".join(settings))]  # fmt: skip
    if not found:
        raise DataError(f"{models}: no run of {' '.join([name, *settings])}; train it first, without --only")
    return Run.open(models / found[-1])


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
