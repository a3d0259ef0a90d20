"""Dictionaries: which tag belongs to which cluster, how that was found, in one JSON file.

The file::

    {"format": "orpheus-dictionary", "version": 1,
     "tags": {"rock": 58, "indie rock": 58, …},              tag → cluster, most frequent tag first
     "clusters": {"58": [["rock", 101071], …], …},           members with counts, null where nobody counted
     "made": {"method": "kmeans", "parameters": {…}, "embedding": {"name": …, "sha256": …},
              "data": {"name": …, "sha256": …}, "seed": 0, "date": "2021-06-30", "versions": {…}},
     "scores": {"cost": 3940.8, …}}

Cluster numbers are any integers from 0 and may have gaps: filtering removes clusters and renames none. Columns of a
classifier, and the numbers in genres.txt, are *positions* in the sorted list of clusters.
"""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from orpheus.base import resources, schema
from orpheus.base.files import content_hash, read_json, write_json
from orpheus.errors import ConfigError, DataError
from orpheus.semantics import pickles

FORMAT, VERSION = "orpheus-dictionary", 1
PICKLES = (".pkl", ".pickle")
TAGS_IN_NAME = 3


class _File(schema.Schema):
    """The file; a member of a cluster is a tag and its count."""

    tags: dict[str, Annotated[int, Field(ge=0)]]
    clusters: dict[str, list[Annotated[tuple[str, Annotated[int, Field(ge=0)] | None], Field(strict=False)]]]
    made: dict[str, Any]
    scores: dict[str, Any]


@dataclass(frozen=True)
class Dictionary:
    """Tags in clusters.

    Attributes:
        tag_to_cluster: Tag → cluster number; most frequent tags first where counts are known. Tags keep their case.
        counts: Tag → number of tracks that have it; tags nobody counted are absent.
        made: Method, parameters, sources, seed, date, versions.
        scores: What the method measured, for example cost or silhouette.
        source: The file it was read from, for messages.
    """

    tag_to_cluster: Mapping[str, int]
    counts: Mapping[str, int] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    source: str = "dictionary"

    def __post_init__(self):
        if not self.tag_to_cluster:
            raise DataError(f"{self.source}: holds no tag; a dictionary needs at least one tag in one cluster")
        for tag, cluster in self.tag_to_cluster.items():
            if not isinstance(tag, str) or not tag:
                raise DataError(f"{self.source}: tag {tag!r} is not a text")
            if isinstance(cluster, bool) or not isinstance(cluster, int) or cluster < 0:
                raise DataError(f"{self.source}: tag {tag!r} has cluster {cluster!r}; expected a number from 0")
        for tag, count in self.counts.items():
            if tag not in self.tag_to_cluster:
                raise DataError(f"{self.source}: counts {tag!r}, which is in no cluster")
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise DataError(f"{self.source}: tag {tag!r} has count {count!r}; expected a number from 0")
        # By falling count; tags without one keep their place, which in old dictionaries is by popularity too.
        if len(self.counts) == len(self.tag_to_cluster):
            order = sorted(self.tag_to_cluster, key=lambda tag: -self.counts[tag])
            object.__setattr__(self, "tag_to_cluster", {tag: self.tag_to_cluster[tag] for tag in order})

    @cached_property
    def clusters(self) -> dict[int, tuple[str, ...]]:
        """Cluster number → its tags, both sorted: numbers rising, tags by falling count."""
        members: dict[int, list[str]] = {cluster: [] for cluster in sorted(set(self.tag_to_cluster.values()))}
        for tag, cluster in self.tag_to_cluster.items():
            members[cluster].append(tag)
        return {cluster: tuple(tags) for cluster, tags in members.items()}

    @cached_property
    def mapping(self) -> dict[str, int]:
        """Tag → column: the position of its cluster in the sorted list of clusters."""
        column = {cluster: position for position, cluster in enumerate(self.clusters)}
        return {tag: column[cluster] for tag, cluster in self.tag_to_cluster.items()}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each column: its most frequent tags, for example ``"rock, indie rock, punk rock"``."""
        names = [", ".join(tags[:TAGS_IN_NAME]) for tags in self.clusters.values()]
        # Tags may contain commas, so that names could meet.
        return tuple(
            f"{name} #{cluster}" if names.count(name) > 1 else name
            for name, cluster in zip(names, self.clusters, strict=True)
        )

    def keep_clusters_with(self, tags: Iterable[str]) -> "Dictionary":
        """Only the clusters that hold at least one of `tags`.

        Raises:
            DataError: no cluster holds one.
        """
        wanted = sorted(set(tags))
        kept = {self.tag_to_cluster[tag] for tag in wanted if tag in self.tag_to_cluster}
        if not kept:
            raise DataError(
                f"{self.source}: no cluster holds one of the {len(wanted)} tags to keep ({', '.join(wanted[:3])}, …); "
                "check the filter's spelling (case counts) or turn the filter off"
            )
        return self._select({tag: c for tag, c in self.tag_to_cluster.items() if c in kept})

    def restrict(
        self,
        genres: Sequence[int] | None = None,
        merge: Sequence[Sequence[int]] = (),
        *,
        merge_outside: bool = False,
        source: str = "genres",
    ) -> "Dictionary":
        """Only the clusters of genres, highly correlated ones merged.

        Args:
            genres: Positions in the sorted list of clusters; None for all.
            merge: Pairs of positions; pairs that share a position form one group, which takes the smallest number of
                its genres.
            merge_outside: Also merge pairs of which only one is a genre, so that clusters that are none join one. By
                default such pairs are left alone, as in the reference's training script.
            source: Where the two are from, for messages.

        Raises:
            DataError: a position that does not exist, a pair that is none, no genre left.
        """
        numbers = list(self.clusters)
        chosen = list(range(len(numbers))) if genres is None else sorted(set(genres))
        if not chosen:
            raise DataError(f"{source}: names no cluster; its first line must list at least one genre")
        group = list(range(len(numbers)))
        for position in [*chosen, *(p for pair in merge for p in pair)]:
            if not 0 <= position < len(numbers):
                raise DataError(
                    f"{source}: cluster {position} does not exist; {self.source} has {len(numbers)} clusters, so "
                    f"positions go from 0 to {len(numbers) - 1}"
                )
        for pair in merge:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise DataError(f"{source}: {list(pair)} is no pair of two clusters")
            if not merge_outside and not set(pair) <= set(chosen):
                continue
            a, b = (group[position] for position in pair)
            group = [a if g == b else g for g in group]
        number_of_group: dict[int, int] = {}
        for position in chosen:
            number_of_group.setdefault(group[position], numbers[position])
        # Merged clusters take the group's number; a number stays unique since it belongs to a member of the group.
        new = {number: number_of_group.get(group[position]) for position, number in enumerate(numbers)}
        reduced = {tag: target for tag, c in self.tag_to_cluster.items() if (target := new[c]) is not None}
        rule = {"merge_outside": True} if merge_outside else {}
        made = {**self.made, "restricted": {"genres": chosen, "merge": [list(pair) for pair in merge], **rule}}
        return replace(self._select(reduced), made=made)

    def _select(self, tag_to_cluster: Mapping[str, int]) -> "Dictionary":
        counts = {tag: count for tag, count in self.counts.items() if tag in tag_to_cluster}
        return replace(self, tag_to_cluster=tag_to_cluster, counts=counts)

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON file, atomically."""
        write_json(
            path,
            {
                "format": FORMAT,
                "version": VERSION,
                "tags": dict(self.tag_to_cluster),
                "clusters": {
                    str(cluster): [[tag, self.counts.get(tag)] for tag in tags]
                    for cluster, tags in self.clusters.items()
                },
                "made": dict(self.made),
                "scores": dict(self.scores),
            },
        )


def find(path: str | os.PathLike) -> Path:
    """The dictionary file that `path` is, or that the folder `path` holds.

    Raises:
        DataError: nothing there, a folder with no or several dictionaries.
    """
    path = resources.find(path)
    if path.is_dir():
        found = sorted(p for p in path.glob("*.json") if p.name != "genres.json")
        found = found or sorted(p for p in path.iterdir() if p.suffix in PICKLES)
        if len(found) != 1:
            what = "holds no dictionary (*.json, *.pkl)" if not found else f"holds {len(found)} ({found[0].name}, …)"
            raise DataError(f"{path}: {what}; give the file itself")
        return found[0]
    return path


def from_mapping(value: object, source: Path, *, counts: Mapping[str, int] | None = None, method: str) -> Dictionary:
    """The dictionary that a dict tag → cluster is, as the reference's pickles hold it.

    Args:
        value: What was read.
        source: Its file, for provenance and errors.
        counts: Tag → number of tracks, where they are known.
        method: How it was made, for provenance.

    Raises:
        DataError: it is no such dict.
    """
    if not isinstance(value, dict):
        raise DataError(
            f"{source}: holds a {type(value).__name__}; expected a dict of tag → cluster or a fitted KMeans"
        )
    mapping: dict[str, int] = {}
    for tag, cluster in value.items():
        number = cluster.item() if hasattr(cluster, "item") else cluster
        if not isinstance(tag, str) or isinstance(number, bool) or not isinstance(number, int):
            raise DataError(f"{source}: entry {tag!r}: {cluster!r} is not a tag and a cluster number")
        mapping[str(tag)] = number
    data = {"name": source.name, "sha256": content_hash(source)}
    kept = {tag: counts[tag] for tag in mapping if counts and tag in counts}
    return Dictionary(mapping, kept, provenance(method, parameters={}, data=data), {}, str(source))


def load(path: str | os.PathLike) -> Dictionary:
    """Read and check a dictionary.

    Args:
        path: The JSON file, or the folder that holds one; or a pickle of the reference, which `pickles` reads without
            running anything.

    Raises:
        DataError: missing, not a dictionary, of another version, empty, or at odds with itself.
    """
    path = find(path)
    if path.suffix in PICKLES:
        return from_mapping(pickles.load(path), path, method="converted")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: not a dictionary of clusters (its 'format' is not {FORMAT!r})")
    if content.get("version") != VERSION:
        raise DataError(f"{path}: has version {content.get('version')!r}, this program reads {VERSION}; make it anew")
    found = schema.check(_File, content, path)
    tags, counts = found.tags, {}
    listed: dict[str, str] = {}
    for cluster, members in found.clusters.items():
        for tag, count in members:
            if tag in listed:
                raise DataError(f"{path}: tag {tag!r} is in cluster {listed[tag]} and in {cluster}; a tag has one")
            listed[tag] = cluster
            if count is not None:
                counts[tag] = count
    for tag in [*tags, *listed]:
        if listed.get(tag) != str(tags.get(tag)):
            raise DataError(
                f"{path}: tag {tag!r} has cluster {tags.get(tag)} under 'tags' but {listed.get(tag)} under 'clusters'"
            )
    return Dictionary(tags, counts, found.made, found.scores, str(path))


def join(
    parts: Sequence[Dictionary], *, made: Mapping[str, Any], scores: Mapping[str, Any] | None = None
) -> Dictionary:
    """One dictionary of several that share no tag; clusters are numbered anew in the order of the parts.

    Raises:
        ConfigError: nothing to join.
        DataError: a tag is in two parts.
    """
    if not parts:
        raise ConfigError("no dictionary to join: every genre had too few tags that occur together")
    tags: dict[str, int] = {}
    counts: dict[str, int] = {}
    first = 0
    for part in parts:
        for tag, column in part.mapping.items():
            if tag in tags:
                raise DataError(f"tag {tag!r} is in two of the dictionaries to join")
            tags[tag] = first + column
        counts.update(part.counts)
        first += len(part.clusters)
    return Dictionary(tags, counts, made, scores or {})


def provenance(
    method: str,
    *,
    parameters: Mapping[str, Any],
    data: Mapping[str, Any],
    embedding: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """The `made` of a new dictionary: what is given, the date (UTC) and the versions of what computed it."""
    versions = {"python": platform.python_version()}
    for name in ("numpy", "scipy", "scikit-learn", "orpheus-music"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "method": method,
        "parameters": dict(parameters),
        "embedding": None if embedding is None else dict(embedding),
        "data": dict(data),
        "seed": seed,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": versions,
    }
