"""The tower of songs that takes audio and factors: it learns from both."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.data.batches.triplets import Triplets
from orpheus.learning.losses.triplet import TripletLoss
from orpheus.models.towers import build_towers
from orpheus.tasks.retrieval.metrics import summarise

TAGS = ("calm", "angry", "piano", "drums", "old", "new")


def planted(seed):
    """Vectors of tags, labels of 600 songs, and inputs of which each knows half of the tags."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(TAGS), 12)).astype(np.float32)
    labels = rng.random((600, len(TAGS))) < 0.3
    known = {"audio": labels * [1, 1, 1, 0, 0, 0], "factors": labels * [0, 0, 0, 1, 1, 1]}
    factors = (known["factors"] @ vectors + 0.5 * rng.normal(size=(600, 12))).astype(np.float32)
    sound = (known["audio"] @ vectors + 0.5 * rng.normal(size=(600, 12))).astype(np.float32)
    # A picture of 16 frames whose bands carry the sound.
    audio = np.repeat(np.concatenate([sound, -sound], axis=1)[:, None], 16, axis=1) + 8
    return vectors, labels, {"audio": audio.astype(np.float32), "factors": factors}


def trained_tower(vectors, labels, inputs, *, fusion="sum", seed=0, steps=250):
    """A small pair of towers, trained by the task's own draws and loss."""
    keras.utils.set_random_seed(seed)
    shapes = {name: value.shape[1:] for name, value in inputs.items()}
    model = build_towers(shapes, vectors.shape[1], n_filters=4, dimension=16, dropout=0.2, fusion=fusion, seed=seed)
    optimizer, loss = keras.optimizers.Adam(0.003), TripletLoss()
    triplets = Triplets(labels[:400], balanced=True)

    @tf.function
    def step(number):
        drawn = triplets.draw(32, tf.stack([seed, number]))
        batch = {name: tf.gather(value, drawn.songs) for name, value in inputs.items()}
        with tf.GradientTape() as tape:
            outputs = model({"tag": tf.gather(vectors, drawn.anchors), **batch}, training=True)
            value = tf.reduce_mean(loss.call(tf.zeros((32, 2)), outputs))
        optimizer.apply_gradients(
            zip(tape.gradient(value, model.trainable_variables), model.trainable_variables, strict=True)
        )

    optimizer.build(model.trainable_variables)
    for number in range(steps):
        step(tf.constant(number))
    return model


def mean_ap(model, vectors, labels, inputs):
    embedded = model.get_layer("song_tower")({name: value[400:] for name, value in inputs.items()}, training=False)
    scores = embedded.numpy() @ model.get_layer("tag_tower")(vectors, training=False).numpy().T
    return summarise(labels[400:], scores, TAGS)["macro"]["MAP"]


@pytest.mark.slow
def test_the_hybrid_tower_learns_from_both_inputs():
    vectors, labels, inputs = planted(0)
    rng = np.random.default_rng(9)
    alone = {
        name: mean_ap(trained_tower(vectors, labels, {name: value}), vectors, labels, {name: value})
        for name, value in inputs.items()
    }
    model = trained_tower(vectors, labels, inputs)
    both = mean_ap(model, vectors, labels, inputs)
    assert both > max(alone.values()) + 0.1, (both, alone)
    for name, value in inputs.items():
        noise = rng.permutation(value)  # another song's: the same distribution, and nothing about this one
        assert mean_ap(model, vectors, labels, {**inputs, name: noise}) < both - 0.1, name
