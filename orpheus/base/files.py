"""Files that are either whole or absent: atomic writes, JSON and content hashes."""

import contextlib
import hashlib
import itertools
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from orpheus.errors import ConfigError, DataError

LARGEST_JSON = 256 << 20  # characters; the largest list of tracks in one file has some 30 MB
DEEPEST = 64  # levels of lists and objects; a config has five, a network of Keras some twenty
_LONGEST = 255  # bytes of a file's name, of nearly all file systems
_swept: set[Path] = set()  # folders that this process has looked through for what killed ones left


@contextlib.contextmanager
def atomic(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that appears under its name only when complete.

    Args:
        path: Final name. Its folder is created when missing.
        mode: ``"w"`` (UTF-8 text, ``\\n`` line ends) or ``"wb"``.

    Yields:
        The open temporary file; it is renamed on success and removed on any error.
    """
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with whole(path) as temporary, open(temporary, mode, **text) as file:
        yield file


@contextlib.contextmanager
def whole(path: str | os.PathLike, *, suffix: str = "") -> Iterator[Path]:
    """`atomic` for what a library writes by itself: a file, or a folder with all that is in it.

    Args:
        path: Final name; an empty folder may be there for a folder, or a file for a file. Its folder is created when
            missing.
        suffix: End of the temporary name, where the library looks at that.

    Yields:
        A name beside `path` where nothing is. What is there when the block ends is renamed, and removed on any error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    temporary = temporary_name(path, suffix)
    try:
        remove(temporary)  # of a killed process that had this number
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(temporary)):  # which nobody has heard of
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        remove(temporary)


def check_output(path: str | os.PathLike, *, suffixes: Sequence[str] = (), folder: bool = False) -> Path:
    """Refuse a file that cannot be written, before the work whose result it is to hold. Nothing is made.

    Args:
        path: A file, or a folder, that may be there or not; its folders too.
        suffixes: Ends of names, as ``".png"``, one of which it must have; none for any.
        folder: It is a folder that is written to.

    Returns:
        The path, ``~`` expanded.

    Raises:
        ConfigError: a folder in place of a file or a file in place of a folder, a name that is too long or ends
            otherwise, a place that may not be written to.

    Example:
        >>> check_output("no/such/folder/yet/tags.csv").name
        'tags.csv'
        >>> check_output("tags.cvs", suffixes=[".png", ".svg"])
        Traceback (most recent call last):
        orpheus.errors.ConfigError: tags.cvs: ends in .cvs; a name that ends in .png or .svg is needed
    """
    path = Path(path).expanduser()
    if suffixes and path.suffix.lower() not in suffixes:
        found = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise ConfigError(f"{path}: {found}; a name that ends in {' or '.join(suffixes)} is needed")
    for part in path.parts:
        if len(os.fsencode(part)) > _LONGEST:
            raise ConfigError(
                f"{str(path)[:80]}…: a name of {len(os.fsencode(part))} bytes; {_LONGEST} are the most, shorten it"
            )
    if path.is_dir() and not folder:
        raise ConfigError(f"{path}: is a folder; name a file in it")
    place = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    if place.is_file() and (folder or place != path.absolute()):
        raise ConfigError(f"{path}: {place} is a file, and no folder; write elsewhere")
    writable = place if place.is_dir() else place.parent
    if not os.access(writable, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: {writable} may not be written to; write elsewhere")
    return path


def temporary_name(path: Path, suffix: str = "") -> Path:
    """A hidden name beside `path`, of this process alone and no longer than file systems allow."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST - 60:
        start = os.fsencode(name)[: _LONGEST - 80].decode("utf-8", "ignore")
        name = f"{start}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    return path.with_name(f".{name}.{_host()}-{os.getpid()}.tmp{suffix}")


def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine were writing in a folder, when this one first writes there."""
    if folder in _swept:
        return
    _swept.add(folder)
    mine = re.compile(rf"\..*\.{_host()}-(\d+)\.tmp(\.\w+)?")
    for name in os.listdir(folder):
        if (found := mine.fullmatch(name)) and not is_alive(int(found[1])):
            remove(folder / name)


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def remove(path: str | os.PathLike) -> None:
    """Remove a file, or a folder with all that is in it; neither need be there."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):  # a read-only disk refuses to remove even what is not there
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file, or every file of a folder, is on the disk and not only on its way there."""
    for one in [path] if path.is_file() else path.rglob("*"):
        if one.is_file():
            with open(one, "rb") as file:
                os.fsync(file.fileno())


def _host() -> str:
    """This machine in the names of temporary files: process numbers mean nothing on another one."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def write_json(
    path: str | os.PathLike, value: Any, *, opener: Callable[..., contextlib.AbstractContextManager[IO]] = atomic
) -> None:
    """Write `value` as indented UTF-8 JSON, atomically; keys keep their order. `opener` is called like `atomic`."""
    with opener(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


class _RefusedError(ValueError):
    """What `_DECODER` does not take, without the file, which it does not know."""


def _refuse(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is no number of JSON; expected a finite one")


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise _RefusedError(f"the number {digits[:24]}… has {len(digits)} digits; 64 bits hold 19")
    return number


def _real(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise _RefusedError(f"the number {digits[:24]} is too large; expected a finite one")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"key {twice!r} comes twice in one object; remove one")
    return made


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole, parse_float=_real, object_pairs_hook=_unique)


def parse_json(text: str, source: object) -> Any:
    """The value of JSON text, within the limits of what this project writes.

    Args:
        text: At most `LARGEST_JSON` characters.
        source: The file, for messages; or file and line.

    Raises:
        DataError: not JSON; lists or objects more than `DEEPEST` levels deep; a number that is no finite float or no
            64-bit integer (``NaN``, ``1e999``, 5,000 digits); a key that comes twice in an object; text with a NUL
            character or half of a surrogate pair, which no file's name and no tag can have.
    """
    if len(text) > LARGEST_JSON:
        raise DataError(f"{source}: more than {LARGEST_JSON >> 20} MB of JSON; is it the right file?")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"{source}:{error.lineno}:{error.colno}" if isinstance(source, str | os.PathLike) else source
        raise DataError(f"{place}: not JSON ({error.msg})") from None
    except _RefusedError as error:
        raise DataError(f"{source}: {error}") from None
    except RecursionError:
        raise DataError(f"{source}: lists or objects more than {DEEPEST} levels deep") from None
    if text.count("[") + text.count("{") > DEEPEST or "\\u" in text or "\0" in text:
        _check_limits(value, source)
    return value


def _check_limits(value: Any, source: object) -> None:
    """Refuse a value that is too deep, or text that cannot be written again."""
    level = [value]
    for _ in range(DEEPEST + 1):
        if not level:
            return
        for text in (one for one in level if isinstance(one, str)):
            if "\0" in text or not _is_unicode(text):
                raise DataError(f"{source}: the text {text[:40]!r} holds a NUL or half of a surrogate pair")
        lists = (one for one in level if isinstance(one, list))
        objects = (part for one in level if isinstance(one, dict) for part in (one.keys(), one.values()))
        level = [inner for group in itertools.chain(lists, objects) for inner in group]
    if level:
        raise DataError(f"{source}: lists or objects more than {DEEPEST} levels deep")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_json(path: str | os.PathLike, *, opener: Callable[..., IO] = open) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        opener: Called like `open`, for files that are elsewhere.

    Raises:
        DataError: the file is missing, unreadable or not JSON (see `parse_json`); the message gives line and column.
    """
    with _reading(path):
        with opener(path, encoding="utf-8") as file:
            text = file.read(LARGEST_JSON + 1)
        return parse_json(text.removeprefix("\ufeff"), path)


@contextlib.contextmanager
def _reading(path: str | os.PathLike) -> Iterator[None]:
    """Errors of opening and decoding a text file as errors of that file."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}: {error.reason})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def write_jsonl(path: str | os.PathLike, rows: list[dict]) -> None:
    """Write one JSON object per line, atomically."""
    with atomic(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: str | os.PathLike, *, opener: Callable[..., IO] = open) -> list[dict]:
    """Read one JSON object per line.

    Args:
        path: The file.
        opener: Called like `open`, for files that are elsewhere.

    Raises:
        DataError: the file is missing or a line is not a JSON object; the message gives its number.
    """
    return list(iterate_jsonl(path, opener=opener))


def iterate_jsonl(path: str | os.PathLike, *, opener: Callable[..., IO] = open) -> Iterator[dict]:
    """`read_jsonl`, one row after the other, for files of millions."""
    with _reading(path), opener(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            row = parse_json(line, _Line(path, number))
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, found {line.strip()[:40]}")
            yield row


class _Line(NamedTuple):
    """A line of a file, which is text only where a message needs it."""

    path: str | os.PathLike
    number: int

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


def content_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _hash(file)


def _hash(file: IO[bytes]) -> str:
    """`hashlib.file_digest` for Python 3.10."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
