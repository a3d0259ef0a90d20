"""orpheus.data.records.writing and .tracks: what is assigned, made, made again after a killed run, and checked."""

import ctypes
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from orpheus.base import files, locks, parallel
from orpheus.data.audio import reading
from orpheus.data.audio.spec import LOG_MEL, WAVEFORM, AudioSpec
from orpheus.data.records import format as records_format
from orpheus.data.records import writing
from orpheus.data.records.tracks import Track, read_tracks, with_tags
from orpheus.errors import ConfigError, DataError
from tests.conftest import ROOT

RATE = 4000
MEL = AudioSpec(LOG_MEL, sample_rate=RATE, n_fft=256, hop_length=128, n_mels=8)
WAVE = AudioSpec(WAVEFORM, sample_rate=RATE)


def track(index, path, *, group=""):
    return Track(f"t{index:02d}", str(path), group, ((f"tag{index % 3}", "ähnlich"),))


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Twelve clips of four artists, the third of them empty."""
    folder = tmp_path_factory.mktemp("audio")
    found = []
    for index in range(12):
        path = folder / f"{index}.wav"
        soundfile.write(path, np.random.default_rng(index).normal(0, 0.1, 800 + 100 * index), RATE)
        found.append(track(index, path, group=f"artist {index % 4}"))
    open(found[2].path, "wb").close()
    return found


def plan(tracks, *, n_files=3, format=LOG_MEL, seed=0, split=None):
    return writing.assign(tracks, n_files=n_files, format=format, seed=seed, split=split)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tracks, tmp_path_factory):
    """A folder that one run made; copy it before changing it."""
    folder = tmp_path_factory.mktemp("whole") / "mel"
    summary = writing.make(folder, plan(tracks), MEL, seed=0)
    assert (summary.tracks, summary.failures, summary.shards, summary.made) == (11, 1, 3, 3)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "mel")


@pytest.mark.parametrize("spec", [MEL, WAVE], ids=["log-mel", "waveform"])
def test_records_hold_what_audio_load_gives(tracks, tmp_path, spec):
    assigned = plan(tracks, format=spec.format)
    writing.make(tmp_path, assigned, spec, seed=7)
    catalogue = records_format.open_folder(tmp_path, format=spec.format)
    assert catalogue.spec == spec
    (failure,) = files.read_jsonl(tmp_path / "failures.jsonl")
    assert (failure["id"], failure["path"], failure["reason"]) == ("t02", tracks[2].path, "empty file (0 bytes)")
    for name, shard in assigned.items():
        usable = [each for each in shard if each.track_id != "t02"]
        assert [row.track_id for row in catalogue.shards[name]] == [each.track_id for each in usable]
        for each, row, record in zip(
            usable, catalogue.shards[name], records_format.read_shard(tmp_path / name), strict=True
        ):
            stored = reading.load(each.path, spec)
            assert record == records_format.encode(each.track_id, stored, each.tags)
            assert (row.group, row.tags, row.bytes) == (each.group, each.tags, len(record))
            assert row.seconds == round(spec.seconds(len(stored)), 3)
    assert writing.check(tmp_path) == {"missing": [], "corrupt": [], "foreign": []}


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_processes(tracks, whole, tmp_path):
    writing.make(tmp_path, plan(tracks), MEL, seed=0, workers=2)
    assert content(tmp_path) == content(whole)


def test_a_second_run_makes_and_touches_nothing(tracks, copy):
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    summary = writing.make(copy, plan(tracks), MEL, seed=0)
    assert (summary.tracks, summary.failures, summary.shards, summary.made) == (11, 1, 3, 0)
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before


def test_parts_add_up_to_one_run(tracks, whole, tmp_path):
    summary = writing.make(tmp_path, plan(tracks), MEL, seed=0, interval=(2, 3))
    assert (summary.shards, summary.made) == (2, 2)
    assert sorted(path.name for path in tmp_path.glob("*.tfrecord")) == list(plan(tracks))[1:]
    assert len(records_format.open_folder(tmp_path, format=LOG_MEL).shards) == 2
    assert writing.make(tmp_path, plan(tracks), MEL, seed=0).made == 1
    assert content(tmp_path) == content(whole)
    for interval in ((0, 2), (3, 2), (1, 4)):
        with pytest.raises(ConfigError, match="shards are counted from 1 to 3"):
            writing.make(tmp_path / "new", plan(tracks), MEL, seed=0, interval=interval)
    assert not (tmp_path / "new").exists()


FIRST, SECOND, THIRD = (f"{LOG_MEL}-{index:05d}-of-00003.tfrecord" for index in range(3))


def keep_lines(path, keep):
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if keep(line)))


def cut(path, by):
    path.write_bytes(path.read_bytes()[:-by])


@pytest.mark.parametrize(
    "spoil, made",
    [
        (lambda f: (f / SECOND).unlink(), 1),
        (lambda f: keep_lines(f / "manifest.jsonl", lambda line: SECOND not in line), 1),  # renamed, not yet listed
        (lambda f: cut(f / "manifest.jsonl", 20), 1),  # killed while a line was being written
        (lambda f: cut(f / "manifest.jsonl", 1), 0),  # only the line's end is missing
        (lambda f: cut(f / THIRD, 10), 1),  # truncated
        (lambda f: (f / "failures.jsonl").unlink(), 1),
        (lambda f: (f / "manifest.jsonl").unlink(), 3),
        (lambda f: (f / f".{SECOND}.4711.tmp").write_bytes(b"half") and (f / SECOND).unlink(), 1),
        (lambda f: (f / "manifest.jsonl").write_text((f / "manifest.jsonl").read_text() * 2), 3),  # listed twice
    ],
)
def test_what_a_killed_run_left_is_completed_to_the_same_bytes(tracks, whole, copy, spoil, made):
    spoil(copy)
    assert writing.make(copy, plan(tracks), MEL, seed=0).made == made
    assert content(copy) == content(whole)


def test_two_processes_do_not_make_the_same_shards(tracks, whole, tmp_path):
    with locks.lock(tmp_path):
        with pytest.raises(DataError, match="has been writing to it"):
            writing.make(tmp_path, plan(tracks), MEL, seed=0)
        with pytest.raises(DataError, match="has been writing to it"):
            writing.make(tmp_path, plan(tracks), MEL, seed=0, interval=(1, 1))
    with locks.lock(tmp_path, part=(1, 2)):
        with pytest.raises(DataError, match="has been writing to it"):
            writing.make(tmp_path, plan(tracks), MEL, seed=0, interval=(2, 3))
        assert writing.make(tmp_path, plan(tracks), MEL, seed=0, interval=(3, 3)).made == 1
    assert writing.make(tmp_path, plan(tracks), MEL, seed=0).made == 2
    assert content(tmp_path) == content(whole)


def test_a_line_cut_within_a_character_is_dropped(tracks, whole, copy):
    lines = (copy / "manifest.jsonl").read_bytes()
    (copy / "manifest.jsonl").write_bytes(lines[: lines.rindex("ä".encode()) + 1])
    assert writing.make(copy, plan(tracks), MEL, seed=0).made == 1
    assert content(copy) == content(whole)


def test_a_stop_in_the_middle_keeps_what_is_complete(tracks, whole, tmp_path, monkeypatch):
    loads, load = [], reading.load

    def interrupted(path, spec, **options):
        loads.append(path)
        if len(loads) == 8:  # within the second shard
            raise KeyboardInterrupt
        return load(path, spec, **options)

    monkeypatch.setattr(reading, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writing.make(tmp_path, plan(tracks), MEL, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failures.jsonl", FIRST, "manifest.jsonl", "spec.json"]
    assert writing.make(tmp_path, plan(tracks), MEL, seed=0).made == 2
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize(
    "change, said",
    [
        (
            {"spec": AudioSpec(**{**MEL.to_json(), "n_mels": 9})},
            "holds records made with n_mels=8, asked 9; choose an empty folder",
        ),
        ({"spec": AudioSpec(**{**MEL.to_json(), "dtype": "float32"})}, "dtype=float16, asked float32"),
        ({"spec": WAVE}, "format=log-mel-spectrogram, asked waveform"),
        ({"seed": 1}, "seed=0, asked 1"),
        ({"min_seconds": 1.0}, "min_seconds=0.0, asked 1.0"),
        ({"n_files": 2}, "num_files=3, asked 2"),
        ({"tracks": slice(1, None)}, "other tracks, groups, tags or --split"),
        ({"split": [50, 25, 25]}, "other tracks, groups, tags or --split"),
    ],
)
def test_other_options_are_refused_in_a_filled_folder(tracks, copy, change, said):
    spec, seed = change.get("spec", MEL), change.get("seed", 0)
    assigned = plan(
        tracks[change.get("tracks", slice(None))], n_files=change.get("n_files", 3), split=change.get("split")
    )
    before = content(copy)
    with pytest.raises(DataError, match=said):
        writing.make(copy, assigned, spec, seed=seed, min_seconds=change.get("min_seconds", 0.0))
    assert content(copy) == before


def test_records_without_a_spec_are_not_mixed_with(tracks, copy):
    (copy / "spec.json").unlink()
    with pytest.raises(DataError, match=r"holds records without spec\.json; choose an empty folder"):
        writing.make(copy, plan(tracks), MEL, seed=0)


def test_impossible_runs(tracks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--workers -1"):
        writing.make("x", plan(tracks), MEL, seed=0, workers=-1)
    assert not list(tmp_path.iterdir())


def test_a_shard_of_failures_only(tmp_path):
    """It has no file, counts as made, and is not tried again."""
    tracks = [track(index, tmp_path / f"{index}.wav") for index in range(2)]
    soundfile.write(tracks[0].path, np.random.default_rng(0).normal(0, 0.1, 900), RATE)
    folder = tmp_path / "mel"
    for made in (2, 0):
        summary = writing.make(folder, plan(tracks, n_files=2), MEL, seed=0)
        assert (summary.tracks, summary.failures, summary.shards, summary.made) == (1, 1, 2, made)
        assert len(list(folder.glob("*.tfrecord"))) == 1
    assert "no such file" in (folder / "failures.jsonl").read_text()
    assert writing.check(folder) == {"missing": [], "corrupt": [], "foreign": []}


class Bar:
    """What `make` uses of a tqdm bar."""

    def __init__(self):
        self.total = self.done = 0
        self.shown = {}

    def reset(self, total):
        self.total, self.done = total, 0

    def update(self, count):
        self.done += count

    def set_postfix(self, refresh=True, **values):
        self.shown = values


def test_the_bar_counts_tracks_and_failures(tracks, tmp_path):
    assigned = plan(tracks)
    for interval, expected in (((1, 2), sum(map(len, list(assigned.values())[:2]))), (None, 12), (None, 12)):
        bar = Bar()
        writing.make(tmp_path, assigned, MEL, seed=0, interval=interval, bar=bar)
        assert bar.done == bar.total == expected
    assert bar.shown == {"failures": 1}


def test_a_crashing_decoder_costs_its_own_track_only():
    """`ctypes.string_at(0)` reads address 0: a segmentation fault."""
    items = [b"a", b"b", 0, b"c", b"d", b"e"]
    assert list(parallel.map_in_processes(ctypes.string_at, items, workers=2)) == [b"a", b"b", None, b"c", b"d", b"e"]


# Checking.


def test_check_tells_missing_corrupt_and_foreign_apart(copy):
    (copy / FIRST).rename(copy / "other.tfrecord")
    data = bytearray((copy / SECOND).read_bytes())
    data[-20] ^= 1
    (copy / SECOND).write_bytes(data)
    cut(copy / THIRD, 3)
    found = writing.check(copy)
    assert found["missing"] == [FIRST] and found["foreign"] == ["other.tfrecord"]
    (one, other) = found["corrupt"]
    assert one.startswith(f"{SECOND}: corrupt or truncated at record")
    assert other.startswith(f"{THIRD}: truncated or foreign, ")


@pytest.mark.parametrize("what", ["ids", "audio", "count"])
def test_check_compares_content(tracks, copy, what):
    content = list(records_format.read_shard(copy / FIRST))
    tags = [[b.decode() for b in records_format.decode(content[0])["tags"]]]
    stored = np.frombuffer(records_format.decode(content[0])["audio"][0], np.float16)
    changed = {
        "ids": [records_format.encode("txx", stored, tags), *content[1:]],
        "audio": [
            records_format.encode(records_format.decode(content[0])["tid"][0].decode(), stored[:-8], tags),
            *content[1:],
        ],
        "count": content[:-1],
    }[what]
    records_format.write_shard(copy / FIRST, changed)
    keep = files.read_jsonl(copy / "manifest.jsonl")
    files.write_jsonl(copy / "manifest.jsonl", [{**row, "bytes": 0} for row in keep])  # so that sizes say nothing
    (found,) = writing.check(copy)["corrupt"]
    said = {
        "ids": "record 0 is not the manifest's",
        "audio": "record 0 has other audio",
        "count": "records where the manifest",
    }
    assert said[what] in found


# A full disk, a killed process.

RUN = """
import resource, signal, sys
from orpheus.base import cli
limit, workers, out, *paths = sys.argv[1:]

def body(_):
    from orpheus.data.records import writing
    from tests.data.records.test_writing import MEL, plan, track
    if int(limit):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit),) * 2)
    tracks = [track(index, path) for index, path in enumerate(paths)]
    writing.make(out, plan(tracks), MEL, seed=0, workers=int(workers))

if __name__ == "__main__":
    sys.exit(cli.run(cli.parser("test", ""), body, []))
"""


def run(tracks, out, *, limit=0, workers=0):
    script = out.parent / "run.py"
    script.write_text(RUN)
    return subprocess.Popen(
        [sys.executable, script, str(limit), str(workers), out, *(each.path for each in tracks)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def singles(tracks, tmp_path):
    """The tracks without artists, and the folder that one run makes of them."""
    alone = [Track(each.track_id, each.path, "", each.tags) for each in tracks]
    writing.make(tmp_path / "reference", plan(alone), MEL, seed=0)
    return alone, tmp_path / "reference"


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_no_half_shard(singles, tmp_path):
    """A limit on the size of a file, which the largest shard exceeds, stands for the disk."""
    tracks, reference = singles
    sizes = [(reference / name).stat().st_size for name in (FIRST, SECOND, THIRD)]
    assert sizes[0] < max(sizes)
    complete = (FIRST, SECOND, THIRD)[: sizes.index(max(sizes))]
    out = tmp_path / "mel"
    process = run(tracks, out, limit=max(sizes) - 1)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    # TensorFlow 2.21 writes start-up lines of its own; what is ours is one line.
    ours = [line for line in error.splitlines() if ".tfrecord" in line or "Traceback" in line]
    assert len(ours) == 1 and ours[0].endswith("File too large; free some space or write elsewhere")
    assert {path.name for path in out.iterdir()} == {"spec.json", "manifest.jsonl", "failures.jsonl", *complete}
    assert writing.make(out, plan(tracks), MEL, seed=0).made == 3 - len(complete)
    assert content(out) == content(reference)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_is_completed_to_the_same_bytes(singles, tmp_path):
    tracks, reference = singles
    out = tmp_path / "mel"
    for count in (1, 2):
        process = run(tracks, out, workers=2)
        while len(list(out.glob("*.tfrecord"))) < count:
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.wait()
    writing.make(out, plan(tracks), MEL, seed=0)
    assert content(out) == content(reference)


@pytest.mark.slow
def test_the_orchestra_loses_one_broken_file_only(shared, tmp_path):
    from orpheus.data.tags.database import TagDatabase

    folder = shared / "philharmonia"
    tracks = read_tracks(folder / "tracks.csv")
    tracks = with_tags(tracks, [TagDatabase(folder / "tags.db").tags_of_all([t.track_id for t in tracks])])
    spec = AudioSpec(LOG_MEL)
    assigned = plan(tracks, n_files=20)
    summary = writing.make(tmp_path, assigned, spec, seed=0, workers=2)
    assert (summary.tracks, summary.failures, summary.shards) == (1991, 1, 20)
    (failure,) = files.read_jsonl(tmp_path / "failures.jsonl")
    assert failure["reason"] == "empty file (0 bytes)" and os.path.getsize(failure["path"]) == 0
    assert writing.check(tmp_path) == {"missing": [], "corrupt": [], "foreign": []}
    catalogue = records_format.open_folder(tmp_path, format=LOG_MEL)
    notes = [{row.group for row in catalogue.shards[name]} for name in catalogue.shards]
    assert sum(map(len, notes)) == len(set.union(*notes))  # no note in two shards
