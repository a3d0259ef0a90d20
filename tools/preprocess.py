"""Audio files and their tags to TFRecord shards, once per format."""

import argparse
import functools
import os
import sys
from collections.abc import Sequence

from orpheus.base import cli
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.plan import DAMAGED


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.preprocess",
        "Decode, resample and store audio with its tags as TFRecord shards in OUTPUT. A second run makes only what is "
        "missing; files that cannot be used are listed in OUTPUT/failures.jsonl and never stop the run.",
        example="python -m tools.preprocess log-mel-spectrogram records/mel --csv-path tracks.csv --tag-path tags.db -n 20",
    )
    result.add_argument("format", choices=("waveform", "log-mel-spectrogram"), help="what to store")
    result.add_argument(
        "output", help="folder, or s3:// or gs:// URL, for the shards, spec.json, manifest.jsonl and failures.jsonl"
    )
    source = result.add_argument_group("input")
    source.add_argument(
        "--csv-path", metavar="CSV", help="csv of track_id, audio_path (or mp3_path, npz_path), artist or group"
    )
    source.add_argument(
        "--root-dir", metavar="DIR", help="folder where relative paths start; the csv's (or tsv's) folder if not given"
    )
    source.add_argument(
        "--tag-path",
        metavar="DB",
        help="SQLite tags in the schema of the Million Song Dataset's Last.fm, or a csv (track_id,tags); if not given, the "
        'column tags of --csv-path: "piano; sad"',
    )
    source.add_argument(
        "--tag-path-multi", metavar="DB", nargs="+", help="several of them, stored as tags_0, tags_1, …"
    )
    source.add_argument(
        "--tags-tsv", metavar="TSV", help="tags as MTG-Jamendo gives them; also the list of tracks without --csv-path"
    )
    source.add_argument(
        "--group-column", metavar="NAME", help="csv column whose equal values share a shard; artist or group if there"
    )
    stored = result.add_argument_group("what is stored")
    stored.add_argument("--sr", type=int, default=16000, metavar="HZ", help="sample rate")
    stored.add_argument("--mels", type=int, default=96, metavar="N", help="number of mel bands (log-mel)")
    stored.add_argument(
        "--n-fft", type=int, default=2048, metavar="SAMPLES", help="window of the spectrogram (log-mel)"
    )
    stored.add_argument(
        "--hop-length", type=int, default=512, metavar="SAMPLES", help="step of the spectrogram (log-mel)"
    )
    stored.add_argument(
        "--dtype",
        choices=("int16", "float16", "float32"),
        help="type of what is stored; int16 (waveform), float16 (log-mel) if not given",
    )
    stored.add_argument(
        "--mel-norm",
        choices=("slaney", "none"),
        default="slaney",
        help="norm of the mel filters: equal area, or height 1",
    )
    stored.add_argument(
        "--top-db",
        type=float,
        metavar="DB",
        help="decibels below each clip's largest at which others are clipped (log-mel); none if not given",
    )
    stored.add_argument(
        "--min-seconds",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds of the shortest file; shorter ones are failures",
    )
    DAMAGED.add_to(stored)
    shards = result.add_argument_group("shards")
    shards.add_argument("-n", "--num-files", type=int, default=10, metavar="N", help="number of shards")
    which = shards.add_mutually_exclusive_group()
    which.add_argument(
        "-s",
        "--split",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help="per cent of the shards that are named train, valid and test",
    )
    which.add_argument(
        "--split-file",
        metavar="JSON",
        help="a split of tools.split or tools.dataset that decides to which split's shards a track goes; tracks of none are left out",
    )
    which.add_argument(
        "-i",
        "--start-stop",
        type=int,
        nargs=2,
        metavar=("START", "STOP"),
        help="shards to make alone, from 1, STOP included",
    )
    shards.add_argument("--seed", type=int, default=0, help="seed of which groups share a shard")
    shards.add_argument(
        "--runner",
        choices=("local", "beam"),
        default="local",
        help="beam: Apache Beam's workers make a shard each; its own options come last, behind --, for example "
        "-- --runner=DataflowRunner --project=P (its DirectRunner if not given)",
    )
    shards.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that decode beside this one, or beside each worker of Beam; the bytes do not depend on it "
        f"(default: {os.cpu_count() or 1}, with Beam 0)",
    )
    shards.add_argument(
        "--check", action="store_true", help="compare what is in OUTPUT with its manifest, make nothing"
    )
    return result


def body(arguments: argparse.Namespace, beam_options: Sequence[str] = ()) -> int:
    from orpheus.data.audio.spec import AudioSpec
    from orpheus.data.records import writing

    if beam_options and arguments.runner != "beam":
        raise ConfigError(f"{beam_options[0]}: options behind -- are Beam's; give --runner beam too")
    if arguments.check:
        return _check(arguments.output)
    spec = AudioSpec(
        arguments.format,
        sample_rate=arguments.sr,
        n_fft=arguments.n_fft,
        hop_length=arguments.hop_length,
        n_mels=arguments.mels,
        dtype=arguments.dtype or "",
        mel_norm=arguments.mel_norm,
        top_db=arguments.top_db,
    )
    tracks = _tracks(arguments)
    ids, about = _split(arguments.split_file) if arguments.split_file else (None, None)
    plan = writing.assign(
        tracks,
        n_files=arguments.num_files,
        format=arguments.format,
        seed=arguments.seed,
        split=arguments.split,
        ids=ids,
    )
    if left_out := len(tracks) - sum(map(len, plan.values())):
        print(f"{left_out} of {len(tracks)} tracks are in no split of {arguments.split_file} and left out")
    workers = arguments.workers
    if workers is None:
        workers = 0 if arguments.runner == "beam" else os.cpu_count() or 1
    with cli.progress(total=sum(map(len, plan.values())), desc="preprocess", unit="track") as bar:
        summary = writing.make(
            arguments.output,
            plan,
            spec,
            seed=arguments.seed,
            workers=workers,
            min_seconds=arguments.min_seconds,
            damaged=arguments.damaged,
            interval=tuple(arguments.start_stop) if arguments.start_stop else None,
            beam=list(beam_options) if arguments.runner == "beam" else None,
            split=about,
            bar=bar,
        )
    print(
        f"{arguments.output}: {summary.tracks} tracks, {summary.seconds / 3600:.2f} h in {summary.shards} shards "
        f"({summary.made} made now), {summary.failures} failures"
    )
    if summary.damaged:
        print(f"{summary.damaged} tracks are damaged, {summary.lost_seconds:.1f} s are lost; the manifest says where")
    if summary.failures:
        print(f"failures are listed in {os.path.join(arguments.output, 'failures.jsonl')}")
    if not summary.tracks:
        raise DataError(f"{arguments.output}: none of {summary.failures} files could be used")
    return 0


def _tracks(arguments: argparse.Namespace) -> list:
    """Tracks with tags from whichever sources were given."""
    from orpheus.data.records.tracks import Track, read_tracks, with_tags
    from orpheus.data.tags import files

    given = [name for name in ("tag_path", "tag_path_multi", "tags_tsv") if getattr(arguments, name)]
    if not given and arguments.csv_path and files.is_csv(arguments.csv_path):
        arguments.tag_path, given = arguments.csv_path, ["tag_path"]
    if len(given) != 1:
        raise ConfigError(
            "give one source of tags: --tag-path, --tag-path-multi or --tags-tsv, or a column tags (a; b) in --csv-path"
        )
    if arguments.tags_tsv:
        listed = files.read_tags(arguments.tags_tsv)
        sources = [{track_id: list(track.tags) for track_id, track in listed.items()}]
    if arguments.csv_path:
        tracks = read_tracks(arguments.csv_path, root=arguments.root_dir, group_column=arguments.group_column)
    elif arguments.tags_tsv:
        base = os.path.expanduser(arguments.root_dir or os.path.dirname(arguments.tags_tsv))
        tracks = [Track(track_id, os.path.join(base, track.path), track.artist) for track_id, track in listed.items()]
    else:
        raise ConfigError("give the list of tracks: --csv-path (or --tags-tsv, which holds paths too)")
    if not arguments.tags_tsv:
        ids, paths = [track.track_id for track in tracks], arguments.tag_path_multi or [arguments.tag_path]
        sources = [files.open_tags(path).tags_of_all(ids) for path in paths]
    return with_tags(tracks, sources)


def _split(path: str) -> tuple[dict[str, tuple[str, ...]], dict]:
    """Train, valid and test → ids, and what spec.json keeps of the split: its hash, its sizes, its tags and how it was made."""
    from orpheus.data.splits import search
    from orpheus.runs import comparability

    ids, tags = search.load(path)
    sizes = {split: len(each) for split, each in ids.items()}
    if not sizes["train"]:
        raise DataError(f"{path}: no track is in its split train, so that there is nothing to train on")
    made = search.made_of(path)
    return ids, {"sha256": comparability.of_split(ids), "tracks": sizes, "tags": list(tags), "made": made}


def _check(output: str) -> int:
    from orpheus.data.records import writing

    found = writing.check(output, progress=lambda names: cli.progress(names, desc="check", unit="shard"))
    for kind, entries in found.items():
        print(f"{kind}: {len(entries)}")
        for entry in entries:
            print(f"  {entry}")
    if any(found.values()):
        raise DataError(
            f"{output}: not as its manifest says; remove the shards named above and run tools.preprocess again"
        )
    return 0


def main(argv: list[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    stop = given.index("--") if "--" in given else len(given)
    return cli.run(parser(), functools.partial(body, beam_options=given[stop + 1 :]), given[:stop], leaves=argv is None)


if __name__ == "__main__":
    sys.exit(main())
