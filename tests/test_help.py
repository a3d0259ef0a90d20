"""`--help` of every command is good enough to work from: every option explained, defaults shown, long lists grouped."""

import argparse
import importlib
from collections.abc import Iterator

import pytest

from orpheus.base import cli
from tests.test_structure import COMMANDS


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


@pytest.mark.parametrize("module", COMMANDS)
def test_options_are_explained_with_their_defaults(module):
    for parser in parsers(importlib.import_module(module).parser()):
        formatter = parser._get_formatter()
        own = [a for a in parser._actions if not isinstance(a, argparse._HelpAction | argparse._SubParsersAction)]
        for action in own:
            shown = formatter._expand_help(action) if action.help else ""
            assert shown, f"{parser.prog}: {action.dest} has no help"
            value = action.default
            if action.nargs == 0 or value is None or value in ("", [], argparse.SUPPRESS):
                continue
            text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            assert f"(default: {text})" in shown, f"{parser.prog}: {action.dest} = {text}: {shown}"
        if len([action for action in own if action.option_strings]) > 10:
            titles = [group.title for group in parser._action_groups if group._group_actions]
            assert set(titles) - {"options", "positional arguments"}, f"{parser.prog}: too many options for one group"


def test_what_counts_as_a_default(capsys):
    parser = cli.parser("orpheus.x", "Does x.", example="python -m orpheus.x")
    parser.add_argument("--seed", type=int, default=0, help="of all")
    parser.add_argument("--shares", type=int, nargs=3, default=[70, 15, 15], help="per cent (%%) of them")
    parser.add_argument("--off", dest="on", action="store_false", help="switch")
    parser.add_argument("--none", help="nothing")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "of all (default: 0)" in printed and "per cent (%) of them (default: 70 15 15)" in printed
    assert "--off switch --none NONE nothing example:" in printed
