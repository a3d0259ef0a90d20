"""A folder of texts to the table of vectors that a joint training takes as `--texts`."""

import argparse
import sys
from pathlib import Path

from orpheus.base import cli


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.text_vectors",
        "Turn a folder of texts, ID.txt each, into TF-IDF vectors with ids, weighted as the training songs' texts say: the "
        "file for --texts of orpheus.train.",
        example="python -m tools.text_vectors demo/data/texts --split split.json --out texts.npz",
    )
    result.add_argument("folder", metavar="DIR", help="with a text file ID.txt of each song")
    result.add_argument("--split", metavar="FILE", help="of tools.split; learned from all songs if not given")
    result.add_argument("--vocabulary", type=int, default=2000, metavar="N", help="terms kept, most frequent first")
    result.add_argument("--max-df", type=float, default=0.5, metavar="SHARE", help="drop terms of more texts than this")
    result.add_argument("--ngrams", type=int, default=1, metavar="N", help="longest run of words that is a term")
    result.add_argument("--out", required=True, type=cli.output_file(".npz"), metavar="FILE", help=".npz to write")
    return result


def body(arguments: argparse.Namespace) -> None:
    from orpheus.data.items import tables, texts
    from orpheus.data.splits import search
    from orpheus.errors import DataError

    read = texts.read_folder(Path(arguments.folder))
    training = list(read)
    if arguments.split:
        training = [song for song in search.load(arguments.split)[0]["train"] if song in read]
        if not training:
            raise DataError(f"{arguments.folder}: has a text of none of the training songs of {arguments.split}")
    model = texts.Tfidf.fit(
        [read[song] for song in training],
        vocabulary=arguments.vocabulary,
        max_df=arguments.max_df,
        ngrams=arguments.ngrams,
    )
    vectors = model.transform(read.values()).toarray()
    tables.write(arguments.out, tables.Table(str(arguments.out), tuple(read), vectors))
    empty = int((vectors.sum(axis=1) == 0).sum())
    print(f"{arguments.out}: {vectors.shape}, {empty} texts without known words")


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
