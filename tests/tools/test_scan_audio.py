"""tools.scan_audio: what it writes, says and refuses."""

import numpy as np
import pytest
import soundfile

from tools import scan_audio


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for name, seconds in (("long.wav", 2), ("short.wav", 0.5)):
        soundfile.write(folder / name, np.random.default_rng(0).normal(0, 0.1, int(8000 * seconds)), 8000)
    (folder / "empty.mp3").touch()
    return folder


def test_a_folder_to_a_csv(tmp_path, music, capsys):
    call = [str(music), str(tmp_path / "tracks.csv"), "--workers", "1"]
    assert scan_audio.main([*call, "--min-seconds", "1", "--tags-db", str(tmp_path / "tags.db")]) == 0
    out = capsys.readouterr().out
    assert "tracks.csv: 1 tracks, 0.00 hours; 1 unreadable, 0 duplicates, 1 filtered" in out
    assert "tags.db: 0 tags on 0 tracks" in out
    lines = (tmp_path / "tracks.csv").read_text().splitlines()
    assert lines[0].startswith("track_id,audio_path,artist,") and ",music" not in lines[0]
    assert len(lines) == 2 and ",music/long.wav,," in lines[1]
    assert "seconds 0.5 below 1" in (tmp_path / "tracks.filtered.jsonl").read_text()

    assert scan_audio.main(call) == 2
    assert "exists already" in capsys.readouterr().err
    assert scan_audio.main([*call, "--force"]) == 0
    assert len((tmp_path / "tracks.csv").read_text().splitlines()) == 3
    assert (tmp_path / "tracks.filtered.jsonl").read_text() == ""


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--workers", "0"], "--workers 0"),
        (["--min-seconds", "5", "--max-seconds", "1"], "min_seconds=5.0 is above max_seconds=1.0"),
        (["--min-seconds", "60"], "no usable file, 1 unreadable and 2 filtered"),
    ],
)
def test_bad_input_is_one_line(tmp_path, music, capsys, arguments, said):
    assert scan_audio.main([str(music), str(tmp_path / "tracks.csv"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "tracks.csv").exists()


def test_help_as_a_module(command):
    done = command("tools.scan_audio", "--help")
    assert done.returncode == 0 and "example:" in done.stdout
