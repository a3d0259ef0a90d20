"""Join what retrieval is trained on by id: word vectors of tags and factors of songs; name what is missing."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import show
from orpheus.errors import ConfigError, DataError
from tools import _tracks

_NAMED = 10  # of the missing ones, on standard output


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.join_tables",
        "Write one table of all tags that have a word vector and one of all songs that have a tag and factors, for "
        "orpheus.train's --word-vectors and --factors. What is missing is named, all of it in DIR/missing.tsv.",
        example="python -m tools.join_tables --tags track_tags.tsv --word-vectors glove.6B.300d.txt "
        "--factors data/factors/item_factors_als_200_NAME.npy --split split.json --out joined",
    )
    _tracks.add_source(result)
    result.add_argument(
        "--word-vectors", metavar="PATH", help="word vectors of the tags (GloVe or word2vec file, TF-Hub model)"
    )
    result.add_argument(
        "--factors",
        type=Path,
        metavar="FILE",
        help="factors of the songs: tools.factorize's .npy, .npz with ids and matrix, or text, an id and numbers a line",
    )
    result.add_argument(
        "--split", type=Path, metavar="JSON", help="split of tools.split: only its songs and tags are taken"
    )
    result.add_argument(
        "--out",
        type=cli.output_folder,
        required=True,
        metavar="DIR",
        help="folder for tag_vectors.txt, factors.npz and missing.tsv",
    )
    return result


def body(arguments: argparse.Namespace) -> None:
    """Join, write, name what is missing."""
    if not arguments.word_vectors and not arguments.factors:
        raise ConfigError("give --word-vectors, --factors or both: there is nothing to join the tags with")
    import numpy as np

    from orpheus.base import files
    from orpheus.data.items import tables
    from orpheus.data.splits import search

    tracks, _ = _tracks.read(arguments)
    if arguments.split:
        splits, wanted = search.load(arguments.split)
        tracks = {song: tracks.get(song, []) for ids in splits.values() for song in ids}
        if wanted:
            tracks = {song: [tag for tag in tags if tag in set(wanted)] for song, tags in tracks.items()}
    popular = _tracks.popularity(tracks)
    if not popular:
        raise DataError("no song has a tag: do the ids of the split and of the tags agree?")
    missing: list[tuple[str, str, int]] = []
    rows = []
    if arguments.word_vectors:
        from orpheus.semantics import words

        vectors = words.load(arguments.word_vectors, words=words.needed_words(popular), progress=cli.progress)
        kept, matrix, without = words.vectors_of_tags(list(popular), vectors)
        with files.atomic(arguments.out / "tag_vectors.txt") as file:
            named: set[str] = set()
            for tag, row in zip(kept, matrix, strict=True):
                # One name for all spellings of a tag: the first, which is the most frequent.
                if (name := "_".join(words.tokens(tag))) not in named:
                    named.add(name)
                    file.write(f"{name} {' '.join(f'{value:.6g}' for value in row)}\n")
        missing += [("tag", tag, popular[tag]) for tag in without]
        rows.append(("tags", len(popular), len(kept), len(without), f"{matrix.shape[1]} dimensions"))
        tracks = {song: [tag for tag in tags if tag in set(kept)] for song, tags in tracks.items()}
    if arguments.factors:
        table = tables.read(arguments.factors)
        tagged = [song for song, tags in tracks.items() if tags]
        there = [song for song in tagged if song in table]
        values = table.dense(there)
        good = np.isfinite(values).all(axis=1) & values.any(axis=1)
        usable = {song for song, one in zip(there, good.tolist(), strict=True) if one}
        lacking = [song for song in tagged if song not in usable]
        if not usable:
            raise DataError(f"{table.name}: factors of none of the {len(tagged)} tagged songs; do the ids agree?")
        ids = tuple(song for song in tagged if song in usable)
        tables.write(arguments.out / "factors.npz", tables.Table("factors", ids, values[good]))
        missing += [("song", song, len(tracks[song])) for song in lacking]
        rows.append(("songs", len(tagged), len(ids), len(lacking), f"{table.dim} dimensions"))
    with files.atomic(arguments.out / "missing.tsv") as file:
        file.writelines(f"{kind}\t{name}\t{count}\n" for kind, name, count in missing)
    show(("what", "with tags", "joined", "missing", "in"), rows)
    for kind, counted in (("tag", "songs"), ("song", "tags")):
        names = [f"{name} ({count} {counted})" for one, name, count in missing if one == kind]
        if names:
            more = f", … all {len(names)} in {arguments.out / 'missing.tsv'}" if len(names) > _NAMED else ""
            print(f"{kind}s without {'a vector' if kind == 'tag' else 'factors'}: {', '.join(names[:_NAMED])}{more}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
