"""The dictionaries in dictionaries/: every one loads, is small, says where it is from; genres fit; the table is true."""

import re
from pathlib import Path

import pytest

from orpheus.data.demo.plan import MEANINGLESS, SYNONYMS
from orpheus.data.tags.targets import read_filter
from orpheus.semantics import dictionary, genres

FOLDER = Path(__file__).resolve().parents[2] / "dictionaries"
FILES = sorted(p for p in FOLDER.rglob("*.json") if not p.name.endswith(("genres.json", "_groups.json")))


def test_dictionaries_are_shipped():
    assert len(FILES) >= 7


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER)))
def test_each_dictionary(path):
    loaded = dictionary.load(path.parent)
    assert path.stat().st_size < 500_000
    assert loaded.made["data"]["name"] and len(loaded.made["data"]["sha256"]) == 64 and loaded.made["date"]
    assert len(set(loaded.names)) == len(loaded.clusters)
    assert "/" not in loaded.made["data"]["name"]
    if (path.parent / "genres.txt").exists():
        chosen, same = genres.read(path.parent / "genres.txt"), genres.read(path.parent / "genres.json")
        assert (chosen.genres, chosen.merge) == (same.genres, same.merge)
        assert 2 <= len(loaded.restrict(chosen.genres, chosen.merge).clusters) < len(loaded.clusters)
    row = re.search(
        rf"^\| {path.parent.relative_to(FOLDER)} \| (\d+) in (\d+) \|", (FOLDER / "README.md").read_text(), re.M
    )
    assert row and [int(n) for n in row.groups()] == [len(loaded.mapping), len(loaded.clusters)]


def test_demo_dictionary_knows_the_demos_tags():
    columns = dictionary.load(FOLDER / "demo").mapping
    assert set(columns) == {word for tag, others in SYNONYMS.items() for word in (tag, *others)}
    assert not set(columns) & set(MEANINGLESS)
    assert all(columns[other] == columns[tag] for tag, others in SYNONYMS.items() for other in others)


def test_filter_of_the_reference():
    removed = read_filter(FOLDER)
    assert len(removed) == len(set(removed)) == 20 and {"seen live", "heard on Pandora", "Favourite Songs"} <= set(
        removed
    )
