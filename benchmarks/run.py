"""Run benchmarks one after the other and print one table: medians, and ratios of what took turns in one process.

Each benchmark is a command of its own with more options; here they run at sizes that take under 20 minutes together on
two idle cores. Each runs in a fresh process, so that none inherits another's threads and memory.
"""

import argparse
import os
import sys
import time
from importlib import import_module
from typing import NamedTuple

from benchmarks import common
from orpheus.base import cli


class Benchmark(NamedTuple):
    """How a module with `parser` and `measure` runs here.

    Attributes:
        options: Of its command.
        quick: Its options with --quick, which shows that it runs and measures nothing worth quoting.
        seconds: What it may take on two idle cores; what takes longer is named at the end.
    """

    options: str
    quick: str
    seconds: int


# Name of the module → how it runs; the seconds add up to less than 20 minutes.
BENCHMARKS: dict[str, Benchmark] = {
    "startup": Benchmark("--repeats 3", "--repeats 1", 90),
    "preprocessing": Benchmark("--repeats 3", "--files 1 --seconds 1 --repeats 1", 60),
    "pipeline": Benchmark(
        "--repeats 3",
        "--formats log-mel-spectrogram --tracks 160 --shards 2 --batches 2 --shuffle-buffer 32 --repeats 1 --growth 1",
        210,
    ),
    "training_step": Benchmark(
        "--repeats 2 --reference-repeats 1", "--frontends log-mel-spectrogram --batch-size 2 --repeats 1", 210
    ),
    "prediction": Benchmark("--minutes 5 --repeats 2", "--minutes 0.2 --files 2 --filters 1 --repeats 1", 120),
    "metrics": Benchmark("", "--tracks 2000 --classes 10 --repeats 1", 150),
    "ranking": Benchmark("", "--users 40 --items 1000 --loop-users 4 --rounds 1 -k 20", 60),
    "clustering": Benchmark(
        "--starts 10 --loop-starts 1", "--tags 200 --dimension 8 --k 5 --starts 2 --loop-starts 1", 60
    ),
    "npmi": Benchmark("", "--tracks 1000 --tags 50 --repeats 1", 30),
    "triplets": Benchmark("--repeats 2", "--filters 4 --draws 8 --batch-size 2 --repeats 1", 90),
    "search": Benchmark("--songs 200000 --rounds 2", "--songs 5000 --queries 20 --rounds 1", 90),
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
    result.add_argument("--quick", action="store_true", help="tiny sizes: whether everything runs, not how fast")
    result.add_argument(
        "--gpu", action="store_true", help="training on this machine's GPUs instead (benchmarks/gpu.md)"
    )
    result.add_argument("--json", metavar="FILE", help="write all values there, after every benchmark")
    return result


def body(arguments: argparse.Namespace) -> int | None:
    if arguments.gpu:
        if arguments.names:
            parser().error(f"--gpu: is a run of its own; leave {' '.join(arguments.names)} out")
        from benchmarks import gpu

        return gpu.main(["--quick"] * arguments.quick + (["--json", arguments.json] if arguments.json else []))
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser().error(f"no benchmark {unknown[0]!r}; choose of {', '.join(BENCHMARKS)}")
    rows: list[common.Row] = []
    machines, seconds = {}, {}
    for name in arguments.names or list(BENCHMARKS):
        began = time.perf_counter()
        benchmark = BENCHMARKS[name]
        options = benchmark.quick if arguments.quick else benchmark.options
        found = common.in_process(run, name, options.split())
        machines[name], seconds[name] = common.machine(), round(time.perf_counter() - began, 1)
        print(common.table(found, heading=not rows), flush=True)
        rows += found
        if arguments.json:
            common.write(arguments.json, rows, machines=machines, seconds=seconds)
    print(f"\n{common.described(common.machine())}")
    shown = (f"{name} {took:g}{_over(took, BENCHMARKS[name].seconds)}" for name, took in seconds.items())
    print(f"seconds: {', '.join(shown)}; {sum(seconds.values()):.0f} in all")
    return None


def _over(seconds: float, allowed: int) -> str:
    return f" (more than the {allowed} it should take on two idle cores)" if seconds > allowed else ""


def run(name: str, options: list[str]) -> list[common.Row]:
    """Rows of one benchmark."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module = import_module(f"benchmarks.{name}")
    return module.measure(module.parser().parse_args(options))


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
