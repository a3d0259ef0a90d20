"""One HTML page about one or more runs: curves, classes with intervals, confusions, tracks to listen to, differences."""

import argparse
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.errors import ConfigError


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.report",
        "Write one self-contained HTML page about runs that orpheus.evaluate has measured: curves, means, classes and groups "
        "of them with 95 % intervals, distributions, confusions, co-occurrence, tracks to listen to, the configuration. "
        "Several runs of one task are compared with the first, paired on the same tracks.",
        example="python -m orpheus.report runs/mel_A runs/mel_B -o report.html --tracks tracks.csv",
    )
    result.add_argument(
        "runs", metavar="RUN", nargs="+", help="run folders (also model_1 of an experiment), six at most"
    )
    result.add_argument(
        "-o", "--out", type=cli.output_file(), default="report.html", metavar="HTML", help="page to write"
    )
    what = result.add_argument_group("what is shown")
    what.add_argument(
        "--split", choices=("train", "valid", "test"), default="test", help="split whose evaluation is shown"
    )
    what.add_argument(
        "--groups",
        metavar="JSON",
        help='groups of tags, {"groups": {"genres": ["rock", …]}}; a *_groups.json of dictionaries/ that fits if not given',
    )
    what.add_argument("--title", help="title of the page; the runs' names if not given")
    what.add_argument("--data-dir", metavar="DIR", help="data folder of experiments named as model_1")
    what.add_argument(
        "--different-splits", action="store_true", help="show runs over different splits, whose numbers do not compare"
    )
    sound = result.add_argument_group("tracks to listen to")
    sound.add_argument(
        "--tracks",
        metavar="CSV",
        nargs="+",
        default=[],
        help="csv of tracks (track_id, audio_path), where the audio is",
    )
    sound.add_argument(
        "--count", type=int, default=4, metavar="N", help="number of tracks, from the best scored to the worst"
    )
    sound.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="seconds of each track's sound in the page"
    )
    return result


def body(arguments: argparse.Namespace) -> int:
    if len(arguments.runs) > 6:
        raise ConfigError(f"{len(arguments.runs)} runs: a report shows six at most")
    if arguments.count < 0 or not arguments.seconds > 0:
        raise ConfigError(f"--count {arguments.count}, --seconds {arguments.seconds:g}: must be at least 0 and above 0")
    from orpheus.base import files
    from orpheus.data.splits import leaks
    from orpheus.runs import finding
    from orpheus.tasks.report import page as report_page

    runs = [finding.find_run(name, arguments.data_dir) for name in arguments.runs]
    page = report_page.build(
        runs,
        split=arguments.split,
        groups=arguments.groups,
        paths=leaks.read_facts(arguments.tracks).paths if arguments.tracks else {},
        tracks=arguments.count,
        seconds=arguments.seconds,
        different_splits=arguments.different_splits,
        title=arguments.title,
        progress=lambda items: cli.progress(items, desc="tracks", unit="track"),
    )
    out = Path(arguments.out).expanduser()
    with files.atomic(out) as file:
        file.write(page)
    print(out)
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
