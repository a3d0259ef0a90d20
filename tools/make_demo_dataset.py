"""The embedded demo dataset: synthetic music with tags, texts, image-like vectors and listening counts."""

import argparse
import sys
from collections.abc import Sequence

from orpheus.base import cli


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.make_demo_dataset",
        "Synthesise music whose tags can be heard and write it to OUT with tracks.csv, tags.db, texts, images.npy, plays.csv "
        "and demo.json, which says which tags are audible. The same arguments give the same bytes; a second run finds its "
        "own set and leaves it.",
        example="python -m tools.make_demo_dataset demo/data --tracks 160 --seconds 12",
    )
    result.add_argument("out", metavar="OUT", help="folder to make; missing, empty, or holding the same set already")
    result.add_argument("--tracks", type=int, default=160, metavar="N", help="number of tracks, 8 or more")
    result.add_argument("--seconds", type=float, default=12.0, metavar="S", help="length of each track, 1 to 600")
    result.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the set, 0 or more")
    return result


def body(arguments: argparse.Namespace) -> int | None:
    from orpheus.data.demo import tracks as demo_tracks

    summary = demo_tracks.make(
        arguments.out,
        tracks=arguments.tracks,
        seconds=arguments.seconds,
        seed=arguments.seed,
        progress=lambda tracks: cli.progress(tracks, desc="playing", unit="track"),
    )
    if arguments.verbose:
        state = "the same demo set is there already:" if summary.existing else "made"
        print(
            f"{summary.out}: {state} {summary.tracks} tracks of {summary.seconds:g} s by {summary.artists} artists, "
            f"{summary.tags} tags, {summary.users} users"
        )
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
