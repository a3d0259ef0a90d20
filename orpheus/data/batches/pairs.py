"""Draws over a sparse table of songs and anchors (tags, or listeners), inside the graph; nothing of songs × anchors is dense."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import tensorflow as tf

from orpheus.data.batches import draws
from orpheus.errors import DataError


@dataclass(frozen=True)
class DrawnPairs:
    """One batch of pairs as numbers.

    Attributes:
        anchors: (batch,) int32 columns.
        songs: (batch, 1 + history) int32 rows: the positive, then `history` other songs of the anchor, with replacement.
        places: (batch,) float32 in [0, 1), each anchor's own random number for the draw of a negative.
    """

    anchors: tf.Tensor
    songs: tf.Tensor
    places: tf.Tensor


class Pairs:
    """Draws of (anchor, one of its songs), and which song belongs to which anchor.

    Random: a song uniformly among those with a usable anchor, then one of its usable anchors uniformly. Balanced: a usable
    anchor uniformly, then one of its songs uniformly, or with probability proportional to the table's values.

    Args:
        table: (songs, anchors) CSR; what is stored is a pair, of the weight that is stored.
        balanced: Balanced instead of random anchors.
        weighted: Of balanced ones: songs by weight.
        history: Other songs of the anchor beside each positive.

    Raises:
        DataError: no anchor is usable: some song must have it and some not, and with `history` two songs must.

    Attributes:
        shape: Of the table.
        usable: Columns that can be anchors, ascending.
    """

    def __init__(
        self, table: scipy.sparse.csr_matrix, *, balanced: bool = False, weighted: bool = False, history: int = 0
    ):
        table = scipy.sparse.csr_matrix(table, dtype=np.float64)
        table.sum_duplicates()
        self.shape: tuple[int, int] = table.shape
        songs = self.shape[0]
        by_anchor = table.tocsc()
        by_anchor.sort_indices()
        count = np.diff(by_anchor.indptr).astype(np.int64)
        self.usable = np.flatnonzero((count >= (2 if history else 1)) & (count < songs))
        if not len(self.usable):
            least = "two" if history else "one"
            raise DataError(
                f"none of the {self.shape[1]} columns can be an anchor: of the {songs} training songs at least {least} must "
                "have it, and some not"
            )
        self._balanced, self._weighted, self._history = balanced, weighted, history
        self._usable = tf.constant(self.usable, tf.int64)
        # Songs of anchor a: members[first[a] : first[a] + count[a]], ascending.
        self._members = tf.constant(by_anchor.indices, tf.int32)
        self._first = tf.constant(by_anchor.indptr[:-1], tf.int64)
        self._count = tf.constant(count, tf.int64)
        # All (anchor, song) as one ascending list of numbers, to be searched.
        anchors = np.repeat(np.arange(self.shape[1], dtype=np.int64), count)
        self._keys = tf.constant(anchors * songs + by_anchor.indices, tf.int64)
        if weighted:
            self._cumulated = tf.constant(np.concatenate([[0.0], np.cumsum(by_anchor.data)]), tf.float64)
        is_usable = np.zeros(self.shape[1], bool)
        is_usable[self.usable] = True
        kept = is_usable[table.indices]
        own = np.repeat(np.arange(songs), np.diff(table.indptr))[kept]
        self._anchors_of = tf.constant(table.indices[kept], tf.int32)
        per_song = np.bincount(own, minlength=songs)
        anchored = np.flatnonzero(per_song)
        self._anchored = tf.constant(anchored, tf.int32)
        self._anchor_count = tf.constant(per_song[anchored], tf.int64)
        self._first_anchor = tf.constant((np.cumsum(per_song) - per_song)[anchored], tf.int64)

    def draw(self, batch: int, seed: tf.Tensor) -> DrawnPairs:
        """A batch of pairs.

        Args:
            batch: How many.
            seed: (2,) integers; equal seeds draw equal pairs.
        """
        # 53 bits: an anchor may have more songs than float32 can tell apart.
        uniform = tf.random.stateless_uniform([2 + self._history, batch], seed, dtype=tf.float64)
        if self._balanced:
            anchors = tf.gather(self._usable, draws.below(uniform[0], tf.size(self._usable, tf.int64)))
            member = self._by_weight(anchors, uniform[1]) if self._weighted else self._uniformly(anchors, uniform[1])
            positives = tf.gather(self._members, tf.gather(self._first, anchors) + member)
        else:
            row = draws.below(uniform[0], tf.size(self._anchored, tf.int64))
            positives = tf.gather(self._anchored, row)
            place = draws.below(uniform[1], tf.gather(self._anchor_count, row))
            anchors = tf.cast(tf.gather(self._anchors_of, tf.gather(self._first_anchor, row) + place), tf.int64)
            member = self._place(anchors, positives) - tf.gather(self._first, anchors)
        songs = [positives]
        for one in range(self._history):
            # Uniform among the anchor's songs without the positive.
            rank = draws.below(uniform[2 + one], tf.gather(self._count, anchors) - 1)
            rank += tf.cast(rank >= member, tf.int64)
            songs.append(tf.gather(self._members, tf.gather(self._first, anchors) + rank))
        places = tf.cast(tf.random.stateless_uniform([batch], seed + 1), tf.float32)
        return DrawnPairs(tf.cast(anchors, tf.int32), tf.stack(songs, axis=1), places)

    def _uniformly(self, anchors: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """(batch,) which of its songs, of each anchor."""
        return draws.below(uniform, tf.gather(self._count, anchors))

    def _by_weight(self, anchors: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        first, count = tf.gather(self._first, anchors), tf.gather(self._count, anchors)
        low, high = tf.gather(self._cumulated, first), tf.gather(self._cumulated, first + count)
        found = tf.searchsorted(self._cumulated, low + uniform * (high - low), side="right", out_type=tf.int64) - 1
        return tf.clip_by_value(found - first, 0, count - 1)

    def _place(self, anchors: tf.Tensor, songs: tf.Tensor) -> tf.Tensor:
        """Where each (anchor, song) is in the list of all, or would be."""
        keys = tf.cast(anchors, tf.int64) * self.shape[0] + tf.cast(songs, tf.int64)
        return tf.searchsorted(self._keys, keys, out_type=tf.int64)

    def members(self, anchors: tf.Tensor, songs: tf.Tensor) -> tf.Tensor:
        """(anchors, songs) bool: whether each of `songs` belongs to each of `anchors`; by binary search.

        Args:
            anchors: (a,) columns.
            songs: (s,) rows.
        """
        keys = tf.cast(anchors, tf.int64)[:, tf.newaxis] * self.shape[0] + tf.cast(songs, tf.int64)[tf.newaxis]
        flat = tf.reshape(keys, [-1])
        found = tf.minimum(tf.searchsorted(self._keys, flat, out_type=tf.int64), tf.size(self._keys, tf.int64) - 1)
        return tf.reshape(tf.equal(tf.gather(self._keys, found), flat), tf.shape(keys))
