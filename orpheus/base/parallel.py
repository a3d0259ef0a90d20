"""Work in several processes that a crashing decoder cannot bring down."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

DIED = "the process that decoded it died"


def map_in_processes(function: Callable, items: Sequence, *, workers: int) -> Generator:
    """`function` of each item, in order, by processes; None where the process died (a decoder can crash).

    At most two results per process wait to be taken, so that large ones do not pile up.

    Args:
        function: A module's function; it and its results must pickle. The processes import its module.
        items: Its arguments.
        workers: Processes, started afresh since a fork of one that runs TensorFlow may hang; 0 works in this one.
    """
    if workers == 0:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    done = alone = 0
    while done < len(items):
        stop = done + 1 if alone else len(items)
        count = min(workers, stop - done)
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=start_worker)
        waiting: deque[Future] = deque()
        try:
            while done < stop:
                while len(waiting) < min(2 * count, stop - done):
                    waiting.append(pool.submit(function, items[done + len(waiting)]))
                outcome = waiting.popleft().result()
                done += 1
                yield outcome
        except BrokenProcessPool:
            if alone:
                done += 1
                yield None
            else:
                alone = 2 * workers + 1  # one of the next few killed its process: each gets one of its own
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        alone = max(0, alone - 1)


@contextlib.contextmanager
def printed_by_libraries() -> Iterator[list[str]]:
    """What C libraries print to standard error meanwhile: a list that holds its lines, each once, when the block has ended.

    Only for blocks in which no other thread prints; what Python itself prints there is among it.
    """
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            said = file.read(1 << 16).decode("utf-8", "replace").split("\n")
            lines += [line for line in dict.fromkeys(" ".join(line.split())[:200] for line in said) if line][:5]


def note(lines: Sequence[str]) -> str:
    """What `printed_by_libraries` caught, to go behind a message; empty where it caught nothing."""
    return f" [{'; '.join(lines)}]" if lines else ""


def start_worker() -> None:
    """Set up a process: quiet, one thread of linear algebra, ended by its parent only and not without it."""
    # What C libraries print about odd files goes to nowhere; errors come back as exceptions all the same.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot stop its processes, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
