"""Networks that benchmarks.pretrained trains on few clips: the log-mel CNN from scratch, and a published tagger's new head."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import philharmonia
from orpheus.base import files
from orpheus.errors import DataError

FRONTEND, SIDES = "log-mel-spectrogram", ("train", "valid", "test")
CNN = "log-mel CNN from scratch"
TRUNK = "MSD_musicnn"  # frozen under a new layer of tags
EPOCHS = {0.01: 60, 0.05: 60, 0.2: 25}  # of a CNN from scratch on few clips
HEAD_EPOCHS = 60
Scores = dict[str, np.ndarray]  # side → (clips, tags)
Learner = Callable[[float, np.ndarray, int], Scores]  # share and numbers of the training clips, seed


def kept(note: Path | None, make: Callable[[], Scores]) -> Scores:
    """Scores of a file, which is made where it is not there; None: made anew."""
    if note is None:
        return make()
    if not note.is_file():
        with files.atomic(note, "wb") as file:
            np.savez(file, **make())
    with np.load(note) as stored:
        return {side: stored[side].astype(np.float64) for side in SIDES[1:]}


def learners(run: str, ids: dict[str, list[str]], data: Path, out: Path) -> dict[str, Learner]:
    """What trains networks on some of the clips of a run's split: from scratch as the run, and a published one's tags.

    Args:
        run: Of the log-mel CNN on all of them.
        ids: Of its clips, by side.
        data: The Philharmonia's folder.
        out: Of benchmarks.pretrained; has the published taggers' runs.

    Raises:
        DataError: the records for the published one are split otherwise.
    """
    from orpheus import config as config_module
    from orpheus.runs.folder import Run
    from orpheus.tasks.tagging import data as tagging_data
    from orpheus.tasks.tagging import fine_tuning, network

    whole = tagging_data.reopen_data(Run.open(run))
    scratch = tagging_data.load_config(Run.open(run))
    published = Run.open(out / "published" / TRUNK)
    frozen = config_module.parse(
        {
            "model": tagging_data.load_config(published).model.model_dump(),
            "model-training": {
                "optimizer": {"name": "Adam", "learning_rate": 0.003},
                "batch_size": 32,
                "window_length": 2.992,
                "window_random": False,  # so that what the network makes of each clip is computed once
                "split": scratch.training.split,
                "tensorboard": "none",
            },
            "tags": scratch.tags.model_dump(),
        }
    )
    # float16 decibels, as the CNN's: a published tagger's scores move by up to .002 (docs/PRETRAINED.md).
    folder = philharmonia.records(FRONTEND, data, out, "--n-fft", 512, "--hop-length", 256, name="mel-512")
    heard = tagging_data.open_data(FRONTEND, frozen, tagging_data.Choices(str(folder)))
    if heard.targets.classes != whole.targets.classes or any(
        [row.track_id for row in heard.records_of(side).rows()] != ids[side] for side in SIDES
    ):
        raise DataError(f"{folder}: its split or its tags are not those of {run}; give another --out")

    learner = functools.partial(_learner, out / "few")
    start = fine_tuning.start(published.folder, heard, network.settled(frozen, FRONTEND))
    return {
        f"{TRUNK} frozen, new layer of tags": learner(f"frozen-{TRUNK}", heard, frozen, {}, start),
        CNN: learner("cnn", whole, scratch, EPOCHS, None),
    }


def _learner(folder: Path, name: str, data: Any, config: Any, epochs: Mapping[float, int], start: Any) -> Learner:
    """What trains on some clips; the runs are in a folder."""

    def learn(share: float, drawn: np.ndarray, seed: int) -> Scores:
        from orpheus.runs.folder import Run
        from orpheus.tasks.tagging import network

        batch = min(config.training.batch_size, len(drawn))
        training = config.training.model_copy(update={"batch_size": batch, "tensorboard": "none"})
        return philharmonia.fitted(
            _few_clips(data, drawn),
            network.settled(config.model_copy(update={"training": training}), FRONTEND),
            Run.create(folder / "runs", name, command=sys.argv),
            epochs=epochs.get(share, HEAD_EPOCHS),
            seed=seed,
            start=start,
            freeze=start is not None,
            macro=True,
        )

    return learn


def _few_clips(data: Any, drawn: np.ndarray) -> Any:
    """The same data, of whose training clips only those with the numbers `drawn` have tags, so that others are left out."""
    ids = [row.track_id for row in data.records_of("train").rows()]
    kept = {ids[number] for number in drawn}
    shards = dict(data.catalogue.shards)
    for shard in data.split["train"]:
        shards[shard] = tuple(
            row if row.track_id in kept else dataclasses.replace(row, tags=tuple(() for _ in row.tags))
            for row in shards[shard]
        )
    return dataclasses.replace(data, catalogue=dataclasses.replace(data.catalogue, shards=shards))
