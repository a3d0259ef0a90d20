"""Every network of `models.FRONTENDS` at its paper's settings: size, work, speed and memory, and accuracy if asked.

Each is measured in a process of its own, on windows of its config's length: parameters (50 classes), multiply-adds of a
forward pass, windows per second of a training step (forward, binary cross-entropy, backward, Adam; float32) and of
inference, and the process' peak memory while training. Windows differ in length, so seconds of audio per second stand
beside them. `--accuracy SECONDS` trains each on windows of 3 s of the Philharmonia's clips for equally many seconds of
processor time, which other work on the machine does not shorten, and gives areas on the test pitches; it measures nothing else.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common, philharmonia
from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

CLASSES = 50
WINDOW = 2.992  # seconds of --accuracy: 187 frames, which every network takes
HEADING = (
    "| network | window | parameters | multiply-adds | training | inference | core-seconds a minute of audio, training / "
    "inference | memory |\n|---|---|---|---|---|---|---|---|"
)
CONFIGS = {"log-mel-spectrogram": "log-mel", "waveform": "waveform"}  # of other networks: as the network is called


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a network needs.

    Attributes:
        seconds: Of audio in a window.
        parameters: That training changes.
        multiply_adds: Of one window's forward pass.
        steps: Windows per second of training, one value a round.
        inference: Windows per second without training, one value a round.
        core_seconds: Processor time of one window's training and of its inference, on all cores together (on a CPU),
            which says more than the wall clock where others use the machine.
        memory: Peak of the process in bytes, TensorFlow's own 0.5 GB included.
    """

    seconds: float
    parameters: int
    multiply_adds: int
    steps: list[float]
    inference: list[float]
    core_seconds: tuple[float, float]
    memory: int


def parser() -> cli.Parser:
    result = common.parser("networks", __doc__, example="--networks short-chunk harmonic --repeats 3")
    result.add_argument("--networks", nargs="+", metavar="NAME", help="of models.FRONTENDS; all if not given")
    result.add_argument("--batch-size", type=int, default=16, help="windows in a step")
    result.add_argument("--repeats", type=int, default=3, help="steps after one that does not count")
    result.add_argument(
        "--seconds", type=float, help="length of the windows; each config's if not given, so that papers compare"
    )
    result.add_argument(
        "--accuracy",
        type=float,
        metavar="SECONDS",
        help="of processor time: train each so long on the Philharmonia's clips",
    )
    result.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each, for --accuracy")
    result.add_argument("--data", default=str(philharmonia.DATA), metavar="DIR", help="folder of those clips")
    result.add_argument("--out", default="out/networks", metavar="DIR", help="records and runs of --accuracy")
    return result


def body(arguments: argparse.Namespace) -> int:
    names, found, areas = chosen(arguments.networks), {}, {}
    if arguments.accuracy is not None:
        data = Path(arguments.data)
        if not (data / "tracks.csv").is_file():
            raise DataError(f"{data}: the Philharmonia's clips are not there; give their folder with --data")
        if arguments.accuracy <= 0 or arguments.seeds < 1:
            raise ConfigError("--accuracy and --seeds must be above 0")
        for seed in range(arguments.seeds):
            for name in names:
                one = accuracy(name, data, Path(arguments.out), seconds=arguments.accuracy, seed=seed)
                areas.setdefault(name, []).append(one)
        print(accuracy_table(areas))
    else:
        print(HEADING, flush=True)
        for name in names:
            found[name] = common.in_process(measured, name, arguments.batch_size, arguments.repeats, arguments.seconds)
            print(line(name, found[name]), flush=True)
    here = common.machine()
    print(f"\n{common.described(here)}")
    if arguments.json:
        rows = {name: dataclasses.asdict(one) for name, one in found.items()}
        written = {"networks": rows, "accuracy": areas, "machine": here, "command": " ".join(["python -m", *sys.argv])}
        Path(arguments.json).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0


def chosen(names: list[str] | None) -> list[str]:
    """Networks to measure, in the table's order.

    Raises:
        ConfigError: one that the table has not.
    """
    from orpheus.models import FRONTENDS

    if unknown := set(names or ()) - set(FRONTENDS):
        raise ConfigError(f"--networks {sorted(unknown)[0]}: no such network; available are {', '.join(FRONTENDS)}")
    return [name for name in FRONTENDS if names is None or name in names]


def line(name: str, one: Measured) -> str:
    """A network's measurements as a line of the markdown table: medians, least and most in brackets."""
    speeds = []
    for values in (one.steps, one.inference):
        audio = statistics.median(values) * one.seconds
        speeds.append(f"{common.spread(values)} windows/s, {audio:,.0f} s of audio/s")
    costs = [f"{seconds * 60 / one.seconds:.3g}" for seconds in one.core_seconds]
    cells = (
        name,
        f"{one.seconds:.3g} s",
        f"{one.parameters / 1e6:.2f} M",
        f"{one.multiply_adds / 1e9:.3g} G",
        *speeds,
        " / ".join(costs),
        f"{one.memory / 1e9:.1f} GB",
    )
    return f"| {' | '.join(cells)} |"


def measured(name: str, batch_size: int, repeats: int, seconds: float | None) -> Measured:
    """Measure one network, in a process of its own."""
    import keras
    import numpy as np
    import tensorflow as tf

    from orpheus import config, models
    from orpheus.data.audio.spec import AudioSpec

    loaded = config.load(f"configs/{CONFIGS.get(name, name)}.json")
    settings = {key: value for key, value in loaded.tfrecords.model_dump().items() if value and key != "n_tags"}
    spec = AudioSpec(models.FRONTENDS[name].format, **settings)
    shape = spec.window_shape(seconds or loaded.training.window_length)
    model = models.build(name, shape, CLASSES)
    rng = np.random.default_rng(0)
    audio = tf.constant(rng.uniform(1, 90, (batch_size, *shape)).astype("float32"))
    tags = tf.constant((rng.random((batch_size, CLASSES)) < 0.1).astype("float32"))
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)

    @tf.function
    def infer():
        return tf.reduce_sum(model(audio, training=False))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(tags, model(audio, training=True)))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    inference, inference_cost = _rates(lambda: float(infer()), batch_size, repeats)
    steps, cost = _rates(lambda: float(step()), batch_size, repeats)
    return Measured(
        spec.seconds(shape[0]),
        sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        multiply_adds(model),
        steps,
        inference,
        (cost, inference_cost),
        1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def _rates(step: Callable[[], Any], amount: int, repeats: int) -> tuple[list[float], float]:
    """Work per second in every round, and processor seconds per unit of work over all of them."""
    step()  # traces the graph
    began = time.process_time()
    rates = common.interleaved({"": common.Candidate(step, amount, repeats)})[""]
    return rates, (time.process_time() - began) / (amount * (repeats + 1))


def multiply_adds(model) -> int:
    """Products that one window's forward pass sums up in convolutions and matrix products; all else is left out."""
    import numpy as np
    import tensorflow as tf

    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    graph = tf.function(lambda audio: model(audio, training=False)).get_concrete_function(signature).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type == "Conv2D":  # one product per output and weight that reaches it
            output, kernel = operation.outputs[0].shape, operation.inputs[1].shape
            total += int(np.prod(output) * np.prod(kernel[:-1]))
        elif operation.type == "MatMul" or operation.type.startswith("BatchMatMul"):
            first = operation.inputs[0].shape
            transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
            total += int(np.prod(operation.outputs[0].shape) * first[-2 if transposed else -1])
    return total


def accuracy(name: str, data: Path, out: Path, *, seconds: float, seed: int) -> dict[str, Any]:
    """Areas on the Philharmonia's test pitches after so many processor seconds of training; kept in `out`."""
    from orpheus import config
    from orpheus.models import FRONTENDS

    note = out / f"{name}-{seconds:g}-{seed}.json"
    if not note.exists():
        format, more, folder = FRONTENDS[name].format, [], "waveform"
        if format != "waveform":
            spec = config.load(f"configs/{CONFIGS.get(name, name)}.json").tfrecords
            sizes = {"--mels": spec.n_mels or 96, "--n-fft": spec.n_fft or 2048, "--hop-length": spec.hop_length or 512}
            more = [word for size in sizes.items() for word in size]
            folder = "-".join(["mel", *map(str, sizes.values())])
        records = philharmonia.records(format, data, out, *more, name=folder)
        files.write_json(note, common.in_process(_trained, name, str(records), seconds, seed))
    return files.read_json(note)


def _trained(name: str, records: str, seconds: float, seed: int) -> dict[str, Any]:
    """Train one network for so many processor seconds, in a process of its own: Adam at 0.001, no choice of an epoch."""
    import keras
    import tensorflow as tf

    from orpheus import config
    from orpheus.data.batches.epochs import all_windows
    from orpheus.learning.engine import inference
    from orpheus.learning.evaluation import areas
    from orpheus.models import FRONTENDS
    from orpheus.tasks.tagging import data as tagging_data
    from orpheus.tasks.tagging import job as tagging_job
    from orpheus.tasks.tagging import network

    training = {"batch_size": 16, "window_length": WINDOW, "split": [70, 10, 20], "shuffle_buffer_size": 2000}
    values = {"model": {"frontend": name}, "model-training": training, "tags": {"top": 40}}
    format = FRONTENDS[name].format
    settings = network.settled(config.parse(values), format)
    data = tagging_data.open_data(format, settings, tagging_data.Choices(records))
    job = tagging_job.job(data, settings, epochs=1, seed=seed)
    keras.utils.set_random_seed(seed)
    model, optimizer = job.build(), keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(audio, tags):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(job.loss.call(tags, model(audio, training=True)))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    steps, began = 0, time.process_time()
    for batch in job.train(0):
        float(step(*batch))
        steps += 1
        if steps == 1:  # has traced the graph
            began = time.process_time()
        if time.process_time() - began >= seconds:
            break
    part = data.records_of("test")
    scores, _, _ = inference.by_track(
        model, all_windows(part, tagging_data.windows(settings), batch_size=16), len(part.rows())
    )
    summary = areas.summarise(part.truth(), scores, data.targets.classes)
    return {
        "steps": steps,
        "clips": len(data.records_of("train").rows()),
        **{k: summary[k] for k in ("macro", "micro")},
    }


def accuracy_table(areas: dict[str, list[dict[str, Any]]]) -> str:
    """A line per network: steps, and means ± deviations over seeds."""
    lines = ["| network | steps of 16 windows | epochs | macro ROC-AUC | macro PR-AUC |", "|---|---|---|---|---|"]
    for name, rows in areas.items():
        steps = statistics.mean(row["steps"] for row in rows)
        cells = [f"{steps:.0f}", f"{16 * steps / rows[0]['clips']:.2g}"]
        for key in ("roc_auc", "pr_auc"):
            values = [row["macro"][key] for row in rows]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
