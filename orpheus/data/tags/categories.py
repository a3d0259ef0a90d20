"""Files that say of which category a tag is: genre, mood, instrument …"""

import os
from pathlib import Path

from orpheus.errors import DataError


def read_categories(path: str | os.PathLike) -> dict[str, str]:
    """Tag → category, of a text file with both on every line, separated by a tab.

    Raises:
        DataError: missing, or a line without a tab (named).
    """
    found: dict[str, str] = {}
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); expected tag, tab, category a line") from None
    for number, line in enumerate(lines, 1):
        tag, tab, category = line.partition("\t")
        if line.strip() and not (tab and tag and category.strip()):
            raise DataError(f"{path}:{number}: expected a tag, a tab and its category, found {line[:60]!r}")
        if tab and found.setdefault(tag, category.strip()) != category.strip():
            raise DataError(f"{path}:{number}: {tag!r} is of category {found[tag]!r} above; a tag has one category")
    return found
