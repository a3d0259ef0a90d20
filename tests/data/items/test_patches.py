"""Patches: librosa as the reference, standardisation, failures, resuming, and bad files."""

import dataclasses
import errno
import os
import resource
import signal

import h5py
import librosa
import numpy as np
import pytest
import soundfile

from orpheus.base import files, locks
from orpheus.data.audio.account import Damage
from orpheus.data.items import layout, patch_files, patches
from orpheus.errors import ConfigError, DataError

SPEC = patch_files.PatchSpec("mel", sample_rate=8000, hop_length=512, bins=20, n_fft=1024, seconds=1.0, count=2)


def tone(frequency, seconds=2.0, rate=8000):
    rng = np.random.default_rng(int(frequency))
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * time) + 0.01 * rng.normal(size=len(time))).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Six tones in three sets."""
    result = layout.DataFolder(tmp_path, "D")
    for subset, ids in {"train": "abc", "val": "d", "test": "ef"}.items():
        layout.write_ids(result.items_index(subset), ids)
    (tmp_path / "audio").mkdir()
    for number, item in enumerate("abcdef"):
        soundfile.write(tmp_path / "audio" / f"{item}.wav", tone(200 + 150 * number), 8000, subtype="FLOAT")
    return result


def paths(folder, ids="abcdef"):
    return {item: folder.root / "audio" / f"{item}.wav" for item in ids}


def test_the_references_settings():
    spec = patch_files.PatchSpec()
    assert (spec.frames, spec.width, spec.kind) == (322, 96, "cqt")
    assert patch_files.PatchSpec("stft").width == 1025


@pytest.mark.slow
def test_spectrograms_are_librosas():
    samples = tone(440, 2, 22050)
    mel = patch_files.PatchSpec("mel", seconds=1)
    expected = librosa.power_to_db(
        librosa.feature.melspectrogram(y=samples, sr=22050, n_fft=2048, hop_length=1024, n_mels=96), ref=np.max
    )
    np.testing.assert_allclose(patches.spectrogram(samples, mel), expected.T, atol=1e-3)
    constant_q = patches.spectrogram(samples, patch_files.PatchSpec("cqt", seconds=1))
    assert constant_q.shape == (44, 96)
    assert constant_q[20].argmax() == 45  # A4 is 45 semitones above C1
    stft = patches.spectrogram(samples, patch_files.PatchSpec("stft", seconds=1))
    assert stft[20].argmax() == round(440 * 2048 / 22050) and stft.max() == pytest.approx(0, abs=1e-4)
    assert patches.FLOOR - 1e-4 <= stft.min() < -40


def test_short_and_silent_audio_is_padded_with_silence_not_with_the_loudest_value():
    frames = patches.spectrogram(tone(300, 0.5), SPEC)
    assert len(frames) >= SPEC.frames
    np.testing.assert_array_equal(frames[-5:], patches.FLOOR)
    np.testing.assert_array_equal(patches.spectrogram(np.zeros(0, np.float32), SPEC), patches.FLOOR)


def test_cuts_are_drawn_by_seed_and_item():
    frames = np.arange(100, dtype=np.float32)[:, None].repeat(20, axis=1)
    one = patches.cut(frames, SPEC, "a")
    assert one.shape == (2, 15, 20)
    np.testing.assert_array_equal(np.diff(one[:, :, 0], axis=1), 1)  # consecutive frames
    np.testing.assert_array_equal(one, patches.cut(frames, SPEC, "a"))
    assert not np.array_equal(one, patches.cut(frames, SPEC, "b"))
    assert one[0, 0, 0] <= one[1, 0, 0]


def test_files_are_standardised_by_the_training_set(folder):
    summary = patches.make(folder, paths(folder), SPEC)
    assert summary.made == 6 and not summary.failures
    with h5py.File(summary.written["train"]) as file:
        features, mean, deviation = file["features"][:], file.attrs["mean"], file.attrs["std"]
        assert features.shape == (6, 1, 15, 20) and features.dtype == np.float32
        assert file["index"][:].tolist() == [b"a", b"a", b"b", b"b", b"c", b"c"]
    np.testing.assert_allclose(features.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=(0, 1, 2)), 1, atol=1e-3)
    raw = patches.cut(patches.spectrogram(tone(950), SPEC), SPEC, "f")
    with patch_files.Patches(summary.written["test"]) as made:
        assert made.ids == ("e", "e", "f", "f") and (made.frames, made.width, len(made)) == (15, 20, 4)
        (rows,) = made.positions(["f"])
        np.testing.assert_allclose(made.rows(rows), (raw - mean) / deviation, atol=1e-3)
        np.testing.assert_array_equal(made.rows([3, 0, 3]), made.rows([0, 3])[[1, 0, 1]])
        with pytest.raises(DataError, match="no patch of item 'a'"):
            made.positions(["f", "a"])


def test_files_standardised_per_frame_and_band_as_the_reference(folder):
    spec = dataclasses.replace(SPEC, standardise="frame-band")
    summary = patches.make(folder, paths(folder), spec)
    raw = np.concatenate(
        [patches.cut(patches.spectrogram(tone(200 + 150 * n), spec), spec, "abc"[n]) for n in range(3)]
    )
    deviation = raw.std(axis=0)
    with patch_files.Patches(summary.written["train"]) as made:
        found_spec, mean, stored = made.made_with()
        assert found_spec == spec and mean.shape == stored.shape == (15, 20)
        varies = deviation > 1e-3
        expected = (raw - raw.mean(axis=0)) / np.where(varies, deviation, 1)
        np.testing.assert_allclose(made.rows(range(6))[:, varies], expected[:, varies], atol=2e-2)
    assert patches.make(folder, paths(folder), spec).made == 0  # what is there is known again
    assert patches.make(folder, paths(folder), SPEC).made == 6  # and the other way is another file
    with patch_files.Patches(summary.written["train"]) as made:
        assert made.made_with()[1].shape == (20,)
    assert "standardise" not in SPEC.to_json()  # files from before there was a choice are known, too


def test_descriptors_are_patches_of_one_frame(tmp_path):
    with h5py.File(tmp_path / "patches_train_D_1x1.hdf5", "w") as file:
        file["index"] = np.array([b"a", b"b"])
        file["features"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    with patch_files.Patches(tmp_path / "patches_train_D_1x1.hdf5") as made:
        assert (made.frames, made.width) == (1, 3)
        np.testing.assert_array_equal(made.rows([1]), [[[3, 4, 5]]])


def test_unusable_audio_is_listed_and_left_out(folder):
    (folder.root / "audio" / "b.wav").write_bytes(b"not audio")
    soundfile.write(folder.root / "audio" / "e.wav", np.zeros(9000), 8000)
    (folder.root / "audio" / "d.wav").unlink()
    summary = patches.make(folder, paths(folder), SPEC)
    assert [failure["id"] for failure in summary.failures] == ["b", "d", "e"]
    listed = (folder.patches / "failures_D_2x1.jsonl").read_text()
    assert "silent" in listed and "no such file" in listed
    with patch_files.Patches(summary.written["train"]) as made:
        assert set(made.ids) == {"a", "c"}
    with patch_files.Patches(summary.written["val"]) as made:
        assert len(made) == 0
    summary = patches.make(folder, paths(folder), SPEC, keep_silent=True)
    assert [failure["id"] for failure in summary.failures] == ["b", "d"]


def test_an_interrupted_run_goes_on(folder, monkeypatch):
    whole = patches.make(folder, paths(folder), SPEC)
    expected = whole.written["test"].read_bytes()
    for path in whole.written.values():
        path.unlink()
    calls = []
    compute = patches.spectrogram

    def interrupted(samples, spec):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(samples, spec)

    monkeypatch.setattr(patches, "spectrogram", interrupted)
    with pytest.raises(KeyboardInterrupt):
        patches.make(folder, paths(folder), SPEC)
    assert not any(path.exists() for path in whole.written.values())
    summary = patches.make(folder, paths(folder), SPEC)
    assert summary.made == 3 and len(calls) == 7
    assert summary.written["test"].read_bytes() == expected
    assert patches.make(folder, paths(folder), SPEC).made == 0  # nothing to do
    assert not list(folder.patches.glob(".cache*"))


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(folder):
    one = patches.make(folder, paths(folder), SPEC).written["train"]
    expected = one.read_bytes()
    one.unlink()
    assert patches.make(folder, paths(folder), SPEC, workers=2).written["train"].read_bytes() == expected


def test_two_processes_do_not_make_the_same_patches(folder):
    with locks.lock(folder.patches), pytest.raises(DataError, match="has been writing to it"):
        patches.make(folder, paths(folder), SPEC)
    made = patches.make(folder, paths(folder), SPEC)
    with locks.lock(folder.patches):
        assert patches.make(folder, paths(folder), SPEC).made == 0  # nothing to be done
    assert sorted(path.name for path in folder.patches.iterdir()) == sorted(
        ["damaged_D_2x1.jsonl", "failures_D_2x1.jsonl", *(path.name for path in made.written.values())]
    )


def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing(folder):
    made = patches.make(folder, paths(folder), SPEC).written["train"]
    before, space = made.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    arrays = [folder.root / f"{item}.npy" for item in "abc"]
    for path in arrays:
        np.save(path, np.ones((2, 15, 20), np.float32))
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 2000, space[1]))
    try:
        with pytest.raises(OSError) as full:
            patches._write(made, "abc", arrays, SPEC, "keep", np.zeros(20), np.ones(20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, space)
    assert (full.value.errno, full.value.filename) == (errno.EFBIG, str(made))
    assert made.read_bytes() == before and not list(folder.patches.glob(".patches*"))
    patches._write(made, "abc", arrays, SPEC, "keep", np.zeros(20), np.ones(20))
    assert made.read_bytes() != before


def test_bad_input_is_named(folder):
    with pytest.raises(DataError, match="no file of item 'f'"):
        patches.make(folder, paths(folder, "abcde"), SPEC)
    for item in "abc":
        (folder.root / "audio" / f"{item}.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"items_index_train_D.tsv: no item could be used; the first: .*a\.wav"):
        patches.make(folder, paths(folder), SPEC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "chroma"}, "kind='chroma'"),
        ({"seconds": 0.01}, "seconds=0.01"),
        ({"bins": 120}, "take fewer bins"),
        ({"count": 0}, "count=0"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        patch_files.PatchSpec(**options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"index": (3,)}, "no dataset named features"),
        ({"index": (3,), "features": (3,)}, r"shape \(3,\)"),
        ({"index": (2,), "features": (3, 1, 4, 5)}, "3 patches, but an index of 2 ids"),
        (None, "not an HDF5 file"),
        ({}, "no dataset named index or features"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / "p.hdf5"
    if content is None:
        path.write_bytes(b"no")
    else:
        with h5py.File(path, "w") as file:
            for name, shape in content.items():
                file[name] = np.array([b"a", b"b", b"c"][: shape[0]]) if name == "index" else np.zeros(shape)
    with pytest.raises(DataError, match=f"p.hdf5: .*{message}"):
        patch_files.Patches(path)


def test_the_references_shapes_can_be_read(tmp_path):
    with h5py.File(tmp_path / "p.hdf5", "w") as file:
        file["index"] = np.array([b"a", b"b"], dtype="S18")
        file["features"] = np.arange(2 * 3 * 4, dtype=np.float64).reshape(2, 3, 4)  # without the channel axis
    with patch_files.Patches(tmp_path / "p.hdf5") as made:
        assert made.ids == ("a", "b") and made.rows([1]).shape == (1, 3, 4) and made.rows([1]).dtype == np.float32


def dies_on_b(job):
    """As `_patches_of`, with a decoder that crashes on one file."""
    if job[0] == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return WHOLE(job)


WHOLE = patches._patches_of


@pytest.mark.slow
def test_a_decoder_that_crashes_is_one_row_of_failures(folder, monkeypatch):
    monkeypatch.setattr(patches, "_patches_of", dies_on_b)
    summary = patches.make(folder, paths(folder), SPEC, workers=1)
    (failure,) = summary.failures
    assert (failure["id"], failure["reason"]) == ("b", "the process that decoded it died")
    with patch_files.Patches(summary.written["train"]) as made:
        assert made.ids == ("a", "a", "c", "c")


def test_what_is_missing_of_damaged_audio_is_listed(folder):
    whole = tone(200, 4.0)
    path = folder.root / "audio" / "a.flac"
    soundfile.write(path, whole, 8000)
    content = path.read_bytes()
    (folder.root / "audio" / "a.wav").write_bytes(content[: len(content) * 3 // 4])
    summary = patches.make(folder, paths(folder), SPEC)
    (row,) = summary.damaged
    assert row["id"] == "a" and row["lost_seconds"] == pytest.approx(1.0, abs=4096 / 8000) and not summary.failures
    (listed,) = files.read_jsonl(folder.patches / "damaged_D_2x1.jsonl")
    assert listed == row
    skipped = patches.make(folder, paths(folder), SPEC, damaged="skip")
    assert [failure["id"] for failure in skipped.failures] == ["a"] and not skipped.damaged
    with patch_files.Patches(skipped.written["train"]) as made:
        assert made.ids == ("b", "b", "c", "c")


def test_what_libraries_print_is_in_the_row_and_not_on_the_terminal(folder, monkeypatch, capfd):
    def noisy(path, spec, *, damaged, account):
        os.write(2, b"libnoise:  odd\n")
        if path.stem == "a":
            raise DataError(f"{path}: broken")
        account.damage.append(Damage(1.0, 0.5, "gap"))
        return tone(200)

    monkeypatch.setattr(patches.reading, "load", noisy)
    summary = patches.make(folder, paths(folder), SPEC, workers=0)
    (failure,) = summary.failures
    assert failure["reason"] == f"{failure['path']}: broken [libnoise: odd]"
    assert {row["damage"] for row in summary.damaged} == {"0.50 s lost at 1.00 s (gap) [libnoise: odd]"}
    assert "libnoise" not in capfd.readouterr().err
