"""The config of a retrieval run: the section retrieval beside model-training, tags and tfrecords of `orpheus.config`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from orpheus.config.sections import Optimizer, Positive, Section, Tags, TFRecords, Training, parse_as


class Retrieval(Section):
    """Model, sampling and validation after Won et al. 2021 (arXiv 2010.16030), under that system's names."""

    input_type: Literal["spec", "cf", "hybrid"] = Field("spec", description="audio, factors of listeners, or both")
    frontend: str = Field("short-chunk", description="network of the audio, of orpheus.models.FRONTENDS")
    n_filters: Positive = Field(128, description="narrowest convolution of the frontend")
    embedding: Positive = Field(256, description="dimensions of the space of tags and songs")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="of the dense towers")
    audio_tower: Literal["published", "standardised"] = Field(
        "published", description="of frontend short-chunk: as published, or windows standardised one by one"
    )
    fusion: Literal["sum", "concat", "concat-raw"] = Field(
        "sum",
        description="hybrid: sum of unit vectors, embeddings side by side, or (published) sound beside raw factors",
    )
    num_chunk: Positive = Field(8, description="windows of a song whose mean embedding is the song's")
    evaluation_windows: Literal["whole", "published"] = Field(
        "whole",
        description="from a song's first window to its last; or as published, the last one a hop before the end",
    )
    unit_vectors: bool = Field(True, description="word vectors at length 1; the published model takes them as they are")
    input_length: Positive = Field(173, description="stored frames of a window: spectrogram frames, or samples")
    margin: Annotated[float, Field(ge=0, le=2)] = 0.4
    is_balanced: bool = Field(False, description="anchors uniformly over tags, not over songs")
    is_weighted: bool = Field(False, description="negatives the likelier the more similar to the anchor, not uniformly")
    negatives: Literal["batch", "all"] = Field(
        "batch", description="drawn from the batch's other songs, as the reference does, or from all training songs"
    )
    loss: Literal["triplet", "infonce"] = Field("triplet", description="one negative of each anchor, or all there are")
    temperature: Annotated[float, Field(gt=0)] = Field(0.1, description="of infonce: cosines are divided by it")
    triplets_per_epoch: Positive = 10_000
    zero_shot: list[str] = Field([], description="tags that training never sees, evaluated apart")

    @model_validator(mode="after")
    def _all_negatives_have_no_weights(self) -> "Retrieval":
        if self.loss == "infonce" and self.is_weighted:
            raise ValueError(
                "is_weighted=true: loss=infonce takes all negatives and draws none; set is_weighted to false"
            )
        return self


class RetrievalOptimizer(Optimizer):
    """Any Keras optimizer by name, at the paper's learning rate."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4


class RetrievalTraining(Training):
    """How it is trained."""

    batch_size: Positive = Field(128, description="triplets per step over all replicas")
    optimizer: RetrievalOptimizer = RetrievalOptimizer()
    n_epochs: Positive = Field(200, description="epochs where --epochs gives none")
    log_dir: str = "runs"
    split: list[Annotated[float, Field(ge=0)]] = Field(
        [70, 15, 15], min_length=2, max_length=3, description="per cent of the shards, where --split gives no file"
    )


class RetrievalConfig(Section):
    """A whole config.json of a retrieval run."""

    retrieval: Retrieval
    training: RetrievalTraining = Field(
        RetrievalTraining(), alias="model-training", validation_alias=AliasChoices("model-training", "training")
    )
    tags: Tags = Tags()
    tfrecords: TFRecords = TFRecords()

    @model_validator(mode="before")
    @classmethod
    def _reference_names(cls, values: Any) -> Any:
        """The reference has all options in one list: batch_size, n_epochs and lr may stand in section retrieval."""
        if not isinstance(values, dict) or not isinstance(values.get("retrieval"), dict):
            return values
        section, training = dict(values["retrieval"]), values.get("model-training", {})
        given = {name: section.pop(name) for name in ("batch_size", "n_epochs", "lr") if name in section}
        optimizer = training.get("optimizer", {}) if isinstance(training, dict) else None
        if not given or not isinstance(optimizer, dict):
            return {**values, "retrieval": section}
        twice = {"lr": "learning_rate" in optimizer, **{name: name in training for name in ("batch_size", "n_epochs")}}
        for name, value in given.items():
            place = "optimizer.learning_rate" if name == "lr" else name
            if twice[name]:
                raise ValueError(
                    f"retrieval.{name}={value}: model-training.{place} is given, too; leave one of them out"
                )
        if "lr" in given:
            training = {**training, "optimizer": {**optimizer, "learning_rate": given.pop("lr")}}
        training = {**training, **given}
        return {**values, "retrieval": section, "model-training": training}

    def to_json(self) -> dict:
        """The config as plain JSON values under the names of the file."""
        return self.model_dump(mode="json", by_alias=True)


def as_trained(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of an existing run, with what it was trained with under keys that came later.

    Before there was a key ``negatives``, drawn ones came from all songs and weighted ones from the batch; before
    ``audio_tower``, windows were standardised.

    Args:
        values: A run's config.json.
    """
    section = values.get("retrieval")
    if not isinstance(section, Mapping):
        return dict(values)
    before = {"negatives": "batch" if section.get("is_weighted") else "all", "audio_tower": "standardised"}
    return {**values, "retrieval": {**before, **section}}


def parse(values: dict, *, overrides: Any = (), source: str = "config") -> RetrievalConfig:
    """Check a config given as a dictionary; arguments and errors as in `config.load`."""
    return parse_as(RetrievalConfig, values, overrides, source)
