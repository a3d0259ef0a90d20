"""Run benchmarks one after the other and print one table: medians, and ratios of what took turns in one process.

Each benchmark is a command of its own with more options; here they run at sizes that take under 25 minutes together on
two cores. Each runs in a fresh process, so that none inherits another's threads and memory.
"""

import argparse
import multiprocessing
import os
import sys
import time
from importlib import import_module

from benchmarks import common
from orpheus import cli

# Name of the module → its options here.
BENCHMARKS: dict[str, list[str]] = {
    "preprocessing": [],
    "pipeline": [],
    "training_step": ["--repeats", "3"],
    "clustering": ["--starts", "10", "--loop-starts", "1"],
    "search": [],
}


def parser() -> cli.Parser:
    result = cli.parser(
        "benchmarks.run",
        __doc__.strip(),
        example="python -m benchmarks.run preprocessing pipeline --json out/benchmarks.json",
    )
    result.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; all if none is named"
    )
    result.add_argument("--json", metavar="FILE", help="write all values there, after every benchmark")
    return result


def body(arguments: argparse.Namespace) -> None:
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser().error(f"no benchmark {unknown[0]!r}; choose of {', '.join(BENCHMARKS)}")
    rows: list[common.Row] = []
    machines, seconds = {}, {}
    for name in arguments.names or list(BENCHMARKS):
        began = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(run, (name, BENCHMARKS[name]))
        machines[name], seconds[name] = common.machine(), round(time.perf_counter() - began, 1)
        print(common.table(found, heading=not rows), flush=True)
        rows += found
        if arguments.json:
            common.write(arguments.json, rows, machines=machines, seconds=seconds)
    print(f"\n{common.described(common.machine())}")
    print("seconds: " + ", ".join(f"{name} {value:g}" for name, value in seconds.items()))


def run(name: str, options: list[str]) -> list[common.Row]:
    """Rows of one benchmark."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module = import_module(f"benchmarks.{name}")
    return module.measure(module.parser().parse_args(options))


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
