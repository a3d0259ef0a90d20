"""Where tools take the tags of tracks from: any of the project's own sources, by the look of the path."""

import argparse
from pathlib import Path
from typing import Any

HELP = (
    "tags of tracks: a tag database, one or several tag files (TSV), a table of tools.clean_tags, a folder of records, "
    "its manifest.jsonl, or the HetRec Last.fm folder (artists as tracks)"
)


def add_source(parser: argparse._ActionsContainer) -> None:
    """The flags --tags, --min-val and --multi-db-default."""
    parser.add_argument("--tags", type=Path, nargs="+", required=True, metavar="SOURCE", help=HELP)
    parser.add_argument(
        "--min-val",
        type=float,
        default=0,
        metavar="V",
        help="smallest weight of a tag that counts: 0 to 100 of a database or table, users per artist of HetRec",
    )
    parser.add_argument(
        "--multi-db-default",
        type=int,
        default=0,
        metavar="N",
        help="number of the tag database, from 0, of records that hold several",
    )


def read(arguments: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Track id → tags, and the source's name and hash for the provenance of what is made of them.

    Raises:
        DataError: a source is missing, unreadable, or of no known kind.
    """
    from orpheus.data.tags import sources

    return sources.read(arguments.tags, min_val=arguments.min_val, database=arguments.multi_db_default)


def popularity(tracks: dict[str, list[str]]) -> dict[str, int]:
    """Tag → number of tracks, most frequent first, ties by tag."""
    from orpheus.data.tags.targets import popularity

    return dict(popularity(tracks.values()))
