"""Retrieval: tags and songs in one space by the triplet loss; the best epoch by mean average precision over tags."""

import logging

import keras
import numpy as np
import tensorflow as tf

from orpheus.config.retrieval import Retrieval, RetrievalConfig
from orpheus.data.batches.triplets import Triplets
from orpheus.learning.engine import fit
from orpheus.learning.engine.job import Job
from orpheus.learning.losses.triplet import InfoNCE, TripletLoss, WithoutNegative
from orpheus.models import towers
from orpheus.tasks.retrieval import metrics
from orpheus.tasks.retrieval.data import RetrievalData
from orpheus.tasks.retrieval.embedding import score

log = logging.getLogger(__name__)


def loss_of(section: Retrieval) -> TripletLoss | InfoNCE:
    """The loss that a config asks for."""
    if section.loss == "infonce":
        return InfoNCE(section.temperature)
    return TripletLoss(section.margin, weighted=section.is_weighted)


def job(
    data: RetrievalData,
    config: RetrievalConfig,
    *,
    epochs: int,
    seed: int = 0,
    steps_per_epoch: int | None = None,
    synchronized: bool = False,
) -> Job:
    """The Job of a retrieval run.

    Args:
        data: From `open_data` or `reopen_data`.
        config: Of the run.
        epochs: In all.
        seed: Of weights, draws, windows and dropout.
        steps_per_epoch: Instead of triplets_per_epoch / batch_size.
        synchronized: Batch normalisation over all replicas; for several.
    """
    section, settings = config.retrieval, config.training
    steps = steps_per_epoch or max(1, section.triplets_per_epoch // settings.batch_size)
    if data.audio is not None:  # a model that cannot be built is refused before there is a run folder
        towers.check_frontend(section.frontend, data.audio.shape, dtype=data.spec.dtype if data.spec else None)
    rows, seen = data.songs_of("train"), ~data.zero_shot
    labels, held_out = (data.labels[data.splits[split]][:, seen] for split in ("train", "valid"))
    names = [tag for tag, one in zip(data.targets.classes, seen, strict=True) if one]
    within_batch = section.negatives == "batch"
    # The pool of negatives is the batch's, unless each anchor keeps the one that was drawn for it.
    pooled = within_batch or section.is_weighted or section.loss == "infonce"
    triplets = Triplets(labels, balanced=section.is_balanced, within_batch=within_batch)
    if triplets.unusable:
        log.info(
            "no anchors, since no training song or every one has them: %s", "; ".join(triplets.unusable_names(names))
        )
    count = 1 if within_batch else 2

    def train(first_epoch: int) -> tf.data.Dataset:
        drawn = triplets.batches(settings.batch_size, steps=steps, seed=seed, first_epoch=first_epoch)
        vectors, numbers = tf.constant(data.vectors[seen]), tf.constant(rows)
        hot = tf.constant(labels.astype(np.float32)) if pooled else None
        # Captured by the graph: a constant within it would end at the 2 GiB that a graph may have.
        factors = tf.constant(data.factors[rows]) if data.factors is not None else None

        def batch(triplet, _):
            anchors, picked, places = triplet
            inputs = {"tag": tf.gather(vectors, anchors)}
            if factors is not None:
                inputs["factors"] = tf.gather(factors, picked)
            target = tf.stack([tf.cast(anchors, tf.float32), places], axis=1)
            if hot is not None:
                target = tf.concat([target, tf.gather(hot, picked[:, -1])], axis=1)
            return inputs, target

        batches = drawn.map(batch, num_parallel_calls=tf.data.AUTOTUNE)
        if data.audio is not None:
            picked = drawn.map(lambda triplet, own: (tf.gather(numbers, triplet[1]), own))
            windows = data.audio.random(picked, (settings.batch_size, count))
            batches = tf.data.Dataset.zip((batches, windows)).map(
                lambda rest, audio: ({**rest[0], "audio": audio}, rest[1])
            )
        return batches.prefetch(tf.data.AUTOTUNE)

    def validate(model: keras.Model) -> dict[str, float]:
        scores = score(model, data, data.splits["valid"], config)[:, seen]
        result = metrics.summarise(held_out, scores, names)
        return {name: value for name, value in result["macro"].items() if value is not None}

    validated = bool((held_out.any(axis=0) & ~held_out.all(axis=0)).any())
    if len(held_out) and not validated:
        log.warning(
            "no validation: of no tag of training are there validation songs that have it and some that have not"
        )
    return Job(
        build=lambda: towers.build_towers(
            data.shapes(),
            data.vectors.shape[1],
            songs=count,
            frontend=section.frontend,
            n_filters=section.n_filters,
            dimension=section.embedding,
            dropout=section.dropout,
            fusion=section.fusion,
            audio_tower=section.audio_tower,
            synchronized=synchronized,
            seed=seed,
        ),
        optimizer=lambda: fit.optimizer(settings, steps_per_epoch=steps, epochs=epochs),
        loss=loss_of(section),
        metrics=lambda: [WithoutNegative()] if pooled else [],
        train=train,
        valid=None,
        steps_per_epoch=steps,
        batch_size=settings.batch_size,
        monitor="val_MAP" if validated else "loss",
        mode="max" if validated else "min",
        seed=seed,
        validate=validate if validated else None,
        vectors=lambda model: (
            list(data.targets.classes),
            model.get_layer("tag_tower")(data.vectors, training=False).numpy(),
        ),
    )
