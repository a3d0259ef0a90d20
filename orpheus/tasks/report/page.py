"""One page that shows what one or more runs have learned, and how they differ."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from orpheus.base.text_table import alone
from orpheus.runs.folder import Run
from orpheus.tasks.report import benchmarks, calibration, html, paired, reported_runs, spaces, tagging
from orpheus.tasks.report import sections as report_sections
from orpheus.tasks.report.html import Html, Section, escape, legend, warning
from orpheus.tasks.report.svg import colour
from orpheus.tasks.report.tracks import section

_HEARD = 3  # runs whose taggrams are shown
_ROOM = 6  # runs that can be distinguished by colour


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
        split: Split whose evaluation is shown.
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
    reported = reported_runs.read(runs[:_ROOM], split)
    notes = reported_runs.check(reported, different_splits=different_splits) if len(reported) > 1 else []
    names = [one.name for one in reported]
    suffix = {name: f": {name}" if len(reported) > 1 else "" for name in names}
    intro = f"<h1>{escape(title or ' and '.join(names))}</h1>" + "".join(map(warning, notes))
    intro += report_sections.summary(reported, split)
    sections = [report_sections.curves(reported)]
    evaluated = [one for one in reported if one.metrics]
    if evaluated and all(one.tagging for one in evaluated):
        shared = paired.common(evaluated)
        every = list(dict.fromkeys(name for one in evaluated for name in one.summary["per_class"]))
        members = reported_runs.read_groups(groups, every)
        sections = [
            _means(evaluated, split),
            benchmarks.section(evaluated, split),
            tagging.differences(evaluated, shared),
            *sections,
        ]
        sections += [
            tagging.classes(evaluated, shared),
            tagging.groups(evaluated, shared, members),
            tagging.distributions(evaluated),
            calibration.section(evaluated),
            *(tagging.confusion(one, suffix=suffix[one.name]) for one in evaluated),
            tagging.cooccurrences(evaluated[0]),
            section(evaluated[:_HEARD], paths or {}, count=tracks, seconds=seconds, progress=progress),
        ]
    elif evaluated and all(one.task in reported_runs.SPACES for one in evaluated):
        joint = any(one.task == "joint" for one in evaluated)
        sections = [
            spaces.questions(evaluated) if joint else report_sections.numbers(evaluated),
            spaces.differences(evaluated, paired.common(evaluated)),
            report_sections.user_differences(evaluated),
            *sections,
            spaces.tags(evaluated) if joint else Section("Tags", ""),
            calibration.section(evaluated),
        ]
    else:
        sections = [report_sections.numbers(evaluated), report_sections.user_differences(evaluated), *sections]
        sections.append(calibration.section(evaluated))
    sections.append(report_sections.configuration(reported))
    return html.page(title or f"orpheus: {', '.join(names)}", intro, sections)


def _means(reported: Sequence[reported_runs.ReportedRun], split: str) -> Section:
    level = (reported[0].summary.get("intervals") or {}).get("level")
    unit = reported[0].metrics.get("unit", "track")
    note = f"Whiskers: {100 * level:g} % intervals by bootstrap over {unit}s." if level else ""
    if (reported[0].summary.get("intervals") or {}).get("groups") == 1:
        note = f"{alone(unit).capitalize()}."
    names = legend([one.name for one in reported], [colour(index) for index in range(len(reported))])
    return Section(f"Means over the {split} split", Html(names + report_sections.forest(reported)), note)
