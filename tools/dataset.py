"""A public data set from its publishers' own files to tracks.csv, tags and named splits."""

import argparse
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import show
from orpheus.errors import ConfigError

NAMES = ("mtt", "msd", "jamendo", "gtzan", "fma", "mirdata")


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.dataset",
        "Read a public data set's own lists and annotations, look for its audio below AUDIO_DIR, and write DATA: tracks.csv, "
        "a csv of tags, a split-NAME.json for each published split (tools.preprocess --split-file takes it), and "
        "missing.jsonl with the tracks whose audio is missing or empty. Says whether a split is the published one.",
        example="python -m tools.dataset mtt ~/mtt/mp3 --annotations ~/mtt -o data/mtt\n  "
        "python -m tools.dataset jamendo ~/jamendo/audio --annotations ~/mtg-jamendo-dataset --splits top50tags-0 -o data/jamendo",
    )
    result.add_argument("dataset", choices=NAMES, help="data set; mirdata: any that --mirdata names")
    result.add_argument(
        "audio", type=Path, metavar="AUDIO_DIR", help="folder of its audio, searched with its subfolders"
    )
    result.add_argument(
        "--annotations", type=Path, metavar="DIR", help="folder of the publisher's lists (docs/DATASETS.md)"
    )
    result.add_argument("--mirdata", metavar="NAME", help="data set of the package mirdata; AUDIO_DIR is its data_home")
    result.add_argument(
        "--splits",
        nargs="+",
        default=[],
        metavar="NAME",
        help="splits to write; all that the annotations give (of fma: small)",
    )
    result.add_argument("-o", "--out", type=cli.output_folder, required=True, metavar="DATA", help="folder to write")
    return result


def body(arguments: argparse.Namespace) -> None:
    if (arguments.dataset == "mirdata") != (arguments.mirdata is not None):
        raise ConfigError("--mirdata NAME goes with the data set mirdata, and with no other")
    if (arguments.annotations is None) == (arguments.mirdata is None):
        raise ConfigError("give --annotations, the folder of the publisher's lists (for mirdata --mirdata instead)")
    from orpheus.data.collection import datasets
    from orpheus.data.collection.datasets import common, published
    from orpheus.runs import comparability

    audio = arguments.audio.expanduser().absolute()
    source = Path(arguments.mirdata) if arguments.mirdata else arguments.annotations.expanduser()
    found = datasets.DATASETS[arguments.dataset].read(source, audio)
    written = common.write(
        found,
        common.Audio(audio),
        arguments.out,
        name=arguments.dataset,
        splits=datasets.chosen(arguments.dataset, found, arguments.splits),
        fingerprint=comparability.of_split,
    )
    rows = []
    for one in written:
        about = {
            "sha256": one.sha256,
            "tracks": one.tracks,
            "tags": list(one.classes),
            "made": {"dataset": arguments.dataset, "split": one.name},
        }
        _, why = published.same_split(one.sha256, about)
        rows.append((one.path.name, one.tags_path.name, *one.tracks.values(), one.missing, why or "yes"))
    if rows:
        show(("split", "tags", "train", "valid", "test", "missing", "published"), rows)
    else:
        print(
            f"{arguments.mirdata} gives no split; make one: python -m tools.split --tags {arguments.out / 'tags.csv'}"
        )
    print(f"{arguments.out}: tracks.csv; tracks without audio are in {arguments.out / 'missing.jsonl'}")


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
