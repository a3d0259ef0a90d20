"""Several evaluated retrieval runs split by split: samplings, inputs and word vectors."""

import json
import logging
import statistics
from collections.abc import Sequence
from typing import Any

from orpheus.base.text_table import bounded
from orpheus.config import retrieval
from orpheus.errors import DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.retrieval.metrics import METRICS

log = logging.getLogger(__name__)
HEADS = ("input", "sampling", "vectors", "runs")
DIFFERS = "differs by"


def side_by_side(runs: Sequence[Run], split: str = "test", *, different_splits: bool = False) -> list[dict[str, str]]:
    """A row for each kind of run: runs that differ by seed alone are one, as mean ± standard deviation.

    Rows that differ in anything else than their heads say (another margin, more epochs) name it in the column
    `DIFFERS`. A single run has its 95 % interval instead where its evaluation has one. Means by category follow the others.

    Args:
        runs: Of task retrieval, evaluated on `split`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        different_splits: Put runs of different splits split by split, though their numbers do not compare.

    Raises:
        DataError: no run of that task, one that is not evaluated, or different splits.
    """
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    trained: dict[tuple[str, ...], dict[str, str]] = {}
    about = {}
    for run in runs:
        run.check_task("retrieval", "the table is of retrieval runs")
        settings, stored = run.read("run"), retrieval.as_trained(run.read("config"))
        config = retrieval.parse(stored, source=str(run.folder / "config.json")).to_json()
        scores = run.metrics().get(split)
        if scores is None:
            raise DataError(f"{run.folder}: not evaluated; run python -m orpheus.evaluate {run.folder} --split {split}")
        about[str(run.folder)] = scores
        made = _made(settings, config)
        kind = (*_kind(settings, config["retrieval"]), *(f"{key}={value}" for key, value in sorted(made.items())))
        trained[kind] = made
        kinds.setdefault(kind, []).append(scores)
    comparability.check_split(about, keys=("split",), different_splits=different_splits)
    counts = {folder: len(scores["per_class"]) for folder, scores in about.items()}
    if len({tuple(sorted(scores["per_class"])) for scores in about.values()}) > 1:
        shown = ", ".join(f"{folder} of {count}" for folder, count in counts.items())
        log.warning("means are over different tags, and compare with that in mind: %s", shown)
    columns = [("macro", m, m) for m in METRICS] + [("zero_shot", m, f"zero-shot {m}") for m in METRICS]
    categories = sorted({name for scores in about.values() for name in scores["categories"]})
    rows = []
    for kind, found in kinds.items():
        heads = kind[: len(HEADS) - 1]
        row = dict(zip(HEADS, (*heads, str(len(found))), strict=True))
        row[DIFFERS] = _differing(
            trained[kind], [made for other, made in trained.items() if other[: len(heads)] == heads]
        )
        for part, metric, title in columns:
            row[title] = _cell(found, part, metric)
        for name in categories:
            values = [scores["categories"].get(name, {}).get("MAP") for scores in found]
            row[f"{name}: MAP"] = _spread([value for value in values if value is not None])
        rows.append(row)
    empty = [key for key in rows[0] if all(row[key] == "–" for row in rows)] if rows else []
    return [{key: value for key, value in row.items() if key not in empty} for row in rows]


def _made(settings: dict, config: dict) -> dict[str, str]:
    """All that makes one run another than the next, but its seed, as key → value; places of files are not part of it."""
    training = {k: v for k, v in config["model-training"].items() if k not in ("log_dir", "tensorboard")}
    parts = {
        "": {key: settings.get(key) for key in ("epochs", "steps_per_epoch")},
        "vectors.": {"sha256": settings["vectors"].get("sha256", "")[:8]},
        "retrieval.": config["retrieval"],
        "model-training.": training,
        "tags.": config["tags"],
    }
    return {prefix + key: json.dumps(value) for prefix, values in parts.items() for key, value in values.items()}


def _differing(mine: dict[str, str], all_alike: Sequence[dict[str, str]]) -> str:
    """Those of a row's values that other rows of the same heads have otherwise."""
    keys = [key for key in mine if len({made.get(key) for made in all_alike}) > 1]
    return ", ".join(f"{key}={mine[key]}" for key in keys) or "–"


def _kind(settings: dict, section: dict) -> tuple[str, str, str]:
    kind = section["input_type"]
    if kind != "cf":
        kind += f" ({section['frontend']})"
    if section["input_type"] == "hybrid":
        kind += f", {section['fusion']}"
    sampling = "balanced" if section["is_balanced"] else "random"
    if section["is_weighted"]:
        sampling += "-weighted"
    sampling += f", {section['negatives']}"
    if section["loss"] != "triplet":
        sampling += f", {section['loss']}"
    return kind, sampling, settings["vectors"]["name"]


def _cell(found: Sequence[dict], part: str, metric: str) -> str:
    values = [scores[part][metric] for scores in found if scores.get(part)]
    values = [value for value in values if value is not None]
    bounds = ((found[0].get("intervals") or {}).get(part) or {}).get(metric) if len(found) == 1 else None
    return bounded(values[0], bounds, 4) if values and bounds else _spread(values)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"
