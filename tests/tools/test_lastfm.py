"""tools.lastfm: what each action prints and writes."""

import csv
import io

import pytest

from orpheus.data.tags.database import TagDatabase
from tools import lastfm

ROWS = [
    ("a", "Hip-Hop", 100),
    ("b", "Hip-Hop", 80),
    ("c", "hip hop", 60),
    ("c", "Hip-Hop", 20),
    ("a", "seen live", 10),
    ("b", "calm", 5),
    ("d", "chill", 50),
]


@pytest.fixture
def database(tmp_path):
    TagDatabase.write(tmp_path / "tags.db", ROWS)
    return tmp_path / "tags.db"


def table(capsys, *arguments):
    assert lastfm.main([*map(str, arguments), "--csv"]) == 0
    return [tuple(row) for row in csv.reader(io.StringIO(capsys.readouterr().out))]


def test_top_counts_and_coverage(database, capsys):
    rows = table(capsys, database, "top", "-n", 2)
    assert rows[1:] == [("1", "Hip-Hop", "3", "75.00", "42.86"), ("2", "calm", "1", "25.00", "57.14")]
    assert len(table(capsys, database, "top", "--min-tracks", 2)) == 2
    assert lastfm.main([str(database), "top"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1", "Hip-Hop", "3", "75.00", "42.86"]
    assert lines[-1] == "5 tags, 4 tracks, 7 counts"
    assert len({len(line) for line in lines[:-1]}) == 1  # aligned


def test_tags_and_tracks(database, capsys):
    rows = table(capsys, database, "tags", "c", "d")
    assert rows[1:] == [("c", "hip hop", "60"), ("c", "Hip-Hop", "20"), ("d", "chill", "50")]
    assert table(capsys, database, "tracks", "Hip-Hop", "--min-val", 30)[1:] == [("a", "100"), ("b", "80")]
    assert table(capsys, database, "tracks", "Hip-Hop", "-n", 1)[1:] == [("a", "100")]


def test_unknown_names_are_refused_with_the_nearest(database, capsys):
    assert lastfm.main([str(database), "tracks", "HIPHOP"]) == 2
    assert "nearest: Hip-Hop, hip hop" in capsys.readouterr().err
    assert lastfm.main([str(database), "tags", "zzz"]) == 2
    assert "no tags of track 'zzz'" in capsys.readouterr().err
    assert lastfm.main([str(database.parent / "absent.db"), "top"]) == 2


def test_clean_writes_a_database(tmp_path, database, capsys):
    (tmp_path / "drop.txt").write_text("Seen Live\n\nabsent\n")
    (tmp_path / "combine.txt").write_text("relaxed\tcalm\tchill\n")
    lists = ["--drop", str(tmp_path / "drop.txt"), "--combine", str(tmp_path / "combine.txt")]
    rows = table(capsys, database, "spellings", *lists)
    assert rows[1:] == [
        ("Hip-Hop", "Hip-Hop", "3"),
        ("Hip-Hop", "hip hop", "1"),
        ("relaxed", "calm", "1"),
        ("relaxed", "chill", "1"),
    ]
    call = [str(database), "clean", str(tmp_path / "out.db"), *lists]
    assert lastfm.main(call) == 0
    printed = capsys.readouterr()
    assert "5 tags became 2: 3 merged into 2 names, 1 dropped; 4 of 4 tracks, 5 rows" in printed.out
    assert "in any spelling: absent\n" in printed.err
    assert TagDatabase(tmp_path / "out.db").tag_weights("c") == [("Hip-Hop", 60.0)]
    assert lastfm.main(call) == 2
    assert "--force" in capsys.readouterr().err
    assert lastfm.main([*call, "--force"]) == 0
    (tmp_path / "combine.txt").write_text("alone\n")
    assert lastfm.main([*call, "--force"]) == 2
    assert "'alone' must be two or more tags" in capsys.readouterr().err


def test_reads_tag_files_too(shared, capsys):
    rows = table(capsys, shared / "mtg-jamendo" / "autotagging_instrument-test.tsv", "top", "-n", 0)
    assert len(rows) == 41 and rows[1][1] in ("synthesizer", "drums", "piano")
    assert rows[-1][-1] == "100.00"


def test_help_as_a_module(command):
    done = command("tools.lastfm", "--help")
    assert done.returncode == 0 and "example:" in done.stdout
