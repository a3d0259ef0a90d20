"""An index of songs and what can be asked of it: songs for tags and words, songs like a song, tags of a song."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orpheus.base import locks
from orpheus.data.audio import reading
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search import making, mixing, near, paths, query
from orpheus.tasks.search.asking import Asking
from orpheus.tasks.search.filters import NO_FILTERS, Filters
from orpheus.tasks.search.hits import Hit, Ranking
from orpheus.tasks.search.known_tags import KnownTags
from orpheus.tasks.search.making import STORE, AnyPath
from orpheus.tasks.search.mixing import NOTHING, Example, Mix
from orpheus.tasks.search.song_vectors import SongVectors
from orpheus.tasks.search.store import Song, SongStore

if TYPE_CHECKING:  # they load TensorFlow, which a search for known tags does not need
    from orpheus.data.items.interactions import Interactions
    from orpheus.data.items.tables import Table
    from orpheus.tasks.search import indexing
    from orpheus.tasks.search.map_file import Map
    from orpheus.tasks.search.tagger_space import Space


class SongIndex:
    """An index on disk, made with one retrieval run.

    The folder holds songs.db (`orpheus.tasks.search.store`: ids, tags, paths, content hashes, embeddings, all that matters)
    and vectors-N.faiss, which is made of it. Where the latter is older, or not there, since indexing was interrupted, it
    is brought up to date on opening.

    Args:
        folder: Of an index made by `create`.
        run: Where its run is now; None for where it was.
        word_vectors: Of a tagger's run, see `TaggerSpace`; None for those that the index was made with, if any.

    Raises:
        DataError: not an index.

    Example:
        >>> from orpheus import SongIndex  # doctest: +SKIP
        >>> SongIndex("index").search("sad piano -vocals", k=1)  # doctest: +SKIP
        [Hit(id='/music/nocturne.mp3', score=0.83, path='/music/nocturne.mp3', tags=('Piano',), shared=('Piano',))]
    """

    def __init__(self, folder: AnyPath, *, run: AnyPath | None = None, word_vectors: AnyPath | None = None):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise DataError(f"{folder}: no such index; make one with python -m orpheus.retrieve index")
        self._moved_run = Path(run).expanduser() if run is not None else None
        self._word_vectors = word_vectors
        self._retriever: Space | None = None
        self._vectors: SongVectors
        self._file: tuple[int, int] | None = None
        self.about: dict[str, str] = {}
        self._open()

    def _open(self) -> None:
        """Read the store as it is now; vectors that are in memory are kept where it is the same file."""
        path = self.folder / STORE
        store, file = SongStore(path), _identity(path)
        # Read first: what another process changes from here on is seen by the next `refresh`.
        self._revision = store.revision
        about = store.about()
        if self.about and about["identity"] != self.about["identity"]:
            self._retriever = None
        self.about, self.dimension = about, store.dimension
        self._tags = KnownTags(store, lambda: self.retriever)
        if file == self._file:
            self._vectors.renew(store, self._tags)
        else:
            self._vectors = SongVectors(self.folder, store, self._tags)
        self._store, self._file = store, file
        self._forget()

    def _forget(self) -> None:
        """Read artists and tags of songs again when they are asked for."""
        self._map: tuple[Ranking, Map] | None = None
        self._ranking = Ranking(self._store, self._vectors.nearest, self._tags)
        self._asking = Asking(self._store, self._tags, lambda: self.retriever)

    @classmethod
    def create(cls, folder: AnyPath, run: "AnyPath | Space", *, word_vectors: AnyPath | None = None) -> "SongIndex":
        """Open an index to add to it, or make an empty one.

        Args:
            folder: Made where it is not there; an existing one must be an index made with the same run, or empty.
            run: A run of retrieval, a joint one or a tagger's, or its `Space`.
            word_vectors: Of a tagger's run; a new index remembers them.

        Raises:
            DataError: a run of another task; the folder holds something else, or an index made with another run.
        """
        space, where = making.space_of(run, word_vectors)
        path = Path(folder).expanduser()
        making.make_where_missing(path, space, where, word_vectors)
        index = cls(path, run=where, word_vectors=word_vectors)
        index._check(space)
        index._retriever = space
        return index

    def __len__(self) -> int:
        return len(self._vectors.nearest)

    @property
    def _run(self) -> Path:
        return self._moved_run or Path(self.about["run"])

    @property
    def retriever(self) -> "Space":
        """The run that the index was made with, loaded when it is needed.

        Raises:
            DataError: it is not there, or another one is.
        """
        if self._retriever is None:
            from orpheus.tasks.search import tagger_space

            retriever = tagger_space.load(self._run, self._word_vectors or self.about.get("word_vectors"))
            self._check(retriever)
            self._retriever = retriever
        return self._retriever

    def add(
        self,
        songs: Iterable[str | os.PathLike],
        *,
        tags: Mapping[str, Sequence[str]] | None = None,
        factors: "Table | None" = None,
        texts: "Table | None" = None,
        listeners: "Interactions | None" = None,
        keep: bool = False,
        reread: bool = False,
        retry: bool = False,
        damaged: str = reading.KEEP,
        progress: "indexing.Progress" = lambda items, **_: items,
    ) -> "indexing.Report":
        """Add songs, or bring those that are there up to date; only what is new or has changed is embedded.

        Args:
            songs: Audio files, folders of them, a csv of tracks, folders of records, tables of factors. What is no
                longer in a folder, csv or table that was added before is removed.
            tags: Song → tags, instead of those of records and of the genre fields of audio files.
            factors: Of the songs of records, where the run takes audio and factors together.
            texts: Vectors of texts of the songs, where the run takes them.
            listeners: What they heard (counts of listeners × songs); those who heard no song of the index are left out.
            keep: Do not remove.
            reread: Read files whose size and date are as they were, too.
            retry: Read files that were unusable before and have not changed, too.
            damaged: See `indexing.Options`.
            progress: See `indexing.Options`.

        Raises:
            ConfigError, DataError: see `indexing.add`; another process adds to the index or takes from it. What was embedded until then is in the index.
        """
        from orpheus.tasks.search import indexing

        reading.check_damaged(damaged)
        options = indexing.Options(
            tags=tags,
            factors=factors,
            texts=texts,
            keep=keep,
            reread=reread,
            retry=retry,
            damaged=damaged,
            progress=progress,
        )
        with locks.lock(self.folder):
            report = indexing.add(self._store, self.retriever, songs, options)
            self._tags.keep(progress)
            self._asking.listeners.keep(self.retriever, listeners)
            self._save()
        return report

    def remove(self, songs: Iterable[str | os.PathLike]) -> list[str]:
        """Remove songs by id or path, or all below a folder, of a csv, records or a table; returns their ids.

        Raises:
            DataError: nothing of the index is meant by one of them.
        """
        gone: list[str] = []
        for given in map(str, songs):
            where = os.path.abspath(os.path.expanduser(given))
            found = self._store.find(given) or self._store.find(where)
            ids = [found.id] if found else [*self._store.known(where), *self._store.known("", where)]
            if not ids:
                raise DataError(
                    f"{self.folder}: {given} is no song, folder or table of this index{self._asking.near(given)}"
                )
            gone += ids
        with locks.lock(self.folder):
            self._store.remove(gone)
            self._save()
        return gone

    def search(
        self, text: str = "", k: int = 20, *, mix: Mix = NOTHING, filters: Filters = NO_FILTERS, diversity: float = 0.0
    ) -> list[Hit]:
        """The songs nearest to tags and words, to what a listener likes, to songs, or to a mixture of them.

        Args:
            text: Tags or words, known in training or not, ``"phrases"`` in double quotes, ``-not`` wanted ones.
            k: Length of the list; fewer where filters leave fewer.
            mix: What is asked for besides words, and weights; one of them or the words must be given.
            filters: What hits must have or not; what the listener has heard, history and like are left out if not asked for.
            diversity: 0 for the nearest songs, up to 1 for songs that differ most (`mixing.marginal_relevance`).

        Raises:
            ConfigError: an empty query, one whose terms cancel out, a weight, `k` or `diversity` out of range.
            DataError: words, a listener, songs or tags of which nothing is known; names them and the nearest known ones.
        """
        asked = self._asking.asked(text, mix, filters)
        vector = mixing.mixed(asked.parts, mix.weights, "the search")
        return self._ranking.hits(
            vector,
            k,
            names=asked.names,
            wanted=np.stack(asked.wanted or [vector]),
            filters=filters,
            excluded=np.array(sorted(asked.excluded), np.int64),
            diversity=diversity,
        )

    def parse(self, text: str) -> query.Query:
        """The terms of a query; errors as in `search`."""
        return self._tags.parse(text)

    def similar(
        self, song: Example, k: int = 20, *, filters: Filters = NO_FILTERS, diversity: float = 0.0
    ) -> list[Hit]:
        """The songs nearest to a song of the index, by id or path, to any audio file or place; it is not among them.

        Raises:
            DataError: no such id and no such file, or one that cannot be used; filters as in `search`.
        """
        filters = dataclasses.replace(filters, include_heard=False)
        return self.search("", k, mix=Mix(like=[song]), filters=filters, diversity=diversity)

    def recommend(
        self,
        listener: str | None = None,
        *,
        history: Sequence[str | os.PathLike] = (),
        k: int = 20,
        filters: Filters = NO_FILTERS,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """Songs for a listener of the index, or for somebody who heard some songs of it; those heard are not among them.

        Args:
            listener: Id.
            history: Ids or paths of songs, instead of a listener or together with one.
            k: Length of the list.
            filters: See `search`; `include_heard` lets songs come that were heard.
            diversity: See `search`.

        Raises:
            ConfigError: neither a listener nor a history.
            DataError: the listener or a song is not in the index; names them and the nearest ids.
        """
        if listener is None and not history:
            raise ConfigError("nobody to recommend for: give a listener or a history of songs")
        return self.search("", k, mix=Mix(listener=listener, history=history), filters=filters, diversity=diversity)

    def path(self, start: Example, end: Example, steps: int = 8) -> list[Hit]:
        """A way of songs from one to another: each near the straight way on the sphere and near the one before, none twice.

        Args:
            start: Song as in `similar`.
            end: As `start`, another one.
            steps: Songs between them, 1 to `paths.MOST`; fewer where the index has fewer.

        Returns:
            The two with the songs between them in order; scores are cosines with the points of the straight way.

        Raises:
            ConfigError: `steps` out of range, or both are one song.
            DataError: as in `similar`.
        """
        if not 1 <= steps <= paths.MOST:
            raise ConfigError(f"steps={steps}: must be between 1 and {paths.MOST}")
        first, last = self._asking.song(start), self._asking.song(end)
        if first.id == last.id:
            raise ConfigError(f"a path from {first.id!r} to itself; give two different songs")
        return self._ranking.path(first, last, steps)

    def tags(self, song: Example, k: int = 20) -> list[near.Near]:
        """The tags nearest to a song, of training and of songs in the index, in one spelling; `song` as in `similar`.

        A run that gives probabilities of its tags (the joint one) gives those, of the tags of training.
        """
        vector = self._asking.song(song).vector
        if self.about.get("probabilities"):
            scores = self.retriever.probabilities(vector[None])[0]  # type: ignore[union-attr]
            return near.highest(self.training_tags, scores, k)
        return near.nearest_tags(vector, *self._tags.listed, k)

    def neighbours(self, tag: str, k: int = 10) -> list[near.Near]:
        """The tags of the index nearest to a tag or word, which is not among them.

        Raises:
            ConfigError: an empty one.
            DataError: nothing is known of it; names the nearest known words.
        """
        return self._tags.neighbours(tag, k)

    def song(self, number: int) -> Song:
        """A song by its number, which `Hit`s have; any thread may ask.

        Raises:
            DataError: no song has it (any more).
        """
        found = self._store.songs([number])
        if not found:
            raise DataError(f"{self.folder}: no song {number} in it; it may have changed since")
        return found[0]

    def words(self, prefix: str = "", k: int = 20) -> list[str]:
        """Tags that can be searched for and begin with some text, then those that have a word that does."""
        return self._tags.beginning(prefix, k)

    def listeners(self, prefix: str = "", k: int = 20) -> list[str]:
        """Ids of listeners that begin with some text, in the order of their characters."""
        return self._asking.listeners.beginning(prefix, k)

    @property
    def listener_count(self) -> int:
        """Number of listeners."""
        return len(self._asking.listeners)

    @property
    def training_tags(self) -> tuple[str, ...]:
        """Tags that training has seen."""
        return self._tags.training

    def map(self, *, anew: bool = False) -> "Map":
        """Places of all songs in the plane, near songs near each other, and names of its regions (`projection`, `regions`).

        It is kept in the folder. Songs that have a place keep it when others come and go, until half of all are new.

        Args:
            anew: Place all songs anew.
        """
        from orpheus.tasks.search import map_file

        # By ranking: where another thread refreshes while a map is made, that map is of the songs before.
        state, kept = self._ranking, self._map
        if kept is not None and kept[0] is state and not anew:
            return kept[1]
        found = map_file.current(self._store, anew=anew)
        self._map = state, found
        return found

    def refresh(self) -> bool:
        """Take over what another process has changed in the index; returns whether it had. Other threads may read `song`s.

        Raises:
            DataError: the index is gone or damaged.
        """
        if _identity(self._store.path) == self._file and self._store.revision == self._revision:
            return False
        self._open()
        return True

    def _save(self) -> None:
        self._vectors.save()
        self._revision = self._store.revision
        self._forget()

    def _check(self, retriever: "Space") -> None:
        if retriever.identity != self.about["identity"]:
            raise DataError(
                f"{self.folder}: was made with another run ({self.about['run']}, weights {self.about['identity'][:8]}) than "
                f"{self._run} (weights {retriever.identity[:8]}), and their embeddings do not compare; give that run, "
                "or index the songs into another folder"
            )


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode: another file under the same name has others."""
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return found.st_dev, found.st_ino
