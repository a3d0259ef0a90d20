"""The embedding-aware loss of a set of classes: similarities of their word vectors, stored with the run."""

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from orpheus.base import arrays, files
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import ConfigError, DataError
from orpheus.learning.losses.pointwise import EmbeddingAwareCrossentropy
from orpheus.runs.folder import Run
from orpheus.semantics import words

log = logging.getLogger(__name__)

SIMILARITY = "similarity.npy"
MIN_COVERAGE = 0.5


def class_vectors(targets: TagTargets, vectors: words.WordVectors) -> np.ndarray:
    """The vector of each class: the normalised sum of its tags' unit vectors.

    Of one tag that is the tag's own, of a cluster the centroid that k-means with normalised centroids would give it.

    Returns:
        (classes, d) float64 of length 1; nan rows for classes none of whose tags has a vector.
    """
    kept, rows, _ = words.vectors_of_tags(list(targets.columns), vectors)
    total = np.zeros((len(targets.classes), vectors.dimension), np.float64)
    for tag, row in zip(kept, rows, strict=True):
        total[targets.columns[tag]] += row
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-6, total / np.maximum(length, 1e-6), np.nan)


def class_similarity(targets: TagTargets, vectors: words.WordVectors) -> np.ndarray:
    """Cosine similarity of every pair of classes (`class_vectors`), as `EmbeddingAwareCrossentropy` takes it.

    Args:
        targets: Tags, merged tags or clusters.
        vectors: Source of word vectors.

    Returns:
        (classes, classes) float32 in [−1, 1] with ones on the diagonal; rows and columns of classes none of whose tags
        has a vector are nan.

    Raises:
        DataError: no class has a vector.
    """
    rows = class_vectors(targets, vectors)
    known = ~np.isnan(rows[:, 0])
    if not known.any():
        raise DataError(
            f"{vectors.source}: knows no word of the {len(targets.classes)} classes "
            f"({', '.join(targets.classes[:3])}, …); give word vectors of the tags' language"
        )
    unit = rows[known]
    block = np.clip(unit @ unit.T, -1, 1)
    np.fill_diagonal(block, 1)
    result = np.full((len(known), len(known)), np.nan, np.float32)
    result[np.ix_(known, known)] = block
    return result


def embedding_loss(
    targets: TagTargets,
    source: str | os.PathLike,
    gamma: float = 1.0,
    *,
    min_coverage: float = MIN_COVERAGE,
    progress: Callable[..., Iterable] | None = None,
) -> tuple[EmbeddingAwareCrossentropy, dict[str, Any]]:
    """The loss of Model 5 for these classes, and what run.json says of it.

    Args:
        targets: The classes.
        source: Anything that `words.load` takes: GloVe or word2vec file, TF-Hub model.
        gamma: At least 0.
        min_coverage: Share of the classes that must have a vector, 0 to 1: of the others no prediction costs more than in
            plain cross-entropy, so that with few left the loss is that in all but name.
        progress: As for `words.load`.

    Raises:
        ConfigError, DataError: γ out of range, vectors that cannot be read or know too few of the classes.
    """
    vectors = words.load(source, words=words.needed_words(targets.columns), progress=progress)
    similarity = class_similarity(targets, vectors)
    none = np.isnan(np.diagonal(similarity))
    without = [name for name, missing in zip(targets.classes, none, strict=True) if missing]
    if len(targets.classes) - len(without) < min_coverage * len(targets.classes):
        raise DataError(
            f"{vectors.source}: has vectors of {len(targets.classes) - len(without)} of {len(targets.classes)} classes, "
            f"fewer than --min-coverage {min_coverage:g} (none of {', '.join(without[:5])}, …); give vectors of the tags' "
            "language and spelling, or a lower share"
        )
    if without:
        log.warning(
            "%s: no vector for %d of %d classes, which get no extra penalty: %s",
            vectors.source,
            len(without),
            len(targets.classes),
            "; ".join(without),
        )
    described = {
        "name": "embedding-aware",
        "gamma": float(gamma),
        "embeddings": vectors.source,
        "sha256": vectors.sha256,
        "without_vector": without,
    }
    return EmbeddingAwareCrossentropy(similarity, gamma), described


def save_loss(run: Run, loss: EmbeddingAwareCrossentropy) -> None:
    """Keep the similarities in the run, so that resuming needs no word vectors and cannot meet changed ones."""
    with files.atomic(run.folder / SIMILARITY, "wb") as file:
        np.save(file, loss.similarity)


def load_loss(run: Run) -> EmbeddingAwareCrossentropy | None:
    """The loss of an existing run; None for binary cross-entropy.

    Raises:
        DataError: the run's similarity.npy is missing, no array, or not for its classes.
    """
    described = run.read("run").get("loss")
    if described is None:
        return None
    path = run.folder / SIMILARITY
    similarity = arrays.load_npy(path)
    classes = len(run.classes().classes)
    if similarity.shape != (classes, classes):
        raise DataError(f"{path}: has shape {similarity.shape}, the run has {classes} classes; put back its own file")
    try:
        return EmbeddingAwareCrossentropy(similarity, described["gamma"])
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from None
