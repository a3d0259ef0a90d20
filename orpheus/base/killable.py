"""Processes for work that may crash or never end: a call that takes too long is killed, with its process, and awaited."""

import asyncio
import contextlib
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from orpheus.base import parallel

MEMORY = 4 << 30  # bytes of address space: what one call may ask for


class Killed(Exception):
    """The process of a call has died, or was killed since its time was up: `args[0]` says which."""


class KillableProcesses:
    """A fixed number of processes, started afresh when one of them has died or had to be killed.

    Belongs to one event loop. A call that is cancelled, as when nobody waits for its result any more, is killed too.

    Args:
        count: Processes, and so calls at a time; others wait for their turn.
        memory: Bytes of address space of each.
    """

    def __init__(self, count: int, *, memory: int = MEMORY):
        self._memory, self._closed = memory, False
        self._free: asyncio.Queue[_Process] = asyncio.Queue()
        self._all: set[_Process] = set()
        for _ in range(count):
            self._start()

    async def call(self, function: Callable, *arguments: Any, seconds: float) -> Any:
        """`function` of the arguments, in one of the processes.

        Args:
            function: A module's function; arguments and result must pickle, and be small.
            arguments: Its own.
            seconds: It may take, from when a process is free.

        Raises:
            Killed: it took longer, or its process died.
            Exception: what the function raises.
        """
        process = await self._free.get()
        try:
            raised, result = await process.call((function, arguments), seconds)
        except BaseException:
            process.kill()
            process.pipe.close()
            self._all.discard(process)
            if not self._closed:
                self._start()
            raise
        self._free.put_nowait(process)
        if raised:
            raise result
        return result

    def close(self) -> None:
        """End all of them; calls that are under way are `Killed`."""
        self._closed = True
        for process in list(self._all):
            process.kill()

    def _start(self) -> None:
        process = _Process(self._memory)
        self._all.add(process)
        self._free.put_nowait(process)


class _Process:
    """One of them, with the pipe to it."""

    def __init__(self, memory: int):
        context = multiprocessing.get_context("spawn")  # a fork of a process that runs TensorFlow may hang
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, memory), daemon=True)
        self._process.start()
        theirs.close()

    async def call(self, message: tuple, seconds: float) -> tuple[bool, Any]:
        try:
            self.pipe.send(message)
            await asyncio.wait_for(self._readable(), seconds)
            return self.pipe.recv()
        except asyncio.TimeoutError:
            raise Killed(f"took longer than {seconds:g} s") from None
        except (EOFError, OSError):
            raise Killed(parallel.DIED) from None

    async def _readable(self) -> None:
        loop, found = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.pipe.fileno(), found.set)
        try:
            await found.wait()
        finally:
            loop.remove_reader(self.pipe.fileno())

    def kill(self) -> None:
        """End it, and what it has started."""
        assert self._process.pid is not None, "started with this object; a group 0 would be our own"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # where it has not come as far as to lead a group
        self._process.join()


def _work(pipe: Connection, memory: int) -> None:
    """What a process does until its parent ends it."""
    os.setsid()  # a group of its own, so that programs which it starts are killed with it
    parallel.start_worker()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = (False, function(*arguments))
        except Exception as error:
            answer = (True, error)
        pipe.send(answer)
