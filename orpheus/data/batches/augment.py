"""Changes to training windows: SpecAugment masks, mixup, drifting gain; every draw from one stateless seed.

tensorflow-io's freq_mask and time_mask draw from the global generator, one example at a time: a resumed run would see
other masks. These draw per example in one vectorised step and depend on the seed alone.
"""

import tensorflow as tf

from orpheus.data.audio.spec import LOG_MEL, AudioSpec


def apply(
    audio: tf.Tensor, targets: tf.Tensor, spec: AudioSpec, settings: dict, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augment a batch.

    Args:
        audio: Stored-type windows, (batch, samples) or (batch, frames, n_mels).
        targets: (batch, classes) float32.
        spec: What `audio` is.
        settings: Keys of the config's section augmentation.
        seed: int64 (2,); the same seed gives the same batch.

    Returns:
        float32 audio in the units of `audio`, and targets (soft after mixup).
    """
    audio = tf.cast(audio, tf.float32)
    frames = audio if spec.format == LOG_MEL else audio[..., tf.newaxis]
    draws = iter(tf.unstack(tf.random.experimental.stateless_split(seed, 8)))
    if gain := settings.get("gain_db"):
        frames = _drift(frames, gain, spec, next(draws))
    if alpha := settings.get("mixup_alpha"):
        frames, targets = _mixup(frames, targets, alpha, next(draws))
    # What is masked must become zero, the mean, when the model standardises. A masked band is filled with the mean of
    # what sounds; a masked moment with silence, which is left out of mean and deviation. Padding stays padding.
    if settings.get("frequency_masks") and spec.format == LOG_MEL:
        keep = _keep(frames, 2, settings["frequency_masks"], settings["frequency_mask_bands"], next(draws))
        sounding = tf.reduce_any(frames != 0, axis=2, keepdims=True)
        frames = tf.where(keep[:, tf.newaxis, :] | ~sounding, frames, _mean(frames, sounding))
    if settings.get("time_masks"):
        longest = spec.frames(settings["time_mask_seconds"])
        keep = _keep(frames, 1, settings["time_masks"], longest, next(draws))
        frames = tf.where(keep[:, :, tf.newaxis], frames, 0.0)
    return tf.reshape(frames, tf.shape(audio)), targets


def _keep(frames: tf.Tensor, axis: int, count: int, longest: int, seed: tf.Tensor) -> tf.Tensor:
    """(batch, size of axis) bool, False inside `count` masks of uniform length 0…longest and uniform place (Park 2019)."""
    batch, size = tf.shape(frames)[0], tf.shape(frames)[axis]
    lengths, places = tf.unstack(tf.random.stateless_uniform([2, batch, count, 1], seed))
    length = tf.floor(lengths * tf.cast(tf.minimum(longest, size) + 1, tf.float32))
    start = tf.floor(places * (tf.cast(size, tf.float32) - length + 1.0))
    position = tf.cast(tf.range(size), tf.float32)
    inside = (position >= start) & (position < start + length)
    return ~tf.reduce_any(inside, axis=1)


def _mean(frames: tf.Tensor, sounding: tf.Tensor) -> tf.Tensor:
    """(batch, 1, 1): mean over the frames that are `sounding`, (batch, frames, 1) bool."""
    count = tf.reduce_sum(tf.cast(sounding, tf.float32), axis=1, keepdims=True) * tf.cast(
        tf.shape(frames)[2], tf.float32
    )
    return tf.reduce_sum(frames, axis=[1, 2], keepdims=True) / tf.maximum(count, 1.0)


def _drift(frames: tf.Tensor, gain_db: float, spec: AudioSpec, seed: tf.Tensor) -> tf.Tensor:
    """A gain that moves from one draw to another over the window, in decibels; silence stays silence."""
    batch, length = tf.shape(frames)[0], tf.shape(frames)[1]
    ends = tf.random.stateless_uniform([batch, 2], seed, -gain_db, gain_db)
    ramp = tf.linspace(0.0, 1.0, length)[tf.newaxis, :]
    decibels = (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * ramp)[..., tf.newaxis]
    if spec.format == LOG_MEL:
        return tf.where(frames > 0, tf.maximum(frames + decibels, 0.0), 0.0)
    return frames * 10.0 ** (decibels / 20.0)


def _mixup(frames: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convex combinations of each example with another (Zhang et al. 2018), weights from Beta(alpha, alpha)."""
    batch = tf.shape(frames)[0]
    first, second, order = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    a = tf.random.stateless_gamma([batch], first, alpha)
    b = tf.random.stateless_gamma([batch], second, alpha)
    weight = tf.math.divide_no_nan(a, a + b)
    other = tf.argsort(tf.random.stateless_uniform([batch], order))
    mixed = [
        w * x + (1.0 - w) * tf.gather(x, other)
        for x, w in ((frames, weight[:, tf.newaxis, tf.newaxis]), (targets, weight[:, tf.newaxis]))
    ]
    return mixed[0], mixed[1]
