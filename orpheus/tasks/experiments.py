"""Named experiments (configs/experiments/NAME.json) and the table of trained models. Loads no TensorFlow but for URLs."""

import copy
import csv
import difflib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orpheus import config_experiment, files, resources
from orpheus.config_experiment import ExperimentConfig
from orpheus.errors import ConfigError, DataError
from orpheus.run import Run

FOLDER = resources.folder("configs") / "experiments"
COLUMNS = ("id", "experiment", "settings", "dataset", "split", "set", "parameters", "epochs", "best_epoch", "val_loss", "scores", "config")  # fmt: skip


def names() -> list[str]:
    """Names of the experiments that can be run; files that start with ``_`` are only what others extend."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if not path.stem.startswith("_"))


def load(name: str, settings: Sequence[str] = (), *, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The config of an experiment.

    Args:
        name: One of `names`, or the path of such a file. Its key ``extends`` names another one in the same folder,
            whose values it changes: sections are merged, other values replaced, null takes one out.
        settings: Features of the inputs that have a setting, in their order; fewer keep what the file gives.
        overrides: ``section.key=value`` strings.

    Raises:
        ConfigError: no such experiment, a wrong value in its file, or more settings than inputs.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file() or path.stem.startswith("_"):
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"{name}: no such experiment; {cure}")
    values = _resolve(path, ())
    takers = [key for key, value in (values.get("inputs") or {}).items() if value.get("kind") != "patches"]
    if len(settings) > len(takers):
        raise ConfigError(f"{name}: {len(settings)} settings for {len(takers)} inputs ({', '.join(takers) or 'none'})")
    for key, setting in zip(takers, settings, strict=False):
        values["inputs"][key]["setting"] = setting
    return config_experiment.parse(values, overrides=overrides, source=str(path))


def _resolve(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file, merged over those of the files that it extends."""
    if path in seen:
        raise ConfigError(f"{path}: extends itself by way of {seen[-1].name}")
    try:
        values = files.read_json(path)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: an experiment is a JSON object")
    parent = values.pop("extends", None)
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    return values if parent is None else _merge(_resolve(path.parent / f"{parent}.json", (*seen, path)), values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result


def find_run(name: str, data_dir: Path | str | None = None) -> Run:
    """A run by its folder, or by its name (model_1) in the models folder of a data folder.

    Args:
        name: Of either, or the URL of a run in object storage.
        data_dir: The data folder; ``data`` where it has such a run if None.

    Raises:
        DataError: neither is there.
    """
    if "://" in name:
        from orpheus import remote  # loads TensorFlow, whose file systems open it

        return remote.open_run(name)
    named = Path(data_dir or "data").expanduser() / "models" / name
    if Path(name).expanduser().is_dir() or not (named.is_dir() or data_dir):
        return Run.open(name)
    return Run.open(named)


def is_experiment(run: Run) -> bool:
    """Whether a run is of an experiment, not of a tagger."""
    return run.read("run").get("task") in ("recommendation", "classification")


def trained(models: Path) -> list[dict[str, Any]]:
    """A row per trained model in a models folder, by number: `COLUMNS`, as strings; made from the runs themselves."""
    rows = []
    runs = [path for path in models.glob("model_*") if (path / "run.json").is_file()]
    for path in sorted(runs, key=lambda one: (len(one.name), one.name)):
        run = Run(path)
        about, settings = run.read("run"), run.read("config")
        scores = run.read("metrics") if (path / "metrics.json").is_file() else {}
        history = run.read("history") if (path / "history.json").is_file() else []
        losses = [(epoch["val_loss"], epoch["epoch"]) for epoch in history if epoch.get("val_loss") is not None]
        subset = "test" if "test" in scores else next(iter(scores), "")
        rows.append(
            {
                "id": path.name,
                "experiment": about["experiment"],
                "settings": " ".join(map(str, about["settings"])),
                "dataset": settings["data"]["dataset"],
                "split": about.get("hashes", {}).get("split", "")[:8],
                "set": subset,
                "parameters": about.get("parameters", ""),
                "epochs": len(history),
                "best_epoch": min(losses)[1] if losses else "",
                "val_loss": f"{min(losses)[0]:.5f}" if losses else "",
                "scores": json.dumps(headline(scores.get(subset, {}))),
                "config": json.dumps(settings),
            }
        )
    return rows


def headline(scores: dict[str, Any]) -> dict[str, float]:
    """The few numbers of an evaluation that tell runs apart."""
    found = {key: value for key, value in scores.get("mean", {}).items() if key.startswith("MAP@") or key == "ROC"}
    found |= {key: scores[key] for key in ("accuracy", "f1", "R2") if isinstance(scores.get(key), float)}
    found |= {f"macro {key}": value for key, value in (scores.get("macro") or {}).items() if value is not None}
    return {key: round(value, 5) for key, value in found.items() if value is not None}


def write_table(models: Path) -> Path:
    """Write MODELS/trained_models.tsv anew from the runs; returns its path."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
    writer.writeheader()
    writer.writerows(trained(models))
    path = models / "trained_models.tsv"
    with files.atomic(path) as file:
        file.write(text.getvalue())
    return path


def show(models: Path, *, different_splits: bool = False) -> str:
    """The table of trained models for people, without the config: one for each split, whose numbers compare.

    Args:
        models: Their folder.
        different_splits: One table of all, the split in a column.
    """
    rows = trained(models)
    if not rows:
        return f"{models}: no trained models"
    parts = {(row["dataset"], row["split"]): None for row in rows}
    if different_splits or len(parts) == 1:
        return _table(rows)
    shown = []
    for dataset, split in parts:
        mine = [row for row in rows if (row["dataset"], row["split"]) == (dataset, split)]
        shown.append(f"{dataset}, split {split or 'unknown'}:\n{_table(mine)}")
    shown.append("numbers of different splits do not compare; --different-splits shows them in one table all the same")
    return "\n\n".join(shown)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = [name for name in COLUMNS if name != "config"]
    lines = [columns, *([str(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)  # fmt: skip
