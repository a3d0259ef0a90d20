"""From a list of tracks to a folder of shards: assigned by group and seed, made in parallel, resumable, checked."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orpheus.base import files, locks, parallel, storage
from orpheus.data.audio import reading, spectrogram
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.data.records import format as records_format
from orpheus.data.records.ledger import Ledger
from orpheus.data.records.shards import shard_counts, shard_names
from orpheus.data.records.tracks import Track
from orpheus.errors import ConfigError, DataError


def assign(
    tracks: Sequence[Track],
    *,
    n_files: int,
    format: str,
    seed: int,
    split: Sequence[float] | None = None,
    ids: Mapping[str, Collection[str]] | None = None,
) -> dict[str, list[Track]]:
    """Assign whole groups to shards.

    Args:
        tracks: Any order; ids are sorted first.
        n_files: Number of shards.
        format: Goes into their names.
        seed: Draws the order of groups and of the tracks in a shard.
        split: Per cent of the shards that are named train-, valid- and test-; None names them by the format alone.
        ids: train, valid and test → ids, instead of `split`: each has shards of its own, about as many as its
            share of the tracks. Tracks of none of them are left out.

    Returns:
        Shard name → its tracks. Each group goes to the shard with the fewest tracks so far (of the split's).

    Raises:
        ConfigError: fewer groups than shards, or a split that leaves one of them without shards.
        DataError: some of `ids` are no track's, or in two splits.
    """
    rng = np.random.default_rng(seed)
    if ids is None:
        return dict(zip(shard_names(n_files, format, split), _assign(tracks, n_files, rng), strict=True))
    by_split = _by_split(tracks, ids)
    counts = shard_counts([len(each) for each in by_split.values()], n_files)
    shards = [
        shard
        for each, count in zip(by_split.values(), counts, strict=True)
        for shard in _assign(each, count, rng, "of this split")
        if count
    ]
    named = [name for name, count in zip(by_split, counts, strict=True) for _ in range(count)]
    names = shard_names(n_files, format, None)
    return {f"{of}-{name}": shard for of, name, shard in zip(named, names, shards, strict=True)}


def _by_split(tracks: Sequence[Track], ids: Mapping[str, Collection[str]]) -> dict[str, list[Track]]:
    """Train, valid and test → its tracks."""
    split_of: dict[str, str] = {}
    for name, its in ids.items():
        for track_id in its:
            if split_of.setdefault(track_id, name) != name:
                raise DataError(f"the split has track {track_id!r} in {split_of[track_id]} and in {name}; keep one")
    known = {track.track_id for track in tracks}
    if lacking := [track_id for track_id in split_of if track_id not in known]:
        raise DataError(
            f"{len(lacking)} of the split's {len(split_of)} tracks are not in the list of tracks (first: {lacking[0]!r}); "
            "give the list that the split was made of"
        )
    return {name: [track for track in tracks if split_of.get(track.track_id) == name] for name in ids}


def _assign(tracks: Sequence[Track], n_files: int, rng: np.random.Generator, of: str = "") -> list[list[Track]]:
    """Whole groups to shards, the tracks of each mixed."""
    groups: dict[str, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: track.track_id):
        groups.setdefault(f"group {track.group}" if track.group else f"track {track.track_id}", []).append(track)
    if not 1 <= n_files <= len(groups) and (groups or n_files):
        which = " ".join(filter(None, ["artists, groups or tracks", of]))
        raise ConfigError(f"--num-files {n_files}: must be 1 to {len(groups)}, the number of {which}")
    order = [sorted(groups)[index] for index in rng.permutation(len(groups))]
    # Large groups first, or the last one to be assigned could make one shard twice the size of the others.
    order.sort(key=lambda name: -len(groups[name]))
    sizes = np.zeros(n_files, int)
    shards: list[list[Track]] = [[] for _ in range(n_files)]
    for name in order:
        smallest = int(np.argmin(sizes))
        shards[smallest].extend(groups[name])
        sizes[smallest] += len(groups[name])
    return [[shard[index] for index in rng.permutation(len(shard))] for shard in shards]


@dataclass(frozen=True)
class Summary:
    """What is in the folder after a run of `make`."""

    tracks: int
    seconds: float
    failures: int
    shards: int
    made: int  # shards made by this run
    damaged: int = 0  # of the tracks: those of which something is missing
    lost_seconds: float = 0.0  # what is missing of them


def make(
    folder: str | os.PathLike,
    plan: Mapping[str, Sequence[Track]],
    spec: AudioSpec,
    *,
    seed: int,
    workers: int = 0,
    min_seconds: float = 0.0,
    damaged: str = reading.KEEP,
    interval: tuple[int, int] | None = None,
    beam: Sequence[str] | None = None,
    split: Mapping[str, Any] | None = None,
    bar: Any = None,
) -> Summary:
    """Make the shards of a plan that are not there yet; the same plan gives the same bytes however they are made.

    Several runs, on several machines too, may fill one folder at the same time with an `interval` each.

    Args:
        folder: Output, a URL of object storage too; spec.json, manifest.jsonl and failures.jsonl go beside the shards.
        plan: From `assign`.
        spec: What to store.
        seed: Recorded in spec.json.
        workers: Processes that decode, with Beam beside each of its workers; 0 decodes in this one or in those.
        min_seconds: Shorter files are failures.
        damaged: ``"keep"`` stores what can be decoded of a damaged file, with its loss in the manifest; ``"skip"`` makes it
            a failure.
        interval: (start, stop): only shards start…stop, counted from 1, stop included.
        beam: Options of Apache Beam, whose workers then make a shard each; None makes them here, one by one.
        split: What is known of the split that decided the plan; kept in spec.json.
        bar: A tqdm-like object (`reset`, `update`, `set_postfix`), or None.

    Raises:
        DataError: the folder holds records made otherwise, or another process makes the same shards of it.
        ConfigError: an interval outside the plan, mel bands without a frequency, a negative number of workers.
        OSError: the disk is full; complete shards stay, nothing half-written does.
    """
    if workers < 0:
        raise ConfigError(f"--workers {workers}: must be 0 (decode in this process) or more")
    start, stop = interval or (1, len(plan))
    if not 1 <= start <= stop <= len(plan):
        raise ConfigError(f"--start-stop {start} {stop}: shards are counted from 1 to {len(plan)}")
    names = list(plan)[start - 1 : stop]
    if spec.format == LOG_MEL:
        spectrogram.mel_filterbank(spec)
    folder = storage.location(folder)
    # Object storage knows no locks. Here, others may make other shards of the folder at the same time.
    with contextlib.nullcontext() if storage.is_url(folder) else locks.lock(folder, part=interval):
        return _fill(folder, plan, names, spec, seed, workers, min_seconds, damaged, beam, split, bar)


def _fill(
    folder: str,
    plan: Mapping[str, Sequence[Track]],
    names: Sequence[str],
    spec: AudioSpec,
    seed: int,
    workers: int,
    min_seconds: float,
    damaged: str,
    beam: Sequence[str] | None,
    split: Mapping[str, Any] | None,
    bar: Any,
) -> Summary:
    """`make`, where nobody else makes these shards."""
    _write_spec(folder, plan, spec, seed, min_seconds, damaged, split)
    ledger = Ledger(folder, plan)
    rows, failures = ledger.tidy()
    todo = [name for name in names if name not in rows]
    if bar is not None:
        bar.reset(total=sum(len(plan[name]) for name in names))
        bar.update(sum(len(plan[name]) for name in names if name in rows))
        bar.set_postfix(failures=sum(map(len, failures.values())))
    load = functools.partial(_load, spec=spec, min_seconds=min_seconds, damaged=damaged)
    if beam is None:
        _make_here(ledger, todo, load, workers, sum(map(len, failures.values())), bar)
    elif todo:
        from orpheus.data.records import beam as records_beam

        work = functools.partial(make_alone, folder=folder, spec=spec, workers=workers, load=load)
        records_beam.run({name: plan[name] for name in todo}, work, beam)
    rows, failures = ledger.tidy()
    if bar is not None and beam is not None:
        bar.update(sum(len(plan[name]) for name in todo))
        bar.set_postfix(failures=sum(map(len, failures.values())))
    tracks = [row for kept in rows.values() for row in kept]
    lost = [row["lost_seconds"] for row in tracks if "lost_seconds" in row]
    seconds, failed = sum(row["seconds"] for row in tracks), sum(map(len, failures.values()))
    return Summary(len(tracks), seconds, failed, len(rows), len(todo), len(lost), sum(lost))


def _make_here(
    ledger: Ledger, todo: Sequence[str], load: functools.partial, workers: int, failed: int, bar: Any
) -> None:
    """Make shards one after the other; the processes that decode are ahead in the next ones."""
    spec = load.keywords["spec"]
    if not any(storage.is_url(track.path) for name in todo for track in ledger.plan[name]):
        load = functools.partial(reading.load_or_reason, **load.keywords)  # its processes need no TensorFlow
    paths = [track.path for name in todo for track in ledger.plan[name]]
    with contextlib.closing(parallel.map_in_processes(load, paths, workers=workers)) as loaded:
        for name in todo:
            ledger.clean(name)
            rows, failures = _make_shard(ledger.path(name), ledger.plan[name], spec, loaded, bar, failed)
            ledger.add(name, rows, failures)
            failed += len(failures)


def make_alone(
    name: str, tracks: Sequence[Track], *, folder: str, spec: AudioSpec, workers: int, load: functools.partial
) -> None:
    """Make one shard on whichever machine this runs, and leave its rows beside it for `Ledger.tidy` to collect."""
    ledger = Ledger(storage.location(folder), {name: tracks})
    paths = [track.path for track in tracks]
    with contextlib.closing(parallel.map_in_processes(load, paths, workers=workers)) as loaded:
        rows, failures = _make_shard(ledger.path(name), tracks, spec, loaded, None, 0)
    ledger.add_part(name, rows, failures)


def _load(path: str, **options: Any) -> reading.Loaded:
    """`reading.load_or_reason`, of files in object storage too."""
    try:
        with storage.readable(path) as local:
            return reading.load_or_reason(local, **options)
    except DataError as error:
        return reading.Loaded(None, str(error).removeprefix(f"{path}: "))


def _make_shard(
    path: str,
    tracks: Sequence[Track],
    spec: AudioSpec,
    loaded: Iterator[reading.Loaded | None],
    bar: Any,
    failed_before: int,
) -> tuple[list[dict], list[dict]]:
    """Make one shard out of the next of `loaded`; returns (manifest rows, failure rows)."""
    rows: list[dict] = []
    failures: list[dict] = []
    shard = os.path.basename(path)

    def encoded() -> Iterator[bytes]:
        for track in tracks:
            result = next(loaded)
            if result is not None and result.stored is not None:
                record = records_format.encode(track.track_id, result.stored, track.tags)
                row = records_format.Row(
                    track.track_id,
                    track.group,
                    track.tags,
                    round(spec.seconds(len(result.stored)), 3),
                    shard,
                    len(record),
                    result.lost_seconds,
                    result.damage,
                )
                rows.append(records_format.row_to_json(row))
                yield record
            else:
                reason = parallel.DIED if result is None else result.reason
                failure = {"id": track.track_id, "path": track.path, "reason": reason, "shard": shard}
                # A path that is not UTF-8 can be read, but not written.
                failures.append({k: text.encode("utf-8", "backslashreplace").decode() for k, text in failure.items()})
                if bar is not None:
                    bar.set_postfix(failures=failed_before + len(failures), refresh=False)
            if bar is not None:
                bar.update(1)

    records_format.write_shard(path, encoded())
    if not rows:
        storage.remove(path)
    return rows, failures


def check(folder: str | os.PathLike, *, progress: Callable = lambda items: items) -> dict[str, list[str]]:
    """Compare the shards of a folder with its manifest.

    Returns:
        ``missing``, ``corrupt`` and ``foreign``: shard names, each with what was found; all empty when all is well.
    """
    folder = storage.location(folder)
    manifest = os.path.join(folder, records_format.MANIFEST)
    spec, layout, _ = records_format.read_spec(folder)
    expected: dict[str, list[records_format.Row]] = {}
    for number, values in enumerate(files.iterate_jsonl(manifest, opener=storage.open_text), 1):
        row = records_format.row_from_json(values, layout, f"{manifest}:{number}")
        expected.setdefault(row.shard, []).append(row)
    present = _shards(folder)
    found: dict[str, list[str]] = {
        "missing": [name for name in expected if name not in present],
        "corrupt": [],
        "foreign": [],
    }
    for name in progress(present):
        if name not in expected:
            found["foreign"].append(name)
            continue
        if wrong := _difference(os.path.join(folder, name), expected[name], spec):
            found["corrupt"].append(f"{name}: {wrong}")
    return found


def _shards(folder: str) -> list[str]:
    return [
        name for name in storage.listed(folder) if name.endswith(records_format.SUFFIX) and not name.startswith(".")
    ]


def _difference(path: str, rows: Sequence[records_format.Row], spec: AudioSpec) -> str:
    """What is wrong with a shard that should hold these rows; empty if nothing."""
    if wrong := records_format.wrong_size(path, rows):
        return wrong
    count = 0
    try:
        for count, record in enumerate(records_format.read_shard(path), 1):
            fields = records_format.decode(record)
            if count > len(rows) or bytes(fields["tid"][0]).decode() != rows[count - 1].track_id:
                return f"record {count - 1} is not the manifest's"
            frames, rest = divmod(len(fields["audio"][0]), spec.frame_bytes)
            if rest or round(spec.seconds(frames), 3) != rows[count - 1].seconds:
                return f"record {count - 1} has other audio than {rows[count - 1].seconds} s of spec.json's"
    except (DataError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        return str(error).removeprefix(f"{path}: ")
    return "" if count == len(rows) else f"{count} records where the manifest has {len(rows)}"


def _write_spec(
    folder: str,
    plan: Mapping[str, Sequence[Track]],
    spec: AudioSpec,
    seed: int,
    min_seconds: float,
    damaged: str,
    split: Mapping[str, Any] | None,
) -> None:
    """Write spec.json, or check that the one there is the same."""
    assigned = [[name, [[t.track_id, t.group, t.tags] for t in tracks]] for name, tracks in plan.items()]
    digest = hashlib.sha256(json.dumps(assigned).encode()).hexdigest()
    made = {"seed": seed, "num_files": len(plan), "min_seconds": min_seconds, "damaged": damaged, "tracks": digest}
    present = storage.listed(folder)
    if records_format.SPEC in present:
        stored_spec, _, values = records_format.read_spec(folder)
        wanted = {**spec.to_json(), **made}
        stored = {
            **stored_spec.to_json(),
            "damaged": reading.KEEP,
            **{key: values[key] for key in made if key in values},
        }
        for key, value in wanted.items():
            if stored.get(key) != value:
                shown = (
                    "other tracks, groups, tags or --split"
                    if key == "tracks"
                    else f"{key}={stored.get(key)}, asked {value}"
                )
                raise DataError(f"{folder}: holds records made with {shown}; choose an empty folder")
        return
    if any(name.endswith(records_format.SUFFIX) for name in present):
        raise DataError(f"{folder}: holds records without {records_format.SPEC}; choose an empty folder")
    about = {"split": dict(split)} if split else {}
    records_format.write_spec(folder, spec, len(next(iter(plan.values()))[0].tags), **made, **about)
