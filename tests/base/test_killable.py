"""Calls in processes that can be killed: each failure is that call's, and the next one finds a fresh process."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from orpheus.base.killable import KillableProcesses, Killed
from orpheus.errors import DataError


def double(number: int) -> int:
    return 2 * number


def fail(message: str) -> None:
    raise DataError(message)


def process(_: object = None) -> int:
    return os.getpid()


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(path: str) -> None:
    """Never end, as a program that this process has started does not either."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def greedy() -> int:
    return len(bytearray(1 << 40))


def running(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def gone(pids) -> bool:
    for _ in range(100):
        if not any(map(running, pids)):
            return True
        await asyncio.sleep(0.02)
    return False


async def started(path) -> list[int]:
    """The processes that `hang` has written down."""
    while not path.exists() or len(path.read_text().split()) < 2:
        await asyncio.sleep(0.02)
    return list(map(int, path.read_text().split()))


@pytest.mark.slow
def test_calls_and_what_becomes_of_them(tmp_path):
    async def all_of_it():
        processes = KillableProcesses(1)
        try:
            assert await processes.call(double, 21, seconds=30) == 42
            first = await processes.call(process, seconds=30)
            with pytest.raises(DataError, match="no such song"):
                await processes.call(fail, "no such song", seconds=30)
            assert await processes.call(process, seconds=30) == first != os.getpid()
            with pytest.raises(MemoryError):
                await processes.call(greedy, seconds=30)

            with pytest.raises(Killed, match="died"):
                await processes.call(crash, seconds=30)
            second = await processes.call(process, seconds=30)
            assert second != first and await gone([first])

            with pytest.raises(Killed, match=r"longer than 0\.5 s"):
                await processes.call(hang, str(tmp_path / "slow"), seconds=0.5)
            assert await processes.call(double, 4, seconds=30) == 8 and await gone([second])

            waiting = asyncio.ensure_future(processes.call(hang, str(tmp_path / "left"), seconds=600))
            pids = await started(tmp_path / "left")
            assert all(map(running, pids))
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await gone(pids), "nobody waits for it, and it works on"

            last = asyncio.ensure_future(processes.call(hang, str(tmp_path / "end"), seconds=600))
            pids = await started(tmp_path / "end")
        finally:
            processes.close()
        assert await gone(pids)
        with pytest.raises(Killed):
            await last

    asyncio.run(all_of_it())


def test_calls_wait_for_their_turn():
    async def all_of_it():
        processes = KillableProcesses(2)
        try:
            found = await asyncio.gather(*(processes.call(process, number, seconds=30) for number in range(6)))
            assert 1 <= len(set(found)) <= 2
        finally:
            processes.close()

    asyncio.run(all_of_it())
