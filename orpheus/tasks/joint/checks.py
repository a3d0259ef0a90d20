"""The joint task: what is refused before a run is made, or gone on with."""

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from orpheus.config.joint import Joint
from orpheus.data.items import layout
from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError

log = logging.getLogger(__name__)
FEATURES = "features"
SECTION = "joint"
# Option → key of `Choices` and run.json, and what of the config makes it needed.
_OF_INPUTS = {
    "--tfrecords-dir": ("tfrecords_dir", "audio"),
    "--factors": ("factors", "factors"),
    "--texts": ("texts", "text"),
}


def check_inputs(frontend: str, section: Joint, choices: Any) -> None:
    """Refuse inputs that are missing or too many, each by the name of its option.

    Args:
        frontend: Of the command line.
        section: Of the config.
        choices: `joint.data.Choices`.

    Raises:
        ConfigError: see above.
    """
    inputs = section.inputs
    if set(inputs) == {"factors"}:
        raise ConfigError(
            "joint.inputs=['factors']: songs of validation and test have none, by construction; add audio or text"
        )
    if ("audio" in inputs) == (frontend == FEATURES):
        right = "log-mel-spectrogram or waveform" if "audio" in inputs else FEATURES
        raise ConfigError(f"joint.inputs={inputs}: is trained as orpheus.train {right}, not {frontend}")
    for option, (key, name) in _OF_INPUTS.items():
        value = getattr(choices, key)
        if name in inputs and not value:
            raise ConfigError(f"{option} is missing: joint.inputs={inputs} needs it")
        if value and name not in inputs:
            raise ConfigError(f"{option}: joint.inputs={inputs} does not use it; add {name}, or leave it out")
    wanted = section.listener_loss.weight > 0
    if wanted and not choices.counts:
        raise ConfigError("--counts is missing: joint.listener_loss needs who heard what; or set its weight to 0")
    by_factors = wanted and section.listeners == "factors"
    if by_factors and not choices.listener_factors:
        raise ConfigError("--listener-factors is missing: joint.listeners=factors needs it; or set it to songs")
    if choices.listener_factors and not by_factors:
        raise ConfigError(
            f"--listener-factors: joint.listeners={section.listeners}, listener_loss.weight="
            f"{section.listener_loss.weight:g} do not use it; leave it out"
        )
    for option, other in (("--tags", choices.tags), ("--split", choices.split)):
        if "audio" not in inputs and not other:
            raise ConfigError(f"{option} is missing: without records nothing says it")
    if section.monitor == "listener_songs" and not choices.counts:
        raise ConfigError("joint.monitor=listener_songs: there are no --counts; choose another")


def check_moved(settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """Refuse a new place of something that a run does not use.

    Args:
        settings: Of run.json.
        places: Key of run.json → new place, or None.
    """
    for key, value in places.items():
        if value and not settings.get(key):
            option = "--" + key.replace("_", "-")
            raise ConfigError(f"{option}: the run has inputs {settings['inputs']} and uses none; leave it out")


def check_unseen(path: Any, held_out: Collection[str], what: str) -> None:
    """Refuse factors that were made with songs of validation or test, where a list beside them tells.

    Args:
        path: Of the factors; ``user_factors_X.npy`` or ``item_factors_X.npy`` has ``index_factors_X.tsv`` beside it.
        held_out: Ids of the songs of validation and test.
        what: Name of the option.

    Raises:
        DataError: the list has one of them.
    """
    path = Path(path).expanduser()
    for start in ("user_factors_", "item_factors_"):
        beside = path.with_name(path.name.replace(start, "index_factors_", 1)).with_suffix(".tsv")
        if path.name.startswith(start) and beside.is_file():
            layout.check_disjoint(
                layout.read_ids(beside), held_out, where=f"{what} {path}: made with songs of validation or test"
            )


def check_masked(
    present: np.ndarray, inputs: Sequence[str], splits: Mapping[str, np.ndarray], ids: Sequence[str]
) -> None:
    """See that no song of validation or test has factors, which know who listened to it.

    Args:
        present: (songs, inputs) bool.
        inputs: Their names.
        splits: train, valid and test → rows.
        ids: Of the songs.

    Raises:
        DataError: names one that has.
    """
    if "factors" not in inputs:
        return
    column = list(inputs).index("factors")
    for name in ("valid", "test"):
        seen = splits[name][present[splits[name], column]]
        if len(seen):
            raise DataError(
                f"{name}: {len(seen)} songs have factors ({ids[int(seen[0])]}, …), which tell who listened to them; they "
                "must be masked"
            )


def check_counts(path: Any, items: Collection[str], songs: Collection[str]) -> None:
    """See that counts are of songs of the split.

    Raises:
        DataError: none of them is.
    """
    known = set(songs)
    if not any(item in known for item in items):
        first = next(iter(items))
        raise DataError(
            f"--counts {path}: none of its {len(items)} songs ({first}, …) is in the split; do the ids agree? Its columns "
            "are listener, song, count"
        )
    missing = sum(item not in known for item in items)
    if missing:
        log.warning("--counts %s: %d of its %d songs are not in the split, and are left out", path, missing, len(items))


def check_split(splits: Mapping[str, np.ndarray], wanted: Mapping[str, Sequence[str]]) -> None:
    """See that joining left songs of each split that had some.

    Raises:
        DataError: names the split.
    """
    for name, ids in wanted.items():
        if len(ids) and not len(splits[name]):
            raise DataError(
                f"none of the {len(ids)} {name} songs has an input and a tag or a listener: do the ids of the split, the "
                "inputs, tags and counts agree?"
            )


def hash_of_rows(ids: Sequence[str], *matrices: np.ndarray) -> str:
    """SHA-256 of rows of numbers, whatever their order."""
    order = np.argsort(np.array(ids), kind="stable")
    found = hashlib.sha256()
    for matrix in matrices:
        found.update(np.ascontiguousarray(matrix[order], "<f4").tobytes())
    return found.hexdigest()


def hash_of_counts(listeners: Sequence[str], songs: Sequence[str], heard: scipy.sparse.csr_matrix) -> str:
    """SHA-256 of who heard what how often, whatever the order."""
    rows = np.argsort(np.array(listeners), kind="stable")
    columns = np.argsort(np.array(songs), kind="stable")
    ordered = heard[rows][:, columns].tocsr()
    ordered.sort_indices()
    found = hashlib.sha256()
    for part, kind in ((ordered.indptr, "<i8"), (ordered.indices, "<i8"), (ordered.data, "<f4")):
        found.update(np.ascontiguousarray(part, kind).tobytes())
    return found.hexdigest()


def check_columns(table: Table, columns: int, run: str) -> None:
    """See that a table has as many columns as a run was trained on.

    Raises:
        DataError: it has others.
    """
    if table.dim != columns:
        raise DataError(f"{table.name}: {table.dim} columns, but {run} was trained on {columns}")
