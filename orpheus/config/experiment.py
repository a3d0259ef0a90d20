"""The config of an experiment on a data folder: several inputs, one output (configs/experiments/)."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from orpheus.config.sections import Positive, Seconds, Section, Training, parse_as


class Convolution(Section):
    """One convolution of a patch network; sizes are (frames, bands)."""

    filters: Positive
    kernel: tuple[Positive, Positive]
    pool: tuple[Positive, Positive] = (1, 1)


class Parallel(Section):
    """Dense layers of several activations on one vector, joined side by side."""

    units: Positive = Field(description="of each of them")
    activations: list[Literal["relu", "tanh", "sigmoid", "elu"]] = Field(min_length=1)


class _Input(Section):
    """What every input has: a dropout-dense stack on its vector, then its length made 1."""

    input_norm: bool = Field(
        False, description="batch normalisation of the values themselves, each column or band alone"
    )
    parallel: Parallel | None = Field(None, description="dense layers side by side, below the other dense layers")
    dense: list[Positive] = Field([], description="units of dense layers, with dropout before, between and after them")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of these layers and of convolutions")
    batch_norm: bool = False
    l2: bool = Field(True, description="vector of length 1 before it is joined with the others")


class VectorInput(_Input):
    """A feature vector per item, X_SET_SETTING_DATASET."""

    kind: Literal["vector"] = "vector"
    setting: str | None = Field(None, description="null: given on the command line")


class PatchesInput(_Input):
    """Spectrogram patches, patches_SET_DATASET_NxS; predictions are means over an item's patches."""

    kind: Literal["patches"] = "patches"
    count: Positive = Field(1, description="patches per item, N")
    seconds: Seconds = Field(15, description="S")
    architecture: Literal["cnn", "multi-filter", "crnn", "flat"] = "cnn"
    convolutions: list[Convolution] = Field(
        [], max_length=5, description="flat has none: values as they are, one vector"
    )
    shapes: list[tuple[Positive, Positive]] = Field(
        [(1, 70), (5, 70), (10, 70), (1, 35), (5, 35), (10, 35)],
        description="multi-filter: (frames, bands) of the first layer's filters, convolutions[0].filters of each",
    )
    activation: Literal["relu", "elu"] = "relu"
    recurrent: list[Positive] = Field([32, 32], min_length=1, description="crnn: units of the recurrent layers")


class TextInput(_Input):
    """Word ids and their vectors, as tools.text word2vec writes them."""

    kind: Literal["text"] = "text"
    setting: str | None = Field(None, description="null: given on the command line")
    words_dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="of word vectors; null: dropout"
    )
    architecture: Literal["cnn", "lstm"] = "cnn"
    filter_lengths: list[Positive] = Field([2, 3], min_length=1, description="cnn: words")
    filters: Positive = Field(150, description="cnn: of each length")
    units: Positive = Field(200, description="lstm: in each direction")
    fine_tune: bool = Field(True, description="train the word vectors too")


Input = Annotated[VectorInput | PatchesInput | TextInput, Field(discriminator="kind")]


class Network(Section):
    """What stands on the joined inputs."""

    hidden: list[Positive] = Field([], description="units of dense layers")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="before each of them, or before the output")
    batch_norm: bool = False
    activation: Literal["relu", "elu", "tanh"] = "relu"


class Output(Section):
    """The last layer."""

    activation: Literal["sigmoid", "softmax", "linear"] = "linear"
    l2: bool = Field(True, description="length 1, of linear outputs only")


class ExperimentData(Section):
    """Which files of the data folder."""

    dataset: Annotated[str, Field(min_length=1)]
    fact: Annotated[str, Field(min_length=1)] = Field(description="targets: als, pmi, class or another factorisation")
    dim: Positive | None = Field(None, description="columns of the targets; null: the number of classes")
    normalize: bool = Field(False, description="targets of length 1")
    val_share: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="of train, where there is no val set")
    test_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="of train, held out besides: R² of items that have factors of their own"
    )


class ExperimentTraining(Training):
    """How an experiment is trained."""

    batch_size: Positive = 32
    early_stop_patience: Annotated[int, Field(ge=0)] | None = 5
    epochs: Positive = 100
    loss: Literal["cosine", "binary_crossentropy", "categorical_crossentropy", "mean_squared_error"] = "cosine"


class Evaluation(Section):
    """What a run is scored by."""

    k: Positive = Field(500, description="length of recommendation lists")
    cutoffs: list[Positive] = Field([1, 3, 5, 10])


class ExperimentConfig(Section):
    """A whole experiment: several inputs, one output."""

    evaluation: Literal["recommendation", "multilabel", "multiclass", "binary", "regression"]
    data: ExperimentData
    inputs: dict[str, Input] = Field(min_length=1)
    network: Network = Network()
    output: Output = Output()
    training: ExperimentTraining = Field(
        ExperimentTraining(), alias="model-training", validation_alias=AliasChoices("model-training", "training")
    )
    evaluating: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _fits(self):
        if self.output.activation == "softmax" and self.training.loss == "cosine":
            raise ValueError("model-training.loss=cosine needs output.activation=linear or sigmoid")
        if self.output.activation == "linear" and "crossentropy" in self.training.loss:
            raise ValueError(f"model-training.loss={self.training.loss} needs output.activation=sigmoid or softmax")
        for name, value in self.inputs.items():
            if not name.isidentifier():
                raise ValueError(f"inputs.{name}: use letters, digits and _ for the name of an input")
            if value.input_norm and (value.kind == "text" or getattr(value, "architecture", None) == "crnn"):
                raise ValueError(
                    f"inputs.{name}.input_norm: word ids cannot have it, and a crnn has its own; leave it out"
                )
            if value.kind == "patches":
                fewest = {"flat": 0, "crnn": 2}.get(value.architecture, 1)
                if len(value.convolutions) < fewest:
                    raise ValueError(f"inputs.{name}.convolutions: {value.architecture} has at least {fewest}")
                if value.architecture == "flat" and value.convolutions:
                    raise ValueError(f"inputs.{name}.convolutions: architecture=flat has none; leave them out")
        return self

    def to_json(self) -> dict:
        """The config as plain JSON values under the names of the file."""
        return self.model_dump(mode="json", by_alias=True)


def parse(values: dict, *, overrides: Sequence[str] = (), source: str = "config") -> ExperimentConfig:
    """Check the config of an experiment given as a dictionary; arguments and errors as in `config.load`."""
    return parse_as(ExperimentConfig, values, overrides, source)
