"""Word vectors: every file format against gensim or a hand-made table, spelling variants, malformed files."""

import gzip

import numpy as np
import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.semantics import words

TABLE = {
    "rock": [1, 0, 0, 0],
    "jazz": [0, 1, 0, 0],
    "smooth_jazz": [0, 0, 1, 0],
    "hip-hop": [0, 0, 0, 2],
    "underground": [3, 0, 0, 0],
    "eighties": [0, 2, 0, 1],
    "2000s": [0, 0, 2, 1],
    "anti": [-1, 0, 0, 0],
    "r&b": [1, 1, 0, 0],
    "cafe": [1, 2, 3, 4],
    "dreampop": [4, 3, 2, 1],
}


def make(table=None) -> words.WordVectors:
    table = table or TABLE
    return words.WordVectors(tuple(table), np.array(list(table.values()), np.float32), "table", "0" * 64)


def write_glove(path, table=None, end="\n"):
    table = table or TABLE
    path.write_text("".join(f"{word} {' '.join(map(str, row))}{end}" for word, row in table.items()), encoding="utf-8")
    return path


def unit(row):
    return np.array(row) / np.linalg.norm(row)


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (["hip-hop", "Hip Hop", "hiphop", "HIP_HOP", "hip--hop!"], [0, 0, 0, 1]),
        (["80s", "1980s", "80's", "'80s", "Eighties", "80s "], unit([0, 2, 0, 1])),
        (["00s", "2000s", "noughties"], unit([0, 0, 2, 1])),
        (["smooth jazz", "Smooth Jazz", "smooth-jazz"], [0, 0, 1, 0]),
        (["r&b", "RnB", "R'n'B", "r and b", "Rhythm and Blues"], unit([1, 1, 0, 0])),
        (["underground hip-hop", "Underground HipHop"], unit([3, 0, 0, 2])),
        (["rock jazz", "jazz/rock", "jazz rock", "rock unheardof jazz"], unit([1, 1, 0, 0])),
        (["café"], unit([1, 2, 3, 4])),
        (["dream pop", "dreampop", "dream-pop"], unit([4, 3, 2, 1])),
    ],
)
def test_spellings_of_a_tag_have_one_vector(spellings, expected):
    for spelling in spellings:
        np.testing.assert_allclose(words.tag_vector(spelling, make()), expected, atol=1e-6, err_msg=spelling)


def test_every_name_that_is_asked_for_is_listed_as_needed():
    class Recorder(dict):
        asked: set = set()  # noqa: RUF012

        def __contains__(self, name):
            self.asked.add(name)
            return False

    vectors = make()
    object.__setattr__(vectors, "index", Recorder())
    tags = ["Underground Hip-Hop", "80s", "r&b", "a very long tag of seven words", "dream pop", "café", "", "!!!"]
    for tag in tags:
        assert words.tag_vector(tag, vectors) is None
    assert Recorder.asked and Recorder.asked <= words.needed_words(tags)


def test_tags_without_vector_are_listed_and_never_zero():
    tags = ["rock", "qwertz", "anti rock", "", "♥", "jazz", "rock"]
    kept, matrix, missing = words.vectors_of_tags(tags, make())
    assert kept == ["rock", "jazz", "rock"] and missing == ["qwertz", "anti rock", "", "♥"]
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-6)
    assert words.vectors_of_tags(["qwertz"], make())[1].shape == (0, 4)


def test_similarity_is_the_cosine_with_nan_for_unknown_classes():
    classes = ["rock", "qwertz", "underground", "r&b", "eighties"]
    table = words.similarity(classes, make())
    rows = {c: words.tag_vector(c, make()) for c in classes}
    for i, a in enumerate(classes):
        for j, b in enumerate(classes):
            if "qwertz" in (a, b):
                assert np.isnan(table[i, j])
            else:
                assert table[i, j] == pytest.approx(float(rows[a] @ rows[b]), abs=1e-6)
    assert table.dtype == np.float32 and table[0, 0] == 1
    with pytest.raises(DataError, match="knows no word of the 1 classes"):
        words.similarity(["qwertz"], make())


@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])
def test_glove_text(tmp_path, end):
    path = write_glove(tmp_path / "g.txt", end=end)
    vectors = words.load(path)
    assert vectors.names == tuple(TABLE) and vectors.dimension == 4
    np.testing.assert_array_equal(vectors.matrix, np.array(list(TABLE.values()), np.float32))
    some = words.load(path, words={"rock", "Jazz", "nothing"}, progress=lambda lines, **_: lines)
    assert some.names == ("rock", "jazz") and some.sha256 == vectors.sha256
    packed = tmp_path / "g.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(words.load(packed).matrix, vectors.matrix)


def test_word2vec_files_are_what_gensim_wrote_and_gensim_reads(tmp_path):
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(3)
    names = [f"word{i}" for i in range(50)] + ["smooth_jazz", "éa", "日本"]
    matrix = rng.normal(size=(len(names), 7)).astype(np.float32)
    keyed = KeyedVectors(7)
    keyed.add_vectors(names, matrix)
    keyed.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    keyed.save_word2vec_format(str(tmp_path / "v.txt"), binary=False)
    binary = words.load(tmp_path / "v.bin")
    text = words.load(tmp_path / "v.txt", kind="word2vec")
    assert list(binary.names) == list(text.names) == names
    np.testing.assert_array_equal(binary.matrix, matrix)
    np.testing.assert_allclose(text.matrix, matrix, rtol=1e-6)
    some = words.load(tmp_path / "v.bin", words=["日本", "word7"])
    assert set(some.names) == {"日本", "word7"}
    np.testing.assert_array_equal(some["word7"], matrix[7])
    # A line feed behind each vector, as the original C program writes it.
    raw = b"2 2\n" + b"".join(
        w + b" " + np.array(r, "<f4").tobytes() + b"\n" for w, r in [(b"a", [1, 2]), (b"b", [3, 4])]
    )
    (tmp_path / "c.bin").write_bytes(raw)
    assert words.load(tmp_path / "c.bin")["b"].tolist() == [3, 4]


def test_lower_case_spelling_of_a_word_wins(tmp_path):
    path = write_glove(
        tmp_path / "g.txt", {"Rock": [1, 1], "rock": [2, 2], "ROCK": [3, 3], "Jazz": [4, 4], "JAZZ": [5, 5]}
    )
    vectors = words.load(path)
    assert vectors["rock"].tolist() == [2, 2] and vectors["jazz"].tolist() == [4, 4]


def test_words_with_blanks_are_read(tmp_path):
    vectors = words.load(write_glove(tmp_path / "g.txt", {"rock": [1, 2], ". . .": [3, 4]}))
    assert vectors[". . ."].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("rock 1 2 3\njazz 1 2\n", r"g.txt:2: expected 3 numbers behind the word, found 2"),
        ("rock 1 2 3\njazz 1 x 3\n", r"g.txt:2: expected 3 numbers .* '1 x 3'"),
        ("rock 1 2 3\njazz 1 nan 3\n", r"g.txt:2: a number is not finite"),
        ("rock\n", r"g.txt:1: expected a word and its numbers"),
        ("rock 1 2 3\n\npop 1 2 3\n", r"g.txt:2: expected 3 numbers"),
        ("3 2\nrock 1 2\n", r"g.txt: its first line promises 3 words, it has 1"),
        ("", r"g.txt: holds no word"),
    ],
)
def test_malformed_text_is_named(tmp_path, content, where):
    (tmp_path / "g.txt").write_text(content)
    with pytest.raises(DataError, match=where):
        words.load(tmp_path / "g.txt")


def test_other_bad_sources(tmp_path):
    with pytest.raises(DataError, match="no such file of word vectors"):
        words.load(tmp_path / "none.txt")
    (tmp_path / "v.bin").write_bytes(b"2 3\nrock " + bytes(12) + b"jazz \0\0")
    with pytest.raises(DataError, match="cut off at word 2 of 2"):
        words.load(tmp_path / "v.bin")
    (tmp_path / "v.bin").write_bytes(b"hello")
    with pytest.raises(DataError, match="no binary word2vec file"):
        words.load(tmp_path / "v.bin")
    path = write_glove(tmp_path / "g.txt")
    with pytest.raises(DataError, match=r"none of|holds no word of the 1 wanted ones \(nothing"):
        words.load(path, words={"nothing"})
    with pytest.raises(ConfigError, match="unknown kind 'elmo'"):
        words.load(path, kind="elmo")
    (tmp_path / "broken.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        words.load(tmp_path / "broken.txt.gz")
    with pytest.raises(DataError, match="is a folder"):
        words.load(tmp_path, kind="glove")
    with pytest.raises(ConfigError, match="which words are wanted"):
        words.load(tmp_path)
    with pytest.raises(DataError, match="no SavedModel"):
        words.load(tmp_path, words={"rock"})


def test_a_text_embedding_saved_model(tmp_path):
    tf = pytest.importorskip("tensorflow")

    class Model(tf.Module):
        """Sum of the words' vectors from a table, zero for unknown words: what Wiki-words does, in small."""

        def __init__(self):
            super().__init__()
            keys, values = tf.constant(["hip", "hop", "rock"]), tf.constant([1, 2, 3])
            self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)
            self.rows = tf.Variable([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, text):
            return tf.reduce_sum(tf.gather(self.rows, self.table.lookup(tf.strings.split(text)).to_tensor(0)), 1)

    tf.saved_model.save(Model(), str(tmp_path / "model"))
    tags = ["Hip-Hop", "rock", "polka"]
    vectors = words.load(tmp_path / "model", kind="hub", words=words.needed_words(tags))
    kept, matrix, missing = words.vectors_of_tags(tags, vectors)
    assert kept == ["Hip-Hop", "rock"] and missing == ["polka"]
    np.testing.assert_allclose(matrix, [unit([1, 1, 0]), [0, 0, 1]], atol=1e-6)
    assert len(vectors.sha256) == 64

    class Wrong(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, text):
            return tf.strings.length(text)

    tf.saved_model.save(Wrong(), str(tmp_path / "wrong"))
    with pytest.raises(DataError, match="expected one vector each"):
        words.load(tmp_path / "wrong", words={"rock"})


def test_real_glove_lines(shared):
    path = next((shared / "glove").glob("*.txt"))
    tags = ["Rock", "jazz", "classical music", "80s", "Love songs"]
    vectors = words.load(path, words=words.needed_words(tags))
    kept, matrix, _ = words.vectors_of_tags(tags, vectors)
    assert len(words.load(path)) == 2400 and matrix.shape[1] == 50
    lines = dict(line.split(" ", 1) for line in path.read_text(encoding="latin-1").split("\n")[:-1])
    expected = unit(sum(np.array(lines[w].split(), float) for w in ("love", "songs") if w in lines))
    np.testing.assert_allclose(matrix[kept.index("Love songs")], expected, atol=1e-6)


def write_binary(path, table, *, feed=b"", start=b"", end=b""):
    rows = [word.encode() + b" " + row.astype("<f4").tobytes() + feed for word, row in table.items()]
    path.write_bytes(start + f"{len(table)} {len(next(iter(table.values())))}\n".encode() + b"".join(rows) + end)
    return path


@pytest.mark.parametrize("feed", [b"", b"\n"], ids=["packed", "line feeds"])
@pytest.mark.parametrize("name", ["new york", "a b", "drum and bass", "été ß"])
def test_a_blank_inside_a_word_of_a_binary_file(tmp_path, name, feed):
    draw = np.random.default_rng(1)
    for _ in range(50):  # float bytes differ: a wrong end must not look right by chance
        table = {word: draw.normal(0, 0.3, 50).astype(np.float32) for word in ("first", name, "then", "last one")}
        vectors = words.load(write_binary(tmp_path / "v.bin", table, feed=feed))
        assert vectors.names == tuple(table)
        np.testing.assert_array_equal(vectors.matrix, np.stack(list(table.values())))


def test_byte_order_marks(tmp_path):
    path = write_glove(tmp_path / "g.txt")
    vectors = words.load(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert words.load(path).names == vectors.names
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbf2 3\nrock 1 2 3\njazz 4 5 6\n")
    assert words.load(tmp_path / "w.txt").dimension == 3
    (tmp_path / "u.txt").write_text("rock 1 2 3\n", encoding="utf-16")
    with pytest.raises(DataError, match="is UTF-16"):
        words.load(tmp_path / "u.txt")
    table = {"rock": np.arange(3.0), "jazz": np.ones(3)}
    assert words.load(write_binary(tmp_path / "v.bin", table, start=b"\xef\xbb\xbf")).dimension == 3


def test_vector_files_end_where_their_last_vector_ends(tmp_path):
    table = {"rock": np.arange(3.0), "jazz": np.ones(3)}
    with pytest.raises(DataError, match="4 bytes or more behind the last of its 2 words"):
        words.load(write_binary(tmp_path / "v.bin", table, end=b"more"))
    with pytest.raises(DataError, match="19 bytes are too few for 9 words"):
        (tmp_path / "v.bin").write_bytes(b"9 300\nrock 123456 8")
        words.load(tmp_path / "v.bin")
    (tmp_path / "w.txt").write_text("1 3\nrock 1 2 3\njazz 4 5 6\n")
    with pytest.raises(DataError, match=r"w\.txt:3: its first line promises 1 words, here is another"):
        words.load(tmp_path / "w.txt")
    (tmp_path / "w.txt").write_text("2 0\nrock\njazz\n")
    with pytest.raises(DataError, match="its first line promises '2 0'"):
        words.load(tmp_path / "w.txt")


def test_a_broken_archive_of_vectors_is_one_line(tmp_path):
    packed = bytearray(gzip.compress(b"rock 1 2 3\n" * 200))
    packed[30] ^= 255
    (tmp_path / "g.txt.gz").write_bytes(packed)
    with pytest.raises(DataError, match="cannot be read"):
        words.load(tmp_path / "g.txt.gz")


def test_vectors_as_they_are():
    known = make()
    np.testing.assert_array_equal(words.tag_vector("underground", known, unit=False), [3, 0, 0, 0])
    np.testing.assert_array_equal(words.tag_vector("underground jazz", known, unit=False), [1.5, 0.5, 0, 0])
    np.testing.assert_allclose(words.tag_vector("underground jazz", known), unit([3, 1, 0, 0]), atol=1e-6)
    assert words.tag_vector("rock anti", known, unit=False) is None, "the words cancel out"
    _, rows, missing = words.vectors_of_tags(["hip hop", "polka"], known, unit=False)
    np.testing.assert_array_equal(rows, [[0, 0, 0, 2]])
    assert missing == ["polka"]
