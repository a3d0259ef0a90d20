"""The map: groups of songs are apart, it is the same twice, and stays when songs come."""

import dataclasses
import sys

import numpy as np
import pytest

from orpheus.base import locks
from orpheus.tasks.search import map_file, projection, regions
from orpheus.tasks.search.filters import Facets, Filters
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.search.store import Song
from tests.retriever import FakeRetriever

GROUPS = ("jazz", "rock", "folk")


def songs(count, *, seed=0, first=0):
    """Songs of three groups, whose tag says which, and one that all have."""
    draw = np.random.default_rng(seed)
    of = draw.integers(0, 3, count)
    rows = np.eye(8)[of] + 0.15 * draw.normal(size=(count, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = [
        Song(f"s{first + n}", row.astype(np.float32), (GROUPS[group], "music"))
        for n, (row, group) in enumerate(zip(rows, of, strict=True))
    ]
    return found, of


@pytest.fixture
def index(tmp_path):
    index = SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "run"))
    index._store.put(songs(120)[0])
    index.refresh()
    return index


def apart(points, of):
    """Share of songs whose nearest other song on the map is of their group."""
    far = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(len(points))
    return float((of[far.argmin(axis=1)] == of).mean())


def test_groups_are_apart_and_named(index):
    found, of = index.map(), songs(120)[1]
    assert found.numbers.dtype == np.uint32 and found.points.dtype == np.float32 and len(found.numbers) == 120
    assert np.abs(found.points).max() == 1 and apart(found.points, of) > 0.95 > apart(found.points, of[::-1])
    assert {tag for _, _, tag in found.labels} == set(GROUPS)  # and not the tag that all have
    for x, y, tag in found.labels[:3]:
        distance = np.linalg.norm(found.points - [x, y], axis=1)
        assert of[distance.argmin()] == GROUPS.index(tag)


def test_the_map_is_kept_and_stays_when_songs_come_and_go(index, monkeypatch):
    first = index.map()
    again = SongIndex(index.folder)
    monkeypatch.setattr(projection, "project", None)  # it is read
    kept = again.map()
    np.testing.assert_array_equal(kept.points, first.points)
    assert kept.labels == first.labels
    monkeypatch.undo()
    new, of = songs(30, seed=1, first=500)
    index._store.put(new)
    index._store.remove(["s3"])
    assert again.refresh()
    found = again.map()
    place = dict(zip(first.numbers.tolist(), first.points.tolist(), strict=True))
    same = [place.get(number) for number in found.numbers.tolist()]
    assert len(found.numbers) == 149
    assert all(old is None or old == point for old, point in zip(same, found.points.tolist(), strict=True))
    middle = np.array([np.median(first.points[songs(120)[1] == group], axis=0) for group in range(3)])
    newest = found.points[[old is None for old in same]]
    assert (np.linalg.norm(newest[:, None] - middle, axis=2).argmin(axis=1) == of).mean() > 0.9
    assert not np.array_equal(again.map(anew=True).points, found.points)  # t-SNE of others


def test_a_map_that_was_made_while_the_index_changed_is_not_shown_after_it(index, monkeypatch):
    index.map()
    project, other = projection.project, SongIndex(index.folder)
    other._store.put(songs(20, seed=1, first=200)[0])
    index.refresh()

    def slow(*arguments, **options):
        """Meanwhile another process adds songs with a tag of their own, and the thread of the index refreshes it."""
        found = project(*arguments, **options)
        monkeypatch.setattr(projection, "project", project)
        added = songs(30, seed=2, first=400)[0]
        other._store.put([dataclasses.replace(song, tags=("new",)) for song in added])
        index.refresh()
        return found

    monkeypatch.setattr(projection, "project", slow)
    assert len(index.map().numbers) == 140
    found = index.map()
    assert len(found.numbers) == len(index) == 170
    np.testing.assert_array_equal(found.numbers, SongIndex(index.folder).map().numbers)


def test_names_of_regions_are_those_of_the_songs_on_the_map_and_not_of_a_refresh_before(index):
    index.search("jazz", filters=Filters(tags=["jazz"]))  # reads the tags of all songs
    other = SongIndex(index.folder)
    other._store.retag({f"s{n}": ("new", "music") for n in range(120)})
    labels = index.map().labels
    assert SongIndex(index.folder).map().labels == labels  # of the file, by its revision
    assert not {tag for _, _, tag in labels} & set(GROUPS)


def test_without_open_tsne_two_principal_components(index, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    found = index.map(anew=True)
    rows = np.stack([song.vector for song in index._store.songs(found.numbers.tolist())]).astype(np.float64)
    plane = np.linalg.svd(rows - rows.mean(axis=0))[0][:, :2]
    for axis in range(2):  # up to sign and scale
        assert abs(np.corrcoef(plane[:, axis], found.points[:, axis])[0, 1]) > 0.9999
    assert "openTSNE is not installed" in caplog.text


def test_a_sample_is_placed_and_the_others_among_it(monkeypatch):
    monkeypatch.setattr(projection, "MOST_OPTIMISED", 80)
    found, of = songs(300)
    rows, numbers = np.stack([song.vector for song in found]), np.arange(300) * 2 + 7
    points = projection.project(numbers, lambda some: rows[(some - 7) // 2])
    assert apart(points, of) > 0.95 and len(np.unique(points, axis=0)) > 250


@pytest.mark.parametrize("count", [12, 49, 50, 51])
def test_a_map_of_few_songs_is_no_point(count):
    rows = np.stack([song.vector for song in songs(count)[0]])
    points = projection.project(np.arange(count), lambda some: rows[some])
    assert apart(points, songs(count)[1]) > 0.9 and np.abs(points).max() == 1


def test_songs_that_are_all_alike_have_places():
    points = projection.project(np.arange(60), lambda some: np.eye(8, dtype=np.float32)[0 * some])
    assert points.shape == (60, 2) and np.isfinite(points).all()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_songs(tmp_path, count):
    index = SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "run"))
    index._store.put(songs(5)[0][:count])
    index.refresh()
    found = index.map()
    assert found.points.shape == (count, 2) and np.isfinite(found.points).all()


def test_a_damaged_map_is_made_again_and_one_that_cannot_be_kept_is_shown(index, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    first = index.map().points
    path = index.folder / map_file.NAME
    path.write_bytes(b"nonsense")
    with locks.lock(index.folder):
        np.testing.assert_array_equal(SongIndex(index.folder).map().points, first)
    assert path.read_bytes() == b"nonsense" and "is made again" in caplog.text and "is not kept" in caplog.text
    SongIndex(index.folder).map()
    assert path.read_bytes() != b"nonsense"


def test_a_region_is_named_by_what_is_more_frequent_there_than_elsewhere(tmp_path):
    """Two regions by hand: all songs are pop, those on the left are metal, those on the right dub; few are rare."""
    index = SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "run"))
    sides = np.repeat([-0.8, 0.8], 50)
    tags = [("pop", "metal" if x < 0 else "dub", *(["rare"] if n == 3 else [])) for n, x in enumerate(sides)]
    index._store.put([Song(f"s{n}", np.eye(8, dtype=np.float32)[0], one) for n, one in enumerate(tags)])
    points = np.stack([sides, np.linspace(-0.1, 0.1, 100)], axis=1).astype(np.float32)
    found = regions.labels(index._store.numbers(), points, Facets(index._store))
    assert sorted((round(x, 1), tag) for x, _, tag in found) == [(-0.8, "metal"), (0.8, "dub")]
