"""NumPy files: shape and size are compared with the file before a byte of values is read, and nothing of theirs is run."""

import math
import os
import tokenize
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.lib import format as npy

from orpheus.base import archives
from orpheus.errors import DataError

LONGEST_EMPTY = 1 << 24  # of an axis of an array without values, whose size no file bounds
_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
    EOFError,
    KeyError,
)


def load_npy(path: str | os.PathLike, *, mapped: bool = False, kinds: str = "fiub") -> np.ndarray:
    """Read a ``.npy`` file.

    Args:
        path: The file.
        mapped: Leave the values on disk, read-only.
        kinds: Kinds of dtype that are taken (`numpy.dtype.kind`): floats, integers and booleans; ``U`` is text.

    Raises:
        DataError: missing, no such file, of another kind, or of another size than its header says.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            empty = _check_header(file, size, path, kinds)
            if not mapped or empty:  # nothing can be mapped where there is nothing
                file.seek(0)
                array = npy.read_array(file, allow_pickle=False)
                _check_text(array, path)
                return array
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def load_npz(path: str | os.PathLike, required: Iterable[str] = (), *, kinds: str = "fiubUS") -> dict[str, np.ndarray]:
    """Read all arrays of a ``.npz`` file.

    Args:
        path: The file.
        required: Names that must be there.
        kinds: As for `load_npy`; text too by default.

    Raises:
        DataError: as `load_npy`; a member that is damaged, a link or no array (see `archives.opened`); a name lacks.
    """
    found = {}
    with archives.opened(path) as archive:
        for member in archive.infolist():
            where = f"{path}: member {member.filename!r}"
            if not member.filename.endswith(".npy"):
                raise DataError(f"{where} is no array; expected names that end in .npy")
            with archive.open(member) as file:
                _check_header(file, member.file_size, where, kinds)
            with archive.open(member) as file:
                array = npy.read_array(file, allow_pickle=False)
                _check_text(array, where)
                found[member.filename.removesuffix(".npy")] = array
                file.read()  # to the end, where the checksum is compared
    if lacking := [name for name in required if name not in found]:
        raise DataError(f"{path}: no array named {', '.join(lacking)}; it has {', '.join(found) or 'none'}")
    return found


def _check_text(array: np.ndarray, where: object) -> None:
    """Refuse an array of text with numbers that are no characters, of which Python could not make text."""
    if array.dtype.kind != "U" or not array.size:
        return
    codes = np.ascontiguousarray(array).view(array.dtype.byteorder.replace("|", "=") + "u4")
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise DataError(f"{where}: holds text that is not Unicode; copy it again")


def _check_header(file: IO[bytes], size: int, where: object, kinds: str) -> bool:
    """Read a header and compare it with the size of the whole; returns whether the array is empty."""
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"version {version}")
        shape, _, dtype = read(file)
        expected = file.tell() + math.prod(shape) * dtype.itemsize
    except _ERRORS as error:
        raise DataError(f"{where}: not a NumPy array ({str(error)[:80] or type(error).__name__})") from None
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error})") from None
    if dtype.hasobject or dtype.kind not in kinds:
        raise DataError(f"{where}: holds {dtype}, expected {'numbers' if 'U' not in kinds else 'numbers or text'}")
    empty = math.prod(shape) == 0
    if (not empty and not dtype.itemsize) or min(shape, default=0) < 0 or (empty and max(shape) > LONGEST_EMPTY):
        raise DataError(f"{where}: shape {shape} of {dtype} is no array's")
    if size != expected:
        raise DataError(f"{where}: {size} bytes, its header says {expected} (shape {shape} of {dtype}); copy it again")
    return empty
