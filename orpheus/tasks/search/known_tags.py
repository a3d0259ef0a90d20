"""Vectors of tags that an index keeps, those of training and of its songs, so that asking for them needs no model."""

import functools
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from orpheus.data.tags.spelling import one_spelling
from orpheus.errors import DataError
from orpheus.semantics.words import tokens
from orpheus.tasks.search import near, query
from orpheus.tasks.search.store import SongStore

if TYPE_CHECKING:  # they load TensorFlow
    from orpheus.tasks.search.tagger_space import Space

log = logging.getLogger(__name__)

_MOST = 50_000  # whose vectors are kept, the most frequent ones
_SHOWN = 3  # tags that explain a hit


class KnownTags:
    """The tags of an index.

    Args:
        store: Of the index.
        run: Gives the run, which is loaded then: for tags whose vectors are not kept.
    """

    def __init__(self, store: SongStore, run: "Callable[[], Space]"):
        self._store, self._run = store, run
        self.training: tuple[str, ...] = tuple(json.loads(store.about()["training_tags"]))

    def keep(self, progress: Callable[..., Iterable]) -> None:
        """Ask the run for the vectors of tags that are not kept yet, and keep them."""
        counts = self._store.tag_counts()
        frequent = sorted(counts, key=lambda tag: (-counts[tag], tag))[:_MOST]
        new = [tag for tag in dict.fromkeys([*self.training, *frequent]) if tag not in self.vectors]
        if not new:
            return
        run, seen = self._run(), set(self.training)
        try:
            known = [tag for tag in progress(new, desc="Tags", unit="tag") if run.knows(tag)]
        except DataError as error:  # its word vectors are gone: tags of training need none
            log.warning("%s", error)
            known = [tag for tag in new if tag in seen]
        self._store.put_tags(known, run.tags(known))
        for name in ("vectors", "listed", "spelled"):
            self.__dict__.pop(name, None)

    @functools.cached_property
    def vectors(self) -> dict[str, np.ndarray]:
        """Tag → (d,) unit vector."""
        return self._store.tag_vectors()

    @functools.cached_property
    def listed(self) -> tuple[list[str], np.ndarray]:
        """Tags that have a vector, each in one spelling, training's where it has one; and their rows."""
        known = self.vectors
        names = one_spelling([*(tag for tag in self.training if tag in known), *known])
        return names, np.array([known[tag] for tag in names], np.float32).reshape(-1, self._store.dimension)

    @functools.cached_property
    def spelled(self) -> dict[tuple[str, ...], str]:
        """Words of a tag → the tag."""
        return query.spelled([*self.training, *self.vectors])

    def parse(self, text: str) -> query.Query:
        """The terms of a query.

        Raises:
            ConfigError, DataError: see `SongIndex.search`.
        """
        asked, unknown = query.parse(text, tags=self.spelled, knows=self._knows, examples=self.training[:5])
        if unknown:
            self._run().tags(unknown)  # which says what is near to them
            raise DataError(f"{self._store.path}: no vector for {', '.join(unknown)}")
        return asked

    def rows(self, terms: Sequence[str]) -> np.ndarray:
        """(len(terms), d) unit rows."""
        kept = self.vectors
        if all(term in kept for term in terms):
            return np.stack([kept[term] for term in terms])
        return self._run().tags(terms)

    def neighbours(self, tag: str, k: int) -> list[near.Near]:
        """The tags nearest to a tag; errors as of `SongIndex.neighbours`."""
        query = self.parse(f'"{tag.replace(chr(34), " ")}"')
        names, rows = self.listed
        others = [place for place, name in enumerate(names) if tokens(name) != tokens(query.positive[0])]
        return near.nearest_tags(self.rows(query.positive)[0], [names[place] for place in others], rows[others], k)

    def explain(self, tags: Sequence[str], names: Sequence[str], wanted: np.ndarray) -> tuple[str, ...]:
        """Tags of a song that are what was asked for (`names`), then those nearest to any of it (rows of `wanted`)."""
        asked = {tokens(name): place for place, name in enumerate(names)}
        spelled = query.spelled(tags)  # each tag in one of its spellings
        exact = [spelled[name] for name in sorted(spelled.keys() & asked.keys(), key=asked.__getitem__)]
        vectors = self.vectors
        others = [tag for tag in spelled.values() if tag in vectors and tag not in exact]
        if others:
            cosines = (np.stack([vectors[tag] for tag in others]) @ wanted.T).max(axis=1)
            others = [others[place] for place in np.argsort(-cosines, kind="stable") if cosines[place] > 0]
        return tuple([*exact, *others][:_SHOWN])

    def beginning(self, prefix: str, k: int) -> list[str]:
        """The first `k` tags that begin with some text, then those that have a word that does; training's first."""
        names, start = self.listed[0], prefix.casefold().strip()
        first = [name for name in names if name.casefold().startswith(start)]
        within = [name for name in names if f" {start}" in name.casefold().replace("-", " ")] if start else []
        return list(dict.fromkeys([*first, *within]))[:k]

    def _knows(self, term: str) -> bool:
        return term in self.vectors or self._run().knows(term)
