"""Split tracks by artist so that every tag is everywhere, or look what any split has in two splits."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli
from orpheus.base.text_table import show
from orpheus.errors import ConfigError, DataError
from tools import _tracks


def parser() -> cli.Parser:
    """The command's flags."""
    result = cli.parser(
        "tools.split",
        "Split the tracks of the N most popular tags into training, validation and test, whole artists to one split, with "
        "at least M tracks of every tag in each. Says how hard that was; where it cannot be, how near it comes. With "
        "--audit: tracks, artists, albums and identical audio in two splits (exit code 1 if there are any).",
        example="python -m tools.split --tags track_tags.tsv --tracks artists.tsv --top 100 --min-tracks 40 "
        "--out split.json\n  python -m tools.split --audit runs/log-mel_210630-120000 --tracks tracks.csv --hash-audio",
    )
    _tracks.add_source(result)
    next(action for action in result._actions if action.dest == "tags").required = False
    result.add_argument(
        "--tracks",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="artists (and albums, sha256, paths) of the tracks: MTG-Jamendo tag files, csv of tracks, records, or lines of "
        "id and artist; by default those of SOURCE if it has them",
    )
    how = result.add_argument_group("the split")
    how.add_argument("--top", type=int, default=100, metavar="N", help="number of the most popular tags")
    how.add_argument(
        "--min-tracks", type=int, default=40, metavar="M", help="fewest tracks of every tag in every split"
    )
    how.add_argument(
        "--nearest", action="store_true", help="where no split has M, write the one with the largest number found"
    )
    how.add_argument(
        "--shares",
        type=float,
        nargs=3,
        default=[70, 15, 15],
        metavar=("TRAIN", "VALID", "TEST"),
        help="shares of the tracks",
    )
    how.add_argument(
        "--tolerance", type=float, default=2.0, metavar="P", help="per cent that a split may be off its share"
    )
    how.add_argument(
        "--by", choices=("artist", "album", "track"), default="artist", help="what must be in one split as a whole"
    )
    how.add_argument("--seed", type=int, default=0, help="seed of the split")
    how.add_argument(
        "--starts", type=int, default=5, metavar="N", help="number of searches for each number tried, at most"
    )
    how.add_argument(
        "--moves", type=int, default=3000, metavar="N", help="number of artists moved in each search, at most"
    )
    how.add_argument("--out", type=cli.output_file(), metavar="JSON", help="split to write")
    how.add_argument(
        "--items-index",
        nargs=2,
        metavar=("DIR", "NAME"),
        help="also write DIR/splits/items_index_{train,val,test}_NAME.tsv, as tools.factorize reads them",
    )
    look = result.add_argument_group("audit")
    look.add_argument(
        "--audit",
        type=Path,
        nargs="+",
        metavar="SPLIT",
        help="a split of this tool, a run, a folder of records with shards named by split, a data folder with splits/, or "
        "three lists (training, validation, test): tag files or one id per line",
    )
    look.add_argument(
        "--hash-audio", action="store_true", help="read the audio (files, or records) to compare contents"
    )
    look.add_argument(
        "--audio-root", type=Path, metavar="DIR", help="folder where relative paths start; by default at the list"
    )
    look.add_argument(
        "--audit-json",
        type=cli.output_file(),
        metavar="FILE",
        help="file to write all that was found to, for orpheus.evaluate --without-leaks",
    )
    look.add_argument("--shown", type=int, default=5, metavar="N", help="number of examples of each kind")
    return result


def body(arguments: argparse.Namespace) -> int | None:
    """Split or audit."""
    if arguments.audit:
        if arguments.tags or arguments.out:
            raise ConfigError("--audit looks at a split that is there: give neither --tags nor --out")
        return _audit(arguments)
    if not arguments.tags or not arguments.out:
        raise ConfigError("give --tags and --out to make a split, or --audit to look at one")
    _split(arguments)
    return None


def _split(arguments: argparse.Namespace) -> None:
    from orpheus.data.items import layout
    from orpheus.data.splits import search

    tracks, data = _tracks.read(arguments)
    groups = _groups(arguments, tracks)
    with cli.progress(desc="Searching", unit=" starts") as bar:
        found = search.find(
            tracks,
            groups,
            top=arguments.top,
            min_tracks=arguments.min_tracks,
            shares=arguments.shares,
            tolerance=arguments.tolerance,
            seed=arguments.seed,
            starts=arguments.starts,
            moves=arguments.moves,
            on_start=bar.update,
        )
    if found.least < found.asked and not arguments.nearest:
        raise DataError(
            f"--min-tracks {found.asked}: {why(found)}; the nearest that was found is {found.least}: ask for that, or add --nearest"
        )
    made = {
        "data": data,
        "by": arguments.by,
        "top": arguments.top,
        "min_tracks": arguments.min_tracks,
        "shares": list(arguments.shares),
        "tolerance": arguments.tolerance,
        "seed": arguments.seed,
    }
    search.save(arguments.out, found, made=made)
    if arguments.items_index:
        folder = layout.DataFolder(Path(arguments.items_index[0]).expanduser(), arguments.items_index[1])
        for split, name in zip(search.SPLITS, layout.SETS, strict=True):
            layout.write_ids(folder.items_index(name), found.splits[split])
    total = sum(map(len, found.splits.values()))
    each = [
        (split, len(ids), f"{100 * len(ids) / total:.2f}", found.table[row].min())
        for row, (split, ids) in enumerate(found.splits.items())
    ]
    show(("split", "tracks", "% of tracks", "rarest tag"), each)
    if found.least < found.asked:
        print(f"--min-tracks {found.asked}: {why(found)}; this has {found.least}, the most that was found")
    print(how_hard(found))
    whose = "" if arguments.by == "track" else f" of {found.groups} {arguments.by}s"
    print(
        f"{arguments.out}: {total} tracks{whose}, {len(found.tags)} tags, each on at least "
        f"{found.least} tracks of each split; {found.left_out} tracks without any of the tags left out"
        + (
            f"; {found.without_group} tracks without {arguments.by}, each by itself"
            if found.without_group and arguments.by != "track"
            else ""
        )
    )


def why(found) -> str:
    """Why no split has as many tracks as asked for."""
    if found.bound < found.asked:
        return f"cannot be: no split has more than {found.bound} of {found.bound_tag!r} in each split"
    return f"not found in {found.starts} starts with {found.moves} moves"


def how_hard(found) -> str:
    """One line on what the search took, next to chance and to what is possible."""
    import numpy as np

    lucky = sum(least >= found.least for least in found.random)
    text = f"found after {found.starts} starts and {found.moves} moves"
    if found.random:
        text += (
            f"; of {len(found.random)} random splits {lucky} had as many tracks of the rarest tag "
            f"(median {np.median(found.random):g}, best {max(found.random)})"
        )
    return f"{text}; no split can have more than {found.bound} ({found.bound_tag})"


def _groups(arguments: argparse.Namespace, tracks: dict) -> dict[str, str]:
    """Track → what must stay together; nothing for --by track."""
    from orpheus.data.splits import leaks

    if arguments.by == "track":
        return {}
    paths = arguments.tracks or [path for path in arguments.tags if leaks.names_artists(path)]
    values = getattr(leaks.read_facts(paths), arguments.by)
    if not any(values.get(track) for track in tracks):
        raise DataError(
            f"no {arguments.by} is known for any of {len(tracks)} tracks; give a file that names them with --tracks, or "
            "--by track to split without regard to it"
        )
    return values


def _audit(arguments: argparse.Namespace) -> int:
    from orpheus.base.files import write_json
    from orpheus.data.splits import leaks

    opened = leaks.open_split(arguments.audit)
    own = [opened.records] if opened.records else [path for path in arguments.audit if leaks.names_artists(path)]
    facts = leaks.read_facts([*own, *arguments.tracks], root=arguments.audio_root)
    if arguments.hash_audio:
        facts.audio.update(_hashes(opened, facts.paths))
    found = leaks.audit(opened.splits, facts.kinds())
    if arguments.audit_json:
        write_json(arguments.audit_json, leaks.to_json(opened, found))
    print(", ".join(f"{split} {len(ids)}" for split, ids in opened.splits.items()) + " tracks")
    show(
        ("kind", "in several splits", "of", "tracks concerned", "tracks unknown"),
        [(leak.kind, len(leak.shared), leak.values, leak.tracks, leak.unknown) for leak in found],
    )
    for leak in found:
        for value, splits in list(leak.shared.items())[: arguments.shown]:
            where = "; ".join(
                f"{split} {len(ids)} ({ids[0]}{', …' if len(ids) > 1 else ''})" for split, ids in splits.items()
            )
            print(f"  {leak.kind} {value[:40]}: {where}")
    if missing := [kind for kind in ("artist", "album", "audio") if kind not in facts.kinds()]:
        cure = " (--hash-audio compares contents)" if "audio" in missing and not arguments.hash_audio else ""
        print(f"not looked at, since nothing is known of it: {', '.join(missing)}; --tracks names files that do{cure}")
    if any(leak.shared for leak in found):
        order = (
            f"--without-leaks {arguments.audit_json}" if arguments.audit_json else "--without-leaks, see --audit-json"
        )
        print(f"what a tagger reaches without them: python -m orpheus.evaluate RUN {order}")
    return cli.EXIT_PARTIAL if any(leak.shared for leak in found) else cli.EXIT_OK


def _hashes(opened, paths: dict[str, str]) -> dict[str, str]:
    """Hashes of the audio of all tracks: of the records' bytes, else of the files."""
    import hashlib

    from orpheus.base.files import content_hash

    if opened.records:
        from orpheus.data.records import format

        found = {}
        names = [shard for shards in opened.shards.values() for shard in shards]
        for name in cli.progress(names, desc="Hashing", unit=" shards"):
            for record in format.read_shard(opened.records / name):
                fields = format.decode(record)
                audio = fields["audio"]
                raw = audio[0] if isinstance(audio[0], bytes) else repr(list(audio)).encode()
                found[fields["tid"][0].decode()] = hashlib.sha256(raw).hexdigest()
        return found
    ids = sorted({track for split in opened.splits.values() for track in split})
    known = {track: paths[track] for track in ids if paths.get(track)}
    if not known:
        raise DataError("--hash-audio: no path of any audio file is known; give the csv of tracks with --tracks")
    found = {}
    for track, path in cli.progress(known.items(), desc="Hashing", unit=" files"):
        try:
            found[track] = content_hash(path)
        except OSError as error:
            raise DataError(
                f"{path}: audio of track {track!r} cannot be read ({error.strerror}); see --audio-root"
            ) from None
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
