"""Public data sets: their own files, made up in the true layout, and the real lists of MTG-Jamendo and of the MSD."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from orpheus.base import files
from orpheus.data.collection import datasets
from orpheus.data.collection.datasets import common, fma, gtzan, jamendo, mirdata, msd, mtt, published
from orpheus.data.splits import search
from orpheus.data.tags.database import TagDatabase
from orpheus.data.tags.files import read_tags
from orpheus.errors import ConfigError, DataError
from orpheus.runs import comparability
from tests.data.collection import made_up


def write(found, audio, out, name, *splits):
    return common.write(found, common.Audio(audio), out, name=name, splits=splits, fingerprint=comparability.of_split)


def test_magnatagatune(tmp_path):
    annotations, audio = made_up.mtt_folder(tmp_path)
    found = mtt.read(annotations, audio)
    assert {split: sorted(ids) for split, ids in found.splits["all"].ids.items()} == {
        "train": ["10", "11", "12", "15"],
        "valid": ["14", "6"],
        "test": ["13", "2"],
    }
    # clasical is none of the published 50, so that clip 6 has none of them; merged, it is classical.
    assert {split: sorted(ids) for split, ids in found.splits["clean"].ids.items()} == {
        "train": ["10", "11", "12", "15"],
        "valid": ["14"],
        "test": ["2"],
    }
    assert "6" in found.splits["merged"].ids["valid"] and "13" not in found.splits["merged"].ids["test"]
    assert found.tags["tags"]["10"] == ["drums", "rock"] and found.tags["tags-merged"]["10"] == ["drum", "rock"]
    assert found.tags["tags-merged"]["2"] == ["classical", "string", "violin"]
    assert found.tracks["10"].artist == 'The "Fs"' and found.tracks["13"].artist == ""

    written = {one.name: one for one in write(found, audio, tmp_path / "data", "mtt", "clean", "all")}
    assert written["clean"].tracks == {"train": 2, "valid": 1, "test": 1} and written["clean"].missing == 2
    assert [(row["id"], row["reason"]) for row in files.read_jsonl(tmp_path / "data/missing.jsonl")] == [
        ("11", "empty"),
        ("15", "missing"),
    ]
    parts, tags = search.load(written["all"].path)
    assert parts == {"train": ("10", "12"), "valid": ("6", "14"), "test": ("2", "13")} and tags == mtt.TOP
    assert search.made_of(written["all"].path)["missing"] == 2
    assert read_tags(tmp_path / "data/tags.csv")["2"].tags == ("classical", "strings")
    assert not (tmp_path / "data/tags-merged.csv").exists()
    with pytest.raises(DataError, match="exists already"):
        write(found, audio, tmp_path / "data", "mtt", "clean")


def test_synonyms_are_each_in_one_group_and_the_published_tags_are_fifty():
    spellings = [spelling for group in mtt.SYNONYMS for spelling in group]
    assert len(spellings) == len(set(spellings)) and len(mtt.SYNONYMS) == 29
    assert len(set(mtt.TOP)) == len(set(msd.TOP)) == len(set(msd.CALS_TOP)) == 50


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"c/artist-album-6',
            '"x/artist-album-6',
            "annotations_final.csv:3: mp3_path 'x/artist-album-6-0-29.mp3' is in none",
        ),
        ('"6"\t"0"', '"6"\t"2"', "annotations_final.csv:3: .* is '2', expected 0 or 1"),
        ('"6"\t"0"', '"2"\t"0"', "annotations_final.csv:3: clip 2 occurs twice"),
        ('"6"\t"0"', '"6"', "annotations_final.csv:3: .* cells, the header has"),
        ('"ambient"', '"ambience"', "no column 'ambient'"),
        ('"clip_id"', '"clip"', "no column clip_id"),
    ],
)
def test_what_is_wrong_with_magnatagatunes_files_is_said(tmp_path, old, new, said):
    annotations, audio = made_up.mtt_folder(tmp_path)
    path = annotations / "annotations_final.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=said):
        mtt.read(annotations, audio)


@pytest.mark.parametrize("suffix", [".wav", ".au"])
def test_gtzan(tmp_path, suffix):
    annotations, audio = made_up.gtzan_folder(tmp_path, suffix)
    found = gtzan.read(annotations, audio)
    (written,) = write(found, audio, tmp_path / "data", "gtzan", "filtered")
    assert written.tracks == {"train": 10, "valid": 9, "test": 10} and written.missing == 1
    assert found.tags["tags"]["jazz.00002"] == ["jazz"] and found.splits["filtered"].classes == gtzan.GENRES
    assert published.TABLE["gtzan", "filtered"].class_names == comparability.of_values(sorted(gtzan.GENRES))
    assert published.TABLE["gtzan", "filtered"].split != written.sha256
    (annotations / "test_filtered.txt").write_text("blues/blues.00002.au\npolka/polka.00001.au\n")
    with pytest.raises(DataError, match=r"test_filtered.txt:2: 'polka/polka.00001.au' is no clip"):
        gtzan.read(annotations, audio)
    (annotations / "test_filtered.txt").write_text("blues/blues.00001.wav\n")
    with pytest.raises(DataError, match=r"blues.00001 is in valid and again in test"):
        gtzan.read(annotations, audio)


def test_free_music_archive(tmp_path):
    annotations, audio = made_up.fma_folder(tmp_path)
    found = fma.read(annotations, audio)
    sizes = {name: [len(split.ids[each]) for each in common.SPLITS] for name, split in found.splits.items()}
    assert sizes == {"small": [2, 1, 1], "medium": [3, 1, 2], "large": [4, 1, 2], "full": [4, 1, 3]}
    assert found.tags["tags"]["20"] == [] and found.tags["tags-genres"]["20"] == ["Hip-Hop", "Rock", "Noise-Rock"]
    assert found.splits["small"].classes == ("Hip-Hop", "Rock") and len(found.splits["full"].classes) == 3
    (written,) = write(found, audio, tmp_path / "data", "fma", *datasets.chosen("fma", found, []))
    assert written.name == "small" and written.tracks == {"train": 1, "valid": 1, "test": 1} and written.missing == 1
    assert datasets.chosen("fma", found, ["medium"]) == ("medium",)
    with pytest.raises(ConfigError, match="give small, medium, large, full"):
        datasets.chosen("fma", found, ["tiny"])


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("tracks.csv", "genre_top", "genre", r"no column \('track', 'genre_top'\)"),
        ("tracks.csv", "track_id,", "id,", "third row does not begin with track_id"),
        ("tracks.csv", '"[21]"', '"21; 3"', r"tracks.csv:4: genres '21; 3', expected a list"),
        ("tracks.csv", '"[21]"', '"[99]"', "tracks.csv:4: genre 99 is not in genres.csv"),
        ("tracks.csv", "training", "train", "tracks.csv:4: split 'train'"),
        ("tracks.csv", ",small,", ",tiny,", "tracks.csv:4: subset 'tiny'"),
        ("tracks.csv", "\n3,", "\n2,", "track_id '2' is there twice"),
        ("genres.csv", "12,100,0,Rock", "12,100,0,", "genre '12' with title ''"),
    ],
)
def test_what_is_wrong_with_the_archives_files_is_said(tmp_path, file, old, new, said):
    annotations, audio = made_up.fma_folder(tmp_path)
    text = (annotations / file).read_text()
    assert old in text
    (annotations / file).write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=said):
        fma.read(annotations, audio)


@pytest.mark.slow
def test_the_real_lists_of_jamendo_have_the_published_hashes(shared):
    found = jamendo.read(shared / "mtg-jamendo", shared)
    assert set(found.splits) == {"genre-0", "instrument-0", "moodtheme-0", "top50tags-0"}
    for name, split in found.splits.items():
        entry = published.TABLE["jamendo", name]
        assert comparability.of_split(split.ids) == entry.split
        assert tuple(len(split.ids[each]) for each in common.SPLITS) == entry.tracks
        assert published.compare(entry.split, None, split.classes, entry.tracks[2]) == (entry, "")
    assert found.tracks["track_0000241"].paths == ("41/241.mp3", "41/241.low.mp3")
    split = found.splits["top50tags-0"]
    moved = {**split.ids, "test": split.ids["test"][1:]}
    about = {"sha256": comparability.of_split(moved), "made": {"dataset": "jamendo", "split": "top50tags-0"}}
    about["tracks"] = {split: len(ids) for split, ids in moved.items()}
    entry, why = published.compare(about["sha256"], about, split.classes, 11355)
    assert entry is None and "is a7f3d543" in why and "this has 32,136/10,888/11,355" in why


def test_jamendo_in_folders_of_splits(tmp_path):
    head = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    for number in (0, 3):
        folder = tmp_path / "data" / "splits" / f"split-{number}"
        folder.mkdir(parents=True)
        for index, split in enumerate(("train", "validation", "test")):
            i = (index + number) % 3
            for subset in ("", "_genre"):
                text = f"{head}track_{i:07d}\ta{i}\tb\t{i:02d}/{i}.mp3\t30.0\tgenre---rock\n"
                (folder / f"autotagging{subset}-{split}.tsv").write_text(text)
    found = jamendo.read(tmp_path, tmp_path)
    assert set(found.splits) == {"overall-0", "genre-0", "overall-3", "genre-3"}
    made_up.sound(tmp_path / "audio/00/0.low.mp3")
    made_up.sound(tmp_path / "audio/01/1.mp3")
    made_up.sound(tmp_path / "audio/02/2.mp3")
    (written,) = write(found, tmp_path / "audio", tmp_path / "data0", "jamendo", "genre-0")
    assert written.missing == 0 and written.tags_path.name == "tags-genre.csv"
    (folder / "autotagging_genre-test.tsv").unlink()
    with pytest.raises(DataError, match=r"autotagging_genre-test.tsv: no such tag file"):
        jamendo.read(tmp_path, tmp_path)
    with pytest.raises(DataError, match="no autotagging"):
        jamendo.read(tmp_path / "audio", tmp_path)


def test_million_song_dataset_with_its_real_lists_and_labels(shared, tmp_path):
    for name in ("valid_x_msd_id.txt", "valid_y.npy", "test_x_msd_id.txt", "test_y.npy"):
        (tmp_path / name).symlink_to(shared / "msd-split" / name)
    (tmp_path / "train_x_msd_id.txt").write_text("TRAAAAA000F0000000\nTRAAAAB000F0000000\n")
    np.save(tmp_path / "train_y.npy", np.eye(50)[:2].astype(bool))
    found = msd.read(tmp_path, tmp_path)
    split = found.splits["choi"]
    assert [len(split.ids[each]) for each in common.SPLITS] == [2, 12634, 28540]
    labels = np.load(shared / "msd-split/test_y.npy")
    first = split.ids["test"][0]
    assert first == "TRAADIN128F931D672" and found.tracks[first].paths == ("A/A/D/TRAADIN128F931D672.mp3",)
    assert found.tags["tags-choi"][first] == [msd.TOP[column] for column in np.flatnonzero(labels[0])]
    assert sum("rock" in found.tags["tags-choi"][i] for i in split.ids["test"]) == labels[:, 0].sum() == 4245
    named = (shared / "msd-split/tags.py").read_text()
    assert all(f"'{tag}'" in named for tag in msd.TOP) and named.count("',") == 49


def msd_lists(folder: Path, pattern: str, ids: dict[str, list[str]]) -> None:
    for split, each in ids.items():
        path = folder / pattern.format(split=split)
        if path.suffix == ".npy":
            np.save(path, np.array(each))
        else:
            path.write_text("\n".join(each) + "\n")


IDS = {
    split: [f"TR{letter}AAAA128F00000{index:02d}" for index in range(2)]
    for split, letter in zip(common.SPLITS, "ABC", strict=True)
}


def test_million_song_dataset_by_the_tag_database(tmp_path):
    msd_lists(tmp_path, "filtered_list_{split}.txt", IDS)
    rows = [
        (i, tag, weight)
        for ids in IDS.values()
        for i in ids
        for tag, weight in (("rock", 100), ("sad", 50), ("Hip-Hop", 51), ("x", 99))
    ]
    with pytest.raises(DataError, match=r"neither filtered_y_train.npy .* nor lastfm_tags.db"):
        msd.read(tmp_path, tmp_path)
    TagDatabase.write(tmp_path / msd.LASTFM, rows)
    found = msd.read(tmp_path, tmp_path)
    assert set(found.tags["tags-filtered"]) == {i for ids in IDS.values() for i in ids}
    assert found.tags["tags-filtered"][IDS["test"][0]] == ["rock", "Hip-Hop"]  # above 50, in the order of the labels
    made_up.sound(tmp_path / "audio/A/A/A" / f"{IDS['train'][0]}.mp3")
    made_up.sound(tmp_path / "audio/flat" / f"{IDS['valid'][0]}.clip.mp3")
    with pytest.raises(DataError, match="split filtered: no audio of its 2 test tracks"):
        write(found, tmp_path / "audio", tmp_path / "data", "msd", "filtered")
    made_up.sound(tmp_path / "audio/flat" / f"{IDS['test'][1]}.ogg")
    (written,) = write(found, tmp_path / "audio", tmp_path / "data", "msd", "filtered")
    assert written.tracks == {"train": 1, "valid": 1, "test": 1} and written.missing == 3
    (tmp_path / "filtered_list_test.txt").write_text("SOAADIN128F931D672\n")
    with pytest.raises(DataError, match=r"filtered_list_test.txt:1: 'SOAADIN128F931D672' is no track id"):
        msd.read(tmp_path, tmp_path)


def test_the_split_by_artist_has_labels_of_its_own(tmp_path):
    msd_lists(tmp_path, "{split}_ids.npy", IDS)
    with pytest.raises(DataError, match=r"train_binaries.npy"):
        msd.read(tmp_path, tmp_path)
    for split in common.SPLITS:
        np.save(tmp_path / f"{split}_binaries.npy", np.eye(50, dtype=np.int8)[[5, 49]])
    found = msd.read(tmp_path, tmp_path)
    assert found.tags["tags-cals"][IDS["valid"][1]] == ["progressive metal"]
    np.save(tmp_path / "test_binaries.npy", np.zeros((2, 49)))
    with pytest.raises(DataError, match=r"\(2, 49\), expected 2 tracks of its list by 50 tags"):
        msd.read(tmp_path, tmp_path)
    with pytest.raises(DataError, match="no list of a split"):
        msd.read(tmp_path / "nowhere", tmp_path)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A module in the place of mirdata, with one data set; `given` is what its loader gives."""
    given = types.SimpleNamespace(
        splits={"train": ["a"], "validation": ["b"], "test": ["c"]}, tags="genre---rock\tmood---sad"
    )

    class Dataset:
        def load_tracks(self):
            tracks = {
                i: types.SimpleNamespace(
                    track_id=i, audio_path=str(tmp_path / "home" / f"{i}.wav"), tags=given.tags, artist_id=f"a{i}"
                )
                for i in "abc"
            }
            return tracks

        def get_track_splits(self):
            if given.splits is None:
                raise NotImplementedError
            return given.splits

    module = types.ModuleType("mirdata")
    module.list_datasets = lambda: ["some_set"]
    module.initialize = lambda name, data_home: Dataset()
    monkeypatch.setitem(sys.modules, "mirdata", module)
    for i in "abc":
        made_up.sound(tmp_path / "home" / f"{i}.wav")
    return given


def test_loaders_of_mirdata(package, tmp_path):
    found = mirdata.read(Path("some_set"), tmp_path / "home")
    assert found.tags["tags"]["a"] == ["rock", "sad"] and found.tracks["b"] == common.Listed(("b.wav",), "ab")
    (written,) = write(found, tmp_path / "home", tmp_path / "data", "mirdata", "mirdata")
    assert written.tracks == {"train": 1, "valid": 1, "test": 1} and written.classes == ("rock", "sad")
    package.splits = None
    assert mirdata.read(Path("some_set"), tmp_path / "home").splits == {}
    package.tags = None
    with pytest.raises(DataError, match="no data set of tags"):
        mirdata.read(Path("some_set"), tmp_path / "home")
    with pytest.raises(ConfigError, match="knows no such data set"):
        mirdata.read(Path("other_set"), tmp_path / "home")


def test_without_mirdata_the_cure_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(ConfigError, match="pip install mirdata"):
        mirdata.read(Path("some_set"), tmp_path)


def test_two_files_of_one_name_are_not_guessed_between(tmp_path):
    for folder in "ab":
        made_up.sound(tmp_path / folder / "x.wav")
    audio = common.Audio(tmp_path)
    assert audio.find(["a/x.wav"]) == tmp_path / "a/x.wav" and audio.find(["y.wav"]) is None
    with pytest.raises(DataError, match="are both named x"):
        audio.find(["c/x.mp3"])


def test_tags_with_the_signs_between_tags_are_read_back(tmp_path):
    tags = {"a": ["r&b; soul", "rock"], "b": ["[untitled"], "c": ["pop"]}
    found = common.Collection({i: common.Listed((f"{i}.wav",)) for i in tags}, {"tags": tags}, {})
    for i in tags:
        made_up.sound(tmp_path / "audio" / f"{i}.wav")
    assert write(found, tmp_path / "audio", tmp_path / "data", "x") == []
    assert {i: list(row.tags) for i, row in read_tags(tmp_path / "data/tags.csv").items()} == tags


def about(dataset, split, **more):
    entry = published.TABLE[dataset, split]
    parts = dict(zip(common.SPLITS, entry.tracks, strict=True))
    made = {"dataset": dataset, "split": split}
    return {"sha256": "x", "tracks": parts, "tags": [f"t{i}" for i in range(entry.classes)], "made": made, **more}


@pytest.mark.parametrize(
    ("sha256", "changed", "classes", "evaluated", "said"),
    [
        ("x", {}, 50, 4332, ""),
        ("y", {}, 50, 4332, "could not be read, or are others"),
        (
            "x",
            {"tracks": {"train": 15243, "valid": 1529, "test": 4332}},
            50,
            4332,
            "has 15,244/1,529/4,332 tracks: this has 15,243",
        ),
        ("x", {}, 49, 4332, "the run has others (49)"),
        ("x", {}, 50, 4331, "4331 tracks were evaluated"),
        (
            "x",
            {"made": {"dataset": "mtt", "split": "mine"}},
            50,
            4332,
            "nothing is known of a published split mtt mine",
        ),
    ],
)
def test_figures_are_shown_only_where_all_is_as_published(sha256, changed, classes, evaluated, said):
    facts = about("mtt", "clean", **changed)
    entry, why = published.compare(sha256, facts, facts["tags"][:classes], evaluated)
    assert (entry is published.TABLE["mtt", "clean"]) == (not said) and said in why and bool(why) == bool(said)


def test_other_data_is_compared_with_nothing():
    assert published.compare("x", None, ["rock"], 3) == (None, "")
    assert published.compare("x", {"sha256": "x", "made": {"by": "artist"}}, ["rock"], 3) == (None, "")


def test_every_published_figure_is_possible_and_the_table_names_data_sets():
    for (name, _), entry in published.TABLE.items():
        assert name in datasets.DATASETS
        assert all(0.1 < value < 1 for figure in entry.figures for value in figure.values.values())
