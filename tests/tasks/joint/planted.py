"""A small world whose answers are known: songs of a few kinds, their tags, texts, factors and listeners."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.data.items import tables
from orpheus.data.items.tables import Table
from orpheus.data.splits import search

KINDS, SONGS, LISTENERS, PER_TAG = 6, 240, 60, 2
TAGS = [f"tag{kind}{letter}" for kind in range(KINDS) for letter in "ab"[:PER_TAG]]


@dataclass
class Planted:
    """Files of it.

    Attributes:
        folder: Where they are.
        kinds: (songs,) kind of each song, which its tags, inputs and listeners follow.
    """

    folder: Path
    kinds: np.ndarray

    def arguments(self, config: Path | str, *, without: tuple[str, ...] = (), runs: Path | None = None) -> list[str]:
        """The command line of a training, without some of its options."""
        given = {
            "--word-vectors": "vectors.txt",
            "--tags": "tags.jsonl",
            "--split": "split.json",
            "--texts": "texts.npz",
            "--factors": "factors.npz",
            "--counts": "plays.csv",
        }
        options = [
            part
            for option, name in given.items()
            if option not in without
            for part in (option, str(self.folder / name))
        ]
        log = ["--set", f"model-training.log_dir={runs or self.folder / 'runs'}"]
        return ["features", "--config", str(config), *log, *options]


def plant(folder: Path, *, seed: int = 0, noise: float = 0.5) -> Planted:
    """Write it: each kind of song has two tags of its own, listeners who hear little else, texts and factors around a centre."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, KINDS, SONGS)
    ids = [f"s{number:03d}" for number in range(SONGS)]
    order = rng.permutation(SONGS)
    parts = {"train": order[:150], "valid": order[150:190], "test": order[190:]}
    listed = {name: [ids[i] for i in sorted(rows)] for name, rows in parts.items()}
    made = {"format": search.FORMAT, "version": search.VERSION, "made": {}, "tags": {}, "least": 0}
    (folder / "split.json").write_text(json.dumps({**made, **listed}))
    with (folder / "tags.jsonl").open("w") as file:
        for song, kind in zip(ids, kinds, strict=True):
            own = [tag for tag in TAGS if int(tag[3]) == kind and rng.random() < 0.8] or [f"tag{kind}a"]
            own += [tag for tag in TAGS if int(tag[3]) != kind and rng.random() < 0.02]
            file.write(json.dumps({"id": song, "tags": own}) + "\n")
    with (folder / "vectors.txt").open("w") as file:
        for tag in TAGS:
            file.write(f"{tag} {' '.join(f'{x:.4f}' for x in rng.normal(size=8))}\n")
    for name, size in (("texts", 20), ("factors", 10)):
        centres = rng.normal(size=(KINDS, size))
        rows = centres[kinds] + noise * rng.normal(size=(SONGS, size))
        tables.write(folder / f"{name}.npz", Table(name, tuple(ids), rows.astype(np.float32)))
    with (folder / "plays.csv").open("w") as file:
        file.write("listener,song,count\n")
        for listener in range(LISTENERS):
            chance = np.where(kinds == listener % KINDS, 0.5, 0.02)
            for song in np.flatnonzero(rng.random(SONGS) < chance):
                file.write(f"u{listener:02d},{ids[song]},{rng.integers(1, 20)}\n")
    likes = np.eye(KINDS)[np.arange(LISTENERS) % KINDS] + 0.1 * rng.normal(size=(LISTENERS, KINDS))
    table = Table("l", tuple(f"u{one:02d}" for one in range(LISTENERS)), likes.astype(np.float32))
    tables.write(folder / "listeners.npz", table)
    return Planted(folder, kinds)


def config(folder: Path, **joint) -> Path:
    """A config of a small model on texts and factors; `joint` changes its section."""
    values = {
        "joint": {
            "inputs": ["text", "factors"],
            "embedding": 16,
            "dropout": 0.2,
            "pairs_per_epoch": 960,
            "history": 3,
            **joint,
        },
        "model-training": {
            "batch_size": 48,
            "n_epochs": 6,
            "optimizer": {"name": "Adam", "learning_rate": 0.003},
            "tensorboard": "none",
        },
    }
    path = folder / "joint.json"
    path.write_text(json.dumps(values))
    return path
