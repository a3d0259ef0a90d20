"""The csv of tracks, and a tag database of their genres, from a folder of music."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from orpheus.tasks import plan


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.scan_audio",
        "Measure every audio file below FOLDER and write the csv that tools.preprocess reads. Beside tracks.csv, "
        "tracks.failures.jsonl lists unreadable files, tracks.duplicates.jsonl identical ones (kept once) and "
        "tracks.filtered.jsonl those that the limits leave out.",
        example="python -m tools.scan_audio ~/Music tracks.csv --tags-db tags.db --min-seconds 10",
    )
    result.add_argument("folder", metavar="FOLDER", help="folder that is searched with all its subfolders")
    result.add_argument(
        "csv",
        type=cli.output_file(),
        metavar="CSV",
        help="csv to write; paths in it are relative to its folder where files are below",
    )
    result.add_argument(
        "--tags-db", type=cli.output_file(), metavar="DB", help="write the files' genre fields as tags too"
    )
    result.add_argument("--force", action="store_true", help="replace CSV and DB where they exist")
    result.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of processes; the result does not depend on it",
    )
    plan.DAMAGED.add_to(result)
    limits = result.add_argument_group("limits", "files outside them are listed as filtered; silence is below -60 dBFS")
    limits.add_argument("--min-seconds", type=float, metavar="S", help="seconds of the shortest file")
    limits.add_argument("--max-seconds", type=float, metavar="S", help="seconds of the longest file")
    limits.add_argument("--min-bytes", type=int, metavar="N", help="bytes of the smallest file")
    limits.add_argument("--max-bytes", type=int, metavar="N", help="bytes of the largest file")
    limits.add_argument("--min-sample-rate", type=int, metavar="HZ", help="lowest sample rate")
    limits.add_argument(
        "--max-silence-share", type=float, metavar="P", help="largest share of the length that is silent, 0 to 1"
    )
    limits.add_argument(
        "--max-silence-seconds", type=float, metavar="S", help="seconds of the longest silence in one piece"
    )
    return result


def body(arguments: argparse.Namespace) -> int | None:
    for path in (arguments.csv, arguments.tags_db):
        if path and Path(path).exists() and not arguments.force:
            raise DataError(f"{path}: exists already; give another name, or --force to replace it")
    if arguments.workers < 1:
        raise ConfigError(f"--workers {arguments.workers}: must be at least 1")

    from dataclasses import fields

    from orpheus.data.collection import scan

    limits = scan.Limits(**{limit.name: getattr(arguments, limit.name) for limit in fields(scan.Limits)})
    result = scan.scan(
        arguments.folder,
        base=Path(arguments.csv).parent,
        limits=limits,
        workers=arguments.workers,
        damaged=arguments.damaged,
        progress=lambda files, total, what: cli.progress(files, total=total, desc=what, unit="file"),
    )
    tags = scan.write(result, arguments.csv, tags_path=arguments.tags_db)
    for note in result.notes:
        print(note, file=sys.stderr)
    hours = sum(track.seconds for track in result.tracks) / 3600
    print(
        f"{arguments.csv}: {len(result.tracks)} tracks, {hours:.2f} hours; {len(result.failures)} unreadable, "
        f"{len(result.duplicates)} duplicates, {len(result.filtered)} filtered"
    )
    if arguments.tags_db:
        tagged = len({track_id for track_id, _, _ in result.genres})
        print(f"{arguments.tags_db}: {tags['tags']} tags on {tagged} tracks")
    return None


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
