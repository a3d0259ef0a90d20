"""tools.preprocess: every source of tags and every mistake, from the command line."""

import numpy as np
import pytest
import soundfile

from orpheus.base import files
from orpheus.data.records.format import open_folder
from orpheus.data.tags.database import TagDatabase
from orpheus.runs import comparability
from tools import preprocess

RATE = 4000
SMALL = ["--sr", RATE, "--n-fft", 256, "--hop-length", 128, "--mels", 8, "--workers", 0]


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Six clips, tracks.csv, two tag databases and a tag file; the working folder is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audio").mkdir()
    lines = []
    for index in range(6):
        soundfile.write(f"audio/{index}.ogg", np.random.default_rng(index).normal(0, 0.1, 2000), RATE)
        lines.append(f"t{index},audio/{index}.ogg\n")
    (tmp_path / "tracks.csv").write_text("track_id,audio_path\n" + "".join(lines))
    TagDatabase.write("tags.db", [(f"t{index}", name, 100 - index) for index in range(5) for name in ("rock", "loud")])
    TagDatabase.write("more.db", [("t5", "pop", 1), ("t0", "jazz", 1)])
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    rows = [f"t{index}\ta{index % 3}\tb\taudio/{index}.ogg\t0.5\tgenre---rock\tmood---dark\n" for index in range(5)]
    (tmp_path / "tags.tsv").write_text(header + "".join(rows))
    return tmp_path


def call(*arguments, csv=True, format="log-mel-spectrogram"):
    options = ["--csv-path", "tracks.csv"] if csv else []
    return preprocess.main([format, "out", *map(str, (*options, *SMALL, *arguments))])


def tags_of(format="log-mel-spectrogram"):
    catalogue = open_folder("out", format=format)
    return {row.track_id: [list(tags) for tags in row.tags] for row in catalogue.rows(catalogue.shards)}


def test_one_database(music, capsys):
    assert call("--tag-path", "tags.db", "-n", 3) == 0
    assert tags_of() == {**{f"t{index}": [["loud", "rock"]] for index in range(5)}, "t5": [[]]}
    out = capsys.readouterr().out
    assert "out: 6 tracks, 0.00 h in 3 shards (3 made now), 0 failures" in out
    assert call("--tag-path", "tags.db", "-n", 3) == 0
    assert "3 shards (0 made now)" in capsys.readouterr().out


def test_several_databases(music):
    assert call("--tag-path-multi", "tags.db", "more.db", "-n", 2, format="waveform") == 0
    found = tags_of("waveform")
    assert found["t0"] == [["loud", "rock"], ["jazz"]] and found["t5"] == [[], ["pop"]]


def test_a_tag_file_with_and_without_a_csv(music):
    assert call("--tags-tsv", "tags.tsv", "-n", 3, csv=False) == 0
    assert tags_of() == {f"t{index}": [["rock", "dark"]] for index in range(5)}
    groups = [
        {row["artist"] for row in files.read_jsonl("out/manifest.jsonl") if f"-{n:05d}-of" in row["shard"]}
        for n in range(3)
    ]
    assert sorted(map(sorted, groups)) == [["a0"], ["a1"], ["a2"]]
    (music / "out").rename(music / "first")
    assert call("--tags-tsv", "tags.tsv", "-n", 3) == 0
    assert len(tags_of()) == 6


def test_split_and_parts(music):
    assert call("--tag-path", "tags.db", "-n", 4, "--split", 50, 25, 25) == 0
    names = sorted(path.name.split("-")[0] for path in (music / "out").glob("*.tfrecord"))
    assert names == ["test", "train", "train", "valid"]
    (music / "out").rename(music / "first")
    assert call("--tag-path", "tags.db", "-n", 4, "--start-stop", 1, 1) == 0
    assert len(list((music / "out").glob("*.tfrecord"))) == 1


def test_failures_are_told_and_listed(music, capsys):
    (music / "audio" / "3.ogg").write_bytes(b"")
    assert call("--tag-path", "tags.db", "-n", 2, "--min-seconds", 0.1) == 0
    out = capsys.readouterr().out
    assert "5 tracks" in out and "1 failures" in out and "listed in out/failures.jsonl" in out
    assert call("--tag-path", "tags.db", "-n", 2, "--check", csv=False) == 0
    assert capsys.readouterr().out == "missing: 0\ncorrupt: 0\nforeign: 0\n"


def test_check_exits_with_2_and_names_the_shards(music, capsys):
    assert call("--tag-path", "tags.db", "-n", 2) == 0
    (first, second) = sorted((music / "out").glob("*.tfrecord"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    capsys.readouterr()
    assert call("--check") == 2
    told = capsys.readouterr()
    assert f"missing: 1\n  {first.name}\ncorrupt: 1\n  {second.name}: truncated" in told.out
    assert told.err.count("\n") == 1 and "out: not as its manifest says" in told.err
    assert preprocess.main(["waveform", "nowhere", "--check"]) == 2
    assert "nowhere/spec.json: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "give one source of tags: --tag-path, --tag-path-multi or --tags-tsv"),
        (["--tag-path", "tags.db", "--tags-tsv", "tags.tsv"], "give one source of tags"),
        (["--tag-path", "nowhere.db"], "nowhere.db: no such tag database"),
        (["--tag-path", "tracks.csv"], "tracks.csv: neither an SQLite tag database"),
        (["--tag-path", "empty.db"], "empty.db: holds no tags"),
        (["--tag-path", "strangers.db"], "tag source 0: no tag for any of the 6 tracks"),
        (["--tag-path-multi", "tags.db", "strangers.db"], "tag source 1: no tag for any"),
        (["--tags-tsv", "bare.tsv", "--csv-path", ""], "tag source 0: no tag for any of the 1 tracks"),
        (["--tag-path", "tags.db", "--csv-path", ""], "give the list of tracks: --csv-path"),
        (["--tag-path", "tags.db", "--csv-path", "nowhere.csv"], "nowhere.csv: no such csv of tracks"),
        (["--tag-path", "tags.db", "--csv-path", "columns.csv"], "needs track_id and one of audio_path"),
        (["--tag-path", "tags.db", "--csv-path", "twice.csv"], "twice.csv:3: track_id 't0' occurs twice"),
        (["--tag-path", "tags.db", "--csv-path", "none.csv"], "none.csv: no track in it"),
        (["--tag-path", "tags.db", "-n", "0"], "--num-files 0: must be 1 to 6"),
        (["--tag-path", "tags.db", "-n", "7"], "--num-files 7: must be 1 to 6"),
        (["--tag-path", "tags.db", "-n", "2", "--split", "50", "40", "5"], "--split=[50.0, 40.0, 5.0]: give per cent"),
        (
            ["--tag-path", "tags.db", "-n", "2", "--start-stop", "2", "3"],
            "--start-stop 2 3: shards are counted from 1 to 2",
        ),
        (["--tag-path", "tags.db", "-n", "2", "--mels", "400"], "n_mels=400: some bands hold no frequency"),
        (["--tag-path", "tags.db", "-n", "2", "--sr", "0"], "sample_rate=0"),
        (["--tag-path", "tags.db", "-n", "2", "--dtype", "int16"], "dtype='int16'"),
        (["--tag-path", "tags.db", "-n", "2", "--workers", "-1"], "--workers -1"),
        (["--tag-path", "tags.db", "-n", "2", "--group-column", "label"], "no column 'label'"),
        (["--tag-path", "tags.db", "-n", "2", "--min-seconds", "9"], "none of 6 files could be used"),
    ],
)
def test_mistakes_are_one_line(music, capsys, arguments, said):
    TagDatabase.write("empty.db", [])
    TagDatabase.write("strangers.db", [("x1", "rock", 1)])
    header = (music / "tags.tsv").read_text().splitlines()[0]
    (music / "bare.tsv").write_text(f"{header}\nt0\ta\tb\taudio/0.ogg\t1\n")
    (music / "columns.csv").write_text("id,file\n1,a\n")
    (music / "twice.csv").write_text("track_id,audio_path\nt0,a\nt0,b\n")
    (music / "none.csv").write_text("track_id,audio_path\n")
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list((music / "out").glob("*.tfrecord"))


def test_a_filled_folder_keeps_its_options(music, capsys):
    assert call("--tag-path", "tags.db", "-n", 2) == 0
    assert call("--tag-path", "more.db", "-n", 2) == 2
    assert "other tracks, groups, tags or --split" in capsys.readouterr().err


def test_help_as_a_module(command):
    done = command("tools.preprocess", "--help")
    assert done.returncode == 0 and "example:" in done.stdout
    for option in ("--tag-path-multi", "--num-files", "--start-stop", "--check", "--min-seconds", "--tags-tsv"):
        assert option in done.stdout


def write_split(path, **parts):
    parts = {"train": [], "valid": [], "test": [], **parts}
    files.write_json(path, {"format": "orpheus-split", "version": 1, "made": {"by": "hand"}, "tags": ["rock"], **parts})


def test_a_split_file_decides_the_split_of_every_track(music, capsys):
    write_split("split.json", train=["t0", "t3"], valid=["t1"], test=["t4", "t2"])
    assert call("--tag-path", "tags.db", "-n", 4, "--split-file", "split.json") == 0
    assert "1 of 6 tracks are in no split of split.json and left out" in capsys.readouterr().out
    catalogue = open_folder("out", format="log-mel-spectrogram")
    found = {}
    for shard in catalogue.shards:
        found.setdefault(shard.split("-")[0], set()).update(row.track_id for row in catalogue.rows([shard]))
    assert found == {"train": {"t0", "t3"}, "valid": {"t1"}, "test": {"t4", "t2"}}
    about = files.read_json("out/spec.json")["split"]
    parts = {"train": ["t3", "t0"], "valid": ["t1"], "test": ["t2", "t4"]}
    assert about["sha256"] == comparability.of_split(parts) != comparability.of_split({**parts, "valid": ["t5"]})
    assert about["tracks"] == {"train": 2, "valid": 1, "test": 2} and about["made"] == {"by": "hand"}
    assert call("--tag-path", "tags.db", "-n", 4, "--split-file", "split.json") == 0
    assert "4 shards (0 made now)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "shards", "said"),
    [
        ({"train": ["t0"], "test": ["nobody"]}, 2, "1 of the split's 2 tracks are not in the list of tracks"),
        ({"train": ["t0"], "test": ["t0"]}, 2, "track 't0' in train and in test"),
        ({"test": ["t0"]}, 1, "nothing to train on"),
        ({"train": ["t0"], "test": ["t1"]}, 1, "--num-files 1: the split file has 2 splits"),
        ({"train": ["t0"], "test": ["t1"]}, 3, "--num-files 2: must be 1 to 1"),
    ],
)
def test_splits_that_cannot_be(music, capsys, parts, shards, said):
    write_split("split.json", **parts)
    assert call("--tag-path", "tags.db", "-n", shards, "--split-file", "split.json") == 2
    assert said in capsys.readouterr().err and not (music / "out").exists()
