"""Sections that configs share, overrides, and errors that name the key and the nearest known one."""

import difflib
import json
import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orpheus.base import files, resources
from orpheus.errors import ConfigError, DataError

Positive = Annotated[int, Field(gt=0, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of config.json. Unknown keys are refused, and null means the default."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: Any) -> Any:
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values


class Optimizer(Section):
    """Any Keras optimizer by name; further keys are its own arguments."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str = "Adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    max_learning_rate: Annotated[float, Field(gt=0)] | None = None


class Training(Section):
    """How any model is trained."""

    optimizer: Optimizer = Optimizer()
    batch_size: Positive = Field(64, description="examples per step over all replicas")
    schedule: Literal["constant", "cyclical", "one-cycle"] | None = Field(
        None, description="null: cyclical where optimizer.max_learning_rate is set, else constant"
    )
    iterations: Positive | None = Field(None, description="steps of half a cycle (cyclical); null: four epochs")
    early_stop_patience: Annotated[int, Field(ge=0)] | None = None
    early_stop_min_delta: Annotated[float, Field(ge=0)] | None = None
    reduceLRoP_patience: Annotated[int, Field(ge=0)] | None = None
    reduceLRoP_min_delta: Annotated[float, Field(ge=0)] | None = None
    reduceLRoP_min_lr: Annotated[float, Field(ge=0)] | None = None
    reduceLRoP_factor: Annotated[float, Field(ge=0, lt=1)] | None = None
    mixed_precision: Literal["bfloat16", "float16"] | None = None
    jit: bool = Field(False, description="XLA around the forward and backward pass")
    micro_batches: Positive = Field(
        1,
        description="equal parts of a replica's share of the batch, passed one after the other to save memory; the step is "
        "that of the whole batch, except that batch normalisation takes its statistics from each part, and dropout draws "
        "other masks",
    )
    steps_per_execution: Positive = Field(
        1,
        description="steps in one call of the graph, at most up to the next log (--update-freq); same results, less Python",
    )
    tensorboard: Literal["all", "scalars", "none"] = Field(
        "all", description="all: histograms, config, hparams, projector and per-class pictures too"
    )

    @model_validator(mode="after")
    def _rates(self):
        top, base = self.optimizer.max_learning_rate, self.optimizer.learning_rate
        if top is not None and top <= base:
            raise ValueError(f"optimizer.max_learning_rate={top} must be above optimizer.learning_rate={base}")
        if self.schedule in ("cyclical", "one-cycle") and top is None:
            raise ValueError(f"schedule={self.schedule} needs optimizer.max_learning_rate")
        return self


class Tags(Section):
    """Which tags become classes."""

    top: Positive | None = Field(None, description="the most popular ones; null: all")
    with_: list[str] = Field([], alias="with", description="added to them")
    without: list[str] = Field([], description="taken from them")
    merge: list[list[str]] = Field([], description="groups counted as one, named after their first")


class TFRecords(Section):
    """What the records must have been made with; spec.json beside them is compared with every key given here."""

    n_mels: Positive | None = None
    n_tags: Positive | None = None
    sample_rate: Positive | None = None
    n_fft: Positive | None = None
    hop_length: Positive | None = None


def read(path: str | os.PathLike) -> tuple[dict, str]:
    """The content of a config file, not yet checked, and its path.

    Raises:
        ConfigError: missing or malformed file.
    """
    path = resources.find(path)
    if path.is_dir():
        path = path / "config.json"
    if not path.exists():
        raise ConfigError(f"{path}: no such config; give a config.json or a folder that holds one")
    try:
        values = files.read_json(path)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a config is a JSON object of sections (model, model-training, tags, tfrecords …)")
    return values, str(path)


def parse_as(model: type[Any], values: dict, overrides: Sequence[str], source: str) -> Any:
    """Check values against a model of a whole config; errors as in `load`."""
    values = json.loads(json.dumps(values))
    # "_comment" and the like head the shipped files with command, duration and expected result.
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    for override in overrides:
        _override(values, override)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error.errors()[0], model)}") from None


def _override(values: dict, override: str) -> None:
    """Set one ``section.key=value``."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise ConfigError(f"--set {override}: expected section.key=value, for example model-training.batch_size=32")
    try:
        value = files.parse_json(text, "--set")
    except DataError:  # text that is no JSON is text
        value = text
    for part in parts[:-1]:
        if not isinstance(values.get(part), dict):
            values[part] = {}
        values = values[part]
    values[parts[-1]] = value


def _known(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _explain(problem: Any, root: type[BaseModel]) -> str:
    """One pydantic problem as: key: value, rule, cure."""
    path, section = _locate(problem["loc"], root)
    key = ".".join(path) or "config"
    if problem["type"] == "extra_forbidden":
        known = _known(section) if section else []
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        cure = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {cure}"
    if problem["type"] == "missing":
        return f"{key}: missing; give it a value"
    if problem["type"] == "value_error":
        return f"{key}: {problem['ctx']['error']}" if path else str(problem["ctx"]["error"])
    return f"{key}={problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _locate(location: Sequence[Any], root: type[BaseModel]) -> tuple[list[str], Any]:
    """The keys of a problem as the file has them, and the section that holds the last of them."""
    path: list[str] = []
    section: Any = root
    kind: Any = root  # annotation of the value reached so far
    for part in map(str, location):
        members = {
            member.model_fields["kind"].default: member for member in _sections(kind) if "kind" in member.model_fields
        }
        if len(members) > 1 and part in members:  # pydantic names the kind of input, which is no key
            kind = members[part]
            continue
        path.append(part)
        fields = {f.alias or n: f for m in _sections(kind)[:1] for n, f in m.model_fields.items()}
        section = next(iter(_sections(kind)), section)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = fields[part].annotation if part in fields else None
        else:  # a list or dictionary of sections
            kind = next((argument for argument in reversed(get_args(kind)) if _sections(argument)), None)
    return path, section


def _sections(kind: Any) -> list[Any]:
    """The sections that an annotation allows, through unions, lists and dictionaries."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [section for argument in get_args(kind) for section in _sections(argument)]
