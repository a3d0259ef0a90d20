"""Word ids to a vector: a convolutional network after Kim 2014 (arXiv 1408.5882), or a bidirectional LSTM."""

import keras
import numpy as np

from orpheus.config.experiment import TextInput
from orpheus.errors import ConfigError
from orpheus.models.layers import layer_seed


def vector(x, settings: TextInput, embedding: np.ndarray, *, prefix: str, seed: int, synchronized: bool):
    """The vector of a text, by ``settings.architecture``.

    ``cnn``: word vectors, convolutions of several lengths over them, of each filter its maximum over the text.
    ``lstm``: word vectors, an LSTM in each direction, that passes over padding.
    Layers ``word_vectors words_dropout conv_2 pool_2 … text_vector`` and ``word_vectors words_dropout text_vector``.

    Args:
        x: (batch, words) int32, 0 is padding.
        settings: Of the input.
        embedding: (vocabulary, dimensions); `build_modalities` sets them as weights of ``word_vectors``.
        prefix: Of layer names.
        seed: Of weights and dropout.
        synchronized: Not used: there is no batch normalisation here.

    Returns:
        (batch, features).

    Raises:
        ConfigError: a filter is longer than the text.
    """
    layers = keras.layers
    recurrent = settings.architecture == "lstm"
    vocabulary, dim = embedding.shape
    words = layers.Embedding(
        vocabulary,
        dim,
        embeddings_initializer="zeros",
        mask_zero=recurrent,
        trainable=settings.fine_tune,
        name=f"{prefix}word_vectors",
    )
    dropped = f"{prefix}words_dropout"
    rate = settings.dropout if settings.words_dropout is None else settings.words_dropout
    embedded = layers.Dropout(rate, seed=layer_seed(seed, dropped), name=dropped)(words(x))
    if recurrent:
        name = f"{prefix}text_vector"
        lstm = layers.LSTM(
            settings.units,
            kernel_initializer=keras.initializers.GlorotUniform(seed=layer_seed(seed, name)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=layer_seed(seed, f"{name}_recurrent")),
        )
        return layers.Bidirectional(lstm, name=name)(embedded)
    found = []
    for length in settings.filter_lengths:
        if length > x.shape[1]:
            raise ConfigError(f"filter_lengths={settings.filter_lengths}: {length} words in texts of {x.shape[1]}")
        name = f"{prefix}conv_{length}"
        y = layers.Conv1D(
            settings.filters,
            length,
            activation="relu",
            name=name,
            kernel_initializer=keras.initializers.GlorotUniform(seed=layer_seed(seed, name)),
        )(embedded)
        found.append(layers.GlobalMaxPooling1D(name=f"{prefix}pool_{length}")(y))
    return layers.Concatenate(name=f"{prefix}text_vector")(found) if len(found) > 1 else found[0]
