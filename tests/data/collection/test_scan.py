"""orpheus.data.collection.scan and .probe: hand-made files whose length, silence and metadata are known."""

import csv
import ctypes
import os
import shutil
import stat
import sys

import mutagen
import numpy as np
import pytest
import soundfile

from orpheus.base import parallel
from orpheus.data.audio import finding
from orpheus.data.collection import scan
from orpheus.data.collection.probe import measure, read_metadata
from orpheus.data.tags.database import TagDatabase
from orpheus.errors import ConfigError, DataError

RATE = 8000


def tone(seconds, *, amplitude=0.5, rate=RATE):
    return amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def write(path, samples, *, rate=RATE, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    if tags:
        file = mutagen.File(path, easy=True)
        if file.tags is None:
            file.add_tags()
        file.tags.update(tags)
        file.save()


@pytest.fixture
def music(tmp_path):
    """Nine audio files: four usable, one of them twice, and four that are broken in different ways."""
    folder = tmp_path / "music"
    write(
        folder / "b" / "two.flac", tone(2), artist="Björk", album="Post", title="Hyper", genre=["Pop", "Art Pop; IDM"]
    )
    write(folder / "b" / "one.MP3", tone(1, rate=16000), rate=16000, artist=["A", "B"], genre="Pop")
    write(folder / "a.wav", np.stack([tone(0.5), tone(0.5)], axis=1))
    write(folder / "silent.ogg", np.zeros(RATE))
    shutil.copy(folder / "a.wav", folder / "z copy.wav")
    (folder / "empty.mp3").touch()
    (folder / "text.mp3").write_text("this is no music\n" * 100)
    (folder / "none.wav").write_bytes(b"")
    soundfile.write(folder / "nan.wav", np.array([0.1] * 800 + [np.nan, 0.1]), RATE, subtype="FLOAT")
    (folder / "notes.txt").write_text("not audio")
    (folder / ".hidden.mp3").write_text("not looked at")
    return folder


def test_length_and_silence_are_those_that_were_written(tmp_path):
    quiet = tone(1, amplitude=1.3e-3)  # −60.7 dBFS RMS: silent
    soft = tone(0.5, amplitude=1.5e-3)  # −59.5 dBFS RMS: not silent
    write(tmp_path / "x.wav", np.concatenate([quiet, tone(7), np.zeros(RATE // 2), soft, tone(0.1)]))
    facts = measure(tmp_path / "x.wav")
    # 16-bit steps move such soft sines by 0.1 dB at most; blocks of 20 ms divide every piece exactly.
    assert facts == {
        "seconds": 9.1,
        "sample_rate": RATE,
        "channels": 1,
        "silence_seconds": 1.5,
        "longest_silence_seconds": 1.0,
        "lost_seconds": 0.0,
        "damage": "",
    }


def test_a_silence_that_crosses_chunks_is_one(tmp_path):
    """Silence from 4 s to 16 s spans three chunks of 5 s, and the file ends within a block."""
    samples = tone(16.5)
    samples[4 * RATE : 16 * RATE] = 0
    write(tmp_path / "x.flac", np.concatenate([samples, np.zeros(37)]))
    facts = measure(tmp_path / "x.flac")
    assert facts["seconds"] == round(16.5 + 37 / RATE, 3)
    assert facts["longest_silence_seconds"] == 12.0
    assert facts["silence_seconds"] == round(12 + 37 / RATE, 3)


def test_one_sounding_channel_is_no_silence(tmp_path):
    write(tmp_path / "x.wav", np.stack([np.zeros(RATE), tone(1)], axis=1))
    assert measure(tmp_path / "x.wav")["silence_seconds"] == 0
    assert measure(tmp_path / "x.wav")["channels"] == 2


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg", "wav"])
def test_metadata_of_every_format(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    write(path, tone(0.5))
    if suffix == "wav":  # ID3 in a chunk, without easy keys
        file = mutagen.File(path)
        file.add_tags()
        for frame, texts in (
            ("TPE1", ["Ærtist"]),
            ("TALB", ["Album"]),
            ("TIT2", ["Title"]),
            ("TCON", ["(17)", "Jazz"]),
        ):
            file.tags.add(getattr(mutagen.id3, frame)(encoding=3, text=texts))
        file.save()
    else:
        file = mutagen.File(path, easy=True)
        file.update({"artist": "Ærtist", "album": "Album", "title": "Title", "genre": ["Rock", "Jazz"]})
        file.save()
    names, genres, note = read_metadata(path)
    assert names == {"artist": "Ærtist", "album": "Album", "title": "Title"}
    assert genres == ["Rock", "Jazz"] and note == ""


def test_absent_and_broken_metadata(tmp_path):
    write(tmp_path / "x.wav", tone(0.1))
    empty = {"artist": "", "album": "", "title": ""}
    assert read_metadata(tmp_path / "x.wav") == (empty, [], "")
    (tmp_path / "x.flac").write_bytes(b"fLaC" + b"\xff" * 100)
    names, genres, note = read_metadata(tmp_path / "x.flac")
    assert (names, genres) == (empty, []) and note.startswith("metadata cannot be read")


def test_scan_lists_every_file_once(tmp_path, music, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    result = scan.scan(music, base=tmp_path, workers=0)
    assert [track.audio_path for track in result.tracks] == [
        "music/a.wav",
        "music/b/one.MP3",
        "music/b/two.flac",
        "music/silent.ogg",
    ]
    stereo, one, two, silent = result.tracks
    assert (two.artist, two.album, two.title, two.seconds) == ("Björk", "Post", "Hyper", 2.0)
    assert (one.artist, one.sample_rate) == ("A; B", 16000)
    assert abs(one.seconds - 1) < 0.15  # mp3 pads to frames of 1152 samples
    assert (stereo.channels, stereo.artist, stereo.bytes) == (2, "", (music / "a.wav").stat().st_size)
    assert silent.silence_seconds == silent.longest_silence_seconds == silent.seconds == 1.0
    assert all(track.track_id == track.sha256[:16] for track in result.tracks)
    assert result.duplicates == [{"track_id": stereo.track_id, "audio_path": "music/z copy.wav", "kept": "music/a.wav"}]
    reasons = {row["audio_path"]: row["reason"] for row in result.failures}
    assert list(reasons) == ["music/empty.mp3", "music/nan.wav", "music/none.wav", "music/text.mp3"]
    assert reasons["music/empty.mp3"] == reasons["music/none.wav"] == "empty file (0 bytes)"
    assert reasons["music/nan.wav"] == "a sample is not finite, at 0.100 s"
    assert "not decodable (format not recognised" in reasons["music/text.mp3"].lower()
    assert result.genres == [
        (one.track_id, "Pop", 100.0),
        (two.track_id, "Pop", 100.0),
        (two.track_id, "Art Pop", 100.0),
        (two.track_id, "IDM", 100.0),
    ]


def test_ids_depend_on_content_and_paths_on_the_base_only(tmp_path, music):
    before = scan.scan(music, base=tmp_path, workers=0)
    shutil.move(music, tmp_path / "elsewhere")
    after = scan.scan(tmp_path / "elsewhere", base=tmp_path / "other", workers=0)
    assert [track.track_id for track in after.tracks] == [track.track_id for track in before.tracks]
    assert after.tracks[0].audio_path == str(tmp_path / "elsewhere" / "a.wav")  # not below the base: absolute
    inside = scan.scan(tmp_path / "elsewhere", base=tmp_path / "elsewhere", workers=0)
    assert inside.tracks[0].audio_path == "a.wav"
    assert [row["reason"] for row in inside.failures] == [row["reason"] for row in before.failures]


@pytest.mark.slow
def test_files_do_not_depend_on_the_number_of_processes(tmp_path, music):
    for workers in (0, 1, 3):
        folder = tmp_path / "out"
        folder.mkdir()
        result = scan.scan(music, base=tmp_path, workers=workers)
        scan.write(result, folder / "tracks.csv", tags_path=folder / "tags.db")
        folder.rename(tmp_path / f"out{workers}")
    names = sorted(path.name for path in (tmp_path / "out0").iterdir())
    assert names == [
        "tags.db",
        "tracks.csv",
        "tracks.duplicates.jsonl",
        "tracks.failures.jsonl",
        "tracks.filtered.jsonl",
    ]
    for name in names:
        contents = {(tmp_path / f"out{workers}" / name).read_bytes() for workers in (0, 1, 3)}
        assert len(contents) == 1, name
    with open(tmp_path / "out0" / "tracks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["track_id", "audio_path", "artist"]
    database = TagDatabase(tmp_path / "out0" / "tags.db")
    assert database.popularity() == [("Pop", 2), ("Art Pop", 1), ("IDM", 1)]
    assert database.tags_of(rows[2]["track_id"]) == ["Art Pop", "IDM", "Pop"]


@pytest.mark.parametrize(
    "limits, left, reason",
    [
        ({"min_seconds": 1.5}, ["two.flac"], "seconds 0.5 below 1.5"),
        ({"max_seconds": 0.7}, ["a.wav"], "seconds 2 above 0.7"),
        ({"max_silence_share": 0.5}, ["a.wav", "one.MP3", "two.flac"], "silence share 1 above 0.5"),
        ({"max_silence_seconds": 0.5}, ["a.wav", "one.MP3", "two.flac"], "longest silence in seconds 1 above 0.5"),
        ({"min_sample_rate": 16000}, ["one.MP3"], "sample rate 8000 below 16000"),
        ({"min_bytes": 16_000}, ["a.wav"], "below 16000"),
    ],
)
def test_limits(tmp_path, music, limits, left, reason):
    result = scan.scan(music, base=tmp_path, limits=scan.Limits(**limits), workers=0)
    assert [os.path.basename(track.audio_path) for track in result.tracks] == left
    assert len(result.filtered) == 4 - len(left)
    assert any(reason in row["reason"] for row in result.filtered)
    kept = {track.track_id for track in result.tracks}
    assert {track_id for track_id, _, _ in result.genres} <= kept


@pytest.mark.parametrize(
    "limits, said",
    [
        ({"min_seconds": -1}, "min_seconds=-1"),
        ({"max_silence_share": 1.5}, "between 0 and 1"),
        ({"min_bytes": 9, "max_bytes": 5}, "min_bytes=9 is above max_bytes=5"),
    ],
)
def test_impossible_limits_are_refused(limits, said):
    with pytest.raises(ConfigError, match=said):
        scan.Limits(**limits)


def test_folders_without_music_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        finding.find_audio(tmp_path / "absent")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"no audio file in it; looked for .*\.flac"):
        finding.find_audio(tmp_path)


def test_nothing_usable_writes_the_reasons_and_no_csv(tmp_path):
    (tmp_path / "x.mp3").touch()
    result = scan.scan(tmp_path, base=tmp_path, workers=0)
    with pytest.raises(DataError, match=r"no usable file, 1 unreadable .*tracks\.failures\.jsonl"):
        scan.write(result, tmp_path / "tracks.csv", tags_path=tmp_path / "tags.db")
    assert "0 bytes" in (tmp_path / "tracks.failures.jsonl").read_text()
    assert not (tmp_path / "tracks.csv").exists() and not (tmp_path / "tags.db").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_text_is_a_failure(tmp_path):
    write(tmp_path / "ok.wav", tone(0.1))
    shutil.copy(tmp_path / "ok.wav", os.fsencode(tmp_path) + b"/caf\xe9.wav")  # first in order, yet not the one kept
    result = scan.scan(tmp_path, base=tmp_path, workers=0)
    assert [track.audio_path for track in result.tracks] == ["ok.wav"]
    assert result.failures == [{"audio_path": "caf\\udce9.wav", "reason": "its path is not valid UTF-8; rename it"}]
    assert not result.duplicates


def test_a_truncated_flac_is_measured_as_far_as_it_goes_and_told(tmp_path):
    write(tmp_path / "x.flac", np.random.default_rng(0).normal(0, 0.1, 10 * RATE))
    content = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(content[: len(content) // 2])
    result = scan.scan(tmp_path, base=tmp_path, workers=0)
    (track,) = result.tracks
    assert track.seconds == pytest.approx(5, abs=4096 / RATE)  # whole frames of 4096 samples
    assert track.seconds + track.lost_seconds == pytest.approx(10, abs=1e-3)
    assert result.notes == [
        f"x.flac: damaged: {track.lost_seconds:.2f} s lost at {track.seconds:.2f} s (flac decoder lost sync)"
    ]


FFMPEG = """#!{python}
import struct, sys, array
path = sys.argv[sys.argv.index("-i") + 1]
if "bad" in path:
    sys.exit(path + ": Invalid data found")
samples = array.array("f", [0.5, -0.5] * 6000 + [0.0] * 4000)
samples.byteswap()
sys.stdout.buffer.write(struct.pack(">4s5I", b".snd", 32, 0xFFFFFFFF, 6, 4000, 2) + b"8 bytes " + samples.tobytes())
"""


def test_other_formats_go_through_ffmpeg(tmp_path, monkeypatch):
    """A stand-in for ffmpeg gives 1.5 s of sound and 0.5 s of silence, 4 kHz stereo."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    (tmp_path / "x.m4a").write_bytes(b"some other codec")
    (tmp_path / "bad.m4a").write_bytes(b"garbage")
    result = scan.scan(tmp_path, base=tmp_path, workers=0)
    (track,) = result.tracks
    assert (track.seconds, track.sample_rate, track.channels) == (2.0, 4000, 2)
    assert (track.silence_seconds, track.longest_silence_seconds) == (0.5, 0.5)
    (failure,) = result.failures
    assert failure["audio_path"] == "bad.m4a"
    assert failure["reason"].endswith("ffmpeg: Invalid data found)") and str(tmp_path) not in failure["reason"]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="ffmpeg, which may know the format, is not installed"):
        measure(tmp_path / "x.m4a")


def test_a_dying_process_costs_its_own_item_only():
    """`ctypes.string_at(0)` reads address 0: a segmentation fault, as a broken decoder would cause."""
    assert list(parallel.map_in_processes(ctypes.string_at, [b"a", b"b", 0, b"c"], workers=2)) == [
        b"a",
        b"b",
        None,
        b"c",
    ]
    assert list(parallel.map_in_processes(len, [[1], []], workers=0)) == [1, 0]


def test_real_recordings(tmp_path, shared):
    """A sample of the orchestra's clips with their one empty file, and three ogg recordings."""
    folder = tmp_path / "music"
    folder.mkdir()
    clips = sorted((shared / "philharmonia" / "audio").iterdir())
    empty = [path for path in clips if path.stat().st_size == 0]
    for path in [*clips[::100], *empty, *sorted((shared / "librosa-audio").iterdir())]:
        (folder / path.name).symlink_to(path)
    result = scan.scan(folder, base=tmp_path, workers=2)
    assert [row["audio_path"] for row in result.failures] == [f"music/{empty[0].name}"] and len(empty) == 1
    assert len(result.tracks) == len(clips[::100]) + 3 and not result.duplicates and not result.filtered
    by_name = {os.path.basename(track.audio_path): track for track in result.tracks}
    ogg = by_name["Kevin_MacLeod_-_Vibe_Ace.ogg"]
    assert (ogg.artist, ogg.album, ogg.title, ogg.sample_rate) == ("Kevin MacLeod", "Jazz Sampler", "Vibe Ace", 22050)
    assert result.genres == [(ogg.track_id, "Jazz", 100.0)]
    for track in result.tracks:
        samples, rate = soundfile.read(tmp_path / track.audio_path)
        assert track.seconds == round(len(samples) / rate, 3)
        assert 0 <= track.longest_silence_seconds <= track.silence_seconds < track.seconds
