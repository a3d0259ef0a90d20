"""The published files of retrieval's reference, by the doors that take every other split, source of tags and table."""

import pickle

import numpy as np
import pytest

from orpheus.data.items import layout, tables
from orpheus.data.splits import published, search
from orpheus.data.tags import sources
from orpheus.errors import DataError
from orpheus.semantics import words

IDS = ["TRA", "TRB", "TRC", "TRD", "TRE"]


@pytest.fixture
def folder(tmp_path):
    for part, members in (("train", [3, 0]), ("valid", [1]), ("test", [4])):
        np.save(tmp_path / f"{part}_ids.npy", [f"{row}//{IDS[row]}" for row in members])
    np.save(tmp_path / "tags.npy", ["80s", "rock"])
    np.save(tmp_path / "binaries.npy", np.array([[1.0, 0], [0, 0], [1, 1], [1, 1], [0, 1]]))
    np.save(tmp_path / "ix_to_cf.npy", np.arange(10.0).reshape(5, 2))
    return tmp_path


def test_split_tags_and_factors(folder):
    parts, names = search.load(folder)
    assert parts == {"train": ("TRD", "TRA"), "valid": ("TRB",), "test": ("TRE",)} and names == ("80s", "rock")
    found, source = sources.read([folder])
    assert found == {"TRA": ["80s"], "TRB": [], "TRD": ["80s", "rock"], "TRE": ["rock"]} and len(source["sha256"]) == 64
    table = tables.read(folder / "ix_to_cf.npy")
    assert table.ids == ("TRA", "TRB", "TRD", "TRE") and table.dense(["TRE", "TRA"]).tolist() == [[8, 9], [0, 1]]


def test_the_smaller_split_beside_it(folder):
    for name in ("train", "valid", "test"):
        np.save(folder / f"sub_{name}_ids.npy", [f"0//{name}"] if name == "test" else np.array([], "U1"))
    np.save(folder / "sub_tags.npy", ["rock"])
    np.save(folder / "sub_binaries.npy", np.array([[1]]))
    parts, names = search.load(folder / "sub_train_ids.npy")
    assert parts == {"train": (), "valid": (), "test": ("test",)} and names == ("rock",)
    assert sources.read([folder / "sub_binaries.npy"])[0] == {"test": ["rock"]}


def test_item_factors_with_their_index(tmp_path):
    np.save(tmp_path / "item_factors_MSD.npy", np.eye(2))
    layout.write_ids(tmp_path / "items_index_MSD.tsv", ["b", "a"])
    assert tables.read(tmp_path / "item_factors_MSD.npy").dense(["a"]).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("train_ids.npy", ["0:TRA"], r"train_ids\.npy: '0:TRA', expected ROW//ID"),
        ("train_ids.npy", ["9//TRA"], "song 'TRA' is row 9 of 5"),
        ("train_ids.npy", ["1//TRA"], r"row 1 is 'TRB' here and 'TRA' above"),
        ("train_ids.npy", ["1//TRB", "1//TRC"], "row 1 comes twice"),
        ("tags.npy", ["rock", "rock"], "a tag comes twice"),
        ("tags.npy", ["rock"], "expected a column for each of the 1 names"),
        ("valid_ids.npy", None, r"valid_ids\.npy: no such file"),
    ],
)
def test_damaged_files_are_named(folder, name, content, message):
    (folder / name).unlink() if content is None else np.save(folder / name, content)
    with pytest.raises(DataError, match=message):
        published.tags(folder)


def test_vectors_in_a_pickle(tmp_path):
    path = tmp_path / "music_emb.pkl"
    path.write_bytes(pickle.dumps({"Rock": np.array([3.0, 4.0]), "smooth_jazz": np.array([0.0, 1.0])}))
    found = words.load(path)
    assert found.names == ("rock", "smooth_jazz") and found.matrix.dtype == np.float32
    np.testing.assert_allclose(words.tag_vector("Smooth Jazz", found), [0, 1])
    assert words.load(path, words={"rock"}).names == ("rock",)
    for content in ({"rock": "x"}, {"rock": np.ones(2), "jazz": np.ones(3)}, {1: np.ones(2)}, [1]):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=r"music_emb\.pkl: "):
            words.load(path)


def test_a_gensim_model_is_refused_with_its_cure(tmp_path):
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(2)
    vectors.add_vectors(["rock"], np.array([[1.0, 2.0]], np.float32))
    vectors.save(str(tmp_path / "music.model"))
    with pytest.raises(DataError, match=r"music\.model: .*save_word2vec_format"):
        words.load(tmp_path / "music.model")
