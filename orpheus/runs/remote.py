"""Runs in object storage: trained in a folder of this machine, copied to their URL after every epoch and at the end.

An object appears when all of it is there, so only the order matters: a checkpoint's state.json, without which it is none,
goes up last and comes down first. `model.keras` is one object and always a whole model.
"""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orpheus.base import storage
from orpheus.errors import DataError
from orpheus.runs.folder import Run, new_name

log = logging.getLogger(__name__)
MARKER, CHECKPOINTS = "state.json", "checkpoints"


class RemoteRun(Run):
    """A run whose place is a URL and whose folder is its copy on this machine.

    Attributes:
        url: Where it is.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._base = Path(tempfile.mkdtemp(prefix="orpheus-run-"))
        atexit.register(shutil.rmtree, self._base, ignore_errors=True)
        super().__init__(self._base / self.url.rpartition("/")[2])
        self._there: dict[str, tuple[int, int]] = {}  # what is up: path in the run → time and size of the copy here
        self._has_checkpoints = False

    @classmethod
    def create(cls, log_dir: str | os.PathLike, name: str, *, command: Sequence[str]) -> "RemoteRun":
        """`Run.create` under a URL."""
        parent = storage.location(log_dir).rstrip("/")
        run = cls(f"{parent}/{new_name(name, storage.listed(parent))}")
        run.folder.mkdir()
        run._has_checkpoints = True
        run._begin(command)
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "RemoteRun":
        """`Run.open` of a URL: copies all but the checkpoints here."""
        run = cls(storage.location(folder))
        if "run.json" not in storage.listed(run.url):
            raise DataError(f"{run.url}: not a run (no run.json); give the URL of a run that orpheus.train made")
        run._fetch("", without=(CHECKPOINTS,))
        return run

    @property
    def location(self) -> str:
        return self.url

    def write(self, name: str, value: Any) -> None:
        """Write NAME.json; what could not be copied up is tried again with the next."""
        super().write(name, value)
        try:
            self._push()
        except DataError as error:
            log.warning("%s; going on, and trying again later", error)

    def publish(self) -> None:
        """Copy up what has changed.

        Raises:
            DataError: storage does not take it; the copy on this machine then stays.
        """
        try:
            self._push()
        except DataError as error:
            atexit.unregister(shutil.rmtree)
            raise DataError(f"{error}; the run is in {self.folder}") from None

    def checkpoints(self) -> list[tuple[int, Path]]:
        if not self._has_checkpoints:
            self._fetch(CHECKPOINTS)
            self._has_checkpoints = True
        return super().checkpoints()

    def _fetch(self, inside: str, *, without: Sequence[str] = ()) -> None:
        """Copy a folder of the run, or all of it, here."""
        base = f"{self.url}/{inside}".rstrip("/")
        for url in storage.walked(base, without=without):
            path = url.removeprefix(f"{self.url}/")
            local = self.folder / path
            local.parent.mkdir(parents=True, exist_ok=True)
            with storage.readable(url) as copy:
                shutil.move(copy, local)
            self._there[path] = _stamp(local)

    def _push(self) -> None:
        here = {
            str(path.relative_to(self.folder)): _stamp(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(self.folder).parts)
        }
        changed = [path for path, stamp in here.items() if self._there.get(path) != stamp]
        for path in sorted(changed, key=_is_marker):
            with storage.writable(f"{self.url}/{path}") as copy:
                shutil.copyfile(self.folder / path, copy)
            self._there[path] = here[path]
        for path in sorted(set(self._there) - set(here), key=_is_marker, reverse=True):
            storage.remove(f"{self.url}/{path}")
            del self._there[path]


def _is_marker(path: str) -> bool:
    return path.endswith(f"/{MARKER}")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def create_run(log_dir: str | os.PathLike, name: str, *, command: Sequence[str]) -> Run:
    """A new run in a folder, or under a URL."""
    kind = RemoteRun if storage.is_url(log_dir) else Run
    return kind.create(log_dir, name, command=command)


def open_run(folder: str | os.PathLike) -> Run:
    """An existing run in a folder, or at a URL."""
    return RemoteRun.open(folder) if storage.is_url(folder) else Run.open(folder)
