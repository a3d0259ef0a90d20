"""An index that is served: one thread owns it, and reopens it when another process has changed it."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from orpheus.data.audio import reading
from orpheus.errors import DataError
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.service import answers, failures
from orpheus.tasks.service.queue import Lane
from orpheus.tasks.service.served import Parts, hears

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # from one look at whether the index has changed to the next


class ServedIndex:
    """An index under its name.

    Args:
        name: Of the folder.
        folder: Of the index.
        parts: Shared ones.
    """

    kind = "index"

    def __init__(self, name: str, folder: Path, parts: Parts):
        self.name, self._folder, self._parts = name, folder, parts
        self._lane = Lane(f"index {name}", parts.metrics, limit=parts.settings.waiting)
        self._index: SongIndex = self._lane.submit(
            SongIndex, folder
        ).result()  # SQLite's connections belong to a thread
        self._revision: int = self._lane.submit(lambda: self._index._store.revision).result()
        self._looked = time.monotonic()
        self.hears = None
        self.task = "retrieval"
        try:
            space = self._lane.submit(lambda: self._index.retriever).result()
            self.task = str(space.run.read("run").get("task"))
            self.hears = hears(space, self.task, parts)
        except DataError as error:
            log.warning("%s; so files cannot be uploaded to %s, and words are only its tags", error, name)

    def close(self) -> None:
        """End its thread."""
        self._lane.close()

    async def do(self, function: Callable[[SongIndex], Any]) -> Any:
        """A function of the index, in its thread."""
        return await self._lane.call(self._do, function)

    def _do(self, function: Callable[[SongIndex], Any]) -> Any:
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            began = time.monotonic()
            self._refresh()
            # What takes long is done seldom: an index that is being added to is reopened again and again.
            self._looked = time.monotonic() + 9 * (time.monotonic() - began)
        return function(self._index)

    def _refresh(self) -> None:
        index = self._index
        if index._store.revision != self._revision:
            fresh = SongIndex(self._folder)
            fresh._retriever = index._retriever
            self._index, self._revision = fresh, fresh._store.revision
            log.info("%s: was changed by another process; opened again, %d songs", self.name, len(fresh))

    async def about(self) -> answers.Model:
        """What it is."""
        return await self.do(self._about)

    def _about(self, index: SongIndex) -> answers.Model:
        able = ["search", "similar", "neighbours", "words"]
        able += [name for name in ("recommend", "path", "map") if hasattr(index, name)]
        able += [one for one in (self.hears.can if self.hears else ()) if one not in able]
        names = [answers.text(name) for name in index._listed[0][:50]]
        return answers.Model(
            name=self.name, kind=self.kind, task=self.task, songs=len(index), tags=names, listeners=0, can=able
        )

    async def hits(self, ask: Callable[[SongIndex], list]) -> answers.Hits:
        """What a question of the index gives."""

        def answer(index: SongIndex) -> answers.Hits:
            return answers.Hits(hits=[self._hit(index, hit) for hit in ask(index)])

        return await self.do(answer)

    def _hit(self, index: SongIndex, hit: Any) -> answers.Hit:
        found = index._store.find(hit.id)
        number = found.number if found else 0
        return answers.Hit(
            number=number,
            id=answers.text(hit.id),
            title=answers.text(Path(hit.path).stem if hit.path else hit.id),
            artist="",
            score=round(float(hit.score), 7),
            tags=[answers.text(tag) for tag in hit.tags],
            because=[answers.text(tag) for tag in hit.shared],
            audio=self._audio(number, hit.path),
        )

    def _audio(self, number: int, path: str) -> str | None:
        if Path(path).suffix.lower() not in reading.AUDIO_SUFFIXES:  # of records there is a shard
            return None
        return f"/api/{quote(self.name, safe='')}/songs/{number}/audio"

    async def song(self, number: int) -> answers.Hit:
        """A song by number."""

        def answer(index: SongIndex) -> answers.Hit:
            song = _song(index, number)
            return answers.Hit(
                number=number,
                id=answers.text(song.id),
                title=answers.text(Path(song.path).stem if song.path else song.id),
                artist="",
                score=1.0,
                tags=[answers.text(tag) for tag in song.tags],
                because=[],
                audio=self._audio(number, song.path),
            )

        return await self.do(answer)

    async def path(self, number: int) -> Path:
        """Where the audio of a song is.

        Raises:
            Failure: no such song, none that has audio, or the file is gone.
        """
        song = await self.do(lambda index: _song(index, number))
        path = Path(song.path)
        if path.suffix.lower() not in reading.AUDIO_SUFFIXES:
            raise failures.missing(f"song {number} has no audio file")
        return path

    async def similar(self, song: int | np.ndarray, k: int) -> answers.Hits:
        """Songs like a song of the index, or like a vector."""

        def ask(index: SongIndex) -> list:
            return index.similar(song if isinstance(song, np.ndarray) else _song(index, song).id, k)

        return await self.hits(ask)

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

        def ask(index: SongIndex) -> list[tuple[str, float]]:
            from orpheus.semantics.words import tokens
            from orpheus.tasks.search.near import nearest_tags

            asked = index.parse(tag)
            (row, *_) = index._vectors([*asked.positive, *asked.negative])
            found = nearest_tags(row, *index._listed, k + 1)
            return [(near.tag, near.score) for near in found if tokens(near.tag) != tokens(tag)][:k]

        return await self.do(ask)

    async def words(self, prefix: str, k: int) -> answers.Words:
        """Tags that begin so."""

        def ask(index: SongIndex) -> list[str]:
            folded = prefix.casefold()
            return [answers.text(name) for name in index._listed[0] if name.casefold().startswith(folded)][:k]

        return answers.Words(words=await self.do(ask))


def _song(index: SongIndex, number: int) -> Any:
    found = index._store.songs([number])
    if not found:
        raise failures.missing(f"no song of number {number}")
    return found[0]
