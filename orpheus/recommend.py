"""Recommend what nobody has heard yet: items for a user or for who likes items, listeners for new items."""

import argparse
import sys
from pathlib import Path

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
    question.add_argument("--user", metavar="U", help="user to list items for")
    question.add_argument(
        "--item", metavar="I", nargs="+", default=[], help="items that somebody likes, to list others for"
    )
    question.add_argument(
        "--plays", metavar="FILE", help="items for a listener who was not in training: an item a line, or item, count"
    )
    question.add_argument(
        "--new",
        metavar="FILE",
        nargs="+",
        default=[],
        help="new item's audio, text or .npy, one per input, to list users for",
    )
    result.add_argument("-k", type=int, default=10, metavar="K", help="length of the list")
    result.add_argument(
        "--why", type=int, default=0, metavar="N", help="with each place N heard items and shared words that explain it"
    )
    result.add_argument(
        "--among", choices=("test", "val", "train"), default="test", help="set (train, val, test) of the items listed"
    )
    result.add_argument("--data-dir", metavar="DIR", help="data folder; where the run's was if not given")
    fit = result.add_argument_group("training first (MusicRecommender.fit)")
    fit.add_argument(
        "--fit",
        metavar="SETTING",
        nargs="*",
        help="train on the data folder RUN, by these features in the order of the inputs; without names by those there are",
    )
    fit.add_argument("--experiment", metavar="NAME", help="rec_sparse for one setting, music_recommender for two")
    fit.add_argument(
        "--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="change one value; repeatable"
    )
    fit.add_argument("--epochs", type=int, metavar="N", help="most epochs; the config's if not given")
    fit.add_argument("--seed", type=int, default=0, help="seed of weights, order, dropout and what is held out")
    return result


def body(arguments: argparse.Namespace) -> int:
    asked = [bool(arguments.user), bool(arguments.item), bool(arguments.plays), bool(arguments.new)]
    if sum(asked) > 1 or (arguments.run and arguments.fit is None and sum(asked) != 1):
        raise ConfigError("give one of --user, --item, --plays and --new")
    if not arguments.run and (any(asked) or arguments.fit is not None):
        raise ConfigError("RUN is missing; it goes before --user, --item, --plays, --new and --fit")
    if arguments.k < 1 or arguments.why < 0:
        raise ConfigError(f"-k {arguments.k}, --why {arguments.why}: must be at least 1 and 0")
    if arguments.fit is None and (arguments.experiment or arguments.set or arguments.epochs):
        raise ConfigError("--experiment, --set and --epochs are of --fit; give it, or leave them out")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ConfigError(f"--epochs {arguments.epochs}: must be at least 1")
    from orpheus.tasks.recommendation import recommender

    if not arguments.run:
        recommender.MusicRecommender().recommend(k=arguments.k)
        return cli.EXIT_OK
    plays = recommender.read_plays(Path(arguments.plays)) if arguments.plays else {}
    if arguments.fit is None:
        one = recommender.MusicRecommender(arguments.run, data_dir=arguments.data_dir, among=arguments.among)
    else:
        one = recommender.MusicRecommender(among=arguments.among).fit(
            arguments.run,
            *arguments.fit,
            experiment=arguments.experiment,
            overrides=arguments.set,
            epochs=arguments.epochs,
            seed=arguments.seed,
        )
        if not any(asked):
            return cli.EXIT_OK
    found = one.recommend(
        user=arguments.user,
        items=arguments.item,
        plays=plays,
        new=arguments.new,
        k=arguments.k,
        reasons=arguments.why,
    )
    for place, best in enumerate(found, 1):
        print(f"{place:>3}  {recommender.line(best)}")
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
