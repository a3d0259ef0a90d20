"""Section of a report on probabilities: do tags come true as often as the runs say?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orpheus.base.text_table import bounded
from orpheus.learning.evaluation import calibration
from orpheus.tasks.report import svg
from orpheus.tasks.report.html import Cell, Section, legend, table
from orpheus.tasks.report.reported_runs import ReportedRun

_FIGURES = {
    "ece": "ECE",
    "ece_by_sampling": "of perfect probabilities",
    "ece_macro": "ECE, mean over classes",
    "ece_macro_by_sampling": "of perfect probabilities",
    "brier": "Brier score",
}


def of(one: ReportedRun) -> Mapping[str, Any] | None:
    """What the evaluation found, or, of one of an older orpheus, what its scores say; None without probabilities."""
    part = one.metrics.get("mean_of_windows") or one.metrics.get("song_tags") or one.metrics
    if "calibration" in part:
        return part["calibration"]
    if one.scores is None or not one.tagging:
        return None
    return calibration.summarise(one.scores.truth, one.scores.scores, one.scores.classes, groups=one.scores.groups)


def section(reported: Sequence[ReportedRun]) -> Section:
    """Reliability curves, how probabilities are spread, the calibration error of runs and of their classes."""
    found = [(index, one.name, said) for index, one in enumerate(reported) if (said := of(one)) is not None]
    if not found:
        return Section("Calibration", "")
    rows = []
    for _, name, said in found:
        bounds = said.get("intervals") or {}
        rows.append([name, *(Cell(bounded(said.get(key), bounds.get(key), 4), said.get(key)) for key in _FIGURES)])
    names = legend([name for _, name, _ in found], [svg.colour(index) for index, _, _ in found])
    plots = f'<div class="row">{_curves(found)}{_spread(found)}</div>'
    body = names + plots + table(["run", *_FIGURES.values()], rows) + _classes(found)
    note = (
        "Every class of every track is a forecast; forecasts are put into fifteen bins by probability. On the diagonal what "
        "is said comes true as often as it is said to; below it the run says too much, above it too little. Upright lines: 95 % "
        "intervals. The expected calibration error (ECE) is the mean distance from the diagonal, weighted by how many "
        "forecasts a bin has, most of which lie near zero; by chance alone even perfect probabilities have some."
    )
    return Section("Calibration", body, note)


_Evaluations = Sequence[tuple[int, str, Mapping[str, Any]]]


def _curves(found: _Evaluations) -> str:
    plot = svg.Plot(
        x=(0, 1), y=(0, 1), title="Reliability", x_label="probability said", y_label="share that is true", height=440
    )
    plot.line([0, 1], [0, 1], "var(--soft)", thin=True, dashed=True)
    for index, name, said in found:
        bins, stroke = said["reliability"], svg.colour(index)
        plot.line([one["probability"] for one in bins], [one["frequency"] for one in bins], stroke, name=name)
        for one in bins:
            if one["low"] is not None:
                plot.line([one["probability"]] * 2, [one["low"], one["high"]], stroke, thin=True)
            hint = f"{name}: said {one['probability']:.3f}, true {one['frequency']:.3f} of {one['count']:,}"
            plot.dot(one["probability"], one["frequency"], stroke, name=hint)
    return plot.svg()


def _spread(found: _Evaluations) -> str:
    """Which share of a run's forecasts each bin has, on a scale of powers of ten: most tags are rare."""
    shares = [
        [one["count"] / sum(row["count"] for row in said["reliability"]) for one in said["reliability"]]
        for *_, said in found
    ]
    lowest = min(min(row) for row in shares)
    plot = svg.Plot(
        x=(0, 1),
        y=(min(_log(lowest) - 0.3, -1), 0),
        title="How often which probability is said",
        x_label="probability said",
        y_label="share of all, power of ten",
        height=440,
    )
    for (index, name, said), row in zip(found, shares, strict=True):
        points = [one["probability"] for one in said["reliability"]]
        plot.line(points, [_log(share) for share in row], svg.colour(index), name=name)
        for one, share in zip(said["reliability"], row, strict=True):
            hint = f"{name}: {one['count']:,} of about {one['probability']:.3f} ({share:.2%})"
            plot.dot(one["probability"], _log(share), svg.colour(index), name=hint)
    return plot.svg()


def _log(share: float) -> float:
    return math.log10(share)


def _classes(found: _Evaluations) -> str:
    """ECE of every class, folded away."""
    classes = list(dict.fromkeys(name for *_, said in found for name in said["per_class"]))
    rows: list[list[Any]] = []
    for name in classes:
        values = [said["per_class"].get(name) for *_, said in found]
        rows.append([name, *(Cell("–", None) if v is None else Cell(f"{v:.4f}", v) for v in values)])
    rows.sort(key=lambda row: -(row[1].key or 0))
    heads = ["class", *(f"ECE {name}" if len(found) > 1 else "ECE" for _, name, _ in found)]
    return f"<details><summary>of each class</summary>{table(heads, rows, sorts=True, box=True)}</details>"
