"""The table of trained experiments."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orpheus.base import files
from orpheus.runs.folder import Run

COLUMNS = (
    "id",
    "experiment",
    "settings",
    "dataset",
    "split",
    "set",
    "parameters",
    "epochs",
    "best_epoch",
    "val_loss",
    "scores",
    "config",
)


def trained(models: Path) -> list[dict[str, Any]]:
    """A row per trained model in a models folder, by number: `COLUMNS`, as strings; made from the runs themselves."""
    rows = []
    runs = [path for path in models.glob("model_*") if (path / "run.json").is_file()]
    for path in sorted(runs, key=lambda one: (len(one.name), one.name)):
        run = Run(path)
        about, settings = run.read("run"), run.read("config")
        scores, history = run.metrics(), run.history()
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
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
