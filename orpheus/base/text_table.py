"""Figures as text, and tables on standard output."""

import sys
from collections.abc import Sequence

from orpheus.base import csv_files


def number(value: float | None, digits: int = 3) -> str:
    """A figure, a dash where there is none.

    Example:
        >>> number(0.25), number(None)
        ('0.250', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def bounded(value: float | None, bounds: Sequence[float] | None, digits: int = 3) -> str:
    """A figure with its interval, where it has one.

    Example:
        >>> bounded(0.25, (0.2, 0.31)), bounded(0.25, None), bounded(None, (0.2, 0.31))
        ('0.250 [0.200, 0.310]', '0.250', '–')
    """
    if value is None or not bounds:
        return number(value, digits)
    return f"{number(value, digits)} [{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def alone(unit: str) -> str:
    """What stands in place of an interval of one group, as ``"artist"``: every draw of it is the data itself."""
    return f"one {unit}: no interval"


def show(header: Sequence[str], table: Sequence[Sequence], comma_separated: bool = False) -> None:
    """Print the table with aligned columns (numbers to the right), or as CSV."""
    if comma_separated:
        csv_files.write(sys.stdout, [header, *table])
        return
    cells = [tuple(map(str, row)) for row in [header, *table]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(header))]
    for row in cells:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        print("  ".join(aligned).rstrip())


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()
