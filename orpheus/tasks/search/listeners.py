"""Listeners of an index: what they heard, and where they lie if the run has a tower for them; histories from files."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orpheus.data.items.interactions import Interactions
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search import playlist
from orpheus.tasks.search.store import SongStore, to_bytes, to_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listener:
    """One listener.

    Attributes:
        id: Unique in the index.
        heard: Ids of songs, those heard most often first.
        vector: (d,) float32 unit vector by the run's listener tower; None for the mean of the heard songs' places.
    """

    id: str
    heard: tuple[str, ...] = ()
    vector: np.ndarray | None = None


class Listeners:
    """The table of listeners in a store; empty in one of version 1."""

    def __init__(self, store: SongStore):
        self._store = store

    def __len__(self) -> int:
        return next(self._store.ask("SELECT COUNT(*) FROM listeners"))[0] if self._there else 0

    @property
    def _there(self) -> bool:
        return self._store.version != "1"

    def put(self, listeners: Iterable[Listener]) -> None:
        """Add listeners, or replace those with their ids."""
        rows = [(one.id, None if one.vector is None else to_bytes(one.vector), to_json(one.heard)) for one in listeners]
        if rows:
            with self._store.transaction() as db:
                db.executemany("INSERT OR REPLACE INTO listeners VALUES (?, ?, ?)", rows)
                self._store.revise()

    def keep(self, run: object, plays: Interactions | None) -> None:
        """Keep those who have a place by the run's tower, where the table is empty, and those of listening counts.

        Args:
            run: May have `listeners`, a dict listener → (d,) vector, as a joint one does.
            plays: Counts of listeners × songs; None for none.

        Raises:
            DataError: no song of the counts is in the index.
        """
        places: Mapping[str, np.ndarray] = {}
        if plays is not None or not len(self):
            try:
                places = getattr(run, "listeners", {})
            except (ConfigError, DataError) as error:  # the data of its training may be gone
                log.warning("%s; so its own listeners are not in the index", error)
        rows = [] if len(self) else [Listener(name, (), place) for name, place in places.items()]
        if plays is not None:
            songs = {song for (song,) in self._store.ask("SELECT id FROM songs")}
            rows += of_plays(plays, songs, places)
            if not any(one.heard for one in rows):
                raise DataError(
                    f"{self._store.path}: none of the {len(plays.items)} songs that listeners heard is in it (the first "
                    f"is {plays.items[0]!r}); do their ids belong to these songs?"
                )
        self.put(rows)

    def get(self, name: str) -> Listener:
        """A listener by id.

        Raises:
            DataError: there is none with this id; names ids that begin alike.
        """
        rows = self._store.ask("SELECT vector, heard FROM listeners WHERE id = ?", (name,)) if self._there else ()
        for blob, heard in rows:
            vector = None if blob is None else self._store.vector(name, blob)
            return Listener(name, self._store.names(name, heard, what="songs of listener"), vector)
        if not len(self):
            raise DataError(
                f"{self._store.path}: no listener {name!r}, for it has none; add them with python -m orpheus.retrieve "
                "index … --listeners plays.csv"
            )
        raise DataError(f"{self._store.path}: no listener {name!r} among {len(self)} (nearest: {self._near(name)})")

    def beginning(self, prefix: str, k: int) -> list[str]:
        """The first `k` ids that begin with some text, in the order of their characters."""
        if not self._there:
            return []
        rows = self._store.ask(
            "SELECT id FROM listeners WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", (prefix, prefix + "\U0010ffff", k)
        )
        return [row[0] for row in rows]

    def _near(self, name: str) -> str:
        """Ids that begin with most of a name, or else the first ones."""
        found: list[str] = []
        for length in range(len(name), -1, -1):
            found = self.beginning(name[:length], 3)
            if found:
                break
        return ", ".join(found)


def of_plays(plays: Interactions, songs: Collection[str], places: Mapping[str, np.ndarray]) -> list[Listener]:
    """Listeners of listening counts: those that heard a song of the index, or have a place.

    Args:
        plays: Counts of listeners × songs.
        songs: Ids of the index.
        places: Listener → vector by the run's tower.
    """
    known = [item in songs for item in plays.items]
    counts, found = plays.counts, []
    for row, name in enumerate(plays.users):
        columns = counts.indices[counts.indptr[row] : counts.indptr[row + 1]]
        values = counts.data[counts.indptr[row] : counts.indptr[row + 1]]
        order = np.lexsort((columns, -values))
        heard = tuple(plays.items[column] for column in columns[order] if known[column])
        if heard or name in places:
            found.append(Listener(name, heard, places.get(name)))
    return found


def read_history(path: str | os.PathLike) -> list[str]:
    """Songs of a file, one id or path a line, or of a playlist (M3U, M3U8) whose relative paths start from its folder.

    Raises:
        DataError: missing, not UTF-8, or without a song.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in playlist.SUFFIXES:
        return playlist.read(path)
    songs = [line.strip() for line in playlist.lines(path)]
    if not any(songs):
        raise DataError(f"{path}: no song in it; give ids or paths, one a line, or a playlist")
    return [song for song in songs if song]


def mean_place(vectors: Sequence[np.ndarray]) -> np.ndarray | None:
    """(d,) unit mean of unit vectors; None where there are none or they cancel out."""
    total = np.sum(vectors, axis=0) if len(vectors) else np.zeros(1)
    length = float(np.linalg.norm(total))
    return (total / length).astype(np.float32) if length > 1e-4 else None
