"""tools.tag_stats: what it prints and writes, from a database and from real tag files."""

import csv

import pytest

from orpheus.data.tags.database import TagDatabase
from orpheus.semantics import dictionary
from tools import tag_stats


@pytest.fixture
def source(tmp_path):
    rows = [("1", "rock", 100), ("1", "pop", 50), ("2", "rock", 100), ("2", "jazz", 10), ("3", "Awesome", 90)]
    TagDatabase.write(tmp_path / "tags.db", rows)
    (tmp_path / "tags_remove.txt").write_text("Awesome\nawesome\npop\n")
    dictionary.Dictionary({"rock": 0, "pop": 0, "jazz": 3}).save(tmp_path / "d.json")
    return tmp_path


def table(path):
    with open(path, encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file, delimiter="\t")]


def run(*arguments):
    return tag_stats.main(list(map(str, arguments)))


def test_tables_and_pictures(source, capsys):
    out = source / "out"
    flags = ["--top", 2, 4, "--filter-path", source, "--dictionary", source / "d.json", "--out", out]
    assert run("--tags", source / "tags.db", *flags) == 0
    assert table(out / "popularity.tsv")[1:] == [
        ("1", "rock", "2", "66.67", "40.00"),
        ("2", "Awesome", "1", "33.33", "60.00"),
        ("3", "jazz", "1", "33.33", "80.00"),
        ("4", "pop", "1", "33.33", "100.00"),
    ]
    assert table(out / "coverage.tsv") == [
        tag_stats.COVERAGE,
        ("top 2", "2", "2", "3", "60.00", "3", "100.00", "1.00"),
        ("top 2 less filter", "1", "1", "2", "40.00", "2", "66.67", "1.00"),
        ("top 4", "4", "4", "5", "100.00", "3", "100.00", "1.67"),
        ("top 4 less filter", "2", "2", "3", "60.00", "2", "66.67", "1.50"),
        (str(source / "d.json"), "3", "3", "4", "80.00", "2", "66.67", "2.00"),
    ]
    assert table(out / "clusters.tsv")[1:] == [
        ("0", "rock, pop", "2", "2", "2", "3"),
        ("1", "jazz", "1", "1", "1", "1"),
    ]
    assert {path.name for path in out.glob("*.png")} == {"popularity.png", "tags_per_track.png", "clusters.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    printed = capsys.readouterr().out
    assert "4 tags, 3 tracks, 5 counts; 1.67 tags on a track (median 2, at most 2); 3 tags on a single track" in printed
    assert "1 of its 3 tags are on no track (awesome, …)" in printed


def test_weights_below_the_least_do_not_count(source, capsys):
    assert run("--tags", source / "tags.db", "--min-val", 60) == 0
    assert "2 tags, 3 tracks, 3 counts" in capsys.readouterr().out


def test_a_table_of_cleaned_tags_is_a_source(source, capsys):
    (source / "t.tsv").write_text("a\trock music\trock\tgenre\t100\na\trock\trock\tgenre\t90\nb\tpop\tpop\t\t60\n")
    assert run("--tags", source / "t.tsv", "--min-val", 50) == 0
    assert "2 tags, 2 tracks, 2 counts" in capsys.readouterr().out


@pytest.mark.slow
def test_real_tags_counted_by_a_loop(shared, capsys, tmp_path):
    files = sorted((shared / "mtg-jamendo").glob("autotagging_moodtheme-*.tsv"))
    assert run("--tags", *files, "--top", 5, "--out", tmp_path, "--shown", 1) == 0
    counts: dict[str, int] = {}
    lists = []
    for path in files:
        for line in path.read_text().splitlines()[1:]:
            lists.append([tag.split("---")[1] for tag in line.split("\t")[5:]])
            for tag in lists[-1]:
                counts[tag] = counts.get(tag, 0) + 1
    best = sorted(counts, key=lambda tag: (-counts[tag], tag))[:5]
    covered = sum(any(tag in best for tag in tags) for tags in lists)
    row = table(tmp_path / "coverage.tsv")[1]
    assert row[3] == str(sum(counts[tag] for tag in best)) and row[5] == str(covered)
    assert [line[1] for line in table(tmp_path / "popularity.tsv")[1:6]] == best
    assert len(capsys.readouterr().out.splitlines()[1].split()) == 5  # one tag shown


def test_bad_input_is_one_line(source, capsys):
    for flags, message in [
        (["--top", 0], "--top 0"),
        (["--dictionary", source / "none.json"], "none.json: no such file"),
        (["--filter-path", source / "nowhere"], "no such filter"),
        (["--min-val", 101], "no track has a tag (of weight --min-val 101 or more)"),
    ]:
        assert run("--tags", source / "tags.db", *flags) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
