"""Look into a tag database (Last.fm schema) or a tag file (MTG-Jamendo's), and write a cleaned copy."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import show
from orpheus.errors import ConfigError, DataError


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.lastfm",
        "Look into a tag database, and write a cleaned copy of it.",
        example="python -m tools.lastfm tags.db top -n 20\n  "
        "python -m tools.lastfm tags.db clean clean.db --drop dictionaries/tags_remove.txt",
    )
    result.add_argument(
        "source", metavar="DB", help="tag database (SQLite: tids, tags, tid_tag) or tab-separated tag file"
    )
    actions = result.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=cli.SubParser)

    top = actions.add_parser("top", help="most frequent tags: their tracks, and what the list covers up to there")
    top.add_argument("-n", "--number", type=int, default=50, help="number of lines; 0 for all")
    top.add_argument("--min-tracks", type=int, default=1, help="fewest tracks of a tag that is listed")

    tags = actions.add_parser("tags", help="tags of one or several tracks, heaviest first")
    tags.add_argument("tracks", nargs="+", metavar="TRACK", help="track id")

    tracks = actions.add_parser("tracks", help="tracks that have a tag, heaviest first")
    tracks.add_argument("tag", metavar="TAG", help="the tag, in its own case")
    tracks.add_argument("-n", "--number", type=int, default=0, help="number of lines; 0 for all")

    spellings = actions.add_parser("spellings", help="which spellings a cleaned copy would merge")
    clean = actions.add_parser(
        "clean",
        help="write a copy with spellings merged, and with tags dropped and combined",
        description="Spellings of one tag become the most frequent one: case, punctuation and a final s are ignored, "
        '"&", "n" and "and" are equal, and so are "80s", "1980s" and "eighties".',
    )
    clean.add_argument("output", type=cli.output_file(), metavar="OUT", help="database to write")
    clean.add_argument("--force", action="store_true", help="replace OUT where it exists")
    for action in (spellings, clean):
        action.add_argument("--drop", metavar="FILE", help="file of tags to leave out, in any spelling, one per line")
        action.add_argument(
            "--combine",
            metavar="FILE",
            help="file of tags to join, one group per line, separated by tabs; the first is the name",
        )
    for action in (top, tags, tracks):
        action.add_argument("--min-val", type=float, default=0, help="smallest weight that counts, 0 to 100")
    for action in (top, tags, tracks, spellings):
        action.add_argument("--csv", action="store_true", help="comma-separated instead of a table")
    return result


def body(arguments: argparse.Namespace) -> int | None:
    from orpheus.data.tags.files import open_tags

    source = open_tags(arguments.source)
    {"top": _top, "tags": _tags, "tracks": _tracks, "spellings": _spellings, "clean": _clean}[arguments.action](
        source, arguments
    )
    return None


def _top(source, arguments: argparse.Namespace) -> None:
    popularity = source.popularity(min_val=arguments.min_val)
    total, tracks = sum(count for _, count in popularity), source.track_count()
    covered, table = 0, []
    for rank, (tag, count) in enumerate(popularity, 1):
        covered += count
        if count < arguments.min_tracks or 0 < arguments.number < rank:
            break
        table.append((rank, tag, count, f"{100 * count / tracks:.2f}", f"{100 * covered / total:.2f}"))
    show(("rank", "tag", "tracks", "% of tracks", "% of counts up to here"), table, arguments.csv)
    if not arguments.csv:
        print(f"{len(popularity)} tags, {tracks} tracks, {total} counts")


def _tags(source, arguments: argparse.Namespace) -> None:
    table = []
    for track_id in arguments.tracks:
        weights = source.tag_weights(track_id)
        if not weights:
            raise DataError(f"{arguments.source}: no tags of track {track_id!r}; ids are case-sensitive")
        table.extend((track_id, tag, f"{val:g}") for tag, val in weights if val >= arguments.min_val)
    show(("track_id", "tag", "val"), table, arguments.csv)


def _tracks(source, arguments: argparse.Namespace) -> None:
    found = source.track_weights(arguments.tag)
    if not found:
        raise DataError(
            f"{arguments.source}: no track has the tag {arguments.tag!r}; {_nearest(source, arguments.tag)}"
        )
    found = [(track_id, f"{val:g}") for track_id, val in found if val >= arguments.min_val]
    show(("track_id", "val"), found[: arguments.number or None], arguments.csv)


def _nearest(source, tag: str) -> str:
    """What the user may have meant: another spelling, or else similar letters among the frequent tags."""
    import difflib

    from orpheus.data.tags.spelling import spelling_key

    names = [name for name, _ in source.popularity()]
    same = [name for name in names if spelling_key(name) == spelling_key(tag)]
    near = same or difflib.get_close_matches(tag, names[:5000])
    return f"nearest: {', '.join(near[:5])}" if near else "see the list of tags: top -n 0"


def _spellings(source, arguments: argparse.Namespace) -> None:
    counts = dict(source.popularity())
    table = [
        (name, tag, counts[tag]) for name, tags in sorted(_cleaning(source, arguments).groups.items()) for tag in tags
    ]
    show(("name", "spelling", "tracks"), table, arguments.csv)


def _clean(source, arguments: argparse.Namespace) -> None:
    if Path(arguments.output).exists() and not arguments.force:
        raise DataError(f"{arguments.output}: exists already; give another name, or --force to replace it")
    cleaning = _cleaning(source, arguments)
    report = cleaning.write(arguments.output)
    print(
        f"{arguments.output}: {report['tags']} tags became {report['tags_left']}: {report['merged']} merged into "
        f"{report['groups']} names, {report['dropped']} dropped; {report['tracks_left']} of "
        f"{source.track_count()} tracks, {report['rows_left']} rows"
    )


def _cleaning(source, arguments: argparse.Namespace):
    from orpheus.data.tags.database import clean

    drop = _lines(arguments.drop)
    combine = [line.split("\t") for line in _lines(arguments.combine)]
    for tags in combine:
        if len(tags) < 2 or not all(tags):
            raise ConfigError(
                f"{arguments.combine}: {' '.join(tags)!r} must be two or more tags separated by single tabs"
            )
    cleaning = clean(source, drop=drop, combine=combine)
    if cleaning.unknown:
        print(f"not in {arguments.source} in any spelling: {', '.join(cleaning.unknown)}", file=sys.stderr)
    return cleaning


def _lines(path: str | None) -> list[str]:
    """The file's lines without empty ones; nothing for no path."""
    if path is None:
        return []
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
