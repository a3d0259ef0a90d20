"""A trained tagger on new audio: windows over the whole file, decoded and standardised as in training."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from orpheus.data.audio import reading
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import inference
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import data


@dataclass(frozen=True)
class Prediction:
    """Tags of one file.

    Attributes:
        classes: Names of the columns.
        starts: (windows,) seconds at which each window begins.
        window_seconds: Length of a window.
        scores: (windows, classes) float32 in 0…1.
        mean: (classes,) float32, over windows.
    """

    classes: tuple[str, ...]
    starts: np.ndarray
    window_seconds: float
    scores: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.scores.mean(axis=0)

    def top(self, count: int | None = None, *, threshold: float = 0.0) -> list[tuple[str, float]]:
        """(class, mean score), highest first: at most `count`, none below `threshold`."""
        mean = self.mean
        order = np.argsort(-mean, kind="stable")[:count]
        return [(self.classes[i], float(mean[i])) for i in order if mean[i] >= threshold]


class Tagger:
    """A trained tagger.

    Attributes:
        run: Its folder.
        classes: Names of the output columns.
        spec: What the audio is turned into.
        windows: What of it is heard at a time.
        window_seconds: Their length.
        model: The Keras model, stored-type windows in.
    """

    def __init__(self, run: Run):
        self.run = run
        self.spec = run.spec()
        self.classes = run.classes().classes
        self.windows = data.windows(data.load_config(run))
        self.window_seconds = self.windows.seconds
        self.model = load_model(run)
        self._forward = inference.forward(self.model)

    def predict(self, path: str | os.PathLike, *, hop_seconds: float | None = None, batch_size: int = 16) -> Prediction:
        """Tag a file, in memory that does not grow with its length (but for the scores).

        Args:
            path: Anything `orpheus.data.audio.reading` decodes.
            hop_seconds: From window to window, above 0 and at most a window; None for a window.
            batch_size: Windows per pass.

        Raises:
            DataError: the file cannot be used; the message starts with its path.
            ConfigError: hop_seconds out of range.

        Example:
            >>> orpheus.load("runs/…").predict("song.mp3").top(3)  # doctest: +SKIP
            [('guitar', 0.93), ('loud', 0.71), ('fast', 0.40)]
        """
        ((_, result),) = self.predict_files([path], hop_seconds=hop_seconds, batch_size=batch_size)
        if isinstance(result, DataError):
            raise result
        return result

    def predict_files(
        self, paths: Iterable[str | os.PathLike], *, hop_seconds: float | None = None, batch_size: int = 16
    ) -> Iterator[tuple[str | os.PathLike, Prediction | DataError]]:
        """Tag files: batches go across them, and the next ones are decoded while the model is at work.

        Args:
            paths: As of `predict`, like the other arguments.

        Yields:
            (path, its prediction or why there is none), in order, each as soon as its last window has been scored.

        Raises:
            ConfigError: hop_seconds out of range.
        """
        window, hop = self.spec.frames(self.window_seconds), self.spec.frames(hop_seconds or self.window_seconds)
        if (hop_seconds is not None and hop_seconds <= 0) or hop > window:
            raise ConfigError(
                f"hop_seconds={hop_seconds}: must be above 0 and at most a window, {self.window_seconds:g} s"
            )
        seconds = self.spec.seconds(window)
        starts: list[int] = []  # of the file at hand
        scores: list[np.ndarray] = []
        for batch in inference.ahead(self._batches(paths, window, hop, batch_size), 2):
            rows = self._forward(batch.windows).numpy() if batch.windows is not None else np.zeros((0, 0))
            for count, path, error in batch.ends:
                scores.append(rows[:count])
                starts, rows = starts + batch.starts[:count], rows[count:]
                del batch.starts[:count]
                if error is None:
                    places = np.array([self.spec.seconds(start) for start in starts])
                    yield path, Prediction(self.classes, places, seconds, np.concatenate([s for s in scores if len(s)]))
                else:
                    yield path, error
                starts, scores = [], []
            starts += batch.starts
            scores.append(rows)

    def _batches(
        self, paths: Iterable[str | os.PathLike], window: int, hop: int, batch_size: int
    ) -> Iterator["_Batch"]:
        starts: list[int] = []
        windows: list[np.ndarray] = []
        ends: list[tuple[int, str | os.PathLike, DataError | None]] = []
        ended = 0  # windows of this batch whose file has ended
        for path in paths:
            error = None
            try:
                for start, frames in inference.sliding(
                    reading.stream(path, self.spec), window, hop, whole=self.windows.whole
                ):
                    starts.append(start)
                    windows.append(frames)
                    if len(windows) == batch_size:
                        yield _Batch(starts, np.stack(windows), ends)
                        starts, windows, ends, ended = [], [], [], 0
            except DataError as found:
                error = found
            ends.append((len(starts) - ended, path, error))
            ended = len(starts)
        if windows or ends:
            yield _Batch(starts, np.stack(windows) if windows else None, ends)


@dataclass(frozen=True)
class _Batch:
    """Windows of one file or several.

    Attributes:
        starts: First frame of each window in its file.
        windows: (windows, …); None where there is none.
        ends: Of every file that ends in this batch: how many of the windows are its, path, why it cannot be used.
    """

    starts: list[int]
    windows: np.ndarray | None
    ends: list[tuple[int, str | os.PathLike, DataError | None]]
