"""What changes where orpheus is right rather than equal to Music_Tagger_on_Word_Embeddings: one small log-mel tagger on the
demo data set, its figures as the reference computes them and as orpheus does, over three seeds."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.common import Row
from orpheus.base import cli


def parser() -> cli.Parser:
    result = common.parser("differences", __doc__, example="--seeds 0 1 2")
    result.add_argument("--tracks", type=int, default=160, metavar="N", help="of the demo data set")
    result.add_argument("--epochs", type=int, default=6, metavar="N", help="of each training")
    result.add_argument("--draws", type=int, default=10, metavar="N", help="of random windows")
    result.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of networks")
    result.add_argument("--no-training", action="store_true", help="only what needs no network: seconds")
    return result


def measure(arguments) -> list[Row]:
    """All rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        _demo(Path(folder), arguments.tracks)
        data = None if arguments.no_training else _data(Path(folder))
        rows: dict[tuple[str, str], list[float]] = {}

        def put(case: str, candidate: str, value: float) -> None:
            rows.setdefault((case, candidate), []).append(value)

        for seed in arguments.seeds if data is not None else ():
            for training in (True, False):
                model = _train(data, seed, arguments.epochs, training=training)
                truth, scores = _scores(model, data, seed=None)
                put("training=True in the forward pass", "orpheus" if training else "reference", _macro(truth, scores))
                if training:
                    put("windows and last batch of the validation", "orpheus", _macro(truth, scores))
                    draws = [_scores(model, data, seed=draw, ragged=False) for draw in range(arguments.draws)]
                    for one in draws:
                        put("windows and last batch of the validation", "reference", _macro(*one))
                    put("tracks of the validation that count", "orpheus", len(truth))
                    put("tracks of the validation that count", "reference", len(draws[0][0]))
                    put("a class of one kind of label in five", "orpheus", _macro(*_without(truth, scores)))
                    put(
                        "a class of one kind of label in five", "reference", _macro(*_without(truth, scores), zero=True)
                    )
        rows["what a waveform becomes in two batches, its correlation", "reference"] = _in_two_batches(Path(folder))
        rows["what a waveform becomes in two batches, its correlation", "orpheus"] = [1.0]
        named = [_same_columns([f"tag {n}" for n in range(20)], key) for key in range(10)]
        rows["output columns that keep their tag from run to run", "reference"] = named
        rows["output columns that keep their tag from run to run", "orpheus"] = [1.0]
        return [
            Row("differences", case, candidate, tuple(values), "tracks" if "tracks" in case else "")
            for (case, candidate), values in rows.items()
        ]


def _demo(folder: Path, tracks: int) -> None:
    """The demo data set, by as many tracks."""
    from orpheus.data.demo import tracks as demo

    demo.make(folder / "data", tracks=tracks, seconds=8.0)


def _data(folder: Path):
    """Its records, opened for a small config."""
    from orpheus import config
    from orpheus.tasks.tagging import data as tagging
    from tools import preprocess

    options = [
        "--csv-path",
        folder / "data/tracks.csv",
        "--tag-path",
        folder / "data/tags.db",
        "-n",
        10,
        "--workers",
        2,
    ]
    options += ["--group-column", "track_id", "--sr", 8000, "--mels", 48]
    preprocess.main(["log-mel-spectrogram", str(folder / "mel"), *map(str, options)])
    values = {
        "model": {"n_filters": 4, "n_dense_units": 64},
        "model-training": {"batch_size": 16, "window_length": 3, "split": [70, 30, 0], "log_dir": str(folder)},
        "tags": {"top": 20},
    }
    settings = config.parse(values)
    return tagging.open_data("log-mel-spectrogram", settings, tagging.Choices(folder / "mel"))


def _train(data, seed: int, epochs: int, *, training: bool):
    """A tagger after some epochs, its forward pass told that it trains, or not."""
    import keras
    import tensorflow as tf

    from orpheus import models
    from orpheus.data.batches import epochs as batches
    from orpheus.data.batches.windows import Windows

    keras.utils.set_random_seed(seed)
    part = data.records_of("train")
    shape = data.catalogue.spec.window_shape(3)
    model = models.build(
        "log-mel-spectrogram", shape, len(data.targets.classes), n_filters=4, n_dense_units=64, seed=seed
    )
    optimizer, loss = keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy()
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(audio, tags):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss.call(tags, model(audio, training=training)))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)

    examples = batches.training(part, Windows(3, random=True), batch_size=16, seed=seed)
    for audio, tags in examples.take(epochs * batches.steps_in_epoch(part, 16)):
        step(audio, tags)
    return model


def _scores(model, data, *, seed: int | None, ragged: bool = True):
    """(truth, scores) of the validation: centre windows, or random ones by `seed`; without `ragged`, whole batches only."""
    import numpy as np

    from orpheus.data.batches import epochs as batches
    from orpheus.data.batches.windows import Windows

    part = data.records_of("valid")
    if seed is None:
        examples = batches.validation(part, Windows(3), batch_size=16)
    else:
        examples = batches.training(part, Windows(3, random=True), batch_size=16, seed=seed, shuffle=False)
        examples = examples.take(batches.steps_in_epoch(part, 16))
    found = [(tags.numpy(), model(audio, training=False).numpy()) for audio, tags in examples]
    assert ragged or len(found[-1][0]) == 16
    return np.concatenate([tags for tags, _ in found]), np.concatenate([scores for _, scores in found])


def _without(truth, scores):
    """The same with every fifth class never true, as a rare tag is in a small validation."""
    truth = truth.copy()
    truth[:, ::5] = 0
    return truth, scores


def _macro(truth, scores, *, zero: bool = False) -> float:
    """Macro PR-AUC; with `zero` classes of one kind of label count as 0, as in the reference's metric."""
    from orpheus.learning.evaluation import areas

    found = areas.summarise(truth, scores, [str(n) for n in range(truth.shape[1])])
    value = found["macro"]["pr_auc"]
    return value * (1 - len(found["left_out"]) / truth.shape[1]) if zero else value


def _in_two_batches(folder: Path, size: int = 16, pairs: int = 20) -> list[float]:
    """Correlations of a second of a track standardised over a batch, as the reference does, with itself in another."""
    import numpy as np

    from orpheus.data.audio import reading
    from orpheus.data.audio.spec import WAVEFORM, AudioSpec

    spec = AudioSpec(WAVEFORM, sample_rate=8000, dtype="float32")
    paths = sorted((folder / "data/audio").iterdir())[: 2 * size]
    clips = np.stack([reading.load(path, spec)[:8000] for path in paths]).astype(np.float64)
    rng, found = np.random.default_rng(0), []
    for _ in range(pairs):
        one, *others = rng.permutation(len(clips))
        seen = []
        for batch in (others[: size - 1], others[size - 1 : 2 * size - 2]):
            whole = clips[[one, *batch]]
            seen.append((clips[one] - whole.mean(axis=0)) / np.sqrt(whole.var(axis=0) + 1e-6))
        found.append(float(np.corrcoef(*seen)[0, 1]))
    return found


def _same_columns(names, key: int) -> float:
    """Share of output columns that are of the same tag as with hash seed 0, where the order is that of a set."""
    program = "import sys; print(*list(set(sys.argv[1:])), sep='\\n')"
    orders = []
    for seed in (0, key + 1):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run([sys.executable, "-c", program, *names], env=environment, text=True, capture_output=True)
        orders.append(done.stdout.splitlines())
    return sum(one == other for one, other in zip(*orders, strict=True)) / len(names)


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
