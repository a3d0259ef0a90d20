"""genres.txt: which clusters of a dictionary are genres, and which pairs of them are one.

Two lines, as the reference writes them: a list of clusters ``[34,37,24]`` and a list of pairs ``[[6, 37], [14, 24]]``.
Numbers are positions in the sorted list of the dictionary's clusters. Of the pairs only those of two genres are merged, as
the reference does; ``merge_outside`` of `Dictionary.restrict` takes clusters that are no genres into theirs, too. genres.json holds the same as an object with the
keys ``genres`` and ``merge``, and the clusters' names for the reader's eye.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orpheus.base import resources
from orpheus.base.files import atomic, parse_json, read_json, write_json
from orpheus.errors import DataError
from orpheus.semantics.dictionary import Dictionary
from orpheus.semantics.words import tokens


@dataclass(frozen=True)
class Genres:
    """Positions of genre clusters, pairs of positions to merge, and the file they are from."""

    genres: tuple[int, ...]
    merge: tuple[tuple[int, int], ...] = ()
    source: str = "genres"


def read(path: str | os.PathLike) -> Genres:
    """Read genres.txt or genres.json.

    Args:
        path: The file, or the folder that holds one; genres.txt is taken where there are both.

    Raises:
        DataError: missing, or not two lists of whole numbers; file and line.
    """
    path = resources.find(path)
    if path.is_dir():
        folder = path
        path = next((folder / name for name in ("genres.txt", "genres.json") if (folder / name).is_file()), folder)
        if path == folder:
            raise DataError(f"{folder}: holds neither genres.txt nor genres.json")
    if path.suffix == ".json":
        content = read_json(path)
        if not isinstance(content, dict) or "genres" not in content:
            raise DataError(f"{path}: expected an object with the keys 'genres' and 'merge'")
        return Genres(_clusters(content["genres"], path), _pairs(content.get("merge", []), path), str(path))
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if not 1 <= len(lines) <= 2:
        raise DataError(f"{path}: expected two lines, [x, …] and [[x, y], …]; found {len(lines)}")
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(parse_json(line, f"{path}:{number}"))
        except DataError:
            example = "[34, 37, 24]" if number == 1 else "[[6, 37], [14, 24]]"
            raise DataError(f"{path}:{number}: expected a list like {example}, found {line.strip()[:40]!r}") from None
    pairs = _pairs(values[1], f"{path}:2") if len(values) == 2 else ()
    return Genres(_clusters(values[0], f"{path}:1"), pairs, str(path))


# What makes a tag the name of a genre; only for drafts, which a person reads over.
GENRE_WORDS = {
    "dance",
    "poprock",
    "popfolk",
    "punkrock",
    "rock",
    "pop",
    "metal",
    "jazz",
    "blues",
    "soul",
    "funk",
    "disco",
    "punk",
    "folk",
    "country",
    "reggae",
    "ska",
    "dub",
    "rap",
    "hop",
    "rnb",
    "techno",
    "house",
    "trance",
    "electro",
    "electronic",
    "electronica",
    "ambient",
    "industrial",
    "gothic",
    "classical",
    "baroque",
    "opera",
    "gospel",
    "latin",
    "salsa",
    "bossa",
    "samba",
    "tango",
    "swing",
    "bluegrass",
    "grunge",
    "hardcore",
    "emo",
    "indie",
    "alternative",
    "dubstep",
    "drumandbass",
    "breakbeat",
    "garage",
    "idm",
    "downtempo",
    "triphop",
    "hiphop",
    "synthpop",
    "newwave",
    "shoegaze",
    "screamo",
    "grindcore",
    "metalcore",
    "deathcore",
    "krautrock",
    "britpop",
    "americana",
    "world",
    "celtic",
}


def draft(dictionary: Dictionary, pairs: Sequence[tuple[int, int]] = (), *, top: int = 3) -> Genres:
    """A first proposal of genres.txt, to be read over by a person.

    Args:
        dictionary: The clusters.
        pairs: Highly correlated columns.
        top: A cluster is proposed when most of its `top` most frequent tags hold a genre's word.

    Returns:
        The proposed genres, the most frequent first as far as counts are known, and the pairs of which both are such.
    """
    chosen = []
    for column, tags in enumerate(dictionary.clusters.values()):
        head = tags[:top]
        hits = sum(any(word in GENRE_WORDS for word in tokens(tag)) for tag in head)
        if 2 * hits > len(head):
            chosen.append((-max(dictionary.counts.get(tag, 0) for tag in head), column))
    genres = tuple(column for _, column in sorted(chosen))
    return Genres(genres, tuple(pair for pair in pairs if set(pair) <= set(genres)), dictionary.source)


def _is_position(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _clusters(value: object, where: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(map(_is_position, value)):
        raise DataError(f"{where}: expected a list of clusters like [34, 37, 24], found {str(value)[:40]}")
    return tuple(value)


def _pairs(value: object, where: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_position, pair)) and pair[0] != pair[1]
        for pair in value
    ):
        raise DataError(
            f"{where}: expected pairs of different clusters like [[6, 37], [14, 24]], found {str(value)[:40]}"
        )
    return tuple((a, b) for a, b in value)


def write(folder: str | os.PathLike, genres: Genres, *, names: Sequence[str] = ()) -> None:
    """Write FOLDER/genres.txt and FOLDER/genres.json.

    Args:
        folder: Created when missing.
        genres: What to write.
        names: Names of all columns of the dictionary, for genres.json.
    """
    folder = Path(folder)
    pairs = [list(pair) for pair in genres.merge]
    with atomic(folder / "genres.txt") as file:
        file.write(f"{json.dumps(list(genres.genres))}\n{json.dumps(pairs)}\n")
    mentioned = sorted({*genres.genres, *(position for pair in pairs for position in pair)})
    named = {str(position): names[position] for position in mentioned if position < len(names)}
    write_json(folder / "genres.json", {"genres": list(genres.genres), "merge": pairs, "names": named})
