"""A trained tagger on new audio: windows over the whole file, decoded and standardised as in training."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from orpheus.data.audio import reading
from orpheus.data.audio.reading import Source
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import inference
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import data

_Reader = Callable[[Source], Iterator[np.ndarray]]


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
        self._forwards = {"": inference.forward(self.model)}

    def predict(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        damaged: str = reading.KEEP,
        hop_seconds: float | None = None,
        batch_size: int = 16,
    ) -> Prediction:
        """Tag a file or samples in memory; beyond them, memory does not grow with their length (but for the scores).

        Args:
            source: Anything that `orpheus.data.audio.reading.stream` takes: a path; an array of samples; the bytes of an
                audio file; a binary file that is open for reading.
            sample_rate: Of an array, Hz.
            damaged: ``"keep"`` takes what can be decoded of a damaged file, with a warning; ``"skip"`` refuses it.
            hop_seconds: From window to window, above 0 and at most a window; None for a window.
            batch_size: Windows per pass.

        Raises:
            DataError: the file cannot be used; the message starts with its path.
            ConfigError: hop_seconds out of range, an array without its rate.

        Example:
            >>> orpheus.load("runs/…").predict("song.mp3").top(3)  # doctest: +SKIP
            [('guitar', 0.93), ('loud', 0.71), ('fast', 0.40)]
            >>> orpheus.load("runs/…").predict(samples, sample_rate=44100).top(1)  # doctest: +SKIP
            [('guitar', 0.93)]
        """
        reads: dict[str, Any] = {"sample_rate": sample_rate, "damaged": damaged}
        options = reads | {"hop_seconds": hop_seconds, "batch_size": batch_size}
        return _only(self.predict_files([source], **options))

    def predict_files(
        self,
        sources: Iterable[Source],
        *,
        sample_rate: int | None = None,
        damaged: str = reading.KEEP,
        hop_seconds: float | None = None,
        batch_size: int = 16,
    ) -> Iterator[tuple[Source, Prediction | DataError]]:
        """Tag files: batches go across them, and the next ones are decoded while the model is at work.

        Args:
            sources: As of `predict`, like the other arguments.

        Yields:
            (source, its prediction or why there is none), in order, each as soon as its last window has been scored.

        Raises:
            ConfigError: as of `predict`.
        """
        window, hop = self._window_and_hop(hop_seconds)
        seconds = self.spec.seconds(window)
        for source, starts, result in self._outputs(
            self.forward(), sources, self._reader(sample_rate, damaged), window, hop, batch_size
        ):
            if isinstance(result, DataError):
                yield source, result
            else:
                yield (
                    source,
                    Prediction(self.classes, np.array([self.spec.seconds(s) for s in starts]), seconds, result),
                )

    def features(
        self,
        source: Source,
        *,
        layer: str | None = None,
        sample_rate: int | None = None,
        damaged: str = reading.KEEP,
        hop_seconds: float | None = None,
        batch_size: int = 16,
    ) -> np.ndarray:
        """What a hidden layer says of every window.

        Args:
            source: As of `predict`, like the other arguments.
            layer: Its name; None for ``pooled``, or ``embedding`` where the network has no such layer.

        Returns:
            (windows, …) float32: the layer's output.

        Raises:
            DataError, ConfigError: as of `predict`; no such layer.

        Example:
            >>> orpheus.load("runs/msd-musicnn").features("song.mp3").mean(axis=0).shape  # doctest: +SKIP
            (1506,)
        """
        reads: dict[str, Any] = {"sample_rate": sample_rate, "damaged": damaged}
        options = reads | {"hop_seconds": hop_seconds, "batch_size": batch_size}
        return _only(self.features_of_files([source], layer=layer, **options))

    def features_of_files(
        self,
        sources: Iterable[Source],
        *,
        layer: str | None = None,
        sample_rate: int | None = None,
        damaged: str = reading.KEEP,
        hop_seconds: float | None = None,
        batch_size: int = 16,
    ) -> Iterator[tuple[Source, np.ndarray | DataError]]:
        """`features` of many, in the way of `predict_files`."""
        window, hop = self._window_and_hop(hop_seconds)
        forward, read = self.forward(self.layer(layer).name), self._reader(sample_rate, damaged)
        found = self._outputs(forward, sources, read, window, hop, batch_size)
        yield from ((source, result) for source, _, result in found)

    def layer(self, name: str | None = None) -> keras.Layer:
        """A layer of the network by name; None as of `features`.

        Raises:
            ConfigError: there is none of this name.
        """
        layers = {layer.name: layer for layer in self.model.layers}
        if name is None:
            name = "pooled" if "pooled" in layers else "embedding"
        if name not in layers:
            vectors = [layer.name for layer in self.model.layers if len(layer.output.shape) == 2]
            raise ConfigError(f"layer={name}: {self.run.folder} has no such layer; vectors give {', '.join(vectors)}")
        return layers[name]

    def forward(self, layer: str = "") -> Callable:
        """Stored windows (windows, …) → the network's output or, if one is named, a layer's: a tensor (windows, …)."""
        if layer not in self._forwards:
            inner = keras.Model(self.model.input, self.layer(layer).output)
            self._forwards[layer] = inference.forward(inner)
        return self._forwards[layer]

    def cut(self, blocks: Iterable[np.ndarray], hop_seconds: float | None = None) -> Iterator[tuple[float, np.ndarray]]:
        """The windows of stored frames as `predict` cuts them, each with the second at which it begins.

        Args:
            blocks: Consecutive arrays of frames, as of `orpheus.data.audio.reading.stream`.
            hop_seconds: As of `predict`.

        Raises:
            ConfigError: hop_seconds out of range.
        """
        window, hop = self._window_and_hop(hop_seconds)
        found = inference.sliding(blocks, window, hop, whole=self.windows.whole)
        return ((self.spec.seconds(start), frames) for start, frames in found)

    def _window_and_hop(self, hop_seconds: float | None) -> tuple[int, int]:
        """Frames of a window, and from window to window."""
        window, hop = self.spec.frames(self.window_seconds), self.spec.frames(hop_seconds or self.window_seconds)
        if (hop_seconds is not None and hop_seconds <= 0) or hop > window:
            raise ConfigError(
                f"hop_seconds={hop_seconds}: must be above 0 and at most a window, {self.window_seconds:g} s"
            )
        return window, hop

    def _reader(self, sample_rate: int | None, damaged: str) -> "_Reader":
        """Source → its stored frames, in blocks."""
        reading.check_damaged(damaged)
        return lambda source: reading.stream(source, self.spec, sample_rate=sample_rate, damaged=damaged)

    def _outputs(
        self, forward, sources: Iterable[Source], read: "_Reader", window: int, hop: int, batch_size: int
    ) -> Iterator[tuple[Source, list[int], np.ndarray | DataError]]:
        """(source, first frame of each window, the network's output for each or why there is none), in order."""
        starts: list[int] = []  # of the file at hand
        outputs: list[np.ndarray] = []
        for batch in inference.ahead(self._batches(sources, read, window, hop, batch_size), 2):
            rows = forward(batch.windows).numpy() if batch.windows is not None else np.zeros((0, 0))
            for count, source, error in batch.ends:
                outputs.append(rows[:count])
                starts, rows = starts + batch.starts[:count], rows[count:]
                del batch.starts[:count]
                yield source, starts, error or np.concatenate([part for part in outputs if len(part)])
                starts, outputs = [], []
            starts += batch.starts
            outputs.append(rows)

    def _batches(
        self, sources: Iterable[Source], read: "_Reader", window: int, hop: int, batch_size: int
    ) -> Iterator["_Batch"]:
        starts: list[int] = []
        windows: list[np.ndarray] = []
        ends: list[tuple[int, Source, DataError | None]] = []
        ended = 0  # windows of this batch whose file has ended
        for source in sources:
            error = None
            try:
                for start, frames in inference.sliding(read(source), window, hop, whole=self.windows.whole):
                    starts.append(start)
                    windows.append(frames)
                    if len(windows) == batch_size:
                        yield _Batch(starts, np.stack(windows), ends)
                        starts, windows, ends, ended = [], [], [], 0
            except DataError as found:
                error = found
            ends.append((len(starts) - ended, source, error))
            ended = len(starts)
        if windows or ends:
            yield _Batch(starts, np.stack(windows) if windows else None, ends)


def _only(results: Iterator[tuple[Source, Any]]) -> Any:
    """The one result; raises what it may be."""
    ((_, result),) = results
    if isinstance(result, DataError):
        raise result
    return result


@dataclass(frozen=True)
class _Batch:
    """Windows of one file or several.

    Attributes:
        starts: First frame of each window in its file.
        windows: (windows, …); None where there is none.
        ends: Of every file that ends in this batch: how many of the windows are its, source, why it cannot be used.
    """

    starts: list[int]
    windows: np.ndarray | None
    ends: list[tuple[int, Source, DataError | None]]
