"""What benchmarks share: candidates that take turns, medians, ratios with their spread, one table, JSON."""

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, NamedTuple

from orpheus.base import cli, files

PACKAGES = ("tensorflow", "keras", "numpy", "librosa", "soundfile", "soxr", "scikit-learn", "faiss-cpu", "torch")


class Candidate(NamedTuple):
    """One way to do the work.

    Attributes:
        step: Does `amount` of work. What it returns is the time it took in seconds where it is a float and `timed` is
            set, for steps whose preparation must not count; else the call is timed.
        amount: Units of work in one call (examples, seconds of audio).
        rounds: Rounds it takes part in.
        timed: Whether `step` measures itself.
    """

    step: Callable[[], Any]
    amount: float
    rounds: int
    timed: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        benchmark: Name of the module.
        case: What is worked on.
        candidate: By whom.
        values: One per round, in `unit`.
        unit: Of the values, "examples/s" or "s".
        ratios: Per round, how many times as fast as this candidate orpheus is; empty where nothing is compared.
        target: The least that the median of `ratios` should be, or None.
        note: Anything else worth a line.
    """

    benchmark: str
    case: str
    candidate: str
    values: tuple[float, ...]
    unit: str
    ratios: tuple[float, ...] = ()
    target: float | None = None
    note: str = ""


def interleaved(candidates: Mapping[str, Candidate]) -> dict[str, list[float]]:
    """Work per second of every candidate in every round, in turns, so that what else the machine does falls on all.

    A first round, in which graphs are traced and caches filled, does not count.
    """
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(-1, max(candidate.rounds for candidate in candidates.values())):
        for name, candidate in candidates.items():
            if number < candidate.rounds:
                began = time.perf_counter()
                result = candidate.step()
                seconds = result if candidate.timed else time.perf_counter() - began
                if number >= 0:
                    rates[name].append(candidate.amount / seconds)
    return rates


def compared(
    benchmark: str,
    case: str,
    rates: Mapping[str, Sequence[float]],
    *,
    unit: str,
    targets: Mapping[str, float] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Row]:
    """Rows of candidates measured in turns; the first is ours, to which all are compared round by round."""
    ours = next(iter(rates.values()))
    targets, notes = targets or {}, notes or {}
    rows = []
    for index, (name, values) in enumerate(rates.items()):
        ratios = tuple(a / b for a, b in zip(ours, values, strict=False)) if index else ()
        rows.append(Row(benchmark, case, name, tuple(values), unit, ratios, targets.get(name), notes.get(name, "")))
    return rows


def table(rows: Sequence[Row], *, heading: bool = True) -> str:
    """Rows as markdown: median (least to most) of the values and of the ratios."""
    titles = ("benchmark", "case", "candidate", "median (range)", "orpheus is … times as fast", "target", "note")
    lines = [titles, tuple("---" for _ in titles)] if heading else []
    for row in rows:
        target = ""
        if row.target is not None:
            met = statistics.median(row.ratios) >= row.target
            target = f"≥ {row.target:g} {'met' if met else 'MISSED'}"
        value = f"{spread(row.values)} {row.unit}" if row.values else ""
        lines.append((row.benchmark, row.case, row.candidate, value, spread(row.ratios), target, row.note))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """The median, and in brackets the least and the most."""
    if not values:
        return ""
    middle = _rounded(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_rounded(min(values))} to {_rounded(max(values))})"


def _rounded(value: float) -> str:
    """Three digits, more only in front of the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load, Python and packages."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        processor = platform.processor()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "versions": versions,
    }


def described(values: Mapping[str, Any]) -> str:
    """`machine` as one line of text."""
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    load = " ".join(f"{value:g}" for value in values["load"])
    return (
        f"{values['processor']}, {values['cores']} cores, {values['memory_gb']} GB, {values['system']}, "
        f"Python {values['python']}, {versions}; load over 1, 5 and 15 minutes {load}"
    )


def parser(module: str, description: str, *, example: str) -> cli.Parser:
    """The parser of a benchmark, with the option that all of them have."""
    result = cli.parser(f"benchmarks.{module}", description.strip(), example=f"python -m benchmarks.{module} {example}")
    result.add_argument("--json", metavar="FILE", help="write all values there")
    return result


def main(
    command: cli.Parser, measure: Callable[[argparse.Namespace], Sequence[Row]], argv: Sequence[str] | None = None
) -> int:
    """Measure, print the table and the machine, write JSON where asked; returns the exit code."""
    return cli.run(command, lambda arguments: report(measure(arguments), arguments.json), argv)


def in_process(function: Callable, *arguments: Any) -> Any:
    """What `function` returns in a fresh process, which inherits neither threads nor memory."""
    # A process of multiprocessing.Pool may have none of its own, and some benchmarks need them.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def resident() -> float:
    """Megabytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def write(path: str | os.PathLike, rows: Sequence[Row], **more: Any) -> None:
    """Write rows, all values included, as JSON."""
    files.write_json(path, {**more, "rows": [asdict(row) for row in rows]})


def report(rows: Sequence[Row], json_path: str | None = None) -> None:
    """Print the table and the machine; write JSON where a path is given."""
    here = machine()
    print(table(rows))
    print(f"\n{described(here)}")
    if json_path:
        write(json_path, rows, machine=here, command=" ".join(["python -m", *sys.argv]))
