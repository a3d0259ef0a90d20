"""orpheus.data.batches.epochs: windows against plain NumPy slices, order against what (seed, epoch) promises."""

import dataclasses
import itertools
import shutil
import uuid

import numpy as np
import pytest
import tensorflow as tf

from orpheus.base import filesystems
from orpheus.data.audio.spec import LOG_MEL, WAVEFORM, AudioSpec
from orpheus.data.batches import epochs as batch_epochs
from orpheus.data.batches import random_access
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.data.records import format
from orpheus.data.records.shards import split_shards
from orpheus.data.tags.targets import TagTargets, choose
from orpheus.errors import ConfigError, DataError
from tests.folders import MEL, clips, write, write_older

WAVE = AudioSpec(WAVEFORM, sample_rate=100)
SECONDS = {LOG_MEL: 0.2, WAVEFORM: 0.2}  # 20 frames of either
WINDOW = 20
LENGTHS = (20, 33, 7, 100, 41, 20, 19, 21, 60, 1, 55, 40)
TAGS = (
    ["rock"],
    ["pop", "rock"],
    ["hip hop"],
    ["rap", "hip hop"],
    ["unused"],
    ["jazz", "unused"],
    [],
    ["rap"],
    ["pop"],
    ["rock", "jazz"],
    ["jazz"],
    ["rap", "rock"],
)
TARGETS = TagTargets(("rock", "pop", "rap", "jazz"), {"rock": 0, "pop": 1, "rap": 2, "hip hop": 2, "jazz": 3})
KEPT = [index for index, names in enumerate(TAGS) if set(names) & set(TARGETS.columns)]  # all but 4 and 6


class Made:
    """A folder of records in any layout, with what is in it."""

    def __init__(self, folder, spec, *, shards=3, older=False, positions=()):
        self.clips = clips(LENGTHS, TAGS, spec)
        self.by_shard = [self.clips[index::shards] for index in range(shards)]
        if older:
            write_older(folder, self.by_shard, spec, positions=positions)
        else:
            write(folder, self.by_shard, spec)
        wanted = {
            "sample_rate": spec.sample_rate,
            "n_fft": spec.n_fft,
            "hop_length": spec.hop_length,
            "n_mels": spec.n_mels,
        }
        catalogue = format.open_folder(folder, format=spec.format, wanted=wanted, tag_names=positions)
        self.part = SplitRecords(catalogue, tuple(catalogue.shards), TARGETS)
        self.windows = Windows(SECONDS[spec.format])
        self.places = {}  # bytes of a window → (clip, start); stored values are random, so no two are equal
        for clip in self.clips:
            for start in range(max(1, len(clip.audio) - WINDOW + 1)):
                self.places[padded(clip.audio, start).tobytes()] = (clip.track_id, start)
        self.tags = {clip.track_id: clip.tags for clip in self.clips}
        self.ordered = [clip for shard in self.by_shard for clip in shard if TARGETS.any(clip.tags)]

    def random(self, **augmentation):
        return Windows(self.windows.seconds, random=True, augmentation=augmentation)


@pytest.fixture(scope="module", params=[MEL, WAVE], ids=["log-mel", "waveform"])
def made(request, tmp_path_factory):
    return Made(tmp_path_factory.mktemp("records") / "new", request.param)


@pytest.mark.slow
def test_object_storage_gives_the_same_batches(mel, monkeypatch):
    """fsspec's memory://, which TensorFlow's readers cannot open: every shard is copied here, once for all epochs."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    url, fetched = f"memory://{uuid.uuid4().hex}", []
    memory.put(mel.part.catalogue.folder + "/", url, recursive=True)
    real = filesystems.Fsspec.fetch
    monkeypatch.setattr(
        filesystems.Fsspec, "fetch", lambda door, name, local: fetched.append(name) or real(door, name, local)
    )
    catalogue = format.open_folder(url, format=LOG_MEL)
    part = SplitRecords(catalogue, tuple(catalogue.shards), TARGETS)

    def of(part):
        yield from batch_epochs.validation(part, mel.windows, batch_size=4)
        yield from batch_epochs.training(part, mel.random(), batch_size=4, seed=3).take(7)

    assert fetched == []
    for there, here in zip(of(part), of(mel.part), strict=True):
        np.testing.assert_array_equal(there[0], here[0])
        np.testing.assert_array_equal(there[1], here[1])
    assert sorted(fetched) == catalogue.paths(part.shards)
    songs = [list(random_access.locate(c).values()) for c in (catalogue, mel.part.catalogue)]
    pair = (
        random_access.Audio(c, s, TARGETS, 0.2) for c, s in zip((catalogue, mel.part.catalogue), songs, strict=True)
    )
    there, here = (next(iter(each.spread([5, 0, 3], 2, batch_size=3))) for each in pair)
    np.testing.assert_array_equal(there, here)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 10))
    with pytest.raises(DataError, match=r"are copied to .*, which has 0\.0 GB free; set TMPDIR"):
        format.open_folder(url, format=LOG_MEL)


@pytest.fixture(scope="module")
def mel(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("records") / "new", MEL)


def padded(audio, start, window=WINDOW):
    part = audio[start : start + window]
    return np.concatenate([part, np.zeros((window - len(part), *audio.shape[1:]), audio.dtype)])


def arrays(dataset, count=None):
    return [tuple(part.numpy() for part in batch) for batch in dataset.take(-1 if count is None else count)]


def test_validation_is_the_centre_of_every_kept_clip_in_order(made):
    dataset = batch_epochs.validation(made.part, made.windows, batch_size=4)
    assert dataset.cardinality() == 3  # by which model.fit knows that it has not run out of data
    batches = arrays(dataset)
    assert [len(audio) for audio, _ in batches] == [4, 4, 2]  # ten are kept, the ragged batch too
    audio, targets = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert [row.track_id for row in made.part.rows()] == [clip.track_id for clip in made.ordered]
    expected = [padded(clip.audio, max(0, len(clip.audio) - WINDOW) // 2) for clip in made.ordered]
    assert audio.dtype == made.clips[0].audio.dtype
    np.testing.assert_array_equal(audio, np.stack(expected))
    np.testing.assert_array_equal(targets, np.stack([TARGETS.multi_hot(clip.tags) for clip in made.ordered]))
    np.testing.assert_array_equal(targets, made.part.truth())
    assert targets.dtype == np.float32


def window_starts(length: int, window: int, *, whole: bool = False) -> list[int]:
    """First frames of the windows of a track of `length` frames: consecutive, the last one ending with the track.

    If `whole`, that last one is left out where it would begin within the one before it.
    """
    if length <= window:
        return [0]
    starts = list(range(0, length - window + 1, window))
    return starts if whole or starts[-1] + window == length else [*starts, length - window]


@pytest.mark.parametrize("whole", [False, True])
def test_all_windows_are_where_window_starts_says(made, whole):
    windows = dataclasses.replace(made.windows, whole=whole)
    batches = arrays(batch_epochs.all_windows(made.part, windows, batch_size=7))
    audio, index = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    expected = [
        (padded(clip.audio, start), number)
        for number, clip in enumerate(made.ordered)
        for start in window_starts(len(clip.audio), WINDOW, whole=whole)
    ]
    np.testing.assert_array_equal(index, [number for _, number in expected])
    np.testing.assert_array_equal(audio, np.stack([window for window, _ in expected]))
    assert {len(part) for part, _ in batches[:-1]} == {7}


@pytest.mark.parametrize(
    "length, starts",
    [
        (1, [0]),
        (19, [0]),
        (20, [0]),
        (21, [0, 1]),
        (40, [0, 20]),
        (41, [0, 20, 21]),
        (59, [0, 20, 39]),
        (60, [0, 20, 40]),
    ],
)
def test_window_starts(length, starts):
    assert window_starts(length, 20) == starts
    assert window_starts(length, 20, whole=True) == [start for start in starts if start % 20 == 0]


def epochs(made, *, count=2, first=0, batch_size=3, seed=5, **options):
    """Per epoch: (clip, start) of every window, and the targets."""
    steps = batch_epochs.steps_in_epoch(made.part, batch_size, options.get("steps_per_epoch"))
    options.setdefault("windows", made.random())
    dataset = batch_epochs.training(
        made.part, options.pop("windows"), batch_size=batch_size, seed=seed, first_epoch=first, **options
    )
    batches = arrays(dataset, count * steps)
    assert {len(audio) for audio, _ in batches} == {batch_size}
    places = [[made.places[window.tobytes()] for window in audio] for audio, _ in batches]
    for (_, targets), found in zip(batches, places, strict=True):
        np.testing.assert_array_equal(targets, TARGETS.matrix([made.tags[track_id] for track_id, _ in found]))
    return [list(itertools.chain(*places[start : start + steps])) for start in range(0, len(places), steps)]


def test_training_covers_every_kept_clip_once_an_epoch_in_changing_order(made):
    first, second, third = epochs(made, count=3, batch_size=5)
    kept = sorted(clip.track_id for clip in made.ordered)
    for epoch in (first, second, third):
        assert sorted(track_id for track_id, _ in epoch) == kept
    assert len({tuple(track_id for track_id, _ in epoch) for epoch in (first, second, third)}) == 3
    assert dict(first) != dict(second) != dict(third)  # other places in the clips
    for epoch in (first, second):
        for track_id, start in epoch:
            length = len(next(clip.audio for clip in made.clips if clip.track_id == track_id))
            assert 0 <= start <= max(0, length - WINDOW)


def test_the_ragged_batch_is_dropped_and_epochs_can_be_cut_short(mel):
    (epoch,) = epochs(mel, count=1, batch_size=3)
    assert len(epoch) == 9 and len({track_id for track_id, _ in epoch}) == 9
    (short,) = epochs(mel, count=1, batch_size=3, steps_per_epoch=2)
    assert short == epoch[:6]
    assert batch_epochs.steps_in_epoch(mel.part, 3, 100) == 3


def test_a_resumed_run_sees_what_an_uninterrupted_one_does(made):
    whole = epochs(made, count=4)
    assert epochs(made, count=2, first=2) == whole[2:]
    assert epochs(made, count=1, seed=6) != whole[:1]


def test_the_order_depends_on_no_global_seed(mel):
    expected = epochs(mel)
    for global_seed in (0, 12345):
        tf.random.set_seed(global_seed)
        assert epochs(mel) == expected


def test_parallelism_changes_nothing(mel, monkeypatch):
    expected = epochs(mel, cycle=2, block=2)
    monkeypatch.setattr(batch_epochs, "AUTOTUNE", 1)
    assert epochs(mel, cycle=2, block=2) == expected


def test_random_windows_reach_both_ends(mel):
    """Of a clip of 21 frames the two windows are equally likely."""
    starts = [dict(epoch).get("t007") for epoch in epochs(mel, count=40, batch_size=10)]
    assert 8 <= starts.count(0) <= 32 and starts.count(0) + starts.count(1) == 40


def test_without_shuffling_shards_interleave_in_their_order(mel):
    first, second = epochs(mel, batch_size=10, shuffle=False, windows=mel.windows, cycle=1)
    expected = [(clip.track_id, max(0, len(clip.audio) - WINDOW) // 2) for clip in mel.ordered]
    assert first == second == expected
    (mixed,) = epochs(mel, count=1, batch_size=10, shuffle=False, windows=mel.windows, cycle=3)
    assert [track_id for track_id, _ in mixed[:3]] == ["t000", "t001", "t002"]  # one of each shard


HOT = ("unused", "jazz", "rap", "hip hop", "pop", "rock", "none")


@pytest.mark.parametrize(
    "spec, positions",
    [
        pytest.param(MEL, (), id="strings"),
        pytest.param(MEL, HOT, id="one-hot", marks=pytest.mark.slow),
        pytest.param(WAVE, HOT, id="waveform", marks=pytest.mark.slow),
    ],
)
def test_older_layouts_give_the_same_windows(tmp_path, spec, positions):
    exact = AudioSpec(**{**spec.to_json(), "dtype": "float32"})
    new = Made(tmp_path / "new", exact)
    older = Made(tmp_path / "older", exact, older=True, positions=positions)
    pairs = zip(
        *(batch_epochs.training(made.part, made.random(), batch_size=3, seed=1).take(4) for made in (new, older)),
        strict=True,
    )
    for (audio, targets), (old_audio, old_targets) in pairs:
        # The reference stored decibels: taking 100 away and adding it again rounds at 1e-5.
        np.testing.assert_allclose(audio, old_audio, atol=1e-4 if spec is MEL else 0)
        np.testing.assert_array_equal(targets, old_targets)
    pairs = zip(
        *(batch_epochs.all_windows(made.part, made.windows, batch_size=50) for made in (new, older)), strict=True
    )
    for (audio, index), (old_audio, old_index) in pairs:
        np.testing.assert_allclose(audio, old_audio, atol=1e-4 if spec is MEL else 0)
        np.testing.assert_array_equal(index, old_index)


def test_the_chosen_database_decides(tmp_path):
    two = [(["rock"], ["jazz"]), ([], ["rock"]), (["pop"], [])]
    write(tmp_path, [clips([30, 30, 30], two)])
    catalogue = format.open_folder(tmp_path, format=LOG_MEL)
    for database, expected in ((0, [[1, 0, 0, 0], [0, 1, 0, 0]]), (1, [[0, 0, 0, 1], [1, 0, 0, 0]])):
        part = SplitRecords(catalogue, tuple(catalogue.shards), TARGETS, database)
        ((_, targets),) = arrays(batch_epochs.validation(part, Windows(0.2), batch_size=5))
        np.testing.assert_array_equal(targets, expected)
        np.testing.assert_array_equal(part.truth(), expected)


def test_tags_are_looked_up_as_they_are_spelled(tmp_path):
    """Bytes of UTF-8, spaces and case are all kept; a tag may be empty of letters."""
    names = ["Björk", "björk", "日本", "!!!", "a b"]
    write(tmp_path, [clips([30] * 5, [[name] for name in names])])
    catalogue = format.open_folder(tmp_path, format=LOG_MEL)
    targets = choose([(name, 1) for name in names], without=["björk"])
    part = SplitRecords(catalogue, tuple(catalogue.shards), targets)
    ((_, hot),) = arrays(batch_epochs.validation(part, Windows(0.2), batch_size=9))
    np.testing.assert_array_equal(hot, np.eye(4))


def test_nothing_to_train_on_is_said(mel):
    none = SplitRecords(mel.part.catalogue, mel.part.shards, TagTargets(("folk",), {"folk": 0}))
    with pytest.raises(DataError, match=r"no track in 3 shards has any of the 1 classes \(folk…\)"):
        batch_epochs.validation(none, mel.windows, batch_size=2)
    with pytest.raises(DataError, match=r"0 training tracks .*lower model-training\.batch_size=2"):
        batch_epochs.training(none, mel.windows, batch_size=2, seed=0)
    with pytest.raises(DataError, match="10 training tracks have any of the 4 classes, fewer than one batch"):
        batch_epochs.training(mel.part, mel.windows, batch_size=11, seed=0)


NAMES = [f"s{index:03d}" for index in range(20)]


@pytest.mark.parametrize(
    "count, split, sizes",
    [
        (20, [80, 10, 10], (16, 2, 2)),
        (20, [90, 10], (18, 2, 0)),
        (7, [80, 10, 10], (5, 1, 1)),  # every part that asks for something gets a shard
        (20, [33.3, 33.3, 33.4], (8, 6, 6)),
        (20, [100, 0, 0], (20, 0, 0)),
        (20, [5, 3, 2], (5, 3, 2)),  # counts; ten shards stay unused
        (20, [18, 2], (18, 2, 0)),
    ],
)
def test_split_by_shard(count, split, sizes):
    parts = split_shards(NAMES[:count], split)
    assert tuple(map(len, parts)) == sizes
    assert list(itertools.chain(*parts)) == NAMES[: sum(sizes)]


def test_a_hundred_shards_are_their_per_cent():
    names = [f"s{index:03d}" for index in range(100)]
    assert tuple(map(len, split_shards(names, [33.3, 33.3, 33.4]))) == (34, 33, 33)
    assert tuple(map(len, split_shards(names, [80, 15, 5]))) == (80, 15, 5)


@pytest.mark.parametrize(
    "count, split, said",
    [
        (
            20,
            [80, 30],
            r"split=\[80, 30\]: adds up to 110; give per cent that add up to 100, or numbers of shards, of which there are 20",
        ),
        (20, [1.5, 1], "adds up to 2.5"),
        (2, [80, 10, 10], "2 shards are too few"),
    ],
)
def test_impossible_splits(count, split, said):
    with pytest.raises(ConfigError, match=said):
        split_shards(NAMES[:count], split)


def test_named_shards_keep_their_part():
    names = ["test-x-9", "train-x-0", "train-x-1", "valid-x-8"]
    assert split_shards(names, [80, 10, 10]) == (("train-x-0", "train-x-1"), ("valid-x-8",), ("test-x-9",))


@pytest.mark.parametrize(
    "name", ["waveform_{}.tfrecord", "log-mel-spectrogram_{}.tfrecord", "{}-log-mel-00001.tfrecord"]
)
def test_the_three_files_of_the_reference_keep_their_split(name):
    files = {split: name.format(split) for split in ("test", "train", "valid")}
    parts = split_shards(sorted(files.values()), [80, 10, 10])
    assert parts == ((files["train"],), (files["valid"],), (files["test"],))
    assert split_shards(sorted(files.values())[:2], [80, 20])[0] == (files["train"],)  # test, train


def test_names_that_say_a_split_now_and_then_are_refused():
    with pytest.raises(ConfigError, match=r"a-00001.tfrecord: its name says no split, and train-a.tfrecord does"):
        split_shards(["a-00001.tfrecord", "train-a.tfrecord"], [80, 10, 10])
    with pytest.raises(ConfigError, match="no shard is named train"):
        split_shards(["test-a.tfrecord", "valid-a.tfrecord"], [80, 10, 10])
    assert split_shards(["train_test-a.tfrecord", "b.tfrecord"], [50, 50, 0])[0] == ("train_test-a.tfrecord",)
