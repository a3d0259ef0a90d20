"""What goes into an index: audio files, records and tables of factors, embedded where they are new or have changed."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orpheus.base import files
from orpheus.data.audio import decoders, finding, reading, unusable
from orpheus.data.collection import probe
from orpheus.data.items import tables
from orpheus.data.records import format, tracks
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search import songs_given
from orpheus.tasks.search.store import Known, Song, SongStore

if TYPE_CHECKING:
    from orpheus.tasks.search.tagger_space import Space

log = logging.getLogger(__name__)

_PENDING = 32  # songs embedded at most before they are written down
_ROWS = 4096  # of a table of factors, as above

Progress = Callable[..., Iterable]


@dataclass
class Report:
    """What became of the songs that were given, by id.

    Attributes:
        new: Not there before.
        changed: There, with other content.
        unchanged: How many were there with this content; they were not embedded again.
        copied: How many of the new and changed ones have the content of another song and took its embedding.
        removed: There before, and no longer where they were from.
        kept: As `missing`, but still in the index, as was asked for.
        retagged: How many unchanged ones have other tags now.
        failures: Id → why it is not in the index.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    copied: int = 0
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    retagged: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = {
            "new": len(self.new),
            "changed": len(self.changed),
            "unchanged": self.unchanged,
            "removed": len(self.removed),
            "no longer there but kept": len(self.kept),
            "with other tags": self.retagged,
            "unusable": len(self.failures),
        }
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what in ("new", "unchanged"))
        return text + (f" ({self.copied} with the content of another song)" if self.copied else "")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How songs are added.

    Attributes:
        tags: Song → tags; None for those that the songs bring: of records, or the genre field of audio files.
        factors: Of the songs, for runs of audio and factors together; those without are reported and left out.
        texts: Vectors of texts of the songs, for runs that take them.
        keep: Keep what is no longer where it was from.
        reread: Read files whose size and date are as they were, too.
        retry: Read files that were unusable before and have not changed, too; `reread` does so as well.
        damaged: ``"keep"`` takes what can be decoded of a damaged file, ``"skip"`` makes it a failure.
        progress: Called as ``progress(iterable, desc=…, unit=…)`` and iterated instead, for example `cli.progress`.
    """

    tags: Mapping[str, Sequence[str]] | None = None
    factors: tables.Table | None = None
    texts: tables.Table | None = None
    keep: bool = False
    reread: bool = False
    retry: bool = False
    damaged: str = reading.KEEP
    progress: Progress = lambda items, **_: items

    @property
    def tables(self) -> dict[str, tables.Table]:
        """``"factors"`` and ``"texts"`` → those that are given."""
        both = {"factors": self.factors, "texts": self.texts}
        return {name: table for name, table in both.items() if table is not None}


def add(store: SongStore, retriever: "Space", given: Iterable[str | os.PathLike], options: Options) -> Report:
    """Bring a store up to date with songs; what is embedded is written down at once, also where this is interrupted.

    Args:
        store: Where they go.
        retriever: What embeds them.
        given: Audio files, folders of them, csv of tracks (track_id, audio_path), folders of records, tables of factors
            (`tables.read`). None of them where `options` has tables of a joint run's songs.
        options: See there.

    Raises:
        ConfigError: the run takes other songs than those.
        DataError: something given is not there or cannot be read as a whole; single songs only end up in `failures`.
    """
    report, given = Report(), list(given)
    if not given and options.tables:
        first = next(iter(options.tables.values()))
        _Adding(store, retriever, options, report, os.path.abspath(first.name)).tables()
    for path in [Path(one).expanduser() for one in given]:
        where = os.path.abspath(path)
        if path.is_dir() and any(path.glob(f"*{format.SUFFIX}")):
            _Adding(store, retriever, options, report, where).records()
        elif path.is_dir():
            items = [(os.path.abspath(found),) * 2 for found in finding.find_audio(path)]
            _Adding(store, retriever, options, report, "", store.known("", where)).audio(items)
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder")
        elif path.suffix.lower() in decoders.SUFFIXES:
            known = {song: one for song, one in store.known("").items() if song == where}
            _Adding(store, retriever, options, report, "", known).audio([(where, where)])
        elif path.suffix.lower() == ".csv":
            listed = tracks.read_tracks(path)
            names = {track.track_id: (track.group, track.title) for track in listed}
            items = [(track.track_id, os.path.abspath(track.path)) for track in listed]
            _Adding(store, retriever, options, report, where).audio(items, names)
        else:
            _Adding(store, retriever, options, report, where).factors(tables.read(path))
    return report


class _Adding:
    """One of the things given."""

    def __init__(
        self,
        store: SongStore,
        retriever: "Space",
        options: Options,
        report: Report,
        source: str,
        known: dict[str, Known] | None = None,
    ):
        self.store, self.retriever, self.options, self.report, self.source = store, retriever, options, report, source
        self.known = store.known(source) if known is None else known
        self.same: dict[str, Known] = {}
        self.pending: list[Song] = []
        self.digests: dict[str, np.ndarray] = {}
        self.unusable = store.unusable()
        self.names: dict[str, tuple[str, str]] = {}  # id → artist and title, of songs of which something says them
        self.found_unusable: dict[str, tuple[str, str] | None] = {}  # since the last time it was written down

    def audio(self, items: Sequence[tuple[str, str]], names: Mapping[str, tuple[str, str]] | None = None) -> None:
        """Files by (id, path); `names` (artist, title) by id, where something says them besides the files."""
        self.names.update(names or {})
        try:
            for part in songs_given.rounds(items) if self.options.tables else [items]:
                self._embed(part)
        finally:
            self._flush()
        self._finish({song for song, _ in items})

    def _embed(self, items: Sequence[tuple[str, str]]) -> None:
        """Files by (id, path), as far as that is needed."""
        asked: deque[tuple[str, Known]] = deque()
        more = self._more(items)

        def to_embed() -> Iterator[str]:
            for song, path in self.options.progress(items, desc="Songs", unit="song"):
                place = self._look(song, path)
                if place is None:
                    continue
                vector = self.digests.get(place.hash)
                vector = self.store.vector_of_content(place.hash) if vector is None else vector
                if vector is None:
                    asked.append((song, place))
                    yield path
                else:
                    self.report.copied += 1
                    self._put(song, place, vector, self._tags(song, path))

        for path, result in self.retriever.files(to_embed(), damaged=self.options.damaged, **more):
            song, place = asked.popleft()
            if isinstance(result, DataError):
                self._fail(song, str(result))
                if unusable.is_lasting(result):
                    self.found_unusable[place.path] = (self._state(place.stat), str(result))
            else:
                self.digests[place.hash] = result
                self._put(song, place, result, self._tags(song, str(path)))

    def _more(self, items: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """What a run that places songs by several inputs is told of these files besides their sound."""
        given = self.options.tables
        if given and not self._places_by_any:
            raise ConfigError(
                f"{next(iter(given.values())).name}: this run places audio files by their sound; leave --factors and --texts out"
            )
        return {**given, "ids": {path: song for song, path in items}} if given else {}

    def _content(self, song: str, path: str) -> str:
        """Hash of a file and of what tables have beside it."""
        rows = [table.dense([song]).tobytes() for table in self.options.tables.values() if song in table]
        content = files.content_hash(path)
        return hashlib.sha256(b"".join([content.encode(), *rows])).hexdigest() if rows else content

    @property
    def _places_by_any(self) -> bool:
        """Whether the run places a song by whichever of its inputs there is."""
        return hasattr(self.retriever, "tables")

    def _look(self, song: str, path: str) -> Known | None:
        """Where a song is and what its content is, where that is new; None where it has not changed or cannot be read."""
        before = self.known.get(song)
        if (shown := finding.printable(path)) != path:
            self._fail(finding.printable(song), f"{shown}: its name is not UTF-8; rename it")
            return None
        try:
            state = os.stat(path)
            stat = f"{state.st_size}:{state.st_mtime_ns}"
            known = before if before and before.stat == stat and before.path == path else None
            if known and not self.options.tables and not self.options.reread:
                self.same[song] = known
                return None
            said = self.unusable.get(path)
            if said and said[0] == self._state(stat) and not (self.options.retry or self.options.reread):
                self._fail(song, f"{said[1]} ({unusable.AGAIN})")
                return None
            place = Known(path, self._content(song, path), stat)
        except OSError as error:
            self._fail(song, f"{path}: cannot be read ({error.strerror})")
            return None
        if before and before.hash == place.hash:
            self.same[song] = place
            return None
        return place

    def _state(self, stat: str) -> str:
        """What must be as it was for a file to be unusable still."""
        return f"{stat}:{self.options.damaged}"

    def records(self) -> None:
        """A folder of records: the path of a song is its shard."""
        wanted: dict[str, Known] = {}
        factors, texts = self.options.factors, self.options.texts
        self.names.update(songs_given.names_of_records(self.source))
        for name in self.options.progress(format.shard_names(self.source), desc="Reading", unit="shard"):
            path = os.path.join(self.source, name)
            state = os.stat(path)
            stat = f"{state.st_size}:{state.st_mtime_ns}"
            mine = {song: one for song, one in self.known.items() if one.path == path}
            if (
                mine
                and not self.options.tables
                and not self.options.reread
                and all(one.stat == stat for one in mine.values())
            ):
                self.same.update(mine)
                continue
            for number, record in enumerate(format.read_shard(path)):
                fields = format.decode(record)
                if not fields.get("tid"):
                    raise DataError(f"{path}: record {number} has no tid; re-run tools.preprocess")
                song, content = fields["tid"][0].decode(), record
                if factors is not None and (song in factors or not self._places_by_any):
                    if song not in factors or not (row := factors.dense([song])[0]).any() or not np.isfinite(row).all():
                        self._fail(song, f"{factors.name}: song {song!r} has no factors")
                        continue
                    content += row.tobytes()
                if texts is not None and song in texts:
                    content += texts.dense([song]).tobytes()
                place = Known(path, hashlib.sha256(content).hexdigest(), stat)
                before = self.known.get(song)
                (self.same if before and before.hash == place.hash else wanted)[song] = place
        try:
            if wanted:
                more = {} if texts is None else {"texts": texts}
                found = self.retriever.records(self.source, only=wanted, factors=factors, **more)
                for song, tags, vector in self.options.progress(found, desc="Songs", unit="song", total=len(wanted)):
                    given = self.options.tags
                    self._put(song, wanted[song], vector, tags if given is None else given.get(song, ()))
        finally:
            self._flush()
        self._finish(self.same.keys() | wanted.keys())

    def factors(self, table: tables.Table) -> None:
        """Rows of a table."""
        try:
            for start in self.options.progress(range(0, len(table), _ROWS), desc="Songs", unit=f"×{_ROWS} songs"):
                ids = table.ids[start : start + _ROWS]
                self._rows(table.name, ids, table.dense(ids))
        finally:
            self._flush()
        self._finish(set(table.ids))

    def tables(self) -> None:
        """Songs that tables have between them: of runs that place a song by whatever there is of it."""
        given = self.options.tables
        place_of = getattr(self.retriever, "tables", None)
        if place_of is None:
            raise ConfigError(
                f"{next(iter(given.values())).name}: this run places no song by tables beside its sound; give SONGS (a table of factors may be)"
            )
        wanted: dict[str, Known] = {}
        songs = list(dict.fromkeys(song for table in given.values() for song in table.ids))
        for song in songs:
            content = b"".join(table.dense([song]).tobytes() if song in table else b"\0" for table in given.values())
            place, before = Known("", hashlib.sha256(content).hexdigest(), ""), self.known.get(song)
            (self.same if before and before.hash == place.hash else wanted)[song] = place
        try:
            if wanted:
                needed = {name: _part(table, wanted) for name, table in given.items()}
                for song, vector in zip(*place_of(**needed), strict=True):
                    self._put(song, wanted[song], vector, (self.options.tags or {}).get(song, ()))
        finally:
            self._flush()
        self._finish(set(songs))

    def _rows(self, name: str, ids: Sequence[str], rows: np.ndarray) -> None:
        wanted: dict[str, Known] = {}
        for song, row in zip(ids, rows, strict=True):
            place = Known("", hashlib.sha256(row.astype("<f4").tobytes()).hexdigest(), "")
            before = self.known.get(song)
            if not np.isfinite(row).all() or not row.any():
                self._fail(song, f"{name}: song {song!r} has no factors (all zero, or not finite)")
            elif before and before.hash == place.hash:
                self.same[song] = before
            else:
                wanted[song] = place
        if wanted:
            chosen = [place for place, song in enumerate(ids) if song in wanted]
            part = tables.Table(name, tuple(ids[place] for place in chosen), rows[chosen])
            for song, vector in zip(*self.retriever.factors(part), strict=True):
                self._put(song, wanted[song], vector, (self.options.tags or {}).get(song, ()))

    def _tags(self, song: str, path: str) -> Sequence[str]:
        """Tags as given, or the genre field of a file, whose artist and title are noted, too, if nothing else says them."""
        names, genres, _ = probe.read_metadata(path)
        artist, title = self.names.get(song, ("", ""))
        self.names[song] = artist or names["artist"], title or names["title"]
        return genres if self.options.tags is None else self.options.tags.get(song, ())

    def _put(self, song: str, place: Known, vector: np.ndarray, tags: Sequence[str]) -> None:
        if not abs(float(np.linalg.norm(vector)) - 1) < 1e-3:  # one such row would make the whole index unreadable
            self._fail(song, f"{place.path or self.source}: song {song!r} has no place: numbers of it are not finite")
            return
        (self.report.changed if song in self.known else self.report.new).append(song)
        if place.path in self.unusable:
            self.found_unusable[place.path] = None
        vector = np.asarray(vector, np.float32)
        artist, title = self.names.get(song, ("", ""))
        self.pending.append(
            Song(song, vector, tuple(tags), self.source, place.path, place.hash, place.stat, artist=artist, title=title)
        )
        if len(self.pending) >= _PENDING:
            self._flush()

    def _flush(self) -> None:
        pending, self.pending, self.digests = self.pending, [], {}
        self.store.put(pending)
        found, self.found_unusable = self.found_unusable, {}
        self.store.put_unusable(found)

    def _fail(self, song: str, reason: str) -> None:
        self.report.failures[song] = reason
        log.error("%s", reason)

    def _finish(self, listed: set[str]) -> None:
        """Note what has not changed, remove what is gone."""
        self.report.unchanged += len(self.same)
        self.store.touch({song: place for song, place in self.same.items() if place != self.known[song]})
        if self.options.reread and not self.source:  # plain files, which alone say their names
            for song, place in self.same.items():
                self._tags(song, place.path)
        self.store.rename({song: self.names[song] for song in self.same if any(self.names.get(song, ()))})
        if self.options.tags is not None:
            self.report.retagged += self.store.retag({song: self.options.tags.get(song, ()) for song in self.same})
        # What was usable and no longer is has other content than its embedding is of.
        broken = [song for song in self.known if song in self.report.failures]
        gone = [song for song in self.known if song not in listed]
        (self.report.kept if self.options.keep else self.report.removed).extend(gone)
        self.report.removed += broken
        self.store.remove([*broken, *([] if self.options.keep else gone)])


def _part(table: tables.Table, songs: Container[str]) -> tables.Table:
    """The rows of some songs."""
    ids = tuple(song for song in table.ids if song in songs)
    return tables.Table(table.name, ids, table.rows(ids))
