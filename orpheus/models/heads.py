"""What stands on the embedding: one head per kind of target."""

import keras

from orpheus.models.layers import initializer, layer_seed


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
