"""Sections of a report that runs of all tasks have: configuration, curves, and every figure with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.base.text_table import alone, bounded, number
from orpheus.learning.evaluation import bootstrap
from orpheus.tasks.report import svg
from orpheus.tasks.report.html import Cell, Html, Section, escape, legend, table
from orpheus.tasks.report.reported_runs import ReportedRun

AREAS = {"pr_auc": "PR-AUC", "roc_auc": "ROC-AUC"}


def summary(reported: Sequence[ReportedRun], split: str) -> Html:
    """The cards on top."""
    cards = []
    for index, one in enumerate(reported):
        rows = {
            "task": " ".join(
                filter(
                    None,
                    [
                        one.about.get("task"),
                        one.about.get("network") or one.about.get("frontend") or one.about.get("experiment"),
                    ],
                )
            ),
            "weights": _published(one.about.get("pretrained")),
            "classes": len(one.classes) or None,
            "epochs": _epochs(one),
            "parameters": f"{one.about['parameters']:,}" if one.about.get("parameters") else None,
            f"{split} split": _judged(one),
            "split, records": ", ".join(str(h)[:8] for h in one.about.get("hashes", {}).values()) or None,
            "folder": str(one.run.folder),
        }
        listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows.items() if v)
        swatch = f'<i class="swatch" style="background:{svg.colour(index)}"></i>'
        head = f"<strong>{swatch}{escape(one.name)}</strong>" if len(reported) > 1 else ""
        cards.append(f'<div class="card">{head}<dl>{listed}</dl></div>')
    return Html(f'<div class="row">{"".join(cards)}</div>')


def _published(facts: Mapping[str, Any] | None) -> str | None:
    """Where ready weights come from, and what their author measured; these figures are of other tracks than ours."""
    if not facts:
        return None
    areas = ", ".join(f"{name} {value:.4f}" for name, value in facts["published"].items())
    return f"{facts['name']} of {facts['package']}, trained on {facts['trained_on']}; published there: {areas}"


def _epochs(one: ReportedRun) -> str | None:
    if not one.history:
        return None
    key = next((name for name in ("val_PR-AUC", "val_mean", "val_MAP") if name in one.history[-1]), "val_loss")
    sign = -1 if key == "val_loss" else 1
    evaluated = [(sign * row[key], row["epoch"], row[key]) for row in one.history if row.get(key) is not None]
    best = max(evaluated, default=None)
    return f"{len(one.history)}" + (f", best {best[1]} ({key} {best[2]:.4f})" if best else "")


def _judged(one: ReportedRun) -> str | None:
    metrics = one.metrics
    if not metrics:
        return "not evaluated yet"
    count = next((f"{metrics[key]} {key}" for key in ("tracks", "songs", "items") if key in metrics), "")
    bounds = metrics.get("mean_of_windows", metrics).get("intervals") or {}
    return count + (f" by {bounds['groups']} {metrics.get('unit', 'group')}s" if bounds.get("groups") else "")


def configuration(reported: Sequence[ReportedRun]) -> Section:
    """Every value of the configs; where there are several runs, first those that differ."""
    columns = [dict(_flat(one.config)) for one in reported]
    for column, one in zip(columns, reported, strict=True):
        column |= {
            f"run: {key}": value for key, value in _flat({k: one.about.get(k) for k in _SHOWN if k in one.about})
        }
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = [[key, *(_text(column.get(key)) for column in columns)] for key in keys]
    heads = ["key", *(one.name for one in reported)]
    command = "".join(
        f"<p><code>{escape((one.run.folder / 'command.txt').read_text(encoding='utf-8').strip())}</code></p>"
        for one in reported
        if (one.run.folder / "command.txt").is_file()
    )
    whole = f"<details><summary>all {len(rows)} values</summary>{table(heads, rows, box=True)}</details>"
    if len(reported) == 1:
        return Section("Configuration", command + whole)
    different = [row for row in rows if len(set(row[1:])) > 1]
    body = table(heads, different, box=True) if different else "<p>The configurations are the same.</p>"
    return Section("Configuration and its differences", body + command + whole)


_SHOWN = (
    *("frontend", "experiment", "input_type", "factors", "texts", "counts", "listener_factors"),
    *("seed", "epochs", "steps_per_epoch", "shuffle", "multi_tag", "built_in", "loss"),
)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif not key.startswith("_"):
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return "–" if value is None else str(value)


def curves(reported: Sequence[ReportedRun]) -> Section:
    """Loss, areas and learning rate over epochs."""
    keys = list(
        dict.fromkeys(
            key.removeprefix("val_") for one in reported for row in one.history for key in row if key != "epoch"
        )
    )
    keys.sort(key=lambda key: (key != "loss", not key.endswith("AUC"), key))
    plots = [_curve(reported, key) for key in keys]
    if any(one.rates for one in reported):
        longest = max(len(one.rates) for one in reported)
        top = max(max(one.rates, default=0) for one in reported)
        plot = svg.Plot(x=(1, max(longest, 2)), y=(0, 1.05 * top), title="learning rate", x_label="epoch")
        for index, one in enumerate(reported):
            if one.rates:
                plot.line(range(1, len(one.rates) + 1), one.rates, svg.colour(index), name=one.name)
        plots.append(plot.svg())
    if not plots:
        return Section("Training", "")
    names = legend([one.name for one in reported], [svg.colour(i) for i in range(len(reported))])
    note = (
        "Solid: validation; dashed: training, as a running mean over each epoch; hollow: the best epoch by validation."
    )
    return Section("Training", f'{names}<div class="row">{"".join(plots)}</div>', note)


def _curve(reported: Sequence[ReportedRun], key: str) -> str:
    values = [row[k] for one in reported for row in one.history for k in (key, f"val_{key}") if row.get(k) is not None]
    last = max((row["epoch"] for one in reported for row in one.history), default=1)
    if not values:
        return ""
    top = np.percentile(values, 99) if key == "loss" else max(values)  # a first epoch's loss would flatten the rest
    room = 0.06 * (top - min(values)) or 0.1
    low, high = min(values) - room, top + room
    if key.endswith("AUC"):
        low, high = max(low, 0.0), min(high, 1.0)
    plot = svg.Plot(x=(1, max(last, 2)), y=(low, high), title=key, x_label="epoch")
    for index, one in enumerate(reported):
        epochs = [row["epoch"] for row in one.history]
        stroke = svg.colour(index)
        for split, dashed in ((key, True), (f"val_{key}", False)):
            series = [None if row.get(split) is None else min(row[split], high) for row in one.history]
            if any(value is not None for value in series):
                plot.line(epochs, series, stroke, dashed=dashed, thin=dashed, name=f"{one.name}: {split}")
        evaluated = [
            (float(row[f"val_{key}"]), row["epoch"]) for row in one.history if row.get(f"val_{key}") is not None
        ]
        if evaluated and key.endswith(("AUC", "loss", "MAP", "mean")):
            best = min(evaluated) if key == "loss" else max(evaluated)
            plot.dot(
                best[1],
                best[0],
                stroke,
                name=f"{one.name}: best {key} {best[0]:.4f} at {best[1]}",
                radius=5,
                hollow=True,
            )
    return plot.svg()


def numbers(reported: Sequence[ReportedRun]) -> Section:
    """Every figure of an evaluation, whatever its task: scalars with their intervals, and tables of rows.

    A table of baselines begins with the run itself.
    """
    walked = [_walk(one.metrics) for one in reported]
    figures = [{name: (value, limits) for name, value, limits in scalars} for scalars, _ in walked]
    keys = list(dict.fromkeys(name for found in figures for name in found))
    rows = [[key, *(_figure(*found.get(key, (None, None)), digits=4) for found in figures)] for key in keys]
    heads = ["metric, 95 % interval", *(one.name for one in reported)]
    parts = [table(heads, rows, box=True) if rows else ""]
    for one, found, (_, tables) in zip(reported, figures, walked, strict=True):
        for name, (columns, lines) in tables.items():
            if name == "baselines":
                own = [one.name, *(_figure(*found.get(column, (None, None))) for column in columns[1:])]
                lines = [own, *lines]
            run = f"{one.name}: " if len(reported) > 1 else ""
            title = "classes" if name == "per_class" else name
            parts.append(f"<h3>{escape(run + title)}</h3>{table(columns, lines, sorts=True, box=True)}")
    return Section("Results", "".join(parts))


def user_differences(reported: Sequence[ReportedRun]) -> Section:
    """Every further run against the first, user by user: the draws of users serve both."""
    rows = []
    first = reported[0] if reported else None
    for one in reported[1:]:
        for name, (mine, theirs) in _of_same_users(first, one).items():
            found = bootstrap.interval(theirs - mine, range(len(mine)), n=1000)
            entry = {"value": float(found.value), "low": float(found.low), "high": float(found.high)}
            rows.append([f"{one.name} − {reported[0].name}", name, signed(entry, 4)])
    note = "Means over the users that have anything to find; green or red where the 95 % interval leaves zero out."
    body = table(["runs", "metric", "difference, 95 % interval"], rows, box=True) if rows else ""
    return Section("Differences between runs, by users", body, note)


def _of_same_users(first: ReportedRun | None, other: ReportedRun) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Metric → the values of both for the users that both have: by id, or, where ids were not kept, by number."""
    names = [name for name in other.per_user if first is not None and name in first.per_user]
    if first is None or not names:
        return {}
    if first.users and other.users:
        row = {user: index for index, user in enumerate(other.users)}
        pairs = [(index, row[user]) for index, user in enumerate(first.users) if user in row]
    else:
        alike = len(first.per_user[names[0]]) == len(other.per_user[names[0]])
        pairs = [(index, index) for index in range(len(first.per_user[names[0]]))] if alike else []
    if not pairs:
        return {}
    mine, theirs = map(list, zip(*pairs, strict=True))
    return {name: (first.per_user[name][mine], other.per_user[name][theirs]) for name in names}


_Scalars = list[tuple[str, Any, Any]]


def _walk(values: Mapping[str, Any], prefix: str = "", bounds: Any = None) -> tuple[_Scalars, dict[str, Any]]:
    """(name, figure, interval) of all figures, and tables of dicts of alike dicts; intervals mirror their values."""
    scalars: _Scalars = []
    tables: dict[str, Any] = {}
    bounds = values.get("intervals") or bounds or {}
    for key, value in values.items():
        # Intervals stand under the same key as what they bound, or, for means over users, without the level "mean".
        mine = bounds.get(key, bounds if key == "mean" else None) if isinstance(bounds, Mapping) else None
        if key in ("intervals", "hashes", "confusion", "classes", "thresholds", "calibration"):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            scalars.append((prefix + key, value, mine if isinstance(mine, list) else None))
        elif isinstance(value, Mapping) and value:
            if {"value", "low", "high"} <= value.keys():
                scalars.append((prefix + key, value["value"], [value["low"], value["high"]]))
            elif len(value) > 1 and all(isinstance(row, Mapping) for row in value.values()):
                tables[prefix + key] = _rows(value, mine)
            else:
                more, further = _walk(value, f"{prefix}{key} ", mine)
                scalars += more
                tables |= further
    return scalars, tables


def _rows(values: Mapping[str, Any], bounds: Any) -> tuple[list[str], list[list[Any]]]:
    """A table of dicts: a row each, a column per figure; a row's own means and intervals are taken out of it."""
    flat: dict[str, dict[str, Any]] = {}
    limits: dict[str, Any] = {}
    for name, row in values.items():
        scalars, _ = _walk(row, bounds=(bounds or {}).get(name) if isinstance(bounds, Mapping) else None)
        flat[name] = {key: value for key, value, _ in scalars}
        limits[name] = {key: limit for key, _, limit in scalars}
    columns = list(dict.fromkeys(key for row in flat.values() for key in row))
    first = next((key for key in columns if key not in ("positives", "support", "tags", "users")), None)
    order = sorted(flat, key=lambda name: -(flat[name].get(first) or 0)) if first else list(flat)
    lines = [[name, *(_figure(flat[name].get(key), limits[name].get(key)) for key in columns)] for name in order]
    return ["", *columns], lines


def _figure(value: Any, limits: Any, *, digits: int = 3) -> Any:
    if value is None:
        return Cell("–", None)
    return value if isinstance(value, int) else Cell(bounded(value, limits, digits), value)


def forest(reported: Sequence[ReportedRun]) -> Html:
    """Means with their intervals, the runs' one below the other: what is within chance of what."""
    rows = []
    for kind, title in (
        ("mean_of_windows", "mean of windows"),
        ("single_windows", "single windows"),
        ("without_leaks", "without leaks"),
    ):
        for average in ("macro", "micro"):
            for key, area in AREAS.items():
                found: list[tuple[float | None, Any, str]] = []
                for index, one in enumerate(reported):
                    part = one.metrics.get(kind) or {}
                    part = part.get("mean_of_windows", part)
                    bounds = ((part.get("intervals") or {}).get(average) or {}).get(key)
                    found.append((part.get(average, {}).get(key), bounds, svg.colour(index)))
                if any(value is not None for value, *_ in found):
                    texts = "<br>".join(bounded(value, bounds, 4) for value, bounds, _ in found)
                    rows.append([f"{average} {area}, {title}", Html(svg.whiskers(found, width=300)), Html(texts)])
    return table(["mean", "0 to 1", "value, 95 % interval"], rows)


def signed(entry: Mapping[str, float | None], digits: int = 3) -> Cell:
    """A difference with its interval, coloured where that leaves zero out."""
    if entry["value"] is None:
        return Cell("–", None)
    if entry["low"] is None or entry["high"] is None or np.isnan(entry["low"]):
        return Cell(f"{entry['value']:+.{digits}f} ({alone('group')})", number(entry["value"], 6))
    kind = "better" if entry["low"] > 0 else "worse" if entry["high"] < 0 else ""
    text = f"{entry['value']:+.{digits}f} [{entry['low']:+.{digits}f}, {entry['high']:+.{digits}f}]"
    return Cell(Html(f'<span class="{kind}">{text}</span>'), number(entry["value"], 6))
