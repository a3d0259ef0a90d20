"""orpheus.data.audio.reading: against librosa and soxr, on every way a file can be odd or broken."""

import shutil
import stat
import sys

import librosa
import numpy as np
import pytest
import soundfile
import soxr

from orpheus.data.audio import account, reading, spectrogram
from orpheus.data.audio.spec import LOG_MEL, WAVEFORM, AudioSpec
from orpheus.errors import ConfigError, DataError

RATE = 8000
SPEC = AudioSpec(LOG_MEL, sample_rate=RATE, n_fft=512, hop_length=160, n_mels=24)
FLOAT = AudioSpec(WAVEFORM, sample_rate=RATE, dtype="float32")


def noise(seconds, *, rate=RATE, channels=None, seed=0, amplitude=0.1):
    shape = (round(seconds * rate),) if channels is None else (round(seconds * rate), channels)
    return np.random.default_rng(seed).normal(0, amplitude, shape).astype(np.float32)


def float_wav(path, samples, rate=RATE):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def reference_log_mel(samples, spec):
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        pad_mode="constant",
    )
    return librosa.power_to_db(power, top_db=None).T + 100


@pytest.mark.parametrize("seconds", [0.01, 0.3, 25.013])
def test_log_mel_is_librosas(tmp_path, seconds):
    samples = noise(seconds)
    samples[len(samples) // 2 :] *= 1e-7  # down to the floor of -100 dB
    path = float_wav(tmp_path / "x.wav", samples)
    stored = reading.load(path, SPEC)
    expected = reference_log_mel(samples, SPEC)
    assert stored.dtype == np.float16 and stored.shape == expected.shape
    # Half a step of float16 is 2^-11 of the value, 0.03 dB at 64 to 128 dB; float32 arithmetic adds 0.001 dB.
    np.testing.assert_allclose(stored.astype(np.float32), expected, atol=0.001, rtol=2**-11)
    exact = reading.load(path, AudioSpec(**{**SPEC.to_json(), "dtype": "float32"}))
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, expected, atol=0.002)


def test_log_mel_of_a_recording_is_librosas(shared):
    path = shared / "librosa-audio" / "sorohanro_-_solo-trumpet-06.ogg"
    spec = AudioSpec(LOG_MEL)
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    resampled = soxr.resample(samples.mean(axis=1), rate, spec.sample_rate, quality="HQ")
    expected = reference_log_mel(resampled, spec)
    stored = reading.load(path, spec)
    assert stored.shape == expected.shape and len(stored) > 100
    # Where the signal is near the floor, resampling in blocks (1e-7 of amplitude) moves a decibel value a little.
    np.testing.assert_allclose(stored.astype(np.float32), expected, atol=0.02, rtol=2**-11)


@pytest.mark.parametrize("values", [{"top_db": 80.0}, {"top_db": 30.0, "mel_norm": "none"}, {"mel_norm": "none"}])
def test_variants_of_the_spectrogram_are_librosas(tmp_path, values):
    samples = noise(25.013)
    samples[len(samples) // 2 :] *= 1e-5  # the loudest is in the first block of ten seconds, the quietest in the last
    spec = AudioSpec(LOG_MEL, sample_rate=RATE, dtype="float32", **values)
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=RATE,
        n_fft=2048,
        hop_length=512,
        n_mels=96,
        pad_mode="constant",
        norm=None if spec.mel_norm == "none" else "slaney",
    )
    expected = librosa.power_to_db(power, top_db=spec.top_db).T + 100
    path = float_wav(tmp_path / "x.wav", samples)
    np.testing.assert_allclose(reading.load(path, spec), expected, atol=0.002)
    plain = reading.load(path, AudioSpec(LOG_MEL, sample_rate=RATE, dtype="float32"))
    assert np.abs(plain - expected).max() > 10  # dB


@pytest.mark.parametrize("block_seconds", [1, 3])
@pytest.mark.parametrize("rate", [RATE, 11025])
def test_the_result_does_not_depend_on_the_block_size(tmp_path, monkeypatch, block_seconds, rate):
    path = float_wav(tmp_path / "x.wav", noise(12.3, rate=rate), rate)
    whole = {spec: reading.load(path, spec).astype(np.float32) for spec in (SPEC, FLOAT)}
    monkeypatch.setattr(account, "BLOCK_SECONDS", block_seconds)
    for spec, expected in whole.items():
        assert len(list(reading.stream(path, spec))) > 2
        # One step of float16 (at most 2^-10 of the value), 1e-6 of full scale.
        np.testing.assert_allclose(reading.load(path, spec).astype(np.float32), expected, atol=1e-6, rtol=2**-10)


@pytest.mark.parametrize("rate", [RATE, 5000, 44100])
def test_waveform_is_soxrs_of_the_mean_of_channels(tmp_path, rate):
    samples = noise(11.3, rate=rate, channels=2)
    path = float_wav(tmp_path / "x.wav", samples, rate)
    expected = soxr.resample(samples.mean(axis=1), rate, RATE, quality="HQ")
    stored = reading.load(path, FLOAT)
    assert len(stored) == len(expected)
    np.testing.assert_allclose(stored, expected, atol=2e-6)
    integers = reading.load(path, AudioSpec(WAVEFORM, sample_rate=RATE))
    assert integers.dtype == np.int16
    assert np.abs(integers - expected * 32768.0).max() <= 0.5 + 0.07  # rounding, and 2e-6 of 32768


def test_int16_clips_and_keeps_sixteen_bit_files(tmp_path):
    samples = np.array([-32768, 32767, 5, -5, 0] * 100, np.int16)
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    np.testing.assert_array_equal(reading.load(tmp_path / "x.wav", AudioSpec(WAVEFORM, sample_rate=RATE)), samples)
    float_wav(tmp_path / "y.wav", np.array([1.5, -1.5, 0.0]))
    np.testing.assert_array_equal(
        reading.load(tmp_path / "y.wav", AudioSpec(WAVEFORM, sample_rate=RATE)), [32767, -32768, 0]
    )


@pytest.mark.parametrize("scale, kind", [(1, np.float32), (1, np.float64), (32768, np.int16)])
@pytest.mark.parametrize("layout", ["mono", "channels first", "channels last"])
def test_npz(tmp_path, scale, kind, layout):
    mono = np.round(noise(0.5) * 32768) / 32768
    array = {"mono": mono, "channels first": np.stack([mono] * 2), "channels last": np.stack([mono] * 2, axis=1)}[
        layout
    ]
    np.savez_compressed(tmp_path / "x.npz", array=(array * scale).astype(kind), sr=RATE)
    np.testing.assert_allclose(reading.load(tmp_path / "x.npz", FLOAT), mono, atol=1e-7)


def test_formats_of_soundfile(tmp_path):
    for suffix in ("flac", "ogg", "mp3", "wav"):
        soundfile.write(tmp_path / f"x.{suffix}", noise(1.0, rate=16000), 16000)
        seconds = FLOAT.seconds(len(reading.load(tmp_path / f"x.{suffix}", FLOAT)))
        assert seconds == pytest.approx(1.0, abs=0.11)  # an mp3 is padded to whole frames


def test_a_truncated_mp3_gives_what_is_there(tmp_path):
    soundfile.write(tmp_path / "x.mp3", noise(4.0, rate=16000), 16000)
    content = (tmp_path / "x.mp3").read_bytes()
    (tmp_path / "half.mp3").write_bytes(content[: len(content) // 2])
    seconds = FLOAT.seconds(len(reading.load(tmp_path / "half.mp3", FLOAT)))
    assert seconds == pytest.approx(2.0, abs=0.3)


def broken(folder):
    """(name, what is said) of one file per way to be unusable."""
    (folder / "empty.mp3").touch()
    yield "empty.mp3", r"empty file \(0 bytes\)"
    soundfile.write(folder / "silent.wav", np.full(RATE, 1e-5), RATE, subtype="FLOAT")
    yield "silent.wav", r"silent \(peak 1\.0e-05, below -80 dBFS\)"
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        float_wav(folder / f"{name}.wav", np.array([0.1] * 500 + [value] + [0.1] * 500, np.float32))
        yield f"{name}.wav", "not finite"
    float_wav(folder / "resampled-nan.wav", np.array([0.1] * 500 + [np.nan] * 5, np.float32), 11025)
    yield "resampled-nan.wav", "not finite"
    float_wav(folder / "integers.wav", np.array([12345.0, -20000.0] * 50, np.float32))
    yield "integers.wav", r"samples up to 2e\+04, not in -1 to 1"
    float_wav(folder / "none.wav", np.zeros(0))
    yield "none.wav", r"no audio in it \(0 samples\)"
    (folder / "text.mp3").write_text("this is no music\n" * 200)
    yield "text.mp3", r"not decodable \(format not recognised; ffmpeg.*not installed\)"
    (folder / "noise.wav").write_bytes(np.random.default_rng(1).bytes(5000))
    yield "noise.wav", "not decodable"
    (folder / "x.raw").write_bytes(bytes(1000))
    yield "x.raw", "raw samples without a header"
    (folder / "folder.wav").mkdir()
    yield "folder.wav", "no such file"
    yield "missing.wav", "no such file"
    np.savez(folder / "keys.npz", samples=np.zeros(5))
    yield "keys.npz", "not an audio .npz with 'array' and 'sr'"
    (folder / "text.npz").write_text("no archive")
    yield "text.npz", "not an audio .npz"
    np.savez(folder / "long.npz", array=noise(2), sr=RATE)
    (folder / "cut.npz").write_bytes((folder / "long.npz").read_bytes()[:5000])
    yield "cut.npz", "not an audio .npz"
    content = bytearray((folder / "long.npz").read_bytes())
    content[3000] ^= 255
    (folder / "flipped.npz").write_bytes(content)
    yield "flipped.npz", "not an audio .npz"
    np.savez(folder / "pickled.npz", array=np.array([{}], object), sr=RATE)
    yield "pickled.npz", "not an audio .npz"
    np.save(folder / "array.npy", noise(1))
    shutil.move(folder / "array.npy", folder / "array.npz")
    yield "array.npz", "not an audio .npz"
    np.savez(folder / "cube.npz", array=np.zeros((2, 2, 2)), sr=RATE)
    yield "cube.npz", r"array of shape \(2, 2, 2\)"
    np.savez(folder / "complex.npz", array=np.ones(9, complex), sr=RATE)
    yield "complex.npz", "holds complex128, expected numbers"
    np.savez(folder / "rates.npz", array=noise(1), sr=[1, 2])
    yield "rates.npz", "not an audio .npz"
    np.savez(folder / "still.npz", array=noise(1), sr=0)
    yield "still.npz", "sr=0 is no audio"
    np.savez(folder / "hollow.npz", array=np.zeros((2, 0)), sr=RATE)
    yield "hollow.npz", r"0 samples"


def test_what_cannot_be_used_is_a_reason_that_starts_with_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    for name, said in broken(tmp_path):
        for spec in (SPEC, FLOAT):
            with pytest.raises(DataError, match=said) as caught:
                reading.load(tmp_path / name, spec)
            assert str(caught.value).startswith(f"{tmp_path / name}: "), name
            assert "\n" not in str(caught.value)
        stored, reason, *_ = reading.load_or_reason(tmp_path / name, SPEC)
        assert stored is None and reason and str(tmp_path) not in reason, name


def test_silence_can_be_told_apart_and_short_files_refused(tmp_path):
    with pytest.raises(reading.SilentError):
        reading.load(float_wav(tmp_path / "x.wav", np.zeros(100)), SPEC)
    path = float_wav(tmp_path / "y.wav", noise(0.5))
    assert len(reading.load(path, FLOAT, min_seconds=0.5)) == RATE // 2
    with pytest.raises(DataError, match=r"too short \(0\.50 s, at least 0\.6 s wanted\)"):
        reading.load(path, FLOAT, min_seconds=0.6)


def test_an_unexpected_error_of_a_decoder_is_the_files_failure(tmp_path, monkeypatch):
    path = float_wav(tmp_path / "x.wav", noise(0.5))

    def fail(*_):
        raise RuntimeError(f"{path}: the decoder choked")

    monkeypatch.setattr(reading, "_resampled", fail)
    assert reading.load_or_reason(path, SPEC) == (None, "the decoder choked", "", 0.0)


FFMPEG = """#!{python}
import struct, sys, array
path = sys.argv[sys.argv.index("-i") + 1]
sys.stderr.write("some warning about timestamps\\n" * 10000)  # more than a pipe holds
if "bad" in path:
    sys.exit(path + ": Invalid data found")
samples = array.array("f", [0.5, -0.25] * 6000)
samples.byteswap()
sys.stdout.buffer.write(struct.pack(">4s5I", b".snd", 28, 0xFFFFFFFF, 6, 16000, 2) + bytes(4) + samples.tobytes())
sys.exit(3 if "late" in path else 0)
"""


def test_other_formats_go_through_ffmpeg(tmp_path, monkeypatch):
    """A stand-in gives 6000 stereo frames at 16 kHz: constant 0.5 and -0.25, so 0.125 when mono."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    for name in ("x.m4a", "bad.m4a", "late.m4a"):
        (tmp_path / name).write_bytes(b"some other codec")
    stored = reading.load(tmp_path / "x.m4a", FLOAT)
    np.testing.assert_allclose(stored, soxr.resample(np.full(6000, 0.125, np.float32), 16000, RATE), atol=1e-6)
    with pytest.raises(
        DataError, match=r"bad.m4a: not decodable \([Ff]ormat not recognised; ffmpeg: .*Invalid data found"
    ):
        reading.load(tmp_path / "bad.m4a", FLOAT)
    # What came before it failed is used, and the failure told.
    kept = account.Account()
    np.testing.assert_array_equal(reading.load(tmp_path / "late.m4a", FLOAT, account=kept), stored)
    assert [one.what for one in kept.damage] == ["ffmpeg: some warning about timestamps"]
    with pytest.raises(DataError, match=r"late\.m4a: damaged: ffmpeg: some warning about timestamps"):
        reading.load(tmp_path / "late.m4a", FLOAT, damaged="skip")


@pytest.mark.parametrize(
    "values, said",
    [
        ({"format": "mp3"}, "format='mp3'"),
        ({"format": WAVEFORM, "dtype": "float16"}, "stored as int16 or float32"),
        ({"format": LOG_MEL, "dtype": "int16"}, "stored as float16 or float32"),
        ({"format": WAVEFORM, "sample_rate": 0}, "sample_rate=0"),
        ({"format": LOG_MEL, "mel_norm": "htk"}, "mel_norm='htk': choose one of slaney, none"),
        ({"format": LOG_MEL, "top_db": 0}, "top_db=0: must be a number above 0"),
        ({"format": LOG_MEL, "n_fft": 511}, "n_fft=511: must be even"),
        ({"format": LOG_MEL, "n_fft": 512, "hop_length": 600}, "hop_length=600: above n_fft=512"),
    ],
)
def test_impossible_specs_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        AudioSpec(**values)


def test_too_many_mel_bands_are_refused():
    with pytest.raises(ConfigError, match="n_mels=400: some bands hold no frequency at sample_rate=8000"):
        spectrogram.mel_filterbank(AudioSpec(LOG_MEL, sample_rate=8000, n_fft=512, n_mels=400))


def test_spec_converts_and_round_trips():
    spec = AudioSpec(LOG_MEL)
    assert (spec.frames(15), spec.window_shape(15), spec.frame_bytes) == (469, (469, 96), 192)
    assert spec.seconds(spec.frames(15)) == pytest.approx(15, abs=spec.seconds(0.5))
    assert AudioSpec(WAVEFORM).window_shape(15) == (240000,) and AudioSpec(WAVEFORM).frames(1e-9) == 1
    assert AudioSpec.from_json({**spec.to_json(), "version": 1}, "x") == spec
    with pytest.raises(DataError, match=r"spec\.json: not a spec of audio records .lacks 'n_mels'"):
        AudioSpec.from_json({k: v for k, v in spec.to_json().items() if k != "n_mels"}, "spec.json")
    with pytest.raises(DataError, match=r"spec\.json: sample_rate=-1"):
        AudioSpec.from_json({**spec.to_json(), "sample_rate": -1}, "spec.json")
    older = {k: v for k, v in spec.to_json().items() if k not in ("mel_norm", "top_db")}
    assert AudioSpec.from_json(older, "x") == spec
    assert spec.identity() == older  # hashes of records stay what older versions computed
    clipped = AudioSpec(LOG_MEL, top_db=80.0)
    assert clipped.differences(spec.to_json()) == [("top_db", 80.0, None)] and clipped.differences(older) == []
    assert clipped.identity() == {**older, "top_db": 80.0}
    wanted = {"sample_rate": 16000, "n_mels": 128, "n_fft": None, "n_tags": 50}
    assert spec.differences(wanted) == [("n_mels", 96, 128)] and AudioSpec(WAVEFORM).differences(wanted) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_mono_is_the_mean_of_the_channels(channels):
    block = np.random.default_rng(channels).normal(size=(5000, channels)).astype(np.float32)
    mixed = spectrogram.mono(block)
    np.testing.assert_array_equal(mixed, block.mean(axis=1))
    assert mixed.dtype == np.float32 and mixed.flags.c_contiguous
    assert channels == 1 or not np.array_equal(mixed, block[:, 0])


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels"), [(16000, 2048, 96), (16000, 512, 24), (22050, 1024, 64), (1800, 256, 8)]
)
def test_mel_filters_are_librosas(rate, n_fft, n_mels):
    ours = spectrogram.mel_filterbank(AudioSpec(LOG_MEL, sample_rate=rate, n_fft=n_fft, hop_length=100, n_mels=n_mels))
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels).T
    np.testing.assert_allclose(ours, theirs, atol=1e-7 * theirs.max())
    assert ours.shape == theirs.shape and ours.dtype == np.float32


def test_the_suffixes_that_folders_are_searched_for():
    """A suffix that vanishes from the list hides files without a word."""
    assert {".mp3", ".ogg", ".flac", ".wav", ".m4a", ".npz"} <= reading.AUDIO_SUFFIXES
    assert ".txt" not in reading.AUDIO_SUFFIXES
