"""Clusters of tags as classes, and how alike classes are by their word vectors."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orpheus import files
from orpheus.data.pipeline import Part
from orpheus.data.tags import TagTargets
from orpheus.errors import ConfigError, DataError
from orpheus.learning.losses import EmbeddingAwareCrossentropy
from orpheus.run import Run
from orpheus.semantics import cooccurrence, dictionary, genres, words
from orpheus.semantics.dictionary import Dictionary

log = logging.getLogger(__name__)
SIMILARITY = "similarity.npy"


def read_clusters(path: str | os.PathLike, genre_path: str | os.PathLike | None = None) -> Dictionary:
    """A dictionary, and only its genres where `genre_path` (a folder with genres.txt, or the file) is given.

    Raises:
        DataError: missing, malformed or empty; genres.txt names clusters that do not exist.
    """
    whole = dictionary.load(path)
    if genre_path is None:
        return whole
    chosen = genres.read(genre_path)
    return whole.restrict(chosen.genres, chosen.merge, source=chosen.source)


def provenance(path: str | os.PathLike, genre_path: str | os.PathLike | None = None) -> dict[str, Any]:
    """Which dictionary a run's classes are from, for run.json."""
    file = dictionary.find(path)
    made: dict[str, Any] = {"file": str(file.absolute()), "sha256": files.content_hash(file)}
    if genre_path is not None:
        chosen = genres.read(genre_path)
        made |= {"genres": list(chosen.genres), "merge": [list(pair) for pair in chosen.merge]}
    return made


def cluster_targets(clusters: Dictionary, present: Iterable[str], *, without: Sequence[str] = ()) -> TagTargets:
    """Clusters as classes: a track is positive for every cluster that one of its tags belongs to.

    Args:
        clusters: The dictionary.
        present: Tags that the records have.
        without: Tags that belong to no cluster here (a filter).

    Returns:
        Targets of kind ``"clusters"`` in the order of the dictionary's columns, named by their most frequent tags.
        Clusters none of whose tags occur are left out, and said.

    Raises:
        DataError: no tag of the dictionary occurs.
    """
    present, dropped = set(present), set(without)
    mapping = {tag: column for tag, column in clusters.mapping.items() if tag not in dropped}
    found = [tag for tag in mapping if tag in present]
    if not found:
        raise DataError(_none_occurs(clusters, sorted(present), len(mapping)))
    columns = sorted({mapping[tag] for tag in found})
    missing = [name for column, name in enumerate(clusters.names) if column not in columns]
    if missing:
        shown = "; ".join(missing[:5])
        log.warning(
            "%s: %d of %d clusters have no tag that occurs in the records and are left out: %s%s",
            clusters.source, len(missing), len(clusters.names), shown, "; …" if len(missing) > 5 else "",
        )  # fmt: skip
    new = {column: position for position, column in enumerate(columns)}
    kept = {tag: new[column] for tag, column in mapping.items() if column in new}
    names = tuple(clusters.names[column] for column in columns)
    log.info("%d of %d tags in clusters occur, in %d clusters", len(found), len(mapping), len(names))
    return TagTargets(names, dict(sorted(kept.items(), key=lambda item: item[1])), "clusters")


def _none_occurs(clusters: Dictionary, present: Sequence[str], usable: int) -> str:
    if not usable:
        return f"{clusters.source}: the filter removes all its tags; leave --filter out or take another dictionary"
    theirs, ours = ", ".join(list(clusters.mapping)[:3]), ", ".join(present[:3])
    lower = {tag.lower() for tag in clusters.mapping}
    same = sum(tag.lower() in lower for tag in present)
    cure = f"{same} of them differ in case only" if same else "make one from their tags with tools.cluster_tags"
    return (
        f"{clusters.source}: none of its {usable} tags ({theirs}, …) occurs in the records, whose {len(present)} tags "
        f"are {ours}, …; {cure}"
    )


def save_cooccurrence(part: Part, folder: str | os.PathLike, name: str) -> Path:
    """Write on how many tracks of `part` each pair of classes meets.

    Args:
        part: The training side of a run.
        folder: Created when missing.
        name: Of the run; in the files' names.

    Returns:
        The (classes, classes) int64 .npy, whose diagonal holds the classes' own counts. The names of its rows are
        beside it in a second file, ``…_names.npy``.
    """
    tags = (row.tags[part.database] for row in part.rows())
    matrix = cooccurrence.cooccurrence(cooccurrence.class_matrix(tags, part.targets.columns, part.targets.classes))
    path = Path(folder).expanduser() / f"cooccurrence_{name}.npy"
    for file, array in ((path, matrix), (path.with_name(f"{path.stem}_names.npy"), np.array(part.targets.classes))):
        with files.atomic(file, "wb") as handle:
            np.save(handle, array)
    return path


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
    progress: Callable[..., Iterable] | None = None,
) -> tuple[EmbeddingAwareCrossentropy, dict[str, Any]]:
    """The loss of Model 5 for these classes, and what run.json says of it.

    Args:
        targets: The classes.
        source: Anything that `words.load` takes: GloVe or word2vec file, TF-Hub model.
        gamma: At least 0.
        progress: As for `words.load`.

    Raises:
        ConfigError, DataError: γ out of range, vectors that cannot be read or know none of the classes.
    """
    vectors = words.load(source, words=words.needed_words(targets.columns), progress=progress)
    similarity = class_similarity(targets, vectors)
    none = np.isnan(np.diagonal(similarity))
    without = [name for name, missing in zip(targets.classes, none, strict=True) if missing]
    if without:
        log.warning(
            "%s: no vector for %d of %d classes, which get no extra penalty: %s",
            vectors.source, len(without), len(targets.classes), "; ".join(without),
        )  # fmt: skip
    described = {
        "name": "embedding-aware", "gamma": float(gamma), "embeddings": vectors.source, "sha256": vectors.sha256,
        "without_vector": without,
    }  # fmt: skip
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
    try:
        similarity = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); the run cannot go on with its loss without this file"
        ) from None
    classes = len(run.read("classes")["classes"])
    if similarity.shape != (classes, classes):
        raise DataError(f"{path}: has shape {similarity.shape}, the run has {classes} classes; put back its own file")
    try:
        return EmbeddingAwareCrossentropy(similarity, described["gamma"])
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from None
