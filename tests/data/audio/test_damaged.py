"""Odd headers and damage: seconds and samples that must be decoded, by construction, beside ffmpeg's where it is installed."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from benchmarks import damaged_audio
from orpheus.base import parallel
from orpheus.data.audio import flac, mpeg, ogg, reading, splice
from orpheus.data.audio.account import Account, Damage
from orpheus.data.audio.spec import WAVEFORM, AudioSpec
from orpheus.data.collection import scan
from orpheus.data.collection.probe import measure
from orpheus.errors import ConfigError, DataError

RATE = damaged_audio.RATE
SPEC = AudioSpec(WAVEFORM, sample_rate=RATE, dtype="float32")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """By file name."""
    return {case.path.name: case for case in damaged_audio.make(tmp_path_factory.mktemp("damaged"))}


def test_every_file_is_decoded_to_its_end_and_what_is_lost_is_told(cases):
    for name, case in cases.items():
        account = damaged_audio.decoded(case.path)
        if np.isnan(case.seconds):
            assert isinstance(account, str), name
            continue
        assert account.seconds == pytest.approx(case.seconds, abs=case.tolerance), name
        if np.isnan(case.lost):  # nobody can know how much
            assert [one.lost for one in account.damage] == [None], name
        else:
            assert account.lost_seconds == pytest.approx(case.lost, abs=case.tolerance), name
            assert bool(account.damage) == bool(case.lost), name
        if not np.isnan(case.at):
            assert account.damage[0].at == pytest.approx(case.at, abs=case.tolerance), name
    assert len(cases) > 30


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: nothing to compare with")
def test_nothing_is_shorter_than_what_ffmpeg_decodes(cases):
    for name in (
        "no-header.mp3",
        "xing-0.mp3",
        "joined.mp3",
        "rates.mp3",
        "noise.mp3",
        "zeros.mp3",
        "half.mp3",
        "zero.flac",
        "noise.flac",
        "half.flac",
        "joined.ogg",
        "noise.ogg",
        "noise.opus",
    ):
        # ffmpeg does not cut off what the encoder of the second and the third stream added: 1105 samples at the beginning
        # and up to 1152 at the end of each.
        extra = 0.06 if name in ("joined.mp3", "rates.mp3") else 0.03
        ours, theirs = damaged_audio.decoded(cases[name].path).seconds, damaged_audio.by_ffmpeg(cases[name].path)
        assert theirs - extra - 0.03 < ours, name


@pytest.mark.parametrize(
    "damaged, whole",
    [("noise.mp3", "cbr.mp3"), ("zeros.mp3", "cbr.mp3"), ("noise.flac", "whole.flac"), ("noise.ogg", "whole.ogg")],
)
def test_around_the_damage_are_the_samples_of_the_whole_file(cases, damaged, whole):
    account, size = Account(), cases[whole].path
    kept, all_of_it = reading.load(cases[damaged].path, SPEC, account=account), reading.load(size, SPEC)
    (damage,) = account.damage
    # Lapped transforms and the bit reservoir make some frames around it differ.
    margin = round(0.1 * RATE)
    before = round(damage.at * RATE) - margin
    np.testing.assert_allclose(kept[:before], all_of_it[:before], atol=1e-4)
    after = len(kept) - before - 2 * margin - round(0.2 * RATE)
    assert before > 4 * RATE and after > 4 * RATE
    np.testing.assert_allclose(kept[-after:], all_of_it[-after:], atol=1e-4)
    assert np.abs(kept[-after - RATE : -after] - all_of_it[-after - RATE - 777 : -after - 777]).max() > 0.01


def test_joined_streams_are_each_what_they_are_alone(cases):
    kept = reading.load(cases["rates.mp3"].path, SPEC)
    first = reading.load(cases["vbr.mp3"].path, SPEC)
    second = reading.load(cases["rates.mp3"].path.with_name("half-rate.mp3"), SPEC)
    np.testing.assert_allclose(kept, np.concatenate([first, second]), atol=1e-6)


def test_a_header_frame_put_in_moves_no_sample(cases, tmp_path):
    """What libsndfile gives of the same frames under the right header, but for the encoder's delay that it cuts."""
    kept = reading.load(cases["no-header.mp3"].path, SPEC)
    whole = reading.load(cases["vbr.mp3"].path, SPEC)
    delay = 576 + 529  # LAME's and the decoder's
    np.testing.assert_allclose(kept[delay : delay + len(whole)], whole, atol=1e-6)
    assert np.abs(kept[: len(whole)] - whole).max() > 0.01


@pytest.mark.parametrize(
    "damaged, processes", [("keep", (0,)), ("skip", (0,)), pytest.param("keep", (0, 2), marks=pytest.mark.slow)]
)
def test_damage_is_kept_or_skipped_and_stands_in_the_lists(cases, tmp_path, capfd, damaged, processes):
    from orpheus.data.records import format, writing
    from orpheus.data.records.tracks import Track

    tracks = [Track(name, str(cases[name].path), "", (("x",),)) for name in ("cbr.mp3", "noise.mp3", "whole.flac")]
    made = {}
    for workers in processes:
        folder = tmp_path / str(workers)
        plan = writing.assign(tracks, n_files=1, format=WAVEFORM, seed=0)
        summary = writing.make(folder, plan, AudioSpec(WAVEFORM), seed=0, workers=workers, damaged=damaged)
        made[workers] = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(DataError, match="holds records made with damaged="):
            writing.make(folder, plan, AudioSpec(WAVEFORM), seed=0, damaged={"keep": "skip", "skip": "keep"}[damaged])
    assert all(content == made[0] for content in made.values())
    assert "mpg123" not in capfd.readouterr().err
    rows = {row["id"]: row for row in map(json.loads, made[0]["manifest.jsonl"].splitlines())}
    failures = [json.loads(line) for line in made[0]["failures.jsonl"].splitlines()]
    lost, at = cases["noise.mp3"].lost, cases["noise.mp3"].at
    if damaged == "keep":
        assert not failures and (summary.damaged, summary.tracks) == (1, 3)
        row = rows["noise.mp3"]
        assert row["lost_seconds"] == pytest.approx(lost, abs=0.06) == summary.lost_seconds
        assert row["seconds"] + row["lost_seconds"] == pytest.approx(12, abs=0.03)
        assert f"s lost at {at:.1f}" in row["damage"] and "damage" not in rows["cbr.mp3"]
        (catalogued,) = [row for row in format.open_folder(tmp_path / "0", format=WAVEFORM).rows(plan) if row.damage]
        assert (catalogued.track_id, catalogued.lost_seconds) == ("noise.mp3", row["lost_seconds"])
    else:
        assert sorted(rows) == ["cbr.mp3", "whole.flac"] and summary.damaged == 0
        (failure,) = failures
        assert failure["id"] == "noise.mp3" and failure["reason"].startswith("damaged: 0.1")


def test_scanning_reads_as_training_does(cases, tmp_path):
    for name in ("no-header.mp3", "zero.flac", "id3v1.flac", "joined.ogg", "noise.mp3", "rates.mp3"):
        facts, account = measure(cases[name].path), Account()
        stored = reading.load(cases[name].path, SPEC, account=account)
        assert facts["seconds"] == round(account.seconds, 3) == pytest.approx(len(stored) / RATE, abs=0.001), name
        assert (facts["lost_seconds"], facts["damage"]) == (round(account.lost_seconds, 3), str(account))
    for name in ("noise.mp3", "whole.flac"):
        shutil.copy(cases[name].path, tmp_path)
    kept = scan.scan(tmp_path, base=tmp_path, workers=0)
    skipped = scan.scan(tmp_path, base=tmp_path, workers=0, damaged="skip")
    assert [track.audio_path for track in kept.tracks] == ["noise.mp3", "whole.flac"] and not kept.failures
    assert [track.audio_path for track in skipped.tracks] == ["whole.flac"]
    (failure,) = skipped.failures
    assert failure["audio_path"] == "noise.mp3" and failure["reason"].startswith("damaged: 0.1")
    with pytest.raises(ConfigError, match="damaged='drop': expected one of keep, skip"):
        scan.scan(tmp_path, base=tmp_path, damaged="drop")


def test_headers_that_lie_about_sizes_are_failures_of_one_file_each(cases, tmp_path):
    for name in ("rate.wav", "channels.wav", "half.flac"):
        shutil.copy(cases[name].path, tmp_path)
    result = scan.scan(tmp_path, base=tmp_path, workers=1)
    assert [row["audio_path"] for row in result.failures] == ["channels.wav", "rate.wav"]
    assert "sample rate 2147483647 Hz" in result.failures[1]["reason"]
    assert [track.audio_path for track in result.tracks] == ["half.flac"]


def test_flac_ends_with_id3v1_whatever_its_length(tmp_path):
    """A seek behind the last block made five of six such files fail."""
    for count in (44100, 44544, 100_000, 441_000, 441_001, 45_000):
        path, samples = tmp_path / "x.flac", damaged_audio.music(12)[:count]
        soundfile.write(path, samples, RATE)
        with open(path, "ab") as file:
            file.write(b"TAG" + b"y" * 125)
        np.testing.assert_allclose(reading.load(path, SPEC), samples, atol=2**-15)


@pytest.mark.parametrize("kind", ["AU", "W64", "RF64", "AIFF", "WAV"])
def test_what_ends_early_is_told_whatever_the_format(tmp_path, kind):
    path = tmp_path / f"x.{kind.lower()}"
    soundfile.write(path, damaged_audio.music(6), RATE, format=kind)
    whole, cut = Account(), Account()
    assert len(reading.load(path, SPEC, account=whole)) == 6 * RATE and not whole.damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(reading.load(path, SPEC, account=cut)) == pytest.approx(3 * RATE, abs=100)
    ((at, lost, what),) = cut.damage
    assert (at, lost, what) == (pytest.approx(3, abs=0.01), pytest.approx(3, abs=0.01), "ends early")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: it reads on")
@pytest.mark.parametrize("second", [12, 5, 20])
def test_flac_files_that_are_joined_are_both_decoded(cases, tmp_path, second):
    soundfile.write(tmp_path / "2.flac", damaged_audio.music(second), RATE)
    path = tmp_path / "x.flac"
    path.write_bytes(cases["whole.flac"].path.read_bytes() + (tmp_path / "2.flac").read_bytes())
    account = Account()
    audio = reading.load(path, SPEC, account=account)
    assert len(audio) == pytest.approx((12 + second) * RATE, abs=0.5 * RATE)
    np.testing.assert_allclose(audio[-4 * RATE :], damaged_audio.music(second)[-4 * RATE :], atol=1e-3)


def test_opposite_channels_are_not_silence(tmp_path):
    left = damaged_audio.music(11)
    path = tmp_path / "x.flac"
    soundfile.write(path, np.stack([left, -left], axis=1), RATE)
    np.testing.assert_allclose(reading.load(path, SPEC), left, atol=2**-15)
    soundfile.write(path, np.stack([0.5 * left, -left], axis=1), RATE)  # a quarter remains: the mean, as ever
    np.testing.assert_allclose(reading.load(path, SPEC), -left / 4, atol=2**-14)
    soundfile.write(path, np.stack([left, 0 * left], axis=1), RATE)
    np.testing.assert_allclose(reading.load(path, SPEC), left / 2, atol=2**-14)
    soundfile.write(path, np.zeros((RATE, 2)), RATE)
    with pytest.raises(reading.SilentError):
        reading.load(path, SPEC)


def test_without_ffmpeg_the_message_says_so(cases, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    content = bytearray(cases["half.wav"].path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = bytes(4)
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"no samples, its header says; ffmpeg, .* is not installed"):
        reading.load(tmp_path / "x.wav", SPEC)
    assert damaged_audio.decoded(cases["noise.mp3"].path).seconds > 11.7  # these need none


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_goes_on_where_libsndfile_gives_up(cases, monkeypatch):
    """libsndfile's part is kept as it is, and the rest is ffmpeg's."""
    from orpheus.data.audio import decoders

    whole = reading.load(cases["whole.flac"].path, SPEC)

    def gives_up(path, file, account):
        yield file.read(5 * RATE, dtype="float32", always_2d=True), RATE
        raise decoders._GaveUp("a reason")

    monkeypatch.setattr(decoders, "_flac", lambda data, file, account: (yield from gives_up(None, file, account)))
    account = Account()
    np.testing.assert_allclose(reading.load(cases["whole.flac"].path, SPEC, account=account), whole, atol=1e-6)
    assert account.damage == []
    monkeypatch.setenv("PATH", "")
    assert len(reading.load(cases["whole.flac"].path, SPEC, account=account)) == 5 * RATE
    assert "a reason; ffmpeg, which may know the format, is not installed" in str(account)


def test_what_libraries_print_is_caught(capfd):
    with parallel.printed_by_libraries() as lines:
        subprocess.run([sys.executable, "-c", "import sys; print('one\\none\\n two ', file=sys.stderr)"], check=True)
    assert lines == ["one", "two"] and capfd.readouterr().err == ""
    print("again", file=sys.stderr, flush=True)
    assert "again" in capfd.readouterr().err


def test_bytes_on_disk_are_bytes(tmp_path, monkeypatch):
    content = np.random.default_rng(0).integers(0, 4, 300, np.uint8).tobytes()
    (tmp_path / "x").write_bytes(content)
    monkeypatch.setattr(splice.OnDisk, "_STEP", 7)
    found = []
    with open(tmp_path / "x", "rb") as file:
        data = splice.OnDisk(file)
        for start, stop in ((0, 300), (5, 9), (13, 13), (290, 300), (0, 1), (100, 207)):
            for what in (b"\1", b"\1\2", b"\3\3\3", b"\x09"):
                found.append(data.rfind(what, start, stop))
                assert found[-1] == content.rfind(what, start, stop), (start, stop, what)
        assert (
            len(data) == 300
            and data[-5:] == content[-5:]
            and data[7:11] == content[7:11]
            and data[290:999] == content[290:]
        )
    assert len(set(found)) > 5


# Takes ten seconds of a file, truncates it to a few bytes, and takes the rest.
_TRUNCATE = """
import os, sys
from orpheus.data.audio import decoders, reading
decoders._IN_MEMORY = int(sys.argv[2])
blocks = reading.blocks(sys.argv[1])
seconds = [len(next(blocks)[0])]
os.truncate(sys.argv[1], 100)
try:
    seconds += [len(block) for block, _ in blocks]
except reading.DataError as error:
    print(error)
print(len(seconds), sum(seconds))
"""


@pytest.mark.parametrize("name", ["joined.mp3", "noise.flac", "joined.ogg"])
@pytest.mark.parametrize("in_memory", [0, 1 << 25])
def test_a_file_that_is_truncated_while_it_is_read_ends_no_process(cases, tmp_path, name, in_memory):
    path = tmp_path / name
    shutil.copy(cases[name].path, path)
    done = subprocess.run(
        [sys.executable, "-c", _TRUNCATE, str(path), str(in_memory)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr  # by SIGBUS it would be -7
    blocks, frames = map(int, done.stdout.split()[-2:])
    # What is spliced is read from the copy: it is all there.
    assert blocks > 1 and frames == pytest.approx(
        cases[name].seconds * soundfile.info(cases[name].path).samplerate, rel=0.03
    )


def test_damage_in_words():
    account = Account(
        damage=[Damage(6.0, 0.2, "a"), Damage(None, None, "b"), Damage(7.0, None, "c"), Damage(8.0, 1.0, "d")]
    )
    assert str(account) == "0.20 s lost at 6.00 s (a); b; at 7.00 s (c); and 1 more"
    assert account.lost_seconds == pytest.approx(1.2)
    with pytest.raises(ConfigError, match="damaged='maybe': expected one of keep, skip"):
        next(reading.stream("x.mp3", SPEC, damaged="maybe"))


def test_published_cases(shared):
    folder = shared.parent / "cases"
    if not folder.is_dir():
        pytest.skip("no cases beside the data")
    for name, seconds, lost in (
        ("vbr_noxing.mp3", 12.04, 0),
        ("xing_zero.mp3", 12.0, 0),
        ("corrupt_mid.mp3", 11.8, 0.2),
    ):
        account = damaged_audio.decoded(folder / name)
        assert account.seconds == pytest.approx(seconds, abs=0.027)
        assert account.lost_seconds == pytest.approx(lost, abs=0.027)


def test_frames_are_counted_against_the_encoders_count(cases):
    content = cases["vbr.mp3"].path.read_bytes()
    (stream,) = mpeg.walk(content)
    assert stream.frames == stream.declared > 400 and not stream.gaps
    assert mpeg.walk(b"no audio" * 1000) == [] and mpeg.walk(bytes(5000)) == [] and mpeg.walk(b"") == []


def test_flac_is_counted_by_its_frames(cases):
    content = cases["small.flac"].path.read_bytes()
    stream = flac.stream(content)
    assert stream.declared == RATE and flac.samples(content, stream) == 12 * RATE
    frames = list(flac.frames(content, stream, 0))
    assert [frame.first for frame in frames] == list(range(0, 12 * RATE, 4096))
    assert flac.stream(b"RIFF") is None and flac.stream(b"fLaC\x80") is None


def test_files_that_only_look_like_audio_end_soon():
    """Where every beginning was followed to its end, time grew with the square of their lengths: the first took over 45 s."""
    began = time.monotonic()
    assert mpeg.walk(b"LYRICSBEGIN" * 100_000) == []
    page = b"OggS" + bytes(22) + b"\xff" + b"\xff" * 255
    assert ogg.walk((b"OggS" + bytes(22) + b"\xff") * 1000 + page * 3000) == []
    head = bytes([0xFF, 0xFB, 0x90, 0xC0]) + bytes(17) + b"Xing" + bytes(392)
    assert sum(stream.frames for stream in mpeg.walk((head + head[:21] + bytes(396)) * 5000)) == 5000
    assert time.monotonic() - began < 20
