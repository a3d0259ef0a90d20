"""Factors of listening counts (implicit alternating least squares) and of class matrices (PMI and SVD)."""

import warnings
from typing import NamedTuple

import numpy as np
import scipy.sparse

from orpheus.errors import ConfigError, DataError

WEIGHTINGS = ("log", "linear", "binary")


class Factors(NamedTuple):
    """A matrix M (items, columns) ≈ items @ others.T; `others` are users or classes. float32."""

    items: np.ndarray
    others: np.ndarray


def confidence(
    counts: scipy.sparse.spmatrix, *, weighting: str = "log", alpha: float = 40.0, epsilon: float = 1.0
) -> scipy.sparse.csr_matrix:
    """Confidence in each listening count: 1 + alpha · f(count), float32, same sparsity.

    Args:
        counts: Values > 0 where stored.
        weighting: f: ``log`` is ln(1 + count / epsilon), ``linear`` the count, ``binary`` 1.
        alpha: Weight of what was heard against what was not; ≥ 0.
        epsilon: Count at which the logarithm sets in; > 0.

    Source: Hu, Koren, Volinsky 2008, section 4 (linear) and 6 (log).
    """
    if weighting not in WEIGHTINGS:
        raise ConfigError(f"weighting={weighting!r}: expected one of {', '.join(WEIGHTINGS)}")
    if alpha < 0 or epsilon <= 0:
        raise ConfigError(f"alpha={alpha}, epsilon={epsilon}: expected alpha >= 0 and epsilon > 0")
    result = scipy.sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    if not np.all(np.isfinite(result.data)) or np.any(result.data <= 0):
        raise DataError("counts: a stored value is zero, negative or not finite; expected numbers > 0")
    if weighting == "log":
        result.data = np.log1p(result.data / np.float32(epsilon))
    elif weighting == "binary":
        result.data[:] = 1
    result.data = np.float32(1) + np.float32(alpha) * result.data
    return result


def als(
    confidences: scipy.sparse.spmatrix,
    dim: int,
    *,
    regularization: float = 0.1,
    iterations: int = 15,
    seed: int = 0,
    threads: int = 0,
    exact: bool = False,
    callback=None,
) -> Factors:
    """Factorise confidences by alternating least squares for implicit feedback, float32.

    Args:
        confidences: (users, items) as `confidence` makes them; what is not stored counts as 0 with confidence 1.
        dim: Number of factors.
        regularization: λ of the squared norms, ≥ 0.
        iterations: Rounds of users, then items.
        seed: Of the first factors. Equal seeds give equal factors whatever the number of threads.
        threads: 0: all cores.
        exact: Solve each row exactly instead of by three conjugate gradient steps: slower by a factor of dim / 10.
        callback: Called as ``callback(iteration, seconds, loss)`` after each round.

    Returns:
        `Factors` with items (items, dim) and others (users, dim).

    Source: Hu, Koren, Volinsky 2008; Takács et al. 2011 (conjugate gradient); library implicit.
    """
    _check_dim(dim)
    if iterations < 1 or regularization < 0:
        raise ConfigError(f"iterations={iterations}, regularization={regularization}: expected at least 1 and 0")
    import threadpoolctl
    from implicit.cpu.als import AlternatingLeastSquares

    # BLAS threads inside implicit's own threads fight for the same cores.
    with threadpoolctl.threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = AlternatingLeastSquares(
            factors=dim,
            regularization=regularization,
            alpha=1.0,
            dtype=np.float32,
            use_cg=not exact,
            iterations=iterations,
            num_threads=threads,
            random_state=seed,
        )
        model.fit(scipy.sparse.csr_matrix(confidences, dtype=np.float32), show_progress=False, callback=callback)
    return Factors(model.item_factors, model.user_factors)


def fold_in_parts(others: np.ndarray, confidences: np.ndarray, *, regularization: float = 0.1) -> np.ndarray:
    """What each known row brings to a folded-in vector: (known, dim) float64, whose sum is the vector of `fold_in`.

    x = Σ c_n A⁻¹ y_n with A = YᵀY + Yᵀ(C − I)Y + λI; so a score x · v falls into parts, one for each known row.

    Args:
        others: (all, dim) factors of the other side, of which those with a confidence are known.
        confidences: (all,), 0 where nothing is known.
        regularization: λ.

    Source: Hu, Koren, Volinsky 2008, section 5 (explaining recommendations).
    """
    others = np.asarray(others, np.float64)
    confidences = np.asarray(confidences, np.float64)
    if confidences.shape != others.shape[:1]:
        raise DataError(f"{confidences.shape[0]} confidences do not fit factors of {len(others)} rows")
    known = np.flatnonzero(confidences)
    mine, weight = others[known], confidences[known, None]
    left = others.T @ others + regularization * np.eye(others.shape[1]) + (mine.T * (weight[:, 0] - 1)) @ mine
    return np.linalg.solve(left, (weight * mine).T).T


def fold_in(users: np.ndarray, confidences: scipy.sparse.spmatrix, *, regularization: float = 0.1) -> np.ndarray:
    """Factors of items from their listeners, with the user factors fixed: the closed form of one ALS half-step.

    x = (UᵀU + Uᵀ(C − I)U + λI)⁻¹ UᵀC p for each item (Hu, Koren, Volinsky 2008, equation 5).

    Args:
        users: (users, dim).
        confidences: (items, users), CSR.

    Returns:
        (items, dim), float32. Items without listeners get zeros.
    """
    users = np.asarray(users, np.float64)
    rows = scipy.sparse.csr_matrix(confidences)
    if rows.shape[1] != len(users):
        raise DataError(f"counts of {rows.shape[1]} users do not fit factors of {len(users)} users")
    base = users.T @ users + regularization * np.eye(users.shape[1])
    result = np.zeros((rows.shape[0], users.shape[1]), np.float32)
    for row in range(rows.shape[0]):
        span = slice(rows.indptr[row], rows.indptr[row + 1])
        weight, mine = rows.data[span].astype(np.float64), users[rows.indices[span]]
        if len(weight):
            result[row] = np.linalg.solve(base + (mine.T * (weight - 1)) @ mine, weight @ mine)
    return result


def pmi(
    matrix: scipy.sparse.spmatrix | np.ndarray, *, marginals: tuple[np.ndarray, float] | None = None
) -> scipy.sparse.csr_matrix:
    """Positive pointwise mutual information of an item × class matrix, CSR float64.

    max(0, ln(p(item, class) / (p(item) p(class)))), which is ln(m_ic · N / (m_i· m_·c)); natural logarithm.

    Args:
        matrix: (items, classes), values ≥ 0.
        marginals: (class sums, total N) of other items, to weight new items as those were. None: of `matrix` itself.

    Source: Church and Hanks 1990; positive part as Levy and Goldberg 2014.
    """
    matrix = scipy.sparse.coo_matrix(matrix, dtype=np.float64)
    matrix.sum_duplicates()
    if matrix.nnz and (not np.all(np.isfinite(matrix.data)) or matrix.data.min() < 0):
        raise DataError("class matrix: a value is negative or not finite; expected numbers >= 0")
    columns, total = marginals if marginals is not None else (np.asarray(matrix.sum(axis=0)).ravel(), matrix.sum())
    of_row = np.asarray(matrix.sum(axis=1)).ravel()[matrix.row]
    known = (columns[matrix.col] > 0) & (matrix.data > 0)
    values = np.zeros(matrix.nnz)
    values[known] = np.log(matrix.data[known] * total / (of_row[known] * columns[matrix.col][known]))
    result = scipy.sparse.csr_matrix((np.maximum(values, 0), (matrix.row, matrix.col)), shape=matrix.shape)
    result.eliminate_zeros()
    return result


def pmi_factors(matrix: scipy.sparse.spmatrix | np.ndarray, dim: int, *, seed: int = 0) -> Factors:
    """Item and class factors from the truncated SVD of the positive PMI: U√Σ and V√Σ, float32.

    Their product is the best approximation of rank `dim`; a class's factors point where its items' do.

    Args:
        matrix: (items, classes), values ≥ 0.
        dim: Number of factors, at most min(items, classes).
        seed: Of the randomised SVD that large matrices take (above 4 million cells).

    Raises:
        ConfigError: `dim` is larger than the matrix allows.

    Source: Oramas et al. 2017 (ISMIR, section 4.2); Levy and Goldberg 2014 for the symmetric square root.
    """
    _check_dim(dim)
    if dim > min(matrix.shape):
        raise ConfigError(f"dim={dim}: a matrix of shape {tuple(matrix.shape)} has at most {min(matrix.shape)} factors")
    information = pmi(matrix)
    if np.prod(information.shape, dtype=float) <= 4e6:
        left, values, right = np.linalg.svd(information.toarray(), full_matrices=False)
        left, values, right = left[:, :dim], values[:dim], right[:dim]
    else:
        from sklearn.utils.extmath import randomized_svd

        left, values, right = randomized_svd(information, dim, n_iter=7, random_state=seed)
    # An SVD is unique only up to signs: make the largest class loading of each factor positive.
    signs = np.sign(right[np.arange(dim), np.abs(right).argmax(axis=1)])
    signs[signs == 0] = 1
    root = np.sqrt(values) * signs
    return Factors((left * root).astype(np.float32), (right.T * root).astype(np.float32))


def pmi_fold_in(classes: np.ndarray, matrix, *, marginals: tuple[np.ndarray, float]) -> np.ndarray:
    """Factors of further items by the training items' class sums and factors: PMI · V Σ^(−1/2), float32 (items, dim).

    Args:
        classes: (classes, dim) of `pmi_factors`.
        matrix: (items, classes) of the further items.
        marginals: (class sums, total) of the training items.
    """
    classes = np.asarray(classes, np.float64)
    # V√Σ has orthogonal columns whose squared norms are the singular values.
    values = (classes**2).sum(axis=0)
    scale = np.divide(1, values, out=np.zeros_like(values), where=values > 1e-9 * values.max(initial=0))
    return (pmi(matrix, marginals=marginals) @ (classes * scale)).astype(np.float32)


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise ConfigError(f"dim={dim}: expected at least 1")
