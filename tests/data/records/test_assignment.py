"""orpheus.data.records.writing.assign: whole groups to shards; and the names of shards."""

import collections

import numpy as np
import pytest

from orpheus.data.audio.spec import WAVEFORM
from orpheus.data.records import shards
from orpheus.data.records.tracks import Track
from orpheus.errors import ConfigError
from tests.data.records.test_writing import plan, track


def random_tracks(count, groups, seed=0):
    rng = np.random.default_rng(seed)
    return [track(index, "x", group=f"g{rng.integers(groups)}" if groups else "") for index in range(count)]


@pytest.mark.parametrize("groups", [0, 9])
def test_groups_never_straddle_shards_and_no_track_is_lost(groups):
    tracks = random_tracks(60, groups)
    assigned = plan(tracks, n_files=5)
    assert sorted(t.track_id for shard in assigned.values() for t in shard) == sorted(t.track_id for t in tracks)
    homes = collections.defaultdict(set)
    for name, shard in assigned.items():
        for each in shard:
            homes[each.group or each.track_id].add(name)
    assert {len(names) for names in homes.values()} == {1}
    sizes = [len(shard) for shard in assigned.values()]
    largest = max(collections.Counter(t.group or t.track_id for t in tracks).values())
    assert max(sizes) - min(sizes) <= largest


def test_the_assignment_depends_on_the_seed_and_not_on_the_order_of_tracks():
    tracks = random_tracks(40, 0)
    assert plan(tracks) == plan(tracks[::-1])
    assert plan(tracks) != plan(tracks, seed=1)
    first = next(iter(plan(tracks).values()))
    assert [t.track_id for t in first] != sorted(t.track_id for t in first)


def test_a_group_named_like_a_track_is_another_group():
    assigned = plan([Track("a", "x"), Track("b", "x", "a")], n_files=2)
    assert [len(shard) for shard in assigned.values()] == [1, 1]


@pytest.mark.parametrize("n_files", [0, -1, 5])
def test_a_bad_number_of_shards(n_files):
    tracks = [track(index, "x", group=f"artist {index % 4}") for index in range(12)]
    with pytest.raises(ConfigError, match=rf"--num-files {n_files}: must be 1 to 4, the number of artists"):
        plan(tracks, n_files=n_files)


def test_names_of_split_shards():
    assert shards.shard_names(10, WAVEFORM, [70, 20, 10]) == [
        *(f"train-waveform-{index:05d}-of-00010.tfrecord" for index in range(7)),
        *(f"valid-waveform-{index:05d}-of-00010.tfrecord" for index in range(7, 9)),
        "test-waveform-00009-of-00010.tfrecord",
    ]
    assert shards.shard_names(2, WAVEFORM, [50, 50, 0])[1].startswith("valid-")
    named = [name.split("-")[0] for name in shards.shard_names(3, WAVEFORM, [80, 10, 10])]
    assert named == ["train", "valid", "test"]  # every split that asks for something gets a shard
    for split, said in (
        ([80, 10, 20], r"--split=\[80, 10, 20\]: give per cent"),
        ([120, -20, 0], "per cent"),
        ([0, 50, 50], "per cent"),
    ):
        with pytest.raises(ConfigError, match=said):
            shards.shard_names(10, WAVEFORM, split)
    with pytest.raises(ConfigError, match=r"--split=\[80, 10, 10\]: 2 shards are too few; make more"):
        shards.shard_names(2, WAVEFORM, [80, 10, 10])


def test_a_split_without_tracks_gets_no_shard():
    assert shards.shard_counts([2, 0, 2], 6) == [3, 0, 3]  # more shards than tracks
    assert shards.shard_counts([1, 5, 0], 3) == [1, 2, 0]
