"""Threads that own what only one thread may use, with a bounded queue before each: calls, and windows for models.

Windows of several recordings go through a model together: whatever waits when a pass begins is in it, so that nobody
waits for a batch to be full, and a short recording is not behind a long one.
"""

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np

from orpheus.tasks.service import failures
from orpheus.tasks.service.metrics import Metrics

Forward = Callable[[np.ndarray], Any]


class Lane:
    """A thread that makes one call after the other.

    Args:
        name: For metrics.
        metrics: Receive the queue's length and the thread's busy seconds.
        limit: Of calls that wait.
    """

    def __init__(self, name: str, metrics: Metrics, *, limit: int):
        self.name, self._metrics, self._limit = name, metrics, limit
        self._waiting: deque[tuple[Future, Callable, tuple]] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=f"lane {name}", daemon=True)
        self._thread.start()

    async def call(self, function: Callable, *arguments: Any) -> Any:
        """`function` of the arguments, in the thread.

        Raises:
            Failure: too many calls wait.
            Exception: what the function raises.
        """
        return await asyncio.wrap_future(self.submit(function, *arguments))

    def submit(self, function: Callable, *arguments: Any, anyway: bool = False) -> Future:
        """As `call`, from any thread; `anyway` where the queue is full, too."""
        future: Future = Future()
        with self._change:
            if self._stopping or (len(self._waiting) >= self._limit and not anyway):
                raise failures.busy(f"{len(self._waiting)} requests wait for {self.name}")
            self._waiting.append((future, function, arguments))
            self._metrics.queued.labels(self.name).set(len(self._waiting))
            self._change.notify()
        return future

    def close(self) -> None:
        """End the thread when what it does is done; what waits is not done."""
        with self._change:
            self._stopping = True
            for future, *_ in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._stopping:
                    self._change.wait()
                if not self._waiting:
                    return
                future, function, arguments = self._waiting.popleft()
                self._metrics.queued.labels(self.name).set(len(self._waiting))
            began = time.perf_counter()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments))
                except BaseException as error:
                    future.set_exception(error)
            self._metrics.busy.labels(self.name).inc(time.perf_counter() - began)


class ModelThread:
    """The thread in which models run: passes of windows over several recordings, a pass at a time.

    Args:
        metrics: Receive the queue's length, sizes of batches and seconds of passes.
        limit: Of recordings that wait or are under way.
        batch_size: Windows per pass.
    """

    def __init__(self, metrics: Metrics, *, limit: int, batch_size: int):
        self._lane = Lane("model", metrics, limit=limit)
        self._metrics, self._limit, self._batch_size = metrics, limit, batch_size
        self._recordings: list[_Recording] = []
        self._lock = threading.Lock()
        self._running = False

    async def call(self, function: Callable, *arguments: Any) -> Any:
        """`function` of the arguments between two passes; see `Lane.call`."""
        return await self._lane.call(function, *arguments)

    async def windows(self, forward: Forward, windows: Iterator[np.ndarray]) -> np.ndarray:
        """Outputs of a model for the windows of a recording, in order.

        Args:
            forward: (windows, …) → (windows, outputs) with a method ``numpy``; recordings of the same one share passes.
            windows: Made in the thread as they are needed.

        Raises:
            Failure: too many recordings wait.
        """
        recording = _Recording(forward, windows)
        with self._lock:
            if len(self._recordings) >= self._limit:
                raise failures.busy(f"{len(self._recordings)} recordings wait for the model")
            self._recordings.append(recording)
            if not self._running:
                self._lane.submit(self._pass, anyway=True)
                self._running = True
        return await asyncio.wrap_future(recording.future)

    def close(self) -> None:
        """End the thread after the pass that runs."""
        self._lane.close()
        with self._lock:
            for recording in self._recordings:
                recording.future.cancel()

    def _pass(self) -> None:
        """One batch of those recordings that share the model of the one that has waited longest."""
        with self._lock:
            recordings = [one for one in self._recordings if not one.future.cancelled()]
        chosen = [one for one in recordings if one.forward is recordings[0].forward]
        parts: list[tuple[_Recording, np.ndarray]] = []
        try:
            # In turn, one window of each: a song that comes behind an hour of radio is ready soon all the same.
            for recording in itertools.cycle(chosen):
                if len(parts) >= self._batch_size or all(one.ended for one in chosen):
                    break
                if (window := recording.next()) is not None:
                    parts.append((recording, window))
            if parts:
                began = time.perf_counter()
                outputs = chosen[0].forward(np.stack([window for _, window in parts])).numpy()
                self._metrics.pass_seconds.inc(time.perf_counter() - began)
                self._metrics.batch.observe(len(parts))
                for (recording, _), row in zip(parts, outputs, strict=True):
                    recording.outputs.append(row)
            for recording in chosen:
                if recording.ended:
                    _settle(recording.future, np.stack(recording.outputs))
        except Exception as error:
            for recording in chosen:
                _settle(recording.future, error)
        # First those that had no turn for their model was another.
        with self._lock:
            left = [one for one in self._recordings if not one.future.done()]
            self._recordings = [one for one in left if one not in chosen] + [one for one in left if one in chosen]
            self._running = bool(self._recordings)
            if self._running:
                try:
                    self._lane.submit(self._pass, anyway=True)
                except failures.Failure:  # it is being closed
                    self._running = False


def _settle(future: Future, result: Any) -> None:
    """Give a future its result, unless nobody waits for it any more."""
    if future.set_running_or_notify_cancel():
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


class _Recording:
    """Windows of a recording that have still to be scored, and the outputs so far."""

    def __init__(self, forward: Forward, windows: Iterator[np.ndarray]):
        self.forward, self._windows = forward, windows
        self.outputs: list[np.ndarray] = []
        self.future: Future = Future()
        self.ended = False

    def next(self) -> np.ndarray | None:
        """Its next window; None where there is none."""
        window = None if self.ended else next(self._windows, None)
        self.ended = window is None
        return window
