"""What tags cover: how much of all annotations and tracks a choice of tags holds, and how large clusters of tags are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orpheus.errors import DataError


@dataclass(frozen=True)
class Coverage:
    """What a choice of tags holds. A count is one tag on one track.

    Attributes:
        name: What was chosen.
        tags: Number of tags of the choice.
        present: How many of them are on a track.
        counts: Counts of the choice.
        tracks: Tracks with at least one of its tags.
        all_counts: Counts of all tags.
        all_tracks: Tracks with at least one tag.
    """

    name: str
    tags: int
    present: int
    counts: int
    tracks: int
    all_counts: int
    all_tracks: int

    @property
    def count_share(self) -> float:
        """Share of all counts, 0 to 1."""
        return self.counts / self.all_counts

    @property
    def track_share(self) -> float:
        """Share of all tracks that have a tag, 0 to 1."""
        return self.tracks / self.all_tracks

    @property
    def tags_per_track(self) -> float:
        """Mean number of the choice's tags on a track that has any; 0 where there is none."""
        return self.counts / self.tracks if self.tracks else 0.0


@dataclass(frozen=True)
class ClusterSize:
    """One cluster: its tags, those of them that are on a track, their counts, and the tracks that have any of them."""

    name: str
    tags: int
    present: int
    counts: int
    tracks: int


def coverage(tracks: Mapping[str, Sequence[str]], choices: Mapping[str, Iterable[str]]) -> list[Coverage]:
    """What each of several choices of tags covers.

    Args:
        tracks: Track id → tags; a tag that is there twice counts once, tracks without tags do not count.
        choices: Name → tags.

    Raises:
        DataError: no track has a tag.
    """
    wanted = {name: frozenset(tags) for name, tags in choices.items()}
    present: dict[str, set[str]] = {name: set() for name in wanted}
    counts, covered = dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
    all_counts = all_tracks = 0
    for each in tracks.values():
        tags = frozenset(each)
        all_counts += len(tags)
        all_tracks += bool(tags)
        for name, chosen in wanted.items():
            met = tags & chosen
            present[name] |= met
            counts[name] += len(met)
            covered[name] += bool(met)
    if not all_tracks:
        raise DataError(f"none of {len(tracks)} tracks has a tag: nothing to count")
    return [
        Coverage(name, len(chosen), len(present[name]), counts[name], covered[name], all_counts, all_tracks)
        for name, chosen in wanted.items()
    ]


def cluster_sizes(
    tracks: Mapping[str, Sequence[str]], mapping: Mapping[str, int], names: Sequence[str]
) -> list[ClusterSize]:
    """The size of every cluster, in column order.

    Args:
        tracks: Track id → tags.
        mapping: Tag → column.
        names: Name of each column.
    """
    tags = np.bincount(list(mapping.values()), minlength=len(names))
    seen: set[str] = set()
    counts, covered = np.zeros(len(names), int), np.zeros(len(names), int)
    for each in tracks.values():
        met = [tag for tag in set(each) if tag in mapping]
        seen.update(met)
        columns = [mapping[tag] for tag in met]
        for column in columns:
            counts[column] += 1
        covered[list(set(columns))] += 1
    present = np.bincount([mapping[tag] for tag in seen], minlength=len(names))
    table = zip(names, tags.tolist(), present.tolist(), counts.tolist(), covered.tolist(), strict=True)
    return [ClusterSize(*row) for row in table]


def tags_per_track(tracks: Mapping[str, Sequence[str]]) -> np.ndarray:
    """(tracks with a tag,) number of different tags of each, in the mapping's order."""
    return np.array([count for tags in tracks.values() if (count := len(set(tags)))], int)
