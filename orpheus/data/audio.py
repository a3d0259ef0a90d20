"""Audio files to what records store: decode, mono, resample, waveform or log-mel spectrogram; with validity checks.

Everything is streamed in blocks of fixed length, so that an hour of audio needs the memory of ten seconds, and
preprocessing and prediction take the same path and give the same numbers.
"""

import functools
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from orpheus.data import decoders
from orpheus.errors import ConfigError, DataError

WAVEFORM, LOG_MEL = "waveform", "log-mel-spectrogram"
FORMATS = (WAVEFORM, LOG_MEL)
AUDIO_SUFFIXES = decoders.SUFFIXES | {".npz"}
DECIBEL_FLOOR = -100.0  # of a power of 1e-10, librosa's amin
SILENCE = 1e-4  # peak amplitude, -80 dBFS
LOUDEST = 64.0  # peak amplitude; a decoded mp3 exceeds 1 by little, integers written as floats by much
_BLOCK_SECONDS = 10
_DTYPES = {WAVEFORM: ("int16", "float32"), LOG_MEL: ("float16", "float32")}


@dataclass(frozen=True)
class AudioSpec:
    """What the stored audio is; spec.json beside the shards, and the only conversion between seconds and frames.

    Attributes:
        format: ``"waveform"`` or ``"log-mel-spectrogram"``.
        sample_rate: Hz, after resampling.
        n_fft: Length of the Hann window and of the transform, samples (log-mel only).
        hop_length: Samples from frame to frame (log-mel only).
        n_mels: Mel bands from 0 Hz to half the sample rate, Slaney's scale and norm as librosa's (log-mel only).
        dtype: As stored: int16 or float32 waveforms, float16 or float32 decibels *above* −100 dB, so that zero is
            silence and padding with zero bytes is padding with silence.
    """

    format: str
    sample_rate: int = 16000
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 96
    dtype: str = ""

    def __post_init__(self):
        if self.format not in FORMATS:
            raise ConfigError(f"format={self.format!r}: choose one of {', '.join(FORMATS)}")
        if not self.dtype:
            object.__setattr__(self, "dtype", _DTYPES[self.format][0])
        if self.dtype not in _DTYPES[self.format]:
            raise ConfigError(f"dtype={self.dtype!r}: {self.format} is stored as {' or '.join(_DTYPES[self.format])}")
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value <= 0:
                raise ConfigError(f"{name}={value!r}: must be a whole number above 0")
        if self.format == LOG_MEL and self.n_fft % 2:
            raise ConfigError(f"n_fft={self.n_fft}: must be even, frames are centred")
        if self.format == LOG_MEL and self.hop_length > self.n_fft:
            raise ConfigError(f"hop_length={self.hop_length}: above n_fft={self.n_fft}, frames would skip audio")

    @property
    def hop(self) -> int:
        """Samples per stored frame: 1 for waveforms."""
        return self.hop_length if self.format == LOG_MEL else 1

    @property
    def width(self) -> int:
        """Values per stored frame: 1 for waveforms, n_mels for spectrograms."""
        return self.n_mels if self.format == LOG_MEL else 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one stored frame."""
        return self.width * np.dtype(self.dtype).itemsize

    def frames(self, seconds: float) -> int:
        """Stored frames in a window of `seconds`, at least one."""
        return max(1, round(seconds * self.sample_rate / self.hop))

    def seconds(self, frames: float) -> float:
        """Duration of `frames` stored frames."""
        return frames * self.hop / self.sample_rate

    def window_shape(self, seconds: float) -> tuple[int, ...]:
        """Shape of one model input: (samples,) or (frames, n_mels)."""
        return (self.frames(seconds),) if self.format == WAVEFORM else (self.frames(seconds), self.n_mels)

    def to_json(self) -> dict:
        """All fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict, source: str) -> "AudioSpec":
        """The inverse of `to_json`; unknown keys are left to others, missing ones are named."""
        try:
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise DataError(f"{source}: not a spec of audio records (lacks {error})") from None
        except ConfigError as error:
            raise DataError(f"{source}: {error}") from None

    def differences(self, wanted: dict) -> list[tuple[str, object, object]]:
        """(key, stored, wanted) for every key of `wanted` that is set, matters to this format, and differs."""
        relevant = ("sample_rate", "n_fft", "hop_length", "n_mels") if self.format == LOG_MEL else ("sample_rate",)
        return [
            (key, getattr(self, key), wanted[key])
            for key in relevant
            if wanted.get(key) is not None and wanted[key] != getattr(self, key)
        ]


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
    yield from _stored(_checked(path, _resampled(_decode(path), spec.sample_rate)), spec)


def convert(samples: np.ndarray, spec: AudioSpec) -> np.ndarray:
    """Audio in memory as it is stored in a record.

    Args:
        samples: (samples,) float32, mono, -1 to 1, at the spec's sample rate.
        spec: What to make of it.

    Returns:
        (samples,) or (frames, n_mels) in the spec's dtype.
    """
    return np.concatenate(list(_stored(iter([np.asarray(samples, np.float32)]), spec)))


def _stored(blocks: Iterator[np.ndarray], spec: AudioSpec) -> Iterator[np.ndarray]:
    """Mono blocks at the spec's sample rate to stored frames."""
    if spec.format == WAVEFORM:
        yield from (_store_waveform(block, spec) for block in blocks)
    else:
        yield from (_store_decibels(power, spec) for power in _mel_power(blocks, spec))


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
                yield block.mean(axis=1), rate
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
                yield block.mean(axis=1), rate
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


@functools.lru_cache(maxsize=4)
def mel_filterbank(spec: AudioSpec) -> np.ndarray:
    """librosa's mel filters for a spec, (n_fft // 2 + 1, n_mels) float32.

    Raises:
        ConfigError: a band would be empty, because there are too many for this sample rate and window.
    """
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filters = librosa.filters.mel(sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels)
    if not (filters.max(axis=1) > 0).all():
        raise ConfigError(
            f"n_mels={spec.n_mels}: some bands hold no frequency at sample_rate={spec.sample_rate} and "
            f"n_fft={spec.n_fft}; take fewer bands or a larger n_fft"
        )
    return np.ascontiguousarray(filters.T.astype(np.float32))


def _mel_power(blocks: Iterator[np.ndarray], spec: AudioSpec) -> Iterator[np.ndarray]:
    """Yield mel power, (frames, n_mels) float32, of centred frames: librosa.feature.melspectrogram, streamed."""
    import scipy.fft
    import scipy.signal

    window = scipy.signal.get_window("hann", spec.n_fft).astype(np.float32)
    filters = mel_filterbank(spec)
    padding = np.zeros(spec.n_fft // 2, np.float32)
    buffer = padding

    def transform(signal: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(signal, spec.n_fft)[:: spec.hop_length]
        spectrum = scipy.fft.rfft(frames * window, axis=1)
        return (spectrum.real**2 + spectrum.imag**2) @ filters

    for block in blocks:
        buffer = np.concatenate([buffer, block])
        frames = (len(buffer) - spec.n_fft) // spec.hop_length + 1
        if frames > 0:
            yield transform(buffer[: (frames - 1) * spec.hop_length + spec.n_fft])
            buffer = buffer[frames * spec.hop_length :]
    buffer = np.concatenate([buffer, padding])
    if len(buffer) >= spec.n_fft:
        yield transform(buffer)


def _store_waveform(samples: np.ndarray, spec: AudioSpec) -> np.ndarray:
    """Amplitudes in [-1, 1] to the stored type."""
    if spec.dtype == "int16":
        return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return samples.astype(spec.dtype)


def _store_decibels(power: np.ndarray, spec: AudioSpec) -> np.ndarray:
    """Power to decibels above the floor of −100 dB."""
    decibels = 10.0 * np.log10(np.maximum(power, 10 ** (DECIBEL_FLOOR / 10))) - DECIBEL_FLOOR
    return np.maximum(decibels, 0.0).astype(spec.dtype)
