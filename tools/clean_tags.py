"""Clean raw tag annotations: which are kept, and which tags are one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import show
from orpheus.errors import DataError


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.clean_tags",
        "Clean tag annotations as those of MSD500 were (Won et al. 2021), step by step in the order below, and write "
        "them as a table: song_id, original_tag, cleaned_tag, tag_category, score. Each step says what it left.",
        example="python -m tools.clean_tags lastfm_tags.db --songs taste_profile_ids.txt --out track_tags.tsv",
    )
    result.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        type=Path,
        help="a tag database, one or several MTG-Jamendo tag files, or a table as this tool writes it",
    )
    result.add_argument("--out", type=cli.output_file(), required=True, metavar="TSV", help="table to write")
    result.add_argument("--force", action="store_true", help="replace TSV where it exists")
    result.add_argument(
        "--categories",
        type=Path,
        metavar="FILE",
        help="file of tag and category, separated by a tab, for sources without",
    )
    steps = result.add_argument_group("which annotations are kept")
    steps.add_argument("--songs", type=Path, metavar="FILE", help="ids of the only songs to keep, one per line")
    steps.add_argument(
        "--min-score", type=float, default=50, metavar="V", help="smallest score of an annotation that is kept; 0: any"
    )
    steps.add_argument("--max-tags", type=int, default=20, metavar="N", help="most tags of a song that is kept; 0: any")
    names = result.add_argument_group("which tags are one; named after the member on most songs")
    names.add_argument(
        "--no-normalise",
        dest="normalise",
        action="store_false",
        help='keep case, punctuation and spelling apart: by default "Rock \'n\' Roll" is "rock & roll", "80\'s" "eighties"',
    )
    names.add_argument(
        "--suffixes",
        nargs="*",
        default=["music", "song", "tag"],
        metavar="WORD",
        help='last words that are taken away ("rock songs" is "rock"), in singular and plural; none given: no such step',
    )
    names.add_argument(
        "--no-lemmas", dest="lemmas", action="store_false", help='keep singular and plural ("female vocalists") apart'
    )
    names.add_argument(
        "--min-songs", type=int, default=100, metavar="N", help="fewest songs of a group that is kept; 0: any"
    )
    result.add_argument(
        "--shown", type=int, default=15, metavar="N", help="number of the largest groups of several tags to print"
    )
    return result


def body(arguments: argparse.Namespace) -> None:
    """Clean, write, print the counts and the groups."""
    from orpheus.data.items import layout
    from orpheus.data.tags import annotations as tags_annotations

    if arguments.out.exists() and not arguments.force:
        raise DataError(f"{arguments.out}: exists already; give another name, or --force to replace it")
    steps = tags_annotations.Steps(
        songs=frozenset(layout.read_ids(arguments.songs)) if arguments.songs else None,
        min_score=arguments.min_score,
        max_tags=arguments.max_tags,
        normalise=arguments.normalise,
        suffixes=tuple(arguments.suffixes),
        lemmas=arguments.lemmas,
        min_songs=arguments.min_songs,
    )
    categories = layout.read_pairs(arguments.categories) if arguments.categories else None
    annotations = cli.progress(tags_annotations.read(arguments.source), desc="Reading", unit=" annotations")
    result = tags_annotations.clean(annotations, steps, categories=categories)
    tags_annotations.write(arguments.out, result.rows)
    show(("after", "songs", "tags", "annotations"), [(c.step, c.songs, c.tags, c.annotations) for c in result.counts])
    several = [(name, tags) for name, tags in result.groups.items() if len(tags) > 1]
    if several and arguments.shown:
        print(f"\n{len(several)} groups of several tags, the most frequent:")
    for name, tags in several[: arguments.shown]:
        others = [f"{tag} ({songs})" for tag, songs in tags.items() if tag != name]
        more = f", and {len(others) - 8} more" if len(others) > 8 else ""
        print(f"  {name} ({tags[name]}): {', '.join(others[:8])}{more}")
    without = len({row.cleaned for row in result.rows if not row.category})
    print(
        f"\n{arguments.out}: {len(result.rows)} annotations, {result.counts[-1].songs} songs, {len(result.groups)} tags"
        + (f", {without} of them without a category" if without else "")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
