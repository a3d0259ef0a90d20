"""A tagger evaluated on one split: scores of every track, exact metrics with intervals, tables of them."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.base import csv_files, files
from orpheus.base.text_table import alone, bounded
from orpheus.data.batches import epochs
from orpheus.errors import DataError
from orpheus.learning.engine import inference
from orpheus.learning.evaluation import areas, bootstrap, calibration
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.scores import Scores
from orpheus.tasks.tagging.data import TaggingData, load_config, windows

log = logging.getLogger(__name__)
Progress = Callable[[Iterable], Iterable]
KINDS = {"mean_of_windows": "mean of windows", "single_windows": "single windows"}
_FEW = 20  # groups below which percentile intervals are known to be too narrow
_MANY = 1_000_000  # scores from which on 200 replicates do by default


def score(
    run: Run, data: TaggingData, split: str, *, batch_size: int = 32, progress: Progress = lambda items: items
) -> tuple[Scores, np.ndarray, np.ndarray]:
    """Run model.keras over all windows of one split.

    Args:
        run: Trained.
        data: `tagging.reopen_data(run)`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Windows per pass.
        progress: Wraps the batches.

    Returns:
        Means by track; (windows, classes) float32 of single windows; (windows,) index of each window's track.

    Raises:
        DataError: no track of that split has any of the classes.
    """
    records = data.records_of(split)
    rows, truth = records.rows(), records.truth()
    if not len(truth):
        raise DataError(f"{data.catalogue.folder}: no {split} track has any of the {len(data.targets.classes)} classes")
    batches = epochs.all_windows(records, windows(load_config(run)), batch_size=batch_size)
    mean, single, owner = inference.by_track(load_model(run), batches, len(truth), progress=progress)
    ids = tuple(row.track_id for row in rows)
    # A track of nobody stands alone. Where every group is one track, that is what is drawn.
    groups = tuple(row.group or row.track_id for row in rows)
    unit = "artist" if any(row.group and row.group != row.track_id for row in rows) else "track"
    return Scores(ids, groups, data.targets.classes, np.asarray(truth) > 0, mean, unit), single, owner


def evaluate(
    run: Run,
    data: TaggingData,
    split: str,
    *,
    batch_size: int = 32,
    replicates: int | None = None,
    leaks: Mapping[str, set[str]] | None = None,
    progress: Progress = lambda items: items,
) -> tuple[dict[str, Any], Scores]:
    """Metrics of a run on one split, as metrics.json holds them, each with its interval.

    Args:
        run: Trained.
        data: `tagging.reopen_data(run)`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Windows per pass.
        replicates: Of the bootstrap; 0 for no intervals, None for `default_replicates`.
        leaks: `read_leaks`: the metrics without these tracks, too.
        progress: Wraps the batches.

    Raises:
        DataError: no track of that split has any of the classes, or all of them leak.
    """
    found, single, owner = score(run, data, split, batch_size=batch_size, progress=progress)
    if replicates is None:
        replicates = default_replicates(found.truth.size)
    result: dict[str, Any] = {
        "hashes": data.hashes(),
        "tracks": len(found.ids),
        "windows": len(owner),
        "unit": found.unit,
        "mean_of_windows": summarise(found.truth, found.scores, found.groups, found.classes, replicates),
        "single_windows": summarise(
            found.truth[owner], single, np.array(found.groups)[owner], found.classes, replicates
        ),
    }
    result["mean_of_windows"]["calibration"] = calibration.summarise(
        found.truth, found.scores, found.classes, groups=found.groups, n=replicates
    )
    if leaks is not None:
        leaking = set().union(*leaks.values())
        rest = found.keep(np.array([track not in leaking for track in found.ids]))
        if not rest.ids:
            raise DataError(f"--without-leaks: all {len(found.ids)} {split} tracks leak; make another split")
        result["without_leaks"] = {
            "removed": {kind: len(tracks & set(found.ids)) for kind, tracks in leaks.items()},
            "tracks": len(rest.ids),
            "mean_of_windows": summarise(rest.truth, rest.scores, rest.groups, rest.classes, replicates),
        }
    return result, found


def default_replicates(scores: int) -> int:
    """1000, or 200 from a million scores on, where a thousand would take half a minute."""
    return 1000 if scores <= _MANY else 200


def summarise(truth, scores, groups, classes: Sequence[str], replicates: int) -> dict[str, Any]:
    """`areas.summarise` with the bounds of `bootstrap.area_intervals` under ``"intervals"`` (unless replicates=0)."""
    result = areas.summarise(truth, scores, classes)
    if replicates:
        result["intervals"] = bootstrap.area_intervals(truth, scores, groups, classes, n=replicates)
    return result


def read_leaks(path: str | os.PathLike, split: str) -> dict[str, set[str]]:
    """Tracks of one split that share something with a split the model has learned or been chosen from.

    Args:
        path: JSON of ``tools.split --audit … --audit-json``.
        split: Split that is evaluated; ``"test"`` is compared with training and validation, ``"valid"`` with training.

    Returns:
        Kind (track, artist, album, audio) → ids.

    Raises:
        DataError: not such a file, or the split is training itself.
    """
    learned = {"test": ("train", "valid"), "valid": ("train",)}.get(split)
    if learned is None:
        raise DataError(f"--without-leaks: the {split} split is what the model has learned; evaluate test or valid")
    values = files.read_json(path)
    leaks = values.get("leaks") if isinstance(values, dict) else None
    if not isinstance(leaks, dict) or not all(isinstance(shared, dict) for shared in leaks.values()):
        raise DataError(f"{path}: no audit; make one with python -m tools.split --audit RUN --audit-json FILE")
    return {
        kind: {
            track
            for splits in shared.values()
            if any(split in splits for split in learned)
            for track in splits.get(split, ())
        }
        for kind, shared in leaks.items()
    }


def check_comparable(run: Run, data: TaggingData, *, different_splits: bool = False) -> None:
    """Refuse records that are split otherwise than in training; say it where only their content differs.

    Raises:
        DataError: other tracks are in the splits, so that the model might be evaluated on what it has learned.
    """
    comparability.check_reopened(run, str(data.catalogue.folder), data.hashes(), different_splits=different_splits)


def table(result: dict[str, Any], split: str) -> str:
    """The metrics as text: classes by falling PR-AUC, then the means, all with their intervals."""
    summary = result["mean_of_windows"]
    bounds = summary.get("intervals")
    rows = sorted(summary["per_class"].items(), key=lambda item: -(item[1]["pr_auc"] or 0))
    width = max(len(name) for name, _ in rows)
    lines = [f"{split}: {result['tracks']} tracks, {result['windows']} windows"]
    if bounds and bounds["groups"] < 2:
        lines.append(alone(result["unit"]))
        bounds = None
    elif bounds:
        lines.append(
            f"in brackets: {100 * bounds['level']:g} % interval by {bounds['replicates']} bootstrap draws of "
            f"{bounds['groups']} {result['unit']}s"
        )
        if bounds["groups"] < _FEW:
            lines.append(
                f"{bounds['groups']} {result['unit']}s are few: the truth lies outside such intervals more often"
            )
    lines.append(f"{'class':<{width}}  positives  {'ROC-AUC':<{_width(bounds)}}  PR-AUC")
    for name, row in rows:
        cells = _cells(row, (bounds or {}).get("per_class", {}).get(name))
        lines.append(f"{name:<{width}}  {row['positives']:>9}  {cells[0]}  {cells[1]}".rstrip())
    lines.append("")
    shown = [(result[kind], title) for kind, title in KINDS.items()]
    if "without_leaks" in result:
        shown.append((result["without_leaks"]["mean_of_windows"], "without leaks"))
    for metrics, title in shown:
        for average in ("macro", "micro"):
            cells = _cells(metrics[average], metrics.get("intervals", {}).get(average))
            lines.append(f"{title:<16} {average}  ROC-AUC {cells[0]}  PR-AUC {cells[1]}".rstrip())
    if "calibration" in summary:
        lines.append(calibration.described(summary["calibration"]))
    if "without_leaks" in result:
        rest = result["without_leaks"]
        shared = ", ".join(f"{kind} {count}" for kind, count in rest["removed"].items() if count) or "none"
        lines.append(
            f"without leaks: {rest['tracks']} tracks that share nothing with the other splits (left out: {shared})"
        )
    if summary["left_out"]:
        lines.append(f"left out of the macro means (one kind of label only): {', '.join(summary['left_out'])}")
    return "\n".join(lines)


def _width(bounds: Any) -> int:
    return 25 if bounds else 7


def _cells(row: Mapping[str, float | None], bounds: Mapping[str, Any] | None) -> list[str]:
    """Both areas as fixed-width text, with brackets where there are bounds for the table."""
    cells = []
    for key in areas.AREAS:
        text = " " + bounded(row[key], (bounds or {}).get(key), 4)
        cells.append(f"{text:<{_width(bounds)}}")
    return cells


def write_csv(path: str | os.PathLike, result: dict[str, Any]) -> None:
    """Write the metrics as a table: kind, class (or macro, micro), positives, and each area with its bounds."""
    kinds = {kind: result[kind] for kind in KINDS}
    if "without_leaks" in result:
        kinds["without_leaks"] = result["without_leaks"]["mean_of_windows"]
    columns = [f"{key}{end}" for key in areas.AREAS for end in ("", "_low", "_high")]
    rows: list[list[Any]] = [["scores", "class", "positives", *columns]]
    for kind, metrics in kinds.items():
        bounds = metrics.get("intervals", {})
        means = {average: (metrics[average], bounds.get(average)) for average in ("macro", "micro")}
        per_class = {name: (row, bounds.get("per_class", {}).get(name)) for name, row in metrics["per_class"].items()}
        for name, (row, limits) in [*means.items(), *per_class.items()]:
            cells: list[Any] = []
            for key in areas.AREAS:
                low, high = (limits or {}).get(key) or (None, None)
                cells += ["" if value is None else f"{value:.6f}" for value in (row[key], low, high)]
            rows.append([kind, name, row.get("positives", ""), *cells])
    with files.atomic(Path(path).expanduser()) as file:
        csv_files.write(file, rows)
