"""Lists of songs: the nearest to a vector that filters let through, as different from each other as is asked for."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orpheus.learning.vectors.nearest import Nearest
from orpheus.tasks.search import mixing, paths
from orpheus.tasks.search.filters import Facets, Filters
from orpheus.tasks.search.known_tags import KnownTags
from orpheus.tasks.search.store import Song, SongStore

_AROUND = 50  # songs near each point of a way that may be on it, besides so many as it has points
_FEW = 1000  # songs that are left out by looking at more


class Hit(NamedTuple):
    """One place of a list of songs.

    Attributes:
        id: Of the song.
        score: Cosine with what was asked for, −1 to 1.
        path: Of its audio; empty where there is none.
        tags: All its tags.
        shared: Those that explain why it is here: what was asked for itself, then what is nearest to it.
        artist: Empty where it is not known.
        title: Empty where it is not known.
        number: Of the song in the index, until it changes.
    """

    id: str
    score: float
    path: str
    tags: tuple[str, ...]
    shared: tuple[str, ...]
    artist: str = ""
    title: str = ""
    number: int = 0


def of_song(song: Song, score: float, shared: tuple[str, ...] = ()) -> Hit:
    """A song of a store as a hit."""
    return Hit(song.id, score, song.path, song.tags, shared, song.artist, song.title, song.number)


class Ranking:
    """Ranks the songs of a store as it is now.

    Args:
        store: Of the songs.
        nearest: Of their vectors.
        tags: Explain the hits.
    """

    def __init__(self, store: SongStore, nearest: Nearest, tags: KnownTags):
        self._store, self._nearest, self._tags = store, nearest, tags

    @functools.cached_property
    def facets(self) -> Facets:
        """Artists and tags of the songs, read when they are needed first."""
        return Facets(self._store)

    def hits(
        self,
        vector: np.ndarray,
        k: int,
        *,
        names: Sequence[str],
        wanted: np.ndarray,
        filters: Filters,
        excluded: np.ndarray,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """The songs nearest to a vector.

        Args:
            vector: (d,) unit vector.
            k: Length of the list; fewer where filters leave fewer.
            names: Tags that were asked for.
            wanted: (n, d) unit rows of what was asked for; tags near any of them explain a hit.
            filters: See there; `exclude` and `include_heard` are in `excluded`.
            excluded: Different numbers that are left out.
            diversity: See `mixing.marginal_relevance`.

        Raises:
            ConfigError: `k` or `diversity` out of range.
            DataError: no song has one of the tags of the filters.
        """
        score_of = self._find(vector, mixing.pool(k, diversity), filters, excluded)
        found = self._store.songs(list(score_of))
        if diversity and found:
            scores = np.array([score_of[song.number] for song in found])
            vectors = np.stack([song.vector for song in found])
            found = [found[place] for place in mixing.marginal_relevance(scores, vectors, k, diversity)]
        explain = self._tags.explain
        return [of_song(song, score_of[song.number], explain(song.tags, names, wanted)) for song in found]

    def path(self, first: Song, last: Song, steps: int) -> list[Hit]:
        """Two songs and those between them; see `SongIndex.path`."""
        points = paths.straight(first.vector, last.vector, steps)
        count = min(steps + _AROUND, len(self._nearest))
        numbers = self._nearest.search(points, count)[0] if count else np.zeros((0, 0), np.int64)
        ends = [first.number, last.number]
        there = self._store.songs([number for number in np.unique(numbers) if number >= 0 and number not in ends])
        chosen = []
        if there:
            points = paths.straight(first.vector, last.vector, min(steps, len(there)))
            rows = np.stack([song.vector for song in there])
            chosen = [there[place] for place in paths.choose(points, rows, first.vector, last.vector)]
        scores = [float(point @ song.vector) for point, song in zip(points, chosen, strict=False)]
        ways = [first, *chosen, last]
        wanted = np.stack([first.vector, last.vector])
        names = [*first.tags, *last.tags]
        return [
            of_song(song, score, self._tags.explain(song.tags, names, wanted))
            for song, score in zip(ways, [1.0, *scores, 1.0], strict=True)
        ]

    def _find(self, vector: np.ndarray, count: int, filters: Filters, excluded: np.ndarray) -> dict[int, float]:
        """Number → cosine of the `count` nearest songs that filters let through, nearest first."""
        only, left_out, size = None, excluded, len(self._nearest)
        if filters.tags or filters.without or len(excluded) > _FEW:
            only, left_out = self.facets.allowed(filters, excluded), excluded[:0]
            size = len(only)
        wanted = count + len(left_out)
        while True:
            numbers, scores = (row[0] for row in self._nearest.search(vector[None], max(wanted, 1), only=only))
            kept = numbers[(numbers >= 0) & ~np.isin(numbers, left_out)].tolist()
            found = self.facets.once(kept) if filters.artists_once else kept
            if len(found) >= count or wanted >= size:
                break
            wanted *= 4  # artists that come often
        score_of = dict(zip(numbers.tolist(), scores.tolist(), strict=True))
        return {number: score_of[number] for number in found[:count]}
