"""Mixtures, filters, listeners, histories and paths, against brute force over all songs."""

import os

import numpy as np
import pytest

from orpheus.data.items.interactions import Interactions
from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search.filters import Filters
from orpheus.tasks.search.mixing import Mix
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.search.store import Song
from tests.retriever import WORDS, FakeRetriever, vector

SIZE = 300
TAGS = ("jazz", "Rock", "live", "piano")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index of drawn songs, and what is in it."""
    folder = tmp_path_factory.mktemp("asked")
    draw = np.random.default_rng(0)
    rows = unit(draw.normal(size=(SIZE, len(WORDS)))).astype(np.float32)
    tags = [tuple(tag for tag in TAGS if draw.random() < 0.3) for _ in range(SIZE)]
    artists = [f"artist {draw.integers(40)}" if draw.random() < 0.9 else "" for _ in range(SIZE)]
    retriever = FakeRetriever(folder / "run")
    index = SongIndex.create(folder / "index", retriever)
    index._store.put([Song(f"s{n}", rows[n], tags[n], artist=artists[n], title=f"title {n}") for n in range(SIZE)])
    plays = [("ann", f"s{n}", 10.0 - n) for n in range(5)] + [
        ("ben", "s7", 1.0),
        ("ben", "gone", 3.0),
        ("cy", "no", 1.0),
    ]
    retriever.input_type = "cf"
    np.testing.assert_equal(index.add([], listeners=Interactions.from_triples(plays)).new, [])
    return index, rows, tags, artists


def brute(made, wanted, k, *, keep=lambda n: True, once=False):
    """Numbers of the songs nearest to a vector, by sorting all cosines."""
    _, rows, _, artists = made
    found, seen = [], set()
    for n in np.argsort(-(rows @ unit(wanted)), kind="stable"):
        if not keep(n) or (once and artists[n] and artists[n] in seen):
            continue
        seen.add(artists[n])
        found.append(f"s{n}")
    return found[:k]


def ids(hits):
    return [hit.id for hit in hits]


def test_filters_against_sorting_all_songs(made):
    index, _, tags, _ = made
    jazz = vector("jazz")
    assert ids(index.search("jazz", 20)) == brute(made, jazz, 20)
    kept = Filters(tags=["ROCK", "jazz"], without=["Live"])
    expected = brute(made, jazz, 400, keep=lambda n: {"Rock", "jazz"} <= set(tags[n]) and "live" not in tags[n])
    assert ids(index.search("jazz", 400, filters=kept)) == expected and 5 < len(expected) < 60
    assert ids(index.search("jazz", 30, filters=Filters(artists_once=True))) == brute(made, jazz, 30, once=True)
    both = Filters(tags=["piano"], artists_once=True, exclude=["s3", "s14"])
    expected = brute(made, jazz, 99, keep=lambda n: "piano" in tags[n] and n not in (3, 14), once=True)
    assert ids(index.search("jazz", 99, filters=both)) == expected
    assert index.search("jazz", filters=Filters(tags=["jazz"], without=["JAZZ"])) == []


def test_mixtures_are_weighted_sums_of_unit_vectors(made):
    index, rows, _, _ = made
    mean = unit(rows[:5].sum(axis=0))
    wanted = 2 * vector("piano") + 0.5 * mean + rows[9]
    mix = Mix(listener="ann", like=["s9"], weights={"words": 2, "listener": 0.5})
    hits = index.search("piano", 15, mix=mix)
    assert ids(hits) == brute(made, wanted, 15, keep=lambda n: n > 4 and n != 9)
    np.testing.assert_allclose(
        [hit.score for hit in hits], [rows[int(hit.id[1:])] @ unit(wanted) for hit in hits], atol=1e-5
    )
    heard = index.search("piano", 15, mix=mix, filters=Filters(include_heard=True))
    assert ids(heard) == brute(made, wanted, 15) and "s9" in ids(heard)
    assert ids(index.recommend("ann", k=9)) == brute(made, mean, 9, keep=lambda n: n > 4)
    assert (
        ids(index.recommend("ben", k=9))
        == ids(index.similar("s7", 9))
        == brute(made, rows[7], 9, keep=lambda n: n != 7)
    )
    assert ids(index.recommend(history=["s1", "s2"], k=5)) == brute(
        made, rows[1] + rows[2], 5, keep=lambda n: n not in (1, 2)
    )


def test_listeners_are_found_by_what_they_begin_with(made):
    index = made[0]
    assert index.listeners() == ["ann", "ben"] and index.listeners("b") == ["ben"] and index.listener_count == 2
    assert index.words("p") == ["Piano"] and "80s" in index.words()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"mix": Mix(listener="bea")}, DataError, r"no listener 'bea' among 2 \(nearest: ben\)"),
        (
            {"mix": Mix(history=["s1", "s999", "t"])},
            DataError,
            r"2 of 3 songs given are not in it: 's999', 't'; did you",
        ),
        ({"mix": Mix(like=["s9999"])}, DataError, "no song 's9999' in it"),
        ({}, ConfigError, "is empty: give tags or words"),
        ({"text": "piano", "mix": Mix(weights={"words": 0})}, ConfigError, "weight words=0: must be above 0"),
        ({"text": "piano", "mix": Mix(weights={"words": float("nan")})}, ConfigError, "weight words=nan"),
        (
            {"text": "piano", "mix": Mix(weights={"like": 1})},
            ConfigError,
            "nothing is asked by like here; it has words",
        ),
        (
            {"text": "piano", "mix": Mix(weights={"tags": 1})},
            ConfigError,
            "expected one of words, listener, history, like",
        ),
        (
            {"text": "piano", "filters": Filters(tags=["rok"])},
            DataError,
            r"no song of the index has the tag 'rok' \(nearest: rock",
        ),
        ({"text": "piano", "filters": Filters(exclude=["s999"])}, DataError, "1 of 1 songs given are not in it"),
        ({"text": "piano", "diversity": 1.5}, ConfigError, "diversity=1.5: must be between 0"),
    ],
)
def test_mistakes_are_named(made, asked, error, message):
    with pytest.raises(error, match=message):
        made[0].search(**asked)


def test_diversity_is_maximal_marginal_relevance(made):
    """By the definition, song after song over the 200 nearest."""
    index, rows, _, _ = made
    query = vector("jazz")
    candidates = [int(one[1:]) for one in brute(made, query, 200)]
    for diversity in (0.3, 1.0):
        taken = [candidates[0]]
        while len(taken) < 10:
            free = [n for n in candidates if n not in taken]
            gains = [(1 - diversity) * (rows[n] @ query) - diversity * (rows[taken] @ rows[n]).max() for n in free]
            taken.append(free[int(np.argmax(gains))])
        assert ids(index.search("jazz", 10, diversity=diversity)) == [f"s{n}" for n in taken]
    assert ids(index.search("jazz", 10)) != [f"s{n}" for n in taken]


def test_a_path_is_near_the_straight_way_and_repeats_nothing(made):
    index, rows, _, _ = made
    start, end = 11, 12
    way = index.path("s11", "s12", 6)
    assert len(way) == 8 == len(set(ids(way))) and ids(way)[0] == "s11" and ids(way)[-1] == "s12"
    # Nearer to the straight way than drawn ways are, and it moves from the start to the end.
    angle = np.arccos(rows[start] @ rows[end])
    share = np.arange(1, 7)[:, None] / 7
    points = (np.sin((1 - share) * angle) * rows[start] + np.sin(share * angle) * rows[end]) / np.sin(angle)
    chosen = rows[[int(one[1:]) for one in ids(way)[1:-1]]]
    np.testing.assert_allclose([hit.score for hit in way[1:-1]], (points * chosen).sum(axis=1), atol=1e-5)
    best = (points @ rows.T).max(axis=1)
    assert (points * chosen).sum() > 0.85 * best.sum()
    assert chosen[0] @ rows[start] > chosen[-1] @ rows[start] and chosen[-1] @ rows[end] > chosen[0] @ rows[end]
    with pytest.raises(ConfigError, match="to itself"):
        index.path("s11", "s11")
    with pytest.raises(ConfigError, match="steps=0"):
        index.path("s11", "s12", 0)


def test_names_that_are_no_unicode(made, tmp_path):
    index = made[0]
    for asked in (lambda: index.similar("\udcff"), lambda: index.recommend("\ud800"), lambda: index.search("\ud800")):
        with pytest.raises(DataError):
            asked()
    assert index.listeners("\ud800") == [] == index.words("\ud800")
    music = tmp_path / "music"
    music.mkdir()
    (music / os.fsdecode(b"\xff.wav")).write_text("sad")
    (music / "a.wav").write_text("sad")
    report = SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "run")).add([music])
    assert report.new == [str(music / "a.wav")]
    ((name, why),) = report.failures.items()
    assert "udcff.wav: its name is not UTF-8; rename it" in why and name in why


def test_another_process_changes_the_index(made, tmp_path):
    retriever = FakeRetriever(tmp_path / "run")
    retriever.input_type = "cf"
    table = Table("t", ("a", "b"), np.eye(8, dtype=np.float32)[:2])
    from orpheus.data.items import tables

    tables.write(tmp_path / "t.npz", table)
    writer = SongIndex.create(tmp_path / "index", retriever)
    writer.add([tmp_path / "t.npz"])
    reader = SongIndex(tmp_path / "index")
    reader._retriever = retriever
    assert not reader.refresh() and ids(reader.search("sad", 9)) == ["a", "b"]
    writer.remove(["a"])
    assert reader.refresh() and not reader.refresh() and ids(reader.search("sad", 9)) == ["b"] and len(reader) == 1
    writer.add([tmp_path / "t.npz"], tags={"b": ["jazz"]}, listeners=Interactions.from_triples([("u", "b", 1.0)]))
    assert reader.refresh() and reader.search("sad", filters=Filters(tags=["jazz"]))[0].id == "b"
    assert reader.listeners() == ["u"] and reader.song(reader.search("sad")[0].number).id == "a"


def test_a_reader_that_looked_while_songs_were_added_learns_their_tags_too(tmp_path):
    """Songs are written down 32 at a time, the vectors of their tags behind them all."""
    index = SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "run"))
    index._store.put([Song("new", vector("jazz"), ("jazz",))])
    reader = SongIndex(index.folder)
    assert reader.words("j") == [] and not reader.refresh()
    index._tags.keep(lambda items, **_: items)
    assert reader.refresh() and reader.words("j") == ["jazz"]
    assert not reader.refresh()
