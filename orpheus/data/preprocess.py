"""From a list of tracks to a folder of shards: dealt by group and seed, made in parallel, resumable, checked."""

import concurrent.futures
import contextlib
import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orpheus import files
from orpheus.data import audio, records
from orpheus.data.audio import AudioSpec
from orpheus.errors import ConfigError, DataError

PATH_COLUMNS = ("audio_path", "mp3_path", "npz_path", "path")
GROUP_COLUMNS = ("artist", "group")
_counters: Any = [0, 0]  # tracks done and failures, shared between processes


@dataclass(frozen=True)
class Track:
    """One input: where its audio is, the group that must stay in one shard, and its tags per database."""

    track_id: str
    path: str
    group: str = ""
    tags: tuple[tuple[str, ...], ...] = ((),)


def read_tracks(
    csv_path: str | os.PathLike, *, root: str | os.PathLike | None = None, group_column: str | None = None
) -> list[Track]:
    """Read the csv of tracks.

    Args:
        csv_path: Columns `track_id` and one of audio_path, mp3_path, npz_path, path; optionally artist or group.
        root: Folder that relative paths start from; None for the csv's own.
        group_column: Column whose equal values stay in one shard; None for artist or group where there is one.

    Raises:
        DataError: a missing column, an empty or repeated id, no row.
    """
    csv_path = Path(csv_path).expanduser()
    base = Path(root).expanduser() if root else csv_path.parent
    try:
        with open(csv_path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns, lines = list(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        raise DataError(f"{csv_path}: no such csv of tracks; make one with tools.scan_audio") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{csv_path}: not a UTF-8 csv ({error})") from None
    path_column = next((name for name in PATH_COLUMNS if name in columns), None)
    if "track_id" not in columns or path_column is None:
        raise DataError(
            f"{csv_path}: columns {', '.join(columns) or 'none'}; needs track_id and one of {', '.join(PATH_COLUMNS)}"
        )
    if group_column and group_column not in columns:
        raise DataError(f"{csv_path}: no column {group_column!r}; it has {', '.join(columns)}")
    group_column = group_column or next((name for name in GROUP_COLUMNS if name in columns), None)
    tracks: dict[str, Track] = {}
    for number, line in enumerate(lines, 2):
        track_id, path = (line["track_id"] or "").strip(), (line[path_column] or "").strip()
        if not track_id or not path:
            raise DataError(f"{csv_path}:{number}: empty track_id or {path_column}")
        if track_id in tracks:
            raise DataError(f"{csv_path}:{number}: track_id {track_id!r} occurs twice")
        group = (line[group_column] or "").strip() if group_column else ""
        tracks[track_id] = Track(track_id, str(base / path), group)
    if not tracks:
        raise DataError(f"{csv_path}: no track in it")
    return list(tracks.values())


def with_tags(tracks: Sequence[Track], sources: Sequence[Mapping[str, Sequence[str]]]) -> list[Track]:
    """The tracks with their tags: one tuple per source, in the source's order.

    Raises:
        DataError: a source has no tag for any of the tracks.
    """
    for index, source in enumerate(sources):
        if not any(source.get(track.track_id) for track in tracks):
            raise DataError(
                f"tag source {index}: no tag for any of the {len(tracks)} tracks (first: {tracks[0].track_id}); "
                "do its ids belong to this csv?"
            )
    return [
        Track(t.track_id, t.path, t.group, tuple(tuple(source.get(t.track_id, ())) for source in sources))
        for t in tracks
    ]


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
    sizes, shards = np.zeros(n_files, int), [[] for _ in range(n_files)]
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
        raise ConfigError(f"--split {' '.join(map(str, split))}: per cent of train, valid and test that add up to 100")
    edges = np.rint(np.cumsum(split) / 100 * n_files).astype(int)
    counts = np.diff([0, *edges])
    for part, share, count in zip(("train", "valid", "test"), split, counts, strict=True):
        if share > 0 and count == 0:
            raise ConfigError(f"--split {' '.join(map(str, split))}: {part} gets none of {n_files} shards; make more (-n)")
    parts = np.repeat(["train", "valid", "test"], counts)
    return [f"{part}-{name}" for part, name in zip(parts, names, strict=True)]


@dataclass(frozen=True)
class Summary:
    """What a run of `make` left in the folder."""

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
    workers: int = 1,
    min_seconds: float = 0.0,
    interval: tuple[int, int] | None = None,
    bar: Any = None,
) -> Summary:
    """Make the shards of a plan that are not there yet; the same plan gives the same bytes for any `workers`.

    Args:
        folder: Output; spec.json, manifest.jsonl and failures.jsonl go beside the shards.
        plan: From `deal`.
        spec: What to store.
        seed: Recorded in spec.json.
        workers: Processes.
        min_seconds: Shorter files are failures.
        interval: (start, stop): only shards start…stop, counted from 1, stop included.
        bar: A tqdm-like object (`total`, `update`, `set_postfix`), or None.

    Raises:
        DataError: the folder holds records made otherwise; a worker died.
        OSError: the disk is full; complete shards stay, nothing half-written does.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if spec.format == audio.LOG_MEL:
        audio.mel_filterbank(spec)
    databases = len(next(iter(plan.values()))[0].tags)
    _write_spec(folder, plan, spec, databases, seed, min_seconds)
    done, rows, failures = _done(folder, plan)
    names = list(plan)
    if interval is not None:
        start, stop = interval
        if not 1 <= start <= stop <= len(names):
            raise ConfigError(f"--start-stop {start} {stop}: shards are counted from 1 to {len(names)}")
        names = names[start - 1 : stop]
    todo = [name for name in names if name not in done]
    if bar is not None:
        bar.reset(total=sum(len(plan[name]) for name in names))
        bar.update(sum(len(plan[name]) for name in names if name in done))
    jobs = [(folder / name, plan[name], spec, min_seconds) for name in todo]
    for name, (new_rows, new_failures) in _run(jobs, workers, bar):
        rows[name], failures[name] = new_rows, new_failures
        _append(folder / records.MANIFEST, new_rows)
        _append(folder / records.FAILURES, new_failures)
    manifest = [row for name in plan for row in rows.get(name, ())]
    failed = [row for name in plan for row in failures.get(name, ())]
    files.write_jsonl(folder / records.MANIFEST, manifest)
    files.write_jsonl(folder / records.FAILURES, failed)
    complete = sum(name in rows or name in failures for name in plan)
    return Summary(len(manifest), sum(row["seconds"] for row in manifest), len(failed), complete, len(todo))


def check(folder: str | os.PathLike, *, progress: Callable = lambda items: items) -> dict[str, list[str]]:
    """Compare the shards of a folder with its manifest.

    Returns:
        ``missing``, ``corrupt`` and ``foreign``: shard names, each with what was found; all empty when all is well.
    """
    folder = Path(folder)
    records.read_spec(folder)
    expected: dict[str, list[str]] = {}
    for row in files.read_jsonl(folder / records.MANIFEST):
        expected.setdefault(row["shard"], []).append(row["id"])
    present = [path.name for path in sorted(folder.glob(f"*{records.SUFFIX}")) if not path.name.startswith(".")]
    found: dict[str, list[str]] = {"missing": [name for name in expected if name not in present], "corrupt": [], "foreign": []}
    for name in progress(present):
        if name not in expected:
            found["foreign"].append(name)
            continue
        try:
            ids = [records.decode(record)["tid"][0].decode() for record in records.read_shard(folder / name)]
        except (DataError, KeyError, IndexError) as error:
            found["corrupt"].append(f"{name}: {error}")
            continue
        if ids != expected[name]:
            found["corrupt"].append(f"{name}: {len(ids)} records where the manifest has {len(expected[name])}, or other ids")
    return found


def _write_spec(
    folder: Path, plan: Mapping[str, Sequence[Track]], spec: AudioSpec, databases: int, seed: int, min_seconds: float
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
                shown = "other tracks, groups or tags" if key == "tracks" else f"{key}={stored[key]}, asked {value}"
                raise DataError(f"{folder}: holds records made with {shown}; choose an empty folder")
        return
    if any(folder.glob(f"*{records.SUFFIX}")):
        raise DataError(f"{folder}: holds records without {records.SPEC}; choose an empty folder")
    records.write_spec(folder, spec, databases, **made)


def _done(folder: Path, plan: Mapping[str, Sequence[Track]]) -> tuple[set[str], dict, dict]:
    """(shards that are complete, their manifest rows, their failures) from an earlier, perhaps killed, run."""
    rows: dict[str, list[dict]] = {}
    failures: dict[str, list[dict]] = {}
    for name, kept in ((records.MANIFEST, rows), (records.FAILURES, failures)):
        for row in _read_appended(folder / name):
            kept.setdefault(row["shard"], []).append(row)
    done = set()
    for name, tracks in plan.items():
        counted = len(rows.get(name, ())) + len(failures.get(name, ()))
        if counted == len(tracks) and ((folder / name).exists() or not rows.get(name)):
            done.add(name)
        else:
            rows.pop(name, None)
            failures.pop(name, None)
    return done, rows, failures


def _read_appended(path: Path) -> list[dict]:
    """Lines of a file that was being appended to when its run may have been killed: a broken last line is dropped."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _append(path: Path, rows: Sequence[dict]) -> None:
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())


def _run(jobs: Sequence[tuple], workers: int, bar: Any):
    """Yield (shard name, (rows, failures)) as shards are finished."""
    shown = [0, 0]

    def show() -> None:
        if bar is not None:
            done, failed = _counters[:]
            bar.update(done - shown[0])
            bar.set_postfix(failures=failed)
            shown[:] = done, failed

    if workers <= 1 or len(jobs) <= 1:
        _share([0, 0])
        for job in jobs:
            yield job[0].name, _make_shard(*job, show=show)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs TensorFlow can hang
    _share(context.Array("q", 2))
    with concurrent.futures.ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=_share, initargs=(_counters,)
    ) as pool:
        waiting = {pool.submit(_make_shard, *job): job[0].name for job in jobs}
        try:
            while waiting:
                finished, _ = concurrent.futures.wait(waiting, timeout=0.5, return_when="FIRST_COMPLETED")
                show()
                for future in finished:
                    yield waiting.pop(future), future.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise DataError("a worker process died, perhaps for lack of memory; lower --workers and run again") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _share(counters: Any) -> None:
    """Set the counters that parent and workers share: a list, or an array between processes."""
    global _counters
    _counters = counters


def _count(failed: bool) -> None:
    with getattr(_counters, "get_lock", contextlib.nullcontext)():
        _counters[0] += 1
        _counters[1] += failed


def _make_shard(
    path: Path, tracks: Sequence[Track], spec: AudioSpec, min_seconds: float, show: Callable[[], None] = lambda: None
) -> tuple[list[dict], list[dict]]:
    """Make one shard; returns (manifest rows, failure rows)."""
    rows: list[dict] = []
    failures: list[dict] = []

    def encoded():
        for track in tracks:
            try:
                stored = audio.load(track.path, spec, min_seconds=min_seconds)
            except (DataError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
                # Whatever a decoder makes of a broken file is that file's failure, never the run's.
                reason = str(error).removeprefix(f"{track.path}: ") or type(error).__name__
                failures.append({"id": track.track_id, "path": track.path, "reason": reason, "shard": path.name})
            else:
                seconds = round(spec.seconds(len(stored)), 3)
                row = records.Row(track.track_id, track.group, track.tags, seconds, path.name)
                rows.append(records.row_to_json(row))
                yield records.encode(track.track_id, stored, track.tags)
            _count(failed=bool(failures) and failures[-1]["id"] == track.track_id)
            show()

    records.write_shard(path, encoded())
    if not rows:
        path.unlink()
    return rows, failures
