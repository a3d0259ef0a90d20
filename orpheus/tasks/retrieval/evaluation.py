"""A retrieval run evaluated on one split: metrics with intervals, and the table of them."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from orpheus.base.text_table import alone, bounded, number
from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.retrieval import metrics
from orpheus.tasks.retrieval.data import Progress, RetrievalData, load_config
from orpheus.tasks.retrieval.embedding import score
from orpheus.tasks.retrieval.metrics import METRICS
from orpheus.tasks.scores import Scores

log = logging.getLogger(__name__)


def check_comparable(run: Run, data: Any, *, different_splits: bool = False, resumed: bool = False) -> None:
    """See that the data of a retrieval or joint run is what it was: the same songs in the same splits, and the same inputs.

    Args:
        run: The run.
        data: `reopen_data(run)` of its task.
        different_splits: Asked for by name: warn of other songs.
        resumed: The run trains on: other factors, texts or counts are refused, too, instead of a warning.

    Raises:
        DataError: songs are missing, or what is known of them is something else.
    """
    stored = run.read("run")
    for name, shape in data.shapes().items():
        was = tuple(stored["dimensions"].get(name, ()))
        if tuple(shape) != was:
            raise DataError(f"{run.folder}: was trained on {name} of shape {was}, and these have {tuple(shape)}")
    here, before = data.hashes(), stored["hashes"]
    if here["split"] != before["split"]:
        total = sum(map(len, stored["split"].values()))
        note = f"{run.folder}: {total - len(data.ids)} of its {total} songs are not there any more"
        if not different_splits:
            cure = "put them back" if resumed else "put them back; --different-splits evaluates the others all the same"
            raise DataError(f"{note}; {cure}")
        log.warning("%s: numbers do not compare with those of the whole", note)
        return
    for name in sorted(before):
        if here.get(name) != before[name]:
            note = f"{run.folder}: {name.replace('_', ' ')}: other values than those it was trained on"
            if resumed:
                raise DataError(f"{note}; put those back")
            log.warning("%s", note)


def evaluate(
    run: Run,
    data: RetrievalData,
    split: str,
    *,
    replicates: int | None = None,
    progress: Progress = lambda items: items,
) -> tuple[dict[str, Any], Scores]:
    """Metrics of a run on one split, as metrics.json holds them (see `metrics.summarise`), and what they are made from.

    Args:
        run: The run.
        data: `retrieval.reopen_data(run)`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        replicates: Of the 95 % intervals; None for 200, 0 for none.
        progress: Wraps the batches.
    """
    rows = data.songs_of(split)
    scores = score(load_model(run), data, rows, load_config(run), progress=progress)
    given, names = data.labels[rows], data.targets.classes
    result = metrics.summarise(given, scores, names, categories=data.categories, zero_shot=data.zero_shot)
    if replicates != 0:
        groups = [data.groups[row] for row in rows]
        result["intervals"] = metrics.intervals(
            given, scores, names, groups, zero_shot=data.zero_shot, n=replicates or 200
        )
    return {"hashes": data.hashes(), **result}, scores_of(data, rows, given, scores)


def scores_of(
    data: Any, rows: np.ndarray, labels: np.ndarray, scores: np.ndarray, probabilities: np.ndarray | None = None
) -> Scores:
    """What reports need of songs.

    Args:
        data: With ``ids``, ``groups`` and ``targets``.
        rows: Numbers of the songs.
        labels: (songs, tags) bool.
        scores: (songs, tags).
        probabilities: (songs, tags), where the model has some.
    """
    ids, groups = (tuple(values[row] for row in rows) for values in (data.ids, data.groups))
    unit = "song" if ids == groups else "artist"
    return Scores(ids, groups, tuple(data.targets.classes), labels, scores, unit, probabilities)


def table(result: Mapping[str, Any], split: str) -> str:
    """The metrics as text: tags by falling MAP, categories, means with their bounds."""
    rows = sorted(result["per_class"].items(), key=lambda item: -(item[1]["MAP"] or 0))
    width = max(16, *(len(name) for name, _ in rows))
    heads = "".join(f"{metric:>10}" for metric in METRICS)
    lines = [f"{split}: {result['songs']} songs", f"{'tag':<{width}}  positives{heads}"]
    for name, row in rows:
        lines.append(f"{name:<{width}}  {row['positives']:>9}{_cells(row)}")
    for name, row in result["categories"].items():
        lines.append(f"{'category ' + name:<{width}}  {row['tags']:>9}{_cells(row)}")
    bounds = result.get("intervals") or {}
    if bounds.get("groups") == 1:
        lines.append(alone("artist"))
    for key, title in (("macro", "mean over tags"), ("zero_shot", "zero-shot tags")):
        if result.get(key):
            lines.append(f"{title:<{width}}  {'':>9}{_cells(result[key])}")
            if bounds.get(key):
                shown = "  ".join(f"{m} {bounded(result[key][m], bounds[key][m], 4)}" for m in METRICS)
                lines.append(f"{'with 95 % intervals':<{width}}  {shown}")
    if result["left_out"]:
        lines.append(f"left out of the means (one kind of label only): {', '.join(result['left_out'])}")
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> str:
    return "".join(f"{number(row[metric], 4):>10}" for metric in METRICS)
