"""Spectrogram patches of an index of audio files: computed in parallel, standardised by the training set, in HDF5."""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from orpheus.base import files, hdf5, locks, parallel, schema
from orpheus.data.audio import reading
from orpheus.data.audio.account import Account
from orpheus.data.audio.spec import WAVEFORM, AudioSpec
from orpheus.data.items import layout
from orpheus.errors import ConfigError, DataError

KINDS = ("cqt", "mel", "stft")
BAND, FRAME_BAND = "band", "frame-band"
FLOOR = -80.0  # decibels below the loudest bin of a recording; silence
_LOWEST_NOTE = 32.703195662574829  # Hz, C1, the first bin of the constant-Q transform


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
        top = _LOWEST_NOTE * 2 ** (self.bins / self.bins_per_octave)
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


class Summary(NamedTuple):
    """What `make` did."""

    written: dict[str, Path]
    made: int
    failures: list[dict]
    damaged: list[dict]


def spectrogram(samples: np.ndarray, spec: PatchSpec) -> np.ndarray:
    """Decibels below the loudest bin, float32 (frames, width), from `FLOOR` to 0.

    Args:
        samples: Mono signal at the spec's sample rate.
    """
    import librosa

    # Silence is added to the signal, not to the decibels, where zero would be the loudest value.
    samples = np.pad(samples, (0, max(0, round(spec.seconds * spec.sample_rate) - len(samples))))
    if spec.kind == "cqt":
        amplitude = librosa.cqt(
            samples,
            sr=spec.sample_rate,
            hop_length=spec.hop_length,
            fmin=_LOWEST_NOTE,
            n_bins=spec.bins,
            bins_per_octave=spec.bins_per_octave,
        )
        power = np.abs(amplitude) ** 2
    elif spec.kind == "mel":
        power = librosa.feature.melspectrogram(
            y=samples, sr=spec.sample_rate, n_fft=spec.n_fft, hop_length=spec.hop_length, n_mels=spec.bins
        )
    else:
        power = np.abs(librosa.stft(samples, n_fft=spec.n_fft, hop_length=spec.hop_length)) ** 2
    if not power.max() > 0:  # without a loudest bin all would count as loudest
        return np.full(power.T.shape, FLOOR, np.float32)
    return np.ascontiguousarray(librosa.power_to_db(power, ref=np.max, top_db=-FLOOR).T, dtype=np.float32)


def cut(frames: np.ndarray, spec: PatchSpec, item: str) -> np.ndarray:
    """Patches at places drawn by the spec's seed and the item's id, in order of time: (count, frames, width)."""
    number = int.from_bytes(hashlib.sha256(item.encode()).digest()[:8], "big")
    starts = np.random.default_rng([spec.seed, number]).integers(0, len(frames) - spec.frames + 1, spec.count)
    return np.stack([frames[start : start + spec.frames] for start in np.sort(starts)])


def make(
    folder: layout.DataFolder,
    paths: Mapping[str, Path],
    spec: PatchSpec,
    *,
    workers: int = 0,
    keep_silent: bool = False,
    damaged: str = reading.KEEP,
    progress: Callable[..., Iterable] | None = None,
) -> Summary:
    """Write ``patches_SET_DATASET_NxS.hdf5`` of each set that has an index.

    Each file has ``index``, the item id of each patch, and ``features``, float32 (patches, 1, frames, width), minus
    the mean and divided by the standard deviation of the training patches (`PatchSpec.standardise`). These two and the spec are
    its attributes. Items are kept one by one in a cache folder until all is written, so that an interrupted run goes
    on where it stopped. Unusable audio is left out and listed in ``failures_DATASET_NxS.jsonl``; what is missing of damaged
    audio is in ``damaged_DATASET_NxS.jsonl``.

    Args:
        folder: The data folder with the item indexes.
        paths: Item → audio file.
        spec: What to compute.
        keep_silent: Silent recordings become patches of silence instead of failures.
        damaged: ``"keep"`` takes what can be decoded of a damaged file, ``"skip"`` leaves it out.
        workers: Processes; 0 works in this one. The result does not depend on their number.
        progress: Called as ``progress(iterable, total=…, desc=…, unit=…)`` and iterated instead, as `cli.progress`.

    Raises:
        DataError: an item has no path, or no training item could be used.
    """
    folder.sets()
    items = {subset: folder.items(subset) for subset in layout.SETS if folder.source(subset) == subset}
    wanted = [item for ids in items.values() for item in ids]
    missing = [item for item in wanted if item not in paths]
    if missing:
        raise DataError(
            f"index of audio files: no file of item {missing[0]!r} ({len(missing)} of {len(wanted)} missing)"
        )
    written = {subset: folder.patches_file(subset, spec.count, spec.seconds) for subset in items}
    digest = hashlib.sha256(f"{spec.to_json()} {damaged}".encode()).hexdigest()[:8]
    cache = folder.patches / f".cache_{folder.dataset}_{digest}"
    if all(_is_made(written[subset], spec, damaged, items[subset]) for subset in items):
        shutil.rmtree(cache, ignore_errors=True)  # of a process that was killed in the end
        return Summary(written, 0, [], [])

    with locks.lock(folder.patches):
        return _make(folder, items, paths, written, spec, cache, workers, keep_silent, damaged, progress)


def _make(
    folder: layout.DataFolder,
    items: Mapping[str, Sequence[str]],
    paths: Mapping[str, Path],
    written: dict[str, Path],
    spec: PatchSpec,
    cache: Path,
    workers: int,
    keep_silent: bool,
    damaged: str,
    progress: Callable[..., Iterable] | None,
) -> Summary:
    """`make`, where there is something to do and nobody else does it."""
    wanted = [item for ids in items.values() for item in ids]
    jobs = {
        item: (item, Path(paths[item]), _cached(cache, item, Path(paths[item])), spec, keep_silent, damaged)
        for item in wanted
    }
    todo = [job for job in jobs.values() if not job[2].is_file()]
    report = progress or (lambda iterable, **_: iterable)
    results = parallel.map_in_processes(_patches_of, todo, workers=workers)
    outcomes = report(results, total=len(todo), desc="patches", unit="item")  # None of a process that dies
    tried = [outcome or (job[0], parallel.DIED) for job, outcome in zip(todo, outcomes, strict=True)]
    reasons = {item: reason for item, reason in tried if reason}
    failures = [{"id": item, "path": str(paths[item]), "reason": reason} for item, reason in sorted(reasons.items())]
    files.write_jsonl(folder.patches / f"failures_{folder.dataset}_{spec.count}x{spec.seconds:g}.jsonl", failures)
    damage = [
        {"id": item, "path": str(paths[item]), **files.read_json(_damage(job[2]))}
        for item, job in sorted(jobs.items())
        if item not in reasons and _damage(job[2]).is_file()
    ]
    files.write_jsonl(folder.patches / f"damaged_{folder.dataset}_{spec.count}x{spec.seconds:g}.jsonl", damage)
    usable = {subset: [item for item in ids if item not in reasons] for subset, ids in items.items()}
    if not usable["train"]:
        first = failures[0]
        raise DataError(f"{folder.items_index('train')}: no item could be used; the first: {first['reason']}")
    mean, deviation = _moments((jobs[item][2] for item in usable["train"]), spec.standardise)
    for subset, ids in usable.items():
        _write(written[subset], ids, [jobs[item][2] for item in ids], spec, damaged, mean, deviation)
    if not failures:
        shutil.rmtree(cache, ignore_errors=True)
    return Summary(written, len(todo) - len(failures), failures, damage)


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


def _patches_of(job: tuple[str, Path, Path, PatchSpec, bool, str]) -> tuple[str, str]:
    """Compute one item into its cache file; returns it and the reason of failure, or ""."""
    from threadpoolctl import threadpool_limits

    item, path, target, spec, keep_silent, damaged = job
    wanted, account = AudioSpec(WAVEFORM, sample_rate=spec.sample_rate, dtype="float32"), Account()
    samples, why = np.zeros(0, np.float32), ""  # silence, to which `spectrogram` pads
    with parallel.printed_by_libraries() as lines:
        try:
            samples = reading.load(path, wanted, damaged=damaged, account=account)
        except reading.SilentError as error:
            why = "" if keep_silent else str(error)
        except reading.UNUSABLE as error:
            why = f"{path}: {reading.reason(path, error)}"
    note = parallel.note(lines)
    if why:
        return item, why + note
    if account.damage:
        files.write_json(
            _damage(target), {"lost_seconds": round(account.lost_seconds, 3), "damage": f"{account}{note}"}
        )
    with threadpool_limits(1):  # a sum of products depends on how many threads share it
        frames = spectrogram(samples, spec)
    with files.atomic(target, "wb") as file:
        np.save(file, cut(frames, spec, item))
    return item, ""


def _damage(target: Path) -> Path:
    """Beside an item's cache file: what is missing of its audio."""
    return target.with_suffix(".json")


def _cached(cache: Path, item: str, path: Path) -> Path:
    """The cache file of an item: another one when the audio file changes."""
    try:
        state = os.stat(path)
        version = f"{state.st_size} {state.st_mtime_ns}"
    except FileNotFoundError:
        version = ""
    return cache / f"{hashlib.sha256(f'{item} {path} {version}'.encode()).hexdigest()[:32]}.npy"


def _moments(paths: Iterable[Path], standardise: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each band, or frame and band, float32; one item in memory at a time."""
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for path in paths:
        values = np.load(path, allow_pickle=False).astype(np.float64)
        if standardise == BAND:
            values = values.reshape(-1, values.shape[-1])
        count, total, squares = count + len(values), total + values.sum(axis=0), squares + (values**2).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-6] = 1  # a band that never changes stays zero
    return mean.astype(np.float32), deviation.astype(np.float32)


def _write(
    path: Path, ids: Sequence[str], cached: Sequence[Path], spec: PatchSpec, damaged: str, mean, deviation
) -> None:
    names = np.repeat(np.asarray([item.encode() for item in ids], dtype="S"), spec.count)
    shape = (len(names), 1, spec.frames, spec.width)
    with hdf5.written(path) as file:
        file.attrs.update({"spec": spec.to_json(), "mean": mean, "std": deviation})
        if damaged != reading.KEEP:
            file.attrs["damaged"] = damaged
        file.create_dataset("index", data=names if len(names) else np.zeros(0, "S1"))
        features = file.create_dataset("features", shape, "float32", chunks=(1, *shape[1:]) if len(names) else None)
        for number, source in enumerate(cached):
            rows = slice(number * spec.count, (number + 1) * spec.count)
            features[rows, 0] = (np.load(source, allow_pickle=False) - mean) / deviation


def _is_made(path: Path, spec: PatchSpec, damaged: str, ids: Sequence[str]) -> bool:
    """Whether a file holds exactly these items' patches."""
    if not path.is_file():
        return False
    with Patches(path) as made:
        stored = (made._file.attrs.get("spec"), made._file.attrs.get("damaged", reading.KEEP))
        return stored == (spec.to_json(), damaged) and tuple(made._rows) == tuple(ids)
