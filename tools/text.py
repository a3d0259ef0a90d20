"""Texts of items to features: TF-IDF vectors, or word-id sequences with an embedding matrix."""

import argparse
import sys

from orpheus.base import cli


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.text",
        "Turn the texts of a dataset's items into features X_SET_SETTING_DATASET of train, val and test, fitted on "
        "training items only. tfidf writes sparse .npz; word2vec writes word ids .npy and their embedding matrix.",
        example="python -m tools.text tfidf --data-dir data --dataset SUPER --setting bow",
    )
    result.add_argument("kind", choices=("tfidf", "word2vec"), help="what to make")
    result.add_argument("--data-dir", required=True, metavar="DIR", help="data folder with splits/")
    result.add_argument("--dataset", required=True, metavar="NAME", help="name of the data set, as in its file names")
    result.add_argument("--setting", required=True, metavar="SUFFIX", help="name of the features made")
    source = result.add_argument_group("input")
    source.add_argument("--texts", metavar="DIR", help="folder of text files; DIR/text of the data folder if not given")
    source.add_argument(
        "--index",
        metavar="TSV",
        help="file of id and file name; index/index_text_NAME.tsv or texts_NAME.tsv if not given",
    )
    tfidf = result.add_argument_group("tfidf")
    tfidf.add_argument(
        "--vocabulary", type=int, default=10_000, metavar="N", help="number of terms kept, most frequent first"
    )
    tfidf.add_argument(
        "--max-df", type=float, default=0.5, metavar="SHARE", help="most texts, as a share, of a term that is kept"
    )
    tfidf.add_argument("--ngrams", type=int, default=1, metavar="N", help="longest run of words that is a term")
    result.add_argument(
        "--as-reference",
        action="store_true",
        help="as load_vsm.py and load_w2v.py of tartarus: texts cut at 300 words; word2vec by CBOW, 5 epochs, unknown words "
        "zero",
    )
    word2vec = result.add_argument_group("word2vec")
    word2vec.add_argument("--length", type=int, metavar="N", help="number of word ids per text; 500 if not given")
    word2vec.add_argument("--vectors", metavar="FILE", help="word vectors (GloVe, word2vec); trained if not given")
    word2vec.add_argument("--dim", type=int, default=300, metavar="N", help="length of trained vectors")
    word2vec.add_argument(
        "--window", type=int, default=10, metavar="N", help="number of context words before and after a word"
    )
    word2vec.add_argument("--min-count", type=int, default=1, metavar="N", help="fewest occurrences of a known word")
    word2vec.add_argument("--epochs", type=int, metavar="N", help="number of passes over the texts; 10 if not given")
    word2vec.add_argument("--cbow", action="store_true", help="words from their context, not skip-gram")
    word2vec.add_argument(
        "--zero-unknown", action="store_true", help="words without a vector are zero, not drawn from ±0.25"
    )
    word2vec.add_argument("--seed", type=int, default=0, help="seed of training and of words without a vector")
    word2vec.add_argument("--mean", action="store_true", help="also write the texts' mean vectors as SUFFIX-mean")
    return result


OURS = {"length": 500, "epochs": 10, "cbow": False, "zero_unknown": False}
REFERENCE = {"length": 300, "epochs": 5, "cbow": True, "zero_unknown": True}


def body(arguments: argparse.Namespace) -> None:
    from orpheus.data.items import layout, tables, texts

    for name, value in (REFERENCE if arguments.as_reference else OURS).items():
        if getattr(arguments, name) in (None, False):
            setattr(arguments, name, value)
    folder = layout.DataFolder(arguments.data_dir, arguments.dataset)
    folder.sets()  # refuses a leak before any work
    present = {s: folder.items(s) for s in layout.SETS if folder.source(s) == s}
    ids = [item for items in present.values() for item in items]
    read = texts.read_texts(folder, ids, texts=arguments.texts, index=arguments.index)
    by_set = {subset: [read[item] for item in items] for subset, items in present.items()}

    if arguments.kind == "tfidf" and arguments.as_reference:  # words are what stands between blanks and line ends there
        by_set = {
            s: [" ".join(one.split()[: arguments.length]) for one in documents] for s, documents in by_set.items()
        }
    if arguments.kind == "tfidf":
        model = texts.Tfidf.fit(
            by_set["train"], vocabulary=arguments.vocabulary, max_df=arguments.max_df, ngrams=arguments.ngrams
        )
        features = {subset: model.transform(documents) for subset, documents in by_set.items()}
    else:
        model = texts.Sequences.fit(by_set["train"], length=arguments.length, min_count=arguments.min_count)
        features = {subset: model.transform(documents) for subset, documents in by_set.items()}
        matrix, lacking = texts.embedding_matrix(
            model.words,
            _vectors(arguments, by_set["train"], model.words),
            seed=arguments.seed,
            zero_unknown=arguments.zero_unknown,
        )
        tables.save_matrix(folder.embedding(arguments.setting), matrix)
        print(f"{folder.embedding(arguments.setting)}: {matrix.shape}, {len(lacking)} words without a vector")
        if arguments.mean:
            means = {subset: texts.mean_vectors(rows, matrix) for subset, rows in features.items()}
            for path in tables.save_sets(folder, f"{arguments.setting}-mean", means):
                print(path)
    model.save(folder.text_model(arguments.setting))
    for path, (subset, rows) in zip(
        tables.save_sets(folder, arguments.setting, features), features.items(), strict=True
    ):
        empty = int((abs(rows).sum(axis=1) == 0).sum())
        print(f"{path}: {rows.shape}, {empty} of {len(present[subset])} texts without known words")


def _vectors(arguments: argparse.Namespace, documents: list[str], words: tuple[str, ...]) -> dict:
    """Given word vectors, or trained ones."""
    if arguments.vectors:
        from orpheus.semantics import words as word_vectors

        given = word_vectors.load(arguments.vectors, words=words, progress=cli.progress)
        return dict(zip(given.names, given.matrix, strict=True))
    from orpheus.data.items import texts

    return texts.train_word2vec(
        documents,
        dim=arguments.dim,
        window=arguments.window,
        min_count=arguments.min_count,
        epochs=arguments.epochs,
        seed=arguments.seed,
        cbow=arguments.cbow,
    )


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
