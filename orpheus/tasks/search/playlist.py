"""Playlists: M3U8 files (M3U in UTF-8) written of songs, and read."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from orpheus.base import files
from orpheus.errors import DataError

SUFFIXES = (".m3u8", ".m3u")
_LONGEST = 64 << 20  # bytes of a file that is read; a line of a playlist has some hundred


class Track(Protocol):
    """What a line of a playlist is made of: `Hit`s and the store's `Song`s have it."""

    @property
    def id(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def artist(self) -> str: ...

    @property
    def title(self) -> str: ...


def text(songs: Iterable[Track], *, relative_to: str | os.PathLike | None = None) -> str:
    """A playlist as text: per song a line ``#EXTINF:-1,ARTIST - TITLE`` (the length is not known) and its path.

    Args:
        songs: In their order; each must have the path of an audio file.
        relative_to: Folder from which paths are given; None for absolute ones.

    Raises:
        DataError: a song has no path, or one with a line break, which no playlist can hold.
    """
    rows = ["#EXTM3U"]
    for song in songs:
        path = song.path
        if not path or path.endswith(".tfrecord"):
            raise DataError(f"song {song.id!r} was indexed without an audio file; a playlist needs its path")
        if re.search(r"[\r\n]", path):
            raise DataError(f"song {song.id!r}: its path has a line break, which no playlist can hold; rename the file")
        if relative_to is not None:
            path = os.path.relpath(path, relative_to)
        # A line that begins with # would be a comment.
        path = os.path.join(os.curdir, path) if path.startswith("#") else path
        name = " - ".join(filter(None, [song.artist, song.title])) or os.path.splitext(os.path.basename(path))[0]
        rows += [f"#EXTINF:-1,{' '.join(name.split())}", path]
    return "\n".join(rows) + "\n"


def write(songs: Iterable[Track], path: str | os.PathLike, *, relative: bool = False) -> None:
    """Write a playlist in UTF-8, whole or not at all.

    Args:
        songs: See `text`.
        path: Of the file, which ends in ``.m3u8``.
        relative: Give paths from the file's folder, so that both can be moved together.

    Raises:
        DataError: see `text`; or the file cannot be written.
    """
    path = files.check_output(path, suffixes=SUFFIXES[:1])
    content = text(songs, relative_to=os.path.abspath(path.parent) if relative else None)
    with files.atomic(path, "wb") as file:
        # Names of files need not be text; what is not comes back as it was.
        file.write(content.encode("utf-8", "surrogateescape"))


def read(path: str | os.PathLike) -> list[str]:
    """Paths of a playlist, relative ones from its folder.

    Raises:
        DataError: missing, not UTF-8, or without a song.
    """
    path = Path(path).expanduser()
    found = [line for line in lines(path) if line.strip() and not line.startswith("#")]
    songs = [os.path.abspath(path.parent / line) for line in found]
    if not songs:
        raise DataError(f"{path}: no song in it")
    return songs


def lines(path: Path) -> list[str]:
    """Lines of a text file, without their ends; only line feeds end one, for a name may have what Unicode calls a line break.

    Raises:
        DataError: missing, too large, or not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise DataError(f"{path}: larger than {_LONGEST >> 20} MB; is it a list of songs?")
        return [line.removesuffix("\r") for line in content.decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save the list as UTF-8") from None
