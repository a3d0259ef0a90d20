"""tools.join_tables: tags with vectors, songs with factors, and the names of those without."""

import json

import numpy as np
import pytest

from orpheus.data.items import tables
from orpheus.data.splits import search
from orpheus.semantics import words
from tools import join_tables


@pytest.fixture
def data(tmp_path):
    songs = {
        "1": ["hip hop", "sad"],
        "2": ["sad", "xyzzy"],
        "3": ["xyzzy"],
        "4": ["Hip-Hop"],
        "5": ["sad"],
        "6": ["rock"],
    }
    (tmp_path / "tags.jsonl").write_text("".join(json.dumps({"id": i, "tags": t}) + "\n" for i, t in songs.items()))
    (tmp_path / "words.txt").write_text("hip 1 0 0\nhop 0 1 0\nsad 0 0 2\nrock 1 1 1\n")
    matrix = np.arange(1.0, 11, dtype=np.float32).reshape(5, 2)
    matrix[4] = 0
    tables.write(tmp_path / "f.npz", tables.Table("f", ("6", "1", "3", "4", "5"), matrix))
    return tmp_path


def run(data, *more, vectors=True, factors=True):
    arguments = ["--tags", data / "tags.jsonl", "--out", data / "out", *more]
    arguments += ["--word-vectors", data / "words.txt"] if vectors else []
    arguments += ["--factors", data / "f.npz"] if factors else []
    return join_tables.main([str(one) for one in arguments])


def test_joined_by_id_and_missing_ones_named(data, capsys):
    assert run(data) == 0
    table = tables.read(data / "out" / "factors.npz")
    assert table.ids == ("1", "4", "6")
    np.testing.assert_array_equal(table.matrix, [[3, 4], [7, 8], [1, 2]])
    # Song 3 has no tag with a vector, 2 is not in the table, 5 has only zeros.
    assert (data / "out" / "missing.tsv").read_text() == "tag\txyzzy\t2\nsong\t2\t1\nsong\t5\t1\n"
    shown = capsys.readouterr().out
    assert (
        "tags without a vector: xyzzy (2 songs)" in shown and "songs without factors: 2 (1 tags), 5 (1 tags)" in shown
    )
    # What was written gives each tag the vector that it had.
    made, source = words.load(data / "out" / "tag_vectors.txt"), words.load(data / "words.txt")
    assert made.names == ("sad", "hip_hop", "rock")
    for tag in ("Hip-Hop", "hip hop", "sad", "rock"):
        np.testing.assert_allclose(words.tag_vector(tag, made), words.tag_vector(tag, source), atol=1e-5)


def test_only_songs_and_tags_of_a_split(data):
    content = {
        "format": search.FORMAT,
        "version": search.VERSION,
        "tags": ["rock"],
        "train": ["6"],
        "valid": ["1"],
        "test": ["3"],
    }
    (data / "split.json").write_text(json.dumps(content))
    assert run(data, "--split", data / "split.json") == 0
    assert tables.read(data / "out" / "factors.npz").ids == ("6",)
    assert (data / "out" / "missing.tsv").read_text() == ""


def test_mistakes_are_one_line(data, capsys):
    assert run(data, vectors=False, factors=False) == 2
    assert "nothing to join" in capsys.readouterr().err
    tables.write(data / "f.npz", tables.Table("f", ("x",), np.ones((1, 2))))
    assert run(data) == 2
    assert "factors of none of the" in capsys.readouterr().err
