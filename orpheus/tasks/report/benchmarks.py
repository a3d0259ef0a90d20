"""Section of a report on public data sets: published figures beside the runs', or why they do not compare."""

from collections.abc import Sequence

import numpy as np

from orpheus.data.collection.datasets import published
from orpheus.tasks.report.html import Cell, Html, Section, escape, table, warning
from orpheus.tasks.report.reported_runs import ReportedRun
from orpheus.tasks.report.sections import AREAS
from orpheus.tasks.scores import Scores

_HEADS = {**{key: f"macro {name}" for key, name in AREAS.items()}, "accuracy": "accuracy"}


def section(reported: Sequence[ReportedRun], split: str) -> Section:
    """Published figures of the split that the runs are of; empty where none is of a public data set's.

    Args:
        reported: Evaluated taggers.
        split: Which part their figures are of; published ones are of ``"test"``.
    """
    rows: list[list[object]] = []
    notes, shown = "", set()
    for one in reported:
        sha256 = (one.metrics.get("hashes") or one.about.get("hashes") or {}).get("split", "")
        entry, why = published.compare(sha256, one.about.get("benchmark"), one.classes, one.metrics.get("tracks", 0))
        if why and split == "test":
            notes += warning(f"{one.name} is not compared with published figures: {why}")
        if entry is None or split != "test" or not entry.figures:
            continue
        rows.append([Html(f"<strong>{escape(one.name)}</strong>"), "this run", *map(_cell, _own(one)), ""])
        if id(entry) not in shown:
            shown.add(id(entry))
            for figure in entry.figures:
                values = [_cell(figure.values.get(key)) for key in _HEADS]
                rows.append([figure.model, figure.source, *values, "yes" if figure.checked else "no"])
    note = "Published figures were measured on the same split, classes and test tracks; whoever quotes one that was not checked twice should look into the paper."
    body = table(["model", "source", *_HEADS.values(), "checked twice"], rows, box=True) if rows else ""
    return Section("Published figures", notes + body, note if rows else "")


def _own(one: ReportedRun) -> list[float | None]:
    macro = one.summary.get("macro", {})
    return [*(macro.get(key) for key in AREAS), accuracy(one.scores)]


def accuracy(scores: Scores | None) -> float | None:
    """Share of tracks whose highest score is on their class, where every track has exactly one; else None."""
    if scores is None or not (scores.truth.sum(axis=1) == 1).all():
        return None
    return float((scores.scores.argmax(axis=1) == scores.truth.argmax(axis=1)).mean())


def _cell(value: float | None) -> Cell:
    return Cell("–", None) if value is None or np.isnan(value) else Cell(f"{value:.4f}", value)
