"""The record: its fields, written and parsed in this one place; shards, the spec beside them, older layouts.

A record is a `tf.train.Example`: `audio` (bytes, stored frames one after the other, so that a window is one slice),
`tid` (track id) and `tags` (strings), or `tags_0`, `tags_1`… where tags come from several databases. A folder of
records holds the shards, spec.json and manifest.jsonl.

The reference's older layouts are read too: `audio` as a list of floats (log-mel: bands first), `tags` as strings or
as a one-hot list of integers. They are recognised by the first record and have no manifest, so they are scanned once.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from pydantic import Field, TypeAdapter

from orpheus.base import files, schema, storage
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import ConfigError, DataError

SPEC, MANIFEST, FAILURES, SUFFIX = "spec.json", "manifest.jsonl", "failures.jsonl", ".tfrecord"
VERSION = 1


@dataclass(frozen=True)
class Layout:
    """How records of a folder are laid out.

    Attributes:
        audio: ``"bytes"``, or ``"floats"`` (older).
        tags: ``"strings"``, or ``"one-hot"`` (older).
        tag_fields: Names of the fields with tags: ``("tags",)`` or ``("tags_0", "tags_1", …)``.
        positions: Names of a one-hot list's positions, else empty.
    """

    audio: str = "bytes"
    tags: str = "strings"
    tag_fields: tuple[str, ...] = ("tags",)
    positions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One record as the manifest has it."""

    track_id: str
    group: str
    tags: tuple[tuple[str, ...], ...]  # one tuple per tag field
    seconds: float
    shard: str
    bytes: int = 0  # of the serialised record; 0 where the manifest does not say
    lost_seconds: float = 0.0  # of a damaged file: what could not be decoded, beside `seconds`
    damage: str = ""  # where and why, in words; empty for a whole file


class _ManifestRow(schema.Schema):
    """A line of manifest.jsonl; the lists of tags are named by the layout."""

    id: Annotated[str, Field(min_length=1)]
    artist: str
    seconds: Annotated[float, Field(ge=0)]
    shard: Annotated[str, Field(min_length=1)]
    bytes: Annotated[int, Field(ge=0)] = 0
    lost_seconds: Annotated[float, Field(ge=0)] = 0.0
    damage: str = ""


_TAGS = TypeAdapter(list[str])


class _LayoutFile(schema.Schema):
    """How older records are laid out, which tools.migrate has described."""

    audio: Literal["bytes", "floats"] = "bytes"
    tags: Literal["strings", "one-hot"] = "strings"
    positions: Annotated[tuple[str, ...], Field(strict=False)] = ()


class _SpecFile(schema.Schema):
    """What spec.json has besides the spec itself."""

    version: int
    tag_fields: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = ("tags",)
    layout: _LayoutFile = _LayoutFile()


@dataclass(frozen=True)
class Catalogue:
    """A folder of records: what is stored, how, and a row per record in the order of the shards' content."""

    folder: str
    spec: AudioSpec
    layout: Layout
    shards: dict[str, tuple[Row, ...]]

    def paths(self, shards: Iterable[str]) -> list[str]:
        """Full paths of shard names."""
        return [os.path.join(self.folder, shard) for shard in shards]

    def rows(self, shards: Iterable[str]) -> list[Row]:
        """The rows of shards, in order."""
        return [row for shard in shards for row in self.shards[shard]]

    def tag_field(self, database: int | None) -> int:
        """Index of the tag field to use; `database` is --multi-db-default.

        Raises:
            ConfigError: several fields and none chosen, or one that does not exist.
        """
        count = len(self.layout.tag_fields)
        if database is None and count > 1:
            raise ConfigError(
                f"{self.folder} holds tags of {count} databases: choose with --multi-db-default 0…{count - 1}"
            )
        database = database or 0
        if not 0 <= database < count:
            raise ConfigError(f"--multi-db-default {database}: {self.folder} holds {count} (0…{count - 1})")
        return database


def tag_fields(databases: int) -> tuple[str, ...]:
    """Names of the tag fields for a number of tag databases."""
    return ("tags",) if databases == 1 else tuple(f"tags_{index}" for index in range(databases))


def encode(track_id: str, audio: np.ndarray, tags: Sequence[Sequence[str]]) -> bytes:
    """One serialised record.

    Args:
        track_id: Written to `tid`.
        audio: Stored frames, (samples,) or (frames, n_mels).
        tags: One list of tag strings per tag field.
    """
    feature = {"audio": _bytes([np.ascontiguousarray(audio).tobytes()]), "tid": _bytes([track_id.encode()])}
    for name, values in zip(tag_fields(len(tags)), tags, strict=True):
        feature[name] = _bytes([tag.encode() for tag in values])
    # Protobuf maps have no order of their own; deterministic serialisation sorts them: same input, same bytes.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _bytes(values: Sequence[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def write_shard(path: str | os.PathLike, records: Iterable[bytes]) -> None:
    """Write serialised records to a TFRecord file, a URL too, that appears under its name only when complete.

    Raises:
        OSError: the disk is full or the folder not writable; nothing is left under the final name.
    """
    with storage.writable(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        for record in records:
            writer.write(record)


def write_spec(folder: str | os.PathLike, spec: AudioSpec, databases: int, **provenance: Any) -> None:
    """Write spec.json: everything that training must agree with, and where the records came from."""
    values = {"version": VERSION, **spec.to_json(), "tag_fields": list(tag_fields(databases)), **provenance}
    files.write_json(os.path.join(folder, SPEC), values, opener=storage.atomic)


def read_spec(folder: str | os.PathLike) -> tuple[AudioSpec, Layout, dict]:
    """spec.json of a folder as (spec, layout, all its values)."""
    path = os.path.join(folder, SPEC)
    values = files.read_json(path, opener=storage.open_text)
    if not isinstance(values, dict) or values.get("version") != VERSION:
        found = values.get("version") if isinstance(values, dict) else values
        raise DataError(f"{path}: version {found!r}, this orpheus reads {VERSION}; re-run tools.preprocess")
    found = schema.check(_SpecFile, values, path)
    layout = Layout(found.layout.audio, found.layout.tags, found.tag_fields, found.layout.positions)
    return AudioSpec.from_json(values, path), layout, values


def row_to_json(row: Row) -> dict:
    """A manifest line."""
    fields = zip(tag_fields(len(row.tags)), map(list, row.tags), strict=True)
    return {
        "id": row.track_id,
        "artist": row.group,
        **dict(fields),
        "seconds": row.seconds,
        "bytes": row.bytes,
        "shard": row.shard,
        **({"lost_seconds": row.lost_seconds, "damage": row.damage} if row.damage else {}),
    }


def row_from_json(values: dict, layout: Layout, source: str) -> Row:
    """The inverse of `row_to_json`."""
    found = schema.check(_ManifestRow, values, source)
    named = [schema.check(_TAGS, values.get(field), f"{source}: {field}") for field in layout.tag_fields]
    # A million rows repeat a few thousand tags, artists and shards: one copy of each halves their memory.
    tags = tuple(tuple(map(sys.intern, names)) for names in named)
    group, shard = sys.intern(found.artist), sys.intern(found.shard)
    return Row(found.id, group, tags, found.seconds, shard, found.bytes, found.lost_seconds, found.damage)


def open_folder(
    folder: str | os.PathLike,
    *,
    format: str,
    wanted: dict | None = None,
    tag_names: Sequence[str] = (),
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> Catalogue:
    """Open a folder of records for a frontend and check that they fit.

    Args:
        folder: Holds shards (``*.tfrecord``), normally with spec.json and manifest.jsonl.
        format: ``"waveform"`` or ``"log-mel-spectrogram"``.
        wanted: The config's section tfrecords; every key given must agree with what is stored.
        tag_names: Names of the positions of one-hot tags (older records): `TagDatabase.by_row`.
        progress: Wraps the shards while records without a manifest are scanned.

    Raises:
        DataError: no records, records of the other format, a missing, foreign or unreadable shard.
        ConfigError: `wanted` disagrees with what is stored.
    """
    folder, wanted = storage.location(folder), wanted or {}
    names = shard_names(folder)
    if not storage.exists(os.path.join(folder, SPEC)):
        from orpheus.data.records import older

        return older.scan(folder, names, format, wanted, tag_names, progress)
    spec, layout, _ = read_spec(folder)
    if spec.format != format:
        raise DataError(
            f"{folder}: holds {spec.format} records, {format} was asked for; give the other folder or frontend"
        )
    for key, stored, asked in spec.differences(wanted):
        raise ConfigError(
            f"{folder}: made with {key}={stored}, config asks {asked}; re-run tools.preprocess or change tfrecords.{key}"
        )
    manifest = os.path.join(folder, MANIFEST)
    shards: dict[str, list[Row]] = {name: [] for name in names}
    seen: set[str] = set()
    for number, values in enumerate(files.iterate_jsonl(manifest, opener=storage.open_text), 1):
        row = row_from_json(values, layout, f"{manifest}:{number}")
        if row.shard not in shards:
            raise DataError(
                f"{os.path.join(folder, row.shard)}: in the manifest but not in the folder; re-run tools.preprocess"
            )
        if row.track_id in seen:
            raise DataError(f"{manifest}: track {row.track_id!r} is there twice; re-run tools.preprocess")
        seen.add(row.track_id)
        shards[row.shard].append(row)
    for name, rows in shards.items():
        path = os.path.join(folder, name)
        if not rows:
            raise DataError(
                f"{path}: foreign shard, the manifest does not know it; remove it or re-run tools.preprocess"
            )
        if wrong := wrong_size(path, rows):
            raise DataError(f"{path}: {wrong}; re-run tools.preprocess")
    storage.check_room(folder, shard_bytes(row.bytes for rows in shards.values() for row in rows))
    return Catalogue(folder, spec, layout, {name: tuple(rows) for name, rows in shards.items()})


def shard_bytes(records: Iterable[int]) -> int:
    """Size of a TFRecord file of records of these sizes: each gets its length (8 bytes) and two checksums (4 each)."""
    return sum(size + 16 for size in records)


def wrong_size(path: str, rows: Sequence[Row]) -> str:
    """What is wrong with the size of a shard that should hold these rows' records; empty if nothing, or not known.

    A truncated copy is so found before hours of training and not by them. Object storage has no half-written files, and
    asking it for thousands of sizes takes minutes.
    """
    if storage.is_url(path) or not all(row.bytes for row in rows):
        return ""
    expected = shard_bytes(row.bytes for row in rows)
    size = os.path.getsize(path)
    return "" if size == expected else f"truncated or foreign, {size} bytes where its manifest says {expected}"


def shard_names(folder: str | os.PathLike) -> list[str]:
    """Names of the complete shards in a folder, sorted.

    Raises:
        DataError: there is no such folder, or no shard in it.
    """
    folder = os.fspath(folder)
    found = storage.listed(folder)
    if not found and (storage.is_url(folder) or not os.path.isdir(folder)):
        raise DataError(f"{folder}: no such folder of records; make one with tools.preprocess")
    names = [name for name in found if name.endswith(SUFFIX) and not name.startswith(".")]
    if not names:
        raise DataError(f"{folder}: holds no *{SUFFIX}; make records with tools.preprocess")
    return names


def read_shard(path: str | os.PathLike) -> Iterator[bytes]:
    """Yield the serialised records of one shard.

    Raises:
        DataError: the file is truncated or corrupt (checksum), with the number of the record.
    """
    count, opened = 0, storage.tensorflow_path(path)
    try:
        for record in tf.data.TFRecordDataset(opened).as_numpy_iterator():
            yield record
            count += 1
    except tf.errors.OpError as error:
        raise DataError(
            f"{path}: corrupt or truncated at record {count} ({type(error).__name__}); re-run tools.preprocess"
        ) from None


def decode(record: bytes) -> dict[str, Sequence]:
    """Fields of one serialised record, each a sequence of bytes, floats or ints; for checks, not for speed."""
    try:
        example = tf.train.Example.FromString(record)
    except DecodeError as error:
        raise DataError(f"not a record: {error}") from None
    # The lists of floats stay where they are: to copy them would take ten times as long as to parse them.
    kinds = {name: feature.WhichOneof("kind") for name, feature in example.features.feature.items()}
    return {name: getattr(example.features.feature[name], kind).value if kind else () for name, kind in kinds.items()}
