"""SQLite files that may come from anywhere: a statement must go on, a value has a longest length, errors name the file."""

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orpheus.errors import DataError

SECONDS = 15.0  # between two rows, and one more per megabyte of the file; the largest real one needs a tenth
ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter of a message that quotes a damaged file
_PLACE = {"disk is full": errno.ENOSPC, "readonly database": errno.EROFS, "disk I/O error": errno.EIO}  # by message
_LONGEST = 64 << 20  # bytes of a value
_STEPS = 20_000  # of SQLite's machine between two looks at the clock, some milliseconds


def rows(
    path: str | os.PathLike,
    statement: str,
    values: tuple = (),
    *,
    decode: Callable[[bytes], object] | None = None,
) -> Iterator[tuple]:
    """Rows of a statement, over a read-only connection of its own.

    A table may be a view, or have columns that are computed, and neither need end: SQLite may take 15 s and one per megabyte
    of the file for a row, and there may be as many rows as the file has bytes.

    Args:
        path: The database.
        statement: SQL.
        values: Of its question marks.
        decode: Makes text of its bytes; None for UTF-8.

    Raises:
        DataError: missing, not a database, damaged, or the statement does not end.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        limit = SECONDS + size / 1e6
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if hasattr(connection, "setlimit"):  # from Python 3.11 on
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
            if decode is not None:
                connection.text_factory = decode
            end = time.monotonic() + limit
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            for number, row in enumerate(connection.execute(statement, values)):
                if number > size:
                    raise DataError(
                        f"{path}: gives more than {size} rows, as many as it has bytes; is one of its tables a view that "
                        "never ends?"
                    )
                yield row
                end = time.monotonic() + limit
    except ERRORS as error:
        if "interrupted" in str(error):
            raise DataError(
                f"{path}: a statement took more than {limit:.0f} s; is one of its tables a view that never ends? Copy it "
                "into a plain table"
            ) from None
        raise DataError(f"{path}: not a readable SQLite database ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """What SQLite says of a disk, full or read-only, as the OSError that says so of any other file.

    Raises:
        OSError: see above, of `path`.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        number = next((code for words, code in _PLACE.items() if words in str(error)), None)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from None
