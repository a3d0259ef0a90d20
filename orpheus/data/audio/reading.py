"""Audio files to what records store: decode, mono, resample, waveform or log-mel spectrogram; with validity checks.

Everything is streamed in blocks of fixed length, so that an hour of audio needs the memory of ten seconds, and
preprocessing and prediction take the same path and give the same numbers.
"""

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from orpheus.base import arrays, parallel
from orpheus.data.audio import decoders
from orpheus.data.audio.account import Account, Blocks, block_frames, counted
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.audio.spectrogram import mono, stored_blocks
from orpheus.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Source: TypeAlias = "str | os.PathLike | np.ndarray | bytes | bytearray | memoryview | IO[bytes]"
AUDIO_SUFFIXES = decoders.SUFFIXES | {".npz"}
KEEP, SKIP = DAMAGED = ("keep", "skip")

# What a decoder may make of a broken file; MemoryError where its header asks for too much.
UNUSABLE = (DataError, OSError, RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError)

SILENCE = 1e-4  # peak amplitude, -80 dBFS
LOUDEST = 64.0  # peak amplitude; a decoded mp3 exceeds 1 by little, integers written as floats by much
_CANCELLED = 1e-4  # energy of the mean of the channels by theirs, -40 dB: they are opposite


class SilentError(DataError):
    """A file that can be decoded and holds nothing but silence."""


def load(
    path: str | os.PathLike,
    spec: AudioSpec,
    *,
    min_seconds: float = 0.0,
    damaged: str = KEEP,
    account: Account | None = None,
) -> np.ndarray:
    """A whole file as it is stored in a record.

    Args:
        path: mp3, ogg, flac, wav (libsndfile), .npz with `array` and `sr`, anything else through ffmpeg.
        spec: What to make of it.
        min_seconds: Shorter files are refused.
        damaged: ``"keep"`` takes what can be decoded of a damaged file, ``"skip"`` refuses it.
        account: Receives what was decoded and lost; without one, damage is logged as a warning.

    Returns:
        (samples,) or (frames, n_mels) in the spec's dtype.

    Raises:
        DataError: empty, not audio, non-finite, silent (`SilentError`), too short, or damaged and not to be kept; the
            message starts with the path.
    """
    audio = np.concatenate(list(stream(path, spec, damaged=damaged, account=account)))
    seconds = spec.seconds(len(audio))
    if seconds < min_seconds:
        raise DataError(f"{path}: too short ({seconds:.2f} s, at least {min_seconds:g} s wanted)")
    return audio


class Loaded(NamedTuple):
    """What `load_or_reason` got out of a file.

    Attributes:
        stored: As from `load`; None if the file cannot be used.
        reason: Why it cannot, else empty.
        damage: What is wrong with what is there, in words; empty if nothing.
        lost_seconds: What damage cost.
    """

    stored: np.ndarray | None
    reason: str
    damage: str = ""
    lost_seconds: float = 0.0


def load_or_reason(
    path: str | os.PathLike, spec: AudioSpec, *, min_seconds: float = 0.0, damaged: str = KEEP
) -> Loaded:
    """`load`, or why the file cannot be used: whatever a decoder makes of a broken file is that file's failure.

    What the decoders' libraries print goes into the reason or the damage, and not to the terminal.
    """
    account, stored, why = Account(), None, ""
    with parallel.printed_by_libraries() as lines:
        try:
            stored = load(path, spec, min_seconds=min_seconds, damaged=damaged, account=account)
        except UNUSABLE as error:
            why = reason(path, error)
    note = parallel.note(lines)
    if stored is None:
        return Loaded(None, why + note)
    return Loaded(stored, "", f"{account}{note}" if account.damage else "", round(account.lost_seconds, 3))


def reason(path: str | os.PathLike, error: Exception) -> str:
    """Why a file cannot be used, without its path, from one of `UNUSABLE`."""
    return str(error).removeprefix(f"{path}: ") or type(error).__name__


def stream(
    source: Source,
    spec: AudioSpec,
    *,
    sample_rate: int | None = None,
    damaged: str = KEEP,
    account: Account | None = None,
) -> Iterator[np.ndarray]:
    """Yield stored frames in order, some ten seconds at a time; errors, and arguments that are not named, as in `load`.

    Args:
        source: A path as of `load`; an array of samples, floats from -1 to 1 or integers, (samples,) or with an axis of
            channels; an audio file's bytes; or a binary file that is open for reading.
        spec: What to make of it.
        sample_rate: Of an array, Hz; None for anything else.
        damaged: As in `load`.
        account: As in `load`.

    Raises:
        ConfigError: an array without sample rate, or a sample rate for something that knows its own.

    A recording whose channels cancel each other (one is the other's opposite) would be silent as their mean: of such the
    loudest channel is taken.
    """
    kept = account or Account()
    yield from stored_blocks(samples(source, spec.sample_rate, given=sample_rate, damaged=damaged, account=kept), spec)
    if kept.damage and account is None:
        log.warning("%s: damaged: %s; the rest is used", name_of(source), kept)


def samples(
    source: Source,
    sample_rate: int,
    *,
    given: int | None = None,
    damaged: str = KEEP,
    account: Account | None = None,
) -> Iterator[np.ndarray]:
    """Yield the samples that `stream` makes what is stored of: mono float32 from -1 to 1, some ten seconds at a time.

    Args:
        source: As in `stream`.
        sample_rate: Hz, after resampling.
        given: The sample rate of an array, Hz; None for anything else.
        damaged: As in `load`.
        account: As in `load`, but that without one nothing is logged.

    Raises:
        ConfigError, DataError: as in `stream`.
    """
    check_damaged(damaged)
    kept, name = account or Account(), name_of(source)
    yield from _checked(name, _resampled(_mixed(blocks(source, kept, sample_rate=given)), sample_rate))
    refuse_damage(name, kept, damaged)


def check_damaged(damaged: str) -> None:
    """Refuse what is none of `DAMAGED`.

    Raises:
        ConfigError: see above.
    """
    if damaged not in DAMAGED:
        raise ConfigError(f"damaged={damaged!r}: expected one of {', '.join(DAMAGED)}")


def refuse_damage(name: str | os.PathLike, account: Account, damaged: str) -> None:
    """At the end of a file: refuse it where it is damaged and such are not to be kept.

    Raises:
        DataError: see above.
    """
    if account.damage and damaged == SKIP:
        raise DataError(f"{name}: damaged: {account}")


def name_of(source: Source) -> str:
    """What messages call a source."""
    if isinstance(source, np.ndarray):
        return "array"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "bytes"
    return str(getattr(source, "name", "open file") if hasattr(source, "read") else source)


def blocks(source: Source, account: Account | None = None, *, sample_rate: int | None = None) -> Blocks:
    """Decode a source: the one way in which scanning, preprocessing, prediction and indexing do.

    Args:
        source: As in `stream`.
        account: Receives rate, channels, seconds and damage.
        sample_rate: As in `stream`.

    Yields:
        ((frames, channels) float32, sample rate), at most ten seconds at a time.

    Raises:
        DataError: no file, empty, or nothing of it can be decoded; the message starts with the path.
    """
    account, array = account or Account(), isinstance(source, np.ndarray)
    if array != (sample_rate is not None):
        cure = "an array needs it" if array else "only an array needs it, a file knows its own; leave it out"
        raise ConfigError(f"sample_rate={sample_rate}: {cure}")
    if isinstance(source, np.ndarray):
        try:
            yield from _array(source, int(sample_rate or 0), account)
        except DataError as error:
            raise DataError(f"array: {error}") from None
    elif isinstance(source, (bytes, bytearray, memoryview)) or hasattr(source, "read"):
        yield from _content(source, account)
    else:
        yield from _file(Path(source), account)


def _content(source: Any, account: Account) -> Blocks:
    """Bytes or an open file: in a file of its own, since decoders want one to seek in, and ffmpeg a path."""
    name = name_of(source)
    with tempfile.NamedTemporaryFile() as file:
        if hasattr(source, "read"):
            try:
                shutil.copyfileobj(source, file)
            except TypeError:
                raise DataError(f"{name}: gives text; open it with mode 'rb'") from None
        else:
            file.write(source)
        file.flush()
        try:
            yield from _file(Path(file.name), account)
        except DataError as error:
            raise DataError(str(error).replace(file.name, name)) from None


def _file(path: Path, account: Account) -> Blocks:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file (0 bytes)")
    try:
        yield from _npz(path, account) if path.suffix.lower() == ".npz" else decoders.decode(path, account)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except UNUSABLE as error:  # whatever a library makes of a broken file
        raise DataError(f"{path}: {reason(path, error)}") from error


def _npz(path: Path, account: Account) -> Blocks:
    try:
        parts = arrays.load_npz(path, ("array", "sr"))
        array, rate = parts["array"], int(parts["sr"])
    except (ValueError, TypeError, OverflowError) as error:  # a DataError among them, which begins with the path
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(f"not an audio .npz with 'array' and 'sr' ({reason})") from None
    yield from _array(array, rate, account)


def _array(array: np.ndarray, rate: int, account: Account) -> Blocks:
    if rate <= 0 or array.ndim not in (1, 2) or array.dtype.kind not in "if":
        raise DataError(f"array of shape {array.shape} and type {array.dtype} at sr={rate} is no audio")
    if not array.size:
        return
    scale = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max) + 1.0
    if array.ndim == 2:  # librosa's (channels, samples), or its transpose
        array = array if array.shape[0] > array.shape[1] else array.T
    array = array.reshape(len(array), -1)
    count = block_frames(rate, array.shape[1])
    whole = ((array[start : start + count] / scale, rate) for start in range(0, len(array), count))
    yield from counted(whole, account)


def _mixed(found: Blocks) -> Iterator[tuple[np.ndarray, int]]:
    """The mean of the channels; where they cancel each other as soon as sound begins, the loudest one instead."""
    decided, channel = False, -1
    for block, rate in found:
        mixed = mono(block)
        if not decided and block.shape[1] > 1 and block.size:
            energy = float(np.vdot(block, block)) / block.size  # a product of vectors: nothing is as fast
            if energy >= SILENCE**2:
                decided = True
                if float(np.vdot(mixed, mixed)) / len(mixed) < _CANCELLED * energy:
                    channel = int(np.square(block).sum(axis=0).argmax())
        if 0 <= channel < block.shape[1]:
            mixed = block[:, channel]
        yield np.ascontiguousarray(mixed, np.float32), rate


def _resampled(found: Iterator[tuple[np.ndarray, int]], sample_rate: int) -> Iterator[np.ndarray]:
    """Resample with soxr's high-quality stream, which does not depend on where the blocks end; the rate may change."""
    import soxr

    for rate, stretch in itertools.groupby(found, key=lambda pair: pair[1]):
        if rate == sample_rate:
            for block, _ in stretch:
                yield block
            continue
        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        for block, _ in stretch:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _checked(path: str | os.PathLike, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass blocks on; refuse what is not finite, and at the end what was silent or empty."""
    samples, peak = 0, 0.0
    for block in blocks:
        if not len(block):
            continue
        block_peak = float(np.max(np.abs(block)))
        if not np.isfinite(block_peak):
            raise DataError(f"{path}: a sample is not finite (NaN or infinite)")
        if block_peak > LOUDEST:
            raise DataError(f"{path}: samples up to {block_peak:.3g}, not in -1 to 1; integers saved as floats?")
        samples, peak = samples + len(block), max(peak, block_peak)
        yield block
    if not samples:
        raise DataError(f"{path}: no audio in it (0 samples)")
    if peak < SILENCE:
        raise SilentError(f"{path}: silent (peak {peak:.1e}, below -80 dBFS)")
