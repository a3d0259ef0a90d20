"""How good an experiment's outputs are: lists of unheard items per user, classes, or R²; and the baselines."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from orpheus.base import files
from orpheus.data.items import tables, texts
from orpheus.data.items.examples import Examples
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import areas, baselines, bootstrap, classification
from orpheus.learning.evaluation import as_reference as reference
from orpheus.learning.evaluation.lists import evaluate_lists
from orpheus.tasks.recommendation import intervals
from orpheus.tasks.recommendation.data import RecommendationData

log = logging.getLogger(__name__)
Progress = Callable[..., Any]
NEIGHBOURS, SIMILAR = 100, 50  # as the baselines' defaults


def evaluate(
    data: RecommendationData,
    outputs: np.ndarray,
    subset: str,
    *,
    k: int | None = None,
    replicates: int = 0,
    validation: np.ndarray | None = None,
    keep_per_user: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score outputs by what the experiment's config says: metrics as JSON can hold them.

    Args:
        data: The experiment's.
        outputs: (items of the set, dim), in the splits' order.
        subset: ``"train"``, ``"val"`` or ``"test"``.
        k: Length of recommendation lists; the config's if None.
        replicates: Of the bootstrap for 95 % intervals; 0 for none.
        validation: Outputs of the val set, by which multi-label thresholds are chosen.
        keep_per_user: Of recommendation, also ``"per_user"``, metric → (users,), which JSON cannot hold.
        progress: `cli.progress`.

    Raises:
        DataError: files of the truth are missing or do not fit.
    """
    kind = data.config.evaluation
    if kind == "recommendation":
        users = user_factors(data)
        result = lists(
            data,
            subset,
            lambda start, stop: users[start:stop] @ outputs.T,
            k=k,
            replicates=replicates,
            progress=progress,
        )
        if not keep_per_user:
            del result["per_user"]
    elif kind in ("multilabel", "multiclass", "binary"):
        result = classes(data, outputs, subset, replicates=replicates, validation=validation)
    else:
        result = {}
    if data.folder.targets(data.folder.source(subset), data.config.data.fact, data.dim).is_file() and (
        kind in ("recommendation", "regression")
    ):
        truth = _targets(data, subset)
        result["R2"] = r_squared(truth, outputs)
        if replicates and result["R2"] is not None:
            bounds = intervals.r_squared(truth, outputs, n=replicates)
            result["intervals"] = {**result.get("intervals", {}), "R2": bounds}
    if not result:
        raise DataError(f"{data.folder.targets(subset, data.config.data.fact, data.dim)}: no such file")
    return {"items": len(outputs), **result}


def as_reference(
    data: RecommendationData, outputs: np.ndarray, subset: str, *, k: int | None = None
) -> dict[str, float | None]:
    """The figures that tartarus prints of the same outputs (`learning.evaluation.as_reference`).

    Args:
        data: The experiment's.
        outputs: (items of the set, dim), in the splits' order.
        subset: ``"train"``, ``"val"`` or ``"test"``.
        k: Length of lists, also of classes; the config's (500) if None.

    Raises:
        ConfigError: the experiment is neither of recommendation, of several labels nor of factors.
    """
    settings = data.config.evaluating
    found: dict[str, float | None] = {}
    k, kind = k or settings.k, data.config.evaluation
    cutoffs = [cut for cut in settings.cutoffs if cut <= k]
    if kind == "recommendation":
        # Scores of items at length 1, as eval.py has them; of PMI factors their cosine.
        users, items = user_factors(data), baselines.unit(outputs)
        users = baselines.unit(users) if data.config.data.fact == "pmi" else users
        rows, truth = (lambda start, stop: users[start:stop] @ items.T), counts(data, subset)
        found |= reference.lists(rows, truth, k=k, cutoffs=cutoffs)
    elif kind == "multilabel":
        scores, labels = class_scores(data, outputs), scipy.sparse.csr_matrix(class_truth(data, subset))
        found |= reference.lists(lambda start, stop: scores[start:stop], labels, k=k, cutoffs=cutoffs, pr_auc=False)
    elif kind != "regression":
        raise ConfigError(f"--as-reference: evaluation={kind}, whose figures are the reference's anyway; leave it out")
    fact = data.config.data.fact
    if fact != "class" and data.folder.targets(data.folder.source(subset), fact, data.dim).is_file():
        found["R2"] = reference.r_squared_of_items(_targets(data, subset), outputs)
    return found


def user_factors(data: RecommendationData) -> np.ndarray:
    """User factors, (users, dim) float32."""
    matrix = tables.load_matrix(data.folder.user_factors(data.config.data.fact, data.dim))
    if matrix.ndim != 2 or matrix.shape[1] != data.dim:
        path = data.folder.user_factors(data.config.data.fact, data.dim)
        raise DataError(f"{path}: shape {matrix.shape}, expected {data.dim} columns")
    return np.asarray(matrix, np.float32)


def counts(data: RecommendationData, subset: str, ids: Sequence[str] | None = None) -> scipy.sparse.csr_matrix:
    """Listening counts of a set's items, (users, items), of `ids` of its files; None: of the splits' set."""
    table = tables.counts(data.folder, subset)
    return scipy.sparse.csr_matrix(table.rows(getattr(data.splits, subset) if ids is None else ids)).T.tocsr()


def lists(
    data: RecommendationData,
    subset: str,
    score_rows: Callable[[int, int], np.ndarray],
    *,
    k: int | None = None,
    replicates: int = 0,
    progress: Progress | None = None,
    name: str = "evaluate",
) -> dict[str, Any]:
    """Metrics of every user's list of a set's items, with intervals over users.

    Args:
        score_rows: (start, stop) → (users, items) scores of these users.

    Returns:
        ``{"users", "mean", "intervals": {metric: [low, high]}, "coverage", "per_user"}``.
    """
    settings = data.config.evaluating
    k = k or settings.k
    relevance = counts(data, subset)
    bar = progress(total=relevance.shape[0], desc=name, unit="user") if progress else None
    result = evaluate_lists(
        score_rows,
        relevance,
        k=k,
        cutoffs=[cut for cut in settings.cutoffs if cut <= k],
        progress=bar.update if bar is not None else None,
    )
    if bar is not None:
        bar.close()
    if replicates:
        result["intervals"] = _means(result["per_user"], replicates)
    return result


def compare(
    data: RecommendationData,
    subset: str = "test",
    *,
    k: int | None = None,
    replicates: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """The baselines of a recommendation experiment, each as `lists` gives it; of features those of its inputs.

    ``random``; ``popularity`` of the most similar training items (nobody knows how popular an unheard item is, so a
    plain popularity does not exist); ``popularity, oracle``: by the true numbers of the test, what a ranking that is the
    same for everybody can reach at most; ``nearest neighbours``; ``upper bound``: a factorisation that has seen the
    test items, where ``tools.factorize als --upper-bound`` has made one.

    Raises:
        ConfigError: the experiment recommends nothing.
    """
    if data.config.evaluation != "recommendation":
        raise ConfigError(f"baselines: evaluation={data.config.evaluation}, they are for recommendation")
    truth = counts(data, subset)
    items = truth.shape[1]

    def popularity(values: np.ndarray):
        return lambda start, stop: np.broadcast_to(np.asarray(values, np.float32), (stop - start, items))

    rankings = {
        "random": lambda start, stop: np.random.default_rng([seed, start]).random((stop - start, items), np.float32)
    }
    # What the factors have seen, held-out items of train too: baselines know no less than the model's users do.
    learned = {one: getattr(data.splits, one) for one in ("train", "val") if one != subset}
    if "train" in learned:
        learned["train"] += data.held_out
    features = raw_features(data, [*learned.items(), (subset, getattr(data.splits, subset))])
    if features:
        split = sum(map(len, learned.values()))
        heard = scipy.sparse.hstack([counts(data, *one) for one in learned.items()]).T.tocsr()  # (items, users)
        binary = heard.copy()
        binary.data = (binary.data > 0).astype(np.float32)
        near = baselines.neighbours(features[0][:split], features[0][split:], split, NEIGHBOURS)
        by_user = binary.tocsc()
        expected = baselines.expected_listeners(features[0][:split], features[0][split:], heard, k=SIMILAR)
        rankings["popularity"] = popularity(expected)
        rankings["nearest neighbours"] = lambda start, stop: np.asarray((near @ by_user[:, start:stop]).todense()).T
    else:
        log.info("no popularity and neighbours: the inputs are patches, which have no feature vector")
    rankings["popularity, oracle"] = popularity(np.diff(truth.tocsc().indptr))
    fact, dim, folder = data.config.data.fact, data.dim, data.folder
    seen = folder.item_factors(f"{fact}-seen", dim, subset), folder.user_factors(f"{fact}-seen", dim)
    if all(path.is_file() for path in seen):
        whole = tables.load(seen[0], folder.items(folder.source(subset)), dim=dim)
        vectors, people = whole.dense(getattr(data.splits, subset)), np.asarray(tables.load_matrix(seen[1]))
        rankings["upper bound"] = lambda start, stop: people[start:stop] @ vectors.T
    else:
        log.info("no upper bound: %s is not there; tools.factorize %s --upper-bound makes it", seen[0], fact)
    return {
        name: lists(data, subset, rows, k=k, replicates=replicates, progress=progress, name=name)
        for name, rows in rankings.items()
    }


def raw_features(data: RecommendationData, subsets: Sequence[tuple[str, Sequence[str]]]):
    """Feature vectors of all inputs that have one, each of length 1, side by side; an empty list where none has.

    Args:
        subsets: Sets, and items of their files.

    Returns:
        ``[matrix]``, dense or sparse, the sets' items below each other.
    """
    columns = []
    for name, settings in data.config.inputs.items():
        if settings.kind == "patches":
            continue
        parts = []
        for subset, ids in subsets:
            rows = data.table(name, subset).rows(ids)
            parts.append(
                texts.mean_vectors(np.asarray(rows), data.embeddings[name]) if settings.kind == "text" else rows
            )
        sparse = any(scipy.sparse.issparse(part) for part in parts)
        rows = scipy.sparse.vstack(parts).tocsr() if sparse else np.concatenate(parts)
        columns.append(baselines.unit(rows))
    if len(columns) > 1:
        mixed = any(scipy.sparse.issparse(one) for one in columns)
        return [scipy.sparse.hstack(columns).tocsr() if mixed else np.concatenate(columns, axis=1)]
    return columns


def class_truth(data: RecommendationData, subset: str) -> np.ndarray:
    """Which classes each item has, (items, classes) of 0 and 1."""
    if not data.classes:
        raise DataError(f"{data.folder.labels()}: no such file; it names the classes")
    table = tables.targets(data.folder, subset, "class", len(data.classes))
    return table.dense(getattr(data.splits, subset))


def class_scores(data: RecommendationData, outputs: np.ndarray) -> np.ndarray:
    """Scores of classes: the outputs, or the cosine of factors with those of each class."""
    if data.config.data.fact == "class":
        return outputs
    path = data.folder.class_factors(data.config.data.fact, data.dim)
    factors = np.asarray(tables.load_matrix(path), np.float32)
    if factors.shape != (len(data.classes), data.dim):
        raise DataError(f"{path}: shape {factors.shape}, expected {(len(data.classes), data.dim)}")
    return baselines.unit(outputs) @ baselines.unit(factors).T


def classes(
    data: RecommendationData,
    outputs: np.ndarray,
    subset: str,
    *,
    replicates: int = 0,
    validation: np.ndarray | None = None,
) -> dict[str, Any]:
    """Metrics of classes: areas, lists of classes per item and diversity; or accuracy, F1 and the confusion matrix."""
    truth, scores = class_truth(data, subset), class_scores(data, outputs)
    if data.config.evaluation == "multilabel":
        return _multilabel(data, truth, scores, replicates, validation)
    names = list(data.classes)
    if scores.shape[1] == 1:
        names = [f"not {names[0]}", names[0]]
        actual, predicted = truth[:, 0].astype(int), (scores[:, 0] >= 0.5).astype(int)
    else:
        if (truth.sum(axis=1) != 1).any():
            item = data.splits._asdict()[subset][int(np.argmax(truth.sum(axis=1) != 1))]
            raise DataError(
                f"{data.folder.targets(subset, 'class', len(names))}: item {item!r} has not exactly one class"
            )
        actual, predicted = truth.argmax(axis=1), scores.argmax(axis=1)
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (actual, predicted), 1)
    result = {**classification.classification(actual, predicted, names), "classes": names, "confusion": matrix.tolist()}
    if replicates and len(actual) > 1:
        hot = np.eye(len(names), dtype=bool)
        result["intervals"] = intervals.classification(hot[actual], hot[predicted], names, n=replicates)
    return result


def _multilabel(data: RecommendationData, truth, scores, replicates: int, validation) -> dict[str, Any]:
    names = data.classes
    cutoffs = [cut for cut in data.config.evaluating.cutoffs if cut <= len(names)]
    k = max(cutoffs, default=1)
    result = areas.summarise(truth, scores, names)
    ranked = evaluate_lists(
        lambda start, stop: scores[start:stop], scipy.sparse.csr_matrix(truth), k=k, cutoffs=cutoffs, roc=False
    )
    result["lists"] = ranked["mean"]
    result["diversity"] = {f"ADiv/{name}": value for name, value in ranked["coverage"].items()}
    if validation is not None:
        limits, _ = classification.best_thresholds(class_truth(data, "val"), class_scores(data, validation))
        chosen = scores >= np.where(np.isnan(limits), np.inf, limits)
        found = classification.classification(truth.astype(int), chosen.astype(int), names)
        result["at_thresholds"] = {key: found[key] for key in ("accuracy", "precision", "recall", "f1")}
        result["thresholds"] = {
            name: None if np.isnan(limit) else float(limit) for name, limit in zip(names, limits, strict=True)
        }
    if replicates:
        result["intervals"] = bootstrap.area_intervals(truth, scores, range(len(truth)), names, n=replicates)
        result["intervals"]["lists"] = _means(ranked["per_user"], replicates)
        if validation is not None:
            result["intervals"]["at_thresholds"] = intervals.classification(truth, chosen, names, n=replicates)
    return result


def _means(per_unit: dict[str, np.ndarray], replicates: int) -> dict[str, list[float]]:
    """Bounds of the means over users (or items) of each metric."""
    values = np.stack(list(per_unit.values()), axis=1)
    found = bootstrap.interval(values, range(len(values)), n=replicates)
    if len(values) < 2:
        return {}
    return {one: [float(low), float(high)] for one, low, high in zip(per_unit, found.low, found.high, strict=True)}


def _targets(data: RecommendationData, subset: str) -> np.ndarray:
    """(items, dim) float64 targets of a set."""
    return targets_of(data.examples(subset, targets=True))


def targets_of(examples: Examples) -> np.ndarray:
    """(items, dim) float64 targets of examples that were opened with them."""
    assert examples.targets is not None
    return examples.targets(np.arange(len(examples.ids)), 0).astype(np.float64)


def r_squared(truth: np.ndarray, outputs: np.ndarray) -> float | None:
    """Coefficient of determination, the mean over the dimensions that vary: 1 is perfect, 0 the mean of the set."""
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    varying = spread > 0
    error = ((truth - outputs) ** 2).sum(axis=0)
    return float((1 - error[varying] / spread[varying]).mean()) if varying.any() else None


def draw_confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], path: str | os.PathLike) -> None:
    """Picture of a confusion matrix: rows are true classes, shades are shares of the row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    values = np.asarray(matrix)
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    size = 2.5 + 0.35 * len(names)
    figure, axes = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    mesh = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= 20:
        for row, column in np.ndindex(values.shape):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, values[row, column], ha="center", va="center", color=shade)
    figure.colorbar(mesh, ax=axes, label="share of the true class")
    with files.whole(path, suffix=Path(path).suffix) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)
