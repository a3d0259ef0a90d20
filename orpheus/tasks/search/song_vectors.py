"""The nearest-neighbour index of a store: vectors-N.faiss beside it, N the revision that it is of, made again where it lacks."""

import contextlib
import logging
import os
from pathlib import Path

import numpy as np

from orpheus.errors import DataError
from orpheus.learning.vectors.nearest import Nearest
from orpheus.tasks.search.known_tags import KnownTags
from orpheus.tasks.search.store import SongStore

log = logging.getLogger(__name__)

_NAME = "vectors-{}.faiss"


class SongVectors:
    """What is searched of a store.

    Args:
        folder: Of the index.
        store: In it.
        tags: Of the index; queries are like them.
    """

    def __init__(self, folder: Path, store: SongStore, tags: KnownTags):
        self._folder, self._store, self._tags = folder, store, tags
        self._whole: Path | None = None  # the file that holds what `nearest` does
        self.nearest = self._load()

    def renew(self, store: SongStore, tags: KnownTags) -> None:
        """Bring what is searched to the state of the store, opened again."""
        self._store, self._tags = store, tags
        self._update(self.nearest)

    def save(self) -> None:
        """Write the file of the store's revision, and remove those of others."""
        path = self._folder / _NAME.format(self._store.revision)
        self._update(self.nearest)
        if self._whole is not None and self._whole != path and self._whole.is_file():
            os.replace(self._whole, path)  # tags or names have changed, and no vector
        elif self._whole != path or not path.is_file():
            self.nearest.save(path)
        self._whole = path
        for other in self._folder.glob(_NAME.format("*")):
            if other != path:
                other.unlink(missing_ok=True)

    def _load(self) -> Nearest:
        """The nearest-neighbour index of the store as it is now."""
        path = self._folder / _NAME.format(self._store.revision)
        dimension = self._store.dimension
        if path.is_file():
            try:
                nearest = Nearest.load(path, dimension)
                self._whole = path
                return nearest
            except DataError as error:
                log.warning("%s; it is made again", error)
        nearest, other = Nearest(dimension), self._newest()
        if other is not None and other != path:
            try:
                nearest = Nearest.load(other, dimension)
            except DataError as error:
                log.warning("%s; it is made again", error)
        self._update(nearest)
        return nearest

    def _newest(self) -> Path | None:
        """The file that was written last."""
        times = {}
        for file in self._folder.glob(_NAME.format("*")):
            with contextlib.suppress(FileNotFoundError):  # another process has just taken it away
                times[file] = file.stat().st_mtime_ns
        return max(times, key=times.__getitem__, default=None)

    def _update(self, nearest: Nearest) -> None:
        numbers = self._store.numbers()
        gone, new = np.setdiff1d(nearest.ids, numbers), np.setdiff1d(numbers, nearest.ids)
        if len(gone) or len(new):
            self._whole = None
            nearest.remove(gone)
            queries = np.array(list(self._tags.vectors.values()))
            nearest.add(new, self._store.vectors(new, self._store.dimension), queries=queries)
