"""orpheus.data.tags.database: against hand-made databases and plain loops over the real one."""

import sqlite3
from collections import Counter

import pytest

from orpheus.data.tags.database import TagDatabase, clean
from orpheus.errors import DataError

ROWS = [
    ("TR2", "rock", 50.0),
    ("TR1", "Rock", 100),
    ("TR1", "jazz", 7.5),
    ("TR3", "rock", 0.0),
    ("TR1", "Ænima", 100.0),
    ("TR2", "rock", 20.0),  # the same pair again: the larger weight stays
]


@pytest.fixture
def database(tmp_path):
    TagDatabase.write(tmp_path / "tags.db", ROWS)
    return TagDatabase(tmp_path / "tags.db")


def test_reads_what_was_written(database):
    assert database.popularity() == [("rock", 2), ("Rock", 1), ("jazz", 1), ("Ænima", 1)]
    assert database.popularity(min_val=8) == [("Rock", 1), ("rock", 1), ("Ænima", 1)]
    assert database.tags_of("TR1") == ["Rock", "Ænima", "jazz"]  # by weight, then code points
    assert database.tags_of("TR1", min_val=8) == ["Rock", "Ænima"]
    assert database.tag_weights("TR2") == [("rock", 50.0)]
    assert database.tags_of("unknown") == []
    assert database.tracks_of("rock") == ["TR2", "TR3"]
    assert database.tracks_of("rock", min_val=1) == ["TR2"]
    assert database.tracks_of("ROCK") == []
    assert database.track_count() == 3


def test_tags_of_all_equals_tags_of_each(database):
    assert database.tags_of_all(["TR3", "unknown", "TR1"]) == {
        "TR3": ["rock"],
        "unknown": [],
        "TR1": ["Rock", "Ænima", "jazz"],
    }
    assert database.tags_of_all() == {name: database.tags_of(name) for name in ("TR1", "TR2", "TR3")}
    assert database.tags_of_all(min_val=60) == {"TR1": ["Rock", "Ænima"]}


def test_rowids_are_followed_not_positions(tmp_path):
    """The schema as others fill it: ROWIDs with holes, rows in any order, no index."""
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.executescript(
        "CREATE TABLE tids (tid TEXT PRIMARY KEY); CREATE TABLE tags (tag TEXT PRIMARY KEY);"
        "CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT);"
        "INSERT INTO tids(rowid, tid) VALUES (40, 'b'), (7, 'a'), (9, 'untagged');"
        "INSERT INTO tags(rowid, tag) VALUES (1000, 'x'), (3, 'y'), (5, 'unused');"
        "INSERT INTO tid_tag VALUES (40, 3, 1), (7, 1000, 2), (40, 1000, 5), (7, 1000, 3), (40, 5, NULL);"
    )
    connection.close()
    database = TagDatabase(tmp_path / "x.db")
    assert database.popularity() == [("x", 2), ("y", 1)]
    assert database.by_row() == ["y", "unused", "x"]  # what positions of one-hot records count, not popularity
    assert database.tags_of_all() == {"a": ["x"], "b": ["x", "y"]}
    assert database.tag_weights("a") == [("x", 3.0)]
    assert database.tracks_of("x") == ["b", "a"]
    assert database.tags_of_all(["untagged"]) == {"untagged": []}


def test_same_rows_give_the_same_bytes(tmp_path):
    counts = TagDatabase.write(tmp_path / "a.db", ROWS, tracks=["TR0"])
    TagDatabase.write(tmp_path / "b.db", iter(ROWS[::-1]), tracks=["TR0"])
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
    assert counts == {"tracks": 4, "tags": 4, "rows": 5}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "b.db"]


@pytest.mark.parametrize(
    "row, said",
    [
        (("a", "x", float("nan")), "nan"),
        (("a", "x", -1), "-1"),
        (("a", "x", "5"), "'5'"),
        (("", "x", 1), "track id ''"),
        (("a", "", 1), "tag ''"),
        (("a", 3, 1), "tag 3"),
        (("a", "x\ud800", 1), "not valid Unicode"),
    ],
)
def test_rows_that_cannot_be_written_leave_no_file(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        TagDatabase.write(tmp_path / "x.db", [("ok", "ok", 1), row])
    assert not list(tmp_path.iterdir())


def make(path, script):
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


@pytest.mark.parametrize(
    "script, said",
    [
        ("CREATE TABLE tids (tid TEXT)", "lacks table tags, tid_tag"),
        (
            "CREATE TABLE tids (id); CREATE TABLE tags (tag); CREATE TABLE tid_tag (tid, tag, val)",
            "tids lacks column tid",
        ),
        ("CREATE TABLE tids (tid); CREATE TABLE tags (tag); CREATE TABLE tid_tag (tid, tag, val)", "holds no tags"),
    ],
)
def test_incomplete_databases_are_refused(tmp_path, script, said):
    make(tmp_path / "x.db", script)
    with pytest.raises(DataError, match=said) as caught:
        TagDatabase(tmp_path / "x.db")
    assert "x.db" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_foreign_and_truncated_files_are_refused(tmp_path, database):
    with pytest.raises(DataError, match="no such tag database"):
        TagDatabase(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "text.db").write_text("not a database " * 100)
    with pytest.raises(DataError, match="not a readable SQLite"):
        TagDatabase(tmp_path / "text.db")
    (tmp_path / "half.db").write_bytes(database.path.read_bytes()[:6000])
    with pytest.raises(DataError, match="not a readable SQLite"):
        TagDatabase(tmp_path / "half.db").popularity()


def test_rows_that_point_nowhere_are_an_error(tmp_path):
    make(
        tmp_path / "x.db",
        "CREATE TABLE tids (tid); CREATE TABLE tags (tag); CREATE TABLE tid_tag (tid, tag, val);"
        "INSERT INTO tids VALUES ('a'); INSERT INTO tags VALUES ('x'); INSERT INTO tid_tag VALUES (1, 1, 9), (1, 2, 9)",
    )
    database = TagDatabase(tmp_path / "x.db")
    for query in (
        database.popularity,
        database.tags_of_all,
        lambda: database.tags_of("a"),
        lambda: list(database.rows()),
    ):
        with pytest.raises(DataError, match="not there"):
            query()


def test_a_database_is_never_written_to_and_odd_names_open(tmp_path, database):
    odd = tmp_path / "what? 100% #1.db"
    odd.write_bytes(database.path.read_bytes())
    odd.chmod(0o444)
    assert TagDatabase(odd).popularity() == database.popularity()


CLEAN_ROWS = [
    ("1", "hip-hop", 10),
    ("2", "hip-hop", 20),
    ("1", "Hip Hop", 90),
    ("3", "hiphop", 5),
    ("1", "80s", 1),
    ("2", "eighties", 2),
    ("3", "80s", 3),
    ("4", "Favourites", 50),
    ("1", "favourite", 50),
    ("1", "chill", 30),
    ("1", "chillout", 40),
    ("2", "Chill-Out", 60),
    ("3", "ambient", 70),
]


def test_clean_merges_drops_and_combines(tmp_path):
    TagDatabase.write(tmp_path / "raw.db", CLEAN_ROWS)
    result = clean(
        TagDatabase(tmp_path / "raw.db"), drop=["FAVOURITE", "absent"], combine=[("chill out", "chill", "mellow")]
    )
    report = result.write(tmp_path / "clean.db")
    cleaned = TagDatabase(tmp_path / "clean.db")
    assert cleaned.popularity() == [("80s", 3), ("hip-hop", 3), ("chill out", 2), ("ambient", 1)]
    assert cleaned.tag_weights("1") == [("hip-hop", 90.0), ("chill out", 40.0), ("80s", 1.0)]
    assert cleaned.tags_of("4") == []  # it had nothing but the dropped tag
    assert result.groups == {
        "80s": ["80s", "eighties"],
        "chill out": ["Chill-Out", "chill", "chillout"],
        "hip-hop": ["hip-hop", "Hip Hop", "hiphop"],
    }
    assert result.unknown == ["absent", "mellow"]
    assert report == {
        "tags": 11,
        "dropped": 2,
        "merged": 6,
        "groups": 3,
        "tracks_left": 3,
        "tags_left": 4,
        "rows_left": 9,
    }


def test_cleaning_twice_changes_nothing(tmp_path):
    TagDatabase.write(tmp_path / "raw.db", CLEAN_ROWS)
    clean(TagDatabase(tmp_path / "raw.db")).write(tmp_path / "once.db")
    clean(TagDatabase(tmp_path / "once.db")).write(tmp_path / "twice.db")
    assert (tmp_path / "once.db").read_bytes() == (tmp_path / "twice.db").read_bytes()


def test_contradicting_lists_are_refused(tmp_path):
    TagDatabase.write(tmp_path / "raw.db", CLEAN_ROWS)
    database = TagDatabase(tmp_path / "raw.db")
    with pytest.raises(DataError, match="'80s' is both dropped and combined into 'old'"):
        clean(database, drop=["eighties"], combine=[("old", "80s")])
    with pytest.raises(DataError, match="'Ambient' is combined into 'chill' and 'calm'"):
        clean(database, combine=[("chill", "ambient"), ("calm", "Ambient")])
    with pytest.raises(DataError, match="nothing would be left"):
        clean(database, drop=[tag for tag, _ in database.popularity()]).write(tmp_path / "none.db")


def test_real_database_against_a_plain_loop(shared):
    path = shared / "philharmonia" / "tags.db"
    database = TagDatabase(path)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    tids = dict(connection.execute("SELECT rowid, tid FROM tids"))
    tags = dict(connection.execute("SELECT rowid, tag FROM tags"))
    pairs = [(tids[tid], tags[tag]) for tid, tag, _ in connection.execute("SELECT * FROM tid_tag")]
    connection.close()
    counts = Counter(tag for _, tag in set(pairs))
    assert database.popularity() == sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert len(counts) == 125
    every = database.tags_of_all()
    assert len(every) == database.track_count() == 1992
    assert {(track_id, tag) for track_id, names in every.items() for tag in names} == set(pairs)
    tag = database.popularity()[0][0]
    assert set(database.tracks_of(tag)) == {track_id for track_id, name in pairs if name == tag}


def filled(path, *, tags="('rock'), ('jazz')", tids="('a'), ('b')", rows="(1, 1, 50), (2, 2, 100)", more="", drop=""):
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE tids (tid TEXT PRIMARY KEY); CREATE TABLE tags (tag TEXT PRIMARY KEY);"
        "CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT);"
        f"INSERT INTO tids VALUES {tids}; INSERT INTO tags VALUES {tags}; INSERT INTO tid_tag VALUES {rows};"
        + (f"DROP TABLE {drop};" if drop else "")
        + more
    )
    connection.close()
    return TagDatabase(path)


def test_a_tag_that_is_not_utf8_names_its_row_and_leaves_the_others(tmp_path, caplog):
    database = filled(tmp_path / "x.db", tags="('rock'), (CAST(x'636166e9' AS TEXT))")
    assert database.popularity() == [("caf\\xe9", 1), ("rock", 1)]
    assert database.tags_of_all() == {"a": ["rock"], "b": ["caf\\xe9"]}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'x.db'}: row 2 of tags is not UTF-8; it is read as 'caf\\\\xe9'"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tags": "('rock'), (x'00ff')"}, r"(tags has|row 2 of tags is) b'\\x00\\xff'"),
        ({"rows": "(1, 1, 'much')"}, "tag 'rock' of track 'a' has val 'much'; expected a finite number"),
        ({"rows": "(1, 1, 9e999)"}, "has val inf"),
    ],
)
def test_values_that_are_no_names_and_weights(tmp_path, changes, message):
    database = filled(tmp_path / "x.db", **changes)
    for ask in (database.popularity, database.tags_of_all) if "tags" in changes else (database.tags_of_all,):
        with pytest.raises(DataError, match=message):
            ask()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


def test_a_view_that_never_ends_is_refused(tmp_path, monkeypatch):
    view = f"CREATE VIEW tids AS {ENDLESS} SELECT i AS rowid, 't' || i AS tid FROM n;"
    database = filled(tmp_path / "rows.db", drop="tids", more=view)
    with pytest.raises(DataError, match=r"gives more than \d+ rows, as many as it has bytes"):
        database.tags_of_all()
    monkeypatch.setattr("orpheus.base.sqlite.SECONDS", 0.2)
    view = f"CREATE VIEW tid_tag AS {ENDLESS} SELECT i AS tid, 1 AS tag, 1.0 AS val FROM n;"
    database = filled(tmp_path / "time.db", drop="tid_tag", more=view)
    with pytest.raises(DataError, match="a statement took more than 0 s; is one of its tables a view that never ends"):
        database.popularity()


def test_a_view_that_ends_is_a_table(tmp_path):
    more = "CREATE VIEW tags AS SELECT 1 AS rowid, 'rock' AS tag UNION SELECT 2, 'jazz';"
    assert filled(tmp_path / "x.db", drop="tags", more=more).tags_of_all() == {"a": ["rock"], "b": ["jazz"]}
