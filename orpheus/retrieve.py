"""Find music: index songs by a trained run, then search them by words, listeners, songs or all of it, or ask for tags."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError
from orpheus.tasks import plan
from orpheus.tasks.search import flags

_ACTIONS = ("index", "search", "similar", "recommend", "path", "tags", "neighbours", "runs")


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.retrieve",
        "Find music by a trained retrieval or joint run: make an index of songs, then search it by any tags or words, by what "
        "a listener likes, by songs, or by a mixture; or ask for the tags of a song, or a way from one to another. By a "
        "tagger's run, too: its words are its classes.",
        example="python -m orpheus.retrieve index runs/retrieval_260101-120000 ~/Music -o music.index\n"
        '  python -m orpheus.retrieve search music.index "sad piano" -vocals -k 10',
    )
    of = result.add_subparsers(dest="action", required=True, metavar="COMMAND", parser_class=cli.SubParser)

    index = of.add_parser(
        "index",
        help="embed songs and add them to an index",
        description="Embed songs and add them to an index. Given again, only what is new or has changed is embedded, and "
        "what is gone is removed. Files that cannot be used are reported, the rest goes on, and the exit code is 1.",
        example="python -m orpheus.retrieve index RUN ~/Music -o music.index",
    )
    index.add_argument(
        "run", metavar="RUN", help="retrieval, joint or tagger's run that embeds them; always the same for an index"
    )
    index.add_argument(
        "songs",
        metavar="SONGS",
        nargs="*",
        help="audio files, folders of them, a csv of tracks (track_id, audio_path), "
        "folders of records, or tables of factors",
    )
    index.add_argument(
        "-o",
        "--out",
        type=cli.output_folder,
        metavar="INDEX",
        required=True,
        help="folder of the index, made or added to",
    )
    index.add_argument(
        "--map", action="store_true", help="place the songs in a plane now, instead of when it is shown first"
    )
    said = index.add_argument_group("what is known of the songs")
    said.add_argument(
        "--tags",
        metavar="SOURCE",
        nargs="+",
        default=[],
        type=Path,
        help="tags of the songs by id, shown with hits: any source of tools.tag_stats; by default those of records, and "
        "the genre fields of audio files",
    )
    said.add_argument(
        "--min-val", type=float, default=0, metavar="V", help="tags of SOURCE below this weight do not count"
    )
    said.add_argument(
        "--factors", metavar="FILE", help="of the songs of records, for runs of input_type hybrid, and joint ones"
    )
    said.add_argument(
        "--texts",
        metavar="FILE",
        help="vectors of the songs' texts, for joint runs; with them or --factors SONGS may be left out",
    )
    _word_vectors(said)
    said.add_argument(
        "--listeners",
        metavar="FILE",
        type=Path,
        help="listening counts (user, item, count; .csv or tabs) of the songs, so that --listener can be asked for",
    )
    again = index.add_argument_group("what is read again, kept and removed")
    again.add_argument("--keep", action="store_true", help="keep songs that are no longer where they were")
    again.add_argument("--reread", action="store_true", help="read files whose size and date have not changed, too")
    plan.RETRY.add_to(again)
    plan.DAMAGED.add_to(again)
    again.add_argument(
        "--remove", metavar="SONG", nargs="+", default=[], help="ids, files, folders, csv or tables to take out"
    )

    search = of.add_parser(
        "search",
        help="songs for tags and words",
        description="Songs nearest to tags or words, known in training or not. A query that is a tag as a whole is that "
        'tag; else its "quoted phrases" and words add up. -WORD is not wanted.',
        example='python -m orpheus.retrieve search music.index sad piano -vocals "dream pop" -k 10',
    )
    _index(search)
    search.add_argument(
        "query",
        metavar="QUERY",
        nargs="+",
        help='tags or words, before the options; -WORD or -"A PHRASE" is not wanted',
    )
    flags.mix(search)
    similar = of.add_parser(
        "similar",
        help="songs like a song",
        description="Songs nearest to a song of the index or to any audio file.",
        example="python -m orpheus.retrieve similar music.index ~/Music/song.mp3",
    )
    _index(similar)
    similar.add_argument("song", metavar="FILE_OR_ID", help="audio file, or id of a song in the index")
    recommend = of.add_parser(
        "recommend",
        help="songs for a listener",
        description="Songs for a listener of the index, or for somebody who heard some songs of it; those are left out.",
        example="python -m orpheus.retrieve recommend music.index --history heard.m3u8 --artists-once",
    )
    _index(recommend)
    flags.mix(recommend)
    path = of.add_parser(
        "path",
        help="a way of songs from one to another",
        description="Songs on the way from one song to another, each near the straight way and near the one before.",
        example="python -m orpheus.retrieve path music.index first.mp3 last.mp3 --steps 12 --playlist way.m3u8",
    )
    _index(path)
    path.add_argument("start", metavar="START", help="audio file, or id of a song in the index")
    path.add_argument("end", metavar="END", help="the same")
    path.add_argument("--steps", type=int, default=8, metavar="N", help="songs between the two")
    for one in (search, similar, recommend):
        flags.filters(one)
    for one in (search, similar, recommend, path):
        flags.playlist(one)
    tags = of.add_parser(
        "tags",
        help="tags of a song",
        description="Tags nearest to a song, of training and of the songs in the index.",
        example="python -m orpheus.retrieve tags music.index song.mp3 -k 10",
    )
    _index(tags)
    tags.add_argument("song", metavar="FILE", help="audio file, or id of a song in the index")
    near = of.add_parser(
        "neighbours",
        help="tags nearest to a tag",
        description="Tags nearest to a tag: in the space of the run, and beside it by its word vectors alone.",
        example='python -m orpheus.retrieve neighbours RUN "hip hop"',
    )
    near.add_argument("run", metavar="RUN", help="retrieval or joint run")
    near.add_argument("tag", metavar="TAG", help="any tag, known in training or not")
    near.add_argument("--among", nargs="+", metavar="TAG", help="only these; the tags of training if not given")
    runs = of.add_parser(
        "runs",
        help="evaluated runs split by split",
        description="Samplings, inputs and word vectors of evaluated runs split by split; runs that differ by seed alone are "
        "one row, as mean ± standard deviation.",
        example="python -m orpheus.retrieve runs runs/retrieval_*",
    )
    runs.add_argument("runs", metavar="RUN", nargs="+", help="retrieval runs that orpheus.evaluate has measured")
    runs.add_argument(
        "--split", "--split", choices=("train", "valid", "test"), default="test", help="split to compare on"
    )
    runs.add_argument("--different-splits", action="store_true", help="show runs of different splits all the same")
    for one in (search, similar, recommend, path, tags, near, runs):
        one.add_argument("--format", choices=("table", "csv", "json"), default="table", help="how it is printed")
    for one in (search, similar, recommend, tags, near):
        one.add_argument("-k", type=int, default=20, metavar="K", help="length of the list")
    return result


def _index(command: argparse.ArgumentParser) -> None:
    command.add_argument("index", metavar="INDEX", help="folder made by the command index")
    command.add_argument("--run", metavar="RUN", help="where the index's run is now; where it was if not given")
    _word_vectors(command)


def _word_vectors(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--word-vectors",
        metavar="PATH",
        help="of a tagger's run: words that are none of its classes stand for the 3 nearest ones by these; a new index "
        "remembers them",
    )


def body(arguments: argparse.Namespace) -> int:
    if arguments.action == "index":
        return _add(arguments)
    if arguments.action == "runs":
        from orpheus.runs.folder import Run
        from orpheus.tasks.retrieval import run_table

        runs = [Run.open(run) for run in arguments.runs]
        _show(
            run_table.side_by_side(runs, arguments.split, different_splits=arguments.different_splits), arguments.format
        )
        return cli.EXIT_OK
    from orpheus.tasks.search import playlist
    from orpheus.tasks.search.near import neighbours
    from orpheus.tasks.search.song_index import SongIndex

    if arguments.action == "neighbours":
        from orpheus.tasks.search import tagger_space

        run = tagger_space.load(arguments.run)
        found = neighbours(run, arguments.tag, arguments.k, among=arguments.among)
        words = neighbours(run, arguments.tag, arguments.k, among=arguments.among, of_words=True)
        rows = [
            {"rank": rank, "tag": a.tag, "score": a.score, "tag by words": b.tag, "score by words": b.score}
            for rank, (a, b) in enumerate(zip(found, words, strict=True), 1)
        ]
        _show(rows, arguments.format)
        return cli.EXIT_OK
    if getattr(arguments, "playlist", None):
        files.check_output(arguments.playlist, suffixes=playlist.SUFFIXES[:1])
    index = SongIndex(arguments.index, run=arguments.run, word_vectors=arguments.word_vectors)
    if arguments.action == "tags":
        tags = index.tags(arguments.song, arguments.k)
        _show([{"rank": rank, **near._asdict()} for rank, near in enumerate(tags, 1)], arguments.format)
        return cli.EXIT_OK
    hits = flags.hits(index, arguments, _query(arguments.query) if arguments.action == "search" else "")
    if not hits:
        why = "no song is left by the filters; leave some away" if len(index) else "no song in it; add some with index"
        raise ConfigError(f"{arguments.index}: {why}")
    if arguments.playlist:
        playlist.write(hits, arguments.playlist, relative=arguments.relative)
    _show([{"rank": rank, **hit._asdict()} for rank, hit in enumerate(hits, 1)], arguments.format)
    return cli.EXIT_OK


def _add(arguments: argparse.Namespace) -> int:
    given = arguments.songs or arguments.factors or arguments.texts
    if not given and not arguments.remove and not arguments.listeners and not arguments.map:
        raise ConfigError("SONGS is missing: give audio, records or factors to add, or --remove, --listeners or --map")
    for song in arguments.songs:  # before a model is loaded and a folder made
        if not Path(song).expanduser().exists():
            raise DataError(f"{song}: no such file or folder")
    from orpheus.data.items import interactions, tables
    from orpheus.data.tags import sources
    from orpheus.tasks.search.song_index import SongIndex

    tags = sources.read(arguments.tags, min_val=arguments.min_val)[0] if arguments.tags else None
    factors = tables.read(arguments.factors) if arguments.factors else None
    texts = tables.read(arguments.texts) if arguments.texts else None
    plays = interactions.read(arguments.listeners) if arguments.listeners else None
    index = SongIndex.create(arguments.out, arguments.run, word_vectors=arguments.word_vectors)
    gone = index.remove(arguments.remove) if arguments.remove else []
    for song in gone:
        print(f"removed {song}")
    failures = {}
    if given or plays is not None:
        report = index.add(
            arguments.songs,
            tags=tags,
            factors=factors,
            texts=texts,
            listeners=plays,
            keep=arguments.keep,
            reread=arguments.reread,
            retry=arguments.retry,
            damaged=arguments.damaged,
            progress=cli.progress,
        )
        for what, songs in (("removed", report.removed), ("kept, though no longer there:", report.kept)):
            for song in songs:
                print(f"{what} {song}")
        print(report)
        failures = report.failures
    if arguments.map:
        index.map()
    heard = f", {index.listener_count} listeners" if index.listener_count else ""
    print(f"{arguments.out}: {len(index)} songs{heard}")
    return cli.EXIT_PARTIAL if failures else cli.EXIT_OK


def _show(rows: Sequence[dict], form: str) -> None:
    """Rows on standard output; the table leaves out what is long."""
    import json

    from orpheus.base.text_table import show

    if form == "json":
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    long = ("path", "tags", "number")
    empty = {key for key in ("artist", "title") if not any(row.get(key) for row in rows)}
    shown = [key for key in rows[0] if form == "csv" or key not in {*long, *empty}] if rows else []
    table = [[_cell(row[key]) for key in shown] for row in rows]
    show(shown, table, form == "csv")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "; ".join(value) if isinstance(value, tuple) else str(value)


def _query(words: Sequence[str]) -> str:
    """One query of several arguments: those that the shell was told to keep together are phrases."""
    if len(words) == 1:
        return words[0].strip()
    parts = []
    for word in map(str.strip, words):
        minus, rest = ("-", word[1:]) if word.startswith("-") else ("", word)
        parts.append(f'{minus}"{rest}"' if " " in rest and '"' not in rest else word)
    return " ".join(parts)


def unwanted(argv: Sequence[str]) -> list[str]:
    """The arguments with a blank before each -WORD of a search that is no option, so that argparse leaves it alone."""
    argv = list(argv)
    actions = [word for word in argv if word in _ACTIONS]
    if actions[:1] != ["search"]:
        return argv
    start = argv.index("search") + 1

    def protected(word: str) -> str:
        option = word.startswith("--") or word in ("-h", "-k") or (word[:2] == "-k" and word[2:].isdecimal())
        return word if option or not word.startswith("-") else f" {word}"

    return argv[:start] + [protected(word) for word in argv[start:]]


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, unwanted(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
