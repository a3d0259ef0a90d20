"""Comma- and tab-separated files: one strict reader and one writer, so that no row is merged, cut or lost in silence."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from orpheus.errors import DataError

LONGEST_CELL = 131_072  # characters; Python's csv module refuses longer ones
_QUOTED = frozenset(',"\r\n')


@dataclass(frozen=True)
class CsvRows:
    """A file with a header.

    Attributes:
        columns: Names in the first line, all different.
        rows: (number of the line on which the row begins, from 1; column → cell), blank lines left out.
    """

    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]


def read(
    path: str | os.PathLike, *, delimiter: str = ",", required: Iterable[str] = (), comments: bool = False
) -> CsvRows:
    """Read a csv with a header; cells are as they are in the file, blanks at their ends included.

    Args:
        path: UTF-8, with or without a byte-order mark.
        delimiter: A comma or a tab.
        required: Columns that must be there.
        comments: Leave out lines that begin with ``#``, above the header or with another number of cells than it; so that
            an id that begins with ``#`` is none.

    Raises:
        DataError: as `iterate`; no header, a column missing or named twice, or a row with more or fewer cells than the
            header.
    """
    lines = iterate(path, delimiter=delimiter)
    _, columns = next((line for line in lines if not (comments and _is_comment(line[1]))), (0, []))
    twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if twice:
        raise DataError(f"{path}:1: two columns are named {twice[0]!r}; rename one")
    if lacking := [name for name in required if name not in columns]:
        raise DataError(f"{path}: no column {', '.join(lacking)}; it has {', '.join(columns) or 'none'}")
    rows = []
    for number, cells in lines:
        if len(cells) != len(columns):
            if comments and _is_comment(cells):
                continue
            raise DataError(
                f"{path}:{number}: {len(cells)} cells, the header has {len(columns)}; a cell that holds a comma or a "
                'quote must be written in quotes, "like, this"'
            )
        rows.append((number, dict(zip(columns, cells, strict=True))))
    return CsvRows(tuple(columns), rows)


def _is_comment(cells: Sequence[str]) -> bool:
    return cells[0].lstrip().startswith("#")


def header(path: str | os.PathLike, *, delimiter: str = ",") -> tuple[str, ...]:
    """The cells of the first line; none where the file is missing or no csv."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return tuple(next(csv.reader([file.readline(100_000)], delimiter=delimiter, strict=True), ()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def iterate(path: str | os.PathLike, *, delimiter: str = ",", quotes: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Rows of a file, one after the other, without its blank lines.

    Args:
        path: UTF-8, with or without a byte-order mark.
        delimiter: A comma or a tab.
        quotes: Whether ``"`` opens a cell that may hold delimiters and line ends, doubled inside; else it is a
            character as any other.

    Yields:
        (number of the line on which the row begins, from 1; its cells).

    Raises:
        DataError: missing, not UTF-8, a NUL character, a cell above 131,072 characters, text behind a closing quote, or
            a quote that is never closed or swallows whole rows; the line is named.
    """
    begin = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            held: list[str] = []  # the lines of the row that is being read
            # Without quotes a line is a row, and a quote at its start must not join it to the next.
            options = {"quoting": csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE, "delimiter": delimiter}
            reader = csv.reader(_kept(file, held, path), strict=quotes, **options)  # type: ignore[arg-type]
            for cells in reader:
                if len(held) > 1:
                    _check_merged(path, begin, held, delimiter, len(cells))
                held.clear()
                if cells:
                    yield begin, cells
                begin = reader.line_num + 1
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except csv.Error as error:
        raise DataError(f"{path}:{begin}: {_reason(str(error))}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} after line {begin}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def text(rows: Iterable[Sequence[object]], *, delimiter: str = ",") -> str:
    """Rows as the text of a csv that `iterate` reads back as it was, whatever the cells hold.

    Python's own writer leaves a carriage return in a cell without quotes before 3.11.9, and readers end the row there.

    Example:
        >>> text([["a", 1], ["b,c", "line\\rline"]])
        'a,1\\n"b,c","line\\rline"\\n'
    """
    return "".join(_line(row, delimiter) for row in rows)


def write(file: IO[str], rows: Iterable[Sequence[object]], *, delimiter: str = ",") -> None:
    """Write rows as `text` does, one after the other."""
    for row in rows:
        file.write(_line(row, delimiter))


def _line(row: Sequence[object], delimiter: str) -> str:
    cells = [_cell("" if value is None else str(value), delimiter) for value in row]
    # A single empty cell would be a blank line, which readers skip.
    return (delimiter.join(cells) if cells != [""] else '""') + "\n"


def _cell(value: str, delimiter: str) -> str:
    if delimiter in value or not _QUOTED.isdisjoint(value):
        return '"' + value.replace('"', '""') + '"'
    return value


def _kept(file: IO[str], held: list[str], path: str | os.PathLike) -> Iterator[str]:
    """Lines of a file, which are also put into `held`."""
    for number, line in enumerate(file, 1):
        if "\0" in line:
            raise DataError(f"{path}:{number}: a NUL character; is it a csv, and saved as UTF-8?")
        held.append(line)
        yield line


def _check_merged(path: str | os.PathLike, begin: int, lines: Sequence[str], delimiter: str, cells: int) -> None:
    """Refuse a cell over several lines of which the first and another could be rows of their own: an open quote.

    A title that begins with a quote and is closed by the next title's would else give one track another's tags.
    """
    alone = [
        len(next(csv.reader(io.StringIO(line), delimiter=delimiter, quoting=csv.QUOTE_NONE), [])) for line in lines
    ]
    if cells > 1 and alone[0] >= cells and any(count >= cells for count in alone[1:]):
        raise DataError(
            f"{path}:{begin}: a quote opens here and is closed on line {begin + len(lines) - 1}, with whole rows "
            "inside; close it on its line, or double a quote that belongs to the text"
        )


def _reason(said: str) -> str:
    """What the csv module says, in words that name the cure."""
    if "field larger" in said:
        return f"a cell of more than {LONGEST_CELL} characters; is a quote opened and never closed?"
    if "unexpected end" in said:
        return 'a quote opens in this row and is never closed; double a quote that belongs to the text, ""like this""'
    if "expected after" in said:
        return "text behind a closing quote; double a quote that belongs to the text, and quote the whole cell"
    return f"not a csv ({said})"
