"""One page that shows what one or more runs have learned, and how they differ."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from orpheus.base.text_table import alone
from orpheus.runs.folder import Run
from orpheus.tasks.report import benchmarks, html, tagging
from orpheus.tasks.report import material as report_material
from orpheus.tasks.report import sections as report_sections
from orpheus.tasks.report.html import Html, Section, escape, legend, warning
from orpheus.tasks.report.svg import colour
from orpheus.tasks.report.tracks import section

_HEARD = 3  # runs whose taggrams are shown
_ROOM = 6  # runs that can be told apart by colour


def build(
    runs: Sequence[Run],
    *,
    split: str = "test",
    groups: str | os.PathLike | None = None,
    paths: Mapping[str, str] | None = None,
    tracks: int = 4,
    seconds: float = 30.0,
    different_splits: bool = False,
    title: str | None = None,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> str:
    """The report as HTML.

    Args:
        runs: One to six runs of one task, the first being the one that others are compared with.
        split: Which side's evaluation is shown.
        groups: File of groups of tags; None for a shipped one that fits.
        paths: Track id → audio file.
        tracks: Tracks to look at and listen to, 0 for none.
        seconds: Of each track's sound.
        different_splits: Show runs over different splits all the same.
        title: Of the page; None for the runs' names.
        progress: Wraps the tracks.

    Raises:
        ConfigError, DataError: the runs do not compare, or the groups fit none of them.
    """
    material = report_material.read(runs[:_ROOM], split)
    notes = report_material.check(material, different_splits=different_splits) if len(material) > 1 else []
    names = [one.name for one in material]
    suffix = {name: f": {name}" if len(material) > 1 else "" for name in names}
    intro = f"<h1>{escape(title or ' and '.join(names))}</h1>" + "".join(map(warning, notes))
    intro += report_sections.summary(material, split)
    sections = [report_sections.curves(material)]
    judged = [one for one in material if one.metrics]
    if judged and all(one.tagging for one in judged):
        shared = tagging.common(judged)
        every = list(dict.fromkeys(name for one in judged for name in one.summary["per_class"]))
        members = report_material.read_groups(groups, every)
        sections = [
            _means(judged, split),
            benchmarks.section(judged, split),
            tagging.differences(judged, shared),
            *sections,
        ]
        sections += [
            tagging.classes(judged, shared),
            tagging.groups(judged, shared, members),
            tagging.distributions(judged),
            *(tagging.confusion(one, suffix=suffix[one.name]) for one in judged),
            tagging.cooccurrences(judged[0]),
            section(judged[:_HEARD], paths or {}, count=tracks, seconds=seconds, progress=progress),
        ]
    else:
        sections = [report_sections.numbers(judged), report_sections.user_differences(judged), *sections]
    sections.append(report_sections.configuration(material))
    return html.page(title or f"orpheus: {', '.join(names)}", intro, sections)


def _means(material: Sequence[report_material.Material], split: str) -> Section:
    level = (material[0].summary.get("intervals") or {}).get("level")
    unit = material[0].metrics.get("unit", "track")
    note = f"Whiskers: {100 * level:g} % intervals by bootstrap over {unit}s." if level else ""
    if (material[0].summary.get("intervals") or {}).get("groups") == 1:
        note = f"{alone(unit).capitalize()}."
    names = legend([one.name for one in material], [colour(index) for index in range(len(material))])
    return Section(f"Means over the {split} side", Html(names + report_sections.forest(material)), note)
