"""Records made by a re-enactment of the reference's scripts: what tools.migrate says of them, and that training reads it."""

import json

import librosa
import numpy as np
import pytest

from orpheus.data.audio.spec import LOG_MEL, WAVEFORM
from orpheus.data.batches import epochs
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.data.records import format
from orpheus.data.records.shards import split_shards
from orpheus.data.tags.database import TagDatabase
from orpheus.data.tags.targets import TagTargets
from orpheus.errors import DataError
from orpheus.runs import comparability
from tests.folders import write_as_reference
from tools import migrate

TAGS = {"a": ["rock"], "b": ["rock", "pop"], "c": ["rock", "jazz"], "d": ["jazz"]}
SPLIT = {"test": ["d"], "train": ["a", "b"], "valid": ["c"]}


def recordings(loudness=0.5):
    """A second of a chord with silence before it, whose decibels span more than 80."""
    rng, time = np.random.default_rng(0), np.arange(16000) / 16000
    found = {}
    for number, (track, tags) in enumerate(TAGS.items()):
        chord = sum(np.sin(2 * np.pi * 220 * (number + 1) * partial * time) / partial for partial in (1, 2, 3))
        chord = loudness * chord / 3 + 1e-3 * rng.normal(size=len(time))
        found[track] = (np.where(time < 0.3, 0, chord).astype(np.float32), tags)
    return found


@pytest.fixture
def database(tmp_path):
    """Popularity is rock, jazz, pop; the rows of table tags stand otherwise."""
    path = tmp_path / "tags.db"
    TagDatabase.write(path, [(track, tag, 1) for track, tags in TAGS.items() for tag in tags])
    database = TagDatabase(path)
    assert sorted(database.by_row()) == ["jazz", "pop", "rock"]
    return path, database.by_row()


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("kind", [LOG_MEL, WAVEFORM])
def test_the_three_files_of_the_reference(tmp_path, database, kind, one_hot, capsys):
    path, rows = database
    folder, made = tmp_path / "old", recordings()
    write_as_reference(folder, SPLIT, made, kind=kind, table=rows if one_hot else ())
    assert migrate.main([str(folder), *(["--lastfm", str(path)] if one_hot else [])]) == 0
    said = capsys.readouterr().out
    values = json.loads((folder / "spec.json").read_text())
    assert values["format"] == kind and f"format: {kind}" in said and "4 records in 3 files" in said
    assert values["top_db"] == (80.0 if kind == LOG_MEL else None) and values["hop_length"] == 512
    assert values["split"] == {name: [f"{kind}_{name}.tfrecord"] for name in ("train", "valid", "test")}
    assert values["layout"]["positions"] == (rows if one_hot else [])

    catalogue = format.open_folder(folder, format=kind, wanted={"n_mels": 96, "sample_rate": 16000})
    assert {row.track_id: sorted(row.tags[0]) for row in catalogue.rows(catalogue.shards)} == {
        track: sorted(tags) for track, tags in TAGS.items()
    }
    train, valid, test = split_shards(list(catalogue.shards), [80, 10, 10])
    assert [[row.track_id for row in catalogue.rows(part)] for part in (train, valid, test)] == [
        ["a", "b"],
        ["c"],
        ["d"],
    ]

    targets = TagTargets(("rock", "jazz"), {"rock": 0, "jazz": 1})
    part = SplitRecords(catalogue, valid, targets, 0)
    (audio, labels, *_) = next(iter(epochs.validation(part, Windows(0.5), batch_size=1)))
    np.testing.assert_array_equal(np.asarray(labels)[0], [1, 1])
    if kind == LOG_MEL:  # stored clipped, bands first; read as frames above the floor
        expected = librosa.power_to_db(librosa.feature.melspectrogram(y=made["c"][0], sr=16000, n_mels=96)).T + 100
        row = np.asarray(audio)[0].reshape(-1, 96)
        assert np.abs(expected[:, None] - row[None, len(row) // 2]).max(axis=2).min() < 1e-2


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("kind", [LOG_MEL, WAVEFORM])
def test_a_folder_is_the_same_records_before_and_after(tmp_path, database, kind, one_hot):
    path, rows = database
    folder = tmp_path / "old"
    write_as_reference(folder, SPLIT, recordings(), kind=kind, table=rows if one_hot else ())
    settings = {"format": kind, "wanted": {"n_mels": 96, "sample_rate": 16000}, "tag_names": rows if one_hot else ()}
    before = comparability.of_records(format.open_folder(folder, **settings))
    assert migrate.main([str(folder), *(["--lastfm", str(path)] if one_hot else [])]) == 0
    catalogue = format.open_folder(folder, **settings)
    assert all(row.bytes for row in catalogue.rows(catalogue.shards))
    assert comparability.of_records(catalogue) == before
    if one_hot:  # positions that no database names are other tags
        (folder / "spec.json").unlink()
        assert comparability.of_records(format.open_folder(folder, format=kind, wanted={"n_mels": 96})) != before


def test_what_is_not_clipped_is_said_so(tmp_path, monkeypatch):
    unclipped = librosa.power_to_db
    monkeypatch.setattr(librosa, "power_to_db", lambda power: unclipped(power, top_db=None))
    write_as_reference(tmp_path / "old", SPLIT, recordings())
    assert migrate.main([str(tmp_path / "old")]) == 0
    assert json.loads((tmp_path / "old" / "spec.json").read_text())["top_db"] is None


@pytest.mark.parametrize("bands", [96, 128])
def test_bands_are_found_where_several_fit(tmp_path, bands, capsys):
    """1.5 s are 48 frames: their 4,608 or 6,144 values are multiples of 96, 128 and 64 alike."""
    made = {track: (np.tile(samples, 2)[:24064], tags) for track, (samples, tags) in recordings().items()}
    write_as_reference(tmp_path / "old", SPLIT, made, n_mels=bands)
    assert migrate.main([str(tmp_path / "old")]) == 0
    assert f"n_mels: {bands}" in capsys.readouterr().out


def test_refusals(tmp_path, database, capsys):
    path, rows = database
    folder = tmp_path / "old"
    write_as_reference(folder, SPLIT, recordings(), table=rows)

    def refused(message, *options):
        assert migrate.main([str(folder), *options]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in error, error
        assert not (folder / "spec.json").exists() and not (folder / "manifest.jsonl").exists()

    refused("tags are positions (3) that only their database names; give it with --lastfm")
    TagDatabase.write(tmp_path / "small.db", [("a", "rock", 1)])
    refused("one-hot tags of 3 positions, the tag database names 1", "--lastfm", str(tmp_path / "small.db"))
    refused("its name says log-mel-spectrogram, waveform was asked for", "--format", "waveform", "--lastfm", str(path))
    assert migrate.main([str(folder), "--dry-run", "--lastfm", str(path)]) == 0
    assert not (folder / "spec.json").exists()
    for name in SPLIT:
        (folder / f"{LOG_MEL}_{name}.tfrecord").rename(folder / f"{WAVEFORM}_{name}.tfrecord")
    refused("files are named waveform, but values up to", "--lastfm", str(path))
    for name in SPLIT:
        (folder / f"{WAVEFORM}_{name}.tfrecord").rename(folder / f"{name}.tfrecord")
    assert migrate.main([str(folder), "--lastfm", str(path)]) == 0
    before = (folder / "spec.json").read_bytes()
    assert migrate.main([str(folder), "--lastfm", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err and (folder / "spec.json").read_bytes() == before


def test_a_truncated_file_is_found_once_it_is_described(tmp_path):
    folder = tmp_path / "old"
    write_as_reference(folder, SPLIT, recordings())
    assert migrate.main([str(folder)]) == 0
    shard = folder / f"{LOG_MEL}_train.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match="truncated or foreign"):
        format.open_folder(folder, format=LOG_MEL)
