"""Cleaning of tag annotations, against hand-made tables and real tags."""

import pytest

from orpheus.data.tags import annotations
from orpheus.data.tags.annotations import Annotation, Steps, clean
from orpheus.data.tags.database import TagDatabase
from orpheus.data.tags.lemmas import lemma
from orpheus.errors import ConfigError, DataError

LEMMAS = {
    "vocalists": "vocalist",
    "memories": "memory",
    "oldies": "oldy",
    "oldie": "oldy",
    "voices": "voice",
    "classes": "class",
    "boxes": "box",
    "churches": "church",
    "heroes": "hero",
    "women": "woman",
    "choruses": "chorus",
    "houses": "house",
    "waves": "wave",
    "covers": "cover",
    "movies": "movy",
    "movie": "movy",
    "shoes": "shoe",
    "blues": "blues",
    "bass": "bass",
    "christmas": "christmas",
    "virus": "virus",
    "tennis": "tennis",
    "chaos": "chaos",
    "80s": "80s",
    "us": "us",
    "dvs": "dvs",
    "rock": "rock",
    "jazz": "jazz",
    "opera": "opera",
}


@pytest.mark.parametrize(("word", "expected"), LEMMAS.items())
def test_lemmas_by_hand(word, expected):
    assert lemma(word) == expected


SAME = [
    ["rock music", "rock", "rock songs", "rock tag", "Rock", "rock song music"],  # the reference's own example
    ["Rock & Roll", "rock 'n' roll", "rock and roll songs", "rock-n-roll"],
    ["female vocalists", "Female Vocalist", "female-vocalists"],
    ["80s", "80's music", "1980s songs", "eighties"],
    ["hip-hop", "Hip Hop", "hiphop"],
]
APART = ["rock", "rocker", "blues", "blue", "bass", "music", "songs", "tag", "new wave", "wave", "80", "!!!", "???"]


@pytest.mark.parametrize("tags", SAME, ids=lambda tags: tags[0])
def test_tags_of_one_group(tags):
    assert len({Steps().key(tag) for tag in tags}) == 1


def test_tags_that_stay_apart():
    assert len({Steps().key(tag) for tag in APART}) == len(APART)
    assert Steps().key("songs") == Steps().key("song")


@pytest.mark.parametrize(
    ("off", "apart", "still"),
    [
        ({"normalise": False}, ("Rock", "rock"), ("rock songs", "rock")),
        ({"suffixes": ()}, ("rock music", "rock"), ("vocalists", "vocalist")),
        ({"lemmas": False}, ("vocalists", "vocalist"), ("rock songs", "rock")),
    ],
)
def test_each_grouping_step_can_be_switched_off(off, apart, still):
    steps = Steps(**off)
    assert steps.key(apart[0]) != steps.key(apart[1]) and Steps().key(apart[0]) == Steps().key(apart[1])
    assert steps.key(still[0]) == steps.key(still[1])


def rows(*lines):
    return [Annotation(song, tag, "", "", score) for song, tag, score in lines]


RAW = rows(
    ("a", "rock music", 100),
    ("a", "rock", 90),
    ("a", "sad", 49),
    ("b", "Rock", 80),
    ("b", "Jazz", 50),
    ("c", "rock", 70),
    ("c", "jazz songs", 60),
    ("c", "x1", 60),
    ("c", "x2", 60),
    ("d", "rock", 100),
    ("d", "rare", 100),
    ("e", "rock", 100),
)


def test_every_step_by_hand():
    result = clean(RAW, Steps(songs={"a", "b", "c", "d"}, max_tags=3, min_songs=2))
    assert [(c.step, c.songs, c.tags, c.annotations) for c in result.counts] == [
        ("source", 5, 9, 12),
        ("songs of the list", 4, 9, 11),
        ("score of 50 or more", 4, 8, 10),
        ("songs with 3 tags or fewer", 3, 5, 6),  # song c has four
        ("spellings normalised", 3, 4, 6),  # Rock is rock
        ("suffixes music, song, tag removed", 3, 3, 6),  # rock music too
        ("grouped by lemma", 3, 3, 6),
        ("groups on 2 songs or more", 3, 1, 4),
    ]
    assert result.groups == {"rock": {"rock": 2, "Rock": 1, "rock music": 1}}
    assert [tuple(row) for row in result.rows] == [
        ("a", "rock music", "rock", "", 100),
        ("a", "rock", "rock", "", 90),
        ("b", "Rock", "rock", "", 80),
        ("d", "rock", "rock", "", 100),
    ]


def test_all_steps_off_change_nothing():
    off = Steps(min_score=0, max_tags=0, normalise=False, suffixes=(), lemmas=False, min_songs=0)
    result = clean(RAW, off)
    assert [c.step for c in result.counts] == ["source"]
    assert sorted((r.song, r.tag, r.score) for r in result.rows) == sorted((r.song, r.tag, r.score) for r in RAW)
    assert all(row.cleaned == row.tag for row in result.rows)


def test_the_most_common_member_names_its_group():
    result = clean(RAW, Steps(max_tags=0, min_songs=0))
    assert next(iter(result.groups["rock"].items())) == ("rock", 4)
    assert {row.cleaned for row in result.rows} == {"rock", "Jazz", "x1", "x2", "rare"}


def test_ties_are_named_by_code_point():
    lines = rows(("a", "rock", 100), ("b", "Rock", 100))
    assert list(clean(lines, Steps(min_songs=0)).groups) == ["Rock"]


def test_a_song_counts_once_for_a_group():
    twice = rows(("a", "rock", 100), ("a", "rock music", 100), ("b", "jazz", 100), ("c", "jazz", 100))
    assert list(clean(twice, Steps(min_songs=2)).groups) == ["jazz"]


def test_categories_by_vote_and_by_list():
    lines = [Annotation("a", "rock", "", "genre", 100), Annotation("b", "Rock", "", "", 100)]
    lines += [Annotation("c", "sad", "", "", 100)]
    result = clean(lines, Steps(min_songs=0), categories={"SAD songs": "mood", "rock": "texture"})
    assert [row.category for row in result.rows] == ["genre", "genre", "mood"]


def test_nothing_left_names_the_step():
    with pytest.raises(DataError, match="left after 'score of 101 or more', of 12"):
        clean(RAW, Steps(min_score=101))
    with pytest.raises(DataError, match="'groups on 100 songs or more'"):
        clean(RAW, Steps())
    with pytest.raises(ConfigError, match="max_tags=-1"):
        Steps(max_tags=-1)
    with pytest.raises(ConfigError, match="'my song' must be a single word"):
        Steps(suffixes=("my song",))


def test_table_round_trip(tmp_path):
    result = clean(RAW, Steps(max_tags=0, min_songs=2))
    annotations.write(tmp_path / "t.tsv", result.rows)
    assert annotations.is_table(tmp_path / "t.tsv")
    assert annotations.read_table(tmp_path / "t.tsv") == result.rows
    again = clean(annotations.read([tmp_path / "t.tsv"]), Steps(max_tags=0, min_songs=2))
    assert again.rows == result.rows and again.groups == result.groups  # cleaning twice is cleaning once
    headless = (tmp_path / "t.tsv").read_text().partition("\n")[2]
    (tmp_path / "u.tsv").write_text(headless)
    assert annotations.is_table(tmp_path / "u.tsv") and annotations.read_table(tmp_path / "u.tsv") == result.rows
    assert annotations.cleaned_tags(result.rows)["a"] == ["rock"]
    odd = [Annotation("a", "tab\there", "line\nhere", "", 1.5)]
    annotations.write(tmp_path / "odd.tsv", odd)
    assert annotations.read_table(tmp_path / "odd.tsv") == [Annotation("a", "tab here", "line here", "", 1.5)]


def test_the_lines_of_a_song_are_brought_together(tmp_path):
    (tmp_path / "t.tsv").write_text("a\trock\t\t\t60\nb\tjazz\t\t\t60\na\tpop\t\t\t70\n")
    assert [row.song for row in annotations.read_table(tmp_path / "t.tsv")] == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\trock\t\t\t60\na\tpop\t\t60\n", ":2: expected song_id"),
        ("a\trock\t\t\tmany\n", "found 'a"),
        ("a\trock\t\t\t-1\n", ":1: expected"),
        ("a\trock\t\t\tnan\n", ":1: expected"),
        ("\trock\t\t\t1\n", ":1: expected"),
        ("", "holds no annotation"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        annotations.read_table(tmp_path / "t.tsv")


def test_database_and_tag_files_are_sources(tmp_path, shared):
    TagDatabase.write(tmp_path / "t.db", [("a", "rock", 60), ("b", "pop", 20)])
    assert [tuple(row) for row in annotations.read([tmp_path / "t.db"])] == [
        ("a", "rock", "", "", 60),
        ("b", "pop", "", "", 20),
    ]
    files = [shared / "mtg-jamendo" / f"autotagging_{name}-test.tsv" for name in ("genre", "moodtheme")]
    found = list(annotations.read(files))
    lines = sum(len(line.split("\t")) - 5 for path in files for line in path.read_text().splitlines()[1:])
    assert len(found) == lines and {row.category for row in found} == {"genre", "mood/theme"}
    result = clean(found, Steps(min_songs=30))
    assert all(len(tags) == 1 for tags in result.groups.values())  # Jamendo's tags are clean already
    assert result.counts[0].annotations == lines > result.counts[-1].annotations


def test_real_folksonomy(shared):
    from orpheus.data.items import hetrec

    tags = hetrec.read(shared / "hetrec2011-lastfm-2k").tags
    lines = [Annotation(artist, tag, "", "", 100) for artist, each in tags.items() for tag in each]
    result = clean(lines, Steps(min_songs=50))
    groups = {tag: set(members) for tag, members in result.groups.items()}
    assert {"hip-hop", "hip hop", "hiphop"} <= groups["hip-hop"]
    assert {"female vocalists", "female vocalist"} <= groups["female vocalists"]
    assert {"80s", "80's", "1980s", "eighties"} <= groups["80s"]
    assert "blues" in groups and not any("blue" in members for members in groups.values() if "blues" in members)
