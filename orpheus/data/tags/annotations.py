"""The clean-up of raw tag annotations that retrieval trains on: which are kept, and what each tag becomes.

The steps are those by which the MSD500 annotations were made (Won et al. 2021, arXiv 2010.16030), in this order; each
can be switched off and says what it took away. The result is a table of song, original tag, cleaned tag, category, score.
"""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from orpheus.base.files import atomic
from orpheus.data.tags.database import TagDatabase
from orpheus.data.tags.files import open_tags
from orpheus.data.tags.lemmas import lemma
from orpheus.data.tags.spelling import lemma_key, spelling_words
from orpheus.errors import ConfigError, DataError

COLUMNS = ("song_id", "original_tag", "cleaned_tag", "tag_category", "score")
SUFFIXES = ("music", "song", "tag")


class Annotation(NamedTuple):
    """One line of the table. `cleaned` and `category` are empty where nothing is known; `score` is 0 to 100."""

    song: str
    tag: str
    cleaned: str
    category: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What to do, in the order of the fields.

    Attributes:
        songs: Only these songs; None for all.
        min_score: Annotations with a smaller score are dropped; 0 for none.
        max_tags: Songs that then have more tags are dropped with all of them; 0 for no limit.
        normalise: Case, punctuation and spacing do not matter, "&", "n" and "and" are equal, and so are decades.
        suffixes: Last words that are taken away, in singular or plural, as long as another word is left.
        lemmas: Singular and plural are equal, word by word.
        min_songs: Groups of tags on fewer songs are dropped; 0 or 1 for none.

    Raises:
        ConfigError: a number below 0, or a suffix of several words.
    """

    songs: Collection[str] | None = None
    min_score: float = 50
    max_tags: int = 20
    normalise: bool = True
    suffixes: tuple[str, ...] = SUFFIXES
    lemmas: bool = True
    min_songs: int = 100

    def __post_init__(self):
        for name in ("min_score", "max_tags", "min_songs"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 0, which switches the step off")
        if wrong := [word for word in self.suffixes if len(word.split()) != 1]:
            raise ConfigError(f"suffixes: {wrong[0]!r} must be a single word")

    def key(self, tag: str) -> str:
        """What is equal for the tags of one group."""
        words = spelling_words(tag) if self.normalise else tag.split()
        if self.suffixes:
            dropped = {lemma(word.casefold()) for word in self.suffixes}
            while len(words) > 1 and lemma(words[-1].casefold()) in dropped:
                words = words[:-1]
        if self.lemmas:
            words = [lemma(word) for word in words]
        return lemma_key(words, tag) if self.normalise else " ".join(words) or tag


@dataclass(frozen=True)
class Count:
    """What there was after a step: songs, different tags (groups, from the grouping on) and annotations."""

    step: str
    songs: int
    tags: int
    annotations: int


@dataclass(frozen=True)
class Cleaned:
    """The result of `clean`.

    Attributes:
        rows: Annotations, songs in the source's order, the heaviest first.
        counts: The source, and what each step left; steps that are off are absent.
        groups: Cleaned tag → its original tags with their songs, most frequent first; most frequent group first.
    """

    rows: list[Annotation]
    counts: list[Count]
    groups: dict[str, dict[str, int]]


class _Counter:
    """Songs, tags and annotations that pass a point."""

    def __init__(self, step: str):
        self.step, self.songs, self.annotations = step, 0, 0
        self.tags: set[str] = set()

    def add(self, rows: list[Annotation]) -> list[Annotation]:
        self.songs += bool(rows)
        self.tags.update(row.tag for row in rows)
        self.annotations += len(rows)
        return rows

    def count(self) -> Count:
        return Count(self.step, self.songs, len(self.tags), self.annotations)


def clean(annotations: Iterable[Annotation], steps: Steps, *, categories: Mapping[str, str] | None = None) -> Cleaned:
    """Clean annotations.

    A group of tags is named after its member with most songs, as that is written in the source (ties by tag). Songs keep
    one line per original tag, so that a song may have the same cleaned tag twice.

    Args:
        annotations: The lines of one song together; read one by one, so that only what the first three steps keep is
            held in memory. Their `cleaned` is ignored.
        steps: What to do.
        categories: Tag → category for tags that have none, any spelling.

    Raises:
        DataError: nothing is left; the message says after which step.
    """
    points = {"source": _Counter("source")}
    if steps.songs is not None:
        points["songs"] = _Counter("songs of the list")
    if steps.min_score > 0:
        points["score"] = _Counter(f"score of {steps.min_score:g} or more")
    if steps.max_tags > 0:
        points["tags"] = _Counter(f"songs with {steps.max_tags} tags or fewer")
    kept: list[Annotation] = []
    for song, lines in groupby(annotations, key=lambda row: row.song):
        rows = points["source"].add(list(lines))
        if steps.songs is not None:
            rows = points["songs"].add(rows if song in steps.songs else [])
        if "score" in points:
            rows = points["score"].add([row for row in rows if row.score >= steps.min_score])
        if "tags" in points:
            rows = points["tags"].add(rows if len({row.tag for row in rows}) <= steps.max_tags else [])
        kept += rows
    counts = [point.count() for point in points.values()]
    _check_left(kept, counts)

    keys = {tag: steps.key(tag) for tag in sorted({row.tag for row in kept})}
    songs_of_tag: dict[str, set[str]] = defaultdict(set)
    songs_of_key: dict[str, set[str]] = defaultdict(set)
    for row in kept:
        songs_of_tag[row.tag].add(row.song)
        songs_of_key[keys[row.tag]].add(row.song)
    members: dict[str, dict[str, int]] = defaultdict(dict)
    for tag, holders in sorted(songs_of_tag.items(), key=lambda item: (-len(item[1]), item[0])):
        members[keys[tag]][tag] = len(holders)
    names = {key: next(iter(tags)) for key, tags in members.items()}
    for step, partial in _one_by_one(steps):
        together = keys.values() if partial == steps else map(partial.key, keys)
        counts.append(Count(step, counts[-1].songs, len(set(together)), len(kept)))
    if steps.min_songs > 1:
        names = {key: name for key, name in names.items() if len(songs_of_key[key]) >= steps.min_songs}
        kept = [row for row in kept if keys[row.tag] in names]
        songs = len({row.song for row in kept})
        counts.append(Count(f"groups on {steps.min_songs} songs or more", songs, len(names), len(kept)))
        _check_left(kept, counts)

    category = _categories(kept, keys, {steps.key(tag): name for tag, name in (categories or {}).items()})
    rows = [
        Annotation(row.song, row.tag, names[keys[row.tag]], category[keys[row.tag]], row.score)
        for _, lines in groupby(kept, key=lambda row: row.song)
        for row in sorted(lines, key=lambda row: (-row.score, row.tag))
    ]
    order = sorted(names, key=lambda key: (-len(songs_of_key[key]), names[key]))
    return Cleaned(rows, counts, {names[key]: members[key] for key in order})


def _one_by_one(steps: Steps) -> list[tuple[str, Steps]]:
    """The steps that bring tags together, as far as they are on: each with those before it."""
    names = {
        "normalise": "spellings normalised",
        "suffixes": f"suffixes {', '.join(steps.suffixes)} removed",
        "lemmas": "grouped by lemma",
    }
    on = [name for name in names if getattr(steps, name)]
    off: dict[str, Any] = {"normalise": False, "suffixes": (), "lemmas": False}
    return [
        (names[name], replace(steps, **{later: off[later] for later in on[place + 1 :]}))
        for place, name in enumerate(on)
    ]


def _check_left(rows: list[Annotation], counts: list[Count]) -> None:
    if not rows:
        step = next((count.step for count in counts if not count.annotations), "source")
        raise DataError(f"no annotation is left after {step!r}, of {counts[0].annotations}; loosen that step")


def _categories(rows: list[Annotation], keys: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Key → the category that most of the group's lines have (ties by name), else the given one."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.category:
            votes[keys[row.tag]][row.category] += 1
    found = {key: given.get(key, "") for key in keys.values()}
    return found | {key: min(each, key=lambda name: (-each[name], name)) for key, each in votes.items()}


def read(paths: list[str | os.PathLike]) -> Iterator[Annotation]:
    """Annotations of a Last.fm database, of one or several MTG-Jamendo tag files, or of a table as `write` makes it.

    The prefix of ``genre---rock`` is its category; tags of such files weigh 100.

    Raises:
        DataError: missing, malformed, or several sources that are not tag files.
    """
    if len(paths) == 1 and is_table(paths[0]):
        yield from read_table(paths[0])
        return
    source = open_tags(paths, prefix=True)
    if isinstance(source, TagDatabase):
        yield from (Annotation(song, tag, "", "", score) for song, tag, score in source.rows())
        return
    for song, tag, score in source.rows():
        category, _, name = tag.rpartition("---")
        yield Annotation(song, name, "", category, score)


def is_table(path: str | os.PathLike) -> bool:
    """Whether a file starts like a table of annotations: its header, or a line of five fields that ends in a number."""
    try:
        with open(path, "rb") as file:
            first = file.readline(10_000)
    except OSError:
        return False
    fields = first.decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    return tuple(fields) == COLUMNS or (len(fields) == len(COLUMNS) and _score(fields[-1]) is not None)


def read_table(path: str | os.PathLike) -> list[Annotation]:
    """Read a table of annotations, with or without its header; the lines of a song are brought together.

    Raises:
        DataError: the file is missing, empty, or a line is malformed (its number is given).
    """
    songs: dict[str, list[Annotation]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                fields = line.rstrip("\r\n").split("\t")
                if number == 1 and tuple(fields) == COLUMNS:
                    continue
                score = _score(fields[-1])
                if len(fields) != len(COLUMNS) or not fields[0] or not fields[1] or score is None:
                    raise DataError(
                        f"{path}:{number}: expected {' '.join(COLUMNS)}, separated by tabs, score a number from 0; "
                        f"found {line.strip()[:60]!r}"
                    )
                song, tag, cleaned, category = fields[:4]
                songs.setdefault(song, []).append(Annotation(song, tag, cleaned, category, score))
    except FileNotFoundError:
        raise DataError(f"{path}: no such table of annotations") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    if not songs:
        raise DataError(f"{path}: holds no annotation")
    return [row for rows in songs.values() for row in rows]


def _score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return score if 0 <= score < math.inf else None


def write(path: str | os.PathLike, rows: Iterable[Annotation]) -> None:
    """Write the table with its header, atomically. Tabs and line breaks in tags, which it cannot hold, become spaces."""
    with atomic(path) as file:
        file.write("\t".join(COLUMNS) + "\n")
        for row in rows:
            fields = (" ".join(re.split(r"[\t\r\n]+", field)) for field in row[:4])
            file.write("\t".join(fields) + f"\t{row.score:g}\n")


def cleaned_tags(rows: Iterable[Annotation], *, min_score: float = 0) -> dict[str, list[str]]:
    """Song → its different cleaned tags (the original one where there is none), heaviest first, then by tag."""
    best: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.score >= min_score:
            tags, name = best.setdefault(row.song, {}), row.cleaned or row.tag
            tags[name] = max(row.score, tags.get(name, 0))
    return {song: sorted(tags, key=lambda tag: (-tags[tag], tag)) for song, tags in best.items()}
