"""Splits by artist: against every possible assignment of small cases, on real artists, and where none exists."""

from itertools import product

import numpy as np
import pytest

from orpheus.data.splits import search, stratify
from orpheus.data.tags.files import TagFile
from orpheus.errors import ConfigError, DataError

SHARES = np.array([0.5, 0.25, 0.25])


def small(seed, *, groups=7, tags=3, tolerance=0.3):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (groups, tags)) * (rng.random((groups, tags)) < 0.6)
    return stratify.Problem(counts, counts.max(axis=1) + rng.integers(0, 3, groups), SHARES, tolerance)


def every_assignment(problem):
    """(least of all tags, least of each tag, within the tolerance) of each of the 3^groups assignments, by plain loops."""
    for assign in product(range(3), repeat=len(problem.sizes)):
        table = np.zeros((3, problem.counts.shape[1]), int)
        sizes = np.zeros(3)
        for group, split in enumerate(assign):
            table[split] += problem.counts[group]
            sizes[split] += problem.sizes[group]
        off = np.abs(sizes / problem.sizes.sum() - SHARES).max()
        yield table.min(), table.min(axis=0), off <= problem.tolerance + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_against_every_possible_deal(seed):
    problem = small(seed)
    assignments = list(every_assignment(problem))
    best = max(least for least, _, fits in assignments if fits)
    bounds = stratify.upper_bounds(problem.counts, 3)
    assert (bounds >= np.max([each for _, each, _ in assignments], axis=0)).all()
    found = stratify.search(problem, int(best), seed=[0], starts=5, moves=500)
    assert found.penalty == 0 and problem.table(found.split).min() >= best
    beyond = stratify.search(problem, int(best) + 1, seed=[0], starts=2, moves=50)
    assert beyond.penalty > 0 and beyond.starts == 2 and beyond.moves <= 100  # bounded


def test_bounds_by_hand():
    counts = np.array([[10, 4, 9], [1, 4, 1], [1, 4, 1], [0, 4, 0]])
    # 12 tracks in 3 splits, but only 2 beside the largest artist; 16 tracks; 11 with two small artists.
    np.testing.assert_array_equal(stratify.upper_bounds(counts, 3), [1, 5, 1])
    np.testing.assert_array_equal(stratify.upper_bounds(counts[:2], 3), [0, 0, 0])  # two artists, three splits


def test_changes_agree_with_the_penalty_computed_anew():
    problem = small(3, tolerance=0.05)
    split = stratify.random_split(problem, np.random.default_rng(0))
    to, least = 1, 3
    groups = np.flatnonzero(split != to)
    table, totals = problem.table(split), problem.split_sizes(split)
    changes = stratify._changes(problem, groups, split, to, table, totals, least)
    for group, change in zip(groups, changes, strict=True):
        moved = split.copy()
        moved[group] = to
        assert problem.penalty(moved, least) - problem.penalty(split, least) == pytest.approx(change, abs=1e-9)


@pytest.mark.parametrize("high", range(3))
def test_a_split_that_is_too_large_gives_and_takes_nothing(high):
    """The others are within the tolerance: only moves out of it help, and about five are enough."""
    problem = stratify.Problem(np.zeros((100, 1), int), np.ones(100, int), np.full(3, 1 / 3), 0.05)
    start = np.repeat([(high + 1) % 3, (high + 2) % 3, high], [30, 30, 40])
    assert problem.penalty(start, 0) > 0
    found, penalty, moved = stratify.improve(problem, start, 0, moves=100, rng=np.random.default_rng(0))
    assert penalty == 0 and moved < 10
    assert (start[found != start] == high).all() and (found != start).any()


def test_stratified_start_keeps_shares_of_every_tag():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (400, 20)) * (rng.random((400, 20)) < 0.05)
    problem = stratify.Problem(counts, counts.sum(axis=1) + 1, np.array([0.7, 0.15, 0.15]), 0.02)

    def off(split):
        return np.abs(problem.table(split) / counts.sum(axis=0) - problem.shares[:, None]).mean()

    stratified = off(stratify.stratified(problem, 0, np.random.default_rng(1)))
    drawn = [off(stratify.random_split(problem, np.random.default_rng(seed))) for seed in range(20)]
    assert 5 * stratified < min(drawn)  # a tenth of chance's distance, more or less


def tracks_of(artists):
    """{artist: [tags of each of its tracks]} → (tracks, groups)."""
    tracks, groups = {}, {}
    for artist, lists in artists.items():
        for number, tags in enumerate(lists):
            tracks[f"{artist}{number}"] = tags
            groups[f"{artist}{number}"] = artist
    return tracks, groups


def check(found, tracks, groups):
    """Whole artists, no track twice, and the table is what a loop counts."""
    sides = {}
    for split, ids in found.splits.items():
        for track in ids:
            assert sides.setdefault(groups.get(track, f"track {track}"), split) == split
    ids = [track for split in found.splits.values() for track in split]
    assert len(ids) == len(set(ids)) == sum(any(tag in found.tags for tag in tags) for tags in tracks.values())
    for row, split in enumerate(search.SPLITS):
        for column, tag in enumerate(found.tags):
            assert found.table[row, column] == sum(tag in tracks[track] for track in found.splits[split])


@pytest.fixture(scope="module")
def jamendo(shared):
    source = TagFile(sorted((shared / "mtg-jamendo").glob("autotagging_[gm]*-*.tsv")))
    return source.tags_of_all(), {track: row.artist for track, row in source.tracks.items()}


@pytest.mark.slow
def test_real_artists(jamendo):
    tracks, groups = jamendo
    found = search.find(tracks, groups, top=100, min_tracks=60, seed=0)
    assert found.least >= 60 == found.asked and found.bound >= found.least
    assert max(found.random) < 60  # chance would have been at it for long
    total = sum(map(len, found.splits.values()))
    shares = [len(found.splits[split]) / total for split in search.SPLITS]
    np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.02)
    sides = [{groups[track] for track in found.splits[split]} for split in search.SPLITS]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    again = search.find(tracks, groups, top=100, min_tracks=60, seed=0)
    assert again.splits == found.splits
    assert search.find(tracks, groups, top=100, min_tracks=60, seed=1).splits != found.splits


def test_none_exists_and_the_nearest_is_given():
    # jazz: three artists with 5, 3 and 2 tracks, so no split has more than 2 in every split.
    artists = {
        "a": [["jazz"]] * 5,
        "b": [["jazz"]] * 3,
        "c": [["jazz"]] * 2,
        **{f"r{i}": [["rock"]] * 2 for i in range(30)},
    }
    tracks, groups = tracks_of(artists)
    found = search.find(tracks, groups, top=2, min_tracks=4, tolerance=5, seed=0)
    assert (found.least, found.asked, found.bound, found.bound_tag) == (2, 4, 2, "jazz")
    check(found, tracks, groups)
    assert search.find(tracks, groups, top=2, min_tracks=2, tolerance=5).least == 2


def test_tracks_without_an_artist_and_without_a_tag():
    artists = {f"r{i}": [["rock", "odd"] if i == 0 else ["rock"]] for i in range(20)} | {"n": [["rare"]] * 2 + [[]]}
    tracks, groups = tracks_of(artists)
    groups = {track: artist for track, artist in groups.items() if artist not in ("r1", "r2")}
    found = search.find(tracks, groups, top=1, min_tracks=2, tolerance=6)
    assert (found.tags, found.left_out, found.without_group, found.groups) == (("rock",), 3, 2, 20)
    check(found, tracks, groups)


def test_an_artist_too_large_for_the_shares():
    tracks, groups = tracks_of({"big": [["rock"]] * 90, "b": [["rock"]] * 5, "c": [["rock"]] * 5})
    with pytest.raises(DataError, match=r"'group big' alone has 90.0 % of the tracks; raise the tolerance"):
        search.find(tracks, groups, top=1, min_tracks=50, tolerance=2)
    assert search.find(tracks, groups, top=1, min_tracks=5, tolerance=25).least == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 0}, "top=0"),
        ({"min_tracks": -1}, "min_tracks=-1"),
        ({"shares": (1, 0, 1)}, "three positive numbers"),
        ({"shares": (1, 1)}, "three positive numbers"),
        ({"tolerance": 101}, "tolerance=101"),
        ({"starts": 0}, "starts=0"),
    ],
)
def test_bad_settings(change, message):
    tracks, groups = tracks_of({f"a{i}": [["rock", "pop"]] for i in range(9)})
    with pytest.raises((ConfigError, DataError), match=message):
        search.find(tracks, groups, **{"top": 2, "min_tracks": 1, **change})


def test_two_artists_are_too_few():
    with pytest.raises(DataError, match="2 artists are too few"):
        search.find(*tracks_of({"a": [["x"]] * 9, "b": [["x"]] * 9}), top=1, min_tracks=1)


def test_saved_split_is_read_again(tmp_path):
    tracks, groups = tracks_of({f"a{i}": [["rock"]] for i in range(20)})
    found = search.find(tracks, groups, top=1, min_tracks=2, tolerance=5)
    search.save(tmp_path / "s.json", found, made={"seed": 0})
    assert search.load(tmp_path / "s.json") == (found.splits, ("rock",))
    for content, message in [
        ('{"format": "x"}', "not a split"),
        ('{"format": "orpheus-split", "version": 9}', "has version 9"),
        ('{"format": "orpheus-split", "version": 1, "train": [1]}', "'train.0' is 1; it should be a valid string"),
    ]:
        (tmp_path / "s.json").write_text(content)
        with pytest.raises(DataError, match=message):
            search.load(tmp_path / "s.json")


def test_fewer_tags_than_asked_for_are_all_taken(caplog):
    tracks, groups = tracks_of({f"artist {n}": [["x"], ["y"]] for n in range(20)})
    found = search.find(tracks, groups, top=100, min_tracks=1, tolerance=5)
    assert found.tags == ("x", "y") and "there are 2 tags where the top 100 were asked for" in caplog.text
