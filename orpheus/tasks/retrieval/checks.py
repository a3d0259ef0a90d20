"""Retrieval: what is refused before a run is made, or gone on with."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orpheus.errors import ConfigError, DataError

log = logging.getLogger(__name__)
FEATURES = "features"


def check_inputs(frontend: str, wanted: str, choices: Any) -> None:
    """Refuse inputs that are missing or too many, each by the name of its option.

    Args:
        frontend: Of the command line.
        wanted: ``"spec"``, ``"cf"`` or ``"hybrid"``.
        choices: `retrieval.Choices`.

    Raises:
        ConfigError: see above.
    """
    if (wanted == "cf") != (frontend == FEATURES):
        right = FEATURES if wanted == "cf" else "log-mel-spectrogram or waveform"
        raise ConfigError(f"retrieval.input_type={wanted}: is trained as orpheus.train {right}, not {frontend}")
    needs = {
        "--tfrecords-dir": (choices.tfrecords_dir, wanted != "cf"),
        "--factors": (choices.factors, wanted != "spec"),
    }
    for option, (value, needed) in needs.items():
        if needed and not value:
            raise ConfigError(f"{option} is missing: retrieval.input_type={wanted} needs it")
        if value and not needed:
            raise ConfigError(f"{option}: retrieval.input_type={wanted} does not use it; take hybrid, or leave it out")
    for option, other in (("--tags", choices.tags), ("--split", choices.split)):
        if wanted == "cf" and not other:
            raise ConfigError(f"{option} is missing: a table of factors brings no tags and no split")


def check_moved(settings: Mapping[str, Any], tfrecords_dir: Any, factors: Any) -> None:
    """Refuse a new place of something that a run does not use."""
    for option, value, key in (
        ("--tfrecords-dir", tfrecords_dir, "tfrecords_dir"),
        ("--factors", factors, "factors"),
    ):
        if value and not settings[key]:
            raise ConfigError(f"{option}: the run has input_type {settings['input_type']} and uses none; leave it out")


def check_splits(splits: Mapping[str, Sequence[str]], source: str) -> None:
    """See that every song is in one split, once.

    Raises:
        DataError: names the song and its splits.
    """
    split: dict[str, str] = {}
    for name, ids in splits.items():
        for song in ids:
            if song in split:
                where = f"twice in {name}" if split[song] == name else f"in {split[song]} and in {name}"
                raise DataError(f"{source}: song {song!r} is {where}; a song belongs to one split, once")
            split[song] = name


def check_emptied(
    data: Any, splits: Mapping[str, Sequence[str]], of_songs: Mapping[str, Sequence[str]], choices: Any
) -> None:
    """See that no split lost all its songs in joining; train, valid and test may leave validation empty of itself.

    Args:
        data: `retrieval.Data`.
        splits: train, valid and test → ids, before joining.
        of_songs: Id → tags.
        choices: `retrieval.Choices`.

    Raises:
        DataError: names the split, what its songs lack, and the cure.
    """
    for name, ids in splits.items():
        if not ids or len(data.splits[name]):
            continue
        tagged = [song for song in ids if data.targets.any(of_songs.get(song, ()))]
        if not tagged:
            raise DataError(
                f"none of the {len(ids)} {name} songs has any of the {len(data.targets.classes)} tags: do the ids of the "
                "split and of the tags agree? Else give another --split"
            )
        if choices.factors:
            raise DataError(
                f"{choices.factors}: has factors of none of the {len(tagged)} tagged {name} songs ({tagged[0]}, …); "
                "factors of a cold-start split leave them out: write those of all songs with tools.factorize als --all"
            )
        raise DataError(
            f"{choices.tfrecords_dir}: has records of none of the {len(tagged)} tagged {name} songs ({tagged[0]}, …); make "
            "them with tools.preprocess"
        )


def matrix_of(table: Any, ids: Sequence[str]) -> np.ndarray:
    """(songs, columns) float32 of a table of factors.

    Raises:
        DataError: rows that are no vectors, or a value that is not finite (in float32).
    """
    if table.matrix.ndim != 2 or not table.dim:
        shape = tuple(table.matrix.shape)
        raise DataError(f"{table.name}: shape {shape}, expected a row of numbers for each song")
    with np.errstate(over="ignore"):  # too large for float32 is not finite
        matrix = table.dense(ids)
    if not np.isfinite(matrix).all():
        bad = ids[int(np.argmax(~np.isfinite(matrix).all(axis=1)))]
        raise DataError(f"{table.name}: song {bad!r} has a value that is not finite; write the table again")
    return matrix


def of_inputs(data: Any) -> dict[str, str]:
    """Hashes of what a run learns from besides tags: ``{"factors"}`` where it has them."""
    if data.factors is None:
        return {}
    order = np.argsort(np.array(data.ids), kind="stable")
    return {"factors": hashlib.sha256(np.ascontiguousarray(data.factors[order], "<f4").tobytes()).hexdigest()}
