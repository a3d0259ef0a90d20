"""Draws for metric learning, inside the graph: anchor tags, songs that have them, songs that have not.

Everything is a function of one seed: a table of the songs of every tag is looked up by drawn numbers, for a whole batch
at once, without rejection and without Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from orpheus.data.batches import draws
from orpheus.errors import DataError


@dataclass(frozen=True)
class Drawn:
    """One batch of triplets as numbers.

    Attributes:
        anchors: (batch,) int32, columns of tags.
        songs: (batch, 2) int32, the positive and the negative song's rows; (batch, 1) where negatives are sought
            among the batch's positives.
        places: (batch,) float32 in [0, 1), each anchor's own random number for that search.
    """

    anchors: tf.Tensor
    songs: tf.Tensor
    places: tf.Tensor


class Triplets:
    """Draws of (anchor tag, positive song, negative song).

    Random: a song uniformly among those with a usable tag, then one of its usable tags uniformly: frequent tags are
    anchors often. Balanced: a usable tag uniformly, then one of its songs. A negative drawn here is uniform among all
    songs that do not have the tag; one sought within the batch (`losses.triplet`) is another anchor's positive, so that
    songs of many tags are negatives more often, and with balanced anchors songs of rare tags.
    A tag is usable when some song has it and some has not; the others are in `unusable`.
    (Won et al. 2021, arXiv 2010.16030, section 3.)

    Args:
        labels: (songs, tags), 1 where the song has the tag; of the training songs.
        balanced: Balanced instead of random anchors.
        within_batch: Draw no negatives: the loss finds them among the batch's positives.

    Raises:
        DataError: no tag is usable.

    Attributes:
        unusable: Columns of tags that no song has, or all have.
    """

    def __init__(self, labels: np.ndarray, *, balanced: bool = False, within_batch: bool = False):
        labels = np.asarray(labels) > 0
        songs = len(labels)
        counts = labels.sum(axis=0)
        usable = np.flatnonzero((counts > 0) & (counts < songs))
        if not len(usable):
            raise DataError(
                f"none of the {labels.shape[1]} tags can be an anchor: some of the {songs} training songs must have it "
                "and some not"
            )
        self.unusable = tuple(int(column) for column in np.setdiff1d(np.arange(labels.shape[1]), usable))
        self.balanced, self.within_batch = balanced, within_batch
        tags, members = np.nonzero(labels.T)
        self._tags = tf.constant(usable, tf.int32)
        self._songs = songs
        # Songs of tag t: members[first[t] : first[t] + count[t]], ascending.
        self._members = tf.constant(members, tf.int32)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._first, self._count = tf.constant(first, tf.int64), tf.constant(counts, tf.int64)
        # The k-th member m of a tag has m - k songs without the tag before it: how many members come before the r-th
        # song without the tag is a binary search, in all tags' lists at once because each has its own range of keys.
        keys = tags.astype(np.int64) * (songs + 1) + members - (np.arange(len(members)) - first[tags])
        self._keys = tf.constant(keys, tf.int64)
        kept = labels[:, usable]
        own, column = np.nonzero(kept)
        anchored = np.flatnonzero(kept.any(axis=1))
        self._anchored = tf.constant(anchored, tf.int32)
        self._tags_of = tf.constant(usable[column], tf.int32)
        per_song = kept.sum(axis=1)[anchored]
        self._first_tag = tf.constant(np.searchsorted(own, anchored), tf.int64)
        self._tag_count = tf.constant(per_song, tf.int64)

    def draw(self, batch: int, seed: tf.Tensor) -> Drawn:
        """A batch of triplets.

        Args:
            batch: Number of triplets.
            seed: (2,) integers; equal seeds draw equal triplets.
        """
        # 53 bits: a tag may have more songs than float32 can tell apart.
        uniform = tf.random.stateless_uniform([4, batch], seed, dtype=tf.float64)
        if self.balanced:
            anchors = tf.gather(self._tags, draws.below(uniform[0], tf.size(self._tags, tf.int64)))
            member = draws.below(uniform[1], tf.gather(self._count, anchors))
            positives = tf.gather(self._members, tf.gather(self._first, anchors) + member)
        else:
            row = draws.below(uniform[0], tf.size(self._anchored, tf.int64))
            positives = tf.gather(self._anchored, row)
            place = draws.below(uniform[1], tf.gather(self._tag_count, row))
            anchors = tf.gather(self._tags_of, tf.gather(self._first_tag, row) + place)
        songs = positives[:, tf.newaxis]
        if not self.within_batch:
            songs = tf.concat([songs, self._negatives(anchors, uniform[2])[:, tf.newaxis]], axis=1)
        return Drawn(anchors, songs, tf.cast(tf.random.stateless_uniform([batch], seed + 1), tf.float32))

    def _negatives(self, anchors: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """(batch,) songs without the anchor, uniformly."""
        rank = draws.below(uniform, self._songs - tf.gather(self._count, anchors))
        key = tf.cast(anchors, tf.int64) * (self._songs + 1) + rank
        before = tf.searchsorted(self._keys, key, side="right", out_type=tf.int64) - tf.gather(self._first, anchors)
        return tf.cast(rank + before, tf.int32)

    def batches(self, batch: int, *, steps: int, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
        """Endless (`Drawn` as a tuple, seed of the batch) drawn as `Job.train` promises, step by step."""

        def draw(count: int, own: tf.Tensor):
            drawn = self.draw(count, own)
            return drawn.anchors, drawn.songs, drawn.places

        return draws.batches(draw, batch, steps=steps, seed=seed, first_epoch=first_epoch)

    def unusable_names(self, names: Sequence[str]) -> list[str]:
        """Names of the tags that cannot be anchors."""
        return [names[column] for column in self.unusable]
