"""The configs and dictionaries that come with orpheus: in the checkout, or inside the installed package."""

import os
from pathlib import Path

FOLDERS = ("configs", "dictionaries")
_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder called configs or dictionaries that came with this orpheus."""
    installed = _PACKAGE / "shipped" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def find(path: str | os.PathLike) -> Path:
    """A path as it is, or, where nothing is there, the shipped file of that name.

    So ``configs/log-mel.json`` works from every folder, and a file of the user's own comes first.

    Args:
        path: ``~`` is expanded.
    """
    given = Path(path).expanduser()
    if not given.exists() and given.parts and given.parts[0] in FOLDERS:
        shipped = folder(given.parts[0]).joinpath(*given.parts[1:])
        if shipped.exists():
            return shipped
    return given
