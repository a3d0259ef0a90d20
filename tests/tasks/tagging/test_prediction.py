"""orpheus.predict on folders: which files are found, and names that are no text."""

import csv
import json
import os
import shutil
import sys

import numpy as np
import pytest
import soundfile

from orpheus import predict
from orpheus.data.audio import finding, reading
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.data.audio.unusable import Memory
from orpheus.errors import DataError
from tests.untrained import make_run

LATIN = "caf" + os.fsdecode(b"\xe9") + ".wav"


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Two usable files, one with a name in Latin-1, and what no command reads."""
    folder = tmp_path_factory.mktemp("music")
    soundfile.write(folder / "b.wav", np.random.default_rng(0).normal(0, 0.1, 12000), 8000)
    for name in (".hidden.wav", "._b.wav", "notes.txt"):
        shutil.copy(folder / "b.wav", folder / name)
    (folder / ".trash").mkdir()
    shutil.copy(folder / "b.wav", folder / ".trash" / "c.wav")
    if sys.platform == "linux":
        shutil.copy(folder / "b.wav", folder / LATIN)
    return folder


def test_folders_are_searched_by_one_rule_and_files_taken_as_named(music):
    found = [music / "b.wav"] + ([music / LATIN] if sys.platform == "linux" else [])
    assert finding.audio_files([music]) == finding.find_audio(music) == found
    # What is named is meant, and nothing comes twice.
    assert finding.audio_files([music / ".hidden.wav", music, music / "b.wav"]) == [music / ".hidden.wav", *found]
    with pytest.raises(DataError, match="no such file or folder"):
        finding.audio_files([music / "absent.wav"])


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_name_in_latin_1_is_predicted_and_written_with_escapes(music, tmp_path, capfd):
    run = make_run(tmp_path, AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32), seconds=1.0, network="fcn")
    out = {name: str(tmp_path / f"out.{name}") for name in ("csv", "json", "png", "html")}
    arguments = ["--csv", out["csv"], "--json", out["json"], "--taggram", out["png"], "--timeline", out["html"]]
    assert predict.main([str(run.folder), str(music), "-t", "0", *arguments]) == 0
    escaped = str(music / "caf\\udce9.wav")
    assert escaped in capfd.readouterr().out
    with open(out["csv"], encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["file", str(music / "b.wav"), escaped]
    with open(out["json"], encoding="utf-8") as file:
        content = json.load(file)
    assert list(content) == [str(music / "b.wav"), escaped]
    assert content[escaped]["scores"] == content[str(music / "b.wav")]["scores"]
    pages = sorted(tmp_path.glob("out_*.html"))
    assert len(pages) == len(list(tmp_path.glob("out_*.png"))) == 2
    assert any("caf%E9.wav" in page.read_text(encoding="utf-8") for page in pages)


def test_unusable_files_are_remembered_with_size_and_date(tmp_path, capsys, caplog, monkeypatch):
    run = make_run(tmp_path, AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32), seconds=1.0, network="fcn")
    folder, failures = tmp_path / "music", tmp_path / "failures.jsonl"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"no audio" * 300)
    soundfile.write(folder / "b.wav", np.random.default_rng(0).normal(0, 0.1, 12000), 8000)
    read = []
    stream = reading.stream
    monkeypatch.setattr(
        reading, "stream", lambda path, *args, **more: read.append(path.name) or stream(path, *args, **more)
    )
    call = [str(run.folder), str(folder), "-t", "0", "--failures", str(failures)]

    def names_read(*options, code=1):
        read.clear()
        caplog.clear()
        assert predict.main([*call, *options]) == code
        return sorted(read)

    assert names_read() == ["a.wav", "b.wav"] and "--retry" not in caplog.text
    (row,) = map(json.loads, failures.read_text(encoding="utf-8").splitlines())
    state = os.stat(folder / "a.wav")
    assert (row["path"], row["size"], row["modified"], row["damaged"]) == (
        str(folder / "a.wav"),
        2400,
        state.st_mtime_ns,
        "keep",
    )
    assert names_read() == ["b.wav"] and row["reason"] in caplog.text and "--retry" in caplog.text
    features = ["-l", "embedding", "-o", str(tmp_path / "x.npz")]
    assert names_read(*features) == ["b.wav"] and names_read(*features, "--retry") == ["a.wav", "b.wav"]
    assert names_read("--damaged", "skip") == ["a.wav", "b.wav"]
    os.utime(folder / "a.wav", ns=(0, 0))
    assert names_read() == ["a.wav", "b.wav"] and names_read() == ["b.wav"]
    shutil.copy(folder / "b.wav", folder / "a.wav")
    assert names_read(code=0) == ["a.wav", "b.wav"] and failures.read_text(encoding="utf-8") == ""
    failures.write_text('{"path": 3}\n', encoding="utf-8")
    capsys.readouterr()
    assert names_read(code=2) == [] and f"{failures}: '0.path' is 3" in capsys.readouterr().err
    assert predict.main([*call[:-2], "--retry"]) == 2 and "give that too" in capsys.readouterr().err


def test_a_disk_that_fails_is_not_remembered(tmp_path):
    def work(paths):
        for path in paths:
            error = DataError(f"{path}: cannot be read")
            error.__cause__ = {"a": PermissionError(), "b": None}[path.name]
            yield path, error

    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.touch()
    assert len(list(Memory(tmp_path / "x.jsonl").through(paths, work))) == 2
    (row,) = map(json.loads, (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines())
    assert row["path"] == str(tmp_path / "b") and row["reason"] == "cannot be read"
