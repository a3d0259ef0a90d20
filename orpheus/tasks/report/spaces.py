"""Sections of a report on runs that rank songs for tags: retrieval's and joint ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.base.text_table import bounded
from orpheus.learning.evaluation import bootstrap
from orpheus.tasks.joint.metrics import song_precisions
from orpheus.tasks.report import paired, svg
from orpheus.tasks.report.html import Cell, Html, Section, escape, legend, table, warning
from orpheus.tasks.report.paired import Common
from orpheus.tasks.report.reported_runs import ReportedRun
from orpheus.tasks.report.sections import signed
from orpheus.tasks.retrieval import metrics as retrieval_metrics

_AREAS = {"pr_auc": "MAP", "roc_auc": "ROC-AUC"}
_TITLES = {"tag_songs": "Songs for a tag", "song_tags": "Tags of a song", "listener_songs": "Songs for a listener"}
_FIRST = ("MAP", "P@10", "ROC-AUC", "PR-AUC", "nDCG")


def questions(reported: Sequence[ReportedRun]) -> Section:
    """A table per question that any run answers: each run's figures with intervals, and what needs no model."""
    parts = []
    for question, title in _TITLES.items():
        rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any], str | None]] = []
        for index, one in enumerate(reported):
            figures, bounds = _answer(one, question)
            if figures:
                rows.append((one.name, figures, bounds, svg.colour(index)))
        if not rows:
            continue
        baselines: Mapping[str, Any] = next(
            (one.metrics["baselines"] for one in reported if one.metrics.get("baselines")), {}
        )
        rows += [(name, one[question], {}, None) for name, one in baselines.items() if one.get(question)]
        names = list(dict.fromkeys(key for _, figures, *_ in rows for key in figures if key.startswith(_FIRST)))
        heads = [
            "",
            *(Html(f"{escape(name)} [95 %]") if name == names[0] else name for name in names),
            f"{names[0]}, 0 to 1",
        ]
        lines = []
        for name, figures, bounds, colour in rows:
            cells = [_figure(figures.get(key), bounds.get(key)) for key in names]
            bar = svg.whiskers([(figures.get(names[0]), bounds.get(names[0]), colour or "var(--soft)")], width=220)
            shown = Html(f"<strong>{escape(name)}</strong>") if colour else name
            lines.append([shown, *cells, Html(bar)])
        parts.append(f"<h3>{title}</h3>{table(heads, lines, box=True)}")
    note = (
        "MAP is the mean of average precisions: over tags whose songs are looked for, over songs whose tags are, over listeners "
        "whose held-out songs are. Intervals are over artists, of P@10 over tags, of listeners' lists over listeners. Of new "
        "songs nobody knows how popular they are; the oracle does."
    )
    return Section("Results", "".join(parts), note)


def _answer(one: ReportedRun, question: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if question == "tag_songs":
        figures, bounds = one.songs_for_tags
    else:
        figures = one.metrics.get(question) or {}
        bounds = figures.get("intervals") or {}
    return {key: value for key, value in figures.items() if isinstance(value, int | float) or value is None}, bounds


def _figure(value: Any, bounds: Any) -> Cell:
    return Cell("–", None) if value is None else Cell(bounded(value, bounds, 4), value)


def tags(reported: Sequence[ReportedRun]) -> Section:
    """A row per tag: how well its songs are found, with intervals, by falling MAP of the first run."""
    answers = [one.songs_for_tags for one in reported]
    colours = [svg.colour(index) for index in range(len(reported))]
    names = list(dict.fromkeys(name for figures, _ in answers for name in figures.get("per_class", {})))
    tracks = max((figures.get("songs", 0) for figures, _ in answers), default=0)
    rows: list[list[Any]] = []
    for name in names:
        own = [figures.get("per_class", {}).get(name) or {} for figures, _ in answers]
        limits = [(bounds.get("per_class") or {}).get(name) or {} for _, bounds in answers]
        positives = next(one["positives"] for one in own if one)
        row: list[Any] = [name, positives]
        for metric, chance in (("MAP", positives / max(tracks, 1)), ("ROC-AUC", 0.5)):
            found = [
                (one.get(metric), limit.get(metric), c) for one, limit, c in zip(own, limits, colours, strict=True)
            ]
            row.append(Cell(Html(svg.whiskers(found, width=190, mark=chance)), found[0][0]))
            row.append(Cell(Html("<br>".join(escape(bounded(v, b)) for v, b, _ in found)), found[0][0]))
        shown = [one.get("P@10") for one in own]
        row.append(Cell(Html("<br>".join("–" if v is None else f"{v:.1f}" for v in shown)), shown[0]))
        rows.append(row)
    rows.sort(key=lambda row: -(row[2].key or 0))
    heads = ["tag", "positives", "average precision", "[95 %]", "ROC-AUC", "[95 %]", "P@10"]
    note = (
        "The dotted line is what chance reaches: the tag's share of the songs in average precision, a half in ROC-AUC."
    )
    body = legend([one.name for one in reported], colours) + table(heads, rows, sorts=True, box=True) if rows else ""
    return Section("Tags", body, note)


def differences(reported: Sequence[ReportedRun], shared: Common | None) -> Section:
    """Every further run's ranking of songs for tags against the first's, on the same songs and tags, draws paired."""
    if len(reported) < 2:
        return Section("Differences", "")
    if shared is None:
        older = [one.name for one in reported if one.scores is None and one.songs_for_tags[0].get("MAP") is not None]
        why = f"not compared song by song: {', '.join(older)} evaluated by an older orpheus; evaluate again"
        return Section("Differences between runs", warning(why) if older else "")
    hidden = {tag for one in reported for tag in one.config.get("retrieval", {}).get("zero_shot", ())}
    rows: list[list[Any]] = []
    for title, wanted in (("", False), ("zero-shot", True)):
        columns = [c for c, name in enumerate(shared.scores[0].classes) if (name in hidden) == wanted]
        if not columns:
            continue
        part = shared.columns(columns)
        rows += paired.mean_differences(reported, part, averages={"macro": title}, areas=_AREAS)
        rows += _first_ten(reported, part, title)
    rows += _tags_of_songs(reported, shared)
    note = "P@10 is drawn over tags."
    return paired.section(
        reported, shared, rows, areas={"pr_auc": "Average precision", "roc_auc": "ROC-AUC"}, note=note
    )


def _first_ten(reported: Sequence[ReportedRun], shared: Common, title: str) -> list[list[Any]]:
    """Differences of P@10: its mean is over tags, and so tags are drawn."""
    truth, classes = shared.scores[0].truth, shared.scores[0].classes
    values = []
    for stored in shared.scores:
        found = retrieval_metrics.summarise(truth, stored.scores, classes)["per_class"]
        values.append(np.array([np.nan if row["P@10"] is None else row["P@10"] for row in found.values()]))
    rows: list[list[Any]] = []
    for one, own in zip(reported[1:], values[1:], strict=True):
        change = own - values[0]
        if np.isnan(change).all():
            continue
        bounds = bootstrap.interval(change, range(len(change)), n=1000)
        entry = {"value": float(bounds.value), "low": float(bounds.low), "high": float(bounds.high)}
        rows.append([f"{one.name} − {reported[0].name}", f"{title} P@10".strip(), signed(entry, 4)])
    return rows


def _tags_of_songs(reported: Sequence[ReportedRun], shared: Common) -> list[list[Any]]:
    """Differences of the mean over songs of how well their tags are ranked, between runs that have probabilities."""
    first, rows = shared.scores[0], []
    if first.probabilities is None or not first.truth.any():
        return []
    base = song_precisions(first.truth, first.probabilities)
    for run, stored in zip(reported[1:], shared.scores[1:], strict=True):
        if stored.probabilities is not None:
            change = song_precisions(first.truth, stored.probabilities) - base
            bounds = bootstrap.interval(change, first.groups, n=1000)
            entry = {"value": float(bounds.value), "low": float(bounds.low), "high": float(bounds.high)}
            rows.append([f"{run.name} − {reported[0].name}", "tags of a song: MAP", signed(entry, 4)])
    return rows
