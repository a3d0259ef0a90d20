"""tools.clean_tags: flags, files and messages."""

import pytest

from orpheus.data.tags import annotations
from orpheus.data.tags.database import TagDatabase
from tools import clean_tags

ROWS = [
    ("a", "rock music", 100),
    ("a", "Rock", 90),
    ("a", "sad", 20),
    ("b", "Rock", 80),
    ("c", "Rock", 80),
    ("c", "vocals", 60),
    ("d", "vocal", 70),
]


@pytest.fixture
def database(tmp_path):
    TagDatabase.write(tmp_path / "tags.db", ROWS)
    return tmp_path / "tags.db"


def run(*arguments):
    return clean_tags.main(list(map(str, arguments)))


def test_from_a_database(database, tmp_path, capsys):
    (tmp_path / "categories.tsv").write_text("rock\tgenre\n")
    out = tmp_path / "out.tsv"
    assert run(database, "--out", out, "--min-songs", 2, "--categories", tmp_path / "categories.tsv") == 0
    lines = out.read_text().splitlines()
    assert lines[0] == "song_id\toriginal_tag\tcleaned_tag\ttag_category\tscore"
    assert lines[1:] == [
        "a\trock music\tRock\tgenre\t100",
        "a\tRock\tRock\tgenre\t90",
        "b\tRock\tRock\tgenre\t80",
        "c\tRock\tRock\tgenre\t80",
        "c\tvocals\tvocal\t\t60",
        "d\tvocal\tvocal\t\t70",
    ]
    printed = capsys.readouterr().out
    assert "Rock (3): rock music (1)" in printed
    assert f"{out}: 6 annotations, 4 songs, 2 tags, 1 of them without a category" in printed
    assert run(database, "--out", out) == 2
    assert "--force" in capsys.readouterr().err
    assert run(out, "--out", tmp_path / "again.tsv", "--min-songs", 2) == 0
    assert (tmp_path / "again.tsv").read_bytes() == out.read_bytes()


def test_switches(database, tmp_path):
    (tmp_path / "songs.txt").write_text("a\nc\n")
    flags = ["--songs", tmp_path / "songs.txt", "--min-score", 0, "--max-tags", 0, "--no-normalise", "--no-lemmas"]
    assert run(database, "--out", tmp_path / "o.tsv", "--min-songs", 0, "--suffixes", *flags) == 0
    rows = annotations.read_table(tmp_path / "o.tsv")
    assert sorted((row.song, row.tag) for row in rows) == [(s, t) for s, t, _ in sorted(ROWS) if s in "ac"]
    assert all(row.cleaned == row.tag for row in rows)


def test_bad_input_is_one_line(database, tmp_path, capsys):
    for flags, message in [
        ([database, "--min-score", 101], "loosen that step"),
        ([database, "--max-tags", -1], "max_tags=-1"),
        ([tmp_path / "none.db"], "none.db: no such tag database"),
        ([database, "--songs", tmp_path / "none.txt"], "none.txt: no such file"),
    ]:
        assert run(*flags, "--out", tmp_path / "x.tsv") == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "x.tsv").exists()
