"""`--help` of every command is good enough to work from: every option explained, defaults shown, long lists grouped."""

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orpheus.base import cli
from tests.conftest import ROOT
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


@pytest.mark.parametrize("options, shown", [([], False), (["-v", "3"], True)])
def test_what_tensorflow_logs_while_it_loads_is_shown_on_demand(tmp_path, options, shown):
    """A module of its name that writes what 2.21's libraries do, a warning of Python's and a line that is no log."""
    logs = [
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1795613859.600840   26152 port.cc:153] oneDNN custom operations are on.",
        "E0000 00:00:1795613970.769522   27697 cuda_platform.cc:52] failed call to cuInit",
    ]
    (tmp_path / "tensorflow.py").write_text(
        "import os, sys\n"
        f"os.write(2, {os.linesep.join([*logs, 'I am no log']).encode()!r} + b'\\n')\n"
        "print('nor am I', file=sys.stderr)\n"
        "loaded = 1\n"
    )
    code = (
        "import sys; from orpheus.base import cli\n"
        "def body(arguments):\n"
        "    import tensorflow\n"
        "    print('E0000 00:00:1.0 1 later.cc:1] shown', file=sys.stderr)\n"
        "    return tensorflow.loaded\n"
        f"sys.exit(cli.run(cli.parser('x', ''), body, {options}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    expected = [*(logs if shown else []), "I am no log", "nor am I", "E0000 00:00:1.0 1 later.cc:1] shown"]
    assert (done.returncode, done.stderr.splitlines()) == (1, expected)


def test_a_tensorflow_that_does_not_load_says_why(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no such library')")
    code = "from orpheus.base import cli; cli.run(cli.parser('x', ''), lambda arguments: __import__('tensorflow'), [])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("ImportError: no such library\n")
