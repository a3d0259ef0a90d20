"""HDF5 files that may come from anywhere: they can point to other files and claim any size, so both are checked first."""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orpheus.base import files
from orpheus.errors import DataError

if TYPE_CHECKING:
    import h5py

ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    IndexError,
)
_MOST = 1_000_000  # names in a file
_PACKED = 1100  # times; deflate packs at most 1032 times


@contextlib.contextmanager
def opened(file: str | os.PathLike | IO[bytes], source: object) -> Iterator["h5py.File"]:
    """Open a file for reading after `check`.

    Args:
        file: Its path, or its bytes as an open file.
        source: What to call it in messages.

    Raises:
        DataError: no HDF5 file, or one that `check` refuses; also where a value cannot be read, in the block.
    """
    import h5py

    try:
        with h5py.File(file, "r") as content:
            check(content, source)
            yield content
    except DataError:
        raise
    except ERRORS as error:
        raise DataError(f"{source}: not an HDF5 file that can be read ({reason(error)})") from None


def check(content: "h5py.File", source: object) -> int:
    """Refuse a file that points out of itself or says that it holds more than it does, before any value is read.

    Returns:
        Number of values in all its datasets.

    Raises:
        DataError: names the dataset or link.
    """
    import h5py

    total, seen = 0, {_address(content)}
    groups: list[tuple[str, Any]] = [("", content)]
    while groups:
        path, group = groups.pop()
        for name in group:
            where, link = f"{path}/{name}", group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                target = getattr(link, "filename", "") or "another place"
                raise DataError(f"{source}: {where} is a link to {target}; refused, only the file's own data is read")
            found = group[name]
            if _address(found) in seen:
                continue
            seen.add(_address(found))
            if len(seen) > _MOST:
                raise DataError(f"{source}: more than {_MOST} datasets and groups; is it the right file?")
            if isinstance(found, h5py.Group):
                groups.append((where, found))
            elif isinstance(found, h5py.Dataset):
                total += _check_dataset(found, f"{source}: {where}")
    return total


def _check_dataset(found: "h5py.Dataset", where: str) -> int:
    if found.external:
        raise DataError(f"{where} is stored in {found.external[0][0]!r}; refused, only the file's own data is read")
    if found.is_virtual:
        raise DataError(f"{where} is made of other datasets (virtual); refused, only the file's own data is read")
    if found.shape is None:
        return 0
    count = math.prod(found.shape)
    claimed, stored = count * found.dtype.itemsize, found.id.get_storage_size()
    packed = found.chunks is not None and found.compression is not None
    if claimed > (stored * _PACKED if packed else stored):
        raise DataError(f"{where} says it has {claimed} bytes (shape {found.shape}) and stores {stored}; copy it again")
    return count


def _address(found: Any) -> tuple[int, int]:
    import h5py

    about = h5py.h5o.get_info(found.id)
    return about.fileno, about.addr


def reason(error: BaseException) -> str:
    """The first line of what a library says, short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


@contextlib.contextmanager
def written(path: Path) -> Iterator["h5py.File"]:
    """A new HDF5 file that appears when it is whole; a full disk is an OSError."""
    import h5py

    with files.whole(path) as temporary, _PatientFile(temporary, "w+") as raw:
        try:
            with h5py.File(raw, "w") as file:
                yield file
        finally:
            if raw.error is not None:
                raise raw.error


class _PatientFile(io.FileIO):
    """Keeps the first error of writing for later: HDF5 that is told of it can take the process down when it closes."""

    error: OSError | None = None

    def write(self, data) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size=None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0
