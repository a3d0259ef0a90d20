"""Options of the commands that list songs, and what they ask of an index."""

import argparse
from typing import TYPE_CHECKING

from orpheus.errors import ConfigError

if TYPE_CHECKING:
    from orpheus.tasks.search.hits import Hit
    from orpheus.tasks.search.song_index import SongIndex


def mix(command: argparse.ArgumentParser) -> None:
    """What is asked for besides words."""
    group = command.add_argument_group("what is asked for besides words")
    group.add_argument("--listener", metavar="ID", help="a listener of the index")
    group.add_argument(
        "--history", metavar="FILE", help="songs that somebody heard: ids or paths, one a line, or an M3U8 playlist"
    )
    group.add_argument(
        "--like", metavar="SONG", nargs="+", action="extend", default=[], help="songs of the index or audio files"
    )
    group.add_argument(
        "--weight",
        metavar="PART=W",
        nargs="+",
        action="extend",
        default=[],
        help="how much words, listener, history or like count, each 1 if not given (words=1 listener=.5)",
    )


def filters(command: argparse.ArgumentParser) -> None:
    """Which songs may come."""
    group = command.add_argument_group("which songs may come")
    group.add_argument(
        "--with-tags", metavar="TAG", nargs="+", action="extend", default=[], help="songs with all of them"
    )
    group.add_argument(
        "--without-tags", metavar="TAG", nargs="+", action="extend", default=[], help="songs with none of them"
    )
    group.add_argument("--artists-once", action="store_true", help="one song of each artist")
    group.add_argument(
        "--exclude",
        metavar="SONG",
        nargs="+",
        action="extend",
        default=[],
        help="ids or paths of songs that are left out",
    )
    group.add_argument(
        "--include-heard",
        action="store_true",
        help="what the listener has heard, and the songs of --history and --like, too",
    )
    group.add_argument(
        "--diversity",
        type=float,
        default=0.0,
        metavar="D",
        help="from 0, the nearest songs, to 1, songs that differ most (maximal marginal relevance)",
    )


def playlist(command: argparse.ArgumentParser) -> None:
    """Where songs are written as a playlist."""
    command.add_argument("--playlist", metavar="FILE.m3u8", help="write the songs as a playlist, too")
    command.add_argument(
        "--relative",
        action="store_true",
        help="its paths start from its folder, so that both can be moved together",
    )


def hits(index: "SongIndex", arguments: argparse.Namespace, text: str) -> "list[Hit]":
    """The songs that a command asks for; `text` is the query of a search."""
    from orpheus.tasks.search import listeners
    from orpheus.tasks.search.filters import Filters
    from orpheus.tasks.search.mixing import Mix

    if arguments.action == "path":
        return index.path(arguments.start, arguments.end, arguments.steps)
    filters = Filters(
        tags=arguments.with_tags,
        without=arguments.without_tags,
        artists_once=arguments.artists_once,
        exclude=arguments.exclude,
        include_heard=arguments.include_heard,
    )
    if arguments.action == "similar":
        return index.similar(arguments.song, arguments.k, filters=filters, diversity=arguments.diversity)
    history = listeners.read_history(arguments.history) if arguments.history else []
    mix = Mix(
        listener=arguments.listener, history=history, like=arguments.like, weights=dict(map(_weight, arguments.weight))
    )
    if arguments.action == "recommend" and arguments.listener is None and not (history or arguments.like):
        raise ConfigError("nobody to recommend for: give --listener, --history or --like")
    if arguments.action == "search" and not text.strip():
        index.parse(text)  # which says what a query is made of
    return index.search(text, arguments.k, mix=mix, filters=filters, diversity=arguments.diversity)


def _weight(text: str) -> tuple[str, float]:
    part, _, number = text.partition("=")
    try:
        return part, float(number)
    except ValueError:
        raise ConfigError(f"--weight {text}: expected PART=NUMBER, as words=1 or listener=.5") from None
