"""What decoding processes do: a hostile file in, and out a file of our own that the service can trust."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orpheus.base.killable import KillableProcesses, Killed
from orpheus.data.audio import reading
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import DataError
from orpheus.tasks.service.failures import Failure, unusable
from orpheus.tasks.service.metrics import Metrics
from orpheus.tasks.service.settings import Settings


class TooLong(Exception):
    """There is more audio in a file than is taken."""


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
        seconds: Its length.
        shape: Of the array of stored frames; () of a wav file.
    """

    seconds: float
    shape: tuple[int, ...] = ()


def to_stored(source: str, target: str, values: dict, longest: float) -> Decoded:
    """Decode a file to the frames that a model takes, as bytes in the spec's dtype.

    Args:
        source: Audio.
        target: File to write.
        values: Of the `AudioSpec`.
        longest: Seconds that are taken.

    Raises:
        DataError: the file cannot be used; the message names no path.
        TooLong: see `longest`.
    """
    spec, frames = AudioSpec(**values), 0
    with open(target, "wb") as file:
        try:
            for block in reading.stream(source, spec):
                frames += len(block)
                if spec.seconds(frames) > longest:
                    raise TooLong
                file.write(np.ascontiguousarray(block, spec.dtype).tobytes())
        except reading.UNUSABLE as error:
            raise DataError(reading.reason(source, error)) from None
    return Decoded(spec.seconds(frames), (frames, spec.width) if spec.width > 1 else (frames,))


def to_wav(source: str, target: str, sample_rate: int, longest: float) -> Decoded:
    """Decode a file to a mono wav file of 32-bit floats, whatever it was: what then is read from it is the same."""
    import soundfile

    count = 0
    with soundfile.SoundFile(target, "w", sample_rate, 1, subtype="FLOAT", format="WAV") as file:
        try:
            for block in reading.samples(source, sample_rate):
                count += len(block)
                if count > longest * sample_rate:
                    raise TooLong
                file.write(block)
        except reading.UNUSABLE as error:
            raise DataError(reading.reason(source, error)) from None
    return Decoded(count / sample_rate)


class Decoder:
    """Decodes files in processes of its own.

    Args:
        settings: How many processes, and the limits of a file.
        metrics: Are told how it went.
    """

    def __init__(self, settings: Settings, metrics: Metrics):
        self._settings, self._metrics, self._seconds = settings, metrics, settings.decode_seconds
        self._processes = KillableProcesses(settings.decoders)

    async def stored(self, source: Path, spec: AudioSpec, folder: Path) -> tuple[np.ndarray, float]:
        """Stored frames of a file, which are read from a file in `folder` as they are used, and its seconds.

        Raises:
            Failure: it cannot be used.
        """
        target = folder / "stored"
        done = await self._decode(to_stored, str(source), str(target), spec.to_json())
        return np.memmap(target, dtype=spec.dtype, mode="r", shape=done.shape), done.seconds

    async def wav(self, source: Path, sample_rate: int, folder: Path) -> tuple[Path, float]:
        """A wav file in `folder` with the samples of a file, and its seconds.

        Raises:
            Failure: it cannot be used.
        """
        target = folder / "samples.wav"
        done = await self._decode(to_wav, str(source), str(target), sample_rate)
        return target, done.seconds

    def close(self) -> None:
        """End the processes."""
        self._processes.close()

    async def _decode(self, function: Callable, *arguments: Any) -> Decoded:
        settings, outcome = self._settings, "ok"
        try:
            return await self._processes.call(function, *arguments, settings.audio_seconds, seconds=self._seconds)
        except DataError as error:
            outcome = "unusable"
            raise unusable(str(error)) from None
        except TooLong:
            outcome = "too_long"
            raise Failure(
                413, "too_long", f"more than {settings.audio_seconds / 60:g} minutes of audio, the most that is taken"
            ) from None
        except (Killed, MemoryError) as error:
            outcome = "killed"
            raise unusable(f"cannot be decoded: {error or 'it asks for too much memory'}") from None
        finally:
            self._metrics.decoded.labels(outcome).inc()
