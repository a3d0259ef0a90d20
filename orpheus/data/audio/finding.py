"""Finds audio files, by one rule for all commands."""

import os
from collections.abc import Iterable
from pathlib import Path

from orpheus.data.audio.decoders import SUFFIXES
from orpheus.errors import DataError


def find_audio(folder: str | os.PathLike) -> list[Path]:
    """Files with a known suffix below a folder, by relative path; hidden ones and linked folders are left alone.

    Raises:
        DataError: no such folder, or no audio file in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{printable(folder)}: no such folder")
    found: list[Path] = []
    for where, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        found.extend(
            Path(where, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
        )
    if not found:
        raise DataError(f"{printable(folder)}: no audio file in it; looked for {' '.join(sorted(SUFFIXES))}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def audio_files(inputs: Iterable[str | os.PathLike]) -> list[Path]:
    """The files named, of whatever suffix, and those that `find_audio` finds in the folders named; each once, in order.

    Raises:
        DataError: an input does not exist, or there is no audio file in a folder.
    """
    found: list[Path] = []
    for given in map(Path, inputs):
        if given.is_dir():
            found += find_audio(given)
        elif given.is_file():
            found.append(given)
        else:
            raise DataError(f"{printable(given)}: no such file or folder")
    return list(dict.fromkeys(found))


def printable(path: str | os.PathLike) -> str:
    """A path for people and text files: bytes of it that are no UTF-8 become escapes.

    Example:
        >>> printable("caf\\udce9.mp3")  # as Python reads a name in Latin-1
        'caf\\\\udce9.mp3'
    """
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
