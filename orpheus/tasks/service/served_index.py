"""An index that is served: one thread owns it, and takes over what another process has changed in it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from orpheus.data.audio import reading
from orpheus.errors import DataError
from orpheus.tasks.search import playlist
from orpheus.tasks.search.filters import NO_FILTERS, Filters
from orpheus.tasks.search.hits import Hit, of_song
from orpheus.tasks.search.map_file import Map
from orpheus.tasks.search.mixing import Mix
from orpheus.tasks.search.song_index import STORE, SongIndex
from orpheus.tasks.search.store import Song
from orpheus.tasks.service import answers, failures
from orpheus.tasks.service.answers import TAGS
from orpheus.tasks.service.queue import Lane
from orpheus.tasks.service.served import Hears, Parts, hears, paths_of_run

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # from one look at whether the index has changed to the next
_ABLE = ("search", "similar", "recommend", "neighbours", "words", "path", "map", "playlist")
_MAPS = 8  # requests that wait for a map


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a search asks for, with songs by number.

    Attributes:
        text: Words.
        listener: Id.
        history: Ids of songs.
        like: Numbers of songs.
        weights: Part → weight.
        filters: See there.
        diversity: 0 to 1.
        k: Length of the list.
    """

    text: str = ""
    listener: str | None = None
    history: tuple[str, ...] = ()
    like: tuple[int, ...] = ()
    weights: dict[str, float]
    filters: Filters
    diversity: float
    k: int


class ServedIndex:
    """An index under its name.

    Args:
        name: Of the folder.
        folder: Of the index.
        parts: Shared ones.
    """

    kind = "index"

    def __init__(self, name: str, folder: Path, parts: Parts):
        self.name = name
        self._lane = Lane(f"index {name}", parts.metrics, limit=parts.settings.waiting)
        self._index: SongIndex = self._lane.submit(_opened, folder).result()
        # A map that is not there yet takes minutes of a large index, in which it is to be searched all the same.
        self._maps = Lane(f"map {name}", parts.metrics, limit=_MAPS)
        self._look = time.monotonic() + _LOOK_SECONDS
        self.hears: Hears | None = None
        self.task = "retrieval"
        try:
            space = self._lane.submit(lambda: self._index.retriever).result()
            self.task = str(space.run.read("run").get("task"))
            self.hears = hears(space, self.task, parts)
        except DataError as error:
            log.warning("%s; so %s hears no files, and is asked by its own tags only", error, name)

    def paths(self) -> list[str]:
        """What its errors may name."""
        about = self._index.about
        own = [str(self._index.folder / STORE), str(self._index.folder)]
        return [*own, *paths_of_run(Path(about["run"])), *filter(None, [about.get("word_vectors")])]

    def close(self) -> None:
        """End its threads."""
        self._maps.close()
        self._lane.close()

    async def do(self, function: Callable[[SongIndex], Any]) -> Any:
        """A function of the index, in its thread."""
        return await self._lane.call(self._do, function)

    def _do(self, function: Callable[[SongIndex], Any]) -> Any:
        began = time.monotonic()
        if began > self._look:
            try:
                if self._index.refresh():
                    log.info("%s: was changed by another process; %d songs now", self.name, len(self._index))
            except DataError as error:  # it is being moved, or is gone: what is open is served on
                log.warning("%s; what was there before is still served", error)
            # What takes long is done seldom: an index that is being added to changes again and again.
            self._look = time.monotonic() + max(_LOOK_SECONDS, 9 * (time.monotonic() - began))
        return function(self._index)

    async def about(self) -> answers.Model:
        """What it is."""

        def answer(index: SongIndex) -> answers.Model:
            able = [*_ABLE, *(["listeners"] if index.listener_count else [])]
            able += [one for one in (self.hears.can if self.hears else ()) if one not in able]
            names = [answers.text(name) for name in index.words("", TAGS)]
            return answers.Model(
                name=self.name,
                kind=self.kind,
                task=self.task,
                songs=len(index),
                tags=names,
                listeners=index.listener_count,
                can=able,
            )

        return await self.do(answer)

    async def search(self, question: Question) -> answers.Hits:
        """Songs for words, listeners, histories and songs."""

        def ask(index: SongIndex) -> list[Hit]:
            mix = Mix(
                listener=question.listener,
                history=question.history,
                like=[_song(index, number).id for number in question.like],
                weights=question.weights,
            )
            return index.search(
                question.text, question.k, mix=mix, filters=question.filters, diversity=question.diversity
            )

        return await self._hits(ask)

    async def similar(
        self, song: int | np.ndarray, k: int, *, filters: Filters = NO_FILTERS, diversity: float = 0.0
    ) -> answers.Hits:
        """Songs like a song of the index, or like a vector."""

        def ask(index: SongIndex) -> list[Hit]:
            given = song if isinstance(song, np.ndarray) else _song(index, song).id
            return index.similar(given, k, filters=filters, diversity=diversity)

        return await self._hits(ask)

    async def way(self, start: int, end: int, steps: int) -> answers.Hits:
        """Songs on the way between two."""
        return await self._hits(lambda index: index.path(_song(index, start).id, _song(index, end).id, steps))

    async def song(self, number: int) -> answers.Hit:
        """A song by number."""
        return await self.do(lambda index: self._hit(of_song(_song(index, number), 1.0)))

    async def path(self, number: int) -> Path:
        """Where the audio of a song is.

        Raises:
            Failure: no such song, or none that has an audio file.
        """
        song = await self.do(lambda index: _song(index, number))
        if not _has_audio(song.path):
            raise failures.missing(f"song {number} has no audio file")
        return Path(song.path)

    async def tags(
        self, source: Path, folder: Path, *, k: int, timeline: bool, hop_seconds: float | None
    ) -> answers.Tags:
        """Tags of an audio file: a tagger's scores, or those that are nearest."""
        assert self.hears is not None
        if self.hears.task == "tagging":
            return await self.hears.tags(source, folder, k=k, timeline=timeline, hop_seconds=hop_seconds)
        vector, seconds = await self.hears.embed(source, folder)
        near = await self.do(lambda index: index.tags(vector, k))
        return answers.Tags(seconds=seconds, tags=answers.tag_list(near), timeline=None)

    async def tags_of(self, song: int, k: int) -> answers.Tags:
        """Tags of a song of the index, by its vector."""
        near = await self.do(lambda index: index.tags(_song(index, song).id, k))
        return answers.Tags(seconds=None, tags=answers.tag_list(near), timeline=None)

    async def neighbours(self, tag: str, k: int) -> list[tuple[str, float]]:
        """Tags near a tag."""
        return await self.do(lambda index: index.neighbours(tag, k))

    async def words(self, prefix: str, k: int) -> list[str]:
        """Tags that begin so."""
        return await self.do(lambda index: index.words(prefix, k))

    async def listeners(self, prefix: str, k: int) -> list[str]:
        """Listeners whose ids begin so."""
        return await self.do(lambda index: index.listeners(prefix, k))

    async def map(self) -> Map:
        """Places of the songs."""
        return await self._maps.call(lambda: self._index.map())

    async def playlist(self, numbers: list[int]) -> str:
        """Songs as M3U8."""
        return await self.do(lambda index: playlist.text([_song(index, number) for number in numbers]))

    async def _hits(self, ask: Callable[[SongIndex], list[Hit]]) -> answers.Hits:
        return await self.do(lambda index: answers.Hits(hits=[self._hit(hit) for hit in ask(index)]))

    def _hit(self, hit: Hit) -> answers.Hit:
        named = hit.title or (Path(hit.path).stem if _has_audio(hit.path) else hit.id)
        audio = f"/api/{quote(self.name, safe='')}/songs/{hit.number}/audio" if _has_audio(hit.path) else None
        return answers.Hit(
            number=hit.number,
            id=answers.text(hit.id),
            title=answers.text(named),
            artist=answers.text(hit.artist),
            score=round(float(hit.score), 7),
            tags=[answers.text(tag) for tag in hit.tags],
            because=[answers.text(tag) for tag in hit.shared],
            audio=audio,
        )


def _opened(folder: Path) -> SongIndex:
    """An index in the thread that owns it, where a search then takes one core: others have theirs, and none waits for all."""
    import faiss

    index = SongIndex(folder)
    faiss.omp_set_num_threads(1)  # of this thread
    return index


def _has_audio(path: str) -> bool:
    """Whether a song's path is of an audio file, and not of a shard of records."""
    return Path(path).suffix.lower() in reading.AUDIO_SUFFIXES


def _song(index: SongIndex, number: int) -> Song:
    """A song by number.

    Raises:
        Failure: there is none.
    """
    try:
        return index.song(number)
    except DataError as error:
        raise failures.missing(str(error)) from None
