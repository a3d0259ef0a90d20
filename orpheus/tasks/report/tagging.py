"""Sections of a report on taggers: classes, groups of them, differences of runs, distributions and confusions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.base.text_table import bounded, number
from orpheus.learning.evaluation import areas as evaluation_areas
from orpheus.learning.evaluation import bootstrap, classification
from orpheus.semantics import cooccurrence
from orpheus.tasks.report import paired, svg
from orpheus.tasks.report.html import Cell, Html, Section, escape, legend, table
from orpheus.tasks.report.paired import Common
from orpheus.tasks.report.reported_runs import ReportedRun
from orpheus.tasks.report.sections import AREAS, signed
from orpheus.tasks.scores import Scores

_LARGEST = 60  # classes in a heat map


def differences(reported: Sequence[ReportedRun], shared: Common | None) -> Section:
    """Every further run against the first, on the same tracks, draws paired."""
    if len(reported) < 2 or shared is None:
        return Section("Differences", "")
    rows = paired.mean_differences(reported, shared, averages={"macro": "macro", "micro": "micro"})
    return paired.section(reported, shared, rows)


def classes(reported: Sequence[ReportedRun], shared: Common | None) -> Section:
    """A row per class, sorted by PR-AUC of the first run: positives, both areas with intervals, and the difference."""
    names = list(dict.fromkeys(name for one in reported for name in one.summary["per_class"]))
    colours = [svg.colour(index) for index in range(len(reported))]
    difference = _class_differences(shared) if len(reported) == 2 and shared else {}

    def value(one: ReportedRun, name: str, key: str) -> tuple[Any, Any]:
        bounds = (one.summary.get("intervals") or {}).get("per_class", {}).get(name) or {}
        return one.summary["per_class"].get(name, {}).get(key), bounds.get(key)

    rows, tracks = [], max(one.summary["tracks"] for one in reported)
    for name in sorted(names, key=lambda n: -(value(reported[0], n, "pr_auc")[0] or -1)):
        positives = next(
            one.summary["per_class"][name]["positives"] for one in reported if name in one.summary["per_class"]
        )
        row: list[Any] = [name, positives]
        for key in AREAS:
            found = [value(one, name, key) for one in reported]
            rows_of = [(v, b, c) for (v, b), c in zip(found, colours, strict=True)]
            chance = 0.5 if key == "roc_auc" else positives / tracks
            bars = svg.whiskers(rows_of, width=210, mark=chance)
            row.append(Cell(Html(bars), found[0][0]))
            texts = "<br>".join(escape(bounded(v, b)) for v, b in found)
            row.append(Cell(Html(texts), found[0][0]))
        if difference:
            row.append(signed(difference[name]) if name in difference else Cell("–", None))
        rows.append(row)
    heads = ["class", "positives", "PR-AUC", "[95 %]", "ROC-AUC", "[95 %]"]
    if difference:
        heads.append("PR-AUC, second − first")
    note = (
        "Sorted by PR-AUC; a click on a head sorts by it. The dotted line is what chance reaches: the class's share of the "
        "tracks in PR-AUC, a half in ROC-AUC."
    )
    body = legend([one.name for one in reported], colours) + table(heads, rows, sorts=True, box=True)
    left_out = sorted({name for one in reported for name in one.summary["left_out"]})
    if left_out:
        body += f"<p class=note>Left out of the macro means (one kind of label only): {escape(', '.join(left_out))}</p>"
    return Section("Classes", body, note)


def _class_differences(shared: Common) -> dict[str, dict[str, float | None]]:
    first, second = shared.scores
    values = [evaluation_areas.average_precision(first.truth, one.scores) for one in (first, second)]
    low, high = bootstrap.percentiles(shared.replicates[1].pr - shared.replicates[0].pr)
    found = {}
    for c, name in enumerate(first.classes):
        three = (values[1][c] - values[0][c], low[c], high[c])
        found[name] = dict(
            zip(("value", "low", "high"), (None if np.isnan(v) else float(v) for v in three), strict=True)
        )
    return found


def distributions(reported: Sequence[ReportedRun]) -> Section:
    """Histograms of the classes' areas, with a density, each of area 1 so that runs of other sizes compare."""
    plots = []
    for key, title in AREAS.items():
        values = [[row[key] for row in one.summary["per_class"].values() if row[key] is not None] for one in reported]
        if max(map(len, values), default=0) < 2:
            continue
        plots.append(histogram(values, [one.name for one in reported], title))
    names = legend([one.name for one in reported], [svg.colour(i) for i in range(len(reported))])
    note = "How many classes reach what, every histogram normalised to area 1; the line is a Gaussian kernel density."
    return Section(
        "Distributions over classes", f'{names}<div class="row">{"".join(plots)}</div>' if plots else "", note
    )


def histogram(values: Sequence[Sequence[float]], names: Sequence[str], title: str) -> str:
    """Normalised histograms over 0 to 1 in 20 bins, with kernel densities, one over the other."""
    edges = np.linspace(0, 1, 21)
    heights = [np.histogram(one, edges, density=True)[0] for one in values]
    grid = np.linspace(0, 1, 200)
    densities = [density(np.asarray(one), grid) for one in values]
    top = max(max(h.max() for h in heights), max(d.max() for d in densities))
    plot = svg.Plot(
        x=(0, 1), y=(0, 1.08 * top), title=f"{title} of the classes", x_label=title, y_label="density", width=540
    )
    for index, (one, height) in enumerate(zip(values, heights, strict=True)):
        counts = np.histogram(one, edges)[0]
        for i, count in enumerate(counts):
            if count:
                plot.bar(
                    edges[i],
                    edges[i + 1],
                    height[i],
                    svg.colour(index),
                    name=f"{names[index]}: {count} classes, {edges[i]:.2f} to {edges[i + 1]:.2f}",
                )
    for index, line in enumerate(densities):
        plot.line(grid.tolist(), line.tolist(), svg.colour(index), name=names[index])
        mean = float(np.mean(values[index]))
        plot.line(
            [mean, mean],
            [0, 1.08 * top],
            svg.colour(index),
            dashed=True,
            thin=True,
            name=f"{names[index]}: mean {mean:.3f}",
        )
    return plot.svg()


def density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Gaussian kernel density by Scott's rule, the width at least 0.01 so that equal values have one, too."""
    width = max(values.std(ddof=1) * len(values) ** -0.2 if len(values) > 1 else 0.0, 0.01)
    kernels = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2)
    return kernels.sum(axis=1) / (len(values) * width * np.sqrt(2 * np.pi))


def groups(reported: Sequence[ReportedRun], shared: Common | None, members: Mapping[str, Sequence[str]]) -> Section:
    """Mean areas of groups of tags, with intervals where there are scores to resample."""
    if not members:
        return Section("Groups of tags", "")
    colours = [svg.colour(index) for index in range(len(reported))]
    rows, known = [], set(members_of_all(reported, shared))
    areas = (
        [evaluation_areas.summarise(one.truth, one.scores, one.classes) for one in shared.scores]
        if shared
        else [one.summary for one in reported]
    )
    for group, every in members.items():
        tags = [tag for tag in every if tag in known]
        row: list[Any] = [group, len(tags)]
        for key in AREAS:
            found = []
            for index, one in enumerate(areas):
                values = [v for tag in tags if (v := one["per_class"][tag][key]) is not None]
                found.append((float(np.mean(values)) if values else None, _group_bounds(shared, index, tags, key)))
            bars = [(mean, bounds, colour) for (mean, bounds), colour in zip(found, colours, strict=True)]
            row.append(Cell(Html(svg.whiskers(bars, width=210)), found[0][0]))
            row.append(Cell(Html("<br>".join(escape(bounded(*pair)) for pair in found)), found[0][0]))
        if tags:
            rows.append(row)
    body = table(["group", "classes", "PR-AUC", "mean [95 %]", "ROC-AUC", "mean [95 %]"], rows, sorts=True)
    listed = "".join(f"<dt>{escape(group)}</dt><dd>{escape(', '.join(tags))}</dd>" for group, tags in members.items())
    more = f'<details><summary>what is in the groups</summary><div class="card"><dl>{listed}</dl></div></details>'
    return Section("Groups of tags", legend([one.name for one in reported], colours) + body + more)


def members_of_all(reported: Sequence[ReportedRun], shared: Common | None) -> list[str]:
    """Classes that all runs have, so that a group is the same for each."""
    if shared is not None:
        return list(shared.scores[0].classes)
    first, *others = (one.summary["per_class"] for one in reported)
    return [name for name in first if all(name in other for other in others)]


def _group_bounds(shared: Common | None, index: int, tags: Sequence[str], key: str) -> list[float] | None:
    if shared is None:
        return None
    known = shared.scores[index].classes
    drawn = shared.replicates[index].pr if key == "pr_auc" else shared.replicates[index].roc
    columns = drawn[:, [known.index(tag) for tag in tags if tag in known]]
    there = ~np.isnan(columns)
    if not there.any():
        return None
    total, count = np.where(there, columns, 0).sum(axis=1), there.sum(axis=1)
    means = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return [float(bound) for bound in bootstrap.percentiles(means)]


def thresholds(one: ReportedRun) -> tuple[np.ndarray, bool]:
    """(classes,) thresholds of the best F1, and whether the validation tracks chose them (else the evaluated ones)."""
    assert one.scores is not None
    held = one.valid is not None and one.valid.classes == one.scores.classes
    source = one.valid if held and one.valid is not None else one.scores
    return classification.best_thresholds(source.truth, source.scores)[0], held


def confusion(one: ReportedRun, *, suffix: str = "") -> Section:
    """What is right and wrong at each class's best threshold, and which wrong tag comes with which right one."""
    scores = one.scores
    if scores is None:
        return Section("", "")
    limits, by_validation = thresholds(one)
    predicted = scores.scores >= np.where(np.isnan(limits), np.inf, limits)
    rows: list[list[Any]] = []
    for c, name in enumerate(scores.classes):
        truth, said = scores.truth[:, c], predicted[:, c]
        hit, false, miss = (int(x.sum()) for x in (truth & said, ~truth & said, truth & ~said))
        precision, recall = hit / (hit + false) if hit + false else None, hit / (hit + miss) if hit + miss else None
        f1 = 2 * hit / (2 * hit + false + miss) if hit + false + miss else None
        limit = None if np.isnan(limits[c]) else float(limits[c])
        rows.append(
            [
                name,
                Cell(number(limit), limit),
                hit,
                false,
                miss,
                len(truth) - hit - false - miss,
                *(Cell(number(v), v) for v in (precision, recall, f1)),
            ]
        )
    rows.sort(key=lambda row: row[2] / max(2 * row[2] + row[3] + row[4], 1), reverse=True)
    heads = ["class", "threshold", "true +", "false +", "false −", "true −", "precision", "recall", "F1"]
    heat = _false_with(scores, predicted)
    body = f'<div class="row">{table(heads, rows, sorts=True, box=True)}<div>{heat}</div></div>'
    where = (
        "the validation tracks" if by_validation else "these very tracks, which flatters (evaluate --split valid, too)"
    )
    return Section(f"Confusion{suffix}", body, f"At each class's threshold of the best F1, chosen on {where}.")


def _false_with(scores: Scores, predicted: np.ndarray) -> str:
    names, order = _largest(scores)
    truth, false = scores.truth[:, order], (predicted & ~scores.truth)[:, order]
    counts = truth.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (truth.T.astype(float) @ false) / (counts[:, None] - (truth.T.astype(float) @ truth))
    share[counts == 0] = np.nan
    share[~np.isfinite(share)] = np.nan
    picture = svg.heat_map(share, names, names, low=0, high=1, colours="Oranges")
    return (
        "<h3>Wrongly heard (columns) where a tag is true (rows)</h3><p class=note>Share of the row's tracks without<br>the "
        f"column's tag that get it all the same.</p>{picture}"
    )


def _largest(scores: Scores) -> tuple[list[str], np.ndarray]:
    """The most frequent classes, alike ones split by split (leaves of an average linkage by co-occurrence)."""
    counts = scores.truth.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:_LARGEST]
    order = order[counts[order] > 0]
    if len(order) > 2:
        from scipy.cluster import hierarchy
        from scipy.spatial import distance

        distances = cooccurrence.npmi_distances(_together(scores, order), len(scores.ids))
        np.fill_diagonal(distances, 0)
        order = order[hierarchy.leaves_list(hierarchy.linkage(distance.squareform(distances, checks=False), "average"))]
    return [scores.classes[c] for c in order], order


def _together(scores: Scores, order: np.ndarray) -> np.ndarray:
    hot = scores.truth[:, order].astype(np.int64)
    return hot.T @ hot


def cooccurrences(one: ReportedRun) -> Section:
    """Clusters with their members, and which classes meet on tracks."""
    body = ""
    targets = one.run.classes()
    columns, names = targets.columns, targets.classes
    clusters = targets.kind == "clusters" or len(columns) > len(names)
    if clusters:
        rows = []
        for index, name in enumerate(names):
            tags = sorted(tag for tag, column in columns.items() if column == index)
            row = one.summary["per_class"].get(name, {})
            rows.append(
                [
                    name,
                    len(tags),
                    row.get("positives"),
                    Cell(number(row.get("pr_auc")), row.get("pr_auc")),
                    ", ".join(tags),
                ]
            )
        body += table(["cluster", "tags", "positives", "PR-AUC", "members"], rows, sorts=True, box=True)
    if one.scores is not None:
        shown, order = _largest(one.scores)
        if len(order):
            values = cooccurrence.npmi(_together(one.scores, order), len(one.scores.ids))
            body += "<h3>Which classes meet</h3>" + svg.heat_map(values, shown, shown, low=-1, high=1, colours="RdBu_r")
    note = "Normalised pointwise mutual information of annotations: red meet more often than chance, blue avoid each other."
    return Section("Clusters and co-occurrence" if clusters else "Co-occurrence", body, note)
