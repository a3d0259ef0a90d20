"""tools.dataset from publishers' files to records with a split, and what it refuses."""

import pytest

from orpheus.base import files
from orpheus.data.records.format import open_folder
from tests.data.collection import made_up
from tools import dataset, preprocess


def run(*arguments):
    return dataset.main(list(map(str, arguments)))


def test_from_magnatagatunes_files_to_records(tmp_path, capsys):
    annotations, audio = made_up.mtt_folder(tmp_path / "mtt")
    data, records = tmp_path / "data", tmp_path / "records"
    assert run("mtt", audio, "--annotations", annotations, "--splits", "clean", "all", "-o", data) == 0
    printed = capsys.readouterr().out
    assert "split-clean.json" in printed and "the published split mtt clean has 15,244/1,529/4,332 tracks" in printed
    (annotations / "mp3/f/artist-album-2-0-29.mp3").write_bytes(b"not an mp3 " * 100)  # broken since
    flags = ["--sr", 8000, "--mels", 8, "--n-fft", 256, "--hop-length", 128, "-n", 3, "--workers", 0]
    flags += [
        "--csv-path",
        data / "tracks.csv",
        "--tag-path",
        data / "tags.csv",
        "--split-file",
        data / "split-all.json",
    ]
    assert preprocess.main(["log-mel-spectrogram", str(records), *map(str, flags)]) == 0
    catalogue = open_folder(records, format="log-mel-spectrogram")
    found = {
        row.track_id: (shard.split("-")[0], row.tags[0], row.group)
        for shard in catalogue.shards
        for row in catalogue.rows([shard])
    }
    assert found["10"] == ("train", ("drums", "rock"), 'The "Fs"') and found["14"][0] == "valid"
    assert set(found) == {"10", "12", "14", "6", "13"}, "2 is broken and in failures.jsonl"
    about = files.read_json(records / "spec.json")["split"]
    assert about["made"]["dataset"] == "mtt" and about["tracks"] == {"train": 2, "valid": 2, "test": 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mtt"], "give --annotations"),
        (["mirdata"], "--mirdata NAME goes with the data set mirdata"),
        (["mtt", "--annotations", "a", "--mirdata", "b"], "--mirdata NAME goes with"),
        (["gtzan", "--annotations", "nowhere"], "train_filtered.txt: cannot be read"),
        (["mtt", "--annotations", "nowhere"], "annotations_final.csv: no such file"),
        (["fma", "--annotations", "nowhere"], "genres.csv: no such file"),
        (["msd", "--annotations", "nowhere"], "no list of a split"),
        (["jamendo", "--annotations", "nowhere"], "no autotagging*-train.tsv"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert run(arguments[0], "audio", *arguments[1:], "-o", "data") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "data").exists()


def test_the_names_are_those_of_the_table():
    from orpheus.data.collection.datasets import DATASETS

    assert tuple(DATASETS) == dataset.NAMES


def test_a_run_keeps_which_split_its_records_are_of(tmp_path):
    from orpheus import config
    from orpheus.tasks.tagging import data as tagging_data

    annotations, audio = made_up.gtzan_folder(tmp_path / "gtzan")
    data, records = tmp_path / "data", tmp_path / "records"
    assert run("gtzan", audio, "--annotations", annotations, "-o", data) == 0
    flags = ["--sr", 8000, "-n", 3, "--workers", 0, "--csv-path", data / "tracks.csv", "--tag-path", data / "tags.csv"]
    whole = [*flags, "--split-file", data / "split-filtered.json"]
    assert preprocess.main(["waveform", str(records), *map(str, whole)]) == 0
    wanted = config.parse({"tfrecords": {"sample_rate": 8000}, "tags": {"top": 10}})
    opened = tagging_data.open_data("waveform", wanted, tagging_data.Choices(records))
    about = tagging_data.describe(opened, wanted, "waveform")
    assert about["benchmark"]["made"]["dataset"] == "gtzan"
    assert about["benchmark"]["sha256"] == about["hashes"]["split"]
    assert set(about["benchmark"]["tags"]) == set(opened.targets.classes)
    assert [len(opened.records_of(split).rows()) for split in ("train", "valid", "test")] == [10, 9, 10]
    assert preprocess.main(["waveform", str(tmp_path / "plain"), *map(str, flags)]) == 0
    plain = tagging_data.open_data("waveform", wanted, tagging_data.Choices(tmp_path / "plain"))
    assert "benchmark" not in tagging_data.describe(plain, wanted, "waveform")
