"""Runs brought onto the tracks and classes that they share, and their differences by the same draws of artists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orpheus.learning.evaluation import areas as evaluation_areas
from orpheus.learning.evaluation import bootstrap
from orpheus.tasks.report import svg
from orpheus.tasks.report.html import Section, table, warning
from orpheus.tasks.report.reported_runs import ReportedRun
from orpheus.tasks.report.sections import AREAS, signed
from orpheus.tasks.scores import Scores

_MANY = 1_000_000  # scores from which on fewer replicates do


@dataclass(frozen=True)
class Common:
    """The tracks and classes that all runs have, in the first one's order, and resampled areas of each run.

    Attributes:
        scores: A `Scores` per run, all with the same ids, classes and truth.
        replicates: Areas per run, the same draws for all.
        notes: What could not be compared.
    """

    scores: tuple[Scores, ...]
    replicates: tuple[bootstrap.Replicates, ...]
    notes: tuple[str, ...]

    def columns(self, numbers: Sequence[int]) -> "Common":
        """Of these classes alone, by number; macro means are over them, micro means stay those of all."""
        drawn = []
        for one in self.replicates:
            pairs = np.stack([one.roc[:, numbers], one.pr[:, numbers]], axis=2)
            both = ~np.isnan(pairs).any(axis=2, keepdims=True)
            number = both.sum(axis=1)
            empty = np.full((len(pairs), 2), np.nan)
            macro = np.divide(np.where(both, pairs, 0).sum(axis=1), number, out=empty, where=number > 0)
            drawn.append(bootstrap.Replicates(pairs[..., 0], pairs[..., 1], macro, one.micro))
        return Common(tuple(one.columns(numbers) for one in self.scores), tuple(drawn), self.notes)


def common(reported: Sequence[ReportedRun]) -> Common | None:
    """Bring the runs' scores onto the same tracks and classes; None where one has none, or nothing is in common."""
    scores = [one.scores for one in reported if one.scores is not None]
    if len(scores) < len(reported):
        return None
    others = [set(one.ids) for one in scores[1:]]
    ids = [track for track in scores[0].ids if all(track in other for other in others)]
    classes = [name for name in scores[0].classes if all(name in one.classes for one in scores[1:])]
    if not ids or not classes:
        return None
    aligned = [_aligned(one, ids, classes) for one in scores]
    notes = []
    for one, mine in zip(reported, scores, strict=True):
        left = (len(mine.ids) - len(ids), len(mine.classes) - len(classes))
        if any(left):
            notes.append(f"{one.name}: {left[0]} tracks and {left[1]} classes are not in all runs and not compared")
    truth, groups = aligned[0].truth, aligned[0].groups
    for index, one in enumerate(reported[1:], 1):
        if changed := int((aligned[index].truth != truth).sum()):
            notes.append(
                f"{one.name}: {changed} annotations differ from {reported[0].name}'s, which are taken for both"
            )
        aligned[index] = replace(aligned[index], truth=truth)
    n = 1000 if truth.size <= _MANY else 200
    drawn = tuple(bootstrap.replicate_areas(truth, one.scores, groups, n=n) for one in aligned)
    return Common(tuple(aligned), drawn, tuple(notes))


def _aligned(scores: Scores, ids: Sequence[str], classes: Sequence[str]) -> Scores:
    row = {track: index for index, track in enumerate(scores.ids)}
    return scores.rows([row[track] for track in ids]).columns([scores.classes.index(name) for name in classes])


def mean_differences(
    reported: Sequence[ReportedRun],
    shared: Common,
    *,
    averages: Mapping[str, str],
    areas: Mapping[str, str] = AREAS,
) -> list[list[Any]]:
    """Rows of a table: every further run's means against the first's, each draw of groups serving both.

    Args:
        reported: As `shared` has them.
        shared: Of them.
        averages: ``"macro"`` and ``"micro"``, as far as they are wanted → what they are called.
        areas: Area → what it is called.
    """
    first, rows = shared.scores[0], []
    means = [evaluation_areas.summarise(first.truth, one.scores, first.classes) for one in shared.scores]
    for index, one in enumerate(reported[1:], 1):
        for average, title in averages.items():
            replicates = getattr(shared.replicates[index], average) - getattr(shared.replicates[0], average)
            low, high = bootstrap.percentiles(replicates)
            for column, key in enumerate(evaluation_areas.AREAS):
                a, b = means[index][average][key], means[0][average][key]
                if a is not None and b is not None:
                    entry = {"value": a - b, "low": float(low[column]), "high": float(high[column])}
                    name = f"{title} {areas[key]}".strip()
                    rows.append([f"{one.name} − {reported[0].name}", name, signed(entry, 4)])
    return rows


def section(
    reported: Sequence[ReportedRun],
    shared: Common,
    rows: Sequence[Sequence[Any]],
    *,
    areas: Mapping[str, str] = AREAS,
    note: str = "",
) -> Section:
    """Differences of means as a table, and each class's areas of every further run against the first's.

    Args:
        reported: As `shared` has them.
        shared: Of them.
        rows: Of `mean_differences`, and others like them.
        areas: Area → what it is called.
        note: Said behind what is said of all.
    """
    first = shared.scores[0]
    tracks, classes, kind = ("tracks", "classes", "class") if reported[0].tagging else ("songs", "tags", "tag")
    means = [evaluation_areas.summarise(first.truth, one.scores, first.classes) for one in shared.scores]
    plots = [
        _scatter((reported[0].name, one.name), means[0], means[index], index, key, f"{areas[key]} of each {kind}")
        for index, one in enumerate(reported[1:], 1)
        for key in AREAS
    ]
    said = (
        f"On the {len(first.ids)} {tracks} and {len(first.classes)} {classes} that the "
        f"runs share. Each draw of {first.unit}s serves both runs, so the interval is of the difference itself: green or red "
        f"where it leaves zero out. {note}"
    )
    notes = "".join(warning(text) for text in shared.notes)
    body = f'{notes}{table(["runs", "mean", "difference, 95 % interval"], rows)}<div class="row">{"".join(plots)}</div>'
    return Section("Differences between runs", body, said.strip())


def _scatter(
    names: tuple[str, str], first: Mapping[str, Any], second: Mapping[str, Any], index: int, key: str, title: str
) -> str:
    plot = svg.Plot(x=(0, 1), y=(0, 1), title=title, x_label=names[0], y_label=names[1], width=530, height=470)
    plot.line([0, 1], [0, 1], "var(--soft)", thin=True, dashed=True)
    moved = []
    for name, row in first["per_class"].items():
        mine, theirs = row[key], second["per_class"][name][key]
        if mine is not None and theirs is not None:
            hint = f"{name}: {mine:.3f} → {theirs:.3f} ({row['positives']} positives)"
            plot.dot(mine, theirs, svg.colour(index), name=hint)
            moved.append((abs(theirs - mine), name, *plot.at(mine, theirs)))
    placed: list[tuple[float, float]] = []
    for _, name, x, y in sorted(moved, reverse=True):
        if len(placed) < 8 and all(abs(x - px) > 90 or abs(y - py) > 13 for px, py in placed):  # no name over another
            right = x < 380
            plot.text(x + (7 if right else -7), y + 4, name, kind="name", anchor="start" if right else "end")
            placed.append((x, y))
    return plot.svg()
