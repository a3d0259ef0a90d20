"""What a report reads of runs, and whether they compare."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.base import arrays, files, resources
from orpheus.errors import ConfigError, DataError
from orpheus.runs import comparability
from orpheus.runs.folder import Run
from orpheus.tasks.scores import Scores

log = logging.getLogger(__name__)
GROUPS = resources.folder("dictionaries")
SPACES = {"retrieval", "joint"}  # tasks whose runs rank songs for tags, and so compare


_SHORTEST = 6  # letters that a shortened name keeps: model_1 stays model_1


@dataclass
class ReportedRun:
    """What a report knows of a run.

    Attributes:
        run: Its folder.
        name: As the report calls it.
        about: run.json.
        config: config.json.
        metrics: The evaluated split's entry of metrics.json, empty where there is none.
        history: A row per epoch.
        rates: (epochs,) learning rate, where TensorBoard's events have it.
        scores: Of the evaluated split's tracks.
        valid: Of the validation tracks, by which thresholds are chosen.
        classes: Names of the outputs, empty where they have none.
        per_user: Metric → (users,), of recommendation and of joint runs.
        users: Their ids, where they are kept.
    """

    run: Run
    name: str
    about: dict[str, Any]
    config: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    rates: list[float] = field(default_factory=list)
    scores: Scores | None = None
    valid: Scores | None = None
    classes: tuple[str, ...] = ()
    per_user: dict[str, np.ndarray] = field(default_factory=dict)
    users: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """As run.json names it."""
        return self.about.get("task", "unknown")

    @property
    def tagging(self) -> bool:
        """Whether sections of taggers apply."""
        return "mean_of_windows" in self.metrics

    @property
    def summary(self) -> dict[str, Any]:
        """The areas by mean of windows."""
        return self.metrics["mean_of_windows"]

    @property
    def songs_for_tags(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Figures of ranking songs for tags and their intervals, of retrieval and joint runs alike; both may be empty."""
        found = self.metrics.get("tag_songs") or self.metrics
        figures = {**(found.get("macro") or {}), **found}
        bounds = found.get("intervals") or {}
        return figures, {**(bounds.get("macro") or {}), **bounds}


def read(runs: Sequence[Run], split: str) -> list[ReportedRun]:
    """Read runs, names made short and different.

    Args:
        runs: At least one.
        split: Split of each that is shown.
    """
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) > 1:  # what they all begin with tells nothing
        shared = os.path.commonprefix(names)  # noqa: RUF071  letters are what is wanted
        short = [name[shared.rfind("_") + 1 :] for name in names]
        names = short if min(map(len, short)) >= _SHORTEST else names
    found = []
    for index, run in enumerate(runs):
        name = names[index] if names.count(names[index]) == 1 else f"{names[index]} ({'ABCDEFGH'[index % 8]})"
        stored = run.metrics()
        split = split if split in stored else {"valid": "val"}.get(split, split)
        if split not in stored:
            log.warning("%s: not evaluated on its %s split; python -m orpheus.evaluate %s", name, split, run.folder)
        found.append(
            ReportedRun(
                run,
                name,
                run.read("run"),
                run.read("config"),
                stored.get(split, {}),
                run.history(),
                learning_rates(run),
                Scores.load(run, split),
                Scores.load(run, "valid") if split != "valid" else None,
                run.class_names(),
                *_per_user(run, split),
            )
        )
    return found


def _per_user(run: Run, split: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    path = run.folder / f"per_user_{split}.npz"
    if not path.is_file():
        return {}, ()
    stored = arrays.load_npz(path)
    users = tuple(map(str, stored.pop("ids", np.array([], str)).ravel()))
    sizes = {len(users)} if users else set()
    if any(one.ndim != 1 or one.dtype.kind not in "fiub" for one in stored.values()) or (
        len(sizes | {one.size for one in stored.values()}) > 1
    ):
        raise DataError(f"{path}: expected a number per user for each metric; evaluate again")
    return {name: values.astype(np.float64) for name, values in stored.items()}, users


def learning_rates(run: Run) -> list[float]:
    """The learning rate at the end of each epoch, by the run's TensorBoard events; empty where there are none."""
    if not list((run.folder / "train").glob("events.*")):
        return []
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    events = event_accumulator.EventAccumulator(str(run.folder / "train"), {"tensors": 0, "images": 1, "histograms": 1})
    events.Reload()
    if "learning_rate" not in events.Tags()["tensors"]:
        return []
    by_epoch = {one.step: float(tensor_util.make_ndarray(one.tensor_proto)) for one in events.Tensors("learning_rate")}
    return [by_epoch[step] for step in sorted(by_epoch)]


def check(reported: Sequence[ReportedRun], *, different_splits: bool) -> list[str]:
    """Refuse runs that do not compare; what is different all the same, for people.

    Raises:
        ConfigError: of different tasks. DataError: over different splits, which was not asked for.
    """
    tasks = {one.name: one.task for one in reported}
    spaces = set(tasks.values()) <= SPACES
    if len(set(tasks.values())) > 1 and not spaces:
        shown = ", ".join(f"{name} ({task})" for name, task in tasks.items())
        raise ConfigError(f"{shown}: a report compares runs of one task; make one report of each")
    # What was evaluated decides; runs that were not are distinguished by what they were trained on.
    named = {one.name: one.metrics if one.metrics.get("hashes") else one.about for one in reported}
    if len(set(tasks.values())) > 1:  # joint runs have songs without a tag besides, which no tag's ranking has
        named = {name: {"hashes": _of_tagged(about.get("hashes") or {})} for name, about in named.items()}
    keys = ("split",) if spaces else ("split", "records")  # they need no records
    return comparability.check_split(named, keys=keys, different_splits=different_splits)


def _of_tagged(hashes: Mapping[str, Any]) -> dict[str, Any]:
    return {"split": hashes.get("tagged", hashes.get("split"))}


def read_groups(path: str | os.PathLike | None, classes: Sequence[str]) -> dict[str, list[str]]:
    """Group → its classes, in the file's order.

    Args:
        path: JSON, ``{"groups": {name: [tags]}}``; None for whichever shipped file knows half of the classes.
        classes: Those of the run; spellings may differ in case.

    Raises:
        DataError: not such a file, or none of the classes is in it.
    """
    shipped = sorted(GROUPS.glob("*_groups.json"))
    best: dict[str, list[str]] = {}
    for one in [Path(path).expanduser()] if path else shipped:
        values = files.read_json(one)
        groups = values.get("groups") if isinstance(values, dict) else None
        if not isinstance(groups, dict) or not all(isinstance(tags, list) for tags in groups.values()):
            raise DataError(f'{one}: no groups of tags; expected {{"groups": {{"genres": ["rock", …], …}}}}')
        wanted = {name: {str(tag).casefold() for tag in tags} for name, tags in groups.items()}
        found = {name: [c for c in classes if c.casefold() in tags] for name, tags in wanted.items()}
        found = {name: members for name, members in found.items() if members}
        if sum(map(len, found.values())) > sum(map(len, best.values())):
            best = found
    known = sum(map(len, best.values()))
    if path and not known:
        raise DataError(f"{path}: none of the {len(classes)} classes is in a group")
    return best if path or 2 * known >= len(classes) else {}
