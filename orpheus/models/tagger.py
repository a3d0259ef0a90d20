"""The tagger: audio to independent probabilities of tags."""

import keras

from orpheus.errors import ConfigError
from orpheus.models import backend, frontends, layers, tagger
from orpheus.models.layers import initializer, layer_seed

FRONTENDS = {"waveform": frontends.waveform, "log-mel-spectrogram": frontends.log_mel}


def minimum_window(frontend: str) -> int:
    """The shortest window that a model takes: samples for ``waveform``, frames for ``log-mel-spectrogram``.

    Raises:
        ConfigError: no such frontend.
    """
    _check_frontend(frontend)
    steps = backend.MINIMUM_STEPS
    return frontends.waveform_samples(steps) if frontend == "waveform" else steps


def build(
    frontend: str,
    input_shape: tuple[int, ...],
    n_classes: int,
    *,
    n_filters: int = 16,
    n_dense_units: int = 500,
    dropout: float = 0.5,
    synchronized: bool = False,
    seed: int = 0,
) -> keras.Model:
    """The tagger of Pons et al. 2018, "End-to-end learning for music audio tagging at scale" (arXiv 1711.02520).

    Layers of interest by name: ``standardise``, ``features`` (log-mel only), ``pooled``, ``embedding``, ``tags``.

    Args:
        frontend: ``"waveform"`` or ``"log-mel-spectrogram"``.
        input_shape: One window without the batch axis: (samples,) of a waveform, (frames, mels) of a log-mel
            spectrogram. Values as stored (int16, or float16 decibels above the floor), 0 where silent or padded; they
            are cast to float32 and standardised on the device.
        n_classes: Number of tags.
        n_filters: Filters of the narrowest log-mel filter; the others have multiples. The waveform's are fixed.
        n_dense_units: Units of the embedding.
        dropout: Share dropped before the dense and before the last layer in training, 0 to below 1.
        synchronized: Share batch statistics across replicas. Needed with more than one: otherwise every replica keeps
            its own moving statistics and only the first replica's are saved.
        seed: Weights and dropout; same seed, same weights.

    Returns:
        A functional model from ``audio``, float32, (batch, *window) to ``tags``, float32, (batch, n_classes) in [0, 1].

    Raises:
        ConfigError: an unknown frontend, a value out of range, or a window too short; the message gives the minimum.

    Example:
        >>> build("log-mel-spectrogram", (469, 96), 50).count_params()
        5931198
    """
    _check_frontend(frontend)
    for key, value in {"n_classes": n_classes, "n_filters": n_filters, "n_dense_units": n_dense_units}.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key}={value!r}: must be a whole number of at least 1")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout={dropout!r}: must be at least 0 and below 1")
    _check_window(frontend, input_shape)

    audio = keras.Input(input_shape, dtype="float32", name="audio")
    x = layers.StandardiseExample(name="standardise")(audio)
    x = FRONTENDS[frontend](x, n_filters=n_filters, seed=seed, synchronized=synchronized)
    x = backend.backend(x, n_dense_units=n_dense_units, dropout=dropout, seed=seed, synchronized=synchronized)
    x = tagger.tags(x, n_classes=n_classes, dropout=dropout, seed=seed)
    return keras.Model(audio, x, name=frontend.replace("-", "_"))


def _check_frontend(frontend: str) -> None:
    if frontend not in FRONTENDS:
        raise ConfigError(f"frontend={frontend!r}: no such frontend; available are {', '.join(FRONTENDS)}")


def _check_window(frontend: str, input_shape: tuple[int, ...]) -> None:
    axes = ("samples",) if frontend == "waveform" else ("frames", "mels")
    if len(input_shape) != len(axes):
        raise ConfigError(f"input_shape={tuple(input_shape)}: the {frontend} frontend takes ({', '.join(axes)})")
    minimum = minimum_window(frontend)
    if input_shape[0] < minimum:
        raise ConfigError(
            f"window_length: a window of {input_shape[0]} {axes[0]} is too short for the {frontend} model, which needs "
            f"at least {minimum} {axes[0]}; set a longer window_length"
        )


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
