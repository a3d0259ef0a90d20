"""What the hits of a search must have and must not have: tags, artists, songs that are left out."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from orpheus.errors import DataError
from orpheus.semantics.words import tokens
from orpheus.tasks.search.store import SongStore


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What limits a list of songs. A filter never costs a hit that it does not forbid: other songs take the places.

    Attributes:
        tags: A song must have each of them, in any spelling.
        without: It must have none of them.
        artists_once: The nearest song of each artist only; songs whose artist is not known are all taken.
        exclude: Ids or paths of songs that are left out.
        include_heard: Do not leave out what the listener of a search has heard, nor the songs that were given with it
            (history, like).
    """

    tags: Sequence[str] = ()
    without: Sequence[str] = ()
    artists_once: bool = False
    exclude: Sequence[str] = ()
    include_heard: bool = False


NO_FILTERS = Filters()


class Facets:
    """Artist and tags of all songs of a store as arrays, for filters: read once, in some 5 s for a million songs.

    Attributes:
        numbers: (n,) int64 of the songs, rising.
        artists: (n,) int32, equal for songs of one artist; −1 where the artist is not known.
        tags: The tags, each in its first spelling, in the order of their first song.
    """

    def __init__(self, store: SongStore):
        numbers, artists, songs, columns = [], [], [], []
        names: dict[str, int] = {}
        self._columns: dict[tuple[str, ...], int] = {}  # words of a tag → its place in `tags`
        column_of: dict[str, int] = {}  # the same of each spelling
        spellings: list[str] = []
        for place, (number, text, artist) in enumerate(store.facets()):
            numbers.append(number)
            artists.append(names.setdefault(artist.casefold(), len(names)) if artist else -1)
            tags = _tags(store, number, text)
            try:
                found = [column_of[tag] for tag in tags]
            except KeyError:
                for tag in tags:
                    if (key := _key(tag)) not in self._columns:
                        self._columns[key] = len(spellings)
                        spellings.append(tag)
                    column_of[tag] = self._columns[key]
                found = [column_of[tag] for tag in tags]
            found = list(dict.fromkeys(found))
            songs += [place] * len(found)
            columns += found
        self.numbers, self.artists = np.array(numbers, np.int64), np.array(artists, np.int32)
        self.tags = tuple(spellings)
        order = np.argsort(columns, kind="stable")
        self._songs = np.array(songs, np.int64)[order]
        self._ends = np.cumsum(np.bincount(np.array(columns, np.int64), minlength=len(spellings)))

    def counts(self) -> np.ndarray:
        """Number of songs of each of `tags`, int64."""
        return np.diff(self._ends, prepend=0)

    def songs_of(self, column: int) -> np.ndarray:
        """Places in `numbers` of the songs that have one of `tags`, rising."""
        start = self._ends[column - 1] if column else 0
        return self._songs[start : self._ends[column]]

    def allowed(self, filters: Filters, excluded: np.ndarray) -> np.ndarray:
        """The numbers that may be found, rising.

        Args:
            filters: See there; of them `tags` and `without` count here.
            excluded: Numbers of songs that are left out.

        Raises:
            DataError: no song has one of the wanted tags in any spelling; names the nearest ones.
        """
        kept = np.ones(len(self.numbers), bool)
        for tag in filters.tags:
            kept &= self._having(tag, needed=True)
        for tag in filters.without:
            kept &= ~self._having(tag, needed=False)
        kept &= ~np.isin(self.numbers, excluded)
        return self.numbers[kept]

    def _having(self, tag: str, *, needed: bool) -> np.ndarray:
        """Which songs have a tag in any of its spellings."""
        column = self._columns.get(_key(tag))
        if column is None and needed:
            near = difflib.get_close_matches(tag.lower(), map(str.lower, self.tags), n=3)
            said = f" (nearest: {', '.join(near)})" if near else ""
            raise DataError(f"no song of the index has the tag {tag!r}{said}; leave the filter away")
        found = np.zeros(len(self.numbers), bool)
        if column is not None:
            found[self.songs_of(column)] = True
        return found

    def once(self, numbers: Iterable[int]) -> list[int]:
        """The first song of each artist of a list of numbers, in its order."""
        seen: set[int] = set()
        result = []
        for number in numbers:
            place = int(np.searchsorted(self.numbers, number))
            there = place < len(self.numbers) and self.numbers[place] == number
            artist = int(self.artists[place]) if there else -1
            if artist < 0 or artist not in seen:
                result.append(int(number))
            seen.add(artist)
        return result


def _tags(store: SongStore, number: int, text: str) -> Sequence[str]:
    """Tags of a row; what is not as `store` writes it goes through its checks, which take ten times as long."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list) and all(type(tag) is str for tag in found):
        return found
    return store.names(str(number), text)


def _key(tag: str) -> tuple[str, ...]:
    """Equal for the spellings of one tag."""
    return tokens(tag) or (tag,)
