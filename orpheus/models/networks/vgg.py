"""The VGG baseline of musicnn (Pons & Serra 2019, arXiv 1909.06654), after Choi et al. 2016: five 3×3 convolutions."""

import keras

from orpheus.models.layers import BatchNormalization, LogCompression, convolve, layer_seed

POOLS = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))  # size, stride
FEWEST_MELS = 64  # that leave one band
SHORTEST_FRAMES, LONGEST_FRAMES = 130, 193  # that leave two steps, as the published weights need


def vgg(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """Five convolutions, each with a bias and followed by ReLU, batch normalisation and pooling.

    Log compression of the power and a batch normalisation of one channel come first, so the network hears level.

    Args:
        audio: (batch, frames, mels), decibels as stored, 130 to 193 frames; the published models take 187 of 96 mels.
        n_filters: Of every convolution, 128 in the published models.
        n_dense_units: Not used: the embedding is what the last pooling leaves, flattened.
        dropout: Half of it is the share dropped after each of the first four poolings in training (0.25 of 0.5).
        seed: The model's seed.
        synchronized: Whether batch statistics are shared across replicas.

    Returns:
        (batch, 2 · bands left · n_filters), 256 for 96 mels and 128 filters: the output of ``embedding``.
    """
    layers = keras.layers
    x = LogCompression(name="log_compression")(audio)
    x = layers.Reshape((*audio.shape[1:], 1), name="channel")(x)
    x = BatchNormalization(synchronized=synchronized, name="input_norm")(x)
    for number, (size, strides) in enumerate(POOLS, 1):
        x = convolve(x, n_filters, (3, 3), f"conv_{number}", seed=seed, synchronized=synchronized)
        x = layers.MaxPooling2D(size, strides, name=f"pool_{number}")(x)
        if number < len(POOLS):
            name = f"pool_{number}_dropout"
            x = layers.Dropout(dropout / 2, seed=layer_seed(seed, name), name=name)(x)
    return layers.Flatten(name="embedding")(x)
