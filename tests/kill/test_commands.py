"""Commands that are killed at moments drawn by seed: a second run ends in the bytes of an undisturbed one.

After the kill no half file has a final name, and what was there before is as it was. SIGTERM ends with code and line, and
leaves nothing that is half.
"""

import os
import re
import shutil
import signal
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.kill import cases, disks
from tests.kill.nursery import Nursery

pytestmark = pytest.mark.slow
OLD = "an older file, which stays until the new one is whole"
ON_NO_DISK = ("preprocess, 1 worker", "train by fit", "export tflite")  # as others that are
TEMPORARY = re.compile(r"\..*\.tmp(\.\w+)?")


@pytest.fixture(scope="module")
def nursery():
    found = Nursery()
    yield found
    found.close()


class Undisturbed(NamedTuple):
    """What a command leaves when nobody kills it."""

    name: str
    case: cases.Case
    folder: Path  # with a folder `prepared` to start from; everything runs in `here`, whose name is in some files
    result: Any
    files: dict[str, str]
    steps: int
    size: int  # bytes on the disk of what was added
    seconds: float


@pytest.fixture(scope="module", params=sorted(cases.CASES))
def whole(request, nursery, tmp_path_factory):
    case = cases.CASES[request.param]
    folder = tmp_path_factory.mktemp("case")
    (folder / "prepared/out").mkdir(parents=True)
    case.prepare(folder / "prepared")
    here = shutil.copytree(folder / "prepared", folder / "here")
    before, start = disks.used(here / "out"), time.monotonic()
    code, steps, said = nursery.run(case.call, cases.filled(case.arguments, here), here / "out")
    seconds, size = time.monotonic() - start, disks.used(here / "out") - before
    assert code == 0, said
    assert steps > 3
    result, bytes_of = case.result(here / "out"), cases.bytes_of(here / "out")
    return Undisturbed(request.param, case, folder, result, bytes_of, steps, size, seconds)


def prepared(whole):
    shutil.rmtree(whole.folder / "here")
    folder = shutil.copytree(whole.folder / "prepared", whole.folder / "here")
    for old in whole.case.old:
        (folder / "out" / old).write_text(OLD)
    return folder


def moments(name, steps, count, *, seed=0):
    """Steps and delays in seconds, half of them at once: in the middle of what is written, or between two calls."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    chosen = rng.choice(np.arange(1, steps + 1), min(count, steps), replace=False)
    return [(int(step), float(rng.choice([0, 0.002, 0.02]))) for step in sorted(chosen)]


def check_files(whole, folder, *, out="out"):
    """No file that is not hidden is half: it is as in the undisturbed run, as it was before, or one that grows."""
    before, case = cases.bytes_of(whole.folder / "prepared/out"), whole.case
    for name, digest in cases.bytes_of(folder / out).items():
        path = folder / out / name
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.name.startswith(case.growing) or digest in (whole.files.get(name), before.get(name)):
            continue
        if path.name in case.old and path.read_text(errors="replace") == OLD:
            continue
        # The rest holds the time of day: it must be whole all the same.
        if path.suffix == ".json":
            assert cases.is_json(path), path
        else:
            assert path.stat().st_size and case.result in (cases.of_run, cases.of_export, cases.of_index), path


def temporary(folder):
    """What is half."""
    return [path for path in folder.rglob(".*") if TEMPORARY.fullmatch(path.name)]


def check_again(whole, nursery, folder):
    case = whole.case
    arguments = case.arguments
    if case.again and list((folder / "out").glob("*/checkpoints/epoch-*")):
        arguments = case.again
    elif case.again:  # killed before there was anything to go on with: begun anew
        shutil.rmtree(folder / "out")
        (folder / "out").mkdir()
    code, _, said = nursery.run(case.call, cases.filled(arguments, folder), folder / "out")
    assert code == 0 or (case.refused and case.refused in said), said
    assert case.result(folder / "out") == whole.result
    assert not temporary(folder / "out")


def test_killed(whole, nursery):
    case = whole.case
    for step, delay in moments(whole.name, whole.steps, case.kills):
        folder = prepared(whole)
        arguments = cases.filled(case.arguments, folder)
        code, _, said = nursery.run(case.call, arguments, folder / "out", at=step, delay=delay)
        assert code == -signal.SIGKILL or (delay and code == 0), said
        check_files(whole, folder)
        check_again(whole, nursery, folder)


@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_a_disk(whole, nursery, disk):
    """One line with the file and the cure, nothing half; and with room on the disk the same command goes on from there."""
    if not disks.may_mount():
        pytest.skip("MOUNTS ARE NOT ALLOWED HERE: nothing was tried on a full or a read-only disk")
    if whole.name in ON_NO_DISK:
        pytest.skip("another of the same command is tried")
    parts = (0, 0.3, 0.7) if disk == "full" and whole.seconds < 2 else (0.6,)
    for part in parts:
        folder = prepared(whole)
        arguments, left = cases.filled(whole.case.arguments, folder), folder / "left"
        amount = int(part * whole.size) if disk == "full" else disk
        code, _, said = nursery.run(whole.case.call, arguments, folder / "out", disk=amount)
        last = said.strip().splitlines()[-1]
        words = (
            "No space left on device; free some space or"
            if disk == "full"
            else "(Read-only file system|\\S+ may not be written to);"
        )
        assert code == 2 and "Traceback" not in said, said
        assert re.search(f"error: .*{folder}/out.*: {words} write elsewhere", last), said
        check_files(whole, folder, out="left")
        assert not temporary(left) and not list(left.rglob(".lock*"))
        if disk == "read-only":
            assert cases.bytes_of(left) == cases.bytes_of(folder / "out")
            continue
        shutil.rmtree(folder / "out")
        left.rename(folder / "out")
        check_again(whole, nursery, folder)


@pytest.mark.parametrize(("disk", "words"), [(0, "No space left on device; free"), ("read-only", "Read-only file")])
def test_an_index_that_cannot_be_brought_up_to_date(nursery, tmp_path, disk, words):
    if not disks.may_mount():
        pytest.skip("MOUNTS ARE NOT ALLOWED HERE: nothing was tried on a full or a read-only disk")
    (tmp_path / "out").mkdir()
    cases.songs(tmp_path)
    code, _, said = nursery.run("tests.kill.cases:index", [tmp_path], tmp_path / "out")
    assert code == 0, said
    for number in range(200, 300):
        (tmp_path / "music" / f"{number}.wav").write_text(f"happy jazz {number}")
    code, _, said = nursery.run("tests.kill.cases:index", [tmp_path], tmp_path / "out", disk=disk)
    assert code == 2 and words in said and len(said.splitlines()) == 1, said
    assert cases.of_index(tmp_path / "left") == cases.of_index(tmp_path / "out")


def test_a_worker_killed(whole, nursery):
    if not whole.case.workers:
        pytest.skip("has no workers")
    folder = prepared(whole)
    arguments = cases.filled(whole.case.arguments, folder)
    code, _, said = nursery.run(whole.case.call, arguments, folder / "out", at=3, delay=0.3, whom="worker")
    assert code == 0, said
    assert whole.case.result(folder / "out") == whole.result


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_ended_by_a_signal(whole, nursery, number, code, word):
    if whole.case.call.startswith("tests"):
        pytest.skip("is no command")
    ((step, _),) = moments(whole.name, whole.steps, 1, seed=number)
    folder = prepared(whole)
    arguments = cases.filled(whole.case.arguments, folder)
    found, _, said = nursery.run(whole.case.call, arguments, folder / "out", at=step, number=number)
    assert found == code, said
    assert said.strip().splitlines()[-1].endswith(f": {word}") and "Traceback" not in said
    assert not temporary(folder / "out") and not list(folder.rglob(".lock*"))
    check_files(whole, folder)


def test_workers_end_with_a_killed_parent(nursery, tmp_path):
    """Those of patches, too."""
    (tmp_path / "out").mkdir()
    cases.items(tmp_path)
    chosen = cases.CASES["patches"]
    before = set(spawned())
    code, *_ = nursery.run(chosen.call, cases.filled(chosen.arguments, tmp_path), tmp_path / "out", at=6, delay=0.2)
    assert code == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while (left := set(spawned()) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def spawned():
    """Processes of pools that run."""
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                if b"multiprocessing.spawn" in file.read():
                    yield process
        except OSError:
            continue
