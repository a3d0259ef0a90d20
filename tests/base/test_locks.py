"""One writer at a time: another process is kept out and told by whom, a killed one holds nobody up."""

import contextlib
import json
import platform
import subprocess
import sys

import pytest

from orpheus.base import files, locks
from orpheus.errors import DataError

HOLD = """
import sys, time
from orpheus.base import locks
with locks.lock(sys.argv[1], part=eval(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def held(folder, part=None):
    """Another process that holds a lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), repr(part)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_another_process_is_kept_out_and_told_by_whom(tmp_path):
    with held(tmp_path) as process:
        with pytest.raises(DataError) as refused, locks.lock(tmp_path):
            pass
        for part in (f"process {process.pid} on {platform.node()}", "since 20", f"kill {process.pid}", str(tmp_path)):
            assert part in str(refused.value)
        with locks.lock(tmp_path / "other"):
            assert (tmp_path / "other/.lock").is_file()
    assert (tmp_path / ".lock").is_file()  # of the killed process, and no obstacle
    with locks.lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["host"] == platform.node()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_the_lock_ends_with_the_block_however_it_ends(tmp_path):
    with pytest.raises(KeyboardInterrupt), locks.lock(tmp_path):
        raise KeyboardInterrupt
    with locks.lock(tmp_path), pytest.raises(DataError, match="process"), locks.lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mine", "theirs", "meet"),
    [
        ((1, 5), (6, 9), False),
        ((1, 5), (5, 9), True),
        ((3, 4), (1, 9), True),
        (None, (2, 3), True),
        ((2, 3), None, True),
    ],
)
def test_parts_that_do_not_meet_are_written_at_once(tmp_path, mine, theirs, meet):
    expected = pytest.raises(DataError, match="has been writing") if meet else contextlib.nullcontext()
    with locks.lock(tmp_path, part=theirs), expected, locks.lock(tmp_path, part=mine):
        pass


def test_without_locks_of_the_file_system_the_owner_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_try", lambda descriptor: None)
    none = 2**22 + 1  # above any process number
    me = {"process": none, "host": platform.node(), "since": "then", "command": "python"}
    files.write_json(tmp_path / ".lock", me)
    with locks.lock(tmp_path):
        pass
    for owner in ({**me, "host": "elsewhere"}, {**me, "process": 1}, {}):
        (tmp_path / ".lock").write_text(json.dumps(owner))
        with pytest.raises(DataError, match=r"elsewhere|process 1 |just begun"), locks.lock(tmp_path):
            pass


@pytest.mark.parametrize("name", ["a", "é" * 127, "x" * 255])
def test_temporary_names_fit_where_their_files_do(tmp_path, name):
    with files.atomic(tmp_path / name) as file:
        file.write("whole")
        assert not (tmp_path / name).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert files.temporary_name(tmp_path / ("x" * 254 + "y")) != files.temporary_name(tmp_path / ("x" * 254 + "z"))


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with pytest.raises(ZeroDivisionError), files.whole(tmp_path / "out") as temporary:
        temporary.mkdir()
        (temporary / "half").touch()
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()  # empty: may be replaced
    with files.whole(tmp_path / "out", suffix=".model") as temporary:
        assert temporary.suffix == ".model"
        (temporary / "below").mkdir(parents=True)
        (temporary / "below/a").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/below/a").read_text() == "a"
