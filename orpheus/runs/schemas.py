"""What the JSON files of a run folder hold. They are read through here, so that no key of theirs is missed in silence."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from orpheus.base.schema import Schema, check
from orpheus.errors import DataError

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Strings = list[str]


class RunAbout(Schema):
    """run.json of any task: what is there must be of its type; what a task needs besides is asked for by key."""

    version: int = 1
    task: str = "unknown"
    frontend: str | None = None
    experiment: str | None = None
    seed: Count = 0
    epochs: Positive = 1
    steps_per_epoch: Positive | None = None
    built_in: bool = False
    shuffle: bool = True
    multi_tag: bool = False
    readers: Positive = 1
    input_type: str | None = None
    tfrecords_dir: str | None = None
    data_dir: str | None = None
    factors: str | None = None
    database: Count | None = None
    tag_names: Strings | None = None
    settings: list[str | None] | None = None
    split: dict[str, Strings] | None = None
    hashes: dict[str, str | None] | None = None
    shapes: dict[str, list[Count]] | None = None
    dimensions: dict[str, list[Count]] | None = None
    dim: Count | None = None
    categories: dict[str, str] | None = None
    vectors: dict[str, Any] | None = None
    init_from: "Origin | None" = None
    loss: "Loss | None" = None


class Origin(Schema):
    """What a run says of the one that it started from."""

    run: str
    rows: dict[str, Strings]
    embeddings: str
    sha256: str


class Loss(Schema):
    """What a run says of its similarity-aware loss."""

    gamma: float


class Epoch(Schema):
    """A row of history.json."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    epoch: Positive


class State(Schema):
    """state.json of a checkpoint."""

    history: list[Epoch]
    best: float | None
    best_epoch: Positive | None
    best_checkpoint: Annotated[str, Field(pattern=r"^(epoch-\d+|best)$")] | None = None
    callbacks: list[dict[str, float | None]]

    @model_validator(mode="after")
    def _agrees(self) -> "State":
        if [row.epoch for row in self.history] != list(range(1, len(self.history) + 1)):
            raise ValueError("'history' must have a row for each epoch, from 1 on")
        if (self.best is None) != (self.best_epoch is None) or (self.best_epoch or 0) > len(self.history):
            raise ValueError(
                f"'best_epoch' is {self.best_epoch} of {len(self.history)} epochs, with 'best' {self.best}"
            )
        return self


class ReliabilityBin(Schema):
    """A bin of a reliability curve."""

    count: Positive
    probability: float
    frequency: float
    low: float | None
    high: float | None


class Calibrated(Schema):
    """What an evaluation says of probabilities."""

    ece: float
    ece_by_sampling: float
    ece_macro: float
    ece_macro_by_sampling: float | None = None
    brier: float
    per_class: dict[str, float]
    reliability: list[ReliabilityBin]
    intervals: dict[str, list[float] | None] | None = None


class Measured(Schema):
    """What an evaluation found; the parts of it that are of this form, too."""

    tracks: Count | None = None
    songs: Count | None = None
    windows: Count | None = None
    unit: str | None = None
    hashes: dict[str, str | None] | None = None
    macro: dict[str, float | None] | None = None
    micro: dict[str, float | None] | None = None
    per_class: dict[str, dict[str, float | None]] | None = None
    intervals: dict[str, Any] | None = None
    left_out: Strings | None = None
    calibration: Calibrated | None = None
    mean_of_windows: "Measured | None" = None
    single_windows: "Measured | None" = None
    without_leaks: "Measured | None" = None
    tag_songs: "Measured | None" = None
    song_tags: "Measured | None" = None
    listener_songs: "Measured | None" = None
    baselines: dict[str, Any] | None = None


class Classes(Schema):
    """classes.json; an experiment's has the names alone."""

    classes: Strings
    kind: str | None = None
    columns: dict[str, Count] | None = None


_KINDS: dict[str, Any] = {
    "run": RunAbout,
    "state": State,
    "classes": Classes,
    "history": TypeAdapter(list[Epoch]),
    "metrics": TypeAdapter(dict[str, Measured]),
    "songs": TypeAdapter(dict[str, Annotated[list[str | Strings], Field(min_length=2, max_length=2)]]),
    "config": TypeAdapter(dict[str, Any]),
    "spec": TypeAdapter(dict[str, Any]),
    "versions": TypeAdapter(dict[str, Any]),
}


class Stored(dict):
    """An object of a run's JSON file: asking for a key that it lacks is an error of that file."""

    def __init__(self, values: dict[str, Any], source: str, path: str = ""):
        super().__init__({key: _stored(value, source, f"{path}{key}.") for key, value in values.items()})
        self.source, self.path = source, path

    def __missing__(self, key: str) -> Any:
        raise DataError(
            f"{self.source}: no key {self.path + str(key)!r}; the run is of an older orpheus or its file was changed: put "
            "the file back, or train again"
        )

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


def checked(name: str, value: Any, source: str) -> Any:
    """The content of NAME.json of a run, if it is what it should be.

    Args:
        name: Without suffix; of a name that is not known nothing is checked.
        value: From `files.read_json`.
        source: The file, for messages.

    Returns:
        The value; objects are `Stored`.

    Raises:
        DataError: another type than the key's, or numbers that make no sense; file, key and value are named.
    """
    if name in _KINDS:
        check(_KINDS[name], value, source)
    return _stored(value, source, "")


def _stored(value: Any, source: str, path: str) -> Any:
    if isinstance(value, dict):
        return Stored(value, source, path)
    return [_stored(inner, source, path) for inner in value] if isinstance(value, list) else value
