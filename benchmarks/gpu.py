"""Training on this machine's GPUs: examples per second by precision, XLA and number of GPUs; waiting for input; memory.

The whole machine is measured as it trains: records on disk, the input pipeline, the custom loop, metrics. Each case has a
process of its own, an epoch that does not count and then some that do. The share of a step spent waiting for input is what
the same training gains when it gets one batch over and over instead. `python -m benchmarks.run --gpu` runs it.
"""

import argparse
import dataclasses
import itertools
import sys
import tempfile
from pathlib import Path

from benchmarks import common
from orpheus.base import cli
from orpheus.errors import ConfigError

FORMATS = ("log-mel-spectrogram", "waveform")
MODES = ("float32", "float32, XLA", "bfloat16", "bfloat16, XLA", "float16", "float16, XLA")


@dataclasses.dataclass(frozen=True)
class Case:
    """One training to measure.

    Attributes:
        format: Frontend.
        mode: One of `MODES`.
        replicas: GPUs.
        folder: Records of that format.
        batch_size: Per GPU.
        steps: In an epoch.
        rounds: Epochs that count.
        device: ``"GPU"``; ``"CPU"`` splits the processor into as many as are asked for, to try the machinery.
        small: A network of one filter.
    """

    format: str
    mode: str
    replicas: int
    folder: str
    batch_size: int
    steps: int
    rounds: int
    device: str = "GPU"
    small: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """Examples per second of every round with input and without waiting for it, and peak bytes on the first GPU."""

    rates: list[float]
    rates_without_input: list[float]
    peak: int | None

    @property
    def waiting(self) -> float:
        """Share of a step that goes by waiting for input, 0 to 1."""
        return waiting(self.rates, self.rates_without_input)


def waiting(rates: list[float], without_input: list[float]) -> float:
    """Share of a step, from medians: a step takes 1/rate, without input 1/without; not below 0."""
    import statistics

    return max(0.0, 1 - statistics.median(rates) / statistics.median(without_input))


def parser() -> cli.Parser:
    result = common.parser("gpu", __doc__, example="--batch-size 128 --formats log-mel-spectrogram")
    result.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="frontends to measure")
    result.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="precisions, with XLA or not")
    result.add_argument("--batch-size", type=int, default=64, help="examples in a step, per GPU")
    result.add_argument("--steps", type=int, default=40, help="steps in a round")
    result.add_argument("--rounds", type=int, default=3, help="after one that does not count")
    result.add_argument("--tracks", type=int, default=640, help="tracks of 30 s that are written")
    result.add_argument("--quick", action="store_true", help="tiny sizes: whether everything runs, not how fast")
    result.add_argument("--device", choices=("GPU", "CPU"), default="GPU", help=argparse.SUPPRESS)
    return result


def measure(arguments: argparse.Namespace) -> list[common.Row]:
    """All rows of this benchmark.

    Raises:
        ConfigError: TensorFlow sees no GPU here.
    """
    from benchmarks.pipeline import write

    present = common.in_process(devices, arguments.device)
    if not present:
        raise ConfigError(
            "TensorFlow sees no GPU on this machine, and this benchmark is of GPUs; with one: pip install -r "
            "requirements-gpu.txt, then python -m orpheus.doctor says what is missing"
        )
    size, steps, rounds, tracks = arguments.batch_size, arguments.steps, arguments.rounds, arguments.tracks
    if arguments.quick:
        size, steps, rounds, tracks = 2, 2, 1, 16
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for kind in arguments.formats:
            folder = Path(temporary) / kind / "newer"
            write(kind, folder, folder.with_name("older"), tracks=tracks, shards=8)
            for replicas, mode in itertools.product(counts(len(present)), arguments.modes):
                case = Case(
                    kind, mode, replicas, str(folder), size, steps, rounds, arguments.device, small=arguments.quick
                )
                rows.append(row(case, common.in_process(train, case), present[0]))
    return rows


def counts(gpus: int) -> list[int]:
    """Numbers of GPUs to measure: 1, 2, 4… and all."""
    return sorted({gpus, *(2**power for power in range(gpus.bit_length()) if 2**power <= gpus)})


def row(case: Case, result: Result, name: str) -> common.Row:
    """A case as a line of the table."""
    peak = "" if result.peak is None else f", peak {result.peak / 1e9:.1f} GB a GPU"
    note = f"{100 * result.waiting:.0f} % of a step waiting for input{peak}"
    where = f"{case.format}, {case.replicas} x {name}, {case.batch_size} each"
    return common.Row("gpu", where, case.mode, tuple(result.rates), "examples/s", note=note)


def devices(kind: str) -> list[str]:
    """Names of the devices of a kind that TensorFlow sees."""
    import tensorflow as tf

    found = tf.config.list_physical_devices(kind)
    names = [tf.config.experimental.get_device_details(device).get("device_name", kind) for device in found]
    return names * 2 if kind == "CPU" else names  # a processor can be split


def train(case: Case) -> Result:
    """Measure one case, in a process of its own."""
    import tensorflow as tf

    from orpheus.learning.engine import devices, fit

    precision, _, xla = case.mode.partition(", ")
    if case.device == "GPU":
        strategy = devices.strategy(range(case.replicas))
    else:
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [one] * case.replicas)
        names = [f"CPU:{index}" for index in range(case.replicas)]
        strategy = tf.distribute.MirroredStrategy(names) if case.replicas > 1 else tf.distribute.get_strategy()
    options = fit.Options(
        epochs=1 + case.rounds, jit=bool(xla), mixed_precision=None if precision == "float32" else precision
    )
    # XLA cannot compile synchronised batch normalisation: where it is asked for on several GPUs, each has its own.
    job = made(case, synchronized=case.replicas > 1 and not xla)
    rates = timed(case, job, options, strategy)
    one_batch = job.train(0).take(1).cache().repeat()
    without = timed(case, dataclasses.replace(job, train=lambda first_epoch: one_batch), options, strategy)
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if case.device == "GPU" else None
    return Result(rates, without, peak)


def timed(case: Case, job, options, strategy) -> list[float]:
    """Examples per second of every epoch of a training but the first."""
    import time

    import keras

    from orpheus.learning.engine import fit, loop

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):  # the logs have been read off the device: it has finished
            self.seconds.append(time.perf_counter() - self.began)

    model, metrics = fit.prepare(job, strategy, options)
    clock = Clock()
    loop.train(
        job,
        model,
        metrics,
        strategy,
        [clock],
        first_epoch=0,
        epochs=options.epochs,
        update_freq=case.steps,
        jit=options.jit,
    )
    return [case.steps * job.batch_size / seconds for seconds in clock.seconds[1:]]


def made(case: Case, *, synchronized: bool):
    """The Job of a case."""
    import keras

    from benchmarks.pipeline import CLASSES, WINDOW, part
    from orpheus import models
    from orpheus.data.batches import epochs, windows
    from orpheus.learning.engine.job import Job
    from orpheus.learning.evaluation.tag_auc import TagAUC

    size = case.batch_size * case.replicas
    once = part(case.format, Path(case.folder), 1)
    repeats = -(-size * case.steps // sum(map(sum, once.kept())))
    records = part(case.format, Path(case.folder), repeats)
    sizes = {"n_filters": 1, "n_dense_units": 8} if case.small else {}
    shape = records.catalogue.spec.window_shape(WINDOW)
    return Job(
        build=lambda: models.build(case.format, shape, CLASSES, synchronized=synchronized, **sizes),
        optimizer=lambda: keras.optimizers.Adam(1e-3),
        loss=keras.losses.BinaryCrossentropy(),
        metrics=lambda: [TagAUC(CLASSES)],
        train=lambda first_epoch: epochs.training(
            records,
            windows.Windows(WINDOW, random=True),
            batch_size=size,
            seed=0,
            first_epoch=first_epoch,
            steps_per_epoch=case.steps,
        ),
        valid=None,
        steps_per_epoch=case.steps,
        batch_size=size,
        monitor="PR-AUC",
    )


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
