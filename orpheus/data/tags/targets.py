"""Tag strings to class columns. Top tags, merged tags and clusters of tags are all a `TagTargets`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from orpheus.base import resources, schema
from orpheus.errors import ConfigError, DataError


class _ClassesFile(schema.Schema):
    """classes.json."""

    kind: Literal["tags", "clusters"]
    classes: list[str]
    columns: dict[str, int]


@dataclass(frozen=True)
class TagTargets:
    """Which classes there are, and which tags make a track positive for each.

    Attributes:
        classes: Name of each output column, in column order.
        columns: Tag → column, many to one.
        kind: ``"tags"`` or ``"clusters"``, for display.
    """

    classes: tuple[str, ...]
    columns: Mapping[str, int]
    kind: str = "tags"

    def __post_init__(self):
        if not self.classes:
            raise ConfigError("no class left to train on: check tags.top, tags.with, tags.without and the filter")
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for name, count in Counter(self.classes).items() if count > 1)
            raise ConfigError(f"class {twice!r} occurs twice: names of classes must differ")
        wrong = [tag for tag, column in self.columns.items() if not 0 <= column < len(self.classes)]
        if wrong:
            raise DataError(f"tag {wrong[0]!r} points to column {self.columns[wrong[0]]} of {len(self.classes)}")

    def multi_hot(self, tags: Iterable[str]) -> np.ndarray:
        """(classes,) float32 with 1 for every class one of `tags` belongs to: the reference for the graph version."""
        row = np.zeros(len(self.classes), np.float32)
        row[[self.columns[tag] for tag in tags if tag in self.columns]] = 1
        return row

    def matrix(self, tag_lists: Sequence[Iterable[str]]) -> np.ndarray:
        """(tracks, classes) float32, one `multi_hot` per track."""
        rows = [self.multi_hot(tags) for tags in tag_lists]
        return np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def any(self, tags: Iterable[str]) -> bool:
        """Whether a track with `tags` is positive for any class."""
        return any(tag in self.columns for tag in tags)

    def to_json(self) -> dict:
        """The content of classes.json."""
        return {"kind": self.kind, "classes": list(self.classes), "columns": dict(self.columns)}

    @classmethod
    def from_json(cls, values: dict, source: str) -> "TagTargets":
        """The inverse of `to_json`."""
        found = schema.check(_ClassesFile, values, source)
        try:
            return cls(tuple(found.classes), found.columns, found.kind)
        except ConfigError as error:
            raise DataError(f"{source}: {error}") from None


def popularity(tag_lists: Iterable[Iterable[str]]) -> list[tuple[str, int]]:
    """(tag, number of tracks), most frequent first, ties in alphabetical order."""
    counts = Counter(tag for tags in tag_lists for tag in set(tags))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def choose(
    popular: Sequence[tuple[str, int]],
    *,
    top: int | None = None,
    with_: Sequence[str] = (),
    without: Sequence[str] = (),
    removed: Sequence[str] = (),
    merge: Sequence[Sequence[str]] = (),
) -> TagTargets:
    """The targets of the config's section tags.

    Args:
        popular: (tag, count) by falling count: of a tag database, or of the records.
        top: How many of the most popular tags; None for all.
        with_: Tags added behind them.
        without: Tags taken away, after `with_` and from every group of `merge`. The top is not refilled, as in the
            reference, so 100 tags less 20 of these are 80 classes.
        removed: As `without`, the tags of a filter, which need not be there.
        merge: Groups of tags that count as one class as soon as one of them is chosen. The class is named after the
            first of the group and is where the most popular one would be.

    Returns:
        Targets whose columns are in order of popularity, then of `with_`.

    Raises:
        ConfigError: a tag of `with_`, `without` or `merge` that no track has, a group of one, nothing left.
    """
    known = [tag for tag, _ in popular]
    known_set = set(known)
    for key, tags in (("with", with_), ("without", without)):
        for tag in tags:
            if tag not in known_set:
                raise ConfigError(f"tags.{key}: no track has the tag {tag!r}{_near(tag, known)}")
    dropped = {*without, *removed}
    chosen = [tag for tag in dict.fromkeys([*known[:top], *with_]) if tag not in dropped]
    first: dict[str, str] = {}
    for group in merge:
        if len(group) < 2:
            raise ConfigError(f"tags.merge: {list(group)} is no group, give at least two tags")
        for tag in group:
            if tag not in known_set:
                raise ConfigError(f"tags.merge: no track has the tag {tag!r}{_near(tag, known)}")
            if tag in first:
                raise ConfigError(f"tags.merge: {tag!r} occurs twice; a tag counts for one class")
            first[tag] = next((name for name in group if name not in dropped), tag)
    first = {tag: name for tag, name in first.items() if tag not in dropped}
    names = list(dict.fromkeys(first.get(tag, tag) for tag in chosen))
    column = {name: index for index, name in enumerate(names)}
    columns = {tag: column[name] for tag, name in first.items() if name in column}
    columns.update({tag: column[first.get(tag, tag)] for tag in chosen})
    return TagTargets(tuple(names), dict(sorted(columns.items(), key=lambda item: (item[1], item[0]))))


def read_filter(folder: str | Path) -> list[str]:
    """The tags of FOLDER/tags_remove.txt (or of the file itself), one per line; blank lines are ignored."""
    path = resources.find(folder)
    if path.is_dir():
        path = resources.find(Path(folder) / "tags_remove.txt")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such filter; --filter-path is a folder that holds tags_remove.txt") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    tags = [line.strip() for line in lines if line.strip()]
    if not tags:
        raise DataError(f"{path}: names no tag; write one per line or leave --filter out")
    return tags


def _near(tag: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(tag, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
