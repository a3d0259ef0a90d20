"""Text features against the formula, hand-made sequences and what training must not see."""

import numpy as np
import pytest

from orpheus.data.items import layout, texts
from orpheus.errors import ConfigError, DataError

TEXTS = ["rock rock guitar", "rock piano", "jazz piano piano solo", "ambient"]


def test_tfidf_is_the_formula():
    model = texts.Tfidf.fit(TEXTS, max_df=1.0)
    assert model.words == ("ambient", "guitar", "jazz", "piano", "rock", "solo")
    counts = np.array([[text.split().count(word) for word in model.words] for text in TEXTS], float)
    idf = 1 + np.log((1 + 4) / (1 + (counts > 0).sum(axis=0)))
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    result = model.transform(TEXTS)
    assert result.dtype == np.float32 and result.format == "csr"
    np.testing.assert_allclose(result.toarray(), weights, atol=1e-6)


def test_common_words_go_and_the_vocabulary_is_bounded():
    documents = [f"the song number{number}" for number in range(9)] + ["the end end"]
    model = texts.Tfidf.fit(documents)
    assert "the" not in model.words and "song" not in model.words and "number3" in model.words
    assert texts.Tfidf.fit(documents, vocabulary=1).words == ("end",)
    assert "end end" in texts.Tfidf.fit(documents, ngrams=2).words


def test_an_unknown_text_is_a_zero_row():
    row = texts.Tfidf.fit(TEXTS, max_df=1.0).transform(["zither"])
    assert row.nnz == 0 and row.shape == (1, 6)


def test_nothing_to_learn_is_an_error():
    with pytest.raises(DataError, match="nothing to learn"):
        texts.Tfidf.fit(["same", "same"], max_df=0.5)
    with pytest.raises(ConfigError, match="max_df=0"):
        texts.Tfidf.fit(TEXTS, max_df=0)
    with pytest.raises(DataError, match="no word"):
        texts.Sequences.fit(["...", ""])


def test_sequences_by_hand():
    model = texts.Sequences.fit(["b a b", "c a b!"], length=4)
    assert model.words == ("b", "a", "c")  # by frequency, ties by alphabet
    np.testing.assert_array_equal(
        model.transform(["C b x", "a a a a b", ""]), [[4, 2, 1, 0], [3, 3, 3, 3], [0, 0, 0, 0]]
    )


def test_words_of_other_scripts_and_inner_signs():
    assert texts.tokens("¡Música: hip-hop, don't — Дождь 80s!") == ["música", "hip-hop", "don't", "дождь", "80s"]


@pytest.mark.parametrize("model", [texts.Tfidf.fit(TEXTS, ngrams=2), texts.Sequences.fit(TEXTS, length=7)])
def test_saved_models_give_the_same_features(tmp_path, model):
    model.save(tmp_path / "v.json")
    again = texts.load_model(tmp_path / "v.json").transform([*TEXTS, "piano zither"])
    expected = model.transform([*TEXTS, "piano zither"])
    assert again.shape == expected.shape and abs(again - expected).max() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "lda"}', "kind='lda'"),
        ('{"kind": "tfidf"}', "no key 'ngrams'"),
        ("[]", "kind=None"),
        ('{"kind": "tfidf", "words": ["a"], "idf": [], "ngrams": 1}', "1 words, but 0 weights"),
        (
            '{"kind": "tfidf", "words": ["a", "a"], "idf": [1.0, 1.0], "ngrams": 1}',
            "'words' is .*; a word is there twice",
        ),
    ],
)
def test_broken_models_are_named(tmp_path, text, message):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(DataError, match=rf"v.json: {message}"):
        texts.load_model(tmp_path / "v.json")


def test_the_embedding_matrix_has_its_rows_by_word_id():
    vectors = {"a": np.array([1.0, 2.0]), "c": np.array([3.0, 4.0])}
    matrix, lacking = texts.embedding_matrix(["c", "b", "a"], vectors, seed=1)
    assert lacking == ["b"] and matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[[0, 2, 4]], [[0, 0], [3, 4], [1, 2]])
    assert np.abs(matrix[[1, 3]]).max() <= 0.25 and np.abs(matrix[[1, 3]]).min() > 0
    with pytest.raises(DataError, match="none of the 1 words"):
        texts.embedding_matrix(["x"], vectors)
    zero, _ = texts.embedding_matrix(["c", "b", "a"], vectors, zero_unknown=True)
    np.testing.assert_array_equal(zero, [[0, 0], [0, 0], [3, 4], [0, 0], [1, 2]])
    means = texts.mean_vectors(np.array([[2, 4, 1, 0], [0, 0, 0, 0]]), matrix)
    np.testing.assert_array_equal(means, [[2, 3], [0, 0]])


def test_trained_vectors_know_which_words_go_together_and_repeat():
    rng = np.random.default_rng(0)
    groups = [[f"{style}{number}" for number in range(40)] for style in ("metal", "jazz")]
    documents = [" ".join(rng.choice(groups[number % 2], 15)) for number in range(400)]
    one, two = (texts.train_word2vec(documents, dim=12, epochs=15, seed=3) for _ in range(2))
    for word in one:
        np.testing.assert_array_equal(one[word], two[word])
        assert abs(np.linalg.norm(one[word]) - 1) < 1e-5
    other = texts.train_word2vec(documents, dim=12, epochs=1, seed=3, cbow=True)
    assert set(other) == set(one) and not np.allclose(other["jazz0"], one["jazz0"])
    metal, jazz = (np.stack([one[word] for word in group]) for group in groups)
    assert (metal @ metal.T).mean() > (metal @ jazz.T).mean() + 0.3


def test_texts_from_files_and_from_one_file(tmp_path):
    folder = layout.DataFolder(tmp_path, "D")
    with pytest.raises(DataError, match=r"index_text_D.tsv: no such file, nor texts_D.tsv"):
        texts.read_texts(folder, ["a"])
    layout.write_pairs(folder.texts_index(), {"a": "one\ttwo", "b": "three"})
    assert texts.read_texts(folder, ["b", "a"]) == {"b": "three", "a": "one\ttwo"}
    layout.write_pairs(folder.index / "index_text_D.tsv", {"a": "a.txt", "b": "b.txt"})
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("canción")
    assert texts.read_texts(folder, ["a"]) == {"a": "canción"}
    with pytest.raises(DataError, match=r"b\.txt: no such file"):
        texts.read_texts(folder, ["b"])
    with pytest.raises(DataError, match="no text of item 'z'"):
        texts.read_texts(folder, ["z"])
    (tmp_path / "text" / "b.txt").write_bytes(b"\xe7a")
    with pytest.raises(DataError, match=r"b\.txt: cannot be read as UTF-8"):
        texts.read_texts(folder, ["b"])
