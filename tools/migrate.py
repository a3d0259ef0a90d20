"""Describe records of the reference or its predecessor: spec.json and manifest.jsonl beside them."""

import argparse
import sys

from orpheus.base import cli


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.migrate",
        "Look at records that Music_Tagger_on_Word_Embeddings or its predecessor made, say what they are, and write spec.json "
        "and manifest.jsonl beside them: format, mel bands, clipping of decibels, names of one-hot tags, split. The records "
        "stay as they are.",
        example="python -m tools.migrate /srv/data/tfrecords/log-mel-complete --lastfm lastfm_tags.db",
    )
    result.add_argument("folder", metavar="FOLDER", help="folder that holds *.tfrecord files and no spec.json")
    result.add_argument(
        "--lastfm",
        metavar="DB",
        help="tag database the records were made with; the rows of its table tags name positions",
    )
    result.add_argument(
        "--format",
        choices=("waveform", "log-mel-spectrogram"),
        help="format of the records, where their names and values disagree",
    )
    result.add_argument("--sr", type=int, default=16000, metavar="HZ", help="sample rate")
    result.add_argument("--n-fft", type=int, default=2048, metavar="SAMPLES", help="window of spectrograms")
    result.add_argument(
        "--hop-length", type=int, default=512, metavar="SAMPLES", help="step between frames; 512 in the reference"
    )
    result.add_argument("--mels", type=int, metavar="N", help="mel bands; found out if not given")
    result.add_argument("--dry-run", action="store_true", help="say what the records are, write nothing")
    return result


def body(arguments: argparse.Namespace) -> None:
    from orpheus.data.records import migrate
    from orpheus.data.tags.database import TagDatabase

    found = migrate.look(
        arguments.folder,
        tag_names=TagDatabase(arguments.lastfm).by_row() if arguments.lastfm else (),
        audio_format=arguments.format,
        sample_rate=arguments.sr,
        n_fft=arguments.n_fft,
        hop_length=arguments.hop_length,
        n_mels=arguments.mels,
        progress=lambda shards: cli.progress(shards, desc="Records", unit=" files"),
    )
    for line in found.reasons:
        print(line)
    tracks = sum(map(len, found.catalogue.shards.values()))
    if not arguments.dry_run:
        migrate.write(found)
    what = "would be described" if arguments.dry_run else "described in spec.json and manifest.jsonl"
    print(f"{arguments.folder}: {tracks} records in {len(found.catalogue.shards)} files, {what}")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
