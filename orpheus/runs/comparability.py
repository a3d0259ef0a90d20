"""Which split and which records a run or an evaluation is of, as hashes, and what may be compared."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orpheus.data.records import format
from orpheus.errors import DataError
from orpheus.runs.folder import Run

log = logging.getLogger(__name__)

_MEANING = {"split": "tracks assigned to training, validation and test", "records": "settings, tags or lengths"}


def of_split(parts: Mapping[str, Iterable[str]]) -> str:
    """SHA-256 of which ids are in which split, whatever their order there: 64 hexadecimal digits.

    Records of both frontends that are assigned alike have the same one, and so have runs with different classes.
    """
    return of_values({part: sorted(ids) for part, ids in parts.items()})


def of_records(catalogue: format.Catalogue) -> str:
    """SHA-256 of what spec.json and the manifest say: format and its settings; id, tags, length and size of every record.

    The audio itself is not read (sizes and checksums in the shards guard it). Sizes of the reference's records do not
    count: they are known only once tools.migrate has described a folder, which must not become another one by that.
    """
    sized = catalogue.layout.audio == "bytes"
    rows = sorted(
        (row.track_id, [sorted(tags) for tags in row.tags], row.seconds, row.bytes if sized else 0)
        for row in catalogue.rows(catalogue.shards)
    )
    return of_values([catalogue.spec.identity(), rows])


def of_values(value: Any) -> str:
    """SHA-256 of what JSON can hold, whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def check_split(
    named: Mapping[str, Mapping[str, Any]],
    *,
    keys: Sequence[str] = tuple(_MEANING),
    different_splits: bool = False,
) -> list[str]:
    """Refuse to compare what was trained or evaluated on different splits.

    Args:
        named: Name for messages → its run.json, or its split's entry of metrics.json.
        keys: Which hashes to compare; those of records differ between frontends.
        different_splits: Asked for by name (--different-splits): say it instead.

    Returns:
        What does not agree, for people; empty where all is the same. A hash that is not there (runs of an older orpheus)
        is said, too.

    Raises:
        DataError: splits differ and that was not asked for.
    """
    (first, about), *others = named.items()
    notes = []
    for name, other in others:
        for key in keys:
            mine, theirs = (one.get("hashes", {}).get(key) for one in (about, other))
            if mine is None or theirs is None:
                unknown = first if mine is None else name
                notes.append(f"{unknown} does not say of which {key} it is; evaluate it again")
            elif mine != theirs:
                note = f"{first} and {name} are of different {key}: {mine[:8]} and {theirs[:8]} ({_MEANING[key]})"
                if key == "split" and not different_splits:
                    raise DataError(f"{note}; their numbers do not compare. --different-splits shows them all the same")
                notes.append(note)
    return list(dict.fromkeys(notes))


def check_reopened(run: Run, place: str, hashes: Mapping[str, str], *, different_splits: bool = False) -> None:
    """`check_split` of a run and of the data that it has been given again; what may differ is logged.

    Args:
        run: The run; one of an older orpheus may not say of which split it is.
        place: What messages call the data by.
        hashes: Of the data.
        different_splits: As in `check_split`.

    Raises:
        DataError: other examples are in the splits, so that the model may be evaluated on what it has learned.
    """
    stored = run.read("run")
    if "hashes" in stored:
        named = {str(run.folder): stored, place: {"hashes": hashes}}
        for note in check_split(named, different_splits=different_splits):
            log.warning("%s", note)
