"""orpheus.data.records.format: round trip, older layouts, and everything that can be wrong with a folder."""

import json
import os
import sys

import numpy as np
import pytest
import tensorflow as tf

from orpheus.base import filesystems, storage
from orpheus.data.audio.spec import LOG_MEL, WAVEFORM, AudioSpec
from orpheus.data.records import format
from orpheus.errors import ConfigError, DataError
from tests.folders import MEL, Clip, clips, write, write_older

TAGS = [["rock", "ätherisch"], [], ["pop"]]


@pytest.fixture
def folder(tmp_path):
    content = clips([30, 7, 12], TAGS)
    write(tmp_path / "mel", [content[:2], content[2:]])
    return tmp_path / "mel"


def test_a_record_round_trips_and_its_bytes_are_fixed():
    (clip,) = clips([5], [["b", "a"]])
    record = format.encode(clip.track_id, clip.audio, [["b", "a"], [], ["c"]])
    assert record == format.encode(clip.track_id, np.asfortranarray(clip.audio), [["b", "a"], [], ["c"]])
    fields = format.decode(record)
    np.testing.assert_array_equal(np.frombuffer(fields["audio"][0], np.float16).reshape(5, 4), clip.audio)
    assert fields["tid"] == [b"t000"]
    assert (fields["tags_0"], fields["tags_1"], fields["tags_2"]) == ([b"b", b"a"], [], [b"c"])
    assert set(format.decode(format.encode("x", clip.audio, [["a"]]))) == {"audio", "tid", "tags"}
    with pytest.raises(DataError, match="not a record"):
        format.decode(b"\xff\xff\xff")


def test_a_folder_is_opened(folder):
    catalogue = format.open_folder(folder, format=LOG_MEL, wanted={"n_mels": 4, "sample_rate": None, "n_tags": 9})
    assert catalogue.spec == MEL and catalogue.layout == format.Layout()
    first, second = catalogue.shards
    assert (first, second) == (
        "log-mel-spectrogram-00000-of-00002.tfrecord",
        "log-mel-spectrogram-00001-of-00002.tfrecord",
    )
    assert [row.track_id for row in catalogue.rows([second, first])] == ["t002", "t000", "t001"]
    assert [row.tags for row in catalogue.shards[first]] == [(("rock", "ätherisch"),), ((),)]
    assert [row.seconds for row in catalogue.rows([first, second])] == [0.3, 0.07, 0.12]
    assert catalogue.paths([second]) == [str(folder / second)]
    sizes = [row.bytes + 16 for row in catalogue.shards[first]]
    assert os.path.getsize(folder / first) == sum(sizes)
    assert len(list(format.read_shard(folder / second))) == 1


def test_home_and_urls_are_folders(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert format.open_folder("~/mel", format=LOG_MEL).folder == str(folder)
    url = "ram://bucket/mel"
    for path in folder.iterdir():
        tf.io.gfile.makedirs(url)
        tf.io.gfile.copy(str(path), f"{url}/{path.name}", overwrite=True)
    catalogue = format.open_folder(url, format=LOG_MEL)
    assert catalogue.folder == url
    assert storage.absolute(url) == url and storage.absolute("x") == os.path.join(os.getcwd(), "x")
    (path, _) = catalogue.paths(catalogue.shards)
    assert path == f"{url}/log-mel-spectrogram-00000-of-00002.tfrecord"
    assert len(list(format.read_shard(path))) == 2
    tf.io.gfile.remove(f"{url}/manifest.jsonl")
    with pytest.raises(DataError, match=r"ram://bucket/mel/manifest\.jsonl: no such file"):
        format.open_folder(url, format=LOG_MEL)


def test_object_storage_that_nothing_opens_is_one_line(monkeypatch):
    filesystems.loaded.cache_clear()
    for name in ("tensorflow_io", "fsspec"):
        monkeypatch.setitem(sys.modules, name, None)  # what a missing module looks like to import
    monkeypatch.setattr(tf.io.gfile, "get_registered_schemes", lambda: ["", "file", "gs", "ram"])
    with pytest.raises(
        ConfigError, match=r"^s3://bucket/mel: nothing here opens s3:// \(.*fsspec.*\); pip install s3fs, or"
    ) as caught:
        format.open_folder("s3://bucket/mel", format=LOG_MEL)
    assert "\n" not in str(caught.value)
    assert storage.location("gs://bucket/x") == "gs://bucket/x"  # TensorFlow's own


def test_a_scheme_that_nobody_knows_is_one_line():
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match=r"^nonsense://x: nothing here opens nonsense://"):
        storage.location("nonsense://x")


def test_the_choice_among_databases(tmp_path):
    write(tmp_path / "one", [clips([5], [["a"]])])
    write(tmp_path / "two", [clips([5, 6], [(["a"], ["x", "y"]), ([], ["z"])])])
    one, two = (format.open_folder(tmp_path / name, format=LOG_MEL) for name in ("one", "two"))
    assert two.layout.tag_fields == ("tags_0", "tags_1")
    assert [row.tags for row in two.rows(two.shards)] == [(("a",), ("x", "y")), ((), ("z",))]
    assert (one.tag_field(None), one.tag_field(0), two.tag_field(1)) == (0, 0, 1)
    with pytest.raises(ConfigError, match=r"two holds tags of 2 databases: choose with --multi-db-default 0…1"):
        two.tag_field(None)
    for catalogue, database in ((one, 1), (two, 2), (two, -1)):
        with pytest.raises(ConfigError, match=f"--multi-db-default {database}"):
            catalogue.tag_field(database)


def truncate(path, by=5):
    path.write_bytes(path.read_bytes()[:-by])


def without_bytes(folder):
    """The manifest as an earlier version wrote it, without sizes."""
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for line in lines:
        del line["bytes"]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


FIRST, SECOND = (f"log-mel-spectrogram-0000{index}-of-00002.tfrecord" for index in range(2))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda f: (f / SECOND).unlink(), rf"{SECOND}: in the manifest but not in the folder"),
        (lambda f: (f / "other.tfrecord").write_bytes((f / SECOND).read_bytes()), r"other\.tfrecord: foreign shard"),
        (lambda f: truncate(f / FIRST), rf"{FIRST}: truncated or foreign, \d+ bytes where its manifest says \d+"),
        (lambda f: (f / "manifest.jsonl").unlink(), r"manifest\.jsonl: no such file"),
        (lambda f: truncate(f / "manifest.jsonl"), r"manifest\.jsonl:3: not JSON"),
        (lambda f: (f / "manifest.jsonl").write_text('{"id": "x"}\n'), r"manifest\.jsonl:1: no key 'artist'"),
        (
            lambda f: (f / "manifest.jsonl").write_text((f / "manifest.jsonl").read_text() * 2),
            r"manifest\.jsonl: track 't000' is there twice",
        ),
        (lambda f: (f / "spec.json").unlink(), r"bytes records without spec\.json; put back the file"),
        (lambda f: (f / "spec.json").write_text("{}"), r"spec\.json: version None, this orpheus reads 1"),
        (lambda f: (f / "spec.json").write_text("[1"), r"spec\.json:1:3: not JSON"),
        (lambda f: (f / "spec.json").write_text('{"version": 1}'), r"spec\.json: not a spec of audio records"),
        (lambda f: [path.unlink() for path in f.glob("*.tfrecord")], r"holds no \*\.tfrecord"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(folder, spoil, said):
    spoil(folder)
    with pytest.raises(DataError, match=said) as caught:
        format.open_folder(folder, format=LOG_MEL)
    assert str(folder) in str(caught.value)


def test_other_format_other_settings_no_folder(folder):
    with pytest.raises(DataError, match="holds log-mel-spectrogram records, waveform was asked for"):
        format.open_folder(folder, format=WAVEFORM)
    with pytest.raises(
        ConfigError, match=r"made with n_mels=4, config asks 128; re-run tools\.preprocess or change tfrecords\.n_mels"
    ):
        format.open_folder(folder, format=LOG_MEL, wanted={"n_mels": 128})
    with pytest.raises(DataError, match="no such folder of records"):
        format.open_folder(folder / "nowhere", format=LOG_MEL)


def test_manifests_without_sizes_are_read(folder):
    without_bytes(folder)
    catalogue = format.open_folder(folder, format=LOG_MEL)
    assert [row.bytes for row in catalogue.rows(catalogue.shards)] == [0, 0, 0]


def test_corrupt_content_is_found_by_its_checksum(folder):
    content = bytearray((folder / FIRST).read_bytes())
    content[-30] ^= 1
    (folder / FIRST).write_bytes(content)
    with pytest.raises(DataError, match=rf"{FIRST}: corrupt or truncated at record 1"):
        list(format.read_shard(folder / FIRST))


def test_an_aborted_shard_leaves_nothing(tmp_path):
    def stop():
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        format.write_shard(tmp_path / "x.tfrecord", stop())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("message, number", [("/x; No space left on device", 28), ("File too large", 27), ("what", 5)])
def test_a_write_error_at_closing_is_not_lost(tmp_path, monkeypatch, message, number):
    """What TensorFlow has buffered may fail as late as when the file is closed."""

    class Writer:
        def __init__(self, path):
            open(path, "wb").close()

        def __enter__(self):
            return self

        def write(self, record):
            pass

        def __exit__(self, *_):
            raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(tf.io, "TFRecordWriter", Writer)
    with pytest.raises(OSError) as caught:
        format.write_shard(tmp_path / "x.tfrecord", [b"one"])
    assert caught.value.errno == number and caught.value.filename == str(tmp_path / "x.tfrecord")
    assert list(tmp_path.iterdir()) == []


OLDER_MEL = AudioSpec(**{**MEL.to_json(), "dtype": "float32", "top_db": 80.0})  # as the reference made them
OLDER_WAVEFORM = AudioSpec(WAVEFORM, sample_rate=1000, dtype="float32")
WANTED = {"sample_rate": 1000, "n_fft": 64, "hop_length": 10, "n_mels": 4}


@pytest.mark.parametrize("spec", [OLDER_MEL, OLDER_WAVEFORM])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("positions", [(), ("rock", "pop", "jazz")])
def test_older_layouts(tmp_path, spec, several, positions):
    tags = [["rock", "pop"], [], ["jazz"]]
    content = clips([30, 7, 12], [(names, ["pop"]) if several else names for names in tags], spec)
    write_older(tmp_path, [content[:2], content[2:]], spec, positions=positions)
    catalogue = format.open_folder(tmp_path, format=spec.format, wanted=WANTED, tag_names=[*positions, "more"])
    assert catalogue.spec == (spec if spec is OLDER_MEL else AudioSpec(**{**spec.to_json(), **WANTED}))
    assert (catalogue.layout.audio, catalogue.layout.tags) == ("floats", "one-hot" if positions else "strings")
    assert catalogue.layout.tag_fields == (("tags_0", "tags_1") if several else ("tags",))
    assert catalogue.layout.positions == positions
    rows = catalogue.rows(catalogue.shards)
    assert [row.track_id for row in rows] == ["t000", "t001", "t002"]
    assert [list(row.tags[0]) for row in rows] == tags
    assert not several or {row.tags[1] for row in rows} == {("pop",)}
    assert [row.seconds for row in rows] == pytest.approx([spec.seconds(n) for n in (30, 7, 12)])


def test_a_run_of_before_clipping_was_known_keeps_its_older_records(tmp_path):
    write_older(tmp_path, [clips([30], [["b"]], OLDER_MEL)], OLDER_MEL)
    old = AudioSpec.from_json({k: v for k, v in OLDER_MEL.to_json().items() if k not in ("top_db", "mel_norm")}, "run")
    assert format.open_folder(tmp_path, format=LOG_MEL, wanted=old.to_json()).spec == old != OLDER_MEL


def test_one_hot_positions_without_names(tmp_path):
    write_older(tmp_path, [clips([30], [["b"]], OLDER_MEL)], OLDER_MEL, positions="ab")
    catalogue = format.open_folder(tmp_path, format=LOG_MEL, wanted=WANTED)
    assert catalogue.layout.positions == ("tag_0", "tag_1")
    assert catalogue.rows(catalogue.shards)[0].tags == (("tag_1",),)
    with pytest.raises(DataError, match="one-hot tags of 2 positions, the tag database names 1"):
        format.open_folder(tmp_path, format=LOG_MEL, wanted=WANTED, tag_names=["a"])


def example(**features):
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


FLOATS = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2, 3, 4]))
TEXT = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"]))
INTEGERS = tf.train.Feature(int64_list=tf.train.Int64List(value=[0, 1]))


@pytest.mark.parametrize(
    "content, said",
    [
        ([[]], "an empty shard"),
        ([[b"\xff\xff"]], "not a record"),
        ([[example(image=FLOATS)]], "foreign records with fields image; expected audio, tid and tags"),
        ([[example(audio=FLOATS, tid=TEXT)]], "foreign records with fields audio, tid; expected"),
        ([[example(audio=TEXT, tid=TEXT, tags=TEXT)]], r"bytes records without spec\.json"),
        (
            [[example(audio=FLOATS, tid=TEXT, tags=TEXT), example(tid=TEXT)]],
            "1.tfrecord: record 1 is laid out otherwise",
        ),
        (
            [[example(audio=FLOATS, tid=TEXT, tags=TEXT)], [example(audio=FLOATS, tid=TEXT, tags=INTEGERS)]],
            "2.tfrecord: record 0",
        ),
        (
            [[example(audio=FLOATS, tid=TEXT, tags=INTEGERS), example(audio=FLOATS, tid=TEXT)]],
            "record 1 has not the 2 tags",
        ),
    ],
)
def test_foreign_records(tmp_path, content, said):
    for index, values in enumerate(content, 1):
        format.write_shard(tmp_path / f"{index}.tfrecord", values)
    with pytest.raises(DataError, match=said):
        format.open_folder(tmp_path, format=LOG_MEL, wanted=WANTED)


def renamed(folder, name):
    (path,) = folder.glob("*.tfrecord")
    path.rename(folder / name)


def test_older_records_of_the_other_format(tmp_path):
    """By the file's name, by the number of values, and by the values: in both directions."""
    write_older(tmp_path, [clips([30], [["a"]], OLDER_WAVEFORM)], OLDER_WAVEFORM)
    with pytest.raises(DataError, match="its name says waveform, log-mel-spectrogram was asked for"):
        format.open_folder(tmp_path, format=LOG_MEL, wanted=WANTED)
    renamed(tmp_path, "x.tfrecord")
    with pytest.raises(DataError, match="no value is beyond 1, so these are no decibels"):
        format.open_folder(tmp_path, format=LOG_MEL, wanted={**WANTED, "n_mels": 3})
    assert format.open_folder(tmp_path, format=WAVEFORM, wanted=WANTED).spec.format == WAVEFORM
    with pytest.raises(DataError, match="30 audio values are no multiple of n_mels=4"):
        format.open_folder(tmp_path, format=LOG_MEL, wanted=WANTED)

    renamed(tmp_path, "waveform.tfrecord")
    write_older(tmp_path / "mel", [clips([30], [["a"]], OLDER_MEL)], OLDER_MEL)
    with pytest.raises(DataError, match="its name says log-mel-spectrogram, waveform was asked for"):
        format.open_folder(tmp_path / "mel", format=WAVEFORM, wanted=WANTED)
    renamed(tmp_path / "mel", "x.tfrecord")
    with pytest.raises(DataError, match=r"values up to \d+ are no samples"):
        format.open_folder(tmp_path / "mel", format=WAVEFORM, wanted=WANTED)


def test_older_records_too_long_for_a_spectrogram(tmp_path):
    long = AudioSpec(WAVEFORM, sample_rate=1, dtype="float32")  # 2000 s, where half an hour of log-mel has 112 values
    content = [Clip("a", np.full(2000, 50, np.float32), ["a"])]
    write_older(tmp_path, [content], long)
    renamed(tmp_path, "x.tfrecord")
    with pytest.raises(DataError, match="2000 values a record are no log-mel spectrogram"):
        format.open_folder(tmp_path, format=LOG_MEL, wanted={**WANTED, "sample_rate": 1, "hop_length": 64})
