"""What tasks of songs and tags join by id: tags, splits, word vectors, and which songs are there."""

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpheus.base import files, storage
from orpheus.config.sections import Tags, TFRecords
from orpheus.data.items import tables
from orpheus.data.records import format
from orpheus.data.records.shards import split_shards
from orpheus.data.splits import search
from orpheus.data.tags import sources
from orpheus.data.tags.targets import TagTargets, choose, popularity
from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.semantics import words
from orpheus.tasks.retrieval import checks
from orpheus.tasks.retrieval.word_space import TAG_VECTORS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choices:
    """Where songs, tags and vectors are.

    Attributes:
        vectors: Word vectors of the tags: any source of `words.load`.
        tfrecords_dir: Records, for runs that take audio.
        factors: A table with ids (`tables.read`), for runs that take factors.
        tags: Sources of tags (`sources.read`); None for the records' own.
        split: File of tools.split; None assigns the records' shards as the config says.
        categories: TSV of tag and category, for tables by category.
        database: Which tags of records that hold those of several databases.
    """

    vectors: str | os.PathLike
    tfrecords_dir: str | os.PathLike | None = None
    factors: str | os.PathLike | None = None
    tags: Sequence[str | os.PathLike] | None = None
    split: str | os.PathLike | None = None
    categories: str | os.PathLike | None = None
    database: int | None = None


class Kept(NamedTuple):
    """What a run keeps of its songs, see `save`, and its records."""

    targets: TagTargets
    vectors: np.ndarray
    tags_of: dict[str, list[str]]
    groups: dict[str, str]
    splits: dict[str, list[str]]
    catalogue: format.Catalogue | None
    categories: dict[str, str]
    provenance: dict[str, Any]


def tags_with_vectors(
    of_songs: Mapping[str, Sequence[str]],
    splits: Mapping[str, Sequence[str]],
    split_tags: Sequence[str],
    source: str | os.PathLike,
    chosen: Tags,
    *,
    unit: bool,
) -> tuple[TagTargets, np.ndarray, words.WordVectors]:
    """The classes of a run, their word vectors and where those are from.

    Args:
        of_songs: Song → tags.
        splits: train, valid and test → songs.
        split_tags: Of the split's file: the ones to take where the config says nothing.
        source: Of `words.load`.
        chosen: The config's section tags.
        unit: Whether rows get length 1.

    Raises:
        ConfigError, DataError: no song has a tag, or no tag a vector.
    """
    popular = popularity(of_songs.get(song, ()) for split in splits.values() for song in split)
    if split_tags and chosen.top is None and not chosen.with_:
        known = {tag for tag, _ in popular}
        popular = [(tag, count) for tag, count in popular if tag in set(split_tags) & known]
    if not popular:
        raise DataError("no song of the split has a tag: do its ids and those of the tags agree?")
    vectors = words.load(source, words=words.needed_words(tag for tag, _ in popular))
    popular = _having_vectors(popular, vectors, chosen)
    targets = choose(popular, top=chosen.top, with_=chosen.with_, without=chosen.without, merge=chosen.merge)
    targets, matrix = with_vectors(targets, vectors, unit=unit)
    return targets, matrix, vectors


def of_vectors(path: str | os.PathLike, vectors: words.WordVectors) -> dict[str, str]:
    """What run.json says of word vectors."""
    return {"path": os.path.abspath(path), "name": vectors.source, "sha256": vectors.sha256}


def _having_vectors(popular: list[tuple[str, int]], vectors: words.WordVectors, chosen: Tags) -> list[tuple[str, int]]:
    """Tags among which the top ones are chosen: those with a vector, and those that the config names."""
    missing = set(words.vectors_of_tags([tag for tag, _ in popular], vectors)[2])
    named = {*chosen.with_, *itertools.chain.from_iterable(chosen.merge)}
    kept = [(tag, count) for tag, count in popular if tag not in missing or tag in named]
    top = chosen.top
    if top is None or not kept:
        return popular
    passed = [tag for tag, _ in popular[: popular.index(kept[:top][-1])] if tag in missing - named]
    if passed:
        log.warning(
            "%s: no vector for %d of the most popular tags, and the next ones take their places: %s",
            vectors.source,
            len(passed),
            "; ".join(passed[:20]) + ("; …" if len(passed) > 20 else ""),
        )
    return kept


def tags_of_songs(choices: Any, catalogue) -> tuple[Mapping[str, Sequence[str]], Mapping[str, str], dict]:
    """Song → tags; song → group where records say it; and where the tags are from."""
    rows = catalogue.rows(catalogue.shards) if catalogue is not None else []
    groups = {row.track_id: row.group for row in rows}
    if choices.tags:
        found, source = sources.read([Path(path) for path in choices.tags], database=choices.database or 0)
        return found, groups, source
    field_ = catalogue.tag_field(choices.database)
    return {row.track_id: row.tags[field_] for row in rows}, groups, {"name": storage.absolute(catalogue.folder)}


def split_of_songs(choices: Any, config: Any, catalogue) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    if choices.split:
        splits, wanted = search.load(choices.split)
        checks.check_splits(splits, str(choices.split))
        return {name: list(ids) for name, ids in splits.items()}, wanted
    assigned = split_shards(list(catalogue.shards), config.training.split)
    return {
        name: [row.track_id for row in catalogue.rows(shards)]
        for name, shards in zip(search.SPLITS, assigned, strict=True)
    }, ()


def with_vectors(
    targets: TagTargets, vectors: words.WordVectors, *, unit: bool = True
) -> tuple[TagTargets, np.ndarray]:
    """The classes that have a vector, and the vectors; the others are named in a warning.

    Raises:
        DataError: none has.
    """
    kept, matrix, missing = words.vectors_of_tags(targets.classes, vectors, unit=unit)
    if not kept:
        raise DataError(
            f"{vectors.source}: knows no word of the {len(targets.classes)} tags ({', '.join(targets.classes[:3])}, …); "
            "give word vectors of the tags' language, or train some with tools.train_word_vectors"
        )
    if missing:
        log.warning(
            "%s: no vector for %d of %d tags, which are left out: %s",
            vectors.source,
            len(missing),
            len(targets.classes),
            "; ".join(missing),
        )
    column = {name: index for index, name in enumerate(kept)}
    columns = {
        tag: column[targets.classes[old]] for tag, old in targets.columns.items() if targets.classes[old] in column
    }
    return TagTargets(tuple(kept), columns, targets.kind), matrix


def there(ids: Sequence[str], where: Any, what: str) -> list[str]:
    """Those of `ids` that are in `where`; the others are named."""
    missing = [song for song in ids if song not in where]
    if len(missing) == len(ids):
        raise DataError(f"{what} of any of the {len(ids)} tagged songs ({', '.join(ids[:3])}, …); do the ids agree?")
    if missing:
        log.warning(
            "%s of %d of %d songs, which are left out: %s%s",
            what,
            len(missing),
            len(ids),
            ", ".join(missing[:5]),
            ", …" if len(missing) > 5 else "",
        )
    return [song for song in ids if song in where]


def save(run: Run, data: Any, config: Any, tags_of: Sequence[Sequence[str]]) -> None:
    """Write what a retrieval or joint run keeps besides run.json: config, tags, their vectors, songs' tags, spec.

    Args:
        run: A new one.
        data: With ``ids``, ``groups``, ``targets``, ``vectors`` and ``spec``.
        config: Of the run.
        tags_of: The tags of each of its songs.
    """
    run.write("config", config.to_json())
    run.write("classes", data.targets.to_json())
    if data.spec is not None:
        run.write("spec", data.spec.to_json())
    with files.atomic(run.folder / TAG_VECTORS, "wb") as file:
        np.savez(file, ids=np.array(data.targets.classes), matrix=data.vectors)
    rows = zip(data.ids, data.groups, tags_of, strict=True)
    run.write("songs", {song: [group, list(own)] for song, group, own in rows})


def reopen(run: Run, tfrecords: TFRecords, records: str | os.PathLike | None) -> Kept:
    """What `save` and run.json have kept, and the records of a run that takes audio.

    Args:
        run: Of retrieval, or a joint one.
        tfrecords: Section of its config.
        records: Where they are now; None for where they were.

    Raises:
        DataError: they are not there, or were made otherwise.
    """
    settings, catalogue = run.read("run"), None
    if settings["tfrecords_dir"]:
        spec = run.spec()
        wanted = {**tfrecords.model_dump(), **spec.made_with()}
        catalogue = format.open_folder(run.records(records), format=spec.format, wanted=wanted)
    songs = run.read("songs")
    return Kept(
        run.classes(),
        np.asarray(tables.read(run.folder / TAG_VECTORS).matrix, np.float32),
        {song: own for song, (_, own) in songs.items()},
        {song: group for song, (group, _) in songs.items()},
        settings["split"],
        catalogue,
        settings["categories"],
        {key: settings[key] for key in ("vectors", "tags", "split_file")},
    )
