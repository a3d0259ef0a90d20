"""An index of songs and what can be asked of it: songs for tags and words, songs like a song, tags of a song."""

import difflib
import functools
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from orpheus.base import locks
from orpheus.data.audio import reading
from orpheus.data.tags.spelling import one_spelling
from orpheus.errors import ConfigError, DataError
from orpheus.learning.vectors.nearest import Nearest
from orpheus.semantics.words import tokens
from orpheus.tasks.search import query
from orpheus.tasks.search.near import Near, nearest_tags
from orpheus.tasks.search.store import SongStore, is_store

if TYPE_CHECKING:  # they load TensorFlow, which a search for known tags does not need
    from orpheus.data.items.tables import Table
    from orpheus.tasks.retrieval.retriever import Retriever
    from orpheus.tasks.search import indexing
    from orpheus.tasks.search.tagger_space import TaggerSpace

log = logging.getLogger(__name__)

STORE = "songs.db"
_VECTORS = "vectors-{}.faiss"  # the revision of the store that they are of
_MOST_TAGS = 50_000  # whose vectors are kept, the most frequent ones
_SHOWN = 3  # tags that explain a hit
_NEAR = 20_000  # ids that a wrong one is compared with


class Hit(NamedTuple):
    """One place of a list of songs.

    Attributes:
        id: Of the song.
        score: Cosine, −1 to 1.
        path: Of its audio; empty where there is none.
        tags: All its tags.
        shared: Those that explain why it is here: what was asked for itself, then what is nearest to it.
    """

    id: str
    score: float
    path: str
    tags: tuple[str, ...]
    shared: tuple[str, ...]


class SongIndex:
    """An index on disk, made with one retrieval run.

    The folder holds songs.db (`orpheus.tasks.search.store`: ids, tags, paths, content hashes, embeddings, all that matters)
    and vectors-N.faiss, which is made of it. Where the latter is older, or not there, since indexing was interrupted, it
    is brought up to date on opening.

    Args:
        folder: Of an index made by `create`.
        run: Where its run is now; None for where it was.

    Raises:
        DataError: not an index.

    Example:
        >>> from orpheus import SongIndex  # doctest: +SKIP
        >>> SongIndex("index").search("sad piano -vocals", k=1)  # doctest: +SKIP
        [Hit(id='/music/nocturne.mp3', score=0.83, path='/music/nocturne.mp3', tags=('Piano',), shared=('Piano',))]
    """

    def __init__(self, folder: str | os.PathLike, *, run: str | os.PathLike | None = None):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise DataError(f"{folder}: no such index; make one with python -m orpheus.retrieve index")
        self._store = SongStore(self.folder / STORE)
        self.about = self._store.about()
        self.dimension = self._store.dimension
        self._run = Path(run).expanduser() if run is not None else Path(self.about["run"])
        self._retriever: Retriever | TaggerSpace | None = None
        self._whole: Path | None = None  # the file of vectors that is known to be good
        self._nearest = self._load()

    @classmethod
    def create(cls, folder: str | os.PathLike, run: "str | os.PathLike | Retriever | TaggerSpace") -> "SongIndex":
        """Open an index to add to it, or make an empty one.

        Args:
            folder: Made where it is not there; an existing one must be an index made with the same run, or empty.
            run: A retrieval run, its `Retriever`, or a tagger's run.

        Raises:
            DataError: neither a retrieval nor a tagger's run; the folder holds something else, or an index made with another run.
        """
        if isinstance(run, (str, os.PathLike)):
            from orpheus.tasks.search import tagger_space

            retriever: Retriever | TaggerSpace = tagger_space.load(run)
            where = os.path.abspath(Path(run).expanduser())
        else:
            retriever = run
            where = os.path.abspath(retriever.run.folder)
        path = Path(folder).expanduser()
        if not is_store(path / STORE):
            if path.exists() and (not path.is_dir() or any(_is_foreign(inside) for inside in path.iterdir())):
                raise DataError(f"{folder}: exists and is not an index; give another name")
            about = {
                "run": where,
                "identity": retriever.identity,
                "input_type": retriever.input_type,
                "dimension": str(retriever.dimension),
                "training_tags": json.dumps(list(retriever.training_tags), ensure_ascii=False),
            }
            with locks.lock(path):
                SongStore(path / STORE, about=about).close()
        index = cls(path, run=where)
        index._check(retriever)
        index._retriever = retriever
        return index

    def __len__(self) -> int:
        return len(self._nearest)

    @property
    def retriever(self) -> "Retriever | TaggerSpace":
        """The run that the index was made with, loaded when it is needed.

        Raises:
            DataError: it is not there, or another one is.
        """
        if self._retriever is None:
            from orpheus.tasks.search import tagger_space

            retriever = tagger_space.load(self._run)
            self._check(retriever)
            self._retriever = retriever
        return self._retriever

    def add(
        self,
        songs: Iterable[str | os.PathLike],
        *,
        tags: Mapping[str, Sequence[str]] | None = None,
        factors: "Table | None" = None,
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
            tags=tags, factors=factors, keep=keep, reread=reread, retry=retry, damaged=damaged, progress=progress
        )
        with locks.lock(self.folder):
            report = indexing.add(self._store, self.retriever, songs, options)
            self._keep_tags(progress)
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
                raise DataError(f"{self.folder}: {given} is no song, folder or table of this index{self._near(given)}")
            gone += ids
        with locks.lock(self.folder):
            self._store.remove(gone)
            self._save()
        return gone

    def search(self, text: str, k: int = 20) -> list[Hit]:
        """The songs nearest to tags and words.

        Args:
            text: Tags or words, known in training or not, ``"phrases"`` in double quotes, ``-not`` wanted ones.
            k: Length of the list.

        Raises:
            ConfigError: an empty query, or one whose terms cancel out.
            DataError: words of which nothing is known; names them and the nearest known ones.
        """
        asked = self.parse(text)
        vectors = self._vectors([*asked.positive, *asked.negative])
        count = len(asked.positive)
        total = vectors[:count].sum(axis=0) - vectors[count:].sum(axis=0)
        length = float(np.linalg.norm(total))
        if length < 1e-4:
            raise ConfigError(f"the query {text!r}: its terms cancel out; leave one of them away")
        total /= length
        return self._hits(total, k, asked.positive, vectors[:count] if count else total[None])

    def parse(self, text: str) -> query.Query:
        """The terms of a query; errors as in `search`."""
        asked, unknown = query.parse(text, tags=self._spelled, knows=self._knows, examples=self.training_tags[:5])
        if unknown:
            self.retriever.tags(unknown)  # which says what is near to them
            raise DataError(f"{self.folder}: no vector for {', '.join(unknown)}")
        return asked

    def similar(self, song: str | os.PathLike, k: int = 20) -> list[Hit]:
        """The songs nearest to a song of the index, by id or path, or to any audio file; it is not among them.

        Raises:
            DataError: no such id and no such file, or one that cannot be used.
        """
        own, tags, vector = self._song(song)
        vectors = self._tag_vectors
        known = [vectors[tag] for tag in tags if tag in vectors]
        return self._hits(vector, k, tags, np.stack(known) if known else vector[None], own)

    def tags(self, song: str | os.PathLike, k: int = 20) -> list[Near]:
        """The tags nearest to a song, of training and of songs in the index, in one spelling; `song` as in `similar`."""
        return nearest_tags(self._song(song)[2], *self._listed, k)

    @functools.cached_property
    def training_tags(self) -> tuple[str, ...]:
        """Tags that training has seen."""
        return tuple(json.loads(self.about["training_tags"]))

    def _check(self, retriever: "Retriever | TaggerSpace") -> None:
        if retriever.identity != self.about["identity"]:
            raise DataError(
                f"{self.folder}: was made with another run ({self.about['run']}, weights {self.about['identity'][:8]}) than "
                f"{self._run} (weights {retriever.identity[:8]}), and their embeddings do not compare; give that run, "
                "or index the songs into another folder"
            )

    # The vectors of songs.

    def _load(self) -> Nearest:
        """The nearest-neighbour index of the store as it is now."""
        path = self.folder / _VECTORS.format(self._store.revision)
        if path.is_file():
            try:
                nearest = Nearest.load(path, self.dimension)
                self._whole = path
                return nearest
            except DataError as error:
                log.warning("%s; it is made again", error)
        others = sorted(self.folder.glob(_VECTORS.format("*")), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        nearest = Nearest(self.dimension)
        if others and others[0] != path:
            try:
                nearest = Nearest.load(others[0], self.dimension)
            except DataError as error:
                log.warning("%s; it is made again", error)
        self._update(nearest)
        return nearest

    def _update(self, nearest: Nearest) -> None:
        numbers = self._store.numbers()
        nearest.remove(np.setdiff1d(nearest.ids, numbers))
        new = np.setdiff1d(numbers, nearest.ids)
        nearest.add(new, self._store.vectors(new, self.dimension), queries=np.array(list(self._tag_vectors.values())))

    def _save(self) -> None:
        path = self.folder / _VECTORS.format(self._store.revision)
        self._update(self._nearest)
        if self._whole != path or not path.is_file():
            self._nearest.save(path)
            self._whole = path
        for other in self.folder.glob(_VECTORS.format("*")):
            if other != path:
                other.unlink(missing_ok=True)

    def _hits(
        self, vector: np.ndarray, k: int, names: Sequence[str], wanted: np.ndarray, own: str | None = None
    ) -> list[Hit]:
        if k < 1:
            raise ConfigError(f"k={k}: must be at least 1")
        numbers, scores = self._nearest.search(vector[None], k + (own is not None))
        score_of = dict(zip(numbers[0].tolist(), scores[0].tolist(), strict=True))
        found = [song for song in self._store.songs([n for n in numbers[0] if n >= 0]) if song.id != own][:k]
        return [
            Hit(song.id, score_of[song.number], song.path, song.tags, self._explain(song.tags, names, wanted))
            for song in found
        ]

    def _explain(self, tags: Sequence[str], names: Sequence[str], wanted: np.ndarray) -> tuple[str, ...]:
        """Tags of a song that are what was asked for, then those nearest to any of it."""
        asked = {tokens(name): place for place, name in enumerate(names)}
        spelled = query.spelled(tags)  # each tag in one of its spellings
        exact = [spelled[name] for name in sorted(spelled.keys() & asked.keys(), key=asked.__getitem__)]
        vectors = self._tag_vectors
        others = [tag for tag in spelled.values() if tag in vectors and tag not in exact]
        if others:
            cosines = (np.stack([vectors[tag] for tag in others]) @ wanted.T).max(axis=1)
            others = [others[place] for place in np.argsort(-cosines, kind="stable") if cosines[place] > 0]
        return tuple([*exact, *others][:_SHOWN])

    def _song(self, song: str | os.PathLike) -> tuple[str | None, tuple[str, ...], np.ndarray]:
        """(id if it is in the index, tags, vector) of an id, a path or an audio file."""
        given = os.fspath(song)
        path = os.path.abspath(os.path.expanduser(given))
        found = self._store.find(given) or self._store.find(path)
        if found is not None:
            return found.id, found.tags, found.vector
        if not os.path.isfile(path):
            raise DataError(f"{self.folder}: no song {given!r} in it, and no such file{self._near(given)}")
        ((_, result),) = self.retriever.files([path])
        if isinstance(result, DataError):
            raise result
        return None, (), result

    def _near(self, given: str) -> str:
        near = difflib.get_close_matches(given, self._store.ids(_NEAR), n=1)
        return f"; did you mean {near[0]!r}?" if near else ""

    # The vectors of tags: those of training and of the songs are kept, so that asking for them needs no model.

    def _keep_tags(self, progress: "indexing.Progress") -> None:
        counts = self._store.tag_counts()
        frequent = sorted(counts, key=lambda tag: (-counts[tag], tag))[:_MOST_TAGS]
        new = [tag for tag in dict.fromkeys([*self.training_tags, *frequent]) if tag not in self._tag_vectors]
        if not new:
            return
        retriever, seen = self.retriever, set(self.training_tags)
        try:
            known = [tag for tag in progress(new, desc="Tags", unit="tag") if retriever.knows(tag)]
        except DataError as error:  # its word vectors are gone: tags of training need none
            log.warning("%s", error)
            known = [tag for tag in new if tag in seen]
        self._store.put_tags(known, retriever.tags(known))
        for name in ("_tag_vectors", "_listed", "_spelled"):
            self.__dict__.pop(name, None)

    @functools.cached_property
    def _tag_vectors(self) -> dict[str, np.ndarray]:
        return self._store.tag_vectors()

    @functools.cached_property
    def _listed(self) -> tuple[list[str], np.ndarray]:
        """Tags that have a vector, each in one spelling, training's where it has one; and their rows."""
        known = self._tag_vectors
        names = one_spelling([*(tag for tag in self.training_tags if tag in known), *known])
        return names, np.array([known[tag] for tag in names], np.float32).reshape(-1, self.dimension)

    @functools.cached_property
    def _spelled(self) -> dict[tuple[str, ...], str]:
        return query.spelled([*self.training_tags, *self._tag_vectors])

    def _knows(self, term: str) -> bool:
        return term in self._tag_vectors or self.retriever.knows(term)

    def _vectors(self, terms: Sequence[str]) -> np.ndarray:
        rows = self._tag_vectors
        if all(term in rows for term in terms):
            return np.stack([rows[term] for term in terms])
        return self.retriever.tags(terms)


def _is_foreign(path: Path) -> bool:
    """Whether something in a folder without a store is not what a killed process left of making one."""
    return not path.name.startswith((".", STORE))
