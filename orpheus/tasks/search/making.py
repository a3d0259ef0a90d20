"""The folder of an index, made where it is not there."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orpheus.base import locks
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search.store import SongStore, is_store

if TYPE_CHECKING:  # they load TensorFlow
    from orpheus.tasks.search.tagger_space import Space

STORE = "songs.db"
AnyPath = str | os.PathLike


def space_of(run: "AnyPath | Space", word_vectors: "AnyPath | None") -> "tuple[Space, str]":
    """What embeds songs, and the absolute path of its run's folder; arguments and errors as of `SongIndex.create`."""
    if isinstance(run, (str, os.PathLike)):
        from orpheus.tasks.search import tagger_space

        return tagger_space.load(run, word_vectors), os.path.abspath(Path(run).expanduser())
    return run, os.path.abspath(run.run.folder)


def make_where_missing(folder: Path, run: "Space", where: str, word_vectors: "AnyPath | None" = None) -> None:
    """Make an empty index.

    Args:
        folder: Of the index; one that is there is left alone.
        run: That embeds its songs.
        where: The run's folder.
        word_vectors: That it remembers.

    Raises:
        DataError: the folder holds something else.
    """
    if is_store(folder / STORE):
        return
    if folder.exists() and (not folder.is_dir() or any(_is_foreign(inside) for inside in folder.iterdir())):
        raise DataError(f"{folder}: exists and is not an index; give another name")
    about = {
        "run": where,
        "identity": run.identity,
        "input_type": run.input_type,
        "dimension": str(run.dimension),
        "training_tags": json.dumps(list(run.training_tags), ensure_ascii=False),
    }
    if gives_probabilities(run):
        about["probabilities"] = "of the training tags"
    if word_vectors is not None:
        about["word_vectors"] = os.path.abspath(word_vectors)
    with locks.lock(folder):
        SongStore(folder / STORE, about=about).close()


def gives_probabilities(run: "Space") -> bool:
    """Whether a run says how probable tags are: a joint one that learned to."""
    try:
        return hasattr(run, "probabilities") and len(run.probabilities(np.eye(1, run.dimension, dtype=np.float32))) == 1
    except ConfigError:
        return False


def _is_foreign(path: Path) -> bool:
    """Whether something in a folder without a store is not what a killed process left of making one."""
    return not path.name.startswith((".", STORE))
