"""Audio files that could not be used before: remembered with size and date, so that they are not decoded again in vain."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from orpheus.base import files, schema
from orpheus.data.audio import reading
from orpheus.data.audio.finding import printable
from orpheus.errors import DataError

T = TypeVar("T")
AGAIN = "unchanged since it was found unusable; --retry reads it again"


class Unusable(schema.Schema):
    """A row of the file.

    Attributes:
        path: Absolute, as `printable` shows it.
        size: Bytes.
        modified: Its date, nanoseconds since 1970.
        damaged: How damaged files were treated.
        reason: Why it could not be used.
    """

    path: str
    size: int
    modified: int
    damaged: str
    reason: str


_ROWS = TypeAdapter(list[Unusable])


def state(path: str | os.PathLike, damaged: str) -> tuple[int, int, str] | None:
    """What must be as it was for a file to be unusable still: size, date, and how damage is treated; None where it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, damaged


def is_lasting(error: DataError) -> bool:
    """Whether a file is unusable by its content, and not by a disk, a permission or a memory that may be better next time."""
    return not isinstance(error.__cause__, OSError | MemoryError)


class Memory:
    """A file of unusable files, a JSON object per line; it is made, and rewritten as a whole where something has changed.

    Args:
        path: The file, which need not be there; None to remember nothing.
        damaged: As of `reading.load`.
        retry: Try what is in it again.

    Raises:
        DataError: it is no such file.
    """

    def __init__(self, path: str | os.PathLike | None, *, damaged: str = reading.KEEP, retry: bool = False):
        self.path, self.damaged, self.retry = None if path is None else Path(path), damaged, retry
        there = self.path is not None and self.path.exists()
        rows = schema.check(_ROWS, files.read_jsonl(self.path), self.path) if self.path and there else []
        self._rows = {row.path: row for row in rows}
        self._read = dict(self._rows)

    def through(
        self, paths: Sequence[Path], work: Callable[[Sequence[Path]], Iterator[tuple[Any, T | DataError]]]
    ) -> Iterator[tuple[Path, T | DataError]]:
        """What `work` makes of files, those that are known to be unusable left out.

        Args:
            paths: The files.
            work: Called with those that are to be read; yields each with a result or why there is none.

        Yields:
            What is known to be unusable, then what `work` yields. The file is written at the end, however that comes.
        """
        states = {path: state(path, self.damaged) for path in paths}
        wanted = []
        for path in paths:
            row = self._rows.get(_key(path))
            if row and not self.retry and states[path] == (row.size, row.modified, row.damaged):
                yield path, DataError(f"{path}: {row.reason} ({AGAIN})")
            else:
                wanted.append(path)
        try:
            for path, result in work(wanted) if wanted else ():
                self._rows.pop(_key(path), None)
                found = states[path]
                if isinstance(result, DataError) and found and is_lasting(result):
                    size, modified, damaged = found
                    why = printable(reading.reason(path, result))
                    self._rows[_key(path)] = Unusable(
                        path=_key(path), size=size, modified=modified, damaged=damaged, reason=why
                    )
                yield path, result
        finally:
            if self.path is not None and self._rows != self._read:
                files.write_jsonl(self.path, [self._rows[key].model_dump() for key in sorted(self._rows)])


def _key(path: Path) -> str:
    return printable(os.path.abspath(path))
