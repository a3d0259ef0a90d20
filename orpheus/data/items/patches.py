"""Spectrogram patches of an index of audio files: computed in parallel, standardised by the training set, in HDF5."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orpheus.base import files, hdf5, locks, parallel
from orpheus.data.audio import reading
from orpheus.data.audio.account import Account
from orpheus.data.audio.spec import WAVEFORM, AudioSpec
from orpheus.data.items import layout
from orpheus.data.items.patch_files import BAND, FLOOR, LOWEST_NOTE, Patches, PatchSpec
from orpheus.errors import DataError


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
            fmin=LOWEST_NOTE,
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
