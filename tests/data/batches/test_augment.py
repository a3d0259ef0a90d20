"""orpheus.data.batches.augment against NumPy, and inside the pipeline."""

import numpy as np
import pytest
import tensorflow as tf

from orpheus.config.tagging import Augmentation
from orpheus.data.audio.spec import LOG_MEL, WAVEFORM, AudioSpec
from orpheus.data.batches import augment, epochs
from orpheus.data.batches.split_records import SplitRecords
from orpheus.data.batches.windows import Windows
from orpheus.data.records import format
from orpheus.data.tags.targets import TagTargets
from tests.folders import MEL, clips, write

SPEC = AudioSpec(LOG_MEL, sample_rate=1000, n_fft=64, hop_length=10, n_mels=16)
WAVE = AudioSpec(WAVEFORM, sample_rate=1000)
FRAMES, BATCH = 50, 40
TARGETS = np.eye(BATCH, 5, dtype=np.float32)


def audio(spec=SPEC, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 1000, (BATCH, FRAMES, 16) if spec.format == LOG_MEL else (BATCH, 1000))
    return values.astype(spec.dtype)


def apply(values, spec=SPEC, seed=(3, 4), **settings):
    settings = {**Augmentation().model_dump(), **settings}
    result = augment.apply(tf.constant(values), tf.constant(TARGETS), spec, settings, tf.constant(seed, tf.int64))
    return tuple(part.numpy() for part in result)


def runs(row):
    """(start, length) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2] - edges[::2], strict=True))


def test_everything_off_changes_nothing_but_the_type():
    for spec in (SPEC, WAVE):
        changed, targets = apply(audio(spec), spec)
        assert changed.dtype == np.float32
        np.testing.assert_array_equal(changed, audio(spec))
        np.testing.assert_array_equal(targets, TARGETS)


def test_equal_seeds_equal_batches():
    settings = {"frequency_masks": 2, "time_masks": 2, "time_mask_seconds": 0.1, "mixup_alpha": 0.4, "gain_db": 6.0}
    for one, other in zip(apply(audio(), **settings), apply(audio(), **settings), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(apply(audio(), **settings)[0], apply(audio(), seed=(3, 5), **settings)[0])


def test_a_frequency_mask_is_one_band_filled_with_the_mean():
    values = audio()
    values[:, 40:] = 0  # padding
    changed, targets = apply(values, frequency_masks=1, frequency_mask_bands=5)
    np.testing.assert_array_equal(targets, TARGETS)
    np.testing.assert_array_equal(changed[:, 40:], 0)
    lengths = []
    for before, after in zip(values[:, :40].astype(np.float32), changed[:, :40], strict=True):
        masked = (before != after).any(axis=0)
        np.testing.assert_allclose(after[:, masked], before.mean(), rtol=1e-5)
        np.testing.assert_array_equal(after[:, ~masked], before[:, ~masked])
        found = runs(masked)
        assert len(found) <= 1
        lengths += [length for _, length in found] or [0]
    assert set(lengths) == set(range(6))  # 0 to 5 bands; 40 draws miss one of six with p < 0.005


def test_time_masks_are_runs_of_silence_within_their_length():
    for spec in (SPEC, WAVE):
        values = audio(spec)
        changed, _ = apply(values, spec, time_masks=2, time_mask_seconds=0.1)
        total = 0
        for before, after in zip(values.astype(np.float32), changed, strict=True):
            masked = (before != after).reshape(len(before), -1).all(axis=1)
            assert not after[masked].any()
            np.testing.assert_array_equal(after[~masked], before[~masked])
            assert len(runs(masked)) <= 2 and masked.sum() <= 2 * spec.frames(0.1)
            total += masked.sum()
        # Two masks of 0 to `longest` frames are `longest` long on average, less what overlaps.
        assert 0.7 * spec.frames(0.1) < total / BATCH < 1.1 * spec.frames(0.1)


def test_a_mask_is_never_longer_than_the_window():
    changed, _ = apply(audio(), time_masks=1, time_mask_seconds=99.0, frequency_masks=1, frequency_mask_bands=999)
    assert np.isfinite(changed).all() and (changed == 0).all(axis=2).any()


def test_drifting_gain_is_a_ramp_in_decibels():
    values = audio()
    values[0, 10] = 0
    changed, _ = apply(values, gain_db=6.0)
    assert not changed[0, 10].any()  # silence stays silence
    difference = changed[1:] - values[1:].astype(np.float32)
    ends = difference[:, [0, -1], 0]
    ramp = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * np.linspace(0, 1, FRAMES)
    clear = (values[1:] > 6).all(axis=2)
    np.testing.assert_allclose(difference[clear], np.repeat(ramp[clear][:, None], 16, axis=1), atol=2e-3)
    assert np.abs(ends).max() <= 6 and ends.std() > 2 and np.abs(ends[:, 0] - ends[:, 1]).max() > 3
    quiet = np.full((BATCH, FRAMES, 16), 0.5, np.float16)
    changed, _ = apply(quiet, gain_db=6.0)
    assert changed.min() == 0.0  # not below the floor

    sound = audio(WAVE)
    changed, _ = apply(sound, WAVE, gain_db=6.0)
    decibels = 20 * np.log10(changed / sound)
    ramp = decibels[:, :1] + (decibels[:, -1:] - decibels[:, :1]) * np.linspace(0, 1, 1000)
    np.testing.assert_allclose(decibels, ramp, atol=1e-4)
    assert np.abs(decibels).max() <= 6.0001


def test_mixup_is_the_same_convex_combination_of_audio_and_targets():
    values = audio()
    identity = np.eye(BATCH, dtype=np.float32)
    result = augment.apply(
        tf.constant(values), tf.constant(identity), SPEC, {"mixup_alpha": 0.5}, tf.constant([1, 2], tf.int64)
    )
    changed, weights = (part.numpy() for part in result)
    assert (weights >= 0).all() and ((weights > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(changed, np.tensordot(weights, values.astype(np.float32), 1), rtol=1e-4, atol=1e-2)
    own = np.diag(weights)
    # Beta(0.5, 0.5) has mean 0.5 and much weight near both ends.
    assert 0.3 < own.mean() < 0.75 and ((own < 0.1) | (own > 0.9)).mean() > 0.2


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write(folder, [clips([30, 10, 50, 20], [["a"], ["b"], ["a"], ["b"]])])
    catalogue = format.open_folder(folder, format=LOG_MEL)
    return SplitRecords(catalogue, tuple(catalogue.shards), TagTargets(("a", "b"), {"a": 0, "b": 1}))


def batches(part, augmentation, **options):
    windows = Windows(0.2, random=True, augmentation=augmentation)
    dataset = epochs.training(part, windows, batch_size=2, seed=9, **options)
    return [batch.numpy() for batch, _ in dataset.take(6)]


def test_the_defaults_of_a_config_leave_the_stored_type(part):
    plain, default = batches(part, {}), batches(part, Augmentation().model_dump())
    assert plain[0].dtype == default[0].dtype == MEL.dtype
    np.testing.assert_array_equal(plain, default)


@pytest.mark.slow
def test_augmentation_in_the_pipeline_resumes_and_changes_every_epoch(part):
    settings = {**Augmentation().model_dump(), "gain_db": 6.0, "time_masks": 1, "time_mask_seconds": 0.05}
    whole = batches(part, settings)
    assert whole[0].dtype == np.float32 and not np.array_equal(whole[0], batches(part, {})[0])
    np.testing.assert_array_equal(batches(part, settings, first_epoch=1)[:4], whole[2:])
    seeds = {batch.tobytes() for batch in batches(part, {**settings, "time_masks": 0}, shuffle=False)}
    assert len(seeds) == 6
