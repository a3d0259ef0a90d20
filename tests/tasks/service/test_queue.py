"""Threads with a bounded queue: calls in order, and windows of several recordings in one pass of a model."""

import asyncio
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from orpheus.tasks.service.failures import Failure
from orpheus.tasks.service.metrics import Metrics
from orpheus.tasks.service.queue import Lane, ModelThread


class Output:
    """What a model gives."""

    def __init__(self, rows):
        self._rows = rows

    def numpy(self):
        return self._rows


class Model:
    """Doubles windows; notes the first value of each window of its passes, and waits to be let go."""

    def __init__(self, *, held=False):
        self.passes: list[list[int]] = []
        self.go = threading.Event()
        self.at_work = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, windows):
        self.at_work.set()
        assert self.go.wait(30)
        self.passes.append([int(window[0]) for window in windows])
        return Output(2 * windows)


def recording(first, count):
    """Windows that are `first`, `first` + 1, …"""
    return (np.full(3, first + place, np.float32) for place in range(count))


@pytest.fixture
def metrics():
    return Metrics()


def asked(metrics, name):
    return metrics.registry.get_sample_value(f"orpheus_{name}")


def test_a_lane_does_one_call_after_the_other_and_no_more_than_fit(metrics):
    lane, block, seen = Lane("test", metrics, limit=2), threading.Event(), []
    first = lane.submit(lambda: (seen.append(threading.get_ident()), block.wait(30)))
    while metrics.queued.labels("test")._value.get():
        pass
    waiting = [lane.submit(lambda n=number: seen.append(n)) for number in range(2)]
    with pytest.raises(Failure) as refused:
        lane.submit(seen.append, 9)
    assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "1")
    assert metrics.queued.labels("test")._value.get() == 2
    waiting[0].cancel()
    block.set()
    first.result(30)
    waiting[1].result(30)
    assert seen[1:] == [1] and seen[0] != threading.get_ident()
    with pytest.raises(KeyError):
        lane.submit({}.__getitem__, "x").result(30)
    assert lane.submit(lambda: 7).result(30) == 7
    lane.close()
    with pytest.raises(Failure):
        lane.submit(print)


def test_windows_of_several_recordings_share_passes_and_answers_are_their_own(metrics):
    model, thread = Model(held=True), ModelThread(metrics, limit=8, batch_size=4)

    async def all_of_it():
        alone = asyncio.ensure_future(thread.windows(model, recording(0, 1)))
        await asyncio.to_thread(model.at_work.wait, 30)
        others = [asyncio.ensure_future(thread.windows(model, recording(start, count))) for start, count in COUNTS]
        await asyncio.sleep(0.05)
        model.go.set()
        return await asyncio.gather(alone, *others)

    found = asyncio.run(all_of_it())
    thread.close()
    for (start, count), outputs in zip([(0, 1), *COUNTS], found, strict=True):
        np.testing.assert_array_equal(outputs, 2 * np.stack(list(recording(start, count))))
    assert model.passes[0] == [0] and sorted(model.passes[1]) == [100, 101, 200, 300]  # in turn
    assert max(map(len, model.passes)) == 4 and sum(map(len, model.passes)) == 1 + sum(count for _, count in COUNTS)
    short = next(place for place, one in enumerate(model.passes) if 200 in one)
    long = max(place for place, one in enumerate(model.passes) if any(100 <= value < 200 for value in one))
    assert short < long, "a short recording waits for a long one"
    assert asked(metrics, "batch_windows_count") == len(model.passes)
    assert asked(metrics, "batch_windows_sum") == 1 + sum(count for _, count in COUNTS)


COUNTS = [(100, 9), (200, 1), (300, 3)]


def test_models_do_not_mix_and_take_turns_with_calls(metrics):
    one, other = Model(held=True), Model()
    thread = ModelThread(metrics, limit=8, batch_size=2)

    async def all_of_it():
        first = asyncio.ensure_future(thread.windows(one, recording(0, 5)))
        await asyncio.to_thread(one.at_work.wait, 30)
        rest = [
            thread.windows(other, recording(100, 3)),
            thread.windows(one, recording(200, 1)),
            thread.call(lambda: len(one.passes)),
        ]
        rest = [asyncio.ensure_future(each) for each in rest]
        await asyncio.sleep(0.05)
        one.go.set()
        return await asyncio.gather(first, *rest)

    first, second, third, passes = asyncio.run(all_of_it())
    thread.close()
    assert (len(first), len(second), len(third)) == (5, 3, 1)
    assert all(value >= 100 for each in other.passes for value in each)
    assert passes == 1, "a call does not wait for the end of all recordings"


def test_what_fails_or_is_left_does_not_hold_others_up(metrics):
    model, thread = Model(), ModelThread(metrics, limit=2, batch_size=2)

    def broken():
        yield np.zeros(3, np.float32)
        raise ValueError("a broken file")

    async def all_of_it():
        with pytest.raises(ValueError, match="a broken file"):
            await thread.windows(model, broken())
        held = Model(held=True)
        left = [asyncio.ensure_future(thread.windows(held, recording(0, 50))) for _ in range(2)]
        await asyncio.to_thread(held.at_work.wait, 30)
        with pytest.raises(Failure, match="wait for the model"):
            await thread.windows(model, recording(0, 1))
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        held.go.set()
        await thread.call(lambda: None)
        assert len(await thread.windows(model, recording(0, 3))) == 3
        assert len(held.passes) == 1, "it works on what nobody waits for"

    asyncio.run(all_of_it())
    thread.close()


def test_what_waits_when_it_ends_is_cancelled(metrics):
    lane, block = Lane("test", metrics, limit=9), threading.Event()
    running, waiting = lane.submit(block.wait, 30), lane.submit(print)
    ending = threading.Thread(target=lane.close)
    ending.start()
    while not waiting.cancelled():
        pass
    block.set()
    ending.join(30)
    assert isinstance(running, Future) and running.result(30) is True
