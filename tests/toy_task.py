"""The smallest task that keeps `orpheus.tasks.plan.Task`, as WORKSPACE.md's recipe says; its data are `tests.engine`'s."""

import argparse

import numpy as np

from orpheus.config.sections import parse_as
from orpheus.config.tagging import Config
from orpheus.errors import ConfigError
from orpheus.tasks.plan import Plan, engine_settings, flag

NAME, SECTION = "toy", "toy"
FLAGS = {
    "train": {"toys": [flag("--wheels", type=int, metavar="N", kept=True, help="of the toy; 4 if not given")]},
    "evaluate": {},
}


def check(command, arguments, run):
    if command == "train" and run is None and arguments.wheels is not None and arguments.wheels < 1:
        raise ConfigError(f"--wheels {arguments.wheels}: must be at least 1")


def plan(arguments: argparse.Namespace, values, source) -> Plan:
    values = {key: value for key, value in values.items() if key != SECTION}
    config = parse_as(Config, values, arguments.set, source)
    settings = {"version": 1, "task": "toy", "wheels": arguments.wheels or 4, **engine_settings(arguments, 2)}
    return _plan(config, settings)


def reopen(run, arguments) -> Plan:
    return _plan(parse_as(Config, run.read("config"), (), str(run.folder)), run.read("run"))


def _plan(config, settings) -> Plan:
    from orpheus.runs import remote
    from tests import engine

    return Plan(
        config,
        settings,
        lambda synchronized: engine.job(synchronized=synchronized),
        create=lambda command: remote.create_run(config.training.log_dir, "toy", command=command),
        save=lambda run: run.write("config", config.to_json()),
        lines=lambda: [("wheels", str(settings["wheels"]))],
    )


def agreement(truth: np.ndarray, scores: np.ndarray) -> float:
    """A metric: the share of labels on whose side the score is; (examples, classes) both."""
    return float(((scores > 0.5) == (truth > 0.5)).mean())


def evaluate(run, arguments) -> str:
    from orpheus.runs.models import load_model
    from tests import engine

    x, y = engine.data(1, 29)
    result = {"examples": len(x), "mean": {"agreement": agreement(y, load_model(run).predict(x, verbose=0))}}
    run.write_metrics(arguments.split, result)
    return table(run, arguments.split)


def table(run, split) -> str:
    return f"{split}: agreement {run.evaluation(split)['mean']['agreement']:.4f}"


def predict(run, arguments) -> int:
    raise ConfigError(f"{run.folder}: toys do not predict")
