"""From a cluster of a genre's tags to clusters of its subgenres, by which tags meet on tracks (Models 4.1 and 4.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orpheus.errors import ConfigError
from orpheus.semantics import clustering
from orpheus.semantics.cooccurrence import TagMatrix, cooccurrence, npmi_distances
from orpheus.semantics.dictionary import Dictionary, join

K_RANGE = (5, 20)
RARE_POWER = 0.25


@dataclass(frozen=True)
class Members:
    """A genre's tags that are to be clustered.

    Attributes:
        genre: The genre itself, its most frequent tag; not among the columns.
        tracks: Tags of all tracks; columns by falling count.
        rare: Tags left out as too rare.
    """

    genre: str
    tracks: TagMatrix
    rare: tuple[str, ...]


@dataclass(frozen=True)
class Subclusters:
    """Clusters of one genre's tags.

    Attributes:
        genre: The genre.
        labels: Tag → label; tags alone in their cluster are absent.
        k: Number of clusters that the silhouette chose, singletons included; 0 where there were too few tags.
        scores: Silhouette of every k.
        singletons: Tags that were alone.
        rare: Tags that were too rare.
        counts: Tag → number of tracks.
    """

    genre: str
    labels: Mapping[str, int]
    k: int
    scores: Mapping[int, float]
    singletons: tuple[str, ...]
    rare: tuple[str, ...]
    counts: Mapping[str, int]


def members(tags: Sequence[str], tracks: TagMatrix, *, rare_power: float = RARE_POWER) -> Members | None:
    """The tags of a genre that are clustered: not the genre itself, and none that is too rare.

    Args:
        tags: A cluster of a dictionary.
        tracks: Tags of all tracks.
        rare_power: Tags with fewer tracks than the most frequent tag's number to this power are left out.

    Returns:
        None where no track has any of the tags.
    """
    known = set(tracks.tags)
    present = [tag for tag in tags if tag in known]
    if not present:
        return None
    part = tracks.columns(present)
    counts = part.counts()
    order = sorted(range(len(present)), key=lambda i: (-counts[i], present[i]))
    if counts[order[0]] == 0:
        return None
    least = counts[order[0]] ** rare_power
    kept = [present[i] for i in order[1:] if counts[i] >= least]
    rare = tuple(present[i] for i in order[1:] if counts[i] < least)
    return Members(present[order[0]], tracks.columns(kept), rare)


def subclusters(
    genre: Members,
    distances: np.ndarray,
    cluster: Callable[[Sequence[int]], dict[int, np.ndarray]],
    *,
    k_range: tuple[int, int] = K_RANGE,
    scaled: bool = False,
) -> Subclusters:
    """Choose the number of clusters by silhouette and drop tags that are alone.

    Args:
        genre: The tags.
        distances: (tags, tags), for the silhouette.
        cluster: Numbers of clusters → labels of each.
        k_range: Smallest and largest number of clusters, both included; at most one less than there are tags.
        scaled: Both at most a quarter and half of the number of tags (and at least 2): of 12 tags 3 to 6 instead of 5 to
            11, which leaves most of them alone.

    Returns:
        The clusters. With too few tags for the smallest number they form one cluster, and a single tag none.
    """
    low, high = k_range
    if not 2 <= low <= high:
        raise ConfigError(f"number of clusters {low}…{high}: expected 2 ≤ smallest ≤ largest")
    names = genre.tracks.tags
    if scaled:
        low, high = min(low, max(2, len(names) // 4)), min(high, max(2, len(names) // 2))
    ks = range(low, min(high, len(names) - 1) + 1)
    if len(ks):
        k, labels, scores = clustering.choose_k(distances, cluster(ks))
    else:
        k, labels, scores = 0, np.zeros(len(names), int), {}
    sizes = np.bincount(labels, minlength=1)
    alone = tuple(name for name, label in zip(names, labels, strict=True) if sizes[label] == 1)
    kept = {name: int(label) for name, label in zip(names, labels, strict=True) if sizes[label] > 1}
    counts = dict(zip(names, map(int, genre.tracks.counts()), strict=True))
    return Subclusters(genre.genre, kept, k, scores, alone, genre.rare, counts)


def by_npmi(
    genre: Members, *, linkage: str = "average", k_range: tuple[int, int] = K_RANGE, scaled: bool = False
) -> Subclusters:
    """Subgenres by hierarchical clustering of 1 − NPMI.

    Args:
        genre: The tags.
        linkage: ``"average"`` (the reference's choice), ``"complete"`` or ``"single"``.
        k_range: Smallest and largest number of clusters.
        scaled: As for `subclusters`.
    """
    distances = npmi_distances(cooccurrence(genre.tracks), genre.tracks.tracks)
    return subclusters(
        genre,
        distances,
        lambda ks: clustering.agglomerative(distances, ks, linkage=linkage),
        k_range=k_range,
        scaled=scaled,
    )


def by_vectors(
    genre: Members,
    vectors: np.ndarray,
    *,
    k_range: tuple[int, int] = K_RANGE,
    scaled: bool = False,
    n_init: int = 60,
    seed: int = 0,
) -> Subclusters:
    """Subgenres by k-means of the tags' vectors, which `skipgram.embed` makes.

    Args:
        genre: The tags.
        vectors: (tags, d), any length.
        k_range: Smallest and largest number of clusters.
        scaled: As for `subclusters`.
        n_init: Starts of each k-means.
        seed: Of k-means.
    """
    distances = clustering.cosine_distances(vectors)
    return subclusters(
        genre,
        distances,
        lambda ks: {k: clustering.kmeans(vectors, k, n_init=n_init, seed=seed).labels for k in ks},
        k_range=k_range,
        scaled=scaled,
    )


def joined(parts: Sequence[Subclusters], *, made: Mapping[str, Any]) -> Dictionary:
    """One dictionary of all genres' subclusters.

    Its scores hold, for each genre, its cluster numbers, k, the silhouette and the tags left out.

    Raises:
        ConfigError: no genre has two tags that share a cluster.
    """
    scores: dict[str, Any] = {}
    parts = [part for part in parts if part.labels]
    first = 0
    for part in parts:
        clusters = len(set(part.labels.values()))
        scores[part.genre] = {
            "clusters": list(range(first, first + clusters)),
            "k": part.k,
            "silhouette": part.scores.get(part.k),
            "tags": len(part.labels),
            "singletons": list(part.singletons),
            "rare": len(part.rare),
        }
        first += clusters
    dictionaries = [Dictionary(dict(part.labels), {tag: part.counts[tag] for tag in part.labels}) for part in parts]
    return join(dictionaries, made=made, scores={"genres": scores})
