"""What a stored example is: format, rates and sizes, the floor of decibels, and the types that can hold it."""

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from orpheus.errors import ConfigError, DataError

WAVEFORM, LOG_MEL = "waveform", "log-mel-spectrogram"


FORMATS = (WAVEFORM, LOG_MEL)


MEL_NORMS = ("slaney", "none")


DECIBEL_FLOOR = -100.0  # of a power of 1e-10, librosa's amin


_SINCE_VERSION_1 = {"mel_norm": "slaney", "top_db": None}


_DTYPES = {WAVEFORM: ("int16", "float32"), LOG_MEL: ("float16", "float32")}


_LARGEST = 1 << 20  # of any size: 1 MHz, or a transform of a minute


def _above_zero(value: object) -> bool:
    """Whether it is a finite number above 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


@dataclass(frozen=True)
class AudioSpec:
    """What the stored audio is; spec.json beside the shards, and the only conversion between seconds and frames.

    Attributes:
        format: ``"waveform"`` or ``"log-mel-spectrogram"``.
        sample_rate: Hz, after resampling.
        n_fft: Length of the Hann window and of the transform, samples (log-mel only).
        hop_length: Samples from frame to frame (log-mel only).
        n_mels: Mel bands from 0 Hz to half the sample rate, on Slaney's scale as librosa's (log-mel only).
        dtype: As stored: int16 or float32 waveforms, float16 or float32 decibels *above* −100 dB, so that zero is
            silence and padding with zero bytes is padding with silence.
        mel_norm: ``"slaney"``, filters of equal area as librosa's, or ``"none"``, filters of height 1 (log-mel only).
        top_db: Decibels are clipped so far below the clip's largest, as `librosa.power_to_db` does; None: not at all
            (log-mel only). The largest is that of the whole clip, which is then held in memory.
    """

    format: str
    sample_rate: int = 16000
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 96
    dtype: str = ""
    mel_norm: str = "slaney"
    top_db: float | None = None

    def __post_init__(self):
        if self.format not in FORMATS:
            raise ConfigError(f"format={self.format!r}: choose one of {', '.join(FORMATS)}")
        if not self.dtype:
            object.__setattr__(self, "dtype", _DTYPES[self.format][0])
        if self.dtype not in _DTYPES[self.format]:
            raise ConfigError(f"dtype={self.dtype!r}: {self.format} is stored as {' or '.join(_DTYPES[self.format])}")
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LARGEST:
                raise ConfigError(f"{name}={value!r}: must be a whole number above 0, at most {_LARGEST}")
        if self.mel_norm not in MEL_NORMS:
            raise ConfigError(f"mel_norm={self.mel_norm!r}: choose one of {', '.join(MEL_NORMS)}")
        if self.top_db is not None and not _above_zero(self.top_db):
            raise ConfigError(f"top_db={self.top_db!r}: must be a number above 0, or null for no clipping")
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

    def made_with(self) -> dict:
        """The fields that records must share to be heard alike: all but the format, and the type that stores them."""
        return {key: value for key, value in asdict(self).items() if key not in ("format", "dtype")}

    def identity(self) -> dict:
        """The fields as plain values, for hashes: newer ones at their default are left out, as older versions had it."""
        return {key: value for key, value in asdict(self).items() if _SINCE_VERSION_1.get(key, ...) != value}

    @classmethod
    def from_json(cls, values: dict, source: str) -> "AudioSpec":
        """The inverse of `to_json`; unknown keys are left to others, missing ones are named.

        Keys that older files lack, `mel_norm` and `top_db`, have their defaults there.
        """
        if not isinstance(values, dict):
            raise DataError(f"{source}: not a spec of audio records (no JSON object)")
        values = {**_SINCE_VERSION_1, **values}
        if lacking := [field.name for field in fields(cls) if field.name not in values]:
            raise DataError(f"{source}: not a spec of audio records (lacks {lacking[0]!r})")
        try:
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except ConfigError as error:
            raise DataError(f"{source}: {error}") from None

    def differences(self, wanted: dict) -> list[tuple[str, object, object]]:
        """(key, stored, wanted) for every key of `wanted` that is set, matters to this format, and differs.

        None stands for a key that is not set, except of `top_db`, where it is a value.
        """
        relevant: tuple[str, ...] = ("sample_rate",)
        if self.format == LOG_MEL:
            relevant += ("n_fft", "hop_length", "n_mels", "mel_norm", "top_db")
        return [
            (key, getattr(self, key), wanted[key])
            for key in relevant
            if (wanted.get(key) is not None or (key == "top_db" and key in wanted))
            and wanted[key] != getattr(self, key)
        ]
