"""Where word vectors come from: GloVe text, word2vec text and binary files, TF-Hub text-embedding models.

A file is read once from front to back, and only the wanted words are kept: of GloVe's 400,000 words that is a few
megabytes instead of half a gigabyte.
"""

import gzip
import hashlib
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.base.files import content_hash
from orpheus.errors import ConfigError, DataError

KINDS = ("glove", "word2vec", "hub")
Progress = Callable[..., Iterable]


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


def _load_text(path: Path, wanted: set[str] | None, progress: Progress | None) -> Source:
    """GloVe text (word and numbers), word2vec text (the same below a line with two integers)."""
    kept, dimension, promised, number = _Kept(wanted), 0, None, 0
    try:
        with _open(path) as file:
            lines = progress(file, desc=f"Reading {path.name}", unit=" words", unit_scale=True) if progress else file
            for number, line in enumerate(lines, 1):
                line = line.rstrip()
                fields = line.count(b" ")
                if number == 1:
                    if fields == 1 and all(part.isdigit() for part in line.split(b" ")):
                        promised, dimension = map(int, line.split(b" "))
                        continue
                    dimension = fields
                    if not dimension:
                        raise DataError(f"{path}:1: expected a word and its numbers, found {_show(line)}")
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
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if promised is not None and number - 1 < promised:
        raise DataError(f"{path}: its first line promises {promised} words, it has {number - 1}; fetch it again")
    return kept.result(path, dimension)


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
            header = file.readline(100).split()
            if len(header) != 2 or not all(part.isdigit() for part in header):
                raise DataError(f"{path}: no binary word2vec file (its first line is not two integers)")
            count, dimension = map(int, header)
            size, buffer, at = 4 * dimension, b"", 0
            steps: Iterable[int] = range(1, count + 1)
            if progress:
                steps = progress(steps, desc=f"Reading {path.name}", unit=" words", unit_scale=True)
            for number in steps:
                end = buffer.find(b" ", at)
                while end < 0 or len(buffer) < end + 1 + size:
                    block = file.read(1 << 20)
                    if not block:
                        raise DataError(f"{path}: cut off at word {number} of {count}; fetch it again")
                    buffer, at = buffer[at:] + block, 0
                    end = buffer.find(b" ", at)
                # Some writers put a line feed behind each vector.
                word = buffer[at:end].lstrip(b"\n").decode("utf-8", errors="backslashreplace")
                at = end + 1 + size
                if kept.wants(word):
                    row = np.frombuffer(buffer, "<f4", dimension, end + 1).astype(np.float32)
                    if not np.isfinite(row).all():
                        raise DataError(f"{path}: word {number} ({word!r}): a number is not finite")
                    kept.add(word, row)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return kept.result(path, dimension)


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
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise DataError(f"{source}: cannot be loaded as a TF-Hub model ({str(error).splitlines()[0]})") from None
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
