"""Where word vectors come from: GloVe text, word2vec text and binary files, TF-Hub text-embedding models.

A file is read once from front to back, and only the wanted words are kept: of GloVe's 400,000 words that is a few
megabytes instead of half a gigabyte.
"""

import codecs
import gzip
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.base.files import content_hash
from orpheus.errors import ConfigError, DataError
from orpheus.semantics import pickles

KINDS = ("glove", "word2vec", "hub")
Progress = Callable[..., Iterable]
_LONGEST_LINE = 16 << 20  # bytes; a word with 300 numbers has some 3,000
_LONGEST_WORD = 4096  # bytes


class Source(NamedTuple):
    """What was read: lower-case names, (names, d) float32, where from, and the SHA-256 of that."""

    names: tuple[str, ...]
    matrix: np.ndarray
    source: str
    sha256: str


def read(
    source: str | os.PathLike,
    *,
    kind: str | None = None,
    words: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Source:
    """Read vectors of any supported kind; arguments and errors are those of `words.load`."""
    if kind not in (None, *KINDS):
        raise ConfigError(f"embedding: unknown kind {kind!r}; there are {', '.join(KINDS)}")
    text = os.fspath(source)
    wanted = None if words is None else {word.lower() for word in words}
    path = Path(text).expanduser()
    if kind == "hub" or (kind is None and ("://" in text or path.is_dir())):
        result = _load_hub(text if "://" in text else str(path), wanted, progress)
    elif not path.is_file():
        what = "is a folder; give the file of word vectors" if path.is_dir() else "no such file of word vectors"
        raise DataError(f"{path}: {what}")
    elif path.name.removesuffix(".gz").endswith(".bin"):
        result = _load_binary(path, wanted, progress)
    elif path.suffix in (".pkl", ".pickle"):
        result = _load_pickle(path, wanted)
    elif path.suffix == ".model":
        raise DataError(
            f"{path}: a model saved by gensim, a program that none but gensim should run; write its vectors with "
            "gensim.models.KeyedVectors.load(FILE).save_word2vec_format('vectors.bin', binary=True), of a whole Word2Vec "
            "with Word2Vec.load(FILE).wv, and give vectors.bin"
        )
    else:
        result = _load_text(path, wanted, progress)
    if not result.names:
        few = "" if wanted is None else f" of the {len(wanted)} wanted ones ({', '.join(sorted(wanted)[:3])}, …)"
        raise DataError(f"{text}: holds no word{few}")
    return result


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


class _Kept:
    """Collects wanted words; the lower-case spelling of a word replaces another case, a later duplicate is dropped."""

    def __init__(self, wanted: set[str] | None):
        self.wanted = wanted
        self.rows: dict[str, np.ndarray] = {}
        self.exact: set[str] = set()

    def wants(self, word: str) -> bool:
        name = word.lower()
        if self.wanted is not None and name not in self.wanted:
            return False
        return name not in self.rows or (name == word and name not in self.exact)

    def add(self, word: str, row: np.ndarray) -> None:
        name = word.lower()
        self.rows[name] = row
        if name == word:
            self.exact.add(name)

    def result(self, path: Path, dimension: int) -> Source:
        matrix = np.stack(list(self.rows.values())) if self.rows else np.zeros((0, dimension), np.float32)
        return Source(tuple(self.rows), matrix.astype(np.float32, copy=False), path.name, content_hash(path))


def _load_pickle(path: Path, wanted: set[str] | None) -> Source:
    """A pickled dict of word → vector, as published with retrieval's reference; nothing in it is run."""
    content = pickles.load(path)
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path}: a pickle of {type(content).__name__}; expected a dict of word → vector")
    kept, dimension = _Kept(wanted), None
    for word, row in content.items():
        try:
            row = np.asarray(row, np.float32)
        except (ValueError, TypeError):
            row = np.zeros(0, np.float32)
        dimension = len(row) if dimension is None and row.ndim == 1 else dimension
        if not isinstance(word, str) or row.ndim != 1 or not len(row) or len(row) != dimension:
            raise DataError(f"{path}: {word!r} has no vector of {dimension or 'any'} numbers; expected word → vector")
        if not np.isfinite(row).all():
            raise DataError(f"{path}: {word!r} has a value that is not finite")
        if kept.wants(word):
            kept.add(word, row)
    return kept.result(path, dimension or 0)


def _load_text(path: Path, wanted: set[str] | None, progress: Progress | None) -> Source:
    """GloVe text (word and numbers), word2vec text (the same below a line with two integers)."""
    kept, dimension, promised, number = _Kept(wanted), 0, None, 0
    try:
        with _open(path) as file:
            lines: Iterable[bytes] = _lines(file, path)
            if progress:
                lines = progress(lines, desc=f"Reading {path.name}", unit=" words", unit_scale=True)
            for number, line in enumerate(lines, 1):
                line = line.rstrip()
                fields = line.count(b" ")
                if number == 1:
                    if fields == 1 and all(part.isdigit() for part in line.split(b" ")):
                        promised, dimension = _promise(line.split(b" "), path)
                        continue
                    dimension = fields
                    if not dimension:
                        raise DataError(f"{path}:1: expected a word and its numbers, found {_show(line)}")
                if promised is not None and number - 1 > promised:
                    raise DataError(f"{path}:{number}: its first line promises {promised} words, here is another")
                if fields < dimension:
                    raise DataError(f"{path}:{number}: expected {dimension} numbers behind the word, found {fields}")
                # A few words of the largest GloVe files contain blanks, so the numbers are counted from the end.
                raw = line[: line.index(b" ")] if fields == dimension else line.rsplit(b" ", dimension)[0]
                # GloVe 6B has a few words in another encoding; they stay apart and harmless.
                word = raw.decode("utf-8", errors="backslashreplace")
                if fields > dimension or kept.wants(word):
                    row = _numbers(line[len(raw) + 1 :], path, number, dimension)
                    if kept.wants(word):
                        kept.add(word, row)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if promised is not None and number - 1 < promised:
        raise DataError(f"{path}: its first line promises {promised} words, it has {number - 1}; fetch it again")
    return kept.result(path, dimension)


def _lines(file: io.BufferedIOBase, path: Path) -> Iterator[bytes]:
    """Lines of a text file without its byte-order mark."""
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise DataError(f"{path}:{number}: a line of more than {_LONGEST_LINE >> 20} MB; is it text?")
        if number == 1:
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise DataError(f"{path}: is UTF-16; save it as UTF-8")
            line = line.removeprefix(codecs.BOM_UTF8)
        yield line


def _promise(parts: Sequence[bytes], path: Path) -> tuple[int, int]:
    """Words and numbers per word, as the first line of a word2vec file has them."""
    if any(len(part) > 12 for part in parts) or not all(map(int, parts)):
        raise DataError(
            f"{path}: its first line promises {_show(b' '.join(parts))}; expected words and numbers per word"
        )
    count, dimension = map(int, parts)
    return count, dimension


def _numbers(raw: bytes, path: Path, number: int, dimension: int) -> np.ndarray:
    try:
        row = np.array(raw.split(b" "), dtype=np.float32)
    except ValueError:
        raise DataError(f"{path}:{number}: expected {dimension} numbers behind the word, found {_show(raw)}") from None
    if not np.isfinite(row).all():
        raise DataError(f"{path}:{number}: a number is not finite: {_show(raw)}")
    return row


def _show(raw: bytes) -> str:
    text = raw.decode("utf-8", errors="replace")
    return repr(text[:40] + ("…" if len(text) > 40 else ""))


def _load_binary(path: Path, wanted: set[str] | None, progress: Progress | None) -> Source:
    """word2vec binary: a line "count dimension", then for each word its bytes, a blank and its little-endian floats."""
    kept = _Kept(wanted)
    try:
        with _open(path) as file:
            header = file.readline(100).removeprefix(codecs.BOM_UTF8).split()
            if len(header) != 2 or not all(part.isdigit() for part in header):
                raise DataError(f"{path}: no binary word2vec file (its first line is not two integers)")
            count, dimension = _promise(header, path)
            least = count * (4 * dimension + 2)
            if path.suffix != ".gz" and (size := path.stat().st_size) < least:
                raise DataError(f"{path}: {size} bytes are too few for {count} words; cut off, fetch it again")
            steps: Iterable[int] = range(1, count + 1)
            if progress:
                steps = progress(steps, desc=f"Reading {path.name}", unit=" words", unit_scale=True)
            records = _Records(file, 4 * dimension)
            for number in steps:
                raw, at = records.next(path, number, count)
                word = raw.decode("utf-8", errors="backslashreplace")
                if kept.wants(word):
                    row = np.frombuffer(records.buffer, "<f4", dimension, at).astype(np.float32)
                    if not np.isfinite(row).all():
                        raise DataError(f"{path}: word {number} ({word!r}): a number is not finite")
                    kept.add(word, row)
            if behind := records.rest():
                raise DataError(f"{path}: {behind} bytes or more behind the last of its {count} words; fetch it again")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return kept.result(path, dimension)


class _Records:
    """The records of a binary file, one after the other.

    The format does not say how long a word is: it ends at a blank, and a word may hold one ("new york"). So a record is
    taken to end where the next one begins like a word, behind a line feed if the first one does, and where its first
    numbers are of a size that numbers of vectors are. From a wrong blank on, they are bytes of two numbers, of any size.
    """

    def __init__(self, file: io.BufferedIOBase, size: int):
        self.file, self.size = file, size
        self.buffer, self.at = b"", 0
        self._feeds: bool | None = None  # whether a line feed follows each vector; None until the second record
        self._first_numbers = struct.Struct(f"<{min(8, size // 4)}f")

    def next(self, path: Path, number: int, count: int) -> tuple[bytes, int]:
        """The bytes of the word and where its vector begins in `buffer`."""
        self._fill(2 * (_LONGEST_WORD + self.size))
        if self.buffer[self.at : self.at + 1] == b"\n":  # some writers put one behind each vector
            self.at += 1
            self._feeds = True if self._feeds is None else self._feeds
        elif number == 2:
            self._feeds = False
        first, end = -1, self.buffer.find(b" ", self.at, self.at + _LONGEST_WORD)
        while end >= 0 and end + 1 + self.size <= len(self.buffer):
            word = self.buffer[self.at : end]
            if first < 0:
                first = end
            elif not _is_text(word):
                break
            if _is_text(word) and self._fits(end, number, count):
                return self._take(end)
            end = self.buffer.find(b" ", end + 1, self.at + _LONGEST_WORD)
        if first < 0:
            raise DataError(f"{path}: cut off at word {number} of {count}; fetch it again")
        # Neither end looks right. Words that their writer has cut within a character are the reason, if all else fits.
        word = self.buffer[self.at : first]
        if min(word, default=0) < 32 or not self._fits(first, number, count, strict=False):
            raise DataError(
                f"{path}: word {number} ({_show(word)}): cannot tell where it ends; write the vectors as text, where a "
                "word may hold blanks"
            )
        return self._take(first)

    def rest(self) -> int:
        """How many bytes follow, line feeds left out, as far as they have been read."""
        self._fill(1 << 16)
        return len(self.buffer[self.at :].strip(b"\n"))

    def _take(self, end: int) -> tuple[bytes, int]:
        word, self.at = self.buffer[self.at : end], end + 1 + self.size
        return word, end + 1

    def _fits(self, end: int, number: int, count: int, *, strict: bool = True) -> bool:
        """Whether a vector may lie behind the blank at `end`: the next word follows it, or the end of the file."""
        place = end + 1 + self.size
        start = self.buffer[place : place + _LONGEST_WORD]
        if number == count:
            return not strict or not start.strip(b"\n")  # what follows is then refused as such
        if (self._feeds and not start.startswith(b"\n")) or (self._feeds is False and start.startswith(b"\n")):
            return False
        word, blank, _ = start.removeprefix(b"\n").partition(b" ")
        if not blank or not strict:
            return bool(blank) and min(word, default=0) >= 32
        if self._feeds or not _is_text(word):
            return _is_text(word)
        numbers = self._first_numbers.unpack_from(self.buffer, end + 1)
        return 4 * sum(1e-9 < abs(value) < 1e6 or value == 0 for value in numbers) >= 3 * len(numbers)

    def _fill(self, wanted: int) -> None:
        """See that so many bytes follow in the buffer, if the file has them."""
        if len(self.buffer) - self.at >= wanted:
            return
        parts = [self.buffer[self.at :]]
        self.at = 0
        while sum(map(len, parts)) < wanted and (block := self.file.read(max(1 << 20, wanted))):
            parts.append(block)
        self.buffer = b"".join(parts)


def _is_text(word: bytes) -> bool:
    """Whether bytes are a word: UTF-8 without control characters."""
    if word.isalnum():  # ASCII only, as nearly all are
        return True
    try:
        return word.decode("utf-8").isprintable() and bool(word)
    except UnicodeDecodeError:
        return False


def _load_hub(source: str, wanted: set[str] | None, progress: Progress | None) -> Source:
    """A text-embedding SavedModel (strings in, vectors out), asked for `wanted`; zero vectors are dropped."""
    if wanted is None:
        raise ConfigError(f"{source}: a TF-Hub model has no list of words; say which words are wanted")
    try:
        import tensorflow as tf
        import tensorflow_hub as hub
    except ImportError as error:
        raise ConfigError(f"{source}: TF-Hub models need {error.name}; pip install tensorflow-hub") from None
    if "://" not in source and not Path(source, "saved_model.pb").is_file():
        raise DataError(f"{source}: no SavedModel (no saved_model.pb in it)")
    try:
        folder = hub.resolve(source)
        model = hub.load(folder)
    except Exception as error:  # a SavedModel is a program: loading one may fail with whatever that makes of it
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{source}: cannot be loaded as a TF-Hub model ({said})") from error
    if not callable(model):
        raise DataError(f"{source}: not a TF2 text-embedding model (it cannot be called with a list of strings)")
    # Joined spellings are for files whose words are joined so; a model splits text at blanks by itself.
    words = sorted(word for word in wanted if "_" not in word)
    batches: Iterable[list[str]] = [words[i : i + 512] for i in range(0, len(words), 512)]
    if progress:
        batches = progress(batches, desc="Embedding words", unit=" batches")
    rows = []
    for batch in batches:
        try:
            output = np.asarray(model(tf.constant(batch)))
        except (TypeError, ValueError, tf.errors.OpError) as error:
            raise DataError(f"{source}: does not take a list of strings ({str(error).splitlines()[0]})") from None
        if output.ndim != 2 or len(output) != len(batch) or not np.issubdtype(output.dtype, np.floating):
            raise DataError(
                f"{source}: gave {output.dtype} {output.shape} for {len(batch)} strings; expected one vector each"
            )
        rows.append(output.astype(np.float32))
    matrix = np.concatenate(rows) if rows else np.zeros((0, 1), np.float32)
    good = np.isfinite(matrix).all(1) & (np.abs(matrix).max(1, initial=0) > 0)
    names = tuple(word for word, keep in zip(words, good, strict=True) if keep)
    return Source(names, matrix[good], source, _folder_hash(Path(folder)))


def _folder_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of a SavedModel's files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + content_hash(file).encode())
    return digest.hexdigest()
