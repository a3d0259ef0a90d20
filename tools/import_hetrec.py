"""The HetRec 2011 Last.fm files to a data folder for recommendation."""

import argparse
import sys

from orpheus.base import cli


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.import_hetrec",
        "Write the HetRec 2011 Last.fm files (user_artists.dat, artists.dat, tags.dat, user_taggedartists.dat) as a "
        "data folder: artists as items, their tags as texts, splits that hold out whole artists.",
        example="python -m tools.import_hetrec hetrec2011-lastfm-2k --data-dir data --dataset HET",
    )
    result.add_argument("source", metavar="SRC", help="folder of the .dat files")
    result.add_argument("--data-dir", required=True, metavar="DIR", help="data folder, created if need be")
    result.add_argument(
        "--dataset", required=True, metavar="NAME", help="name of the data set, as in the file names made"
    )
    kept = result.add_argument_group("what is kept")
    kept.add_argument(
        "--min-listeners", type=int, default=3, metavar="N", help="fewest listeners of an artist that is kept"
    )
    kept.add_argument("--min-items", type=int, default=5, metavar="N", help="fewest artists of a user that is kept")
    kept.add_argument(
        "--classes", type=int, default=50, metavar="N", help="number of the most frequent tags that become labels"
    )
    split = result.add_argument_group("splits")
    split.add_argument(
        "--test-share", type=float, default=0.1, metavar="SHARE", help="share of the artists that is held out"
    )
    split.add_argument(
        "--val-share", type=float, default=0.1, metavar="SHARE", help="share of the other artists for validation"
    )
    split.add_argument("--seed", type=int, default=0, help="seed of the draw")
    return result


def body(arguments: argparse.Namespace) -> None:
    from orpheus.data.items import hetrec, layout

    folder = layout.DataFolder(arguments.data_dir, arguments.dataset)
    report = hetrec.convert(
        hetrec.read(arguments.source),
        folder,
        min_listeners=arguments.min_listeners,
        min_items=arguments.min_items,
        test_share=arguments.test_share,
        val_share=arguments.val_share,
        classes=arguments.classes,
        seed=arguments.seed,
    )
    print(
        "{root}: {users} users, {train} + {val} + {test} artists (train, val, test), {counts} counts; "
        "left out: {dropped_items} artists, {dropped_users} users".format(root=folder.root, **report)
    )


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
