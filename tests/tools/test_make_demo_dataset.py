"""python -m tools.make_demo_dataset: one tiny run, a second one that finds it, and what bad input gets."""

import pytest

from tools import make_demo_dataset


@pytest.mark.slow
def test_makes_a_set_once_and_then_finds_it(command, tmp_path):
    arguments = ("tools.make_demo_dataset", tmp_path / "set", "--tracks", 8, "--seconds", 1, "--seed", 4)
    first = command(*arguments)
    assert first.returncode == 0, first.stderr
    assert "made 8 tracks of 1 s by 4 artists" in first.stdout
    written = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert written == [
        "audio",
        "demo.json",
        "images.npy",
        "images_index.tsv",
        "plays.csv",
        "tags.db",
        "texts",
        "tracks.csv",
    ]
    second = command(*arguments)
    assert second.returncode == 0
    assert "the same demo set is there already" in second.stdout


def test_bad_input_is_one_line(capsys, tmp_path):
    (tmp_path / "x").write_text("")
    assert make_demo_dataset.main([str(tmp_path)]) == 2
    assert make_demo_dataset.main([str(tmp_path / "set"), "--tracks", "2"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "not empty and holds no demo set" in lines[0]
    assert "tracks=2: a demo set needs 8 tracks or more" in lines[1]
    assert not (tmp_path / "set").exists()
