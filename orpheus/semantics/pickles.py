"""The one door for pickles: the reference's dictionaries and fitted k-means, read without running anything.

A pickle is a program: it may call whatever it can name. Here no name leads to anything outside this file. NumPy's
scalars, arrays and dtypes and scikit-learn's k-means are stand-ins that only collect and check bytes and attributes;
every other name is refused before it is imported, let alone called.
"""

import io
import math
import os
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.errors import DataError

_ESTIMATOR_MODULES = ("sklearn.cluster._kmeans", "sklearn.cluster.k_means_", "sklearn.cluster.k_means")
_ESTIMATOR_NAMES = ("KMeans", "MiniBatchKMeans")
_LARGEST = 256 << 20
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    MemoryError,
    OverflowError,
    RecursionError,
)


class Estimator:
    """The attributes of a fitted scikit-learn estimator; its class is never imported."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise DataError("an estimator's state must be a plain dict of attributes")
        self.__dict__.update(state)


class _Dtype:
    """Stands in for `numpy.dtype`: booleans, numbers and strings, no objects, no fields."""

    def __init__(self, code: object, align: object = False, copy: object = False):
        if not isinstance(code, str) or not re.fullmatch(r"[biufcSU]\d{1,9}", code):
            raise DataError(f"an array of {code!r} is not allowed, only of numbers and strings")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise DataError("an array with fields is not allowed")
        self.dtype = self.dtype.newbyteorder(state[1]) if state[1] in ("<", ">") else self.dtype


class _Array:
    """Stands in for `numpy.ndarray`: collects the bytes, which `_plain` turns into an array at the end."""

    value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        _, shape, kind, fortran, raw = state if isinstance(state, tuple) and len(state) == 5 else (None,) * 5
        if not isinstance(kind, _Dtype) or not isinstance(raw, bytes) or not isinstance(shape, tuple):
            raise DataError("an array's state must be a shape, a dtype of numbers or strings, and bytes")
        if math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise DataError(f"an array of shape {shape} and dtype {kind.dtype} has {len(raw)} bytes")
        self.value = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")


class _Name:
    """What a pickle gets for the name of a function: it can be called and nothing else, not even changed."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise DataError("the pickle tries to change a function")


def _scalar(kind: object, raw: object) -> Any:
    """Stands in for `numpy.core.multiarray.scalar`."""
    if not isinstance(kind, _Dtype) or not isinstance(raw, bytes):
        raise DataError("a NumPy scalar must be a dtype of numbers or strings, and bytes")
    if len(raw) != kind.dtype.itemsize or not raw:
        raise DataError(f"a NumPy scalar of dtype {kind.dtype} has {len(raw)} bytes")
    return np.frombuffer(raw, kind.dtype)[0]


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Stands in for `_codecs.encode`, by which protocols 0 to 2 spell bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise DataError("only bytes spelled as Latin-1 text are allowed")
    return text.encode("latin-1")


def _from_buffer(raw: object, kind: object, shape: object, order: object) -> _Array:
    """Stands in for `numpy.core.numeric._frombuffer`, by which protocol 5 makes arrays."""
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", bytes(raw) if isinstance(raw, bytes | bytearray) else raw))
    return array


def _empty_array(*_: object) -> _Array:
    return _Array()


_FUNCTIONS: dict[tuple[str, str], Callable] = {
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _empty_array,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _ESTIMATOR_MODULES and name in _ESTIMATOR_NAMES:
            return Estimator
        if (module, name) == ("numpy", "dtype"):
            return _Dtype
        if (module, name) in _FUNCTIONS:
            return _Name(_FUNCTIONS[module, name])
        raise DataError(
            f"refused: the pickle asks for {module}.{name}; only NumPy numbers, strings and arrays and scikit-learn's "
            "KMeans are read"
        )

    def persistent_load(self, pid: object) -> Any:
        raise DataError("refused: the pickle asks for an object outside itself")


def _plain(value: Any, made: dict[int, Any]) -> Any:
    """The value with arrays in the place of their stand-ins; `made` has those of lists and dicts that are there twice."""
    if isinstance(value, _Array):
        if value.value is None:
            raise DataError("an array without content")
        return value.value
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | set | frozenset | np.generic):
        return value
    if not isinstance(value, dict | list | tuple | Estimator):
        raise DataError(f"a value of type {type(value).__name__} is not allowed")
    if id(value) in made:
        if made[id(value)] is None:
            raise DataError("a value that holds itself is not allowed")
        return made[id(value)]
    made[id(value)] = None
    if isinstance(value, dict):
        found: Any = {_plain(key, made): _plain(item, made) for key, item in value.items()}
    elif isinstance(value, Estimator):
        value.__dict__.update({key: _plain(item, made) for key, item in vars(value).items()})
        found = value
    else:
        found = type(value)([_plain(item, made) for item in value])
    made[id(value)] = found
    return found


def _check_memo(raw: bytes) -> None:
    """Refuse numbers of the memo that a file of this size cannot need: the C unpickler would clear gigabytes for them."""
    for opcode, argument, _ in pickletools.genops(raw):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > len(raw):
            raise DataError(f"it numbers a value {argument}, and has {len(raw)} bytes")


def load(path: str | os.PathLike) -> Any:
    """Read a pickle of plain Python values, NumPy scalars and arrays, and scikit-learn's k-means.

    Args:
        path: The file.

    Returns:
        The value; an estimator is an `Estimator` with its attributes.

    Raises:
        DataError: missing, broken, or it asks for anything else, by name; nothing of that was run or imported.
    """
    path = Path(path).expanduser()
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if len(raw) > _LARGEST:
        raise DataError(f"{path}: {len(raw) >> 20} MiB is more than a dictionary of tags can need")
    try:
        _check_memo(raw)
        return _plain(_Unpickler(io.BytesIO(raw)).load(), {})
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except _BROKEN as error:
        raise DataError(f"{path}: not a readable pickle ({type(error).__name__}: {str(error)[:80]})") from None
