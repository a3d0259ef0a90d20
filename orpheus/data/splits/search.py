"""Splits into training, validation and test by artist in which every tag has enough tracks everywhere."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orpheus.base import schema
from orpheus.base.files import read_json, write_json
from orpheus.data.splits import published, stratify
from orpheus.data.tags.targets import popularity
from orpheus.errors import ConfigError, DataError

log = logging.getLogger(__name__)
SPLITS = ("train", "valid", "test")
FORMAT, VERSION = "orpheus-split", 1


class _SplitFile(schema.Schema):
    """Ids of each split, and tag → tracks in each split."""

    train: list[str]
    valid: list[str]
    test: list[str]
    made: dict[str, Any] | None = None
    tags: dict[str, list[int]] | list[str] | None = None


@dataclass(frozen=True)
class FoundSplit:
    """A split, and how hard it was to find.

    Attributes:
        splits: train, valid and test → track ids, sorted.
        tags: The tags that were asked for, most popular first.
        table: (3, tags) int, tracks of each tag in each split.
        asked: Least number of tracks of each tag in each split that was asked for.
        least: What this split has: the smallest entry of `table`. Below `asked` where no such split was found.
        bound: No split has more, whatever the shares: shown by the artists of `bound_tag` alone.
        bound_tag: The tag with the smallest bound.
        starts: Stratified starts that were needed.
        moves: Single artists that were moved after them.
        random: The least number of tracks in each of some random splits by artist, for comparison.
        groups: Number of artists; a track without one counts as one.
        without_group: Tracks without an artist.
        left_out: Tracks without any of the tags.
    """

    splits: dict[str, tuple[str, ...]]
    tags: tuple[str, ...]
    table: np.ndarray
    asked: int
    bound: int
    bound_tag: str
    starts: int
    moves: int
    random: tuple[int, ...]
    groups: int
    without_group: int
    left_out: int

    @property
    def least(self) -> int:
        """The smallest number of tracks of any tag in any split."""
        return int(self.table.min())


def find(
    tracks: Mapping[str, Sequence[str]],
    groups: Mapping[str, str],
    *,
    top: int,
    min_tracks: int,
    shares: Sequence[float] = (70, 15, 15),
    tolerance: float = 2.0,
    seed: int = 0,
    starts: int = 5,
    moves: int = 3000,
    random_splits: int = 100,
    on_start: Callable[[], object] = lambda: None,
) -> FoundSplit:
    """Split tracks by artist.

    Args:
        tracks: Track id → tags.
        groups: Track id → artist (or album, or whatever must not be in two splits).
        top: How many of the most popular tags, or all where there are fewer (a warning says so); tracks without any of them are left out.
        min_tracks: Least number of tracks of each tag in each split.
        shares: Of training, validation and test; any positive numbers, only their ratio counts.
        tolerance: How far a split's tracks may be from its share, in per cent of all tracks.
        seed: Same seed, same split.
        starts: Stratified starts at most, for each number of tracks that is tried.
        moves: Moves at most after each start.
        random_splits: Random splits to compare with.
        on_start: Called at each start, for a progress bar.

    Returns:
        A split with `min_tracks`; where none exists or none is found, the one with the largest number that is found, by
        bisection with the same bounds on each step.

    Raises:
        ConfigError: a setting out of range.
        DataError: no tag, fewer than three artists, or no split with these shares.
    """
    _check(top, min_tracks, shares, tolerance, starts, moves)
    counts = popularity(tracks.values())
    if not counts:
        raise DataError("no track has a tag")
    if len(counts) < top:
        log.warning("there are %d tags where the top %d were asked for: all of them are taken", len(counts), top)
    tags = tuple(tag for tag, _ in counts[:top])
    kept, names, problem = _problem(tracks, groups, tags, np.asarray(shares, float) / sum(shares), tolerance / 100)
    bounds = stratify.upper_bounds(problem.counts, len(SPLITS))
    bound = int(bounds.min())

    def search_with(least: int) -> stratify.Search:
        return stratify.search(problem, least, seed=(seed,), starts=starts, moves=moves, on_start=on_start)

    made: list[stratify.Search] = []
    if min_tracks <= bound:
        made.append(search_with(min_tracks))
    if not made or made[-1].penalty > 0:
        made += _nearest(problem, search_with, min(min_tracks - 1, bound), names)
    best = made[-1].split
    rng = np.random.default_rng([seed, 1])
    drawn = [int(problem.table(stratify.random_split(problem, rng)).min()) for _ in range(random_splits)]
    rows = np.array([names.index_of[_group(track, groups)] for track in kept])
    return FoundSplit(
        splits={
            split: tuple(track for track, at in zip(kept, best[rows].tolist(), strict=True) if at == number)
            for number, split in enumerate(SPLITS)
        },
        tags=tags,
        table=problem.table(best),
        asked=min_tracks,
        bound=bound,
        bound_tag=tags[int(bounds.argmin())],
        starts=sum(each.starts for each in made),
        moves=sum(each.moves for each in made),
        random=tuple(drawn),
        groups=len(names.names),
        without_group=sum(not groups.get(track) for track in kept),
        left_out=len(tracks) - len(kept),
    )


@dataclass(frozen=True)
class _Names:
    """Groups in order, and where each is."""

    names: tuple[str, ...]
    index_of: dict[str, int]


def _group(track: str, groups: Mapping[str, str]) -> str:
    """A key of the track's group that no other group has; a track without one is its own."""
    return f"group {groups[track]}" if groups.get(track) else f"track {track}"


def _problem(
    tracks: Mapping[str, Sequence[str]],
    groups: Mapping[str, str],
    tags: Sequence[str],
    shares: np.ndarray,
    tolerance: float,
) -> tuple[list[str], _Names, stratify.Problem]:
    """Kept track ids, their groups, and the arrays."""
    column = {tag: index for index, tag in enumerate(tags)}
    kept = sorted(track for track, each in tracks.items() if any(tag in column for tag in each))
    names = tuple(sorted({_group(track, groups) for track in kept}))
    if len(names) < len(SPLITS):
        raise DataError(f"{len(names)} artists are too few for {len(SPLITS)} splits; is the right column their name?")
    index_of = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(tags)), np.int64)
    sizes = np.zeros(len(names), np.int64)
    for track in kept:
        row = index_of[_group(track, groups)]
        sizes[row] += 1
        for tag in set(tracks[track]):
            if tag in column:
                counts[row, column[tag]] += 1
    return kept, _Names(names, index_of), stratify.Problem(counts, sizes, shares, tolerance)


def _nearest(
    problem: stratify.Problem, search_with: Callable[[int], stratify.Search], high: int, names: _Names
) -> list[stratify.Search]:
    """Searches by bisection for the largest least number up to `high`; the last one is the best."""
    best = search_with(0)
    if best.penalty > 0:
        sizes = problem.split_sizes(best.split) / problem.sizes.sum()
        biggest = int(problem.sizes.argmax())
        raise DataError(
            f"no split by artist has these shares: nearest {', '.join(f'{100 * size:.1f} %' for size in sizes)}; "
            f"{names.names[biggest]!r} alone has {100 * problem.sizes[biggest] / problem.sizes.sum():.1f} % of the "
            "tracks; raise the tolerance"
        )
    failed: list[stratify.Search] = []
    low = int(problem.table(best.split).min())
    while low < high:
        middle = (low + high + 1) // 2
        tried = search_with(middle)
        if tried.penalty > 0:
            failed.append(tried)
            high = middle - 1
        else:
            failed.append(best)
            best, low = tried, int(problem.table(tried.split).min())
    return [*failed, best]


def _check(top: int, min_tracks: int, shares: Sequence[float], tolerance: float, starts: int, moves: int) -> None:
    if top < 1 or min_tracks < 0 or starts < 1 or moves < 0:
        raise ConfigError(
            f"top={top} min_tracks={min_tracks} starts={starts} moves={moves}: top and starts must be at least 1, the "
            "others at least 0"
        )
    if len(shares) != len(SPLITS) or not all(0 < share < np.inf for share in shares):
        raise ConfigError(f"shares={list(shares)}: give three positive numbers, for training, validation and test")
    if not 0 <= tolerance <= 100:
        raise ConfigError(f"tolerance={tolerance}: must be 0 to 100 per cent")


def save(path: str | os.PathLike, found: FoundSplit, *, made: Mapping[str, Any]) -> None:
    """Write a split, atomically.

    Args:
        path: JSON file.
        found: The split.
        made: Where it comes from and how it was made.
    """
    write_json(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "made": dict(made),
            "least": found.least,
            "tags": {tag: column.tolist() for tag, column in zip(found.tags, found.table.T, strict=True)},
            **{split: list(ids) for split, ids in found.splits.items()},
        },
    )


def load(path: str | os.PathLike) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Read a split: train, valid and test → track ids, and its tags.

    Args:
        path: Of tools.split; or the folder of a published one (`published.is_split`).

    Raises:
        DataError: missing, no split, or of another version.
    """
    if published.is_split(path):
        return published.split(path)
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: not a split (its 'format' is not {FORMAT!r}); make one with tools.split")
    if content.get("version") != VERSION:
        raise DataError(f"{path}: has version {content.get('version')!r}, this program reads {VERSION}; make it anew")
    found = schema.check(_SplitFile, content, path)
    return {split: tuple(getattr(found, split)) for split in SPLITS}, tuple(found.tags or ())


def made_of(path: str | os.PathLike) -> dict[str, Any]:
    """Where a split comes from and how it was made, as `save` was told; empty where it does not say.

    Raises:
        DataError: missing or no split.
    """
    load(path)
    return dict(schema.check(_SplitFile, read_json(path), path).made or {})
