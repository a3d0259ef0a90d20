"""orpheus.base.storage, .ledger and .distributed: URLs like folders, and Apache Beam's workers.

TensorFlow's own ram:// and fsspec's memory:// stand for the two ways in which a URL is opened.
"""

import functools
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from orpheus.base import files, storage
from orpheus.data.audio import reading
from orpheus.data.audio.spec import LOG_MEL
from orpheus.data.records import beam as records_beam
from orpheus.data.records import format, writing
from orpheus.data.records.tracks import Track
from orpheus.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.data.records.test_writing import MEL, SECOND, content, plan, tracks, whole  # noqa: F401


@pytest.fixture(params=["ram", "memory"])
def url(request, monkeypatch):
    """A folder at a URL; TensorFlow's ram:// mended, which appends where object storage replaces, and makes no folders."""
    if request.param == "memory":
        pytest.importorskip("fsspec", reason="FSSPEC MISSING: pip install -r requirements.txt")
        return f"memory://{uuid.uuid4().hex}/mel"

    def opened(name, mode="r"):
        if mode == "wb" and name.startswith("ram://") and tf.io.gfile.exists(name):
            tf.io.gfile.remove(name)
        return make(name, mode)

    def copied(source, target, overwrite=False):
        if target.startswith("ram://"):
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            if tf.io.gfile.exists(target):
                tf.io.gfile.remove(target)
        put(source, target, overwrite)

    make, put = tf.io.gfile.GFile, tf.io.gfile.copy
    monkeypatch.setattr(tf.io.gfile, "GFile", opened)
    monkeypatch.setattr(tf.io.gfile, "copy", copied)
    return f"ram://{uuid.uuid4().hex}/mel"


def stored(url: str) -> dict[str, bytes]:
    found = {}
    for name in storage.listed(url):
        with storage.readable(f"{url}/{name}") as local:
            found[name] = Path(local).read_bytes()
    return found


def test_a_url_gets_what_a_folder_gets(tracks, whole, url):  # noqa: F811
    summary = writing.make(url, plan(tracks), MEL, seed=0)
    assert (summary.tracks, summary.failures, summary.shards, summary.made) == (11, 1, 3, 3)
    assert stored(url) == content(whole)
    assert writing.check(url) == {"missing": [], "corrupt": [], "foreign": []}
    assert writing.make(url, plan(tracks), MEL, seed=0).made == 0
    with pytest.raises(DataError, match="made with seed=0, asked 1; choose an empty folder"):
        writing.make(url, plan(tracks), MEL, seed=1)


def test_several_machines_fill_one_url(tracks, whole, url):  # noqa: F811
    writing.make(url, plan(tracks), MEL, seed=0, interval=(2, 3))
    # Rows of single shards stay until all are there: another machine may have read the lists before they were written.
    assert [name for name in storage.listed(url) if name.startswith(".")] == [
        f".{name}.rows.json" for name in list(plan(tracks))[1:]
    ]
    assert len(format.open_folder(url, format=LOG_MEL).shards) == 2
    storage.remove(f"{url}/manifest.jsonl")  # the other machine's, from before
    assert writing.make(url, plan(tracks), MEL, seed=0).made == 1
    assert stored(url) == content(whole)


@pytest.mark.parametrize("gone", [f"{SECOND}", f".{SECOND}.rows.json"])
def test_a_shard_whose_rows_or_file_is_missing_is_made_again(tracks, whole, tmp_path, gone):  # noqa: F811
    spec = {"seed": 0}
    load = functools.partial(reading.load_or_reason, spec=MEL, min_seconds=0, damaged=reading.KEEP)
    writing.make(tmp_path, plan(tracks), MEL, **spec, interval=(1, 1))
    for name in list(plan(tracks))[1:]:
        writing.make_alone(name, plan(tracks)[name], folder=str(tmp_path), spec=MEL, workers=0, load=load)
    (tmp_path / gone).unlink()
    assert writing.make(tmp_path, plan(tracks), MEL, **spec).made == 1
    assert content(tmp_path) == content(whole)


def test_audio_in_object_storage(tracks, whole, tmp_path):  # noqa: F811
    """The reason of a failure names the object, not the copy that was looked at."""
    base = f"ram://{uuid.uuid4().hex}"
    remote = []
    for each in tracks:
        target = f"{base}/{os.path.basename(each.path)}"
        tf.io.gfile.copy(each.path, target)
        remote.append(Track(each.track_id, target, each.group, each.tags))
    tf.io.gfile.remove(remote[5].path)
    writing.make(tmp_path, plan(remote), MEL, seed=0)
    reasons = {row["id"]: row["reason"] for row in files.read_jsonl(tmp_path / "failures.jsonl")}
    assert reasons == {"t02": "empty file (0 bytes)", "t05": "no such file"}
    same = [name for name, shard in plan(remote).items() if "t05" not in {each.track_id for each in shard}]
    assert len(same) == 2
    assert {name: (tmp_path / name).read_bytes() for name in same} == {name: content(whole)[name] for name in same}


def test_what_is_written_to_a_url_is_whole_or_absent(url):
    with pytest.raises(ZeroDivisionError), storage.atomic(f"{url}/a.txt") as file:
        file.write("half")
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), storage.writable(f"{url}/b") as name:
        with open(name, "w") as file:
            file.write("half")
        1 / 0  # noqa: B018
    assert storage.listed(url) == []
    with storage.atomic(f"{url}/a.txt") as file:
        file.write("ähnlich")
    with storage.open_text(f"{url}/a.txt") as file:
        assert file.read() == "ähnlich"
    storage.remove(f"{url}/a.txt")
    storage.remove(f"{url}/a.txt")
    assert storage.listed(url) == []


# Apache Beam: an extra requirement that the development requirements hold, so that it is always here in CI.


@pytest.fixture(scope="module")
def beam():
    try:
        import apache_beam  # noqa: F401
    except ImportError:
        message = "APACHE BEAM MISSING: pip install -e '.[dev]'; its tests did not run"
        if os.environ.get("CI"):
            pytest.fail(message)
        print(f"\n*** {message} ***", file=sys.stderr)
        pytest.skip(message)


def note(name: str, value: list[int], *, folder: str) -> None:
    """Work for Beam: a file per item."""
    with open(os.path.join(folder, name), "w") as file:
        file.write(f"{sum(value)} {os.getpid()}")


def test_without_beam_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ConfigError, match=r"Apache Beam does not load here .*; pip install 'orpheus-music\[beam\]'"):
        records_beam.run({"a": 1}, print, [])


@pytest.mark.slow
def test_every_item_is_worked_on_and_mistakes_in_options_are_named(beam, tmp_path):
    records_beam.run({"a": [1, 2], "b": [3]}, functools.partial(note, folder=str(tmp_path)), [])
    assert {path.name: path.read_text().split()[0] for path in tmp_path.iterdir()} == {"a": "3", "b": "3"}
    for options, said in (
        (["--direct_num_worker=2"], "--direct_num_worker=2: no option of Beam's"),
        (["--runner=Nonsense"], "Unexpected pipeline runner: Nonsense"),
        (["--direct_num_workers=x"], "--direct_num_workers=x: .*invalid"),
    ):
        with pytest.raises(ConfigError, match=said):
            records_beam.run({"a": [1]}, print, options)


@pytest.mark.slow
def test_beam_gives_the_same_records(beam, tracks, whole, url, tmp_path):  # noqa: F811
    for folder in (url, str(tmp_path / "mel")):
        summary = writing.make(folder, plan(tracks), MEL, seed=0, beam=[])
        assert (summary.tracks, summary.failures, summary.shards, summary.made) == (11, 1, 3, 3)
        assert writing.make(folder, plan(tracks), MEL, seed=0, beam=[]).made == 0
    assert stored(url) == content(tmp_path / "mel") == content(whole)


@pytest.mark.slow
def test_beam_by_command_in_processes_of_its_own(beam, tmp_path, command):
    """The option for Beam goes behind --; each worker decodes in a process beside it; the lists are those of --runner local."""
    for index in range(6):
        samples = np.random.default_rng(index).normal(0, 0.1, 4000)
        soundfile.write(tmp_path / f"{index}.wav", samples, 4000)
    (tmp_path / "3.wav").write_bytes(b"")
    rows = [f"{index}.wav\trock" for index in range(6)]
    (tmp_path / "t.csv").write_text("track_id,path\n" + "".join(f"{index},{index}.wav\n" for index in range(6)))
    (tmp_path / "tags.tsv").write_text(
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
        + "".join(
            f"{index}\ta{index}\tb\t{row}\n"
            for index, row in enumerate(r.replace("\t", "\t1.0\tgenre---") for r in rows)
        )
    )
    given = ["waveform", "--tags-tsv", tmp_path / "tags.tsv", "--csv-path", tmp_path / "t.csv", "-n", 2, "--sr", 4000]
    local = command("tools.preprocess", given[0], tmp_path / "local", *given[1:], "--workers", 0)
    assert local.returncode == 0, local.stderr
    mode = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    beam_run = command(
        "tools.preprocess", given[0], tmp_path / "beam", *given[1:], "--runner", "beam", "--workers", 1, *mode
    )
    assert beam_run.returncode == 0, beam_run.stderr
    assert content(tmp_path / "beam") == content(tmp_path / "local")
    assert "5 tracks" in beam_run.stdout and "1 failures" in beam_run.stdout
    wrong = command("tools.preprocess", given[0], tmp_path / "beam", *given[1:], *mode)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1) and "give --runner beam too" in wrong.stderr


@pytest.mark.parametrize("loaded, code", [(True, 0), (True, 2), (False, 0), (False, 2)])
def test_a_command_ends_with_its_code_whatever_happens_behind_it(loaded, code):
    """C's `abort` at exit stands for the S3 client that does so while the process is being taken down."""
    script = f"""
import atexit, ctypes, sys
from orpheus.base import cli
atexit.register(print, "done")
if {loaded}:
    sys.modules["tensorflow_io"] = sys
    c = ctypes.CDLL(None)
    c.__cxa_atexit(ctypes.cast(c.abort, ctypes.c_void_p), None, None)
sys.argv = ["x"]
sys.exit(cli.run(cli.parser("x", ""), lambda arguments: {code}))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "done\n", "")
