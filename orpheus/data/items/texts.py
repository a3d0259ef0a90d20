"""Texts of items as model inputs: TF-IDF vectors, and padded sequences of word ids with an embedding matrix.

Both are fitted on training texts only and saved, so that a new text becomes the same features later.
"""

import collections
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.sparse
from pydantic import AfterValidator, Field

from orpheus.base import files, schema
from orpheus.data.items import layout
from orpheus.errors import ConfigError, DataError

PADDING, UNKNOWN = 0, 1  # word ids; words start at 2
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def read_texts(
    folder: layout.DataFolder, ids: Sequence[str], *, texts: Path | None = None, index: Path | None = None
) -> dict[str, str]:
    """Read the texts of items, in the order of `ids`.

    Args:
        folder: The data folder.
        ids: Items wanted.
        texts: Folder of UTF-8 text files. None: ``text/`` in the data folder.
        index: Lines of id, tab, file name; or of id, tab, text where the name starts with ``texts_``.
            None: ``index/index_text_DATASET.tsv`` or, where there is none, ``index/texts_DATASET.tsv``.

    Raises:
        DataError: no index, or an item is not in it or has no readable file (named).
    """
    if index is None:
        known = [folder.index / f"{start}_{folder.dataset}.tsv" for start in ("index_text", "texts")]
        index = next((path for path in known if path.is_file()), None)
        if index is None:
            raise DataError(f"{known[0]}: no such file, nor {known[1].name}; one of them lists the texts of the items")
    pairs = layout.read_pairs(index)
    missing = [item for item in ids if item not in pairs]
    if missing:
        raise DataError(f"{index}: no text of item {missing[0]!r} ({len(missing)} of {len(ids)} items are missing)")
    if Path(index).name.startswith("texts_"):
        return {item: pairs[item] for item in ids}
    root = Path(texts) if texts is not None else folder.root / "text"
    return {item: _read(root / pairs[item]) for item in ids}


def read_folder(folder: Path) -> dict[str, str]:
    """Id → text of a folder of files ``ID.txt``, by id.

    Raises:
        DataError: there are none, or one is not UTF-8.
    """
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise DataError(f"{folder}: no files ID.txt")
    return {path.stem: _read(path) for path in paths}


def tokens(text: str) -> list[str]:
    """Lower-case words of a text, in any script; inner hyphens and apostrophes belong to the word."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True, eq=False)
class Tfidf:
    """A fitted TF-IDF weighting with logarithmic term frequency and unit-length rows.

    weight = (1 + ln tf) · (1 + ln((1 + n) / (1 + df))), then L2-normalised (scikit-learn's TfidfVectorizer).

    Args:
        words: The vocabulary, column order.
        idf: Inverse document frequency of each word, (words,).
        ngrams: Longest run of words that counts as a term.
    """

    words: tuple[str, ...]
    idf: np.ndarray
    ngrams: int = 1

    @classmethod
    def fit(cls, texts: Iterable[str], *, vocabulary: int = 10_000, max_df: float = 0.5, ngrams: int = 1) -> "Tfidf":
        """Learn from training texts.

        Args:
            texts: Documents.
            vocabulary: The most frequent terms kept, at most.
            max_df: Terms in more than this share of the documents are dropped, in (0, 1].
            ngrams: Longest run of words, ≥ 1.

        Raises:
            DataError: no term is left.
        """
        if vocabulary < 1 or not 0 < max_df <= 1 or ngrams < 1:
            raise ConfigError(
                f"vocabulary={vocabulary}, max_df={max_df}, ngrams={ngrams}: expected >= 1, a share in (0, 1], >= 1"
            )
        vectorizer = _vectorizer(ngrams, max_features=vocabulary, max_df=float(max_df))
        try:
            vectorizer.fit(texts)
        except ValueError as error:  # scikit-learn: empty vocabulary, no terms remain
            raise DataError(f"texts: nothing to learn from ({error})") from None
        return cls(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_, ngrams)

    def transform(self, texts: Iterable[str]) -> scipy.sparse.csr_matrix:
        """CSR float32 (texts, words), rows of length 1, or 0 for a text without known words."""
        return scipy.sparse.csr_matrix(self._vectorizer.transform(texts), dtype=np.float32)

    @cached_property
    def _vectorizer(self):
        vectorizer = _vectorizer(self.ngrams, vocabulary={word: column for column, word in enumerate(self.words)})
        vectorizer.idf_ = np.asarray(self.idf, np.float64)
        return vectorizer

    def save(self, path: Path) -> None:
        """Write as JSON."""
        values = {
            "kind": "tfidf",
            "ngrams": self.ngrams,
            "words": list(self.words),
            "idf": [float(v) for v in self.idf],
        }
        _write(path, values)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Words as ids: 0 pads, 1 is any unknown word, `words[k]` has id k + 2.

    Args:
        words: The vocabulary, most frequent first.
        length: Ids per text; longer ones are cut, shorter ones padded at the end.
    """

    words: tuple[str, ...]
    length: int = 500

    @classmethod
    def fit(
        cls, texts: Iterable[str], *, length: int = 500, vocabulary: int | None = None, min_count: int = 1
    ) -> "Sequences":
        """Learn the words of training texts, by falling frequency, then by alphabet.

        Raises:
            DataError: no word is left.
        """
        if length < 1:
            raise ConfigError(f"length={length}: expected at least 1")
        counts = collections.Counter(word for text in texts for word in tokens(text))
        ranked = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
        if not ranked:
            raise DataError(f"texts: no word occurs {min_count} times")
        return cls(tuple(ranked[:vocabulary]), length)

    def transform(self, texts: Iterable[str]) -> np.ndarray:
        """int32 (texts, length)."""
        rows = [[self._ids.get(word, UNKNOWN) for word in tokens(text)[: self.length]] for text in texts]
        result = np.full((len(rows), self.length), PADDING, np.int32)
        for row, ids in zip(result, rows, strict=True):
            row[: len(ids)] = ids
        return result

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, UNKNOWN + 1)}

    def save(self, path: Path) -> None:
        """Write as JSON."""
        _write(path, {"kind": "sequences", "length": self.length, "words": list(self.words)})


def _different(words: list[str]) -> list[str]:
    if len(set(words)) < len(words):
        raise ValueError("a word is there twice")
    return words


_Words = Annotated[list[str], Field(min_length=1), AfterValidator(_different)]


class _TfidfFile(schema.Schema):
    """What `Tfidf.save` writes."""

    ngrams: Annotated[int, Field(ge=1, le=10)]
    words: _Words
    idf: list[float]


class _SequencesFile(schema.Schema):
    """What `Sequences.save` writes."""

    length: Annotated[int, Field(ge=1, le=1 << 20)]
    words: _Words


def load_model(path: Path) -> Tfidf | Sequences:
    """Read what `Tfidf.save` or `Sequences.save` wrote.

    Raises:
        DataError: missing, or not such a file.
    """
    values = files.read_json(path)
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == "tfidf":
        weights = schema.check(_TfidfFile, values, path)
        words, idf = tuple(weights.words), np.asarray(weights.idf, np.float64)
        if len(words) != len(idf):
            raise DataError(f"{path}: {len(words)} words, but {len(idf)} weights")
        return Tfidf(words, idf, weights.ngrams)
    if kind == "sequences":
        found = schema.check(_SequencesFile, values, path)
        return Sequences(tuple(found.words), found.length)
    raise DataError(f"{path}: kind={kind!r}, expected tfidf or sequences; is it a vocabulary?")


def train_word2vec(
    texts: Iterable[str],
    *,
    dim: int = 300,
    window: int = 10,
    min_count: int = 1,
    epochs: int = 10,
    seed: int = 0,
    cbow: bool = False,
) -> dict[str, np.ndarray]:
    """Skip-gram (or CBOW) word vectors of unit length, float32 (dim,); each line of a text is a sentence.

    One thread: equal seeds give equal vectors. Source: Mikolov et al. 2013; library gensim.

    Raises:
        DataError: no word occurs `min_count` times.
    """
    from gensim.models import Word2Vec

    sentences = [words for text in texts for line in text.splitlines() if (words := tokens(line))]
    model = Word2Vec(
        vector_size=dim, window=window, min_count=min_count, sample=1e-3, sg=int(not cbow), workers=1, seed=seed
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        raise DataError(f"texts: no word occurs {min_count} times")
    model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
    return dict(zip(model.wv.index_to_key, model.wv.get_normed_vectors(), strict=True))


def embedding_matrix(
    words: Sequence[str], vectors: Mapping[str, np.ndarray], *, seed: int = 0, zero_unknown: bool = False
) -> tuple[np.ndarray, list[str]]:
    """The matrix that an embedding layer starts from.

    Args:
        words: Of `Sequences`.
        vectors: Word → vector; all of one length.
        seed: Of the rows that have no vector.
        zero_unknown: They are zero, as in the reference.

    Returns:
        float32 (len(words) + 2, dim): padding zero, unknown and words without a vector uniform in ±0.25 (Kim 2014), or
        zero; and the words without a vector.

    Raises:
        DataError: no word has a vector.
    """
    known = [word for word in words if word in vectors]
    if not known:
        raise DataError(f"word vectors: none of the {len(words)} words is among them ({', '.join(words[:5])}, …)")
    dim = len(vectors[known[0]])
    matrix = np.random.default_rng(seed).uniform(-0.25, 0.25, (len(words) + UNKNOWN + 1, dim)).astype(np.float32)
    matrix[PADDING] = 0
    if zero_unknown:
        matrix[:] = 0
    for row, word in enumerate(words, UNKNOWN + 1):
        if word in vectors:
            matrix[row] = vectors[word]
    return matrix, [word for word in words if word not in vectors]


def mean_vectors(sequences: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """Mean of the vectors of each text's known words, float32 (texts, dim); zero for a text without any."""
    result = np.zeros((len(sequences), embedding.shape[1]), np.float32)
    for row, ids in zip(result, sequences, strict=True):
        known = ids[ids > UNKNOWN]
        if len(known):
            row[:] = embedding[known].mean(axis=0)
    return result


def _vectorizer(ngrams: int, **options):
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, ngrams), dtype=np.float64, **options)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _write(path: Path, values: dict) -> None:
    with files.atomic(path) as file:  # one line: an indented list of 10,000 words is no help to read
        json.dump(values, file, ensure_ascii=False, allow_nan=False)
        file.write("\n")
