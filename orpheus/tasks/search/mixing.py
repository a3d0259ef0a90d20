"""What a search asks for besides words, how much each part counts, and lists whose songs differ from each other."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from orpheus.errors import ConfigError

Example: TypeAlias = "str | os.PathLike | np.ndarray"  # a song of an index, an audio file, or a (d,) unit vector
PARTS = ("words", "listener", "history", "like")
_POOL, _LEAST_POOL = 10, 200  # songs among which differing ones are chosen: so many times k, at least so many


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What a search asks for besides its words; each part is one unit vector, and their weighted sum is asked for.

    Attributes:
        listener: Id of a listener of the index.
        history: Ids or paths of songs of the index that somebody heard: the mean of their places.
        like: Ids or paths of songs of the index, any audio files, or places: the mean of their places.
        weights: Of the parts ``words``, ``listener``, ``history`` and ``like``, each above 0; 1 where not given.
    """

    listener: str | None = None
    history: Sequence[str | os.PathLike] = ()
    like: Sequence[Example] = ()
    weights: Mapping[str, float] = field(default_factory=dict)


NOTHING = Mix()


def mixed(parts: Mapping[str, np.ndarray], weights: Mapping[str, float], query: str) -> np.ndarray:
    """The weighted sum of unit vectors, to unit length.

    Args:
        parts: Name (of `PARTS`) → (d,) unit vector; at least one.
        weights: Name → weight, 1 where it is not there.
        query: Named in errors.

    Raises:
        ConfigError: a weight is not above 0, is of no part or of one that is not asked for, or the parts cancel out.
    """
    for name, weight in weights.items():
        if name not in PARTS:
            raise ConfigError(f"weight {name!r}: expected one of {', '.join(PARTS)}")
        if not (math.isfinite(weight) and 0 < weight <= 1e6):
            raise ConfigError(f"weight {name}={weight:g}: must be above 0, at most 1e6; leave out what is not to count")
        if name not in parts:
            raise ConfigError(f"weight {name}={weight:g}: nothing is asked by {name} here; it has {', '.join(parts)}")
    total = np.sum([weights.get(name, 1.0) * vector for name, vector in parts.items()], axis=0)
    return unit(total, query)


def unit(total: np.ndarray, query: str) -> np.ndarray:
    """A sum of unit vectors to length 1, float32.

    Raises:
        ConfigError: nothing is left of it.
    """
    length = float(np.linalg.norm(total))
    if length < 1e-4:
        raise ConfigError(f"{query}: its terms cancel out; leave one of them away")
    return (total / length).astype(np.float32)


def pool(k: int, diversity: float) -> int:
    """How many of the nearest songs are needed to choose `k` of them.

    Raises:
        ConfigError: `k` is below 1, `diversity` not between 0 and 1.
    """
    if k < 1:
        raise ConfigError(f"k={k}: must be at least 1")
    if not 0 <= diversity <= 1:
        raise ConfigError(f"diversity={diversity:g}: must be between 0 (nearest first) and 1 (as different as can be)")
    return max(_POOL * k, _LEAST_POOL) if diversity else k


def marginal_relevance(scores: np.ndarray, vectors: np.ndarray, k: int, diversity: float) -> np.ndarray:
    """Choose songs that are near to a query and not to each other, by maximal marginal relevance.

    One song after the other is taken, that with the largest (1 − diversity) · cos(song, query) − diversity · max cos(song,
    taken ones): equation 2 of J. Carbonell, J. Goldstein, "The use of MMR, diversity-based reranking for reordering
    documents and producing summaries" (SIGIR 1998), whose λ is 1 − diversity.

    Args:
        scores: (n,) cosines with the query, falling.
        vectors: (n, d) unit rows.
        k: Length of the list; fewer where n is less.
        diversity: 0 to 1.

    Returns:
        (k,) int64 places, in the order in which they are taken; the first is always 0.
    """
    relevance = (1 - diversity) * np.asarray(scores, np.float64)
    redundancy = np.full(len(relevance), -np.inf)  # the largest cosine with a song that is taken
    free = np.ones(len(relevance), bool)
    taken: list[int] = []
    while len(taken) < min(k, len(relevance)):
        gain = relevance - diversity * redundancy if taken else relevance
        best = int(np.argmax(np.where(free, gain, -np.inf))) if taken else 0
        taken.append(best)
        free[best] = False
        redundancy = np.maximum(redundancy, vectors @ vectors[best])
    return np.array(taken, np.int64)
