"""Finds the audio files of a folder."""

import os
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
        raise DataError(f"{folder}: no such folder")
    found: list[Path] = []
    for where, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        found.extend(
            Path(where, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
        )
    if not found:
        raise DataError(f"{folder}: no audio file in it; looked for {' '.join(sorted(SUFFIXES))}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
