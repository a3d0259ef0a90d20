"""Matrices whose rows have ids: features, targets and factors, dense (memory-mapped) or sparse, read by id."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy.sparse

from orpheus.base import arrays, files
from orpheus.data.items import layout
from orpheus.data.splits import published
from orpheus.errors import DataError

_MOST_COLUMNS = 1 << 26  # of a sparse matrix; one row of so many is 256 MB where it becomes dense
Matrix: TypeAlias = "np.ndarray | scipy.sparse.csr_matrix"


@dataclass(frozen=True, eq=False)
class Table:
    """A matrix and the id of each row.

    Args:
        name: Shown in errors: mostly the file.
        ids: One unique id per row.
        matrix: (rows, columns), dense (also memory-mapped; more axes are allowed) or scipy CSR. Never copied whole.

    Raises:
        DataError: the numbers of ids and rows differ, or an id comes twice.
    """

    name: str
    ids: tuple[str, ...]
    matrix: Matrix

    def __post_init__(self):
        if self.matrix.ndim < 2:
            raise DataError(f"{self.name}: expected a matrix of (items, columns), found shape {self.matrix.shape}")
        if len(self.ids) != self.matrix.shape[0]:
            rows = self.matrix.shape[0]
            raise DataError(f"{self.name}: {rows} rows, but its index has {len(self.ids)} ids; write both again")
        if len(self._row) != len(self.ids):
            twice = next(item for number, item in enumerate(self.ids) if self._row[item] != number)
            raise DataError(f"{self.name}: id {twice!r} comes twice; ids must be unique")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: str) -> bool:
        return item in self._row

    @property
    def dim(self) -> int:
        """Number of columns."""
        return self.matrix.shape[1]

    @property
    def sparse(self) -> bool:
        return scipy.sparse.issparse(self.matrix)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.ids)}

    def positions(self, ids: Sequence[str]) -> np.ndarray:
        """Row numbers of ids, int64.

        Raises:
            DataError: some ids have no row; the first five are named.
        """
        missing = [item for item in ids if item not in self._row]
        if missing:
            raise DataError(f"{self.name}: {_some(missing)} not there ({len(missing)} of {len(ids)} ids asked for)")
        return np.fromiter((self._row[item] for item in ids), dtype=np.int64, count=len(ids))

    def rows(self, ids: Sequence[str]) -> Matrix:
        """Rows in the order of `ids`, read into memory; sparse stays sparse.

        Raises:
            DataError: some ids have no row; the first five are named.
        """
        return self.matrix[self.positions(ids)]

    def dense(self, ids: Sequence[str]) -> np.ndarray:
        """Like `rows`, as a dense float32 array: for one batch, not for all of a large table."""
        return densify(self.rows(ids))


def densify(rows: Matrix) -> np.ndarray:
    """Rows as a dense float32 array, whatever they were."""
    return (np.asarray(rows) if isinstance(rows, np.ndarray) else rows.toarray()).astype(np.float32, copy=False)


def check_ids(tables: Sequence[Table], ids: Sequence[str]) -> None:
    """See that every table has a row for every id, before any work starts.

    Raises:
        DataError: names each table that lacks some, with their number and the first ids.
    """
    problems = []
    for table in tables:
        missing = [item for item in ids if item not in table]
        if missing:
            problems.append(f"{table.name} lacks {len(missing)} of {len(ids)} ids: {_some(missing)}")
    if problems:
        raise DataError("; ".join(problems))


def join(tables: Sequence[Table], ids: Sequence[str] | None = None) -> list[Table]:
    """Tables with the same rows in the same order. Dense matrices are copied for the rows asked for.

    Args:
        tables: At least one.
        ids: Rows wanted. None: those of the first table.

    Raises:
        DataError: a table lacks some ids.
    """
    ids = tuple(tables[0].ids if ids is None else ids)
    check_ids(tables, ids)
    return [table if table.ids == ids else Table(table.name, ids, table.rows(ids)) for table in tables]


def stack(tables: Sequence[Table]) -> Table:
    """One table from several with different ids and the same columns (training and val rows, for example).

    Raises:
        DataError: the columns differ, or an id is in two tables.
    """
    first = tables[0]
    for table in tables[1:]:
        if table.dim != first.dim:
            raise DataError(f"{table.name}: {table.dim} columns, but {first.name} has {first.dim}; write both again")
    parts = [table.matrix for table in tables]
    sparse = any(table.sparse for table in tables)
    matrix = scipy.sparse.vstack(parts).tocsr() if sparse else np.concatenate(parts)
    return Table(first.name, tuple(item for table in tables for item in table.ids), matrix)


def features(folder: layout.DataFolder, subset: str, setting: str, *, dim: int | None = None) -> Table:
    """The features ``X_SET_SETTING_DATASET`` with the ids of their set; a val set without files is part of train's.

    Raises:
        DataError: a file is missing, lengths differ, or the columns are not `dim`.
    """
    subset = folder.source(subset)
    return load(folder.features(subset, setting), folder.items(subset), dim=dim)


def targets(folder: layout.DataFolder, subset: str, fact: str, dim: int) -> Table:
    """The targets ``y_SET_FACT_DIM_DATASET.npy`` with the ids of their set.

    Raises:
        DataError: a file is missing, lengths differ, or the columns are not `dim`.
    """
    subset = folder.source(subset)
    return load(folder.targets(subset, fact, dim), folder.items(subset), dim=dim)


def counts(folder: layout.DataFolder, subset: str = "test") -> Table:
    """The listening counts of a set's items, CSR (items, users)."""
    subset = folder.source(subset)
    return load(folder.matrix(subset), folder.items(subset))


def load(path: Path, ids: Sequence[str], *, dim: int | None = None) -> Table:
    """A matrix file and its ids as a table.

    Raises:
        DataError: see `load_matrix`; or it has other than `dim` columns, or other than ``len(ids)`` rows.
    """
    matrix = load_matrix(path)
    if dim is not None and (matrix.ndim < 2 or matrix.shape[1] != dim):
        raise DataError(f"{path}: shape {matrix.shape}, expected {dim} columns")
    return Table(str(path), tuple(ids), matrix)


def load_matrix(path: Path) -> Matrix:
    """Open a matrix: ``.npy`` memory-mapped, ``.npz`` as CSR (data, indices, indptr, shape; or scipy's format).

    Raises:
        DataError: missing, cut short, not numeric, or not a consistent CSR matrix.
    """
    path = Path(path)
    return _load_sparse(path) if path.suffix == ".npz" else arrays.load_npy(path, mapped=True)


def save_matrix(path: Path, matrix: Matrix) -> None:
    """Write ``.npy`` from a dense or ``.npz`` from a sparse matrix, atomically.

    The sparse file is scipy's, which has the four CSR parts under the reference's names too.
    """
    with files.atomic(path, "wb") as file:
        if isinstance(matrix, np.ndarray):
            np.save(file, matrix, allow_pickle=False)
        else:
            scipy.sparse.save_npz(file, matrix.tocsr())


def read(path: str | os.PathLike) -> Table:
    """A table that brings its own ids.

    Args:
        path: ``.npz`` with ``ids`` (strings) and ``matrix`` (rows, columns), as `write` makes it; ``.npy`` with a file of
            ids beside it, ``item_factors_X.npy`` with ``index_factors_X.tsv`` as tools.factorize writes them, or with
            ``items_index_X.tsv``, else ``X.npy`` with ``X.tsv``; ``ix_to_cf.npy`` of a published split; any other file is text, a line per row: the id, then its numbers, separated by tabs
            (or by blanks where there are no tabs).

    Raises:
        DataError: missing, not numeric, rows of different lengths (the line is named), or an id comes twice.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(
            f"{path}: no such table; give a .npz with ids and matrix, or text with an id and numbers a line"
        )
    if path.suffix == ".npy":
        if path.name.removeprefix("sub_") == "ix_to_cf.npy":
            matrix = load_matrix(path)
            rows_of = published.rows(path, count=len(matrix))
            return Table(str(path), tuple(rows_of.values()), matrix[list(rows_of)])
        index, second = (
            path.with_name(path.name.replace("item_factors_", name, 1)).with_suffix(".tsv")
            for name in ("index_factors_", "items_index_")
        )
        index = second if second.is_file() and not index.is_file() else index
        return load(path, layout.read_ids(index))
    if path.suffix == ".npz":
        parts = arrays.load_npz(path, ("ids", "matrix"))
        ids, matrix = parts["ids"], parts["matrix"]
        if ids.ndim != 1 or ids.dtype.kind != "U" or matrix.dtype.kind not in "fiub":
            raise DataError(
                f"{path}: ids are {ids.dtype} of shape {ids.shape} and matrix {matrix.dtype}; expected a list of text and "
                "numbers"
            )
        return Table(str(path), tuple(map(str, ids)), matrix)
    names: list[str] = []
    rows: list[np.ndarray] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *values = line.split("\t") if "\t" in line else line.split()
        try:
            row = np.array(values, np.float32)
        except ValueError:
            raise DataError(f"{path}:{number}: expected an id and numbers, found {line[:60]!r}") from None
        if not len(row) or (rows and len(row) != len(rows[0])):
            wanted = len(rows[0]) if rows else "at least 1"
            raise DataError(f"{path}:{number}: {len(row)} numbers, expected {wanted}")
        names.append(name)
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: holds no row; expected an id and its numbers a line")
    return Table(str(path), tuple(names), np.stack(rows))


def write(path: str | os.PathLike, table: Table) -> None:
    """Write a table with its ids, ``.npz``, atomically."""
    with files.atomic(Path(path), "wb") as file:
        np.savez(file, ids=np.array(table.ids), matrix=densify(table.matrix))


def save_sets(folder: layout.DataFolder, setting: str, matrices: Mapping[str, Matrix]) -> list[Path]:
    """Write one feature file per set and remove one of the other kind left from before; returns the paths."""
    written = []
    for subset, matrix in matrices.items():
        sparse = scipy.sparse.issparse(matrix)
        path = folder.new_features(subset, setting, sparse=sparse)
        save_matrix(path, matrix)
        folder.new_features(subset, setting, sparse=not sparse).unlink(missing_ok=True)
        written.append(path)
    return written


def _load_sparse(path: Path) -> scipy.sparse.csr_matrix:
    parts = arrays.load_npz(path, ("data", "indices", "indptr", "shape"))
    kind = str(parts["format"].tolist()) if "format" in parts else "csr"
    if kind not in ("csr", "b'csr'", "csc", "b'csc'"):
        raise DataError(f"{path}: a sparse matrix of format {kind[:20]}; expected csr or csc")
    data, indices, indptr, shape = (parts[name] for name in ("data", "indices", "indptr", "shape"))
    for name, array, kinds in (("data", data, "fiub"), ("indices", indices, "iu"), ("indptr", indptr, "iu")):
        if array.ndim != 1 or array.dtype.kind not in kinds:
            raise DataError(f"{path}: {name} is {array.dtype} of shape {array.shape}; expected a list of numbers")
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or not all(0 <= size <= _MOST_COLUMNS for size in shape):
        raise DataError(f"{path}: shape is {shape.tolist()}; expected rows and columns, each at most {_MOST_COLUMNS}")
    rows, columns = map(int, shape)
    # What SciPy allocates by the shape alone is as long as one of these.
    if len(indptr) - 1 != (columns if "csc" in kind else rows):
        raise DataError(f"{path}: indptr has {len(indptr)} entries, and the shape is {(rows, columns)}; write it again")
    make = scipy.sparse.csc_matrix if "csc" in kind else scipy.sparse.csr_matrix
    try:
        matrix = make((data, indices, indptr), shape=(rows, columns))
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise DataError(f"{path}: not a consistent sparse matrix ({error})") from None
    return scipy.sparse.csr_matrix(matrix)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
