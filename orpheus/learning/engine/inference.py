"""A model over many windows: outputs of each, and their mean by track."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf

T = TypeVar("T")


def forward(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model's inference as a graph that is traced once whatever the batch's size."""
    signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
    graph = tf.function(lambda audio: model(audio, training=False), input_signature=[signature], autograph=False)
    return lambda audio: graph(tf.cast(audio, tf.float32))


def by_track(
    model: keras.Model,
    batches: Iterable,
    tracks: int,
    *,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs of every window, and their mean by track.

    Args:
        model: One input, one output of shape (batch, classes).
        batches: Of (audio, index of the track), as `epochs.all_windows` gives them.
        tracks: Number of tracks.
        progress: Wraps the batches.

    Returns:
        (tracks, classes) float32 means; (windows, classes) float32; (windows,) int64 index of each window's track.
    """
    run = forward(model)
    outputs, owners = [], []
    for audio, index in progress(batches):
        outputs.append(run(audio).numpy())
        owners.append(index.numpy())
    scores, owner = np.concatenate(outputs), np.concatenate(owners)
    total = np.zeros((tracks, scores.shape[1]), np.float64)
    np.add.at(total, owner, scores)
    count = np.bincount(owner, minlength=tracks)[:, None]
    return (total / np.maximum(count, 1)).astype(np.float32), scores, owner


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Items in order, at most `count` of them made ahead of time by another thread.

    What making an item raises is raised where it would have come.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item  # type: ignore[misc]


def sliding(
    blocks: Iterable[np.ndarray], window: int, hop: int, *, whole: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Windows over a stream of frames, holding no more than a window and a block.

    Args:
        blocks: Consecutive arrays of frames, (frames, …).
        window: Frames per window; a shorter stream is padded with zeros, which is silence.
        hop: Frames from window to window, 1 to `window`.
        whole: Leave out what remains after the last whole window (of a stream that has one).

    Yields:
        (first frame, (window, …) array): every `hop` frames, and, if not `whole`, one that ends with the stream.
    """
    buffer: np.ndarray | None = None
    offset, start, last = 0, 0, -1
    for block in blocks:
        buffer = block if buffer is None else np.concatenate([buffer, block])
        end = offset + len(buffer)
        while start + window <= end:
            yield start, buffer[start - offset : start - offset + window]
            last, start = start, start + hop
        # The last window may have to reach back to `window` frames before the end.
        drop = min(start, max(end - window, 0)) - offset
        buffer, offset = buffer[drop:], offset + drop
    if buffer is None:
        return
    end = offset + len(buffer)
    if last < 0:
        yield 0, np.concatenate([buffer, np.zeros((window - len(buffer), *buffer.shape[1:]), buffer.dtype)])
    elif last + window < end and not whole:
        yield end - window, buffer[end - window - offset :]
