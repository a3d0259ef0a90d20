"""musicnn (Pons & Serra 2019, arXiv 1909.06654): timbral and temporal filters, dense mid-end, temporal pooling."""

from functools import partial

import keras

from orpheus.models.layers import BatchNormalization, LogCompression, convolve, initializer, layer_seed

TIMBRAL_SHARES = (0.4, 0.7)  # height of the filters as a share of the mel bands
TIMBRAL_FRAMES = 7
TEMPORAL_FRAMES = (128, 64, 32)
MID_FRAMES = 7
FEWEST_MELS = 3  # the lower filters are int(0.4 · mels) high


def musicnn(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Maxima over frequency of timbral and temporal filters, three convolutions over time, and pooling over all of it.

    Every convolution has a bias and is followed by ReLU, then batch normalisation. Log compression of the power and a
    batch normalisation of one channel come first, so the network hears level.

    Args:
        audio: (batch, frames, mels), decibels as stored; the published models take 187 frames of 96 mels.
        n_filters: Of each mid-end convolution, 64 in the paper. The front-end has ``int(3.2 n)`` filters of either
            timbral height (204) and ``int(0.8 n)`` of each temporal length (51).
        n_dense_units: Units of the embedding, 200 in the paper.
        dropout: Share of the pooled features dropped in training, 0.5 in the paper.
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, n_dense_units), the output of ``embedding``. ``pooled`` holds the maxima over time, then the means.
    """
    layers = keras.layers
    block = partial(convolve, seed=seed, synchronized=synchronized)
    x = LogCompression(name="log_compression")(audio)
    x = layers.Reshape((*audio.shape[1:], 1), name="channel")(x)
    x = BatchNormalization(synchronized=synchronized, name="input_norm")(x)

    features = []
    margin = TIMBRAL_FRAMES // 2
    padded = layers.ZeroPadding2D(((margin, margin), (0, 0)), name="pad")(x)
    for height in (int(share * audio.shape[2]) for share in TIMBRAL_SHARES):
        name, filters = f"timbral_{height}", int(3.2 * n_filters)
        y = block(padded, filters, (TIMBRAL_FRAMES, height), name, padding="valid")
        features.append(_maximum_over_frequency(y, name))  # (batch, frames, filters)
    for length in TEMPORAL_FRAMES:
        name, filters = f"temporal_{length}", int(0.8 * n_filters)
        features.append(_maximum_over_frequency(block(x, filters, (length, 1), name), name))
    front = layers.Concatenate(name="features")(features)

    first = block(front, n_filters, MID_FRAMES, "mid_1")
    second = layers.Add(name="mid_2_sum")([block(first, n_filters, MID_FRAMES, "mid_2"), first])
    third = layers.Add(name="mid_3_sum")([block(second, n_filters, MID_FRAMES, "mid_3"), second])
    dense = layers.Concatenate(name="dense_features")([front, first, second, third])

    x = layers.Concatenate(name="pooled")(
        [layers.GlobalMaxPooling1D(name="maximum")(dense), layers.GlobalAveragePooling1D(name="mean")(dense)]
    )
    x = BatchNormalization(synchronized=synchronized, name="pooled_norm")(x)
    x = layers.Dropout(dropout, seed=layer_seed(seed, "pooled_dropout"), name="pooled_dropout")(x)
    x = layers.Dense(n_dense_units, activation="relu", kernel_initializer=initializer(seed, "dense"), name="dense")(x)
    return BatchNormalization(synchronized=synchronized, name="embedding")(x)


def _maximum_over_frequency(x, name: str):
    """(batch, frames, bands, filters) → (batch, frames, filters)."""
    x_pooled = keras.layers.MaxPooling2D((1, x.shape[2]), name=f"{name}_pool")(x)
    return keras.layers.Reshape((x.shape[1], x.shape[3]), name=f"{name}_flat")(x_pooled)
