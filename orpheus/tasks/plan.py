"""What a task tells `orpheus.train` of a run to come, and of one to go on with."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orpheus.base import cli
from orpheus.learning.engine.job import Job
from orpheus.runs.folder import Run


@dataclass(frozen=True)
class Plan:
    """A run, ready to be made.

    Attributes:
        config: A whole config; its `training` is the engine's.
        settings: Content of run.json; epochs, seed, steps_per_epoch, built_in, update_freq and frontend are in it.
        job: Whether batch normalisation is synchronised → the Job.
        save: Writes into a new run folder what the task needs besides run.json.
        lines: Job → what a dry run says of the data, (name, text) each.
        classes: Names of the outputs, empty where they have none.
    """

    config: Any
    settings: dict
    job: Callable[[bool], Job]
    save: Callable[[Run], None]
    lines: Callable[[Job], list[tuple[str, str]]]
    classes: tuple[str, ...] = ()


def engine_settings(arguments: argparse.Namespace, epochs: int) -> dict:
    """What run.json says of the engine."""
    return {
        "seed": arguments.seed,
        "epochs": arguments.epochs or epochs,
        "steps_per_epoch": arguments.steps_per_epoch,
        "built_in": arguments.built_in,
        "update_freq": arguments.update_freq,
    }


def scan_progress(names):
    return cli.progress(names, desc="scan", unit="shard")
