"""A file of spectrogram patches: what its spectrograms are, and the patches read by row."""

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from orpheus.base import files, hdf5, schema
from orpheus.errors import ConfigError, DataError

KINDS = ("cqt", "mel", "stft")
BAND, FRAME_BAND = "band", "frame-band"
FLOOR = -80.0  # decibels below the loudest bin of a recording; silence
LOWEST_NOTE = 32.703195662574829  # Hz, C1, the first bin of the constant-Q transform


@dataclass(frozen=True)
class PatchSpec:
    """What a patch is. The defaults are those of the reference's example.

    Args:
        kind: ``cqt`` (constant-Q from C1 upwards), ``mel`` (0 Hz to half the sample rate) or ``stft``.
        sample_rate: Hz.
        hop_length: Samples from frame to frame.
        bins: Bands of cqt and mel; stft has n_fft / 2 + 1.
        n_fft: Window of mel and stft, samples.
        bins_per_octave: Of cqt.
        seconds: Length of a patch.
        count: Patches per item.
        seed: Draws where they start.
        standardise: By mean and deviation of each ``"band"`` over all frames of the training patches, the same wherever
            a patch begins; or, as the reference does, of each frame and band by itself, ``"frame-band"``.

    Raises:
        ConfigError: a value that makes no patch.
    """

    kind: str = "cqt"
    sample_rate: int = 22050
    hop_length: int = 1024
    bins: int = 96
    n_fft: int = 2048
    bins_per_octave: int = 12
    seconds: float = 15.0
    count: int = 1
    seed: int = 0
    standardise: str = BAND

    def __post_init__(self):
        for key, known in (("kind", KINDS), ("standardise", (BAND, FRAME_BAND))):
            if getattr(self, key) not in known:
                raise ConfigError(f"{key}={getattr(self, key)!r}: expected one of {', '.join(known)}")
        for name in ("sample_rate", "hop_length", "bins", "n_fft", "bins_per_octave", "count"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: expected at least 1")
        if self.frames < 1:
            raise ConfigError(f"seconds={self.seconds:g}: shorter than one frame of {self.hop_length} samples")
        top = LOWEST_NOTE * 2 ** (self.bins / self.bins_per_octave)
        if self.kind == "cqt" and top > self.sample_rate / 2:
            raise ConfigError(
                f"bins={self.bins}: reach {top:.0f} Hz with bins_per_octave={self.bins_per_octave}, above half the "
                f"sample_rate={self.sample_rate}; take fewer bins"
            )

    @property
    def frames(self) -> int:
        """Frames of a patch: 322 for 15 s at 22,050 Hz and hop 1024."""
        return int(self.seconds * self.sample_rate / self.hop_length)

    @property
    def width(self) -> int:
        """Values per frame."""
        return self.n_fft // 2 + 1 if self.kind == "stft" else self.bins

    def to_json(self) -> str:
        """As files have it; those from before there was a choice of `standardise` are per band."""
        return json.dumps({key: value for key, value in asdict(self).items() if (key, value) != ("standardise", BAND)})


class _SpecAttribute(schema.Schema):
    """A `PatchSpec` as it is written into a file."""

    kind: str
    sample_rate: Annotated[int, Field(ge=1, le=1 << 20)]
    hop_length: Annotated[int, Field(ge=1, le=1 << 20)]
    bins: Annotated[int, Field(ge=1, le=1 << 16)]
    n_fft: Annotated[int, Field(ge=1, le=1 << 20)]
    bins_per_octave: Annotated[int, Field(ge=1, le=1200)]
    seconds: Annotated[float, Field(gt=0, le=36000)]
    count: Annotated[int, Field(ge=1, le=1 << 20)]
    seed: Annotated[int, Field(ge=0)]
    standardise: str = BAND


class Patches:
    """An open patch file, read by row; close it or use it in ``with``.

    Attributes:
        ids: The item of each patch; the patches of an item follow each other.
        frames: Frames of a patch.
        width: Values per frame.

    Raises:
        DataError: missing, no HDF5, without ``index`` or ``features``, of unequal lengths or wrong dimensions.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{path}: no such file; python -m tools.patches makes it")
        with contextlib.ExitStack() as opening:
            self._file = opening.enter_context(hdf5.opened(self.path, path))
            self._check()
            self._opened = opening.pop_all()

    def _check(self) -> None:
        lacking = [name for name in ("index", "features") if name not in self._file]
        if lacking:
            raise DataError(f"{self.path}: no dataset named {' or '.join(lacking)}")
        self._features, stored = self._file["features"], self._file["index"]
        if not all(hasattr(found, "dtype") for found in (self._features, stored)) or stored.shape is None:
            raise DataError(f"{self.path}: index and features must be datasets; make it with python -m tools.patches")
        shape: tuple[int, ...] = self._features.shape or ()
        if self._features.dtype.kind not in "fiu" or stored.dtype.kind not in "SO" or len(stored.shape) != 1:
            raise DataError(
                f"{self.path}: features are {self._features.dtype}, the index is {stored.dtype} of shape {stored.shape}; "
                "expected numbers and a list of ids"
            )
        if not (len(shape) in (2, 3) or (len(shape) == 4 and shape[1] == 1)):
            raise DataError(f"{self.path}: features of shape {shape}, expected (patches, 1, frames, bands)")
        try:
            self.ids = tuple(name.decode() for name in stored[:].tolist())
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: an id of the index is not UTF-8 ({error.reason})") from None
        if len(self.ids) != shape[0]:
            raise DataError(f"{self.path}: {shape[0]} patches, but an index of {len(self.ids)} ids")
        # Descriptors, as genre experiments have them in files named 1x1, are patches of one frame.
        self.frames, self.width = (1, shape[1]) if len(shape) == 2 else shape[-2:]
        self._rows: dict[str, list[int]] = {}
        for row, item in enumerate(self.ids):
            self._rows.setdefault(item, []).append(row)

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> "Patches":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def made_with(self) -> tuple[PatchSpec, np.ndarray, np.ndarray]:
        """What new audio must be made into: the spec, and mean and deviation of each band, (width,), or (frames, width).

        Raises:
            DataError: another program made the file and did not say.
        """
        stored = self._file.attrs
        try:
            if not {"spec", "mean", "std"} <= set(stored):
                raise DataError(f"{self.path}: does not say how it was made; make it with python -m tools.patches")
            spec, mean, deviation = stored["spec"], np.asarray(stored["mean"]), np.asarray(stored["std"])
        except DataError:
            raise
        except hdf5.ERRORS as error:
            raise DataError(f"{self.path}: what it was made with cannot be read ({hdf5.reason(error)})") from None
        made = schema.check(_SpecAttribute, files.parse_json(str(spec), f"{self.path}: spec"), f"{self.path}: spec")
        shape = (self.frames, self.width)[made.standardise == BAND :]
        for name, values in (("mean", mean), ("std", deviation)):
            if values.shape != shape or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
                raise DataError(
                    f"{self.path}: {name} is {values.dtype} of shape {values.shape}, expected {math.prod(shape)} numbers"
                )
        return PatchSpec(**made.model_dump()), mean, deviation

    def positions(self, ids: Sequence[str]) -> list[list[int]]:
        """Row numbers of each item's patches.

        Raises:
            DataError: an item has no patch (named).
        """
        missing = [item for item in ids if item not in self._rows]
        if missing:
            raise DataError(
                f"{self.path}: no patch of item {missing[0]!r} ({len(missing)} of {len(ids)} items missing)"
            )
        return [self._rows[item] for item in ids]

    def rows(self, positions: Sequence[int]) -> np.ndarray:
        """Patches in the order asked for, read from disk: float32 (positions, frames, width)."""
        # HDF5 reads rows in rising order, each once.
        unique, back = np.unique(np.asarray(positions, np.int64), return_inverse=True)
        try:
            found = self._features[unique]
        except hdf5.ERRORS as error:
            raise DataError(f"{self.path}: patches cannot be read ({hdf5.reason(error)}); make it again") from None
        return found.reshape(len(unique), self.frames, self.width).astype(np.float32)[back]
