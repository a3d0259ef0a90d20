"""Texts of songs as a table: scikit-learn's TF-IDF of the training songs, and one line for bad input."""

import json

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from orpheus.data.items import tables
from orpheus.data.splits import search
from tools import text_vectors

TEXTS = {"a": "sad piano piano", "b": "loud guitar", "c": "sad guitar solo", "d": "unheard words, piano"}


def write(folder, train=("a", "b", "c")):
    (folder / "texts").mkdir()
    for song, text in TEXTS.items():
        (folder / "texts" / f"{song}.txt").write_text(text)
    made = {"format": search.FORMAT, "version": search.VERSION, "made": {}, "tags": {}, "least": 0}
    (folder / "split.json").write_text(json.dumps({**made, "train": list(train), "valid": [], "test": ["d"]}))
    return [str(folder / "texts"), "--split", str(folder / "split.json"), "--out", str(folder / "texts.npz")]


def test_weights_are_those_of_the_training_songs(tmp_path, capsys):
    assert text_vectors.main([*write(tmp_path), "--max-df", "1"]) == 0
    assert "(4, 5), 0 texts without known words" in capsys.readouterr().out
    found = tables.read(tmp_path / "texts.npz")
    reference = TfidfVectorizer(sublinear_tf=True).fit([TEXTS[song] for song in "abc"])
    assert found.ids == tuple(TEXTS)
    np.testing.assert_allclose(found.matrix, reference.transform(TEXTS.values()).toarray(), atol=1e-6)
    other = TfidfVectorizer(sublinear_tf=True).fit(TEXTS.values())
    assert other.transform(TEXTS.values()).shape != found.matrix.shape


def test_bad_input_is_one_line(tmp_path, capsys):
    arguments = write(tmp_path, train=("x",))
    assert text_vectors.main(arguments) == 2
    assert "has a text of none of the training songs" in capsys.readouterr().err
    assert text_vectors.main([str(tmp_path), *arguments[1:]]) == 2
    assert "no files ID.txt" in capsys.readouterr().err
    assert not (tmp_path / "texts.npz").exists()
