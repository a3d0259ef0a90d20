"""What cannot be written is refused with the command line; SIGTERM, Ctrl-C and a full disk end with code and line."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from orpheus import evaluate
from orpheus.base import cli, files
from orpheus.errors import ConfigError
from orpheus.runs.folder import Run
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "suffixes", "message"),
    [
        ("folder", (), "is a folder; name a file"),
        ("file/below", (), "file is a file, and no folder"),
        ("file/deep/below", (), "file is a file, and no folder"),
        ("x" * 256, (), "a name of 256 bytes; 255 are the most"),
        ("é" * 128 + "/tags.csv", (), "a name of 256 bytes"),
        ("a.jpeg", (".png", ".svg"), r"ends in \.jpeg; a name that ends in \.png or \.svg"),
        ("png", (".png",), r"has no suffix; a name that ends in \.png"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(tmp_path, name, suffixes, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=message):
        files.check_output(tmp_path / name, suffixes=suffixes)
    assert len(list(tmp_path.rglob("*"))) == 2


@pytest.mark.parametrize("name", ["file", "new.csv", "no/such/folder/a.csv", "x" * 255])
def test_outputs_that_can_be_written_pass_and_nothing_is_made(tmp_path, name):
    (tmp_path / "file").touch()
    assert files.check_output(tmp_path / name) == tmp_path / name
    assert len(list(tmp_path.rglob("*"))) == 1
    with files.atomic(tmp_path / name) as file:
        file.write("written")


def test_a_folder_to_write_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder", "folder/new"):
        assert files.check_output(tmp_path / name, folder=True) == tmp_path / name
    with pytest.raises(ConfigError, match="is a file"):
        files.check_output(tmp_path / "file", folder=True)


def test_a_read_only_place_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # modes do not hold for root
    with pytest.raises(ConfigError, match="may not be written to"):
        files.check_output(tmp_path / "new" / "a.csv")
    assert files.check_output(tmp_path.parent / "a.csv")


def test_a_run_that_may_not_be_written_to_is_not_evaluated(tmp_path, monkeypatch, capsys):
    Run(tmp_path).write("run", {"task": "tagging", "tfrecords_dir": str(tmp_path / "nowhere")})
    assert evaluate.main([str(tmp_path)]) == 2
    assert "no such config" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert evaluate.main([str(tmp_path)]) == 2
    assert f"{tmp_path}/metrics.json: {tmp_path} may not be written to; write elsewhere" in capsys.readouterr().err


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    mine = files.temporary_name(tmp_path / "a.csv")
    dead = mine.name.replace(f"-{os.getpid()}.", f"-{gone.pid}.")
    folder = tmp_path / f"{dead}.keras"
    folder.mkdir()
    (folder / "inside").touch()
    elsewhere = ".a.csv.01234567-1.tmp"
    for name in (mine.name, dead, elsewhere, ".hidden", f"{dead[1:]}"):
        (tmp_path / name).touch()
    with files.atomic(tmp_path / "b.csv"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, elsewhere, ".hidden", dead[1:], "b.csv"}


def test_an_option_of_a_command(tmp_path, capsys):
    parser = cli.parser("orpheus.x", "Test.")
    parser.add_argument("--csv", type=cli.output_file(".csv"))
    parser.add_argument("--out", type=cli.output_folder)
    arguments = parser.parse_args(["--csv", "~/a.csv", "--out", str(tmp_path)])
    assert (str(arguments.csv), arguments.out) == (os.path.expanduser("~/a.csv"), tmp_path)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--csv", "a.txt"])
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert said.startswith("python -m orpheus.x: error: argument --csv: a.txt: ends in .txt") and "\n" not in said


WORK = """
import sys, time
from orpheus.base import cli, files
def body(arguments):
    with files.atomic(sys.argv[1]):
        print("begun", flush=True)
        time.sleep(60)
sys.exit(cli.run(cli.parser("orpheus.x", "Test."), body, []))
"""


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_signals_end_a_command_with_code_and_line(tmp_path, number, code, said):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "begun\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error.strip()) == (code, f"python -m orpheus.x: {said}")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path, capsys):
    def body(arguments):
        with files.atomic(tmp_path / "out") as file:
            file.write("x" * 100_000)

    space = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, space[1]))
    try:
        assert cli.run(cli.parser("orpheus.x", "Test."), body, []) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, space)
    assert capsys.readouterr().err == (
        f"python -m orpheus.x: error: {tmp_path}/out: File too large; free some space or write elsewhere\n"
    )
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
