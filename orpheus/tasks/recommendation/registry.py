"""Named experiments (configs/experiments/NAME.json) and the table of trained models. Loads no TensorFlow but for URLs."""

import copy
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orpheus.base import files, resources
from orpheus.config import experiment
from orpheus.config.experiment import ExperimentConfig
from orpheus.errors import ConfigError, DataError

FOLDER = resources.folder("configs") / "experiments"


def names() -> list[str]:
    """Names of the experiments that can be run; files that start with ``_`` are only what others extend."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if not path.stem.startswith("_"))


def load(name: str, settings: Sequence[str] = (), *, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The config of an experiment: `read`, checked.

    Args:
        name: As of `read`.
        settings: As of `read`.
        overrides: ``section.key=value`` strings.
    """
    values, source = read(name, settings)
    return experiment.parse(values, overrides=overrides, source=source)


def read(name: str, settings: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """The values of an experiment, and the path of its file.

    Args:
        name: One of `names`, or the path of such a file. Its key ``extends`` names another one in the same folder,
            whose values it changes: sections are merged, other values replaced, null takes one out.
        settings: Features of the inputs that have a setting, in their order; fewer keep what the file gives.

    Raises:
        ConfigError: no such experiment, a wrong value in its file, or more settings than inputs.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file() or path.stem.startswith("_"):
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"{name}: no such experiment; {cure}")
    values = _resolve(path, ())
    inputs = values.get("inputs") or {}
    if not isinstance(inputs, dict) or not all(isinstance(value, dict) for value in inputs.values()):
        raise ConfigError(f"{path}: inputs is {str(inputs)[:60]}; expected an object of named inputs")
    takers = [key for key, value in inputs.items() if value.get("kind") != "patches"]
    if len(settings) > len(takers):
        raise ConfigError(f"{name}: {len(settings)} settings for {len(takers)} inputs ({', '.join(takers) or 'none'})")
    for key, setting in zip(takers, settings, strict=False):
        values["inputs"][key]["setting"] = setting
    return values, str(path)


def _resolve(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file, merged over those of the files that it extends."""
    if path in seen:
        raise ConfigError(f"{path}: extends itself by way of {seen[-1].name}")
    try:
        values = files.read_json(path)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: an experiment is a JSON object")
    parent = values.pop("extends", None)
    if not isinstance(parent, str | None) or (parent and not (path.parent / f"{parent}.json").is_file()):
        raise ConfigError(f"{path}: extends {str(parent)[:60]!r}; expected the name of a file beside it, without .json")
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    return values if parent is None else _merge(_resolve(path.parent / f"{parent}.json", (*seen, path)), values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result
