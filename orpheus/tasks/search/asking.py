"""What a search asks for, as vectors: words, a listener, a history and songs, and which songs are not to come of it."""

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search import listeners, mixing
from orpheus.tasks.search.filters import Filters
from orpheus.tasks.search.known_tags import KnownTags
from orpheus.tasks.search.mixing import Example, Mix
from orpheus.tasks.search.store import Song, SongStore

if TYPE_CHECKING:  # they load TensorFlow
    from orpheus.tasks.search.tagger_space import Space

_NEAR = 20_000  # ids that a wrong one is compared with
_NAMED = 5  # unknown songs that an error names


@dataclass
class Asked:
    """What a search asks for.

    Attributes:
        parts: Name of a part (`mixing.PARTS`) → (d,) unit vector.
        names: Tags that were asked for by name or are those of the songs given.
        wanted: Unit vectors whose nearest tags explain a hit.
        excluded: Numbers of songs that are not to be found.
    """

    parts: dict[str, np.ndarray] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    wanted: list[np.ndarray] = field(default_factory=list)
    excluded: set[int] = field(default_factory=set)


class Asking:
    """Finds what is asked for in an index.

    Args:
        store: Of the index.
        tags: Of the index.
        run: Gives the run, which is loaded then: for audio files that are not in the index.
    """

    def __init__(self, store: SongStore, tags: KnownTags, run: "Callable[[], Space]"):
        self._store, self._tags, self._run = store, tags, run
        self.listeners = listeners.Listeners(store)
        self.folder = store.path.parent

    def asked(self, text: str, mix: Mix, filters: Filters) -> Asked:
        """Words and what is mixed with them; errors as of `SongIndex.search`."""
        found = Asked()
        if text.strip() or not (mix.listener is not None or mix.history or mix.like):
            self._words(text, found)
        if mix.listener is not None:
            listener = self.listeners.get(mix.listener)
            found.parts["listener"] = self._of_listener(listener)
            if not filters.include_heard:
                found.excluded.update(number for number, _ in self._store.places(listener.heard).values())
        for name, given in (("history", self.stored(mix.history)), ("like", [self.song(one) for one in mix.like])):
            if given:
                self._examples(name, given, found)
                if not filters.include_heard:
                    found.excluded.update(song.number for song in given if song.number)
        found.excluded.update(song.number for song in self.stored(filters.exclude))
        return found

    def _words(self, text: str, found: Asked) -> None:
        query = self._tags.parse(text)
        rows, count = self._tags.rows([*query.positive, *query.negative]), len(query.positive)
        vector = mixing.unit(rows[:count].sum(axis=0) - rows[count:].sum(axis=0), f"the query {text!r}")
        found.parts["words"] = vector
        found.names += query.positive
        found.wanted += [*rows[:count]] if count else [vector]

    def _examples(self, name: str, songs: Sequence[Song], found: Asked) -> None:
        """The mean place of songs; their tags explain what is like them."""
        vector = listeners.mean_place([song.vector for song in songs])
        if vector is None:
            raise ConfigError(f"the songs of {name} cancel out; leave one of them away")
        found.parts[name] = vector
        if len(songs) == 1:
            known = self._tags.vectors
            found.names += songs[0].tags
            found.wanted += [known[tag] for tag in songs[0].tags if tag in known]
        else:
            found.wanted.append(vector)

    def _of_listener(self, listener: listeners.Listener) -> np.ndarray:
        """Where a listener lies: by the run's tower, or the mean of what they heard."""
        if listener.vector is not None:
            return listener.vector
        vector = listeners.mean_place([vector for _, vector in self._store.places(listener.heard).values()])
        if vector is None:
            raise DataError(f"{self.folder}: no song that listener {listener.id!r} heard is in it any more")
        return vector

    def stored(self, songs: Sequence[str | os.PathLike]) -> list[Song]:
        """Songs of the index by id or path.

        Raises:
            DataError: some are not in it; names them.
        """
        found = [self.find(song) for song in songs]
        unknown = [os.fspath(song) for song, one in zip(songs, found, strict=True) if one is None]
        if unknown:
            some = ", ".join(map(repr, unknown[:_NAMED])) + (", …" if len(unknown) > _NAMED else "")
            raise DataError(
                f"{self.folder}: {len(unknown)} of {len(songs)} songs given are not in it: {some}{self.near(unknown[0])}"
            )
        return [one for one in found if one is not None]

    def find(self, song: str | os.PathLike) -> Song | None:
        """A song of the index by id or path."""
        given = os.fspath(song)
        return self._store.find(given) or self._store.find(os.path.abspath(os.path.expanduser(given)))

    def song(self, song: Example) -> Song:
        """A song of the index by id or path, or any audio file or place, whose number is 0.

        Raises:
            DataError: no such id and no such file, or one that cannot be used; a place of other dimensions.
        """
        if isinstance(song, np.ndarray):
            if song.shape != (self._store.dimension,):
                raise DataError(f"{self.folder}: a place of shape {song.shape}, expected ({self._store.dimension},)")
            return Song("", mixing.unit(song, "the place"))
        found = self.find(song)
        if found is not None:
            return found
        given = os.fspath(song)
        path = os.path.abspath(os.path.expanduser(given))
        if not os.path.isfile(path):
            raise DataError(f"{self.folder}: no song {given!r} in it, and no such file{self.near(given)}")
        ((_, result),) = self._run().files([path])
        if isinstance(result, DataError):
            raise result
        return Song(path, result, path=path)

    def near(self, given: str) -> str:
        """A question after the id nearest to a wrong one; empty where there is none."""
        near = difflib.get_close_matches(given, self._store.ids(_NEAR), n=1)
        return f"; did you mean {near[0]!r}?" if near else ""
