"""A flipped byte of a shard ends a command in one line with shard and record; deleting the shard makes it alone again."""

import os
import shutil

import pytest
import tensorflow as tf

from orpheus.base import cli
from orpheus.data.batches import epochs, random_access
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.data.records import damage, format
from orpheus.data.tags.targets import choose, popularity
from tools import preprocess


@pytest.fixture
def spoilt(demo, tmp_path):
    """A copy of the demo's records with one byte of audio changed: (folder, shard, number of the record)."""
    folder = tmp_path / "mel"
    shutil.copytree(demo / "mel", folder)
    catalogue = format.open_folder(folder, format="log-mel-spectrogram")
    shard, rows = next((name, rows) for name, rows in catalogue.shards.items() if len(rows) > 2)
    content = bytearray((folder / shard).read_bytes())
    content[format.shard_bytes(row.bytes for row in rows[:2]) + 500] ^= 4
    (folder / shard).write_bytes(content)
    return catalogue, shard, 2


def part(catalogue):
    tags = popularity(row.tags[0] for row in catalogue.rows(catalogue.shards))
    return SplitRecords(catalogue, tuple(catalogue.shards), choose(tags))


def read_all(catalogue):
    for _ in epochs.all_windows(part(catalogue), Windows(1.0), batch_size=4):
        pass


def read_one(catalogue, number):
    songs = list(random_access.locate(catalogue).values())
    audio = random_access.Audio(catalogue, songs, part(catalogue).targets, 1.0)
    return audio.record(tf.constant(number)).numpy()


@pytest.mark.parametrize("way", ["in order", "by number"])
def test_damage_is_named_by_shard_and_record(spoilt, way, capsys):
    catalogue, shard, record = spoilt
    rows = catalogue.rows(catalogue.shards)
    number = rows.index(catalogue.shards[shard][record])

    def body(_):
        read_all(catalogue) if way == "in order" else read_one(catalogue, number)

    assert cli.run(cli.parser("orpheus.train", "x"), body, []) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{shard}: damaged at record {record} (track {rows[number].track_id!r})" in said
    assert "it makes this shard only" in said


def test_records_by_number_are_those_in_order(demo):
    catalogue = format.open_folder(demo / "mel", format="log-mel-spectrogram")
    in_order = [record for shard in catalogue.shards for record in format.read_shard(catalogue.paths([shard])[0])]
    assert [read_one(catalogue, number) for number in range(len(in_order))] == in_order


def test_other_errors_are_not_explained(demo):
    assert damage.explain(ValueError("x")) is None and damage.explain(tf.errors.NotFoundError(None, None, "x")) is None
    catalogue = format.open_folder(demo / "mel", format="log-mel-spectrogram")
    damage.watch(catalogue)
    healed = damage.explain(tf.errors.DataLossError(None, None, "corrupted record at 0"))
    assert "a shard is damaged, or was while it was read" in str(healed)


def test_the_cure_makes_that_shard_only(spoilt, demo):
    catalogue, shard, _ = spoilt
    folder = catalogue.folder
    times = {name: os.stat(f"{folder}/{name}").st_mtime_ns for name in catalogue.shards}
    os.remove(f"{folder}/{shard}")
    options = ["--csv-path", demo / "data/tracks.csv", "--tag-path", demo / "data/tags.db", "-n", 6, "--workers", 1]
    options += ["--group-column", "track_id", "--sr", 8000, "--mels", 32]
    assert preprocess.main(["log-mel-spectrogram", str(folder), *map(str, options)]) == 0
    for name in catalogue.shards:
        with open(f"{folder}/{name}", "rb") as made, open(demo / "mel" / name, "rb") as before:
            assert made.read() == before.read()
        assert name == shard or times[name] == os.stat(f"{folder}/{name}").st_mtime_ns
