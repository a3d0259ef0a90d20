"""Tags, songs and listeners to unit vectors of one space, and a song's tags to probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from orpheus.errors import ConfigError
from orpheus.models import towers
from orpheus.models.layers import UnitLength

MASK = "present"
_LARGEST_SCALE = 100.0  # of cosines, as in Radford et al. 2021 (arXiv 2103.00020), section 2.5
_FIRST_SCALE = 10.0


@keras.saving.register_keras_serializable("orpheus")
class Scale(keras.layers.Layer):
    """1 / temperature, learned as its logarithm and at most 100 (Radford et al. 2021, arXiv 2103.00020, section 2.5).

    Args:
        temperature: Where it begins.
        learned: Whether training changes it.

    Input: (batch, …). Output: (batch, 1) float32, everywhere the same.
    """

    def __init__(self, temperature: float, *, learned: bool = True, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.temperature, self.learned = temperature, learned

    def build(self, input_shape):
        start = keras.initializers.Constant(float(-np.log(self.temperature)))
        self.logarithm = self.add_weight(name="logarithm", shape=(), initializer=start, trainable=self.learned)

    def call(self, inputs):
        scale = ops.minimum(ops.exp(ops.convert_to_tensor(self.logarithm)), _LARGEST_SCALE)
        return ops.ones((ops.shape(inputs)[0], 1), "float32") * scale

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature, "learned": self.learned}


@keras.saving.register_keras_serializable("orpheus")
class TagVectors(keras.layers.Layer):
    """The word vectors of all tags, which are part of the model so that every batch has all tags.

    Args:
        tags: How many.
        dimension: Of a vector.

    Input: anything. Output: (tags, dimension) float32.
    """

    def __init__(self, tags: int, dimension: int, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.tags, self.dimension = tags, dimension

    def build(self, input_shape):
        shape = (self.tags, self.dimension)
        self.vectors = self.add_weight(name="vectors", shape=shape, initializer="zeros", trainable=False)

    def call(self, inputs):
        return ops.convert_to_tensor(self.vectors)

    def compute_output_shape(self, input_shape):
        return (self.tags, self.dimension)

    def get_config(self):
        return {**super().get_config(), "tags": self.tags, "dimension": self.dimension}


@keras.saving.register_keras_serializable("orpheus")
class TagLogits(keras.layers.Layer):
    """Cosines to logits by a scale above 0 and a bias of each tag, so that their sigmoid is a probability.

    Args:
        tags: How many.

    Input: (batch, tags) cosines. Output: the same shape, float32.
    """

    def __init__(self, tags: int, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.tags = tags

    def build(self, input_shape):
        start = keras.initializers.Constant(float(np.log(_FIRST_SCALE)))
        self.logarithm = self.add_weight(name="logarithm", shape=(self.tags,), initializer=start)
        self.bias = self.add_weight(name="bias", shape=(self.tags,), initializer="zeros")

    def call(self, cosines):
        return ops.cast(cosines, "float32") * ops.exp(ops.convert_to_tensor(self.logarithm)) + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "tags": self.tags}


@keras.saving.register_keras_serializable("orpheus")
class Cosines(keras.layers.Layer):
    """(batch, d) unit rows and (tags, d) unit rows → (batch, tags)."""

    def call(self, songs, tags):
        return ops.matmul(songs, ops.transpose(tags))

    def compute_output_shape(self, songs_shape, tags_shape):
        return (songs_shape[0], tags_shape[0])


@keras.saving.register_keras_serializable("orpheus")
class Rows(keras.layers.Layer):
    """Rows of a matrix by number: (n, d) and (batch,) → (batch, d)."""

    def call(self, matrix, numbers):
        return ops.take(matrix, ops.cast(numbers, "int32"), axis=0)

    def compute_output_shape(self, matrix_shape, numbers_shape):
        return (*numbers_shape, matrix_shape[-1])


@dataclass(frozen=True)
class Pairs:
    """Pairs of one kind that a joint model is trained on.

    Attributes:
        temperature: Where that of their loss begins.
        learned: Whether it is learned.
    """

    temperature: float = 0.1
    learned: bool = True


def build_joint(
    song_shapes: Mapping[str, tuple[int, ...]],
    tag_vectors: np.ndarray,
    *,
    tags: Pairs | None = None,
    listeners: Pairs | None = None,
    classes: np.ndarray | None = None,
    listener_columns: int | None = None,
    history: int = 0,
    frontend: str = towers.SHORT_CHUNK,
    n_filters: int = 128,
    audio_tower: Literal["published", "standardised"] = "standardised",
    dimension: int = 256,
    dropout: float = 0.5,
    synchronized: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A model of tags, songs and listeners for `losses.joint.JointLoss`, made of models that work alone too.

    Args:
        song_shapes: ``"audio"``: one window, (frames, mels) or (samples,); ``"text"``, ``"factors"``: (columns,). Each goes
            through its tower to a unit vector; a song is the sum over those that are present, at length 1.
        tag_vectors: (tags, d) word vectors.
        tags: Pairs of tags and songs; None for none.
        listeners: Pairs of listeners and songs; None for none.
        classes: (tags,) share of songs that have each tag, where the biases of the probabilities begin; None for none.
        listener_columns: Length of listeners' factors; None: a listener is the mean of songs that they heard.
        history: How many songs make that mean in training.
        frontend, n_filters, audio_tower, dropout, synchronized, seed: As of `towers.build_towers`.
        dimension: Of the space.

    Returns:
        A model whose inputs are ``tag`` (batch,) columns (with `tags` or `classes`), ``listener`` (batch, listener_columns),
        each of `song_shapes` as (batch, songs, …) and ``present`` (batch, songs, inputs), 1 for the inputs of `song_shapes`
        that a song has, in its order. The songs are that of the tag, that of the listener and the listener's `history`, as
        far as they are asked for. Outputs: as `losses.joint.Layout` says. Its layers ``tag_tower``, ``song_tower`` and
        ``listener_tower`` (where listeners have factors) are models of their own.

    Raises:
        ConfigError: no input or an unknown one, an unknown frontend, nothing to train on, a value out of range.
    """
    if not song_shapes or set(song_shapes) - {"audio", "text", "factors"}:
        raise ConfigError(f"inputs {sorted(song_shapes)}: a song tower takes audio, text, factors or several of them")
    if tags is None and listeners is None and classes is None:
        raise ConfigError("tags, listeners and classes: a joint model needs one of them to learn from")
    if listeners is not None and listener_columns is None and history < 1:
        raise ConfigError(f"history={history}: listeners without factors need at least one song that they heard")
    for key, value in {"n_filters": n_filters, "dimension": dimension}.items():
        if value < 1:
            raise ConfigError(f"{key}={value}: must be at least 1")
    options: dict[str, Any] = {"dimension": dimension, "seed": seed, "synchronized": synchronized}
    audio = {"frontend": frontend, "n_filters": n_filters, "form": audio_tower}
    song_tower = _song_tower(song_shapes, audio, dropout, options)
    tag_tower = _vector_tower("tag", tag_vectors.shape[1], dropout, options)
    by_tags, by_factors = tags is not None or classes is not None, listener_columns is not None
    heard = history if listeners is not None and not by_factors else 0
    count = int(by_tags) + int(listeners is not None) + heard
    shapes = {**song_shapes, MASK: (len(song_shapes),)}
    inputs = {name: keras.Input((count, *shape), name=name) for name, shape in shapes.items()}
    flat = {name: ops.reshape(x, (-1, *shapes[name])) for name, x in inputs.items()}
    songs = ops.reshape(song_tower(flat), (-1, count, dimension))
    outputs = []
    if by_tags:
        inputs["tag"] = keras.Input((), dtype="int32", name="tag")
        of_tag = songs[:, 0]
        all_tags = tag_tower(TagVectors(*tag_vectors.shape, name="tag_vectors")(of_tag))
        if tags is not None:
            anchor = Rows(name="anchor")(all_tags, inputs["tag"])
            scale = Scale(tags.temperature, learned=tags.learned, name="tag_scale")(of_tag)
            outputs += [anchor, of_tag, scale]
    if listeners is not None:
        of_listener = songs[:, int(by_tags)]
        if by_factors:
            inputs["listener"] = keras.Input((listener_columns,), name="listener")
            listener = _vector_tower("listener", listener_columns, dropout, options)(inputs["listener"])
        else:
            listener = UnitLength(name="listener_unit")(ops.mean(songs[:, int(by_tags) + 1 :], axis=1))
        scale = Scale(listeners.temperature, learned=listeners.learned, name="listener_scale")(of_listener)
        outputs += [listener, of_listener, scale]
    if classes is not None:
        outputs.append(TagLogits(len(tag_vectors), name="tag_logits")(Cosines(name="cosines")(of_tag, all_tags)))
    joined = (
        keras.layers.Concatenate(dtype="float32", name="joint_outputs")(outputs) if len(outputs) > 1 else outputs[0]
    )
    model = keras.Model(inputs, joined, name="joint")
    if by_tags:
        model.get_layer("tag_vectors").set_weights([np.asarray(tag_vectors, np.float32)])
    if classes is not None:
        share = np.clip(np.asarray(classes, np.float32), 1e-4, 1 - 1e-4)
        logarithm, _ = model.get_layer("tag_logits").get_weights()
        model.get_layer("tag_logits").set_weights([logarithm, np.log(share / (1 - share))])
    return model


def _vector_tower(name: str, columns: int | None, dropout: float, options: dict) -> keras.Model:
    """(batch, columns) → (batch, dimension) unit rows."""
    inputs = keras.Input((columns,), name=name)
    x = towers.dense_tower(inputs, name, dropout=dropout, **options)
    return keras.Model(inputs, UnitLength(name=f"{name}_unit_length")(x), name=f"{name}_tower")


def _song_tower(shapes: Mapping[str, Sequence[int]], audio: dict, dropout: float, options: dict) -> keras.Model:
    """A song's inputs and which of them are present → (batch, dimension) unit rows, zero for a song without any."""
    inputs = {name: keras.Input(tuple(shape), name=name) for name, shape in shapes.items()}
    present = keras.Input((len(shapes),), name=MASK)
    parts = []
    for index, (name, x) in enumerate(inputs.items()):
        if name == "audio":
            x = towers.audio_tower_of(x, dropout=dropout, options=options, **audio)
        else:
            x = towers.dense_tower(x, name, dropout=dropout, **options)
        parts.append(UnitLength(name=f"{name}_unit")(x) * present[:, index : index + 1])
    joined = parts[0] if len(parts) == 1 else keras.layers.Add(name="fused")(parts)
    return keras.Model({**inputs, MASK: present}, UnitLength(name="song_unit")(joined), name="song_tower")
