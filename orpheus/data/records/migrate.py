"""Records of the reference or its predecessor: what they are, by looking at them, as a spec.json beside them.

Those programs wrote no description: the format, the mel bands, the clipping of decibels and which tag a position of a
one-hot list is were known to whoever had made them. Audio and tags stay in their files as they are.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from orpheus.base import storage
from orpheus.data.audio.spec import LOG_MEL, WAVEFORM
from orpheus.data.records import format as records_format
from orpheus.data.records import older
from orpheus.data.records.format import MANIFEST, SPEC, Catalogue
from orpheus.data.records.shards import SPLITS, split_of
from orpheus.errors import ConfigError, DataError

MELS = (96, 128, 64, 80, 40)  # what is tried, the reference's own first
_SAMPLE = 20  # records looked at, of each shard


@dataclass(frozen=True)
class Found:
    """What a folder of older records is.

    Attributes:
        catalogue: As it can be trained on.
        split: Names of splits → shards, where the files' names say it.
        reasons: What was seen, a line for each thing.
    """

    catalogue: Catalogue
    split: dict[str, tuple[str, ...]]
    reasons: tuple[str, ...]


def look(
    folder: str | os.PathLike,
    *,
    tag_names: Sequence[str] = (),
    audio_format: str | None = None,
    sample_rate: int = 16000,
    n_fft: int = 2048,
    hop_length: int = 512,
    n_mels: int | None = None,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> Found:
    """Find out what the records of a folder are.

    Args:
        folder: Holds ``*.tfrecord`` files without spec.json.
        tag_names: What positions of one-hot tags are called, in the order of the rows of table tags (`TagDatabase.by_row`).
        audio_format: ``"waveform"`` or ``"log-mel-spectrogram"``; by names and values if None.
        sample_rate: Hz; values do not tell it.
        n_fft: As above.
        hop_length: As above; the reference has 512 whatever its options said.
        n_mels: Bands; if None the number of `MELS` with which neighbouring bands are most alike.
        progress: Wraps the shards.

    Raises:
        ConfigError: the folder has a spec.json already.
        DataError: not such records, formats that contradict each other, one-hot tags without names, or bands that fit none.
    """
    folder = storage.location(folder)
    if storage.exists(os.path.join(folder, SPEC)):
        raise ConfigError(
            f"{os.path.join(folder, SPEC)}: is there already, so nothing is to be found out; training reads it"
        )
    names = records_format.shard_names(folder)
    samples = [_first(os.path.join(folder, name)) for name in names]
    values = [audio for shard in samples for audio in shard]
    reasons: list[str] = []
    kind = audio_format or _format_of(folder, names, values, reasons)
    wanted: dict = {"sample_rate": sample_rate, "n_fft": n_fft, "hop_length": hop_length}
    if kind == LOG_MEL:
        wanted["n_mels"] = n_mels or _bands(folder, values, reasons)
        wanted["top_db"] = _clipping(values, reasons)
    catalogue = records_format.open_folder(folder, format=kind, wanted=wanted, tag_names=tag_names, progress=progress)
    if catalogue.layout.tags == "one-hot":
        if not tag_names:
            raise DataError(
                f"{folder}: tags are positions ({len(catalogue.layout.positions)}) that only their database names; give "
                "it with --lastfm"
            )
        reasons.append(f"tags: {len(catalogue.layout.positions)} positions, named by the rows of table tags")
    else:
        reasons.append("tags: names")
    split = {name: tuple(shard for shard in names if split_of(shard) == name) for name in SPLITS}
    if any(split.values()):
        reasons.append(
            f"split: {', '.join(f'{name} {len(shards)}' for name, shards in split.items())} files, by their names"
        )
    return Found(catalogue, split if any(split.values()) else {}, tuple(reasons))


def write(found: Found) -> None:
    """Write manifest.jsonl and, when that is whole, spec.json."""
    catalogue = found.catalogue
    with storage.atomic(os.path.join(catalogue.folder, MANIFEST)) as file:
        for name, rows in catalogue.shards.items():
            records = records_format.read_shard(os.path.join(catalogue.folder, name))
            for row, record in zip(rows, records, strict=True):
                known = {**records_format.row_to_json(row), "bytes": len(record)}
                file.write(json.dumps(known, ensure_ascii=False) + "\n")
    layout = catalogue.layout
    described = {"audio": layout.audio, "tags": layout.tags, "positions": list(layout.positions)}
    more = {"split": {name: list(shards) for name, shards in found.split.items()}} if found.split else {}
    records_format.write_spec(
        catalogue.folder, catalogue.spec, len(layout.tag_fields), layout=described, migrated=list(found.reasons), **more
    )


def _first(path: str) -> list[np.ndarray]:
    """Audio values of the first records of a shard."""
    found = []
    for record in records_format.read_shard(path):
        values = records_format.decode(record).get("audio", ())
        if len(values) and isinstance(values[0], bytes):
            raise DataError(
                f"{path}: records of bytes, as tools.preprocess makes them; put back the {SPEC} beside them"
            )
        found.append(np.asarray(values, np.float32))
        if len(found) == _SAMPLE:
            break
    if not found or not all(map(len, found)):
        raise DataError(f"{path}: no record, or one without audio; remove the file")
    return found


def _format_of(folder: str, names: Sequence[str], values: Sequence[np.ndarray], reasons: list[str]) -> str:
    """The format by the names of files and by the values of records, which must agree."""
    named = {
        kind
        for name in names
        for kind in (WAVEFORM, LOG_MEL)
        if name.startswith("log-mel" if kind == LOG_MEL else kind)
    }
    loudest = max(float(np.abs(one).max()) for one in values)
    measured = LOG_MEL if loudest > older.LOUDEST_SAMPLE else WAVEFORM
    if named and named != {measured}:
        raise DataError(
            f"{folder}: files are named {' and '.join(sorted(named))}, but values up to {loudest:.1f} are those of a "
            f"{measured}; say which with --format"
        )
    reasons.append(f"format: {measured}, values up to {loudest:.1f}" + (" and names of files" if named else ""))
    return measured


def _bands(folder: str, values: Sequence[np.ndarray], reasons: list[str]) -> int:
    """The number of bands with which neighbouring bands are most alike, of those that divide all records."""
    fitting = [bands for bands in MELS if all(len(one) % bands == 0 and len(one) > bands for one in values)]
    if not fitting:
        raise DataError(
            f"{folder}: {len(values[0])} values a record are no multiple of {', '.join(map(str, MELS))}; give --mels"
        )

    def roughness(bands: int) -> float:
        return float(np.mean([np.abs(np.diff(one.reshape(bands, -1), axis=0)).mean() for one in values]))

    best = min(fitting, key=roughness)
    reasons.append(f"n_mels: {best}" + (f", of {', '.join(map(str, fitting))} that fit" if len(fitting) > 1 else ""))
    return best


def _clipping(values: Sequence[np.ndarray], reasons: list[str]) -> float | None:
    """top_db of the decibels: 80 unless a record reaches further below its maximum."""
    reach = max(float(one.max() - one.min()) for one in values)
    if reach > older.OLDER_TOP_DB + 0.01:
        reasons.append(f"top_db: null, a record reaches {reach:.1f} dB below its maximum")
        return None
    seen = (
        ""
        if reach > older.OLDER_TOP_DB - 0.01
        else f" as the reference's; none of the records looked at has more than {reach:.1f} dB"
    )
    reasons.append(f"top_db: {older.OLDER_TOP_DB:g}{seen}")
    return older.OLDER_TOP_DB
