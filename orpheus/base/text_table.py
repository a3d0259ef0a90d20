"""Tables on standard output."""

import sys
from collections.abc import Sequence

from orpheus.base import csv_files


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
