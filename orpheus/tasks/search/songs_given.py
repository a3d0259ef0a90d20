"""Songs that are given to an index: what records say of them, and files that are several songs."""

import os
from collections.abc import Iterable

from orpheus.base import files
from orpheus.data.records import format


def rounds(items: Iterable[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Songs as (id, path) in as few lists as have no path twice, since tables beside the audio are found by path.

    Example:
        >>> rounds([("a", "x.mp3"), ("b", "x.mp3"), ("c", "y.mp3")])
        [[('a', 'x.mp3'), ('c', 'y.mp3')], [('b', 'x.mp3')]]
    """
    found: list[list[tuple[str, str]]] = []
    times: dict[str, int] = {}
    for song, path in items:
        number = times[path] = times.get(path, -1) + 1
        if number == len(found):
            found.append([])
        found[number].append((song, path))
    return found


def names_of_records(folder: str) -> dict[str, tuple[str, str]]:
    """Id → artist (or group) of the records of a folder, and no title; empty where it has no manifest."""
    path = os.path.join(folder, format.MANIFEST)
    if not os.path.isfile(path):
        return {}
    found = {}
    for row in files.iterate_jsonl(path):
        song, artist = row.get("id"), row.get("artist")
        if isinstance(song, str) and isinstance(artist, str):
            found[song] = artist, ""
    return found
