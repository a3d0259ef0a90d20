"""User × item listening counts: reading, filtering, and cold-start splits that hold out whole items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from orpheus.base import csv_files
from orpheus.errors import ConfigError, DataError

_LEAST, _MOST = 1e-30, 1e30  # counts that float32 holds, and sums of them


@dataclass(frozen=True, eq=False)
class Interactions:
    """How often users listened to items.

    Args:
        counts: CSR (users, items), values > 0 where stored.
        users: Ids of the rows.
        items: Ids of the columns.
    """

    counts: scipy.sparse.csr_matrix
    users: tuple[str, ...]
    items: tuple[str, ...]

    def __post_init__(self):
        if self.counts.shape != (len(self.users), len(self.items)):
            raise DataError(
                f"interactions: counts of shape {self.counts.shape} "
                f"for {len(self.users)} users and {len(self.items)} items"
            )

    @classmethod
    def from_triples(cls, triples: Iterable[tuple[str, str, float]]) -> "Interactions":
        """From (user, item, count); repeated pairs add up; ids keep the order of their first appearance."""
        users: dict[str, int] = {}
        items: dict[str, int] = {}
        rows, columns, values = [], [], []
        for user, item, count in triples:
            rows.append(users.setdefault(user, len(users)))
            columns.append(items.setdefault(item, len(items)))
            values.append(count)
        shape = (len(users), len(items))
        counts = scipy.sparse.coo_matrix((np.asarray(values, np.float32), (rows, columns)), shape=shape)
        return cls(counts.tocsr(), tuple(users), tuple(items))

    @property
    def listeners(self) -> np.ndarray:
        """Number of different users of each item, int64 (items,)."""
        return np.bincount(self.counts.indices, minlength=len(self.items))

    def select(self, *, users: Sequence[str] | None = None, items: Sequence[str] | None = None) -> "Interactions":
        """Rows and columns in the order asked for.

        Raises:
            DataError: an id is unknown (named).
        """
        counts = self.counts
        users = self.users if users is None else tuple(users)
        items = self.items if items is None else tuple(items)
        if users != self.users:
            counts = counts[_positions(users, self.users, "user")]
        if items != self.items:
            counts = counts[:, _positions(items, self.items, "item")]
        return Interactions(counts.tocsr(), users, items)

    def filter(self, *, min_listeners: int = 1, min_items: int = 1) -> "Interactions":
        """Drop items with fewer listeners and users with fewer items, until both hold.

        Raises:
            DataError: nothing is left.
        """
        kept = self
        while True:
            columns = np.flatnonzero(kept.listeners >= min_listeners)
            rows = np.flatnonzero(np.diff(kept.counts[:, columns].indptr) >= min_items)
            if not len(rows) or not len(columns):
                raise DataError(
                    f"interactions: nobody is left with min_listeners={min_listeners}, min_items={min_items} "
                    f"({len(self.users)} users, {len(self.items)} items before); lower them"
                )
            if len(rows) == len(kept.users) and len(columns) == len(kept.items):
                return kept
            kept = Interactions(
                kept.counts[rows][:, columns].tocsr(),
                tuple(kept.users[row] for row in rows),
                tuple(kept.items[column] for column in columns),
            )

    def cold_start_split(
        self, share: float = 0.1, *, seed: int = 0, groups: Mapping[str, str] | None = None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Assign items into those to learn from and those held out completely.

        Items are ordered by their number of listeners and cut into as many layers as items are held out; one of each
        layer is drawn. So the held-out items are as popular as the rest, and have listeners.

        Args:
            share: SplitRecords held out, between 0 and 1.
            seed: Of the draw.
            groups: Item → group (the artist of a track); a group is held out as a whole. None: each item alone.

        Returns:
            (kept, held out) item ids, each in the order of `items`. Items without listeners are always kept.

        Raises:
            DataError: fewer than two groups with listeners, or an item without a group.
        """
        if not 0 < share < 1:
            raise ConfigError(f"share={share}: expected a share between 0 and 1")
        lacking = [item for item in self.items if groups is not None and item not in groups]
        if lacking:
            raise DataError(f"interactions: item {lacking[0]!r} has no group ({len(lacking)} such items)")
        listeners: dict[str, int] = {}
        for item, number in zip(self.items, self.listeners.tolist(), strict=True):
            if number:
                group = item if groups is None else groups[item]
                listeners[group] = listeners.get(group, 0) + number
        if len(listeners) < 2:
            raise DataError(f"interactions: {len(listeners)} item(s) with listeners cannot be split; use 2 or more")
        draw = np.random.default_rng(seed)
        names = list(listeners)
        # The shuffle breaks ties of popularity by seed instead of by file order.
        order = sorted(draw.permutation(len(names)).tolist(), key=lambda n: -listeners[names[n]])
        count = min(max(1, round(share * len(names))), len(names) - 1)
        held = {names[layer[draw.integers(len(layer))]] for layer in np.array_split(np.asarray(order), count)}
        is_held = [(item if groups is None else groups[item]) in held for item in self.items]
        return (
            tuple(item for item, out in zip(self.items, is_held, strict=True) if not out),
            tuple(item for item, out in zip(self.items, is_held, strict=True) if out),
        )


def read(path: Path, *, columns: tuple[int, int, int] = (0, 1, 2), header: bool | None = None) -> Interactions:
    """Read counts from a text file of user, item, count; comma-separated where the name ends in ``.csv``, else by tabs.

    Args:
        path: UTF-8 file.
        columns: Positions of user, item and count.
        header: Whether the first line names the columns. None: it does when its count is no number.

    Raises:
        DataError: missing, too few columns, or a count that is not a positive finite number (line named).
    """
    return Interactions.from_triples(_triples(Path(path), columns, header))


def _triples(path: Path, columns: tuple[int, int, int], header: bool | None):
    is_csv, any_row = path.suffix == ".csv", False  # quotes are ordinary characters in tab-separated files
    for number, row in csv_files.iterate(path, delimiter="," if is_csv else "\t", quotes=is_csv):
        if len(row) <= max(columns):
            raise DataError(f"{path}:{number}: {len(row)} columns, expected at least {max(columns) + 1}")
        user, item, text = (row[column] for column in columns)
        count = _number(text)
        if number == 1 and (header or (header is None and count is None)):
            continue
        if count is None or not _LEAST <= count <= _MOST:
            raise DataError(
                f"{path}:{number}: count {text!r} of user {user!r}, item {item!r}; expected a number > 0, at most 1e30"
            )
        any_row = True
        yield user, item, count
    if not any_row:
        raise DataError(f"{path}: no counts")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _positions(wanted: Sequence[str], known: Sequence[str], kind: str) -> np.ndarray:
    position = {name: number for number, name in enumerate(known)}
    missing = [name for name in wanted if name not in position]
    if missing:
        raise DataError(f"interactions: no {kind} {missing[0]!r} ({len(missing)} of {len(wanted)} are unknown)")
    return np.fromiter((position[name] for name in wanted), dtype=np.int64, count=len(wanted))
