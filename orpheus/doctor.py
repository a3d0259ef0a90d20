"""What works on this computer and what does not: `python -m orpheus.doctor`."""

import argparse
import sys

from orpheus.base import cli


def parser() -> cli.Parser:
    result = cli.parser(
        "orpheus.doctor",
        "Try out what orpheus needs: packages and their versions, tensorflow-io's library, libsndfile's and ffmpeg's "
        "formats, writable folders, a training step on every device. Says what is broken and the cure; the exit code is 1 "
        "where something that everybody needs is broken. Put its output into a bug report.",
        example="python -m orpheus.doctor --folder runs records --json",
    )
    result.add_argument(
        "--folder", nargs="+", default=[".", "runs"], metavar="DIR", help="folders that should be writable"
    )
    result.add_argument("--json", action="store_true", help="print JSON: a list of name, status, found and cure")
    result.add_argument("--device", help=argparse.SUPPRESS)  # one step on this one: what it starts itself for
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.tasks import health

    if arguments.device:
        print(health.one_step(arguments.device))
        return cli.EXIT_OK
    checks = health.examine(arguments.folder, progress=lambda steps: cli.progress(steps, desc="examine", unit="step"))
    print(health.to_json(checks) if arguments.json else health.to_text(checks))
    return cli.EXIT_PARTIAL if any(check.status == health.BROKEN for check in checks) else cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
