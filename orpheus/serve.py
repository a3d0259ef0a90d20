"""Serve runs and indexes over HTTP, with a page for people: tags of a file, songs for words, songs like a song."""

import argparse
import sys
from pathlib import Path

from orpheus.base import cli


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.serve",
        "Serve taggers, retrieval and joint runs, and indexes of songs over HTTP: a page for people at /, the description "
        "of the interface at /docs. Only this computer can ask, unless --host is given together with --token-file. "
        "SIGTERM and Ctrl-C end it when what runs is finished.",
        example="python -m orpheus.serve music.index runs/log-mel-spectrogram_260101-120000 --port 8000",
    )
    result.add_argument(
        "served",
        metavar="RUN_OR_INDEX",
        nargs="+",
        help="folders made by orpheus.train or by orpheus.retrieve index; each is asked by the name of its folder",
    )
    result.add_argument("--port", type=int, default=8000, metavar="N", help="0 for any that is free")
    result.add_argument("--host", metavar="ADDRESS", help="address to listen on; only this computer if not given")
    result.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that requests must know; nobody else may read it",
    )
    result.add_argument("--max-upload", type=int, default=100, metavar="MIB", help="largest file that is taken")
    result.add_argument(
        "--max-minutes", type=float, default=60, metavar="N", help="longest recording that is taken, in minutes"
    )
    result.add_argument(
        "--queue",
        type=int,
        default=16,
        metavar="N",
        help="recordings heard at a time; more are told to come back (429)",
    )
    result.add_argument("--timeout", type=float, default=120, metavar="S", help="seconds that an answer may take")
    result.add_argument("--decoders", type=int, default=2, metavar="N", help="processes that decode audio")
    result.add_argument("--batch-size", type=int, default=16, metavar="N", help="windows per pass of a model")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.tasks.service import starting

    return starting.start(arguments)


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
