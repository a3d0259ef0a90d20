"""Assigning whole groups (artists) to splits so that every tag is in every split: arrays in, arrays out.

A start by iterative stratification, then moves of single groups (tabu search) towards a least number of tracks of each
tag in each split. Every search is bounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """What is to be assigned.

    Attributes:
        counts: (groups, tags) int, tracks of each group that have each tag.
        sizes: (groups,) int, tracks of each group.
        shares: (splits,) of the tracks, summing to 1.
        tolerance: How far a split may be from its share, as a share of all tracks.
    """

    counts: np.ndarray
    sizes: np.ndarray
    shares: np.ndarray
    tolerance: float

    @property
    def splits(self) -> int:
        """Number of splits."""
        return len(self.shares)

    def table(self, split: np.ndarray) -> np.ndarray:
        """(splits, tags) tracks of each tag in each split."""
        return np.stack([self.counts[split == p].sum(axis=0) for p in range(self.splits)])

    def split_sizes(self, split: np.ndarray) -> np.ndarray:
        """(splits,) tracks of each split."""
        return np.bincount(split, weights=self.sizes, minlength=self.splits).astype(np.int64)

    def outside(self, split_sizes: np.ndarray) -> np.ndarray:
        """Tracks by which each split is beyond the tolerance; shape as given."""
        total = self.sizes.sum()
        return np.maximum(np.abs(split_sizes - self.shares * total) - self.tolerance * total, 0)

    def penalty(self, split: np.ndarray, least: int) -> float:
        """Tracks that are missing for `least` of each tag in each split, and tracks beyond the tolerance; 0 if it holds."""
        missing = np.maximum(least - self.table(split), 0).sum()
        return float(missing + self.outside(self.split_sizes(split)).sum())


@dataclass(frozen=True)
class Search:
    """How a search went.

    Attributes:
        split: (groups,) of the best found.
        penalty: 0 where it is a solution.
        starts: Starts used.
        moves: Moves made in all starts.
    """

    split: np.ndarray
    penalty: float
    starts: int
    moves: int


def upper_bounds(counts: np.ndarray, splits: int) -> np.ndarray:
    """The least number of tracks in every split that no assignment can exceed, for each tag by itself.

    At least splits − r splits hold none of a tag's r largest groups, so the smallest of them has at most a
    (splits − r)-th of the tag's other tracks.

    Args:
        counts: (groups, tags).
        splits: Number of splits.

    Returns:
        (tags,) int64.
    """
    largest = -np.sort(-counts, axis=0)[: splits - 1]
    rest = counts.sum(axis=0)
    bounds = rest // splits
    for r in range(1, splits):
        rest = rest - (largest[r - 1] if r <= len(largest) else 0)
        bounds = np.minimum(bounds, rest // (splits - r))
    return bounds.astype(np.int64)


def random_split(problem: Problem, rng: np.random.Generator) -> np.ndarray:
    """Groups in random order, cut where the shares of the tracks are reached."""
    order = rng.permutation(len(problem.sizes))
    middle = np.cumsum(problem.sizes[order]) - problem.sizes[order] / 2
    split = np.empty(len(order), np.int64)
    split[order] = np.searchsorted(np.cumsum(problem.shares)[:-1] * problem.sizes.sum(), middle, side="right")
    return split


def stratified(problem: Problem, least: int, rng: np.random.Generator) -> np.ndarray:
    """Iterative stratification of groups.

    Of the tags that are not assigned yet, the one with the fewest tracks left is assigned next: each of its groups, the largest
    first, goes where most tracks of that tag are wanted, then where most tracks are. A split wants its share of every
    tag, or `least` tracks where that is more.

    Args:
        problem: What is assigned.
        least: Of each tag in each split.
        rng: Breaks ties.

    Returns:
        (groups,) split of each.

    References:
        Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", 2011, with groups for examples.
    """
    counts, shares = problem.counts, problem.shares
    totals = counts.sum(axis=0)
    wanted = np.maximum(shares[:, None] * totals, least)  # (splits, tags)
    # What the small splits get above their share, the large ones give.
    largest = shares.argmax()
    wanted[largest] = totals - (wanted.sum(axis=0) - wanted[largest])
    room = shares * problem.sizes.sum()
    split = np.full(len(counts), -1)
    left = totals.astype(np.int64)
    while (left > 0).any():
        tag = int(np.where(left > 0, left, left.max() + 1).argmin())
        groups = np.flatnonzero((split < 0) & (counts[:, tag] > 0))
        for group in groups[np.lexsort((rng.random(len(groups)), -counts[groups, tag]))]:
            best = np.lexsort((rng.random(problem.splits), -room, -wanted[:, tag]))[0]
            split[group] = best
            wanted[best] -= counts[group]
            room[best] -= problem.sizes[group]
            left -= counts[group]
    for group in np.flatnonzero(split < 0):  # without any of the tags
        split[group] = room.argmax()
        room[split[group]] -= problem.sizes[group]
    return split


def improve(
    problem: Problem, split: np.ndarray, least: int, *, moves: int, rng: np.random.Generator, candidates: int = 400
) -> tuple[np.ndarray, float, int]:
    """Move single groups until every tag has `least` tracks in every split, or the moves are used up.

    Each time a lack is drawn (a tag in a split, or a split outside its tolerance) and of the groups that would lessen it the
    best is moved, also where that makes things worse elsewhere; a group that was moved rests for a while.

    Args:
        problem: What is assigned.
        split: (groups,) start.
        least: Of each tag in each split.
        moves: At most.
        rng: Draws lacks, and groups where there are more than `candidates`.
        candidates: Groups compared for one move.

    Returns:
        The best assignment, its penalty and the moves made.
    """
    split = split.copy()
    counts, sizes = problem.counts, problem.sizes
    table, totals = problem.table(split), problem.split_sizes(split)
    rests_until = np.zeros(len(split), np.int64)
    penalty = problem.penalty(split, least)
    best, best_penalty = split.copy(), penalty
    done = 0
    while best_penalty > 0 and done < moves:
        done += 1
        lacks = np.argwhere(table < least)
        outside = problem.outside(totals)
        draw = int(rng.integers(len(lacks) + (outside > 0).sum()))
        if draw < len(lacks):
            to, tag = lacks[draw]
            useful = (split != to) & (counts[:, tag] > 0)
        else:
            p = np.flatnonzero(outside > 0)[draw - len(lacks)]
            high = totals[p] > problem.shares[p] * sizes.sum()
            to = (totals / sizes.sum() - problem.shares).argmin() if high else p
            useful = (split == p) if high else (split != to)
        groups = np.flatnonzero(useful & (rests_until <= done))
        if not len(groups):
            continue
        if len(groups) > candidates:
            groups = rng.choice(groups, candidates, replace=False)
        changes = _changes(problem, groups, split, int(to), table, totals, least)
        ties = groups[changes <= changes.min() + 1e-9]
        group = int(rng.choice(ties))
        penalty += float(changes.min())
        table[split[group]] -= counts[group]
        table[to] += counts[group]
        totals[split[group]] -= sizes[group]
        totals[to] += sizes[group]
        split[group] = to
        rests_until[group] = done + 5 + rng.integers(10)
        if penalty < best_penalty - 1e-9:
            best, best_penalty = split.copy(), problem.penalty(split, least)
    return best, best_penalty, done


def _changes(
    problem: Problem, groups: np.ndarray, split: np.ndarray, to: int, table: np.ndarray, totals: np.ndarray, least: int
) -> np.ndarray:
    """(groups,) by how much the penalty changes if each of them moves to a split."""
    counts, giver = problem.counts[groups], split[groups]

    def missing(values: np.ndarray) -> np.ndarray:
        return np.maximum(least - values, 0).sum(axis=-1)

    change = missing(table[to] + counts) - missing(table[to])
    change = change + missing(table[giver] - counts) - missing(table)[giver]
    after = np.repeat(totals[None, :], len(groups), axis=0)
    rows = np.arange(len(groups))
    after[rows, giver] -= problem.sizes[groups]
    after[:, to] += problem.sizes[groups]
    return change + problem.outside(after).sum(axis=1) - problem.outside(totals).sum()


def search(
    problem: Problem,
    least: int,
    *,
    seed: Sequence[int],
    starts: int,
    moves: int,
    on_start: Callable[[], object] = lambda: None,
) -> Search:
    """An assignment with `least` tracks of each tag in each split, or the nearest to it that `starts` searches find.

    Args:
        problem: What is assigned.
        least: Of each tag in each split.
        seed: Of everything random.
        starts: Stratified starts at most.
        moves: Of each start at most.
        on_start: Called at each start.
    """
    found: tuple[np.ndarray, float] | None = None
    made = 0
    for start in range(starts):
        on_start()
        rng = np.random.default_rng([*seed, least, start])
        split, penalty, moved = improve(problem, stratified(problem, least, rng), least, moves=moves, rng=rng)
        made += moved
        if found is None or penalty < found[1]:
            found = split, penalty
        if penalty <= 0:
            break
    assert found is not None
    return Search(*found, start + 1, made)
