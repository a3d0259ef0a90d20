"""From a list of tracks to a folder of shards: dealt by group and seed, made in parallel, resumable, checked."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orpheus import files
from orpheus.data import audio, parallel, records
from orpheus.data.audio import AudioSpec
from orpheus.data.pipeline import split_shards
from orpheus.data.tracks import Track, read_tracks, with_tags
from orpheus.errors import ConfigError, DataError

__all__ = ["Summary", "Track", "check", "deal", "make", "read_tracks", "shard_names", "with_tags"]


def deal(
    tracks: Sequence[Track], *, n_files: int, format: str, seed: int, split: Sequence[float] | None = None
) -> dict[str, list[Track]]:
    """Deal whole groups to shards.

    Args:
        tracks: Any order; ids are sorted first.
        n_files: Number of shards.
        format: Goes into their names.
        seed: Draws the order of groups and of the tracks in a shard.
        split: Per cent of the shards that are named train-, valid- and test-; None names them by the format alone.

    Returns:
        Shard name → its tracks. Each group goes to the shard with the fewest tracks so far.

    Raises:
        ConfigError: fewer groups than shards, or a split that leaves a part without shards.
    """
    groups: dict[str, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: track.track_id):
        groups.setdefault(f"group {track.group}" if track.group else f"track {track.track_id}", []).append(track)
    if n_files < 1 or n_files > len(groups):
        raise ConfigError(f"--num-files {n_files}: must be 1 to {len(groups)}, the number of artists, groups or tracks")
    rng = np.random.default_rng(seed)
    order = [sorted(groups)[index] for index in rng.permutation(len(groups))]
    # Large groups first, or the last one to be dealt could make one shard twice the size of the others.
    order.sort(key=lambda name: -len(groups[name]))
    sizes = np.zeros(n_files, int)
    shards: list[list[Track]] = [[] for _ in range(n_files)]
    for name in order:
        smallest = int(np.argmin(sizes))
        shards[smallest].extend(groups[name])
        sizes[smallest] += len(groups[name])
    mixed = [[shard[index] for index in rng.permutation(len(shard))] for shard in shards]
    return dict(zip(shard_names(n_files, format, split), mixed, strict=True))


def shard_names(n_files: int, format: str, split: Sequence[float] | None) -> list[str]:
    """Names of shards, in order: FORMAT-00000-of-00010.tfrecord, or PART-FORMAT-… with a split."""
    names = [f"{format}-{index:05d}-of-{n_files:05d}{records.SUFFIX}" for index in range(n_files)]
    if split is None:
        return names
    if abs(sum(split) - 100) > 1e-6 or min(split) < 0 or not split[0]:
        raise ConfigError(f"--split={list(split)}: give per cent of train, valid and test that add up to 100")
    parts = split_shards(names, split, key="--split")
    return [f"{part}-{name}" for part, shards in zip(("train", "valid", "test"), parts, strict=True) for name in shards]


@dataclass(frozen=True)
class Summary:
    """What is in the folder after a run of `make`."""

    tracks: int
    seconds: float
    failures: int
    shards: int
    made: int  # shards made by this run


def make(
    folder: str | os.PathLike,
    plan: Mapping[str, Sequence[Track]],
    spec: AudioSpec,
    *,
    seed: int,
    workers: int = 0,
    min_seconds: float = 0.0,
    interval: tuple[int, int] | None = None,
    bar: Any = None,
) -> Summary:
    """Make the shards of a plan that are not there yet; the same plan gives the same bytes for any `workers`.

    Several runs, on several machines too, may fill one folder at the same time with an `interval` each.

    Args:
        folder: Output; spec.json, manifest.jsonl and failures.jsonl go beside the shards.
        plan: From `deal`.
        spec: What to store.
        seed: Recorded in spec.json.
        workers: Processes that decode; 0 decodes in this one.
        min_seconds: Shorter files are failures.
        interval: (start, stop): only shards start…stop, counted from 1, stop included.
        bar: A tqdm-like object (`reset`, `update`, `set_postfix`), or None.

    Raises:
        DataError: the folder holds records made otherwise.
        ConfigError: an interval outside the plan, mel bands without a frequency, a negative number of workers.
        OSError: the disk is full; complete shards stay, nothing half-written does.
    """
    if "://" in os.fspath(folder):
        raise ConfigError(f"{folder}: records are made in a folder of this machine; copy them to object storage then")
    if workers < 0:
        raise ConfigError(f"--workers {workers}: must be 0 (decode in this process) or more")
    start, stop = interval or (1, len(plan))
    if not 1 <= start <= stop <= len(plan):
        raise ConfigError(f"--start-stop {start} {stop}: shards are counted from 1 to {len(plan)}")
    names = list(plan)[start - 1 : stop]
    if spec.format == audio.LOG_MEL:
        audio.mel_filterbank(spec)
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    _write_spec(folder, plan, spec, seed, min_seconds)
    rows, failures = _tidy(folder, plan)
    todo = [name for name in names if name not in rows]
    if bar is not None:
        bar.reset(total=sum(len(plan[name]) for name in names))
        bar.update(sum(len(plan[name]) for name in names if name in rows))
        bar.set_postfix(failures=sum(map(len, failures.values())))
    load = functools.partial(audio.attempt, spec=spec, min_seconds=min_seconds)
    paths = [track.path for name in todo for track in plan[name]]
    with contextlib.closing(parallel.map_in_processes(load, paths, workers=workers)) as loaded:
        for name in todo:
            for leftover in folder.glob(f".{name}.*.tmp"):
                leftover.unlink()
            failed = sum(map(len, failures.values()))
            rows[name], failures[name] = _make_shard(folder / name, plan[name], spec, loaded, bar, failed)
            with _locked(folder):
                _append(folder / records.FAILURES, failures[name])
                _append(folder / records.MANIFEST, rows[name])
    rows, failures = _tidy(folder, plan)
    seconds = sum(row["seconds"] for kept in rows.values() for row in kept)
    return Summary(sum(map(len, rows.values())), seconds, sum(map(len, failures.values())), len(rows), len(todo))


def _make_shard(
    path: Path,
    tracks: Sequence[Track],
    spec: AudioSpec,
    loaded: Iterator[np.ndarray | str | None],
    bar: Any,
    failed_before: int,
) -> tuple[list[dict], list[dict]]:
    """Make one shard out of the next of `loaded`; returns (manifest rows, failure rows)."""
    rows: list[dict] = []
    failures: list[dict] = []

    def encoded() -> Iterator[bytes]:
        for track in tracks:
            stored = next(loaded)
            if isinstance(stored, np.ndarray):
                record = records.encode(track.track_id, stored, track.tags)
                seconds = round(spec.seconds(len(stored)), 3)
                row = records.Row(track.track_id, track.group, track.tags, seconds, path.name, len(record))
                rows.append(records.row_to_json(row))
                yield record
            else:
                reason = stored or "the process that decoded it died"
                failure = {"id": track.track_id, "path": track.path, "reason": reason, "shard": path.name}
                # A path that is not UTF-8 can be read, but not written.
                failures.append({k: text.encode("utf-8", "backslashreplace").decode() for k, text in failure.items()})
                if bar is not None:
                    bar.set_postfix(failures=failed_before + len(failures), refresh=False)
            if bar is not None:
                bar.update(1)

    records.write_shard(path, encoded())
    if not rows:
        path.unlink()
    return rows, failures


def check(folder: str | os.PathLike, *, progress: Callable = lambda items: items) -> dict[str, list[str]]:
    """Compare the shards of a folder with its manifest.

    Returns:
        ``missing``, ``corrupt`` and ``foreign``: shard names, each with what was found; all empty when all is well.
    """
    folder = Path(folder).expanduser()
    spec, layout, _ = records.read_spec(folder)
    expected: dict[str, list[records.Row]] = {}
    for values in files.read_jsonl(folder / records.MANIFEST):
        row = records.row_from_json(values, layout, str(folder / records.MANIFEST))
        expected.setdefault(row.shard, []).append(row)
    present = [path.name for path in sorted(folder.glob(f"*{records.SUFFIX}")) if not path.name.startswith(".")]
    found: dict[str, list[str]] = {
        "missing": [name for name in expected if name not in present],
        "corrupt": [],
        "foreign": [],
    }
    for name in progress(present):
        if name not in expected:
            found["foreign"].append(name)
            continue
        if wrong := _difference(folder / name, expected[name], spec):
            found["corrupt"].append(f"{name}: {wrong}")
    return found


def _difference(path: Path, rows: Sequence[records.Row], spec: AudioSpec) -> str:
    """What is wrong with a shard that should hold these rows; empty if nothing."""
    if wrong := records.wrong_size(str(path), rows):
        return wrong
    count = 0
    try:
        for count, record in enumerate(records.read_shard(path), 1):
            fields = records.decode(record)
            if count > len(rows) or bytes(fields["tid"][0]).decode() != rows[count - 1].track_id:
                return f"record {count - 1} is not the manifest's"
            frames, rest = divmod(len(fields["audio"][0]), spec.frame_bytes)
            if rest or round(spec.seconds(frames), 3) != rows[count - 1].seconds:
                return f"record {count - 1} has other audio than {rows[count - 1].seconds} s of spec.json's"
    except (DataError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        return str(error).removeprefix(f"{path}: ")
    return "" if count == len(rows) else f"{count} records where the manifest has {len(rows)}"


def _write_spec(
    folder: Path, plan: Mapping[str, Sequence[Track]], spec: AudioSpec, seed: int, min_seconds: float
) -> None:
    """Write spec.json, or check that the one there is the same."""
    dealt = [[name, [[t.track_id, t.group, t.tags] for t in tracks]] for name, tracks in plan.items()]
    digest = hashlib.sha256(json.dumps(dealt).encode()).hexdigest()
    made = {"seed": seed, "num_files": len(plan), "min_seconds": min_seconds, "tracks": digest}
    if (folder / records.SPEC).exists():
        stored_spec, _, values = records.read_spec(folder)
        wanted = {**spec.to_json(), **made}
        stored = {**stored_spec.to_json(), **{key: values.get(key) for key in made}}
        for key, value in wanted.items():
            if stored[key] != value:
                shown = (
                    "other tracks, groups, tags or --split"
                    if key == "tracks"
                    else f"{key}={stored[key]}, asked {value}"
                )
                raise DataError(f"{folder}: holds records made with {shown}; choose an empty folder")
        return
    if any(folder.glob(f"*{records.SUFFIX}")):
        raise DataError(f"{folder}: holds records without {records.SPEC}; choose an empty folder")
    records.write_spec(folder, spec, len(next(iter(plan.values()))[0].tags), **made)


def _tidy(folder: Path, plan: Mapping[str, Sequence[Track]]) -> tuple[dict[str, list[dict]], dict[str, list[dict]]]:
    """Bring manifest and failures into the plan's order, without what a killed run left of unfinished shards.

    Returns:
        Of every complete shard, its manifest rows and its failures.
    """
    with _locked(folder):
        rows, failures = (_by_shard(folder / name) for name in (records.MANIFEST, records.FAILURES))
        done = [
            name for name in plan if _is_done(folder / name, plan[name], rows.get(name, []), failures.get(name, []))
        ]
        kept = [{name: found.get(name, []) for name in done} for found in (rows, failures)]
        for name, by_shard in zip((records.MANIFEST, records.FAILURES), kept, strict=True):
            text = _lines(row for shard in by_shard.values() for row in shard)
            if not (folder / name).exists() or (folder / name).read_bytes() != text.encode():
                with files.atomic(folder / name) as file:
                    file.write(text)
    return kept[0], kept[1]


def _is_done(path: Path, tracks: Sequence[Track], rows: Sequence[dict], failures: Sequence[dict]) -> bool:
    """Whether a shard is complete: every track of it is in one of the lists, and the file is as long as it should be."""
    if sorted(row.get("id", "") for row in (*rows, *failures)) != sorted(track.track_id for track in tracks):
        return False
    if not rows:
        return True
    return path.is_file() and path.stat().st_size == records.shard_bytes(row.get("bytes", 0) for row in rows)


def _by_shard(path: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in _read_appended(path):
        found.setdefault(row.get("shard", ""), []).append(row)
    return found


def _read_appended(path: Path) -> list[dict]:
    """Rows of a file that was being appended to when its run may have been killed: broken lines are left out."""
    rows = []
    if path.exists():
        # A line may end in the middle of a character.
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


def _append(path: Path, rows: Sequence[dict]) -> None:
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(_lines(rows))
        file.flush()
        os.fsync(file.fileno())


def _lines(rows: Iterable[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs from the folder's lists meanwhile."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no locks: there, one run at a time
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
