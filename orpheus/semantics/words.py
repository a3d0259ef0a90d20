"""Word vectors, and the vector of a whole tag.

Tags of listeners are spelled as they please: `Hip-Hop`, `hip hop` and `hiphop` get one vector here, so do `80s`,
`1980s` and `80's`. The vector of a tag is the normalised sum of its words' vectors, unless the source knows the whole
tag (`smooth_jazz`).
"""

import functools
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from orpheus.base.same_words import LONGEST_RUN, SAME_WORDS
from orpheus.errors import DataError
from orpheus.semantics import vector_files

_CANONICAL = {tuple(other.split()): tuple(first.split()) for first, *others in SAME_WORDS for other in others}
# Names under which a source may hold a canonical run, besides its words joined by a blank, _ or -.
_NAMES = {tuple(first.split()): tuple(other for other in others if " " not in other) for first, *others in SAME_WORDS}
_NAMES["r", "and", "b"] = ("r&b", "rnb")
_DECADES = {
    "00": "noughties",
    "10": "tens",
    "20": "twenties",
    "30": "thirties",
    "40": "forties",
    "50": "fifties",
    "60": "sixties",
    "70": "seventies",
    "80": "eighties",
    "90": "nineties",
}
_NAMES |= {
    (word,): (f"{'20' if digits in ('00', '10') else '19'}{digits}s", f"{digits}s") for digits, word in _DECADES.items()
}
_DECADE = re.compile(r"(?:19|20)?(\d0)s")
_LONGEST = 4  # words of a tag that are looked up together, the whole tag apart


@dataclass(frozen=True)
class WordVectors:
    """Vectors of words as they stand in their source, not normalised.

    Attributes:
        names: Words, or whole tags joined by ``_``; lower case.
        matrix: (len(names), d) float32.
        source: Where they are from: a file's name, or the address of a TF-Hub model.
        sha256: Hash of the source's content, for the provenance of what is made with them.
    """

    names: tuple[str, ...]
    matrix: np.ndarray
    source: str = ""
    sha256: str = ""
    index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.names):
            raise DataError(f"{self.source}: {len(self.names)} words but a matrix of shape {self.matrix.shape}")
        object.__setattr__(self, "index", {name: row for row, name in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self.index

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        return self.matrix.shape[1]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.matrix[self.index[name]]


def load(
    source: str | os.PathLike,
    *,
    kind: str | None = None,
    words: Iterable[str] | None = None,
    progress: vector_files.Progress | None = None,
) -> WordVectors:
    """Load word vectors of any supported kind.

    A file is read once from front to back and only the wanted words are kept: of GloVe's 400,000 words that is a few
    megabytes instead of half a gigabyte.

    Args:
        source: A file (.txt, .vec, .bin, each also .gz), or for TF-Hub an address or a folder with saved_model.pb.
        kind: ``"glove"``, ``"word2vec"``, ``"hub"``; None tells by the source: a folder or an address is a hub model,
            ``.bin`` is binary word2vec, a text file whose first line is two integers is word2vec, others are GloVe.
        words: Only these, compared in lower case; None for all. A hub model, which has no list of words, needs it
            (see `needed_words`).
        progress: Called as ``progress(iterable, desc=…, unit=…)`` and iterated instead, for example `cli.progress`.

    Returns:
        The vectors; names in lower case. Where a source holds a word in several cases the lower-case one wins, else
        the first.

    Raises:
        ConfigError: an unknown kind, a hub model without `words`, tensorflow_hub missing.
        DataError: the source is missing or malformed (file, line and what is wrong), or knows none of `words`.

    Example:
        >>> tags = ["Hip-Hop", "80s"]
        >>> vectors = load("glove.6B.50d.txt", words=needed_words(tags))  # doctest: +SKIP
    """
    return WordVectors(*vector_files.read(source, kind=kind, words=words, progress=progress))


@functools.lru_cache(maxsize=1 << 16)  # the same tags are compared again and again, as in every hit of a search
def tokens(tag: str) -> tuple[str, ...]:
    """The words of a tag in their canonical spelling.

    Lower case; punctuation separates, except that apostrophes vanish and ``&`` (and a lone ``n``) is *and*; decades
    are written out; the spellings of hip hop, rhythm and blues and the like are unified.

    >>> tokens("Underground Hip-Hop"), tokens("80's"), tokens("R&B")
    (('underground', 'hip', 'hop'), ('eighties',), ('r', 'and', 'b'))
    """
    text = unicodedata.normalize("NFKC", tag).lower()
    text = re.sub(r"[’'`´]n[’'`´]", " and ", text).replace("&", " and ")
    text = re.sub(r"(?<=\w)[’'`´]", "", text)
    words = [word for word in re.split(r"[\W_]+", text) if word]
    words = ["and" if word == "n" and 0 < i < len(words) - 1 else word for i, word in enumerate(words)]
    result: list[str] = []
    i = 0
    while i < len(words):
        for length in range(LONGEST_RUN, 0, -1):
            run = tuple(words[i : i + length])
            if len(run) == length and run in _CANONICAL:
                result += _CANONICAL[run]
                break
        else:
            length = 1
            decade = _DECADE.fullmatch(words[i])
            result.append(_DECADES[decade[1]] if decade else words[i])
        i += length
    return tuple(result)


def _names_of(run: tuple[str, ...]) -> Iterator[str]:
    """Under which names a source may hold a run of words, in order of preference."""
    if len(run) > 1:
        yield from (" ".join(run), "_".join(run), "-".join(run))
        yield from _NAMES.get(run, ())
        return
    yield run[0]
    yield from _NAMES.get(run, ())
    plain = "".join(c for c in unicodedata.normalize("NFKD", run[0]) if not unicodedata.combining(c))
    if plain != run[0]:
        yield plain


def _runs(words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """(start, end) of every run that is looked up: the whole tag and runs of at most `_LONGEST` words."""
    if len(words) > _LONGEST:
        yield 0, len(words)
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
            yield start, end


def needed_words(tags: Iterable[str]) -> set[str]:
    """Every name that `tag_vector` may ask a source for, so that loading can skip all others."""
    needed: set[str] = set()
    for tag in tags:
        words = tokens(tag)
        for start, end in _runs(words):
            needed.update(_names_of(words[start:end]))
        needed.update("".join(pair) for pair in itertools.pairwise(words))
    return needed


def tag_vector(tag: str, vectors: WordVectors, *, unit: bool = True) -> np.ndarray | None:
    """The unit vector of a tag, or None where the source knows none of its words.

    The whole tag is looked up first (``smooth_jazz``, ``hip-hop``), then from left to right the longest run of words
    the source knows; the found vectors are summed and the sum divided by its length. Unknown words add nothing.

    Args:
        tag: As the listener wrote it.
        vectors: The source.
        unit: False for the mean of the found vectors as they are, of their own lengths.

    Returns:
        (d,) float32 of length 1 if `unit`; None as well where the words' vectors cancel out.
    """
    words = tokens(tag)
    for name in _names_of(words) if words else ():
        if name in vectors:
            return _scaled(vectors[name], unit)
    total, count = np.zeros(vectors.dimension, np.float64), 0
    i = 0
    while i < len(words):
        for end in range(min(i + _LONGEST, len(words)), i, -1):
            found = next((name for name in _names_of(words[i:end]) if name in vectors), None)
            if found is not None:
                break
        else:
            # "dream pop" where the source has neither word by itself but `dreampop`. Only then: glued words are often
            # other words ("the rapist").
            end, found = i + 1, "".join(words[i : i + 2])
            if found in vectors and len(words) > i + 1:
                end = i + 2
            else:
                found = None
        if found is not None:
            total += vectors[found]
            count += 1
        i = end
    return _scaled(total / max(count, 1), unit)


def _scaled(vector: np.ndarray, unit: bool) -> np.ndarray | None:
    """A vector at length 1, or as it is; None where it has no direction."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return (vector / (length if unit else 1.0)).astype(np.float32) if length > 1e-12 else None


def vectors_of_tags(
    tags: Sequence[str], vectors: WordVectors, *, unit: bool = True
) -> tuple[list[str], np.ndarray, list[str]]:
    """The unit vectors of many tags.

    Args:
        tags: Any order; the result keeps it.
        vectors: The source.
        unit: As in `tag_vector`.

    Returns:
        The tags that have a vector, their (kept, d) float32 rows, and the tags that have none.
    """
    kept, rows, missing = [], [], []
    for tag in tags:
        row = tag_vector(tag, vectors, unit=unit)
        if row is None:
            missing.append(tag)
        else:
            kept.append(tag)
            rows.append(row)
    matrix = np.stack(rows) if rows else np.zeros((0, vectors.dimension), np.float32)
    return kept, matrix, missing


def similarity(classes: Sequence[str], vectors: WordVectors) -> np.ndarray:
    """Cosine similarity of every pair of classes: what the embedding-aware loss takes.

    Args:
        classes: Tags in column order.
        vectors: The source.

    Returns:
        (n, n) float32, symmetric, within [-1, 1], ones on the diagonal; rows and columns of classes without a vector
        are nan, their diagonal included.

    Raises:
        DataError: no class has a vector.
    """
    kept, rows, _ = vectors_of_tags(list(dict.fromkeys(classes)), vectors)
    if not kept:
        raise DataError(
            f"{vectors.source}: knows no word of the {len(classes)} classes ({', '.join(classes[:3])}, …); "
            "give word vectors of the tags' language"
        )
    row_of = dict(zip(kept, rows, strict=True))
    all_rows = np.stack([row_of.get(tag, np.full(vectors.dimension, np.nan, np.float32)) for tag in classes])
    known = ~np.isnan(all_rows[:, 0])
    result = np.full((len(classes), len(classes)), np.nan, np.float32)
    block = np.clip(all_rows[known] @ all_rows[known].T, -1, 1)
    np.fill_diagonal(block, 1)
    result[np.ix_(known, known)] = (block + block.T) / 2
    return result
