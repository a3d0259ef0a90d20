"""The commands that fill a data folder, on the reference's example and on Last.fm, each end to end."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orpheus.data.items import layout, tables, texts
from orpheus.learning.vectors import factorisation
from tools import factorize, import_hetrec, patches, text

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def example(shared, tmp_path):
    """A writable copy of the nine songs' splits, index and lyrics; the audio stays where it is."""
    for name in ("splits", "index", "text"):
        shutil.copytree(shared / "super" / name, tmp_path / name)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return layout.DataFolder(tmp_path, "SUPER")


def call(tool, folder, *arguments):
    return tool.main([*map(str, arguments), "--data-dir", str(folder.root), "--dataset", folder.dataset])


@pytest.mark.parametrize("tool", ["text", "patches", "factorize", "import_hetrec"])
def test_help_has_an_example_and_loads_nothing_heavy(tool):
    code = f"import sys, tools.{tool} as t; t.parser().print_help(); assert not {{'numpy', 'tensorflow'}} & set(sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0, shown.stderr
    assert f"python -m tools.{tool} " in shown.stdout.split("example:")[1]


def test_tfidf_of_the_lyrics(example, capsys):
    assert call(text, example, "tfidf", "--setting", "bow") == 0
    train, test = (tables.features(example, subset, "bow") for subset in ("train", "test"))
    assert train.sparse and train.dim == test.dim == 200 and train.ids == ("S1", "S2", "S3")
    np.testing.assert_allclose(np.linalg.norm(test.dense(["S7", "S8", "S9"]), axis=1), 1, atol=1e-5)
    words = json.loads(example.text_model("bow").read_text())["words"]
    lyrics = (example.root / "text" / "a_vacilar.txt").read_text().lower()  # S1
    present = {words[column] for column in train.rows(["S1"]).indices}
    assert "vacilar" in present and all(word in lyrics for word in present)


def test_word_sequences_of_the_lyrics(example):
    assert call(text, example, "word2vec", "--setting", "w2v", "--dim", "8", "--epochs", "1", "--mean") == 0
    ids, means = (tables.features(example, "val", setting) for setting in ("w2v", "w2v-mean"))
    embedding = np.load(example.embedding("w2v"))
    assert ids.matrix.shape == (3, 500) and ids.matrix.max() < len(embedding) and means.dim == 8
    known = ids.matrix[0][ids.matrix[0] > 1]
    np.testing.assert_allclose(means.matrix[0], embedding[known].mean(axis=0), atol=1e-5)


def test_word_sequences_as_the_reference(example):
    assert call(text, example, "word2vec", "--setting", "theirs", "--dim", "8", "--as-reference") == 0
    assert tables.features(example, "val", "theirs").matrix.shape == (3, 300)
    np.testing.assert_array_equal(np.load(example.embedding("theirs"))[:2], 0)
    assert call(text, example, "word2vec", "--setting", "ours", "--dim", "8", "--length", "300", "--epochs", "5") == 0
    assert np.abs(np.load(example.embedding("ours"))[1]).min() > 0  # unknown words: drawn


def test_given_vectors(example, tmp_path):
    (tmp_path / "v.txt").write_text("vacilar 1 0\nzither 0 1\n")
    assert call(text, example, "word2vec", "--setting", "given", "--vectors", tmp_path / "v.txt") == 0
    row = json.loads(example.text_model("given").read_text())["words"].index("vacilar") + 2
    np.testing.assert_array_equal(np.load(example.embedding("given"))[row], [1, 0])


def test_class_targets_are_the_references(example):
    expected = {subset: np.load(example.targets(subset, "class", 3)) for subset in layout.SETS}
    for subset in layout.SETS:
        example.targets(subset, "class", 3).unlink()
    assert call(factorize, example, "class") == 0
    for subset, matrix in expected.items():
        np.testing.assert_array_equal(np.load(example.targets(subset, "class", 3)), matrix)


def test_pmi_factors_of_the_classes(example):
    assert call(factorize, example, "pmi", "--dim", 3) == 0
    classes = np.load(example.class_factors("pmi", 3))
    # One class per song: each song's factors point where its class's do, of unseen songs too.
    for subset in layout.SETS:
        scores = np.load(example.targets(subset, "pmi", 3)) @ classes.T
        np.testing.assert_array_equal(
            scores.argmax(axis=1), np.load(example.targets(subset, "class", 3)).argmax(axis=1)
        )
    assert call(factorize, example, "pmi", "--dim", 4) == 2


@pytest.mark.slow
def test_patches_of_the_songs(example, shared, capsys):
    audio = shared / "super" / "audio"
    assert call(patches, example, "cqt", "--audio", audio, "--workers", 1) == 1
    assert "left out S8" in capsys.readouterr().out  # this file is silent as found
    assert call(patches, example, "cqt", "--audio", audio, "--workers", 1, "--keep-silent") == 0
    assert "patches_test_SUPER_1x15.hdf5: 3 patches of 322 frames × 96 bands" in capsys.readouterr().out


def test_a_leak_is_one_line_and_exit_code_2(example, capsys):
    path = example.items_index("train")
    layout.write_ids(path, [*layout.read_ids(path), "S8"])
    for tool, *arguments in ((factorize, "class"), (text, "tfidf", "--setting", "bow"), (patches, "mel")):
        assert call(tool, example, *arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "leak into items_index_train_SUPER.tsv: item 'S8'" in error


def small(tmp_path):
    """Listening counts of two groups of users, who like the even or the odd items."""
    rng = np.random.default_rng(0)
    folder = layout.DataFolder(tmp_path, "D")
    heard = rng.random((40, 30)) < np.where(np.arange(40)[:, None] % 2 == np.arange(30) % 2, 0.6, 0.02)
    path = tmp_path / "counts.tsv"
    path.write_text("".join(f"u{u}\ti{i}\t{1 + (u * i) % 9}\n" for u, i in zip(*np.nonzero(heard), strict=True)))
    for subset, start, stop in (("train", 0, 20), ("val", 20, 25), ("test", 25, 30)):
        layout.write_ids(folder.items_index(subset), [f"i{n}" for n in range(start, stop)])
    return folder, path


def test_counts_to_factors(tmp_path):
    folder, path = small(tmp_path)
    assert call(factorize, folder, "als", "--counts", path, "--dim", 4, "--upper-bound") == 0
    items, users = np.load(folder.item_factors("als", 4)), np.load(folder.user_factors("als", 4))
    assert layout.read_ids(folder.factors_index("als", 4)) == tuple(f"i{n}" for n in range(25))
    np.testing.assert_array_equal(tables.targets(folder, "val", "als", 4).rows(["i22"])[0], items[22])
    folder.check_unseen("als", 4)
    assert np.load(folder.item_factors("als-seen", 4, "test")).shape == (5, 4)
    assert np.load(folder.user_factors("als-seen", 4)).shape == users.shape
    # the counts of test items change nothing that is learned
    lines = [line for line in path.read_text().splitlines(keepends=True) if "\ti25\t" not in line]
    path.write_text("".join([*lines, "u0\ti25\t999\n"]))
    assert call(factorize, folder, "als", "--counts", path, "--dim", 4) == 0
    np.testing.assert_array_equal(np.load(folder.item_factors("als", 4)), items)
    test = tables.counts(folder, "test")
    weights = factorisation.confidence(test.matrix)
    np.testing.assert_allclose(
        np.load(folder.targets("test", "als", 4)), factorisation.fold_in(users, weights, regularization=0.1), atol=1e-5
    )


def test_factors_of_all_items(tmp_path, capsys):
    folder, path = small(tmp_path)
    assert call(factorize, folder, "als", "--all", "--counts", path, "--dim", 4) == 0
    table = tables.read(folder.item_factors("als-all", 4))
    assert set(table.ids) == {f"i{n}" for n in range(30)} and table.dim == 4
    # Items that the same listeners love lie near each other, those that were never in training among them.
    rows = table.dense([f"i{n}" for n in range(30)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    assert (cosines[25:, 0:24:2].mean(axis=1) > cosines[25:, 1:24:2].mean(axis=1)).tolist() == [
        n % 2 == 0 for n in range(25, 30)
    ]
    assert call(factorize, folder, "als", "--counts", path, "--dim", 4) == 0
    assert call(factorize, folder, "als", "--all", "--dim", 4) == 0, "the matrices of the sets are there now"
    again = tables.read(folder.item_factors("als-all", 4))
    assert again.ids == tuple(f"i{n}" for n in range(30)) and len(tables.read(folder.item_factors("als", 4))) == 25
    for wrong in (["class", "--all"], ["als", "--all", "--upper-bound"]):
        assert call(factorize, folder, *wrong) == 2
        assert "--all" in capsys.readouterr().err


def test_factors_that_saw_a_test_item_are_refused(tmp_path):
    folder, path = small(tmp_path)
    assert call(factorize, folder, "als", "--counts", path, "--dim", 2) == 0
    layout.write_ids(folder.items_index("test"), ["i3", "i29"])
    layout.write_ids(folder.items_index("train"), [f"i{n}" for n in range(20) if n != 3])
    with pytest.raises(layout.DataError, match=r"index_factors_als_2_D.tsv: leak of items_index_test_D.tsv: item 'i3'"):
        folder.check_unseen("als", 2)


def test_bad_counts_are_named(tmp_path, capsys):
    folder, path = small(tmp_path)
    layout.write_ids(folder.items_index("test"), ["nobody"])
    assert call(factorize, folder, "als", "--counts", path) == 2
    assert "no counts of item 'nobody'" in capsys.readouterr().err
    assert call(factorize, folder, "als") == 2
    assert "matrix_train_D.npz: no such file" in capsys.readouterr().err


def test_last_fm_from_import_to_factors(shared, tmp_path, capsys):
    folder = layout.DataFolder(tmp_path, "HET")
    assert call(import_hetrec, folder, shared / "hetrec2011-lastfm-2k", "--min-listeners", 40) == 0
    assert call(text, folder, "tfidf", "--setting", "tags") == 0
    assert call(factorize, folder, "als", "--dim", 8, "--iterations", 3) == 0
    assert call(factorize, folder, "pmi", "--dim", 8) == 0
    for subset in layout.SETS:
        joined = tables.join([tables.features(folder, subset, "tags"), tables.targets(folder, subset, "als", 8)])
        assert len(joined[0]) == len(folder.items(subset))


def test_tfidf_of_the_first_words_as_the_reference(tmp_path):
    """load_vsm.py takes a text's first 300 words; the whole text has others."""
    folder = layout.DataFolder(tmp_path, "D")
    early, late = " ".join(f"early{n % 7}" for n in range(300)), "late0 late1"
    for subset, item in zip(layout.SETS, "abc", strict=True):
        layout.write_ids(folder.items_index(subset), [item, f"{item}2"])
    layout.write_pairs(
        folder.texts_index(),
        {item + more: f"{early} {late}" if not more else "other" for item in "abc" for more in ("", "2")},
    )
    words = {}
    for name, options in (("whole", []), ("cut", ["--as-reference"])):
        assert call(text, folder, "tfidf", "--setting", name, *options) == 0
        words[name] = set(texts.load_model(folder.text_model(name)).words)
    assert words["cut"] == {*(f"early{n}" for n in range(7)), "other"} and words["whole"] - words["cut"] == {
        "late0",
        "late1",
    }
