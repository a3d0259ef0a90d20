"""Tables by id: rows, joins and the file formats, against NumPy and scipy."""

import numpy as np
import pytest
import scipy.sparse

from orpheus.data.items import layout, tables
from orpheus.errors import DataError

DENSE = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ("a", "b", "c", "d")


@pytest.mark.parametrize("matrix", [DENSE, scipy.sparse.csr_matrix(DENSE)], ids=["dense", "sparse"])
def test_rows_come_in_the_order_asked_for(matrix):
    table = tables.Table("t", IDS, matrix)
    assert table.sparse == scipy.sparse.issparse(matrix) == scipy.sparse.issparse(table.rows(["a"]))
    np.testing.assert_array_equal(table.dense(["d", "a", "d"]), DENSE[[3, 0, 3]])
    assert table.dense(["a"]).dtype == np.float32 and table.dim == 3 and len(table) == 4


def test_missing_ids_are_named():
    table = tables.Table("X_train_bow_D.npz", IDS, DENSE)
    with pytest.raises(DataError, match=r"X_train_bow_D.npz: x, y not there \(2 of 3"):
        table.rows(["x", "a", "y"])


def test_wrong_tables_are_refused():
    with pytest.raises(DataError, match="t: 4 rows, but its index has 3 ids"):
        tables.Table("t", IDS[:3], DENSE)
    with pytest.raises(DataError, match="id 'a' comes twice"):
        tables.Table("t", ("a", "b", "a", "c"), DENSE)
    with pytest.raises(DataError, match=r"found shape \(4,\)"):
        tables.Table("t", IDS, DENSE[:, 0])


def test_join_orders_and_names_every_lacking_table():
    one = tables.Table("one", IDS, DENSE)
    two = tables.Table("two", ("d", "c", "b"), scipy.sparse.csr_matrix(DENSE[1:]))
    first, second = tables.join([one, two], ["b", "d"])
    np.testing.assert_array_equal(first.matrix, DENSE[[1, 3]])
    np.testing.assert_array_equal(second.matrix.toarray(), DENSE[[3, 1]])
    with pytest.raises(DataError, match=r"two lacks 1 of 4 ids: a; three lacks 4 of 4 ids: a, b, c, d"):
        tables.join([one, two, tables.Table("three", ("z",), DENSE[:1])])


def test_stack_refuses_unequal_columns():
    one, two = tables.Table("one", IDS[:2], DENSE[:2]), tables.Table("two", IDS[2:], scipy.sparse.csr_matrix(DENSE[2:]))
    np.testing.assert_array_equal(tables.stack([one, two]).matrix.toarray(), DENSE)
    with pytest.raises(DataError, match="three: 2 columns, but one has 3"):
        tables.stack([one, tables.Table("three", ("x",), DENSE[:1, :2])])


def test_dense_files_are_memory_mapped(tmp_path):
    tables.save_matrix(tmp_path / "x.npy", DENSE)
    matrix = tables.load_matrix(tmp_path / "x.npy")
    assert isinstance(matrix, np.memmap)
    rows = tables.Table("x", IDS, matrix).rows(["b"])
    assert not np.shares_memory(rows, matrix)
    np.testing.assert_array_equal(rows, DENSE[1:2])


def test_both_sparse_formats_read_the_same(tmp_path):
    matrix = scipy.sparse.random(20, 7, density=0.2, format="csr", random_state=0)
    np.savez(tmp_path / "parts.npz", data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, shape=matrix.shape)
    scipy.sparse.save_npz(tmp_path / "scipy.npz", matrix.tocsc())
    tables.save_matrix(tmp_path / "ours.npz", matrix)
    for name in ("parts", "scipy", "ours"):
        loaded = tables.load_matrix(tmp_path / f"{name}.npz")
        assert loaded.format == "csr"
        np.testing.assert_array_equal(loaded.toarray(), matrix.toarray())
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as parts:  # readable by the reference's loader as well
        assert {"data", "indices", "indptr", "shape"} <= set(parts)


def broken(tmp_path, kind):
    path = tmp_path / ("x.npz" if kind in ("parts", "zip", "range") else "x.npy")
    if kind == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "text":
        np.save(path, np.array([["a"]]))
    elif kind == "cut":
        np.save(path, DENSE)
        path.write_bytes(path.read_bytes()[:-8])
    elif kind == "zip":
        path.write_bytes(b"PK\3\4 and no more")
    elif kind == "parts":
        np.savez(path, data=[1.0], indices=[0], shape=(1, 1))
    elif kind == "range":
        np.savez(path, data=[1.0], indices=[5], indptr=[0, 1], shape=(1, 2))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("pickle", "expected numbers|not a NumPy array"),
        ("text", "expected numbers"),
        ("cut", "copy it again|not an archive"),
        ("zip", "not an archive"),
        ("parts", "no array named indptr"),
        ("range", "not a consistent sparse matrix"),
    ],
)
def test_broken_files_are_named(tmp_path, kind, message):
    with pytest.raises(DataError, match=rf"x.np[yz]: .*{message}"):
        tables.load_matrix(broken(tmp_path, kind))


def test_features_and_targets_of_a_folder(tmp_path):
    folder = layout.DataFolder(tmp_path, "D")
    layout.write_ids(folder.items_index("train"), IDS)
    tables.save_sets(folder, "bow", {"train": DENSE})
    (path,) = tables.save_sets(folder, "bow", {"train": scipy.sparse.csr_matrix(DENSE)})
    assert path == folder.features("train", "bow")  # the dense one of before is gone
    tables.save_matrix(folder.targets("train", "als", 3), DENSE)
    np.testing.assert_array_equal(tables.features(folder, "val", "bow", dim=3).dense(["c"]), DENSE[2:3])
    np.testing.assert_array_equal(tables.targets(folder, "train", "als", 3).matrix, DENSE)
    with pytest.raises(DataError, match=r"X_train_bow_D.npz: shape \(4, 3\), expected 5 columns"):
        tables.features(folder, "train", "bow", dim=5)
    layout.write_ids(folder.items_index("train"), IDS[:3])
    with pytest.raises(DataError, match=r"y_train_als_3_D.npy: 4 rows, but its index has 3 ids"):
        tables.targets(folder, "train", "als", 3)


def test_the_references_example(shared):
    table = tables.targets(layout.DataFolder(shared / "super", "SUPER"), "test", "class", 3)
    np.testing.assert_array_equal(table.rows(["S9"]), [[1, 0, 0]])  # y_SUPER.tsv: S9 is Cumbia


def test_a_table_with_its_own_ids_comes_back(tmp_path):
    table = tables.Table("t", ("b", "ä"), np.array([[1.5, -2], [0, 4]], np.float32))
    tables.write(tmp_path / "t.npz", table)
    (tmp_path / "t.tsv").write_text("b\t1.5\t-2\n\nä\t0\t4\n", encoding="utf-8")
    for name in ("t.npz", "t.tsv"):
        read = tables.read(tmp_path / name)
        assert read.ids == table.ids
        np.testing.assert_array_equal(read.matrix, table.matrix)


@pytest.mark.parametrize(
    "text, message",
    [("a 1 2\nb 3\n", ":2: 1 numbers, expected 2"), ("a 1 x\n", ":1: expected an id"), ("\n", "holds no row")],
)
def test_a_text_table_that_is_none_is_named(tmp_path, text, message):
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        tables.read(path)


def test_factors_of_a_factorisation_bring_the_ids_beside_them(tmp_path):
    folder = layout.DataFolder(tmp_path, "NAME")
    np.save(tmp_path / "other.npy", np.eye(2))
    folder.factors.mkdir()
    np.save(folder.item_factors("als", 3), np.arange(6.0).reshape(2, 3))
    with pytest.raises(DataError, match=r"index_factors_als_3_NAME\.tsv: no such file"):
        tables.read(folder.item_factors("als", 3))
    layout.write_ids(folder.factors_index("als", 3), ["a", "b"])
    found = tables.read(folder.item_factors("als", 3))
    assert found.ids == ("a", "b") and found.dense(["b"]).tolist() == [[3, 4, 5]]
    layout.write_ids(tmp_path / "other.tsv", ["x"])
    with pytest.raises(DataError, match="2 rows, but its index has 1 ids"):
        tables.read(tmp_path / "other.npy")
