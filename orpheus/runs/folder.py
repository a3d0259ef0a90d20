"""The run folder: everything a training run leaves behind, and all that evaluation, prediction and resuming need.

LOG_DIR/FRONTEND_YYMMDD-HHMMSS/
    config.json classes.json spec.json run.json command.txt versions.json
    train/ validation/      TensorBoard
    checkpoints/epoch-0007/ weights, optimizer and state of callbacks, per epoch: the last ones and the best one
    history.json model.keras metrics.json
"""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orpheus.base import files, locks
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import DataError
from orpheus.runs import schemas

CHECKPOINTS, STATE = "checkpoints", "state.json"
_PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-io", "soundfile", "soxr", "librosa")


class Run:
    """A run folder, created once and opened any number of times."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    @classmethod
    def create(cls, log_dir: str | os.PathLike, name: str, *, command: Sequence[str]) -> "Run":
        """Make a new folder ``LOG_DIR/NAME_YYMMDD-HHMMSS`` (with ``-2``, ``-3``… where that exists).

        Args:
            log_dir: Created when missing.
            name: The frontend, or the experiment.
            command: Command line, for command.txt.
        """
        taken: list[str] = []
        while True:
            folder = Path(log_dir).expanduser() / new_name(name, taken)
            try:
                folder.mkdir(parents=True)
                return cls(folder)._begin(command)
            except FileExistsError:
                taken.append(folder.name)

    @classmethod
    def create_numbered(cls, parent: str | os.PathLike, name: str, *, command: Sequence[str]) -> "Run":
        """Make a new folder ``PARENT/NAME_N``, N the first number from 1 on that is free above all that are there."""
        parent = Path(parent).expanduser()
        parent.mkdir(parents=True, exist_ok=True)
        taken = [path.name.removeprefix(f"{name}_") for path in parent.glob(f"{name}_*")]
        number = max((int(text) for text in taken if text.isdecimal()), default=0)
        while True:
            number += 1
            try:
                (parent / f"{name}_{number}").mkdir()
                return cls(parent / f"{name}_{number}")._begin(command)
            except FileExistsError:  # another process was quicker
                continue

    @classmethod
    def begin(cls, folder: str | os.PathLike, *, command: Sequence[str]) -> "Run":
        """Begin a run in a folder that is there and empty."""
        return cls(folder)._begin(command)

    def _begin(self, command: Sequence[str]) -> "Run":
        with files.atomic(self.folder / "command.txt") as file:
            file.write(" ".join(command) + "\n")
        self.write("versions", versions())
        return self

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "Run":
        """Open an existing run.

        Raises:
            DataError: the folder is missing or holds no run.
        """
        if "://" in os.fspath(folder):
            raise DataError(f"{folder}: a run in object storage, and this needs one here; copy the folder")
        run = cls(Path(folder).expanduser())
        if not run.folder.is_dir():
            raise DataError(f"{folder}: no such run folder")
        if not (run.folder / "run.json").is_file():
            raise DataError(f"{folder}: not a run (no run.json); give a folder that orpheus.train made")
        return run

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from training the run meanwhile (`locks.lock`)."""
        return locks.lock(self.folder)

    def records(self, given: str | os.PathLike | None) -> str:
        """Where its records are: the place given, or where they were.

        Raises:
            DataError: none is given, and they are there no longer, or never were (a published tagger).
        """
        if not given and self.read("run")["tfrecords_dir"] is None:
            raise DataError(
                f"{self.folder}: a published tagger, which knows no records; give some with --tfrecords-dir"
            )
        folder = str(given or self.read("run")["tfrecords_dir"])
        if given is None and "://" not in folder and not os.path.isdir(os.path.expanduser(folder)):
            raise DataError(
                f"{folder}: the records of {self.folder} are there no longer; say with --tfrecords-dir where they are now, "
                "and the run remembers it"
            )
        return folder

    def moved(self, folder: str, *, key: str = "tfrecords_dir") -> None:
        """Remember where its records are now, or another folder that run.json names."""
        settings = self.read("run")
        if settings[key] not in (None, folder):
            self.write("run", {**settings, key: folder})

    def write(self, name: str, value: Any) -> None:
        """Write NAME.json."""
        files.write_json(self.folder / f"{name}.json", value)

    def read(self, name: str) -> Any:
        """Read NAME.json.

        Raises:
            DataError: missing, not JSON, or with other content than that file of a run has (see `schemas.checked`);
                also when a key is asked for that an object in it lacks.
        """
        path = self.folder / f"{name}.json"
        return schemas.checked(name, files.read_json(path), str(path))

    def _read_or(self, name: str, default: Any) -> Any:
        return self.read(name) if (self.folder / f"{name}.json").is_file() else default

    @property
    def task(self) -> str:
        """The task that run.json names, ``"unknown"`` where it names none."""
        return str(self.read("run").get("task", "unknown"))

    def check_task(self, task: str, use: str) -> None:
        """Refuse a run of another task.

        Args:
            task: The one that is wanted.
            use: What it is wanted for, for the message: ``"search needs a retrieval run"``.

        Raises:
            DataError: run.json names another.
        """
        if self.task != task:
            raise DataError(f"{self.folder}: a run of {self.task}; {use}")

    def spec(self) -> AudioSpec:
        """spec.json: what the audio it was trained on is stored as.

        Raises:
            DataError: missing (the run's input is no audio) or not a spec.
        """
        return AudioSpec.from_json(self.read("spec"), str(self.folder / "spec.json"))

    def classes(self) -> TagTargets:
        """classes.json: the outputs in column order, and which tags stand for each.

        Raises:
            DataError: missing, or an experiment's, which has names alone (`class_names`).
        """
        return TagTargets.from_json(self.read("classes"), str(self.folder / "classes.json"))

    def class_names(self) -> tuple[str, ...]:
        """The outputs' names in column order; empty where they have none."""
        return tuple(map(str, self._read_or("classes", {}).get("classes", ())))

    def metrics(self) -> dict[str, Any]:
        """metrics.json: split → what its evaluation found; empty before the first one."""
        return self._read_or("metrics", {})

    def evaluation(self, split: str) -> dict[str, Any]:
        """What the evaluation of a split found.

        Raises:
            DataError: it has not been evaluated on that split.
        """
        found = self.metrics()
        if split not in found:
            raise DataError(f"{self.folder}: not evaluated on {split}; run python -m orpheus.evaluate {self.folder}")
        return found[split]

    def write_metrics(self, split: str, found: dict[str, Any]) -> None:
        """Write what an evaluation found to metrics.json, beside the other splits'."""
        self.write("metrics", {**self.metrics(), split: found})

    def history(self) -> list[dict[str, Any]]:
        """history.json: a row per epoch; empty before the first."""
        return self._read_or("history", [])

    @property
    def location(self) -> str:
        """What to call the run by on a command line."""
        return str(self.folder)

    def publish(self) -> None:
        """See to it that all of the run is at its place; a folder of this machine is."""

    @property
    def model_path(self) -> Path:
        """model.keras."""
        return self.folder / "model.keras"

    def checkpoints(self) -> list[tuple[int, Path]]:
        """(epochs completed, folder) of every complete checkpoint, oldest first."""
        found = []
        for path in self.folder.glob(f"{CHECKPOINTS}/epoch-*"):
            number = path.name.removeprefix("epoch-")
            if number.isdigit() and (path / STATE).is_file():
                found.append((int(number), path))
        return sorted(found)

    def checkpoint(self, name: str) -> Path:
        """The folder of a checkpoint by its name."""
        return self.folder / CHECKPOINTS / name

    def best_checkpoint(self) -> Path | None:
        """The checkpoint that the newest one's state names as the best; None without checkpoints or a best one."""
        complete = self.checkpoints()
        if not complete:
            return None
        name = self.best_name(self.state(complete[-1][1]))
        return self.checkpoint(name) if name else None

    def state(self, checkpoint: Path) -> dict[str, Any]:
        """state.json of one of `checkpoints`.

        Raises:
            DataError: it is damaged, or of another epoch than its folder.
        """
        path = checkpoint / STATE
        state = schemas.checked("state", files.read_json(path), str(path))
        number = checkpoint.name.removeprefix("epoch-")
        if number.isdigit() and int(number) != len(state["history"]):
            raise DataError(
                f"{path}: is of {len(state['history'])} epochs; put back its own, or remove {checkpoint.name}"
            )
        return state

    def best_name(self, state: dict[str, Any]) -> str | None:
        """The name of the best checkpoint by the state of a newer one or of itself; None where there is none yet.

        Runs of older versions kept a copy called ``best``, which can be of an epoch before the one that the state names.
        """
        if "best_checkpoint" in state or not state.get("best_epoch"):
            return state.get("best_checkpoint")
        name = checkpoint_name(state["best_epoch"])
        return name if (self.checkpoint(name) / STATE).is_file() else "best"

    def start_checkpoint(self) -> Path:
        """An empty folder to write the next checkpoint to; `finish_checkpoint` gives it its name."""
        path = self.checkpoint(".unfinished")
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def finish_checkpoint(self, name: str) -> Path:
        """Rename the started checkpoint, whole and with its state in it, to `name`: the one step that counts."""
        path = self.checkpoint(name)
        if path.exists():
            self._discard(path)  # a folder cannot replace a folder; the epoch before is there
        os.rename(self.checkpoint(".unfinished"), path)
        return path

    def prune_checkpoints(self, *, keep: int = 2) -> None:
        """Remove all but the last `keep` and the best checkpoint, and what a killed process left."""
        complete = self.checkpoints()
        kept = {path for _, path in complete[-keep:]} | {self.best_checkpoint()}
        for path in self.folder.glob(f"{CHECKPOINTS}/*"):
            if path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)
            elif path not in kept and (path.name == "best" or path.name.startswith("epoch-")):
                self._discard(path)

    def _discard(self, path: Path) -> None:
        """Remove a checkpoint so that half of it is never taken for one."""
        old = path.with_name(f".old-{path.name}")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(path, old)
        shutil.rmtree(old)


def checkpoint_name(epochs: int) -> str:
    """The name of the checkpoint after so many epochs."""
    return f"epoch-{epochs:04d}"


def new_name(name: str, taken: Sequence[str]) -> str:
    """``NAME_YYMMDD-HHMMSS``, with ``-2``, ``-3``… where that is taken."""
    base = f"{name}_{datetime.datetime.now():%y%m%d-%H%M%S}"
    others = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(one for one in (base, *others) if one not in taken)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "executable": sys.executable}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
