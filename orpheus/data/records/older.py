"""Records of the reference and its predecessor, which wrote no description: recognised by names, fields and values."""

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from orpheus.data.audio.spec import LOG_MEL, WAVEFORM, AudioSpec
from orpheus.data.records import format as records_format
from orpheus.data.records.format import SPEC, Catalogue, Layout, Row
from orpheus.errors import DataError

LOUDEST_SAMPLE = 8.0  # of older records; decoded mp3s exceed 1 by little
OLDER_TOP_DB = 80.0  # librosa.power_to_db's, which the reference left as it is


def scan(
    folder: str, names: list[str], format: str, wanted: dict, tag_names: Sequence[str], progress: Callable
) -> Catalogue:
    """A catalogue of older records, by reading every record's id and tags once."""
    path = os.path.join(folder, names[0])
    first = next(records_format.read_shard(path), None)
    if first is None:
        raise DataError(f"{path}: an empty shard; re-run tools.preprocess")
    layout, values = _layout_of(first, path, tag_names)
    _check_name(path, format)
    asked = {key: wanted[key] for key in ("sample_rate", "n_fft", "hop_length", "n_mels") if wanted.get(key)}
    clipped = wanted.get("top_db", OLDER_TOP_DB) if format == LOG_MEL else None
    spec = AudioSpec(format, dtype="float32", top_db=clipped, **asked)
    if values % spec.width:
        raise DataError(
            f"{folder}: {values} audio values are no multiple of n_mels={spec.width}: other format or tfrecords.n_mels"
        )
    # A minute of 96 bands has 180,000 values, as many as 11 s of waveform: neither is certain, but a clip outside
    # these bounds is the other format's.
    if format == LOG_MEL and values > spec.width * spec.frames(1800):
        raise DataError(f"{folder}: {values} values a record are no log-mel spectrogram; was it made as waveform?")
    _check_values(first, path, format)
    shards = {name: tuple(_older_rows(os.path.join(folder, name), name, layout, spec)) for name in progress(names)}
    return Catalogue(folder, spec, layout, shards)


def _check_name(path: str, format: str) -> None:
    """Refuse an older file whose name says the other format."""
    other = WAVEFORM if format == LOG_MEL else LOG_MEL
    if os.path.basename(path).startswith("log-mel" if other == LOG_MEL else other):
        raise DataError(f"{path}: its name says {other}, {format} was asked for; give the other folder or frontend")


def _check_values(record: bytes, path: str, format: str) -> None:
    """Refuse an older record whose values are those of the other format: samples, or decibels."""
    loudest = float(np.abs(np.asarray(records_format.decode(record)["audio"], np.float32)).max())
    if format == WAVEFORM and loudest > LOUDEST_SAMPLE:
        raise DataError(
            f"{path}: values up to {loudest:.0f} are no samples (-1 to 1); are they decibels of a {LOG_MEL}?"
        )
    if format == LOG_MEL and loudest <= 1:
        raise DataError(f"{path}: no value is beyond 1, so these are no decibels; are they samples of a {WAVEFORM}?")


def _layout_of(record: bytes, path: str, tag_names: Sequence[str]) -> tuple[Layout, int]:
    """(layout, number of audio values) of an older record."""
    fields = records_format.decode(record)
    names = sorted((name for name in fields if name.split("_")[0] == "tags"), key=lambda name: (len(name), name))
    audio = fields.get("audio")
    if not audio or not fields.get("tid") or not names:
        found = ", ".join(sorted(fields)) or "none"
        raise DataError(f"{path}: foreign records with fields {found}; expected audio, tid and tags")
    if not isinstance(audio[0], float):
        raise DataError(
            f"{path}: bytes records without {SPEC}; put back the file that tools.preprocess wrote beside them"
        )
    values = next((fields[name] for name in names if fields[name]), [b""])
    if not isinstance(values[0], int):
        return Layout("floats", "strings", tuple(names)), len(audio)
    if tag_names and len(tag_names) < len(values):
        raise DataError(f"{path}: one-hot tags of {len(values)} positions, the tag database names {len(tag_names)}")
    positions = tuple(tag_names[: len(values)]) or tuple(f"tag_{index}" for index in range(len(values)))
    return Layout("floats", "one-hot", tuple(names), positions), len(audio)


def _older_rows(path: str, name: str, layout: Layout, spec: AudioSpec) -> Iterator[Row]:
    for number, record in enumerate(records_format.read_shard(path)):
        fields = records_format.decode(record)
        audio, (track_id, *_) = fields.get("audio", ()), fields.get("tid") or [None]
        tags = [fields.get(field, ()) for field in layout.tag_fields]
        lists = tags if layout.tags == "strings" else []
        good = isinstance(track_id, bytes) and audio and isinstance(audio[0], float) and len(audio) % spec.width == 0
        if not good or any(not isinstance(tag, bytes) for values in lists for tag in values):
            raise DataError(f"{path}: record {number} is laid out otherwise than the first one; remove this shard")
        if layout.tags == "one-hot":
            if any(len(values) != len(layout.positions) for values in tags):
                raise DataError(f"{path}: record {number} has not the {len(layout.positions)} tags of the first one")
            names = [tuple(layout.positions[i] for i, on in enumerate(values) if on) for values in tags]
        else:
            names = [tuple(tag.decode() for tag in values) for values in tags]
        yield Row(track_id.decode(), "", tuple(names), spec.seconds(len(audio) / spec.width), name)
