"""Nearest neighbours of unit vectors by inner product: exact for thousands, inverted lists (faiss) for millions.

Inverted lists and not a graph (HNSW): a vector can be taken out of a list again, lists are made in a third of the
processor time, and queries off the songs' directions, as tags are, find as much in them. How many lists a search looks
through is not a constant that fits any data: after building, the least number is taken that finds what an exact search finds.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from orpheus.base import files
from orpheus.errors import DataError

EXACT_UP_TO = 50_000  # vectors; of 256 dimensions an exact search of so many takes some 5 ms on one core
EXACT_OF = 100_000  # vectors of a part; with so many a search takes some 10 ms, whatever the number of all vectors
RECALL = 0.98  # of the 10 nearest, on the calibrating queries; above the 0.95 that is promised for others
_NEIGHBOURS, _QUERIES = 10, 256
_MARK = b"orpheus crc32 "
_BLOCK = 1 << 16  # vectors compared at once while calibrating


class Nearest:
    """Unit vectors under numbers, searched by inner product (which is then the cosine).

    The same calls in the same order give the same index and the same answers.

    Args:
        dimension: Of the vectors.
        exact_up_to: Up to so many vectors a search compares with all of them; beyond, with those of the nearest lists.
        recall: Share of the true 10 nearest that a search must find on average, 0 to 1, for queries that are vectors of
            the index, queries between two of them, and `queries` of `add`.
        seed: Of the k-means that makes the lists, and of the calibrating queries.
    """

    def __init__(self, dimension: int, *, exact_up_to: int = EXACT_UP_TO, recall: float = RECALL, seed: int = 0):
        self.dimension, self.exact_up_to, self.recall, self.seed = dimension, exact_up_to, recall, seed
        self._index: Any = self._flat()  # faiss' stubs know no subclass
        self._ids = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> np.ndarray:
        """The numbers of all vectors, int64, rising."""
        return self._ids

    @property
    def lists(self) -> int:
        """Number of inverted lists; 0 where search is exact."""
        return self._index.nlist if isinstance(self._index, faiss.IndexIVF) else 0

    @property
    def probes(self) -> int:
        """Lists that a search looks through; 0 where it is exact."""
        return self._index.nprobe if self.lists else 0

    def add(self, ids: Sequence[int] | np.ndarray, vectors: np.ndarray, *, queries: np.ndarray | None = None) -> None:
        """Add vectors, or replace those whose numbers are there.

        Args:
            ids: Different numbers from 0 on.
            vectors: (len(ids), dimension) float32, rows of length 1.
            queries: (n, dimension) unit rows of the kind that will be asked, where that is not the kind of `vectors`;
                the recall is to hold for them too.

        Raises:
            DataError: a shape is wrong, a number comes twice, or a row is not finite or not of length 1.
        """
        ids, vectors = np.asarray(ids, np.int64), np.ascontiguousarray(vectors, np.float32)
        if vectors.shape != (len(ids), self.dimension):
            raise DataError(f"vectors: shape {vectors.shape}, expected ({len(ids)}, {self.dimension})")
        if len(np.unique(ids)) != len(ids) or (len(ids) and ids.min() < 0):
            raise DataError("vectors: their numbers must be different and not negative")
        wrong = ~(np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < 1e-3)
        if wrong.any():
            raise DataError(
                f"vector {ids[wrong][0]}: not of length 1 ({wrong.sum()} such vectors); did training diverge?"
            )
        self.remove(ids)
        if not len(ids):
            return
        size = len(self) + len(ids)
        lists = self._lists_for(size)
        if lists == self.lists or (self.lists and self.lists / 2 < lists < 2 * self.lists):
            self._index.add_with_ids(vectors, ids)
            self._ids = np.union1d(self._ids, ids)
            if self.lists and len(ids) > size // 10:
                self._calibrate(queries)
            return
        old = self._vectors()
        self._build(np.concatenate([self._ids, ids]), np.concatenate([old, vectors]) if len(old) else vectors, queries)

    def remove(self, ids: Sequence[int] | np.ndarray) -> int:
        """Take vectors out; numbers that are not there are ignored. Returns how many were there."""
        there = np.intersect1d(np.asarray(ids, np.int64), self._ids)
        if not len(there):
            return 0
        self._index.remove_ids(faiss.IDSelectorBatch(there))
        self._ids = np.setdiff1d(self._ids, there, assume_unique=True)
        if self.lists and len(self) <= self.exact_up_to // 2:
            self._build(self._ids, self._vectors())
        return len(there)

    def search(self, queries: np.ndarray, k: int, *, only: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The `k` nearest of each query, nearest first, equally near ones by number.

        Args:
            queries: (n, dimension), any length but 0: scores are inner products.
            k: At least 1.
            only: Numbers, the only ones that may be found; None for all. Up to `EXACT_OF` of them the search compares
                with each of them; with more it looks through as many more lists as they are fewer than all.

        Returns:
            (n, k) int64 numbers and (n, k) float32 scores; -1 and -inf where there are fewer than `k` vectors.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise DataError(f"queries: shape {queries.shape}, expected (n, {self.dimension})")
        ids, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        probes, selector, count = self.probes, None, len(self)
        if only is not None:
            selector, count = self._selector(only)
            probes = self.lists if count <= EXACT_OF else -(-probes * len(self) // count)
        found = min(k, count)
        if not found or not len(queries):
            return ids, scores
        while True:
            probes = min(probes, self.lists)
            best, numbers = self._index.search(queries, found, params=_parameters(probes, selector))
            if probes >= self.lists or (numbers >= 0).all():
                break
            probes *= 2  # the nearest lists hold fewer than are asked for
        order = np.lexsort((numbers, -best))
        ids[:, :found] = np.take_along_axis(numbers, order, axis=1)
        scores[:, :found] = np.take_along_axis(best, order, axis=1)
        return ids, scores

    def _selector(self, only: np.ndarray) -> tuple[Any, int]:
        """faiss' test for some numbers, and how many of them are there."""
        bits = np.zeros(int(self._ids[-1]) + 1 if len(self) else 0, bool)
        only = np.asarray(only, np.int64)
        bits[only[(only >= 0) & (only < len(bits))]] = True
        selector: Any = faiss.IDSelectorBitmap  # the stubs know the constructor of C++ alone
        return selector(np.packbits(bits, bitorder="little")), int(bits[self._ids].sum())

    def save(self, path: str | os.PathLike) -> None:
        """Write one file that faiss reads, a checksum behind it; it appears under its name only when complete."""
        total = 0

        def write(block: bytes) -> None:
            nonlocal total
            total = zlib.crc32(block, total)
            file.write(block)

        with files.atomic(path, "wb") as file:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(write))  # type: ignore[attr-defined]
            file.write(_checksum(total))

    @classmethod
    def load(cls, path: str | os.PathLike, dimension: int, **options) -> "Nearest":
        """Read what `save` wrote; `options` are those of the class.

        Raises:
            DataError: missing, damaged, of another dimension or another kind.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        _check_sum(path)  # faiss believes the sizes that a file names, and takes as much memory
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            reason = " ".join(str(error).splitlines()[1:])[:120]  # the first line is where in faiss
            raise DataError(f"{path}: not an index that faiss can read ({reason})") from None
        flat = isinstance(index, faiss.IndexIDMap2)
        if index.d != dimension or not (flat or isinstance(index, faiss.IndexIVFFlat)):
            raise DataError(
                f"{path}: {type(index).__name__} of {index.d} dimensions, expected one of {dimension} of ours"
            )
        result = cls(dimension, **options)
        result._index = index
        result._ids = np.sort(result._stored_ids())
        return result

    def _flat(self) -> Any:
        return faiss.IndexIDMap2(faiss.IndexFlatIP(self.dimension))

    def _lists_for(self, size: int) -> int:
        """0 for an exact index; else the power of two nearest to 4 √size, where centres and lists cost alike."""
        return 0 if size <= self.exact_up_to else 2 ** round(np.log2(4 * np.sqrt(size)))

    def _build(self, ids: np.ndarray, vectors: np.ndarray, queries: np.ndarray | None = None) -> None:
        """Make the index anew, in the order of the numbers."""
        order = np.argsort(ids, kind="stable")
        if (np.diff(order) != 1).any():
            ids, vectors = ids[order], vectors[order]
        lists = self._lists_for(len(ids))
        index: Any = self._flat()
        if lists:
            centres = faiss.IndexFlatIP(self.dimension)
            index = faiss.IndexIVFFlat(centres, self.dimension, lists, faiss.METRIC_INNER_PRODUCT)
            index.cp.seed, index.cp.niter, index.cp.spherical = self.seed + 1, 10, True
            index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 64
            index.train(vectors)
        index.add_with_ids(vectors, ids)
        self._index, self._ids = index, ids
        if lists:
            self._calibrate(queries)

    def _calibrate(self, more: np.ndarray | None = None) -> None:
        """Search so many lists, in powers of two, that each kind of query finds what an exact search does."""
        rng = np.random.default_rng(self.seed)
        count = min(_QUERIES, len(self) // 2)
        drawn = self._drawn(rng.permutation(len(self))[: 2 * count])
        pairs = drawn[:count] + drawn[count:]
        pairs /= np.maximum(np.linalg.norm(pairs, axis=1, keepdims=True), 1e-6)
        kinds = [drawn[:count], pairs]
        if more is not None and len(more):
            kinds.append(np.ascontiguousarray(more, np.float32)[rng.permutation(len(more))[:_QUERIES]])
        wanted = [self._exact(queries) for queries in kinds]
        probes = 1
        while probes < self.lists:
            found = [self._index.search(queries, _NEIGHBOURS, params=_parameters(probes))[0] for queries in kinds]
            # By score and not by number: which of two equally near ones is found does not matter.
            shares = [(f >= w[:, -1:] - 1e-6).mean() for f, w in zip(found, wanted, strict=True)]
            if min(shares) >= self.recall:
                break
            probes *= 2
        self._index.nprobe = probes

    def _exact(self, queries: np.ndarray) -> np.ndarray:
        """Scores of the true neighbours of each query, falling."""
        best = np.full((len(queries), _NEIGHBOURS), -np.inf, np.float32)
        for block in self._blocks():
            scores = np.concatenate([best, queries @ block.T], axis=1)
            best = np.partition(scores, scores.shape[1] - _NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
        return -np.sort(-best, axis=1)

    def _blocks(self) -> Iterator[np.ndarray]:
        """The vectors of lists, in the lists' order, a block at a time; of several small lists together."""
        held: list[np.ndarray] = []
        for number in range(self.lists):
            held.append(self._list(number)[1])
            if sum(map(len, held)) >= _BLOCK or number == self.lists - 1:
                yield np.concatenate(held)
                held = []

    def _list(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and vectors of one list: views of faiss' memory."""
        stored = self._index.invlists
        size = stored.list_size(number)
        if not size:
            return np.zeros(0, np.int64), np.zeros((0, self.dimension), np.float32)
        ids = faiss.rev_swig_ptr(stored.get_ids(number), size)
        codes = faiss.rev_swig_ptr(stored.get_codes(number), size * self.dimension * 4)
        return ids, codes.view(np.float32).reshape(size, self.dimension)

    def _stored_ids(self) -> np.ndarray:
        """Numbers in the order in which the index stores them."""
        if not self.lists:
            return faiss.vector_to_array(self._index.id_map)
        return np.concatenate([self._list(number)[0] for number in range(self.lists)])

    def _drawn(self, positions: np.ndarray) -> np.ndarray:
        """Vectors of lists at positions of their numbers' order."""
        wanted = self._ids[positions]
        row = {number: place for place, number in enumerate(wanted.tolist())}
        result = np.empty((len(wanted), self.dimension), np.float32)
        for number in range(self.lists):
            ids, vectors = self._list(number)
            for place in np.flatnonzero(np.isin(ids, wanted)):
                result[row[int(ids[place])]] = vectors[place]
        return result

    def _vectors(self) -> np.ndarray:
        """All vectors in the order of `ids`."""
        if not len(self):
            return np.zeros((0, self.dimension), np.float32)
        if self.lists:
            rows = np.concatenate([self._list(number)[1] for number in range(self.lists)])
        else:
            rows = faiss.downcast_index(self._index.index).reconstruct_n(0, len(self))
        return rows[np.argsort(self._stored_ids(), kind="stable")]


def _checksum(total: int) -> bytes:
    """What stands behind an index."""
    return _MARK + total.to_bytes(4, "little")


def _check_sum(path: Path) -> None:
    """Refuse a file that is not as it was written."""
    total, held = 0, b""
    length = len(_checksum(0))
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                held += block
                total, held = zlib.crc32(held[:-length], total), held[-length:]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if held != _checksum(total):
        raise DataError(
            f"{path}: not an index that faiss can read (its checksum is wrong, or it is of an older orpheus)"
        )


def _parameters(lists: int, selector: Any = None) -> Any:
    """Of one search: how many lists it looks through, 0 where there are none, and which numbers may be found."""
    if lists:
        return faiss.SearchParametersIVF(nprobe=lists, sel=selector)  # type: ignore[call-arg]  # faiss' stubs do not know it
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
