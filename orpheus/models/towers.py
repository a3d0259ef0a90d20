"""Two towers for retrieval: tags and songs to one space, after Won et al. 2021 (arXiv 2010.16030)."""

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from orpheus.errors import ConfigError
from orpheus.models import networks
from orpheus.models.layers import BatchNormalization, StandardiseExample, UnitLength, initializer, layer_seed
from orpheus.models.networks import blocks, short_chunk

SHORT_CHUNK = "short-chunk"
_HIDDEN = 512
_PUBLISHED_AUDIO = 200  # dimensions of the sound beside raw factors, as many as those have in the published model


def short_chunk_tower(audio, *, form: str, n_filters: int, dimension: int, seed: int, synchronized: bool):
    """The paper's song tower: the short-chunk CNN without its dense layer, then a convolution of 1 × 1.

    Args:
        audio: (batch, frames, mels), decibels above the floor.
        form: ``"published"``: decibels are normalised over the batch, convolutions have biases, and batch normalisation
            and ReLU follow the 1 × 1 convolution. ``"standardised"``: each window is standardised by itself, and the
            1 × 1 convolution is the embedding.
        n_filters: Channels of the first convolution; the last has four times as many.
        dimension: Of the embedding.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, dimension), the maximum over time (and over what is left of frequency).
    """
    published = form == "published"
    options: dict[str, Any] = {"seed": seed, "synchronized": synchronized}
    if published:
        x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    else:
        x = blocks.channel(StandardiseExample(name="standardise")(audio))
    x = short_chunk.trunk(x, n_filters=n_filters, use_bias=published, **options)
    if published:
        x = blocks.block(x, dimension, 1, "project", **options)
    else:
        x = keras.layers.Conv2D(dimension, 1, kernel_initializer=initializer(seed, "project"), name="project")(x)
    return keras.layers.GlobalMaxPooling2D(name="audio_embedding")(x)


def dense_tower(x, name: str, *, dimension: int, dropout: float, seed: int, synchronized: bool):
    """Dense 512, batch normalisation, ReLU, dropout, then dense to the embedding; (batch, n) → (batch, dimension)."""
    x = keras.layers.Dense(_HIDDEN, kernel_initializer=initializer(seed, f"{name}_dense"), name=f"{name}_dense")(x)
    x = BatchNormalization(synchronized=synchronized, name=f"{name}_norm")(x)
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    x = keras.layers.Dropout(dropout, seed=layer_seed(seed, f"{name}_dropout"), name=f"{name}_dropout")(x)
    return keras.layers.Dense(
        dimension, kernel_initializer=initializer(seed, f"{name}_embedding"), name=f"{name}_embedding"
    )(x)


def build_towers(
    song_shapes: Mapping[str, tuple[int, ...]],
    tag_dimension: int,
    *,
    songs: int = 2,
    frontend: str = SHORT_CHUNK,
    n_filters: int = 128,
    dimension: int = 256,
    dropout: float = 0.5,
    fusion: Literal["sum", "concat", "concat-raw"] = "sum",
    audio_tower: Literal["published", "standardised"] = "published",
    synchronized: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A model of anchors and songs for the triplet loss, made of two models that work alone too.

    Args:
        song_shapes: ``"audio"``: one window, (frames, mels) or (samples,); ``"factors"``: (columns,); or both.
        tag_dimension: Length of the tags' word vectors.
        songs: Of each anchor: 2, a positive and a negative one; 1 where negatives are found within the batch.
        frontend: Of the audio: a network of `networks.FRONTENDS`, with 512 units before the embedding; of
            ``"short-chunk"`` the paper's own form, `short_chunk_tower`.
        n_filters: Width of that network, 128 in the paper (waveform's is fixed).
        dimension: Of the embedding.
        dropout: Of the dense towers.
        fusion: Of both inputs. ``"concat-raw"`` is the published one: 200 dimensions of the sound beside the raw
            factors, then the dense tower. ``"concat"``: both embeddings side by side, then a dense layer. ``"sum"`` adds
            the two embeddings, each of length 1, so that neither drowns the other.
        audio_tower: Of frontend short-chunk: the published form or one without normalisation over the batch at its two
            ends, see `short_chunk_tower`.
        synchronized: Batch normalisation over all replicas.
        seed: Of the initial weights and of dropout.

    Returns:
        A model from ``tag`` (batch, tag_dimension) and each of ``song_shapes`` as (batch, songs, …), the songs of an
        anchor, to (batch, 1 + songs, dimension) float32: the anchor's embedding, then its songs', all of length 1. Its
        layers ``tag_tower`` and ``song_tower`` are models of their own, (batch, …) → (batch, dimension).

    Raises:
        ConfigError: neither input, an input of another name, an unknown frontend, fusion or audio_tower, a value out of
            range.
    """
    if not song_shapes or set(song_shapes) - {"audio", "factors"}:
        raise ConfigError(f"inputs {sorted(song_shapes)}: a song tower takes audio, factors or both")
    for key, value in {"n_filters": n_filters, "dimension": dimension, "tag_dimension": tag_dimension}.items():
        if value < 1:
            raise ConfigError(f"{key}={value}: must be at least 1")
    options: dict[str, Any] = {"dimension": dimension, "seed": seed, "synchronized": synchronized}
    tags = keras.Input((tag_dimension,), name="tag")
    x = dense_tower(tags, "tag", dropout=dropout, **options)
    tag_tower = keras.Model(tags, UnitLength(name="tag_unit")(x), name="tag_tower")
    if audio_tower not in ("published", "standardised"):
        raise ConfigError(f"audio_tower={audio_tower!r}: choose published or standardised")
    audio = {"frontend": frontend, "n_filters": n_filters, "form": audio_tower}
    song_tower = _song_tower(song_shapes, audio, dropout, fusion, options)

    anchor = keras.Input((tag_dimension,), name="tag")
    inputs = {name: keras.Input((songs, *shape), name=name) for name, shape in song_shapes.items()}
    flat = {name: ops.reshape(x, (-1, *song_shapes[name])) for name, x in inputs.items()}
    embedded = ops.reshape(song_tower(flat), (-1, songs, dimension))
    return keras.Model(
        {"tag": anchor, **inputs}, ops.concatenate([tag_tower(anchor)[:, None], embedded], axis=1), name="retrieval"
    )


def check_frontend(
    frontend: str, shape: tuple[int, ...], *, dtype: str | None = None, section: str = "retrieval"
) -> None:
    """See that a network takes windows of a shape, (frames, mels) or (samples,), stored in a type (None: not known).

    Args:
        frontend: Its name.
        shape: Of a window.
        dtype: As stored.
        section: Of the config, for messages.

    Raises:
        ConfigError: an unknown network, one for the other kind of input, a window too short or with too few mels.
    """
    networks.check_window(frontend, shape, window_key=f"{section}.input_length", key=f"{section}.frontend")
    networks.find(frontend, dtype=dtype, key=f"{section}.frontend")


def _song_tower(shapes, audio: dict, dropout: float, fusion: str, options: dict) -> keras.Model:
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    raw = len(inputs) == 2 and fusion == "concat-raw"
    parts = []
    if "audio" in inputs:
        own = {**options, "dimension": _PUBLISHED_AUDIO} if raw else options
        parts.append(audio_tower_of(inputs["audio"], dropout=dropout, options=own, **audio))
    if raw:
        parts.append(inputs["factors"])
    elif "factors" in inputs:
        parts.append(dense_tower(inputs["factors"], "factors", dropout=dropout, **options))
    if len(parts) == 1:
        joined = parts[0]
    elif fusion == "sum":
        joined = keras.layers.Add(name="fused")([UnitLength()(part) for part in parts])
    elif fusion == "concat":
        joined = keras.layers.Concatenate(name="joined")(parts)
        kernel = initializer(options["seed"], "fused")
        joined = keras.layers.Dense(options["dimension"], kernel_initializer=kernel, name="fused")(joined)
    elif raw:
        joined = dense_tower(keras.layers.Concatenate(name="joined")(parts), "fused", dropout=dropout, **options)
    else:
        raise ConfigError(f"fusion={fusion!r}: choose sum, concat or concat-raw")
    return keras.Model(inputs, UnitLength(name="song_unit")(joined), name="song_tower")


def audio_tower_of(audio, *, frontend: str, form: str, n_filters: int, dropout: float, options: dict):
    """Stored audio to an embedding by any network of the table.

    Args:
        audio: (batch, …) windows as stored.
        frontend, form, n_filters, dropout: As `build_towers` takes them.
        options: dimension, seed and synchronized, as `dense_tower` takes them.

    Returns:
        (batch, dimension), of no particular length.

    Raises:
        ConfigError: a network that does not take these windows.
    """
    check_frontend(frontend, audio.shape[1:])
    if frontend == SHORT_CHUNK:
        return short_chunk_tower(audio, form=form, n_filters=n_filters, **options)
    own = {"seed": options["seed"], "synchronized": options["synchronized"]}
    build = networks.FRONTENDS[frontend].build
    x = build(audio, n_filters=n_filters, n_dense_units=_HIDDEN, dropout=dropout, **own)
    kernel = initializer(options["seed"], "audio_embedding")
    return keras.layers.Dense(options["dimension"], kernel_initializer=kernel, name="audio_embedding")(x)
