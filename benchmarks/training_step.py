"""Examples per second of a training step: this package, the reference's formulation, and PyTorch where installed.

Forward pass, binary cross-entropy, backward pass and an Adam step, float32. The candidates take turns in one process
(median of the repeats), so that what else the machine does falls on all of them; quote the ratios. TensorFlow's default
kernels on CPU (oneDNN) are very slow on the reference's 2-D convolutions, so it is measured with oneDNN off as well, in
a second process that waits while the others run.
"""

import contextlib
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable
from itertools import pairwise

from benchmarks import common
from benchmarks.common import Candidate, Row, compared, interleaved
from orpheus.base import cli

SHAPES = {"log-mel-spectrogram": (469, 96), "waveform": (240_000,)}  # 15 s at 16 kHz, hop length 512
CLASSES = 50


def parser() -> cli.Parser:
    result = common.parser("training_step", __doc__, example="--frontends waveform --repeats 5")
    result.add_argument("--frontends", nargs="+", choices=tuple(SHAPES), default=list(SHAPES), help="models to measure")
    result.add_argument("--batch-size", type=int, default=16, help="examples in a step")
    result.add_argument("--reference-batch-size", type=int, default=2, help="the same for the reference with oneDNN")
    result.add_argument("--repeats", type=int, default=5, help="rounds after one that does not count")
    result.add_argument(
        "--reference-repeats", type=int, default=2, help="rounds with the reference with oneDNN, 0 leaves it out"
    )
    return result


def measure(arguments) -> list[Row]:
    """All rows of this benchmark."""
    rows = []
    for frontend in arguments.frontends:
        size, rounds = arguments.batch_size, arguments.repeats
        candidates = {"orpheus": Candidate(ours(frontend, size), size, rounds)}
        missing = []
        try:
            candidates["PyTorch, same network"] = Candidate(in_torch(frontend, size), size, rounds)
        except ImportError:
            missing = [Row("training_step", frontend, "PyTorch, same network", (), "", note="not installed")]
        candidates["reference, oneDNN off"] = Candidate(without_onednn(frontend, size), size, rounds)
        size, rounds = arguments.reference_batch_size, min(arguments.reference_repeats, rounds)
        if rounds:
            candidates["reference, TensorFlow's default"] = Candidate(reference(frontend, size), size, rounds)
        rates = interleaved(candidates)
        targets = {"PyTorch, same network": 0.9}
        rows += compared("training_step", frontend, rates, unit="examples/s", targets=targets) + missing
    return rows


def _batch(frontend: str, size: int):
    """Random (audio, tags), float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    audio = rng.normal(size=(size, *SHAPES[frontend])).astype("float32")
    return audio, (rng.random((size, CLASSES)) < 0.1).astype("float32")


def _keras_step(model, frontend: str, size: int) -> Callable[[], float]:
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    audio, tags = map(tf.constant, _batch(frontend, size))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(tags, model(audio, training=True)))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return lambda: float(step())


def ours(frontend: str, size: int) -> Callable[[], float]:
    """A step of `orpheus.models.build`."""
    from orpheus import models

    return _keras_step(models.build(frontend, SHAPES[frontend], CLASSES), frontend, size)


def reference(frontend: str, size: int) -> Callable[[], float]:
    """A step of `reference_model`."""
    return _keras_step(reference_model(frontend), frontend, size)


def without_onednn(frontend: str, size: int) -> Callable[[], object]:
    """A step of `reference` in another process, where oneDNN is off (the switch holds for a whole process)."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    before = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    try:
        context.Process(target=_serve, args=(there, frontend, size), daemon=True).start()
    finally:
        del os.environ["TF_ENABLE_ONEDNN_OPTS"]
        if before is not None:
            os.environ["TF_ENABLE_ONEDNN_OPTS"] = before
    there.close()

    def step() -> float:
        here.send(None)
        return here.recv()

    return step


def _serve(connection, frontend: str, size: int) -> None:
    step = reference(frontend, size)
    with contextlib.suppress(EOFError):  # the other end is gone: done
        while True:
            connection.recv()
            connection.send(step())


def reference_model(frontend: str):
    """The network as the reference states it: one-channel images, filters over both axes, transposes between.

    The two residual convolutions see (batch, time, 512, 1) and give (batch, time, 1, 512); they are transposed before
    their batch normalisation, which so has one scale for all channels.
    """
    import keras

    layers = keras.layers
    conv = functools.partial(layers.Conv2D, activation="relu", kernel_initializer="variance_scaling")
    swap = layers.Permute((1, 3, 2))
    audio = keras.Input(SHAPES[frontend])
    if frontend == "waveform":
        x = layers.Reshape((*SHAPES[frontend], 1))(audio)
        for number, filters in enumerate((64, 64, 64, 128, 128, 128, 256)):
            x = layers.Conv1D(filters, 3, strides=1 if number else 3, activation="relu")(x)
            x = layers.BatchNormalization()(x)
            x = layers.MaxPooling1D(3)(x) if number else x
        x = layers.Reshape((*x.shape[1:], 1))(x)
    else:
        frames, mels = SHAPES[frontend]
        image = layers.Reshape((frames, mels, 1))(audio)
        parts = []
        for height in (int(0.9 * mels), int(0.4 * mels)):
            for width, filters in ((7, 16), (3, 32), (1, 64)):
                x = layers.ZeroPadding2D((width // 2, 0))(image)
                x = layers.BatchNormalization()(conv(filters, (width, height))(x))
                parts.append(layers.MaxPooling2D((1, x.shape[2]))(x))
        mean = layers.AveragePooling2D((1, mels))(image)
        for length, filters in ((165, 16), (128, 32), (64, 64), (32, 128)):
            parts.append(layers.BatchNormalization()(conv(filters, (length, 1), padding="same")(mean)))
        x = swap(layers.Concatenate()(parts))  # (batch, frames, 464, 1)
    x = swap(layers.BatchNormalization()(conv(512, (7, x.shape[2]))(x)))
    for pool in (True, False):
        y = conv(512, (7, 512))(layers.ZeroPadding2D((3, 0))(x))
        x = layers.Add()([x, layers.BatchNormalization()(swap(y))])
        x = layers.MaxPooling2D((2, 1))(x) if pool else x
    x = layers.Reshape(x.shape[1:3])(x)
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)])
    x = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Dense(500, activation="relu")(layers.Dropout(0.5)(x))))
    x = layers.Dense(CLASSES, activation="sigmoid")(x)
    return keras.Model(audio, x)


def in_torch(frontend: str, size: int) -> Callable[[], float]:
    """A step of the same network in PyTorch's own idiom (channels first).

    Raises:
        ImportError: PyTorch is not installed.
    """
    import torch
    from torch import nn

    def block(convolution: type, norm: type, *arguments, pool: nn.Module | None = None, **options) -> nn.Module:
        modules = [convolution(*arguments, **options), nn.ReLU(), norm(arguments[1])]
        return nn.Sequential(*modules, *([pool] if pool else []))

    block_1d = functools.partial(block, nn.Conv1d, nn.BatchNorm1d)

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            if frontend == "waveform":
                widths = (1, 64, 64, 64, 128, 128, 128, 256)
                later = [block_1d(a, b, 3, pool=nn.MaxPool1d(3)) for a, b in pairwise(widths[1:])]
                self.wave = nn.Sequential(block_1d(1, 64, 3, stride=3), *later)
                channels = 256
            else:
                heights = [int(share * SHAPES[frontend][1]) for share in (0.9, 0.4)]
                self.timbral = nn.ModuleList(
                    block(nn.Conv2d, nn.BatchNorm2d, 1, filters, (height, width), padding=(0, width // 2))
                    for height in heights
                    for width, filters in ((7, 16), (3, 32), (1, 64))
                )
                self.temporal = nn.ModuleList(
                    block_1d(1, filters, length, padding="same")
                    for length, filters in ((165, 16), (128, 32), (64, 64), (32, 128))
                )
                channels = 464
            self.first = block_1d(channels, 512, 7)
            self.second, self.third = block_1d(512, 512, 7, padding=3), block_1d(512, 512, 7, padding=3)
            self.pool = nn.MaxPool1d(2)
            dense = [nn.Dropout(0.5), nn.Linear(1024, 500), nn.ReLU(), nn.BatchNorm1d(500), nn.Dropout(0.5)]
            self.head = nn.Sequential(*dense, nn.Linear(500, CLASSES), nn.Sigmoid())

        def forward(self, audio):
            dimensions = tuple(range(1, audio.ndim))
            mean = audio.mean(dimensions, keepdim=True)
            audio = (audio - mean) / audio.std(dimensions, keepdim=True)
            if frontend == "waveform":
                x = self.wave(audio[:, None])
            else:
                image = audio.transpose(1, 2)  # (batch, mels, frames)
                parts = [filters(image[:, None]).amax(2) for filters in self.timbral]
                x = torch.cat(parts + [filters(image.mean(1, keepdim=True)) for filters in self.temporal], 1)
            x = self.first(x)
            x = self.pool(x + self.second(x))
            x = x + self.third(x)
            return self.head(torch.cat([x.amax(2), x.mean(2)], 1))

    model = Tagger().train()
    optimizer = torch.optim.Adam(model.parameters())
    audio, tags = map(torch.from_numpy, _batch(frontend, size))

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy(model(audio), tags)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
