"""Metric learning: triplets drawn per second, and a training step of the two towers next to the same network in PyTorch.

Sampling: 50,000 songs, 500 tags whose frequencies fall as 1/rank. Batches are counted in the graph, by a function that is called
with each, as that which looks up vectors and audio is; iterating over them in Python would take longer than drawing. The loop draws tag and songs one triplet at a time with
Python's random, again and again until the negative lacks the tag, as is usual. Step: short-chunk CNN, batch of anchors with a
positive and a negative song each, forward, triplet loss, backward, Adam, float32.
"""

import random
import sys
from collections.abc import Callable
from itertools import pairwise

from benchmarks import common
from benchmarks.common import Candidate, Row, compared, interleaved
from orpheus.base import cli

SONGS, TAGS = 50_000, 500
FRAMES, MELS, VECTOR = 173, 128, 300


def parser() -> cli.Parser:
    result = common.parser("triplets", __doc__, example="--repeats 5")
    result.add_argument("--batch-size", type=int, default=4, help="anchors in a training step, two songs each")
    result.add_argument("--filters", type=int, default=64, help="narrowest convolution; the paper has 128")
    result.add_argument("--draws", type=int, default=128, help="triplets in a drawn batch")
    result.add_argument("--repeats", type=int, default=5, help="rounds after one that does not count")
    return result


def measure(arguments) -> list[Row]:
    """All rows of this benchmark."""
    return sampling(arguments) + training_step(arguments)


def sampling(arguments) -> list[Row]:
    """Balanced draws of whole batches."""
    import numpy as np

    from orpheus.data.batches.triplets import Triplets

    rng = np.random.default_rng(0)
    labels = rng.random((SONGS, TAGS)) < 0.5 / np.arange(1, TAGS + 1)
    triplets, size = Triplets(labels, balanced=True), arguments.draws
    songs_of = [np.flatnonzero(labels[:, tag]).tolist() for tag in range(TAGS)]
    tags_of = [set(np.flatnonzero(row)) for row in labels]
    chance, calls = random.Random(0), 5000

    batches = triplets.batches(size, steps=calls, seed=0).take(calls)

    def ours() -> None:
        batches.reduce(0, lambda count, _: count + 1)

    def loop() -> None:
        for _ in range(calls * size):
            tag = chance.randrange(TAGS)
            chance.choice(songs_of[tag])
            negative = chance.randrange(SONGS)
            while tag in tags_of[negative]:
                negative = chance.randrange(SONGS)

    amount = calls * size
    candidates = {
        "orpheus": Candidate(ours, amount, arguments.repeats),
        "one at a time in Python": Candidate(loop, amount, arguments.repeats),
    }
    case = f"{SONGS} songs, {TAGS} tags, batches of {size}"
    return compared("triplets", case, interleaved(candidates), unit="triplets/s")


def training_step(arguments) -> list[Row]:
    """A step of the two towers here and in PyTorch, where that is installed."""
    size, rounds = arguments.batch_size, arguments.repeats
    candidates = {"orpheus": Candidate(ours(arguments), size, rounds)}
    missing = []
    case = f"short-chunk step, {arguments.filters} filters, {size} anchors"
    try:
        candidates["PyTorch, same network"] = Candidate(in_torch(arguments), size, rounds)
    except ImportError:
        missing = [Row("triplets", case, "PyTorch, same network", (), "", note="not installed")]
    rates = interleaved(candidates)
    return compared("triplets", case, rates, unit="anchors/s", targets={"PyTorch, same network": 0.9}) + missing


def _batch(size: int):
    """Random (tag vectors, songs), float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    songs = rng.normal(size=(size, 2, FRAMES, MELS)).astype("float32")
    return rng.normal(size=(size, VECTOR)).astype("float32"), songs


def ours(arguments) -> Callable[[], float]:
    """A step of `orpheus.models.towers`."""
    import keras
    import tensorflow as tf

    from orpheus.learning.losses.triplet import TripletLoss
    from orpheus.models.towers import build_towers

    model = build_towers({"audio": (FRAMES, MELS)}, VECTOR, n_filters=arguments.filters)
    optimizer, loss = keras.optimizers.Adam(1e-4), TripletLoss()
    optimizer.build(model.trainable_variables)
    tags, songs = map(tf.constant, _batch(arguments.batch_size))
    targets = tf.zeros([arguments.batch_size, 2])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss.call(targets, model({"tag": tags, "audio": songs}, training=True)))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    return lambda: float(step())


def in_torch(arguments) -> Callable[[], float]:
    """A step of the same network in PyTorch's own idiom.

    Raises:
        ImportError: PyTorch is not installed.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    widths = [1, *(arguments.filters * multiple for multiple in (1, 1, 2, 2, 2, 2, 4))]
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in pairwise(widths)
    ]
    song_tower = nn.Sequential(*blocks, nn.Conv2d(widths[-1], 256, 1))
    tag_tower = nn.Sequential(
        nn.Linear(VECTOR, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 256)
    )
    optimizer = torch.optim.Adam([*song_tower.parameters(), *tag_tower.parameters()], 1e-4)
    tags, songs = map(torch.from_numpy, _batch(arguments.batch_size))

    def step() -> float:
        optimizer.zero_grad()
        flat = songs.reshape(-1, 1, FRAMES, MELS)
        dimensions = (1, 2, 3)
        flat = (flat - flat.mean(dimensions, keepdim=True)) / flat.std(dimensions, keepdim=True)
        found = functional.normalize(song_tower(flat).amax((2, 3)), dim=-1).reshape(-1, 2, 256)
        anchors = functional.normalize(tag_tower(tags), dim=-1)
        near, far = ((anchors * found[:, index]).sum(-1) for index in (0, 1))
        loss = torch.relu(0.4 - near + far).mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def main(argv: list[str] | None = None) -> int:
    return common.main(parser(), measure, argv)


if __name__ == "__main__":
    sys.exit(main())
