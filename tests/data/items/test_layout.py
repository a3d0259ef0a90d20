"""The data folder's names and indexes, against the reference's example and by hand."""

import numpy as np
import pytest

from orpheus.data.items import layout
from orpheus.errors import ConfigError, DataError


def write(folder, **sets):
    for subset, ids in sets.items():
        layout.write_ids(folder.items_index(subset), ids)
    return folder


@pytest.fixture
def folder(tmp_path):
    return layout.DataFolder(tmp_path, "D_1")


def test_the_names_are_the_references(folder):
    names = {
        folder.items_index("train"): "splits/items_index_train_D_1.tsv",
        folder.targets("val", "als", 200): "splits/y_val_als_200_D_1.npy",
        folder.item_factors("pmi", 50): "factors/item_factors_pmi_50_D_1.npy",
        folder.item_factors("class", 300, "test"): "factors/item_factors_test_class_300_D_1.npy",
        folder.user_factors("als", 200): "factors/user_factors_als_200_D_1.npy",
        folder.class_factors("pmi", 50): "factors/class_factors_pmi_50_D_1.npy",
        folder.matrix(): "splits/matrix_test_D_1.npz",
        folder.labels(): "splits/genre_labels_D_1.tsv",
        folder.new_features("train", "sem-bio", sparse=True): "train_data/X_train_sem-bio_D_1.npz",
        folder.patches_file("test", 1, 15.0): "patches/patches_test_D_1_1x15.hdf5",
    }
    for path, name in names.items():
        assert path == folder.root / name


def test_older_folders_are_found(tmp_path):
    (tmp_path / "datasets" / "train_data").mkdir(parents=True)
    folder = layout.DataFolder(tmp_path, "D")
    assert folder.splits == tmp_path / "datasets"
    assert folder.train_data == tmp_path / "datasets" / "train_data"
    (tmp_path / "datasets" / "user_factors_als_2_D.npy").touch()
    assert folder.user_factors("als", 2).parent == tmp_path / "datasets"
    assert folder.user_factors("als", 3).parent == tmp_path / "factors"


def test_the_references_example(shared):
    folder = layout.DataFolder(shared / "super", "SUPER")
    assert folder.sets() == (("S1", "S2", "S3"), ("S4", "S5", "S6"), ("S7", "S8", "S9"))
    assert layout.read_ids(folder.labels()) == ("Cumbia", "Merengue", "Reggaeton")
    assert np.load(folder.targets("train", "class", 3)).shape == (3, 3)
    audio = layout.read_pairs(folder.index / "index_audio_SUPER.tsv")
    assert len(audio) == 9 and audio["S9"] == "soy_un_volcan.mp3"


def test_a_val_set_is_drawn_where_there_is_none(folder):
    ids = [f"i{n}" for n in range(50)]
    write(folder, train=ids, test=["t"])
    splits = folder.sets(val_share=0.2, seed=3)
    assert len(splits.val) == 10 and sorted(splits.train + splits.val) == sorted(ids)
    assert splits == folder.sets(val_share=0.2, seed=3)
    assert splits.val != folder.sets(val_share=0.2, seed=4).val
    assert folder.source("val") == "train"
    write(folder, val=["v"])
    assert folder.sets().val == ("v",) and folder.source("val") == "val"


@pytest.mark.parametrize("where", ["train", "val"])
def test_a_leaking_split_is_refused(folder, where):
    sets = {"train": ["a", "b"], "val": ["c"], "test": ["x", "y"]}
    sets[where].append("y")
    with pytest.raises(DataError, match=f"items_index_test_D_1.tsv: leak into items_index_{where}_D_1.tsv: item 'y'"):
        write(folder, **sets).sets()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no ids"), ("a\n\nb\n", ":2: blank"), ("a\nb\na\n", ":3: id 'a' is already on line 1")],
)
def test_bad_indexes_are_named(folder, text, message):
    path = folder.items_index("train")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        folder.items("train")


def test_missing_and_undecodable_files_are_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"items_index_test_D_1\.tsv: no such file"):
        folder.items("test")
    (tmp_path / "x").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="UTF-8"):
        layout.read_ids(tmp_path / "x")
    (tmp_path / "y").write_text("a\tb\nc\n")
    with pytest.raises(DataError, match="y:2: expected ID<tab>VALUE"):
        layout.read_pairs(tmp_path / "y")


def test_features_are_found_in_either_format(folder):
    with pytest.raises(DataError, match="settings with a train file: none"):
        folder.features("train", "bow")
    for sparse, setting in ((True, "bow"), (False, "audio_emb")):
        path = folder.new_features("train", setting, sparse=sparse)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert folder.features("train", setting) == path
    assert folder.settings() == ["audio_emb", "bow"]
    folder.new_features("train", "bow", sparse=False).touch()
    with pytest.raises(DataError, match="both exist"):
        folder.features("train", "bow")


def test_a_dataset_name_is_a_file_name():
    with pytest.raises(ConfigError, match="dataset='a/b'"):
        layout.DataFolder("x", "a/b")
