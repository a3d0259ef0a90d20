"""Folders of records with known content, in the layout of today and in the reference's older ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import tensorflow as tf

from orpheus.base import files
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.data.records import format

MEL = AudioSpec(LOG_MEL, sample_rate=1000, n_fft=64, hop_length=10, n_mels=4)  # 100 frames a second


@dataclass(frozen=True)
class Clip:
    """One record: its stored frames and its tags (a tuple per database, or one list)."""

    track_id: str
    audio: np.ndarray
    tags: Sequence


def clips(lengths: Sequence[int], tags: Sequence, spec: AudioSpec = MEL, *, seed: int = 0) -> list[Clip]:
    """One clip per length in frames; no stored value is zero, so that padding can be distinguished."""
    rng = np.random.default_rng(seed)
    found = []
    for index, (length, names) in enumerate(zip(lengths, tags, strict=True)):
        shape = (length,) if spec.width == 1 else (length, spec.width)
        values = rng.integers(1, 2000, shape)
        scale = 1 if spec.dtype == "int16" else 2000 if spec.width == 1 else 16  # samples up to 1, decibels beyond
        audio = (values / scale).astype(spec.dtype)
        found.append(Clip(f"t{index:03d}", audio, names))
    return found


def fields(tags: Sequence) -> list[list[str]]:
    """A clip's tags as one list per tag field."""
    return [list(names) for names in tags] if isinstance(tags, tuple) else [list(tags)]


def write(folder: Path, shards: Sequence[Sequence[Clip]], spec: AudioSpec = MEL, *, names=None) -> list[str]:
    """Write a folder of records as tools.preprocess does; returns the names of its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{spec.format}-{index:05d}-of-{len(shards):05d}.tfrecord" for index in range(len(shards))]
    rows = []
    for name, content in zip(names, shards, strict=True):
        encoded = [format.encode(clip.track_id, clip.audio, fields(clip.tags)) for clip in content]
        format.write_shard(folder / name, encoded)
        for clip, record in zip(content, encoded, strict=True):
            tags = tuple(tuple(each) for each in fields(clip.tags))
            seconds = round(spec.seconds(len(clip.audio)), 3)
            rows.append(format.row_to_json(format.Row(clip.track_id, "", tags, seconds, name, len(record))))
    format.write_spec(folder, spec, len(fields(shards[0][0].tags)))
    files.write_jsonl(folder / format.MANIFEST, rows)
    return names


def write_as_reference(
    folder: Path,
    split: dict[str, Sequence[str]],
    recordings: dict[str, tuple[np.ndarray, Sequence[str]]],
    *,
    kind: str = LOG_MEL,
    table: Sequence[str] = (),
    n_mels: int = 96,
    rate: int = 16000,
) -> None:
    """Re-enact the reference's preprocessing scripts: one file per split named by the format, mel spectrograms by librosa in
    decibels with its default top_db, bands first, lists of floats; tags as strings, or as positions of a database's table.

    Args:
        folder: Created when missing.
        split: ``train``, ``valid``, ``test`` → ids.
        recordings: Id → (mono samples, tags).
        kind: Format.
        table: Names of the rows of the database's table tags: the predecessor's one-hot tags.
        n_mels: Bands.
        rate: Hz.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in split.items():
        with tf.io.TFRecordWriter(str(folder / f"{kind}_{name}.tfrecord")) as writer:
            for track in ids:
                samples, tags = recordings[track]
                values = samples
                if kind == LOG_MEL:
                    power = librosa.feature.melspectrogram(y=samples, sr=rate, n_mels=n_mels)
                    values = librosa.power_to_db(power)
                floats = tf.train.FloatList(value=values.ravel())
                if table:
                    hot = [int(row in tags) for row in table]
                    listed = tf.train.Feature(int64_list=tf.train.Int64List(value=hot))
                else:
                    listed = tf.train.Feature(bytes_list=tf.train.BytesList(value=[tag.encode() for tag in tags]))
                feature = {
                    "audio": tf.train.Feature(float_list=floats),
                    "tid": tf.train.Feature(bytes_list=tf.train.BytesList(value=[track.encode()])),
                    "tags": listed,
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def write_older(
    folder: Path, shards: Sequence[Sequence[Clip]], spec: AudioSpec, *, positions: Sequence[str] = ()
) -> None:
    """Write the reference's layout: lists of floats (log-mel bands first, decibels), tags as strings or one-hot."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(shards):
        with tf.io.TFRecordWriter(str(folder / f"{spec.format}_{index:03d}.tfrecord")) as writer:
            for clip in content:
                values = clip.audio.astype(np.float32)
                if spec.format == LOG_MEL:
                    values = (values - 100).T
                feature = {
                    "audio": tf.train.Feature(float_list=tf.train.FloatList(value=values.ravel())),
                    "tid": tf.train.Feature(bytes_list=tf.train.BytesList(value=[clip.track_id.encode()])),
                }
                given = fields(clip.tags)
                for name, tags in zip(format.tag_fields(len(given)), given, strict=True):
                    if positions:
                        hot = [int(position in tags) for position in positions]
                        feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=hot))
                    else:
                        encoded = [tag.encode() for tag in tags]
                        feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
