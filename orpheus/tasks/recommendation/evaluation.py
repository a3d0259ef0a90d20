"""An experiment's run scored on a set of its data folder: metrics with intervals, and tables of them."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from orpheus.base import files
from orpheus.base.text_table import alone, bounded, number
from orpheus.learning.evaluation import calibration
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import job, metrics
from orpheus.tasks.recommendation.data import RecommendationData

log = logging.getLogger(__name__)
REPLICATES = 1000
RIVALS = ("popularity", "nearest neighbours")  # baselines that know no more than a model does


def check_comparable(run: Run, data: RecommendationData, *, different_splits: bool = False) -> None:
    """Refuse a data folder whose sets are others than those of the training; say it where only targets differ.

    Raises:
        DataError: other items are in the sets, so that the model may be evaluated on what it has learned.
    """
    comparability.check_reopened(run, str(data.folder.root), data.hashes(), different_splits=different_splits)


def evaluate(
    run: Run,
    data: RecommendationData,
    split: str,
    *,
    k: int | None = None,
    replicates: int | None = None,
    as_reference: bool = False,
    progress: Callable[..., Iterable] = lambda items, **options: items,
) -> dict[str, Any]:
    """Metrics of a run on a set, as metrics.json holds them; writes RUN/per_user_SET.npz and RUN/confusion_SET.png.

    Args:
        run: Trained.
        data: `data.reopen_data(run)`.
        split: ``"train"``, ``"val"`` or ``"test"``.
        k: Length of recommendation lists; the config's if None.
        replicates: Of the bootstrap; 0 for no intervals, None for `REPLICATES`.
        as_reference: The figures as tartarus computes them, too.
        progress: Makes progress bars.
    """
    replicates = REPLICATES if replicates is None else replicates
    model = load_model(run)
    values = job.outputs(model, data.examples(split))
    validation = None
    if data.config.evaluation == "multilabel" and split != "val":
        validation = job.outputs(model, data.examples("val"))
    result = metrics.evaluate(
        data,
        values,
        split,
        k=k,
        replicates=replicates,
        validation=validation,
        keep_per_user=True,
        progress=progress,
    )
    if has_probabilities(data):
        truth = metrics.class_truth(data, split) > 0
        result["calibration"] = calibration.summarise(
            truth, values, data.classes, groups=range(len(truth)), n=replicates
        )
    if as_reference:
        result["as_reference"] = metrics.as_reference(data, values, split, k=k)
    if "per_user" in result:  # by which reports compare runs, user by user
        with files.atomic(run.folder / f"per_user_{split}.npz", "wb") as file:
            np.savez_compressed(file, **{name: one.astype(np.float32) for name, one in result.pop("per_user").items()})
    result["hashes"] = data.hashes()
    if "confusion" in result:
        metrics.draw_confusion(result["confusion"], result["classes"], run.folder / f"confusion_{split}.png")
    return result


def has_probabilities(data: RecommendationData) -> bool:
    """Whether an experiment's outputs are the probabilities of its classes: trained by cross-entropy with them."""
    return data.config.data.fact == "class" and "crossentropy" in data.config.training.loss


def baselines(
    data: RecommendationData,
    split: str,
    *,
    k: int | None = None,
    replicates: int | None = None,
    progress: Callable[..., Iterable] = lambda items, **options: items,
) -> dict[str, Any]:
    """Scores of random, popularity, nearest neighbours and the upper bound: what `evaluate` gives, by name.

    Raises:
        DataError: what they need is not there.
    """
    replicates = REPLICATES if replicates is None else replicates
    found = metrics.compare(data, split, k=k, replicates=replicates, progress=progress)
    return {name: {key: value for key, value in one.items() if key != "per_user"} for name, one in found.items()}


def table(result: dict[str, Any], split: str, *, name: str) -> str:
    """An evaluation as text."""
    if "mean" in result:
        lines = [f"{split}: {result['items']} items, {result['users']} users", *_lists_table(result, name)]
    elif "confusion" in result:
        lines = [f"{split}: {result['items']} items"]
        for key in ("accuracy", "precision", "recall", "f1"):
            lines.append(f"{key:<10} {_shown(result, key)}")
        width = max(map(len, result["per_class"]))
        for label, row in result["per_class"].items():
            lines.append(
                f"{label:<{width}}  {row['support']:>6}  P {row['precision']:.3f}  R {row['recall']:.3f}  F1 {row['f1']:.3f}"
            )
    elif "macro" in result:
        lines = [f"{split}: {result['items']} items, {len(result['per_class'])} classes"]
        for kind in ("macro", "micro"):
            areas = {**result[kind], "intervals": (result.get("intervals") or {}).get(kind)}
            cells = [_shown(areas, key) for key in ("roc_auc", "pr_auc")]
            lines.append(f"{kind}  ROC-AUC {cells[0]}  PR-AUC {cells[1]}")
        lists = {**result["lists"], "intervals": (result.get("intervals") or {}).get("lists")}
        lines.append("  ".join(f"{key} {_shown(lists, key)}" for key in result["lists"]))
        lines.append("  ".join(f"{key} {number(value, 4)}" for key, value in result["diversity"].items()))
        if "at_thresholds" in result:
            found = "  ".join(f"{key} {number(value, 4)}" for key, value in result["at_thresholds"].items())
            lines.append(f"at thresholds chosen on val: {found}")
    else:
        lines = [f"{split}: {result['items']} items"]
    unit = "user" if "mean" in result else "item"
    if result[f"{unit}s"] == 1:
        lines.append(alone(unit))
    if result.get("R2") is not None:
        lines.append(f"R2 avg {_shown(result, 'R2')}")
    if "calibration" in result:
        lines.append(calibration.described(result["calibration"]))
    if "as_reference" in result:
        found = "  ".join(f"{key} {number(value, 4)}" for key, value in result["as_reference"].items())
        lines.append(f"as tartarus computes them: {found}")
    return "\n".join(lines)


def _lists_table(result: dict, name: str) -> list[str]:
    rows = {name: result, **result.get("baselines", {})}
    columns = [key for key in result["mean"] if not key.startswith(("Hit", "R@"))]
    width = max(map(len, rows))
    lines = [f"{'':<{width}}  {'  '.join(f'{column:>8}' for column in columns)}  {columns[0]}, 95 %"]
    for label, one in rows.items():
        values = "  ".join(f"{number(one['mean'][column], 4):>8}" for column in columns)
        first = bounded(one["mean"][columns[0]], (one.get("intervals") or {}).get(columns[0]), 4)
        lines.append(f"{label:<{width}}  {values}  {first}")
    lines.append(
        "  ".join(f"{key} {value:.3f}" for key, value in result["coverage"].items()) + "  (share of items on any list)"
    )
    others = {label: one["mean"][columns[0]] for label, one in result.get("baselines", {}).items()}
    if line := standing(result["mean"][columns[0]], others):
        lines.append(f"by {columns[0]}, {line}")
    return lines


def standing(value: float, others: dict[str, float]) -> str:
    """Whether the model beats what needs no training; the oracle and the upper bound know the answer and do not count.

    >>> standing(0.3, {"popularity": 0.2, "nearest neighbours": 0.4, "upper bound": 0.9})
    'the model loses to nearest neighbours (0.40000) and beats popularity: take the simpler one here'
    """
    ahead = [f"{name} ({one:.5f})" for name, one in others.items() if name in RIVALS and one >= value]
    behind = [name for name, one in others.items() if name in RIVALS and one < value]
    if not ahead:
        return f"the model beats {' and '.join(behind)}" if behind else ""
    beaten = f" and beats {' and '.join(behind)}" if behind else ""
    return f"the model loses to {' and '.join(ahead)}{beaten}: take the simpler one here"


def _shown(result: dict[str, Any], key: str) -> str:
    """A figure of a result with its bounds."""
    return bounded(result[key], (result.get("intervals") or {}).get(key), 4)
