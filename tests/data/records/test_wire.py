"""orpheus.data.records.wire against protobuf's own parser."""

import numpy as np
import pytest
import tensorflow as tf

from orpheus.data.batches import epochs, split_records, windows
from orpheus.data.records import format, wire
from tests.data.batches.test_epochs import SECONDS, TARGETS, Made, padded
from tests.folders import MEL, clips, write


def record(size, tags=("rock", "pop"), track_id="t1"):
    return format.encode(track_id, np.arange(size, dtype=np.uint8), [list(tags)])


@pytest.mark.parametrize("sizes", [[1, 40, 60], [128, 500, 16000], [16384, 500_000, 2_000_000, 300], [2_200_000, 60]])
def test_audio_and_the_rest_of_any_size(sizes):
    batch = tf.constant([record(size, ["x" * (size % 50)] * (size % 3)) for size in sizes])
    found, start, length = wire.locate_audio(batch)
    assert found
    assert length.numpy().tolist() == sizes
    rest = wire.without_audio(batch, start + length).numpy()
    for whole, first, size, other in zip(batch.numpy(), start.numpy(), sizes, rest, strict=True):
        assert whole[first : first + size] == np.arange(size, dtype=np.uint8).tobytes()
        expected = format.decode(whole)
        assert bytes(expected.pop("audio")[0]) == whole[first : first + size]
        assert {name: list(value) for name, value in format.decode(other).items()} == {
            name: list(value) for name, value in expected.items()
        }


def test_sizes_around_a_longer_length_are_right_or_not_found():
    seen = set()
    for size in [*range(60, 140), *range(16300, 16400)]:
        found, start, length = wire.locate_audio(tf.constant([record(size)]))
        seen.add(bool(found))
        if found:
            assert (int(length[0]), record(size)[int(start[0]) :][:size]) == (
                size,
                np.arange(size, dtype=np.uint8).tobytes(),
            )
    assert seen == {True, False}  # lengths of unequal size are left to the parser


def test_other_records_are_not_found():
    good = record(1000)
    example = tf.train.Example.FromString(good)
    first = tf.train.Example.FromString(good)
    first.features.feature["aaa"].int64_list.value.append(1)
    example.features.feature["audio"].bytes_list.value.append(b"second")
    wrong = [first.SerializeToString(deterministic=True), example.SerializeToString(deterministic=True)]
    wrong += [good[:-1], good + good, b"", b"\n", good[:20], good.replace(b"audio", b"audiO")]
    wrong += [bytes(np.random.default_rng(seed).integers(256, size=200, dtype=np.uint8)) for seed in range(20)]
    for other in wrong:
        assert not wire.locate_audio(tf.constant([good, other]))[0]


def test_windows_are_the_same_where_the_parser_has_to_help(tmp_path):
    made = Made(tmp_path / "records", MEL)
    written = [
        tf.train.Example.FromString(r)
        for name in made.part.shards
        for r in format.read_shard(tmp_path / "records" / name)
    ]
    for example in written:
        example.features.feature["aaa"].int64_list.value.append(1)  # now the audio is not in front
    cutter = windows.Cutter(made.part, made.windows)
    everything = [clip for shard in made.by_shard for clip in shard]
    batch = tf.constant([example.SerializeToString(deterministic=True) for example in written])
    assert not wire.locate_audio(batch)[0]
    audio, targets = cutter.centred(batch)
    np.testing.assert_array_equal(audio, [padded(clip.audio, max(0, len(clip.audio) - 20) // 2) for clip in everything])
    np.testing.assert_array_equal(targets, TARGETS.matrix([clip.tags for clip in everything]))


def test_short_clips_end_where_their_audio_ends(tmp_path):
    short = clips([1, 7, 19], [["rock"]] * 3)
    write(tmp_path / "records", [short])
    catalogue = format.open_folder(tmp_path / "records", format=MEL.format)
    part = split_records.SplitRecords(catalogue, tuple(catalogue.shards), TARGETS)
    (audio, _), *_ = epochs.validation(part, windows.Windows(SECONDS[MEL.format]), batch_size=3)
    np.testing.assert_array_equal(audio, [padded(clip.audio, 0) for clip in short])
