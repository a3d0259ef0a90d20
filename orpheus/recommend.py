"""Recommend what nobody has heard yet: items for a user or for who likes items, listeners for new items."""

import argparse
import sys

from orpheus.base import cli
from orpheus.errors import ConfigError


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.recommend",
        "Recommend held-out items by a trained recommendation run, or say who would listen to new ones. Without RUN: "
        "train on made-up listeners and show every step.",
        example="python -m orpheus.recommend data/models/model_1 --user 2 -k 5",
    )
    result.add_argument("run", nargs="?", metavar="RUN", help="folder of a run, model_N, or a data folder (its newest)")
    question = result.add_argument_group("one of")
    question.add_argument("--user", metavar="U", help="items for this user")
    question.add_argument("--item", metavar="I", nargs="+", default=[], help="items for someone who likes these")
    question.add_argument(
        "--new", metavar="FILE", nargs="+", default=[], help="users for new items: audio, text or .npy, one per input"
    )
    result.add_argument("-k", type=int, default=10, metavar="K", help="length of the list")
    result.add_argument("--among", choices=("test", "val", "train"), default="test", help="set of the items")
    result.add_argument("--data-dir", metavar="DIR", help="data folder; where the run's was if not given")
    return result


def body(arguments: argparse.Namespace) -> int:
    asked = [bool(arguments.user), bool(arguments.item), bool(arguments.new)]
    if arguments.run and sum(asked) != 1:
        raise ConfigError("give one of --user, --item and --new")
    if not arguments.run and any(asked):
        raise ConfigError("RUN is missing; it goes before --user, --item and --new")
    from orpheus.tasks.recommendation.recommender import MusicRecommender

    recommender = MusicRecommender(arguments.run, data_dir=arguments.data_dir, among=arguments.among)
    if not arguments.run:
        recommender.recommend(k=arguments.k)
        return cli.EXIT_OK
    found = recommender.recommend(user=arguments.user, items=arguments.item, new=arguments.new, k=arguments.k)
    for place, one in enumerate(found, 1):
        print(f"{place:>3}  {one.score:.4f}  {one.id}" + (f"  {one.name}" if one.name != one.id else ""))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
