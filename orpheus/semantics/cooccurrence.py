"""How often tags meet on tracks: counts, co-occurrence, NPMI, and pairs of clusters that are hardly two."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orpheus.errors import DataError


@dataclass(frozen=True)
class TagMatrix:
    """Which track has which tag.

    Attributes:
        tags: Name of each column; tags, or classes.
        matrix: (tracks, tags) scipy CSR of int32, 1 where the track has the tag. Tracks without any of them count too:
            probabilities are over all tracks.
    """

    tags: tuple[str, ...]
    matrix: Any

    @property
    def tracks(self) -> int:
        """Number of tracks."""
        return self.matrix.shape[0]

    def counts(self) -> np.ndarray:
        """(tags,) number of tracks of each tag."""
        return np.asarray(self.matrix.sum(axis=0)).ravel()

    def columns(self, tags: Sequence[str]) -> "TagMatrix":
        """Only these tags, in this order; all tracks stay."""
        index = {tag: column for column, tag in enumerate(self.tags)}
        return TagMatrix(tuple(tags), self.matrix[:, [index[tag] for tag in tags]])


def tag_matrix(track_tags: Iterable[Collection[str]], *, tags: Sequence[str] | None = None) -> TagMatrix:
    """The tag matrix of tracks.

    Args:
        track_tags: Tags of each track; a tag that is there twice counts once.
        tags: Columns; other tags are ignored. None for all, most frequent first, ties by tag.

    Raises:
        DataError: no track, or no tag.
    """
    if tags is not None:
        return class_matrix(track_tags, {tag: column for column, tag in enumerate(tags)}, tags)
    lists = list(track_tags)
    numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)  # a new tag gets the next number
    matrix = _matrix(lists, map(numbers.__getitem__, itertools.chain.from_iterable(lists)))
    found, counts = list(numbers), np.bincount(matrix.indices, minlength=len(numbers)).tolist()
    if not found:
        raise DataError(f"{len(lists)} tracks and 0 tags: nothing to count")
    order = sorted(range(len(found)), key=lambda column: (-counts[column], found[column]))
    return TagMatrix(tuple(found[column] for column in order), matrix[:, order])


def class_matrix(track_tags: Iterable[Collection[str]], mapping: Mapping[str, int], names: Sequence[str]) -> TagMatrix:
    """As `tag_matrix` with many tags to one column: a track has a class when it has any of its tags.

    Args:
        track_tags: Tags of each track.
        mapping: Tag → column, for example `Dictionary.mapping`.
        names: Name of each column.
    """
    lists = list(track_tags)
    if not lists or not names:
        raise DataError(f"{len(lists)} tracks and {len(names)} tags: nothing to count")
    columns = map(mapping.get, itertools.chain.from_iterable(lists), itertools.repeat(-1))
    return TagMatrix(tuple(names), _matrix(lists, columns, width=len(names)))


def _matrix(lists: Sequence[Collection[str]], columns: Iterable[int], *, width: int | None = None) -> Any:
    """(tracks, width) CSR of ones; columns of all tracks' tags in order, -1 for none, a repeated one counted once."""
    from scipy import sparse

    ends = np.cumsum([0, *map(len, lists)])
    flat = np.fromiter(columns, np.int32, int(ends[-1]))
    known = flat >= 0
    if not known.all():
        ends, flat = np.concatenate([[0], np.cumsum(known)])[ends], flat[known]
    shape = (len(lists), int(flat.max(initial=-1)) + 1 if width is None else width)
    matrix = sparse.csr_matrix((np.ones(len(flat), np.int32), flat, ends), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def cooccurrence(matrix: TagMatrix, *, dense: bool = True) -> Any:
    """On how many tracks each pair of tags meets; the diagonal holds the tags' own counts.

    Args:
        matrix: Tags of the tracks.
        dense: A NumPy array; False leaves it a scipy CSR matrix, which 10,000 tags ask for.

    Returns:
        (tags, tags) int64, symmetric.
    """
    product = matrix.matrix.T @ matrix.matrix
    return product.toarray().astype(np.int64) if dense else product.tocsr().astype(np.int64)


def npmi(together: np.ndarray, tracks: int) -> np.ndarray:
    """Normalised pointwise mutual information, log(P(i,j) / (P(i) P(j))) / −log P(i,j).

    Args:
        together: (n, n) co-occurrence counts with the tags' own counts on the diagonal.
        tracks: Number of all tracks, those without any of the tags included.

    Returns:
        (n, n) float64 in [-1, 1]: 1 for tags that only occur together, 0 for independent ones, -1 for tags that never
        meet (the limit). Tags that are on every track are certain and tell nothing about each other: 1.

    Raises:
        DataError: counts that no tracks can have.

    References:
        Bouma, "Normalized (Pointwise) Mutual Information in Collocation Extraction", 2009.
    """
    together = np.asarray(together)
    square = together.ndim == 2 and together.shape[0] == together.shape[1]
    own = np.diagonal(together) if square else np.zeros(1)
    if (own > tracks).any() or (own <= 0).any():
        raise DataError(f"co-occurrence counts must be a square matrix with 1…{tracks} (the tracks) on the diagonal")
    log_own = np.log(own / tracks)
    largest = int(together.max(initial=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        # -inf for tags that never meet: the quotient is 0 then. There are fewer counts than pairs: they are looked up.
        if together.dtype.kind in "iu" and largest < together.size:
            log_joint = np.log(np.arange(largest + 1) / tracks)[together]
        else:
            log_joint = np.log(together / tracks)
        result = np.add.outer(log_own, log_own)
        result /= log_joint
    result -= 1
    np.clip(result, -1, 1, out=result)
    result[log_joint >= 0] = 1
    return result


def npmi_distances(together: np.ndarray, tracks: int) -> np.ndarray:
    """d(i, j) = 1 − NPMI(i, j): 0 on the diagonal, 2 where two tags never meet.

    Args:
        together: As for `npmi`.
        tracks: As for `npmi`.

    Returns:
        (n, n) float64 in [0, 2], symmetric.
    """
    distances = npmi(together, tracks)
    np.subtract(1, distances, out=distances)
    np.fill_diagonal(distances, 0)
    return distances


def normalise(together: np.ndarray) -> np.ndarray:
    """c(i,j) / √(c(i,i) c(j,j)) in [0, 1]: so that popular tags do not outshine all others. Zero for absent tags."""
    own = np.sqrt(np.diagonal(np.asarray(together, np.float64)))
    scale = np.outer(own, own)
    return np.divide(together, scale, out=np.zeros_like(scale), where=scale > 0)


@dataclass(frozen=True)
class Pair:
    """Two highly correlated columns, i < j.

    `cosine` is the normalised co-occurrence, `share` the part of the rarer one's tracks that the other has too.
    """

    i: int
    j: int
    cosine: float
    share: float
    by_cosine: bool
    by_share: bool


def correlated_pairs(together: np.ndarray, *, cosine: float = 0.5, m: float = 1.5) -> list[Pair]:
    """Pairs of clusters that are highly correlated by one of the reference's two criteria.

    Args:
        together: (n, n) co-occurrence counts.
        cosine: First criterion: the normalised co-occurrence is above it.
        m: Second criterion: the rarer cluster meets the other on more than 1/m of its own tracks.

    Returns:
        The pairs that fulfil either, the most correlated first.
    """
    together = np.asarray(together, np.float64)
    own = np.diagonal(together)
    normal = normalise(together)
    rarer = np.minimum(own[:, None], own[None, :])
    share = np.divide(together, rarer, out=np.zeros_like(normal), where=rarer > 0)
    found = [
        Pair(
            int(i),
            int(j),
            float(normal[i, j]),
            float(share[i, j]),
            bool(normal[i, j] > cosine),
            bool(share[i, j] > 1 / m),
        )
        for i, j in np.argwhere(np.triu((normal > cosine) | (share > 1 / m), 1))
    ]
    return sorted(found, key=lambda pair: (-pair.cosine, pair.i, pair.j))
