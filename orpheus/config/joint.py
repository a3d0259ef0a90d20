"""The config of a joint run: the section joint beside model-training, tags and tfrecords of `orpheus.config`."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from orpheus.config.retrieval import RetrievalTraining
from orpheus.config.sections import Positive, Section, Share, Tags, TFRecords, parse_as

Weight = Annotated[float, Field(ge=0, le=1e6)]


class PairLoss(Section):
    """What is asked of the places of anchors (tags, or listeners) and songs."""

    loss: Literal["triplet", "infonce"] = Field(
        "infonce", description="one negative of each anchor, or all of the batch"
    )
    margin: Annotated[float, Field(ge=0, le=2)] = Field(0.4, description="of triplet")
    is_weighted: bool = Field(False, description="of triplet: negatives the likelier the more similar to the anchor")
    temperature: Annotated[float, Field(gt=0)] = Field(0.1, description="of infonce: cosines are divided by it")
    learned: bool = Field(True, description="of infonce: the temperature is where training begins, and is learned")
    weight: Weight = Field(1.0, description="of this loss in the sum; 0 leaves it out")


class TagLoss(PairLoss):
    """Tags and their songs."""

    sampling: Literal["random", "balanced"] = Field("random", description="anchors uniformly over songs, or over tags")


class ListenerLoss(PairLoss):
    """Listeners and the songs that they heard: a listener uniformly, then one of their songs."""

    by_plays: bool = Field(False, description="the song by how often they heard it, not uniformly")


class ClassLoss(Section):
    """Cross-entropy of a song's tags, which makes scores probabilities: sigmoid(scale · cosine + bias), both per tag."""

    weight: Weight = Field(1.0, description="in the sum; 0 leaves it out")


class Joint(Section):
    """Model, draws and validation of tags, songs and listeners in one space."""

    inputs: list[Literal["audio", "text", "factors"]] = Field(
        ["audio"], min_length=1, description="of a song; each song needs one of them"
    )
    frontend: str = Field("short-chunk", description="network of the audio, of orpheus.models.FRONTENDS")
    n_filters: Positive = Field(128, description="narrowest convolution of the frontend")
    audio_tower: Literal["published", "standardised"] = Field(
        "standardised", description="of frontend short-chunk: windows standardised one by one, or as published"
    )
    embedding: Positive = Field(256, description="dimensions of the space")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="of the dense towers")
    modality_dropout: Share | dict[Literal["audio", "text", "factors"], Share] = Field(
        0.5, description="how often training goes without an input, for all or each; never without all"
    )
    num_chunk: Positive = Field(8, description="windows of a song whose mean embedding is the song's")
    evaluation_windows: Literal["whole", "published"] = Field(
        "whole", description="from a song's first window to its last; or the last one a hop before the end"
    )
    input_length: Positive = Field(173, description="stored frames of a window: spectrogram frames, or samples")
    unit_vectors: bool = Field(True, description="word vectors at length 1")
    listeners: Literal["factors", "songs"] = Field(
        "songs", description="a tower on their factors, or the mean of the places of songs that they heard"
    )
    history: Positive = Field(4, description="of listeners=songs: how many songs make that mean in training")
    tag_loss: TagLoss = TagLoss()
    listener_loss: ListenerLoss = ListenerLoss()
    class_loss: ClassLoss = ClassLoss()
    pairs_per_epoch: Positive = 10_000
    monitor: Literal["mean", "tag_songs", "song_tags", "listener_songs"] = Field(
        "mean", description="the validation's figure that picks the best epoch; mean: of the three"
    )

    @model_validator(mode="after")
    def _something_is_learned(self) -> "Joint":
        if len(set(self.inputs)) < len(self.inputs):
            raise ValueError(f"inputs={self.inputs}: names one twice")
        if not (self.tag_loss.weight or self.listener_loss.weight or self.class_loss.weight):
            raise ValueError(
                "tag_loss.weight, listener_loss.weight and class_loss.weight are all 0, and nothing is learned"
            )
        if isinstance(self.modality_dropout, dict) and (other := set(self.modality_dropout) - set(self.inputs)):
            raise ValueError(f"modality_dropout: {sorted(other)} not among inputs={self.inputs}")
        return self

    @property
    def dropout_rates(self) -> list[float]:
        """How often each of `inputs` is dropped."""
        rates = self.modality_dropout
        return [rates.get(name, 0.0) if isinstance(rates, dict) else rates for name in self.inputs]


class JointConfig(Section):
    """A whole config.json of a joint run."""

    joint: Joint
    training: RetrievalTraining = Field(
        RetrievalTraining(), alias="model-training", validation_alias=AliasChoices("model-training", "training")
    )
    tags: Tags = Tags()
    tfrecords: TFRecords = TFRecords()

    def to_json(self) -> dict:
        """The config as plain JSON values under the names of the file."""
        return self.model_dump(mode="json", by_alias=True)


def parse(values: dict, *, overrides: Any = (), source: str = "config") -> JointConfig:
    """Check a config given as a dictionary; arguments and errors as in `config.load`."""
    return parse_as(JointConfig, values, overrides, source)
