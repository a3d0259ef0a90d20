"""Audio files to what records store: decode, mono, resample, waveform or log-mel spectrogram; with validity checks.

Everything is streamed in blocks of fixed length, so that an hour of audio needs the memory of ten seconds, and
preprocessing and prediction take the same path and give the same numbers.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from orpheus.data.audio import decoders
from orpheus.data.audio.spec import AudioSpec
from orpheus.data.audio.spectrogram import mono, stored_blocks
from orpheus.errors import DataError

AUDIO_SUFFIXES = decoders.SUFFIXES | {".npz"}


SILENCE = 1e-4  # peak amplitude, -80 dBFS


LOUDEST = 64.0  # peak amplitude; a decoded mp3 exceeds 1 by little, integers written as floats by much


_BLOCK_SECONDS = 10


class SilentError(DataError):
    """A file that can be decoded and holds nothing but silence."""


def load(path: str | os.PathLike, spec: AudioSpec, *, min_seconds: float = 0.0) -> np.ndarray:
    """A whole file as it is stored in a record.

    Args:
        path: mp3, ogg, flac, wav (libsndfile), .npz with `array` and `sr`, anything else through ffmpeg.
        spec: What to make of it.
        min_seconds: Shorter files are refused.

    Returns:
        (samples,) or (frames, n_mels) in the spec's dtype.

    Raises:
        DataError: empty, truncated, not audio, non-finite, silent (`SilentError`) or too short; the message starts with
            the path. Of an mp3 or wav that ends early, what is there is used.
    """
    audio = np.concatenate(list(stream(path, spec)))
    seconds = spec.seconds(len(audio))
    if seconds < min_seconds:
        raise DataError(f"{path}: too short ({seconds:.2f} s, at least {min_seconds:g} s wanted)")
    return audio


def attempt(path: str | os.PathLike, spec: AudioSpec, *, min_seconds: float = 0.0) -> np.ndarray | str:
    """`load`, or why the file cannot be used: whatever a decoder makes of a broken file is that file's failure."""
    try:
        return load(path, spec, min_seconds=min_seconds)
    except (DataError, OSError, RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        return str(error).removeprefix(f"{path}: ") or type(error).__name__


def stream(path: str | os.PathLike, spec: AudioSpec) -> Iterator[np.ndarray]:
    """Yield a file's stored frames in order, some ten seconds at a time; arguments and errors as in `load`."""
    yield from stored_blocks(_checked(path, _resampled(_decode(path), spec.sample_rate)), spec)


def _decode(path: str | os.PathLike) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (mono float32 block, sample rate)."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file (0 bytes)")
    if path.suffix.lower() == ".npz":
        yield from _decode_npz(path)
        return
    import soundfile

    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError) as error:
        refused = decoders.refusal(error)
    else:
        yield from _decode_sound(path, file)
        return
    try:
        with decoders.ffmpeg(path, refused) as (samples, rate, channels):
            for block in decoders.frames(samples, channels, count=_BLOCK_SECONDS * rate):
                yield mono(block), rate
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _decode_sound(path: Path, file) -> Iterator[tuple[np.ndarray, int]]:
    """The same of a file that libsndfile has opened."""
    import soundfile

    with file:
        read, declared, rate = 0, file.frames, file.samplerate
        try:
            while len(block := file.read(_BLOCK_SECONDS * rate, dtype="float32", always_2d=True)):
                read += len(block)
                yield mono(block), rate
        except soundfile.LibsndfileError as error:
            raise DataError(f"{path}: broken after {read / rate:.1f} s ({decoders.refusal(error)})") from None
        # An mp3's length is libsndfile's guess from its bit rate: a shorter one is no sign of a truncated file.
        if file.format != "MP3" and 0 < declared < 1 << 40 and declared - read > 0.01 * declared:
            raise DataError(f"{path}: truncated ({read / rate:.1f} s decoded, its header says {declared / rate:.1f} s)")


def _decode_npz(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    try:
        with zipfile.ZipFile(path):  # NumPy takes a file without this for other things than an archive
            pass
        with np.load(path, allow_pickle=False) as archive:
            array, rate = np.asarray(archive["array"]), int(archive["sr"])
    except (KeyError, ValueError, TypeError, OverflowError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not an audio .npz with 'array' and 'sr' ({error})") from None
    if rate <= 0 or array.ndim not in (1, 2) or array.dtype.kind not in "if":
        raise DataError(f"{path}: array of shape {array.shape} and type {array.dtype} at sr={rate} is no audio")
    if not array.size:
        return
    scale = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max) + 1.0
    if array.ndim == 2:  # librosa's (channels, samples), or its transpose
        array = array if array.shape[0] > array.shape[1] else array.T
    for start in range(0, len(array), _BLOCK_SECONDS * rate):
        block = array[start : start + _BLOCK_SECONDS * rate].reshape(-1, array.size // len(array)) / scale
        yield block.mean(axis=1, dtype=np.float64).astype(np.float32), rate


def _resampled(blocks: Iterator[tuple[np.ndarray, int]], sample_rate: int) -> Iterator[np.ndarray]:
    """Resample with soxr's high-quality stream, which does not depend on where the blocks end."""
    import soxr

    resampler = None
    for block, rate in blocks:
        if rate == sample_rate:
            yield block
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    if resampler is not None:
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
