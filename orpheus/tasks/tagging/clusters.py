"""Clusters of tags as classes, and how alike classes are by their word vectors."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orpheus.base import files
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import DataError
from orpheus.semantics import cooccurrence, dictionary, genres
from orpheus.semantics.dictionary import Dictionary

log = logging.getLogger(__name__)


def read_clusters(
    path: str | os.PathLike, genre_path: str | os.PathLike | None = None, *, merge_outside: bool = False
) -> Dictionary:
    """A dictionary, and only its genres where `genre_path` (a folder with genres.txt, or the file) is given.

    Args:
        path: The dictionary, or its folder.
        genre_path: Which clusters are genres, and which of them are one.
        merge_outside: As for `Dictionary.restrict`.

    Raises:
        DataError: missing, malformed or empty; genres.txt names clusters that do not exist.
    """
    whole = dictionary.load(path)
    if genre_path is None:
        return whole
    chosen = genres.read(genre_path)
    return whole.restrict(chosen.genres, chosen.merge, merge_outside=merge_outside, source=chosen.source)


def provenance(
    path: str | os.PathLike, genre_path: str | os.PathLike | None = None, *, merge_outside: bool = False
) -> dict[str, Any]:
    """Which dictionary a run's classes are from, for run.json."""
    file = dictionary.find(path)
    made: dict[str, Any] = {"file": str(file.absolute()), "sha256": files.content_hash(file)}
    if genre_path is not None:
        chosen = genres.read(genre_path)
        made |= {"genres": list(chosen.genres), "merge": [list(pair) for pair in chosen.merge]}
        made |= {"merge_outside": merge_outside}
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
            clusters.source,
            len(missing),
            len(clusters.names),
            shown,
            "; …" if len(missing) > 5 else "",
        )
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


def save_cooccurrence(records: SplitRecords, folder: str | os.PathLike, name: str) -> Path:
    """Write on how many tracks of `records` each pair of classes meets.

    Args:
        records: The training split of a run.
        folder: Created when missing.
        name: Of the run; in the files' names.

    Returns:
        The (classes, classes) int64 .npy, whose diagonal holds the classes' own counts. The names of its rows are
        beside it in a second file, ``…_names.npy``.
    """
    tags = (row.tags[records.database] for row in records.rows())
    matrix = cooccurrence.cooccurrence(
        cooccurrence.class_matrix(tags, records.targets.columns, records.targets.classes)
    )
    path = Path(folder).expanduser() / f"cooccurrence_{name}.npy"
    for file, array in ((path, matrix), (path.with_name(f"{path.stem}_names.npy"), np.array(records.targets.classes))):
        with files.atomic(file, "wb") as handle:
            np.save(handle, array)
    return path
