"""Train word vectors on one's own tags or texts: music's words near music's words."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from tools import _tracks


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.train_word_vectors",
        "Train word2vec (skip-gram, gensim) on tag lists or texts. Whole tags become words too (smooth_jazz), so that "
        "the vector of a tag is its own where it is frequent enough.",
        example="python -m tools.train_word_vectors --tags lastfm_tags.db --out music.txt",
    )
    corpus, vectors = result.add_argument_group("corpus"), result.add_argument_group("vectors")
    _tracks.add_source(corpus)
    source = next(action for action in result._actions if action.dest == "tags")
    source.required = False
    corpus.add_argument("--texts", type=Path, nargs="+", metavar="FILE", help="texts, one document per line")
    result.add_argument(
        "--out",
        type=cli.output_file(),
        required=True,
        metavar="FILE",
        help="word2vec file: .bin is binary, others text",
    )
    vectors.add_argument("--dimension", type=int, default=100, metavar="D", help="length of the vectors")
    vectors.add_argument("--epochs", type=int, default=20, help="number of passes over the corpus")
    vectors.add_argument(
        "--min-count", type=int, default=5, metavar="N", help="fewest occurrences of a word that is kept"
    )
    vectors.add_argument(
        "--window",
        type=int,
        default=5,
        metavar="N",
        help="number of words around a word, in texts; a tag list is one window",
    )
    vectors.add_argument(
        "--sample",
        type=float,
        default=1e-3,
        metavar="S",
        help="frequency above which words are thinned out; 0 for none",
    )
    vectors.add_argument("--seed", type=int, default=0, help="seed of the vectors")
    return result


def sentences_of_tags(tag_lists) -> list[list[str]]:
    """Of each tag list one sentence: every tag as one word, and the words of tags that have several."""
    from orpheus.semantics.words import tokens

    result = []
    for tags in tag_lists:
        split = [tokens(tag) for tag in tags]
        sentence = [
            word for words in split if words for word in (("_".join(words), *words) if len(words) > 1 else words)
        ]
        if len(sentence) > 1:
            result.append(sentence)
    return result


def sentences_of_texts(paths: list[Path]) -> Iterator[list[str]]:
    """Of each line its words."""
    from orpheus.semantics.words import tokens

    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                yield from (list(words) for line in file if (words := tokens(line)))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def train(
    sentences: list[list[str]],
    *,
    dimension: int,
    epochs: int,
    min_count: int,
    window: int,
    seed: int,
    sample: float = 1e-3,
    progress=None,
):
    """Train; returns (names, (n, d) float32 matrix), most frequent first.

    One worker and a fixed seed, so that two runs agree to the last bit.

    Raises:
        ConfigError: a setting below 1.
        DataError: no word is frequent enough.
    """
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    for name, value in {"dimension": dimension, "epochs": epochs, "min-count": min_count, "window": window}.items():
        if value < 1:
            raise ConfigError(f"--{name} {value}: must be at least 1")

    bar = progress(total=epochs, desc="Training", unit=" epochs") if progress else None

    class Tick(CallbackAny2Vec):
        def on_epoch_end(self, model):
            if bar is not None:
                bar.update()

    try:
        model = Word2Vec(
            sentences,
            vector_size=dimension,
            window=window,
            min_count=min_count,
            sg=1,
            negative=10,
            sample=sample,
            epochs=epochs,
            seed=seed,
            workers=1,
            callbacks=[Tick()],
        )
    except RuntimeError as error:
        raise DataError(
            f"no word occurs {min_count} times in {len(sentences)} sentences ({error}); lower --min-count"
        ) from None
    finally:
        if bar is not None:
            bar.close()
    return model.wv.index_to_key, model.wv.vectors


def write(path: Path, names: list[str], matrix) -> None:
    """Write a word2vec file, binary for .bin, else text, atomically."""
    import numpy as np

    from orpheus.base.files import atomic

    binary = path.suffix == ".bin"
    with atomic(path, "wb") as file:
        file.write(f"{len(names)} {matrix.shape[1]}\n".encode())
        for name, row in zip(names, matrix, strict=True):
            if binary:
                file.write(name.encode() + b" " + np.asarray(row, "<f4").tobytes())
            else:
                file.write(f"{name} {' '.join(f'{value:.6g}' for value in row)}\n".encode())


def body(arguments: argparse.Namespace) -> None:
    """Train, write, and show a few neighbours."""
    if bool(arguments.tags) == bool(arguments.texts):
        raise ConfigError("give either --tags or --texts")
    if arguments.tags:
        tracks, _ = _tracks.read(arguments)
        sentences = sentences_of_tags(tracks.values())
        window = max(map(len, sentences), default=1)
    else:
        sentences = list(cli.progress(sentences_of_texts(arguments.texts), desc="Reading", unit=" lines"))
        window = arguments.window
    names, matrix = train(
        sentences,
        dimension=arguments.dimension,
        epochs=arguments.epochs,
        min_count=arguments.min_count,
        window=window,
        seed=arguments.seed,
        sample=arguments.sample,
        progress=cli.progress,
    )
    write(arguments.out, names, matrix)
    print(f"{arguments.out}: {len(names)} words of {matrix.shape[1]} dimensions, from {len(sentences)} sentences")
    for name, near in neighbours(names, matrix):
        print(f"  {name}: {', '.join(near)}")


def neighbours(names: list[str], matrix, *, of: int = 5, count: int = 5) -> list[tuple[str, list[str]]]:
    """The nearest words of the most frequent ones, to evaluate by eye."""
    import numpy as np

    unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    order = np.argsort(-(unit[:of] @ unit.T), axis=1)[:, 1 : count + 1]
    return [(names[i], [names[j] for j in row]) for i, row in enumerate(order)]


def main(argv=None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
