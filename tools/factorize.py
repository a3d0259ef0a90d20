"""Factors of a dataset: implicit ALS of listening counts, PMI and SVD of class labels, or the classes themselves."""

import argparse
import json
import logging
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError

log = logging.getLogger("tools.factorize")


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.factorize",
        "Write what models learn to predict, y_SET_FACT_DIM_NAME.npy, and the factors of the users (or items). Test items are "
        "never factorised: their targets, for R² only, are folded in afterwards. A leaking split is refused. With --all, "
        "for retrieval: factors of every item, whose listeners are known and whose tags are not.",
        example="python -m tools.factorize als --data-dir data --dataset HET --dim 200",
    )
    result.add_argument("fact", choices=("als", "pmi", "class"), help="what to factorise, and how")
    result.add_argument("--data-dir", required=True, metavar="DIR", help="data folder with splits/")
    result.add_argument("--dataset", required=True, metavar="NAME", help="name of the data set, as in its file names")
    result.add_argument("--dim", type=int, default=200, metavar="N", help="number of factors (als, pmi)")
    result.add_argument("--seed", type=int, default=0, help="seed of the first factors")
    als = result.add_argument_group("als")
    als.add_argument(
        "--counts",
        metavar="FILE",
        help="file of user, item, count (.tsv, .csv); splits/matrix_SET_NAME.npz if not given",
    )
    als.add_argument(
        "--weighting", choices=("log", "linear", "binary"), default="log", help="weighting of a play count"
    )
    als.add_argument(
        "--alpha",
        type=float,
        default=40.0,
        metavar="A",
        help="factor A of the confidence, which is 1 + A times the weighted count",
    )
    als.add_argument("--regularization", type=float, default=0.1, metavar="L", help="weight of the squared norms")
    als.add_argument("--iterations", type=int, default=15, metavar="N", help="number of rounds")
    als.add_argument("--threads", type=int, default=0, metavar="N", help="number of threads; 0: all cores")
    als.add_argument(
        "--all",
        action="store_true",
        help="factors of all items of --counts (or of all sets), item_factors_als-all_DIM_NAME.npy, and nothing else: for "
        "retrieval, where test songs have listeners; needs no splits/ where --counts is given",
    )
    als.add_argument(
        "--upper-bound",
        action="store_true",
        help="also factorise with the test items, as FACT als-seen, for comparison",
    )
    labels = result.add_argument_group("pmi and class")
    labels.add_argument(
        "--labels",
        metavar="TSV",
        help="file of item and its classes, or item and [0,1,…]; index/labels_NAME.tsv or y_NAME.tsv if not given",
    )
    return result


def factorize_counts(
    folder,
    dim: int,
    *,
    counts: Path | None = None,
    weighting: str = "log",
    alpha: float = 40.0,
    regularization: float = 0.1,
    iterations: int = 15,
    seed: int = 0,
    threads: int = 0,
    upper_bound: bool = False,
    callback=None,
) -> list[Path]:
    """Factorise the counts of training and val items; returns the files written.

    Args:
        folder: `DataFolder` with the item indexes.
        counts: File of user, item, count; its counts become ``matrix_SET`` files. None: those files are there.
        upper_bound: Also write user factors, and factors of the test items, of a factorisation with the test items.

    Raises:
        DataError: a file is missing, sizes differ, a listed item has no counts, or a test item is among the others.
    """
    import scipy.sparse

    from orpheus.base import files
    from orpheus.data.items import layout, tables
    from orpheus.learning.vectors import factorisation

    folder.sets()
    if counts is not None:
        _write_matrices(folder, counts)
    seen = [subset for subset in ("train", "val") if folder.source(subset) == subset]
    by_set = {subset: tables.counts(folder, subset) for subset in (*seen, "test")}
    users = _check_users(folder, by_set)
    weights = {
        subset: factorisation.confidence(table.matrix, weighting=weighting, alpha=alpha)
        for subset, table in by_set.items()
    }

    def fit(subsets, callback=None):
        matrix = scipy.sparse.vstack([weights[subset] for subset in subsets]).T.tocsr()
        return factorisation.als(
            matrix,
            dim,
            regularization=regularization,
            iterations=iterations,
            seed=seed,
            threads=threads,
            callback=callback,
        )

    result = fit(seen, callback)
    ids = [item for subset in seen for item in by_set[subset].ids]
    layout.check_disjoint(ids, folder.items("test"), where=f"{folder.items_index('test')}: leak into the factorisation")
    written = _write_items(folder, "als", dim, result.items, ids, {subset: by_set[subset].ids for subset in seen})
    files.write_json(
        folder.factors_settings("als", dim), {"weighting": weighting, "alpha": alpha, "regularization": regularization}
    )
    written.append(folder.factors_settings("als", dim))
    unheard = factorisation.fold_in(result.others, weights["test"], regularization=regularization)
    written += _save({folder.targets("test", "als", dim): unheard, folder.user_factors("als", dim): result.others})
    if upper_bound:
        whole = fit([*seen, "test"])
        written += _save(
            {
                folder.item_factors("als-seen", dim, "test"): whole.items[len(ids) :],
                folder.user_factors("als-seen", dim): whole.others,
            }
        )
    log.info("als: %d items × %d users, %d counts", len(ids), users, sum(by_set[s].matrix.nnz for s in seen))
    return written


def factorize_everything(
    folder,
    dim: int,
    *,
    counts: Path | None = None,
    weighting: str = "log",
    alpha: float = 40.0,
    regularization: float = 0.1,
    iterations: int = 15,
    seed: int = 0,
    threads: int = 0,
    callback=None,
) -> list[Path]:
    """Factorise the counts of all items at once, without regard to the sets; returns the files written.

    Args:
        folder: `DataFolder`; its item indexes are read where `counts` is None.
        counts: File of user, item, count. None: the ``matrix_SET`` files of the folder.

    Raises:
        DataError: a file is missing, or an item is in two sets.
    """
    import scipy.sparse

    from orpheus.data.items import interactions, layout, tables
    from orpheus.learning.vectors import factorisation

    if counts is not None:
        data = interactions.read(counts).filter()
        ids, matrix = tuple(data.items), data.counts.tocsr()
    else:
        by_set = {subset: tables.counts(folder, subset) for subset in layout.SETS if folder.source(subset) == subset}
        _check_users(folder, by_set)
        whole = tables.stack(list(by_set.values()))
        ids, matrix = whole.ids, scipy.sparse.csr_matrix(whole.matrix).T.tocsr()
    result = factorisation.als(
        factorisation.confidence(matrix, weighting=weighting, alpha=alpha),
        dim,
        regularization=regularization,
        iterations=iterations,
        seed=seed,
        threads=threads,
        callback=callback,
    )
    path = folder.factors_index("als-all", dim)
    layout.write_ids(path, ids)
    log.info("als: all %d items × %d users, %d counts", len(ids), matrix.shape[0], matrix.nnz)
    return [
        path,
        *_save({folder.item_factors("als-all", dim): result.items, folder.user_factors("als-all", dim): result.others}),
    ]


def factorize_classes(
    folder, fact: str, dim: int | None = None, *, labels: Path | None = None, seed: int = 0
) -> list[Path]:
    """Class targets (`fact` class; dim is the number of classes) or PMI factors of them (pmi); returns the files written.

    Raises:
        ConfigError: more factors than classes.
        DataError: no labels, or an item or class of them is unknown (named).
    """
    import numpy as np

    from orpheus.data.items import layout
    from orpheus.learning.vectors import factorisation

    folder.sets()
    present = {subset: folder.items(subset) for subset in layout.SETS if folder.source(subset) == subset}
    names, by_item = read_labels(folder, labels)
    missing = [item for items in present.values() for item in items if item not in by_item]
    if missing:
        raise DataError(f"{labels or 'labels'}: no line of item {missing[0]!r} ({len(missing)} items are missing)")
    matrices = {subset: np.stack([by_item[item] for item in items]) for subset, items in present.items()}
    if not folder.labels().is_file():
        layout.write_ids(folder.labels(), names)
    if fact == "class":
        return _save({folder.targets(subset, "class", len(names)): matrix for subset, matrix in matrices.items()})

    seen = [subset for subset in ("train", "val") if subset in present]
    learned = np.concatenate([matrices[subset] for subset in seen])
    if dim is None or dim > min(learned.shape):
        raise ConfigError(
            f"dim={dim}: {len(learned)} items and {len(names)} classes have at most {min(learned.shape)} factors"
        )
    result = factorisation.pmi_factors(learned, dim, seed=seed)
    ids = [item for subset in seen for item in present[subset]]
    written = _write_items(folder, "pmi", dim, result.items, ids, {subset: present[subset] for subset in seen})
    unseen = factorisation.pmi_fold_in(result.others, matrices["test"], marginals=(learned.sum(axis=0), learned.sum()))
    return written + _save(
        {folder.targets("test", "pmi", dim): unseen, folder.class_factors("pmi", dim): result.others}
    )


def read_labels(folder, path: Path | None = None):
    """Class names, and item → float32 0/1 vector in their order.

    Raises:
        DataError: no file, vectors of unequal length, values other than 0 and 1, or an unknown class (line's item named).
    """
    import numpy as np

    from orpheus.data.items import layout

    if path is None:
        known = [folder.items_labels(), folder.index / f"y_{folder.dataset}.tsv"]
        path = next((one for one in known if one.is_file()), None)
        if path is None:
            raise DataError(
                f"{known[0]}: no such file, nor {known[1].name}; one of them lists the classes of the items"
            )
    pairs = layout.read_pairs(path)
    names = layout.read_ids(folder.labels()) if folder.labels().is_file() else None
    if all(value.startswith("[") for value in pairs.values()):
        result = {item: _vector(path, item, value) for item, value in pairs.items()}
        size = len(next(iter(result.values())))
        names = names or tuple(f"class {number}" for number in range(size))
        for item, vector in result.items():
            if len(vector) != len(names):
                raise DataError(
                    f"{path}: item {item!r} has {len(vector)} values, expected {len(names)} (one per class)"
                )
        return names, result
    listed = {item: [name for name in value.split("\t") if name] for item, value in pairs.items()}
    names = names or tuple(sorted({name for values in listed.values() for name in values}))
    column = {name: number for number, name in enumerate(names)}
    result = {}
    for item, values in listed.items():
        unknown = [name for name in values if name not in column]
        if unknown:
            raise DataError(f"{path}: item {item!r} has class {unknown[0]!r}, which is not in {folder.labels()}")
        result[item] = np.zeros(len(names), np.float32)
        result[item][[column[name] for name in values]] = 1
    return names, result


def _vector(path, item: str, text: str):
    import numpy as np

    try:
        vector = np.asarray(json.loads(text), np.float32)
    except (ValueError, TypeError):
        raise DataError(f"{path}: item {item!r} has {text[:40]!r}, expected a list such as [0,1,0]") from None
    if vector.ndim != 1 or not np.isin(vector, (0, 1)).all():
        raise DataError(f"{path}: item {item!r} has {text[:40]!r}, expected zeros and ones")
    return vector


def _write_matrices(folder, path: Path) -> None:
    """Counts of a file to the matrices of the sets. Users who heard nothing to learn from are left out."""
    from orpheus.data.items import interactions, layout, tables

    data = interactions.read(path)
    present = {subset: folder.items(subset) for subset in layout.SETS if folder.source(subset) == subset}
    known = set(data.items)
    for subset, items in present.items():
        missing = [item for item in items if item not in known]
        if missing:
            raise DataError(
                f"{path}: no counts of item {missing[0]!r} of {folder.items_index(subset)} ({len(missing)} such items)"
            )
    learned = [item for subset, items in present.items() if subset != "test" for item in items]
    users = data.select(items=learned).filter().users
    layout.write_ids(folder.users_index(), users)
    for subset, items in present.items():
        tables.save_matrix(folder.matrix(subset), data.select(users=users, items=items).counts.T.tocsr())


def _check_users(folder, by_set) -> int:
    """All matrices have the same users; returns their number."""
    from orpheus.data.items import layout

    expected = by_set["train"].dim
    for subset, table in by_set.items():
        if table.dim != expected:
            raise DataError(f"{table.name}: {table.dim} users (columns), but {folder.matrix('train')} has {expected}")
        if not table.matrix.nnz:
            raise DataError(f"{table.name}: no counts of any {subset} item")
    if folder.users_index().is_file() and len(layout.read_ids(folder.users_index())) != expected:
        raise DataError(
            f"{folder.users_index()}: not one id for each of the {expected} users of {folder.matrix('train')}"
        )
    return expected


def _write_items(folder, fact: str, dim: int, matrix, ids, by_set) -> list[Path]:
    """The factors of all items seen, the list of them, and each set's part as targets."""
    from orpheus.data.items import layout

    path = folder.factors_index(fact, dim)
    layout.write_ids(path, ids)
    written, start = _save({folder.item_factors(fact, dim): matrix}), 0
    for subset, items in by_set.items():
        written += _save({folder.targets(subset, fact, dim): matrix[start : start + len(items)]})
        start += len(items)
    return [path, *written]


def _save(matrices) -> list[Path]:
    from orpheus.data.items import tables

    for path, matrix in matrices.items():
        tables.save_matrix(path, matrix)
    return list(matrices)


def body(arguments: argparse.Namespace) -> None:
    from orpheus.data.items import layout

    folder = layout.DataFolder(arguments.data_dir, arguments.dataset)
    if arguments.all and (arguments.fact != "als" or arguments.upper_bound):
        raise ConfigError("--all: factors of all items are als' alone, and their own upper bound; leave the others out")
    if arguments.fact == "als":
        settings = {
            "counts": arguments.counts,
            "weighting": arguments.weighting,
            "alpha": arguments.alpha,
            "regularization": arguments.regularization,
            "iterations": arguments.iterations,
            "seed": arguments.seed,
            "threads": arguments.threads,
        }
        with cli.progress(total=arguments.iterations, desc="als", unit="round") as bar:
            settings["callback"] = lambda *_: bar.update(1)
            if arguments.all:
                written = factorize_everything(folder, arguments.dim, **settings)
            else:
                written = factorize_counts(folder, arguments.dim, upper_bound=arguments.upper_bound, **settings)
    else:
        written = factorize_classes(
            folder,
            arguments.fact,
            arguments.dim,
            labels=arguments.labels and Path(arguments.labels),
            seed=arguments.seed,
        )
    for path in written:
        print(path)


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
