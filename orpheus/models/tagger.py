"""The tagger: audio to independent probabilities of tags."""

import keras

from orpheus.errors import ConfigError
from orpheus.models import networks
from orpheus.models.layers import initializer, layer_seed


def minimum_window(frontend: str) -> int:
    """The shortest window that a network takes: samples of a waveform, frames of a spectrogram.

    Raises:
        ConfigError: no such network.
    """
    return networks.find(frontend).shortest


def build(
    frontend: str,
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    n_filters: int | None = None,
    n_dense_units: int | None = None,
    dropout: float = 0.5,
    synchronized: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A tagger: a network of `networks.FRONTENDS`, and independent probabilities of tags on its embedding.

    Layers of interest by name: ``pooled`` where the network has one, ``embedding``, ``tags``.

    Args:
        frontend: Name of the network, for example ``"log-mel-spectrogram"``.
        input_shape: One window without the batch axis: (samples,) of a waveform, (frames, mels) of a log-mel
            spectrogram. Values as stored (int16, or float16 decibels above the floor), 0 where silent or padded; they
            are cast to float32, and the network's first layer does the rest on the device.
        n_classes: Number of tags.
        n_filters: Width of the network; None for the paper's.
        n_dense_units: Units of the embedding; None for the paper's.
        dropout: Share dropped before the last layer, and where else the network says so, in training, 0 to below 1.
        synchronized: Share batch statistics across replicas. Needed with more than one: otherwise every replica keeps
            its own moving statistics and only the first replica's are saved.
        seed: Weights and dropout; same seed, same weights.

    Returns:
        A functional model from ``audio``, float32, (batch, *window) to ``tags``, float32, (batch, n_classes) in [0, 1].

    Raises:
        ConfigError: an unknown network, one for other records, a value out of range, or a window too short; the message
            gives the minimum.

    Example:
        >>> build("log-mel-spectrogram", (469, 96), 50).count_params()
        5931198
    """
    network = networks.find(frontend)
    n_filters = network.n_filters if n_filters is None else n_filters
    n_dense_units = network.n_dense_units if n_dense_units is None else n_dense_units
    for key, value in {"n_classes": n_classes, "n_filters": n_filters, "n_dense_units": n_dense_units}.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key}={value!r}: must be a whole number of at least 1")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout={dropout!r}: must be at least 0 and below 1")
    networks.check_window(frontend, input_shape)

    audio = keras.Input(input_shape, dtype="float32", name="audio")
    x = network.build(
        audio,
        n_filters=n_filters,
        n_dense_units=n_dense_units,
        dropout=dropout,
        seed=seed,
        synchronized=synchronized,
    )
    x = tags(x, n_classes=n_classes, dropout=dropout, seed=seed)
    return keras.Model(audio, x, name=frontend.replace("-", "_"))


def tags(embedding, *, n_classes: int, dropout: float, seed: int):
    """Independent probabilities of tags: dropout, then a dense layer with a sigmoid, in float32 under any policy.

    Args:
        embedding: (batch, units).
        n_classes: Number of tags.
        dropout: Share of the embedding dropped in training, 0 to below 1.
        seed: The model's seed.

    Returns:
        (batch, n_classes) in [0, 1], float32, the output of the layer called ``tags``.
    """
    seed_of_dropout = layer_seed(seed, "embedding_dropout")
    x = keras.layers.Dropout(dropout, seed=seed_of_dropout, name="embedding_dropout")(embedding)
    return keras.layers.Dense(
        n_classes, activation="sigmoid", kernel_initializer=initializer(seed, "tags"), dtype="float32", name="tags"
    )(x)
