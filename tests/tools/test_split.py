"""tools.split end to end: making a split, refusing an impossible one, auditing files, records and audio."""

import json
import shutil

import numpy as np
import pytest

from orpheus.data.splits import search
from tests import folders
from tools import split


def run(*arguments):
    return split.main(list(map(str, arguments)))


@pytest.fixture
def source(tmp_path):
    """Sixty tracks of twenty artists as a tag file, and as a table and a list of artists."""
    rng = np.random.default_rng(0)
    lines = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
    table, artists = [], []
    for track in range(60):
        tags = ["rock"] if rng.random() < 0.5 else ["pop"]
        lines.append(f"t{track}\ta{track % 20}\tb{track % 30}\tp{track}.mp3\t1.0\tgenre---{tags[0]}")
        table.append(f"t{track}\t{tags[0]}\t{tags[0]}\tgenre\t100")
        artists.append(f"t{track}\ta{track % 20}")
    for name, content in (("tags.tsv", lines), ("table.tsv", table), ("artists.tsv", artists)):
        (tmp_path / name).write_text("\n".join(content) + "\n")
    return tmp_path


def test_split_of_a_tag_file_and_its_audit(source, capsys):
    out = source / "s.json"
    flags = ["--top", 2, "--min-tracks", 3, "--tolerance", 5]
    assert run("--tags", source / "tags.tsv", *flags, "--out", out, "--items-index", source / "data", "X") == 0
    printed = capsys.readouterr().out
    assert "60 tracks of 20 artists, 2 tags, each on at least" in printed and "of 100 random splits" in printed
    content = json.loads(out.read_text())
    assert content["made"]["seed"] == 0 and content["least"] == min(min(c) for c in content["tags"].values()) >= 3
    parts = search.load(out)[0]
    assert tuple((source / "data/splits/items_index_val_X.tsv").read_text().split()) == parts["valid"]
    assert run("--audit", out, "--tracks", source / "artists.tsv") == 0
    assert "not looked at, since nothing is known of it: album, audio" in capsys.readouterr().out
    assert run("--audit", out, "--tracks", source / "tags.tsv") == 1  # albums are across artists here
    printed = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in printed[1:5]}
    assert rows["artist"][1:4] == ["0", "20", "0"] and int(rows["album"][1]) > 0
    assert any(line.startswith("  album b") for line in printed)
    assert run("--audit", out, "--tracks", source / "tags.tsv", "--audit-json", source / "a.json") == 1
    assert "python -m orpheus.evaluate RUN --without-leaks" in capsys.readouterr().out.splitlines()[-1]
    audit = json.loads((source / "a.json").read_text())
    assert audit["leaks"]["artist"] == {} and sum(audit["tracks"].values()) == 60
    for album, sides in audit["leaks"]["album"].items():
        assert len(sides) > 1 and all(f"b{int(t[1:]) % 30}" == album for ids in sides.values() for t in ids)


def test_cleaned_table_with_a_list_of_artists(source, capsys):
    flags = ["--top", 2, "--min-tracks", 1, "--tolerance", 5, "--out"]
    table = ["--tags", source / "table.tsv"]
    assert run(*table, *flags, source / "a.json") == 2
    assert "no artist is known for any of 60 tracks" in capsys.readouterr().err
    assert run(*table, "--tracks", source / "artists.tsv", *flags, source / "a.json") == 0
    assert run("--tags", source / "tags.tsv", *flags, source / "b.json") == 0
    assert search.load(source / "a.json") == search.load(source / "b.json")
    assert run(*table, "--by", "track", *flags, source / "c.json") == 0
    assert ": 60 tracks, 2 tags" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_impossible_is_refused_with_the_nearest(source, capsys):
    flags = [
        "--tags",
        source / "tags.tsv",
        "--top",
        2,
        "--min-tracks",
        40,
        "--tolerance",
        10,
        "--out",
        source / "s.json",
    ]
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert "--min-tracks 40: cannot be: no split has more than" in error and len(error.splitlines()) == 1
    nearest = int(error.split("nearest that was found is ")[1].split(":")[0])
    assert not (source / "s.json").exists()
    assert run(*flags, "--nearest") == 0
    assert json.loads((source / "s.json").read_text())["least"] == nearest > 0
    flags[flags.index(40)] = nearest
    assert run(*flags) == 0


def test_identical_audio_in_files(source, capsys):
    for track in range(60):
        (source / f"p{track}.mp3").write_bytes(b"%d" % track)
    flags = ["--top", 2, "--min-tracks", 1, "--tolerance", 5, "--out", source / "s.json"]
    assert run("--tags", source / "tags.tsv", *flags) == 0
    parts = search.load(source / "s.json")[0]
    one, other = parts["train"][0], parts["test"][0]
    audit = ["--audit", source / "s.json", "--tracks", source / "tags.tsv", "--hash-audio"]
    run(*audit)
    assert ["audio", "0", "60", "0", "0"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    shutil.copy(source / f"p{one[1:]}.mp3", source / f"p{other[1:]}.mp3")
    assert run(*audit) == 1
    assert f"train 1 ({one}); test 1 ({other})" in capsys.readouterr().out
    (source / f"p{one[1:]}.mp3").unlink()
    assert run(*audit) == 2
    assert f"audio of track '{one}' cannot be read" in capsys.readouterr().err


def test_identical_audio_in_records(tmp_path, capsys):
    made = folders.clips([5, 6, 7, 8], [["a"], ["b"], ["a"], ["b"]])
    twin = folders.Clip("twin", made[0].audio, ["a"])
    names = ["train-0.tfrecord", "valid-0.tfrecord", "test-0.tfrecord"]
    folders.write(tmp_path / "r", [made[:2], made[2:3], [made[3], twin]], names=names)
    assert run("--audit", tmp_path / "r") == 0
    assert run("--audit", tmp_path / "r", "--hash-audio") == 1
    assert "train 1 (t000); test 1 (twin)" in capsys.readouterr().out


def test_a_trained_run_can_be_audited(demo, tmp_path, capsys):
    shards = sorted(path.name for path in (demo / "mel").glob("*.tfrecord"))
    run_json = {
        "split": {"train": shards[:4], "valid": shards[4:5], "test": shards[5:]},
        "tfrecords_dir": str(demo / "mel"),
    }
    (tmp_path / "run.json").write_text(json.dumps(run_json))
    assert run("--audit", tmp_path, "--hash-audio") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("tracks")


def test_bad_input_is_one_line(source, capsys):
    tags = ["--tags", source / "tags.tsv"]
    for flags, message in [
        ([], "give --tags and --out"),
        ([*tags, "--audit", source / "tags.tsv"], "give neither --tags nor --out"),
        ([*tags, "--out", source / "s.json", "--top", 2, "--shares", 1, 0, 0], "three positive numbers"),
        (["--audit", source / "nothing"], "no split"),
        (["--audit", *[source / "artists.tsv"] * 2], "2 files: give one split"),
    ]:
        assert run(*flags) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
