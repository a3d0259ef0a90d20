"""The joint task: tags, songs and listeners in one space; the best epoch by the mean of three questions, or one of them."""

import logging
from typing import Any

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from orpheus.config.joint import Joint, JointConfig
from orpheus.data.batches import draws
from orpheus.data.batches.pairs import DrawnPairs, Pairs
from orpheus.errors import ConfigError
from orpheus.learning.engine import fit
from orpheus.learning.engine.job import Job
from orpheus.learning.losses.joint import JointLoss, JointParts, Layout
from orpheus.models import joint as models
from orpheus.models import towers
from orpheus.tasks.joint import embedding, metrics
from orpheus.tasks.joint.data import JointData

log = logging.getLogger(__name__)
_TAGS, _LISTENERS = "tags", "listeners"
# Seeds of the draws of each kind lie this far apart, so that none is another's of a later step.
_APART = {_TAGS: 0, _LISTENERS: 1 << 40}
_DROPPED = 1 << 41


class Batches:
    """What a run draws from.

    Args:
        data: Of the run.
        section: Of its config.

    Attributes:
        pairs: ``"tags"`` and ``"listeners"`` → draws over training songs, as far as their losses have a weight.
        labels: (training songs, tags) CSR.
        weights: (training songs,) of the cross-entropy, so that its mean over drawn songs is that over all tagged ones.
    """

    def __init__(self, data: JointData, section: Joint):
        self.data, self.section = data, section
        rows = data.songs_of("train")
        self.labels = data.labels[rows]
        self.pairs: dict[str, Pairs] = {}
        if section.tag_loss.weight or section.class_loss.weight:
            balanced = section.tag_loss.sampling == "balanced"
            self.pairs[_TAGS] = Pairs(self.labels.astype(np.float64), balanced=balanced)
            self.weights = class_weights(self.labels, self.pairs[_TAGS].usable, balanced=balanced)
        if section.listener_loss.weight:
            heard = data.heard[:, rows].T.tocsr()
            by_factors = section.listeners == "factors"
            if by_factors:  # nobody without factors is an anchor
                heard = heard @ scipy.sparse.diags(data.has_factors.astype(np.float32))
                heard.eliminate_zeros()
            self.pairs[_LISTENERS] = Pairs(
                heard,
                balanced=True,
                weighted=section.listener_loss.by_plays,
                history=0 if by_factors else section.history,
            )
        for kind, pairs in self.pairs.items():
            if unusable := pairs.shape[1] - len(pairs.usable):
                log.info("%d of %d %s are no anchors: too few training songs, or all", unusable, pairs.shape[1], kind)

    @property
    def songs(self) -> int:
        """How many of each example."""
        history = self.section.history if self.section.listeners == "songs" and _LISTENERS in self.pairs else 0
        return len(self.pairs) + history

    def layout(self, batch: int) -> Layout:
        """Of outputs and targets."""
        return Layout(
            self.section.embedding,
            batch,
            tags=bool(self.section.tag_loss.weight),
            listeners=_LISTENERS in self.pairs,
            classes=self.labels.shape[1] if self.section.class_loss.weight else 0,
        )

    def datasets(self, batch: int, *, steps: int, seed: int, first_epoch: int) -> tf.data.Dataset:
        """Endless (inputs, targets), a function of seed, epoch and step."""
        data, layout = self.data, self.layout(batch)
        rows = data.songs_of("train")
        numbers = tf.constant(rows)
        # Captured by the graph: a constant within it would end at the 2 GiB that a graph may have.
        tables = {name: tf.constant(table[rows]) for name, table in data.tables.items()}
        present, rates = tf.constant(data.present[rows]), tf.constant(self.section.dropout_rates, tf.float32)
        factors = None if data.listener_factors is None else tf.constant(data.listener_factors)
        labels = _Labels(self.labels, self.weights) if layout.classes else None
        kinds = list(self.pairs)

        def draw(count: int, own: tf.Tensor) -> tuple[tf.Tensor, ...]:
            found = []
            for kind in kinds:
                drawn = self.pairs[kind].draw(count, own + _APART[kind])
                found += [drawn.anchors, drawn.songs, drawn.places]
            return tuple(found)

        def example(parts: tuple[tf.Tensor, ...], own: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            drawn = {kind: DrawnPairs(*parts[3 * i : 3 * i + 3]) for i, kind in enumerate(kinds)}
            picked = _picked(drawn)
            uniform = tf.random.stateless_uniform([batch, self.songs, len(data.inputs)], own + _DROPPED)
            kept = draws.keep_some(tf.gather(present, picked), rates, uniform)
            inputs = {models.MASK: tf.cast(kept, tf.float32)}
            inputs |= {name: tf.gather(table, picked) for name, table in tables.items()}
            columns = [tf.range(batch, dtype=tf.float32)[:, tf.newaxis]]
            for kind in layout.kinds:
                one = drawn[kind]
                lacking = ~self.pairs[kind].members(one.anchors, one.songs[:, 0])
                columns += [one.places[:, tf.newaxis], tf.cast(lacking, tf.float32)]
            if _TAGS in drawn:
                inputs["tag"] = drawn[_TAGS].anchors
            if factors is not None and _LISTENERS in drawn:
                inputs["listener"] = tf.gather(factors, drawn[_LISTENERS].anchors)
            if labels is not None:
                columns.append(labels.rows(drawn[_TAGS].songs[:, 0]))
            return inputs, tf.concat(columns, axis=1)

        drawn = draws.batches(draw, batch, steps=steps, seed=seed, first_epoch=first_epoch)
        examples = drawn.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        if data.audio is not None:

            def wanted(parts: tuple[tf.Tensor, ...], own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                pairs = {kind: DrawnPairs(*parts[3 * i : 3 * i + 3]) for i, kind in enumerate(kinds)}
                return tf.gather(numbers, _picked(pairs)), own

            windows = data.audio.random(drawn.map(wanted), (batch, self.songs))
            examples = tf.data.Dataset.zip((examples, windows)).map(
                lambda example, audio: ({**example[0], "audio": audio}, example[1])
            )
        return examples.prefetch(tf.data.AUTOTUNE)


def _picked(drawn: dict[str, DrawnPairs]) -> tf.Tensor:
    """(batch, songs) rows: the tag's song, the listener's, and the listener's others."""
    return tf.concat([one.songs for one in drawn.values()], axis=1)


class _Labels:
    """Rows of a sparse table of labels, made dense for a batch, behind each its weight."""

    def __init__(self, labels: scipy.sparse.csr_matrix, weights: np.ndarray):
        self._columns = tf.constant(labels.indices, tf.int64)
        self._first = tf.constant(labels.indptr[:-1], tf.int64)
        self._count = tf.constant(np.diff(labels.indptr), tf.int64)
        self._weights, self._classes = tf.constant(weights, tf.float32), labels.shape[1]

    def rows(self, songs: tf.Tensor) -> tf.Tensor:
        """(batch, 1 + classes): the weight, then 1 for each class of the song."""
        count, first = tf.gather(self._count, songs), tf.gather(self._first, songs)
        row = tf.repeat(tf.range(tf.size(songs, tf.int64)), count)
        start = tf.cumsum(count, exclusive=True)
        place = tf.range(tf.size(row, tf.int64)) - tf.gather(start, row) + tf.gather(first, row)
        where = tf.stack([row, tf.gather(self._columns, place)], axis=1)
        shape = tf.stack([tf.size(songs, tf.int64), tf.constant(self._classes, tf.int64)])
        hot = tf.scatter_nd(where, tf.ones(tf.shape(row), tf.float32), shape)
        return tf.concat([tf.gather(self._weights, songs)[:, tf.newaxis], hot], axis=1)


def class_weights(labels: scipy.sparse.csr_matrix, usable: np.ndarray, *, balanced: bool) -> np.ndarray:
    """(songs,) weights with which drawn songs count as if every tagged song were drawn alike: 1 / (songs · probability).

    Balanced draws prefer songs of rare tags, and a cross-entropy of those alone would make rare tags too probable.

    Args:
        labels: (songs, tags) CSR.
        usable: Columns that are drawn.
        balanced: How they are drawn, see `Pairs`.
    """
    own = labels[:, usable].astype(np.float64)
    drawn = np.diff(own.tocsr().indptr) > 0
    if not balanced:
        return drawn.astype(np.float32)
    chance = np.asarray(own @ (1 / own.sum(axis=0).A1)).ravel() / len(usable)
    return np.where(drawn, 1 / np.maximum(chance * drawn.sum(), 1e-12), 0).astype(np.float32)


def loss_of(section: Joint, layout: Layout) -> JointLoss:
    """The loss that a config asks for."""
    pairs = {_TAGS: section.tag_loss, _LISTENERS: section.listener_loss}
    wanted = ("loss", "margin", "is_weighted", "weight")
    values = {kind: {key: getattr(one, key) for key in wanted} for kind, one in pairs.items() if kind in layout.kinds}
    return JointLoss(layout, values, section.class_loss.weight)


def build(
    section: Joint,
    shapes: dict[str, tuple[int, ...]],
    vectors: np.ndarray,
    layout: Layout,
    *,
    listener_columns: int | None,
    prevalence: np.ndarray | None,
    seed: int = 0,
    synchronized: bool = False,
) -> keras.Model:
    """The model of a config.

    Args:
        section: Of the config.
        shapes: Of a song's inputs, in their order.
        vectors: (tags, d) word vectors.
        layout: Of outputs and targets.
        listener_columns: Length of listeners' factors, or None.
        prevalence: (tags,) share of songs that have each tag; None without cross-entropy.
        seed, synchronized: As of `models.joint.build_joint`.
    """

    def pairs(wanted: bool, one: Any) -> models.Pairs | None:
        learned = one.learned and one.loss == "infonce"
        return models.Pairs(one.temperature, learned) if wanted else None

    return models.build_joint(
        shapes,
        vectors,
        tags=pairs(layout.tags, section.tag_loss),
        listeners=pairs(layout.listeners, section.listener_loss),
        classes=prevalence if layout.classes else None,
        listener_columns=listener_columns,
        history=section.history,
        frontend=section.frontend,
        n_filters=section.n_filters,
        audio_tower=section.audio_tower,
        dimension=section.embedding,
        dropout=section.dropout,
        synchronized=synchronized,
        seed=seed,
    )


def job(
    data: JointData,
    config: JointConfig,
    *,
    epochs: int,
    seed: int = 0,
    steps_per_epoch: int | None = None,
    synchronized: bool = False,
) -> Job:
    """The Job of a joint run.

    Args:
        data: From `open_data` or `reopen_data`.
        config: Of the run.
        epochs: In all.
        seed: Of weights, draws, windows and dropout.
        steps_per_epoch: Instead of pairs_per_epoch / batch_size.
        synchronized: Batch normalisation over all replicas; for several.
    """
    section, settings = config.joint, config.training
    steps = steps_per_epoch or max(1, section.pairs_per_epoch // settings.batch_size)
    if data.audio is not None:  # a model that cannot be built is refused before there is a run folder
        dtype = data.spec.dtype if data.spec else None
        towers.check_frontend(section.frontend, data.audio.shape, dtype=dtype, section="joint")
    batches = Batches(data, section)
    layout = batches.layout(settings.batch_size)
    loss = loss_of(section, layout)
    tagged = batches.labels[np.diff(batches.labels.indptr) > 0]
    prevalence = np.asarray(tagged.mean(axis=0)).ravel() if tagged.shape[0] else None
    columns = None if data.listener_factors is None else data.listener_factors.shape[1]
    monitor = _monitor(section, data, layout)
    known = embedding.truth(data, data.songs_of("valid")) if monitor else None

    def validate(model: keras.Model) -> dict[str, float]:
        assert known is not None
        # One window of a training song is enough for a mean over many: embedding all of them takes long.
        found = embedding.outputs(model, data, data.songs_of("valid"), config, training_windows=1)
        return metrics.summarise(found, known)

    return Job(
        build=lambda: build(
            section,
            data.shapes(),
            data.vectors,
            layout,
            listener_columns=columns,
            prevalence=prevalence,
            seed=seed,
            synchronized=synchronized,
        ),
        optimizer=lambda: fit.optimizer(settings, steps_per_epoch=steps, epochs=epochs),
        loss=loss,
        metrics=lambda: [JointParts(loss)],
        train=lambda first: batches.datasets(settings.batch_size, steps=steps, seed=seed, first_epoch=first),
        valid=None,
        steps_per_epoch=steps,
        batch_size=settings.batch_size,
        monitor=f"val_{monitor}" if monitor else "loss",
        mode="max" if monitor else "min",
        seed=seed,
        validate=validate if monitor else None,
        vectors=(lambda model: (list(data.targets.classes), embedding.tags(model, data.vectors)))
        if _TAGS in batches.pairs
        else None,
    )


def _monitor(section: Joint, data: JointData, layout: Layout) -> str | None:
    """The figure that picks the best epoch; None where validation can tell none.

    Raises:
        ConfigError: the one that the config asks for cannot be had.
    """
    rows = data.splits["valid"]
    given = data.given(rows)
    some = bool((given.any(axis=0) & ~given.all(axis=0)).any()) if len(rows) else False
    can = {
        "tag_songs": some and (layout.tags or layout.classes > 0),
        "song_tags": some and layout.classes > 0,
        "listener_songs": bool(data.listeners and data.heard[:, rows].nnz),
    }
    if section.monitor == "mean":
        if not any(can.values()):
            log.warning("no validation: none of the three questions has an answer among its songs")
            return None
        return "mean"
    if not can[section.monitor]:
        raise ConfigError(
            f"joint.monitor={section.monitor}: validation songs and weights leave no such figure; choose another"
        )
    return section.monitor
