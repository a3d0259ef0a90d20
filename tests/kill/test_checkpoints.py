"""A training killed at any line of its checkpoint goes on to the weights, the best epoch and the history of one that was not.

The disk is photographed before and after every call that changes it. A process that is killed leaves one of these pictures.
"""

import functools
import hashlib
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.base import files
from orpheus.config.tagging import ModelTraining
from orpheus.learning.engine import fit
from orpheus.runs.folder import Run
from tests import engine

EPOCHS = 6
CALLS = ("rename", "replace", "mkdir", "unlink", "rmdir")


def train(folder, epochs: int, *, built_in: bool) -> Run:
    keras.backend.clear_session()  # names of layers, which are in the files, are counted from the beginning
    run = Run(folder)
    # At this learning rate the best epoch is now the last one, now an earlier one.
    job, settings = engine.job(rate=0.5), ModelTraining(tensorboard="none", early_stop_patience=9)
    fit.train(job, run, settings, fit.Options(epochs=epochs, built_in=built_in), tf.distribute.get_strategy())
    return run


class Camera:
    """Copies of a folder around every call that changes what is on the disk; equal ones once."""

    def __init__(self, folder, album, monkeypatch):
        self.folder, self.album, self.pictures, self.busy = folder, album, {}, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._around(getattr(os, name)))

    def _around(self, call):
        @functools.wraps(call)
        def photographed(*arguments, **options):
            self.take()
            try:
                return call(*arguments, **options)
            finally:
                self.take()

        return photographed

    def take(self) -> None:
        if self.busy or not self.folder.is_dir():
            return
        self.busy = True
        try:
            digest = content(self.folder)
            if digest not in self.pictures:
                self.pictures[digest] = self.album / str(len(self.pictures))
                shutil.copytree(self.folder, self.pictures[digest])
        finally:
            self.busy = False


def content(folder) -> str:
    """A digest of all names and bytes in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


def weights(run: Run) -> np.ndarray:
    return engine.weights(keras.saving.load_model(run.model_path, compile=False))


def left(run: Run, epochs: int) -> dict:
    """What a run leaves, to be compared exactly. A row of an array can be there before its epoch is complete."""
    return {
        "checkpoints": {path.name: content(path) for path in (run.folder / "checkpoints").iterdir()},
        "history": run.read("history"),
        "arrays": [np.load(run.folder / f"arrays/{curve}.npy")[:epochs].tolist() for curve in ("roc", "pr")],
        "others": sorted(path.name for path in run.folder.iterdir()),
    }


@pytest.mark.slow
@pytest.mark.parametrize("built_in", [False, True])
def test_killed_at_any_line_of_the_checkpoint(tmp_path, monkeypatch, built_in):
    undisturbed = {epochs: train(tmp_path / f"whole-{epochs}", epochs, built_in=built_in) for epochs in (3, 4, 5, 6)}
    best = {epochs: run.best_checkpoint().name for epochs, run in undisturbed.items()}
    # It changes, stays, and is at last older than the checkpoints that are kept anyway.
    assert [int(name[-1]) for name in best.values()] == [2, 4, 4, 4]

    shutil.copytree(tmp_path / "whole-3", tmp_path / "run")
    with monkeypatch.context() as patch:
        camera = Camera(tmp_path / "run", tmp_path / "album", patch)
        train(tmp_path / "run", EPOCHS, built_in=built_in)
    assert len(camera.pictures) > 20
    went_on = set()
    for picture in camera.pictures.values():
        reached = Run(picture).checkpoints()[-1][0]
        # From the same checkpoint training goes on the same: seen once for each. What is on the disk: seen every time.
        last = EPOCHS if reached not in went_on else reached
        went_on.add(reached)
        run = train(picture, last, built_in=built_in)
        assert run.best_checkpoint().name == best[last], picture
        np.testing.assert_array_equal(weights(run), weights(undisturbed[last]), err_msg=str(picture))
        assert left(run, last) == left(undisturbed[last], last), picture
    assert went_on == {3, 4, 5, 6}
    assert not np.array_equal(weights(undisturbed[3]), weights(undisturbed[6]))


def old_run(folder, *, best: str) -> Run:
    """The run of an older version: a copy of the best checkpoint is called `best`, and no state names it."""
    run = train(folder, EPOCHS - 1, built_in=False)
    kept = run.best_checkpoint()
    states = {path: files.read_json(path / "state.json") for _, path in run.checkpoints()}
    for path, state in states.items():
        del state["best_checkpoint"]
        files.write_json(path / "state.json", state)
    if best == "copied":
        kept.rename(run.checkpoint("best"))
    else:  # killed before the copy was made
        shutil.copytree(next(path for path in states if path != kept), run.checkpoint("best"))
    return run


@pytest.mark.slow
@pytest.mark.parametrize("best", ["copied", "killed before the copy"])
def test_runs_of_older_versions_go_on(tmp_path, best):
    whole = train(tmp_path / "whole", EPOCHS, built_in=False)
    run = old_run(tmp_path / "old", best=best)
    resumed = train(run.folder, EPOCHS, built_in=False)
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    assert resumed.read("history") == whole.read("history")
