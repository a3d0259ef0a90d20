"""Zip archives (.keras, .npz) that may come from anywhere: nothing is unpacked before its size and its kind are known."""

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator

from orpheus.errors import DataError

ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
    OverflowError,
)
_LARGE = 256 << 20  # bytes; only a larger member is refused for being packed so well
_PACKED = 200  # times; zeros pack a thousand times, numbers of models and features some two


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members are plain files that unpack to sizes which make sense.

    Args:
        path: The file.

    Raises:
        DataError: missing or no archive; a member that is a link, encrypted, there twice, named outside the archive,
            packed beyond reason or in a way that Python does not read. Also, in the block, a member that is damaged.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, path)
            yield archive
    except ERRORS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not an archive that can be read ({error or type(error).__name__})") from None


def _check(archive: zipfile.ZipFile, path: str | os.PathLike) -> None:
    names = archive.namelist()
    for member in archive.infolist():
        name = member.filename

        def refuse(reason: str, name: str = name) -> DataError:
            return DataError(f"{path}: member {name!r} {reason}; refused")

        if stat.S_ISLNK(member.external_attr >> 16):
            raise refuse("is a link")
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise refuse("is named outside the archive")
        if member.flag_bits & 1:
            raise refuse("is encrypted")
        if names.count(name) > 1:
            raise refuse("is there twice")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse("is packed in a way that is not read here")
        if member.file_size > _LARGE and member.file_size > _PACKED * member.compress_size:
            raise refuse(f"unpacks from {member.compress_size} to {member.file_size} bytes")
    if sum(member.compress_size for member in archive.infolist()) > os.path.getsize(path):
        raise DataError(f"{path}: its members are larger than the file; refused")
