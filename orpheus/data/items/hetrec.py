"""The HetRec 2011 Last.fm dataset (Cantador et al. 2011): listening counts and tag assignments of 1,892 users."""

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orpheus.data.items import layout, tables
from orpheus.data.items.interactions import Interactions
from orpheus.errors import ConfigError, DataError


class Hetrec(NamedTuple):
    """Counts with artists as items; artists' names; and how often each tag was given to each artist."""

    interactions: Interactions
    names: dict[str, str]
    tags: dict[str, collections.Counter]


def read(source: Path) -> Hetrec:
    """Read user_artists.dat, artists.dat, tags.dat and user_taggedartists.dat.

    Raises:
        DataError: a file is missing, a line has too few columns, a weight is no positive number (line named).
    """
    source = Path(source)
    names = {row[0]: row[1] for _, row in _rows(source / "artists.dat", 2)}
    tags: dict[str, collections.Counter] = {}
    for _, artist, tag in assignments(source):
        tags.setdefault(artist, collections.Counter())[tag] += 1
    return Hetrec(Interactions.from_triples(_counts(source / "user_artists.dat")), names, tags)


def assignments(source: Path) -> Iterator[tuple[str, str, str]]:
    """Who gave which artist which tag, in the order of user_taggedartists.dat: (user, artist, tag's name).

    Raises:
        DataError: as `read`.
    """
    source = Path(source)
    tag_names = {row[0]: row[1].strip() for _, row in _rows(source / "tags.dat", 2)}
    path = source / "user_taggedartists.dat"
    for number, (user, artist, tag, *_) in _rows(path, 3):
        if tag not in tag_names:
            raise DataError(f"{path}:{number}: tag {tag!r} is not in tags.dat")
        if tag_names[tag]:
            yield user, artist, tag_names[tag]


def document(tags: collections.Counter) -> str:
    """Tags as one line of text, each as often as it was given.

    All tags come once, most frequent first, then those given twice, and so on: the start of a long text, which is all
    that a sequence of limited length keeps, still has every tag.
    """
    ranked = sorted(tags.items(), key=lambda entry: (-entry[1], entry[0]))
    rounds = range(ranked[0][1]) if ranked else ()
    return ", ".join(tag for number in rounds for tag, count in ranked if count > number)


def convert(
    data: Hetrec,
    folder: layout.DataFolder,
    *,
    min_listeners: int = 3,
    min_items: int = 5,
    test_share: float = 0.1,
    val_share: float = 0.1,
    classes: int = 50,
    seed: int = 0,
) -> dict[str, int]:
    """Write the dataset into a data folder: splits, counts of each set, texts, names and labels.

    Artists without tags are left out. Test artists, then val artists, are held out as a whole, over all degrees of
    popularity. Users who know no artist to learn from are left out too.

    Args:
        data: Of `read`.
        folder: Where to; its root is created.
        min_listeners: Artists with fewer are dropped.
        min_items: Users with fewer artists are dropped.
        test_share: SplitRecords of the artists held out for the test, between 0 and 1.
        val_share: SplitRecords of the others that is the val set.
        classes: The tags of most artists become labels, for class targets; at least 1.
        seed: Of both draws.

    Returns:
        Numbers for a report: users, items of each set, counts, dropped artists and users.
    """
    if classes < 1:
        raise ConfigError(f"classes={classes}: expected at least 1")
    whole = data.interactions
    tagged = [artist for artist in whole.items if data.tags.get(artist)]
    if not tagged:
        raise DataError("user_taggedartists.dat: no artist that somebody listened to has a tag")
    kept = whole.select(items=tagged).filter(min_listeners=min_listeners, min_items=min_items)
    learned, test = kept.cold_start_split(test_share, seed=seed)
    train, val = kept.select(items=learned).cold_start_split(val_share, seed=seed + 1)
    active = kept.select(items=train).filter().users
    kept = kept.select(users=active)

    sets = {"train": train, "val": val, "test": test}
    for subset, items in sets.items():
        layout.write_ids(folder.items_index(subset), items)
        tables.save_matrix(folder.matrix(subset), kept.select(items=items).counts.T.tocsr())
    layout.write_ids(folder.users_index(), kept.users)
    popular = collections.Counter(tag for item in learned for tag in data.tags[item])
    labels = sorted(popular, key=lambda tag: (-popular[tag], tag))[:classes]
    layout.write_pairs(folder.texts_index(), {item: document(data.tags[item]) for item in kept.items})
    layout.write_pairs(folder.names(), {item: data.names.get(item, item) for item in kept.items})
    layout.write_pairs(
        folder.items_labels(),
        {item: "\t".join(label for label in labels if label in data.tags[item]) for item in kept.items},
    )
    layout.write_ids(folder.labels(), labels)
    return {
        "users": len(kept.users),
        **{subset: len(items) for subset, items in sets.items()},
        "counts": kept.counts.nnz,
        "dropped_items": len(whole.items) - len(kept.items),
        "dropped_users": len(whole.users) - len(kept.users),
    }


def _counts(path: Path) -> Iterator[tuple[str, str, float]]:
    for number, (user, artist, text, *_) in _rows(path, 3):
        if not text.isdecimal() or int(text) == 0:
            raise DataError(f"{path}:{number}: weight {text!r}; expected a whole number > 0")
        yield user, artist, int(text)


def _rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) after the header. Lines that are not UTF-8 are Latin-1, as some of tags.dat are."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    for number, line in enumerate(lines[1:], 2):
        line = line.rstrip(b"\r")
        if not line:
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        fields = text.split("\t")
        if len(fields) < columns:
            raise DataError(f"{path}:{number}: {len(fields)} columns, expected at least {columns}")
        yield number, fields
