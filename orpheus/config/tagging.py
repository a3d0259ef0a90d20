"""The config.json of a tagger."""

import os
from collections.abc import Sequence
from typing import Annotated

from pydantic import AliasChoices, Field, model_validator

from orpheus.config.sections import Positive, Seconds, Section, Tags, TFRecords, Training, parse_as, read


class Model(Section):
    """The network between stored audio and tags."""

    frontend: str | None = Field(
        None,
        description="name of the network, of orpheus.models.FRONTENDS; null: that of Pons et al. 2018 for the records",
    )
    n_dense_units: Positive | None = Field(None, description="units of the embedding; null: the paper's (Pons: 500)")
    n_filters: Positive | None = Field(None, description="width of the network; null: the paper's (Pons: 16)")
    n_clusters: int | None = Field(None, description="written by the reference, read by nobody: the dictionary decides")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class ModelTraining(Training):
    """How a tagger is trained on records."""

    interleave_cycle_length: Positive = 4
    interleave_block_length: Positive = 1
    log_dir: str = "runs"
    shuffle: bool = True
    shuffle_buffer_size: Positive = Field(1000, description="records; memory is this many whole records")
    split: list[Annotated[float, Field(ge=0)]] = Field(
        [80, 10, 10], min_length=2, max_length=3, description="training, validation, test: per cent (sum 100) or shards"
    )
    window_length: Seconds = Field(15, description="seconds")
    window_random: bool = True
    whole_windows: bool = Field(
        False,
        description="predict and evaluate on whole windows side by side only; false: one more ends with the track",
    )

    @model_validator(mode="after")
    def _split_has_training(self):
        if sum(self.split) <= 0 or self.split[0] == 0:
            raise ValueError(f"split={self.split} leaves nothing to train on")
        return self


class Augmentation(Section):
    """Changes to training windows, all off by default and seeded by (seed, epoch, batch)."""

    frequency_masks: Annotated[int, Field(ge=0)] = Field(0, description="SpecAugment bands (log-mel)")
    frequency_mask_bands: Positive = Field(12, description="widest band, mel bins")
    time_masks: Annotated[int, Field(ge=0)] = 0
    time_mask_seconds: Seconds = Field(1.0, description="longest gap")
    mixup_alpha: Annotated[float, Field(ge=0)] = Field(0.0, description="Beta(alpha, alpha); 0 is off")
    gain_db: Annotated[float, Field(ge=0)] = Field(
        0.0, description="level drifts between two draws of ±gain_db; networks that standardise hear only the drift"
    )


class Metrics(Section):
    """The metrics shown while training; `orpheus.evaluate` gives exact values."""

    num_thresholds: Annotated[int, Field(ge=3)] = 200


class Config(Section):
    """A whole config.json."""

    model: Model = Model()
    training: ModelTraining = Field(
        ModelTraining(), alias="model-training", validation_alias=AliasChoices("model-training", "training")
    )
    tags: Tags = Tags()
    tfrecords: TFRecords = TFRecords()
    augmentation: Augmentation = Augmentation()
    metrics: Metrics = Metrics()

    def to_json(self) -> dict:
        """The config as plain JSON values under the names of the file."""
        return self.model_dump(mode="json", by_alias=True)


def load(path: str | os.PathLike, *, overrides: Sequence[str] = ()) -> Config:
    """Read config.json.

    Args:
        path: The file, or a folder that holds one called config.json.
        overrides: ``section.key=value`` strings; values are JSON where they parse as JSON, else text.

    Raises:
        ConfigError: missing or malformed file, unknown key, wrong type or value out of range; names the key.
    """
    values, source = read(path)
    return parse(values, overrides=overrides, source=source)


def parse(values: dict, *, overrides: Sequence[str] = (), source: str = "config") -> Config:
    """Check a config given as a dictionary; arguments and errors as in `load`."""
    return parse_as(Config, values, overrides, source)
