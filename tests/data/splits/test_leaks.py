"""What is in two splits, by hand, and of every kind of split that the project has."""

import json

import pytest

from orpheus.base import files
from orpheus.data.splits import leaks, search
from orpheus.errors import DataError

SPLITS = {"train": ("1", "2", "3"), "valid": ("4", "3"), "test": ("5", "6")}


def test_leaks_by_hand():
    artist = {"1": "x", "2": "y", "4": "x", "5": "x", "6": ""}
    audio = {"1": "h1", "2": "h2", "4": "h4", "5": "h5", "6": "h2"}
    track, artists, sounds = leaks.audit(SPLITS, {"artist": artist, "audio": audio})
    assert (track.kind, track.shared, track.tracks) == ("track", {"3": {"train": ("3",), "valid": ("3",)}}, 1)
    assert artists.shared == {"x": {"train": ("1",), "valid": ("4",), "test": ("5",)}}
    assert (artists.tracks, artists.values, artists.unknown) == (3, 2, 2)
    assert sounds.shared == {"h2": {"train": ("2",), "test": ("6",)}} and sounds.unknown == 1


def test_the_largest_leak_comes_first_and_one_within_a_split_is_none():
    splits = {"train": ("1", "2", "3", "4"), "test": ("5", "6")}
    found = leaks.audit(splits, {"album": {"1": "a", "5": "a", "2": "b", "3": "b", "6": "b", "4": "c"}})[1]
    assert list(found.shared) == ["b", "a"]


def test_facts_of_every_kind_of_file(tmp_path, shared):
    (tmp_path / "tracks.csv").write_text("track_id,audio_path,artist,album,sha256\n1,a.mp3,X,Al,h1\n2,,Y,,\n")
    (tmp_path / "pairs.tsv").write_text("2\tZ\n3\tW\n")
    files.write_jsonl(tmp_path / "manifest.jsonl", [{"id": "4", "artist": "V", "shard": "s"}])
    facts = leaks.read_facts([tmp_path / "tracks.csv", tmp_path / "pairs.tsv", tmp_path])
    assert facts.artist == {"1": "X", "2": "Z", "3": "W", "4": "V"}
    assert (facts.album, facts.audio, facts.paths) == ({"1": "Al"}, {"1": "h1"}, {"1": str(tmp_path / "a.mp3")})
    assert leaks.read_facts([tmp_path / "tracks.csv"], root="/music").paths == {"1": "/music/a.mp3"}
    real = leaks.read_facts([shared / "mtg-jamendo" / "autotagging_genre-test.tsv"])
    assert (real.artist["track_0000214"], real.album["track_0000214"]) == ("artist_000014", "album_000031")
    assert list(leaks.read_facts([shared / "philharmonia" / "tracks.csv"]).kinds()) == ["artist"]


def test_a_csv_without_any_fact(tmp_path):
    (tmp_path / "tracks.csv").write_text("track_id,title\n1,x\n")
    with pytest.raises(DataError, match="columns track_id, title; needs one of artist"):
        leaks.read_facts([tmp_path / "tracks.csv"])
    with pytest.raises(DataError, match=r"none\.csv: no such list"):
        leaks.read_facts([tmp_path / "none.csv"])


def rows(*named):
    return [{"id": track, "artist": f"artist {track}", "shard": shard} for track, shard in named]


def test_records_named_by_split_and_a_run_over_others(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    files.write_jsonl(
        folder / "manifest.jsonl", rows(("1", "train-0"), ("2", "valid-0"), ("3", "test-0"), ("4", "train-1"))
    )
    opened = leaks.open_split([folder])
    assert opened.splits == {"train": ("1", "4"), "valid": ("2",), "test": ("3",)} and opened.records == folder
    files.write_jsonl(folder / "manifest.jsonl", rows(("1", "mel-0"), ("2", "mel-1")))
    with pytest.raises(DataError, match="not named by split"):
        leaks.open_split([folder])
    files.write_jsonl(folder / "manifest.jsonl", [*rows(("1", "train-0")), {"id": "2", "artist": "x", "shard": 3}])
    with pytest.raises(DataError, match=r"manifest\.jsonl:2: no id or no shard"):
        leaks.open_split([folder])
    files.write_jsonl(folder / "manifest.jsonl", rows(("1", "mel-0"), ("2", "mel-1")))
    run = tmp_path / "run"
    files.write_json(run / "run.json", {"split": {"train": ["mel-1"], "test": ["mel-0"]}, "tfrecords_dir": str(folder)})
    assert leaks.open_split([run]).splits == {"train": ("2",), "test": ("1",)}
    files.write_json(run / "run.json", {"task": "other"})
    with pytest.raises(DataError, match="has no split of records"):
        leaks.open_split([run])


def test_lists_and_data_folders(tmp_path):
    for name, ids in (("train", "1\n2\n"), ("val", "3\n"), ("test", "2\n")):
        (tmp_path / "splits").mkdir(exist_ok=True)
        (tmp_path / "splits" / f"items_index_{name}_X.tsv").write_text(ids)
    expected = {"train": ("1", "2"), "valid": ("3",), "test": ("2",)}  # a leak is read, not refused
    assert leaks.open_split([tmp_path]).splits == expected
    lists = [tmp_path / "splits" / f"items_index_{name}_X.tsv" for name in ("train", "val", "test")]
    assert leaks.open_split(lists).splits == expected
    content = {"format": search.FORMAT, "version": search.VERSION, "tags": ["rock"], **expected}
    files.write_json(tmp_path / "split.json", content)
    assert leaks.open_split([tmp_path / "split.json"]).splits == expected
    for paths, message in [(lists[:2], "2 files: give one split"), ([tmp_path / "nothing"], "no split: neither")]:
        with pytest.raises(DataError, match=message):
            leaks.open_split(paths)
    (tmp_path / "x.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(DataError, match="not a split"):
        leaks.open_split([tmp_path / "x.json"])


@pytest.mark.slow
def test_official_split_of_real_artists_is_clean(shared):
    lists = [shared / "mtg-jamendo" / f"autotagging_genre-{split}.tsv" for split in ("train", "validation", "test")]
    found = leaks.audit(leaks.open_split(lists).splits, leaks.read_facts(lists).kinds())
    assert [leak.kind for leak in found] == ["track", "artist", "album"]
    assert not any(leak.shared for leak in found) and found[1].values > 3000 and found[1].unknown == 0
