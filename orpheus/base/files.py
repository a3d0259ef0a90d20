"""Files that are either whole or absent: atomic writes, JSON and content hashes."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from orpheus.errors import DataError


@contextlib.contextmanager
def atomic(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that appears under its name only when complete.

    Args:
        path: Final name. Its folder is created when missing.
        mode: ``"w"`` (UTF-8 text, ``\\n`` line ends) or ``"wb"``.

    Yields:
        The open temporary file; it is renamed on success and removed on any error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(
    path: str | os.PathLike, value: Any, *, opener: Callable[..., contextlib.AbstractContextManager[IO]] = atomic
) -> None:
    """Write `value` as indented UTF-8 JSON, atomically; keys keep their order. `opener` is called like `atomic`."""
    with opener(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def read_json(path: str | os.PathLike, *, opener: Callable[..., IO] = open) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        opener: Called like `open`, for files that are elsewhere.

    Raises:
        DataError: the file is missing, unreadable or not JSON; the message gives line and column.
    """
    try:
        with opener(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


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
    try:
        with opener(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path}:{number}: not JSON ({error.msg})") from None
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: expected a JSON object, found {line.strip()[:40]}")
                yield row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


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
