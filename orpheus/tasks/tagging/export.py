"""A trained tagger as a file for other runtimes: samples in, tags out, the spectrogram and what describes it inside."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import orpheus
from orpheus.base import files, storage
from orpheus.data.audio import reading, spectrogram
from orpheus.data.audio.spec import DECIBEL_FLOOR, LOG_MEL, WAVEFORM, AudioSpec
from orpheus.data.batches import epochs
from orpheus.data.demo import synth
from orpheus.data.records import format
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import inference
from orpheus.learning.evaluation import classification
from orpheus.models import audio_in_graph, layers
from orpheus.runs.folder import Run
from orpheus.tasks.tagging import data as tagging_data
from orpheus.tasks.tagging import export_formats
from orpheus.tasks.tagging.tagger import Tagger

log = logging.getLogger(__name__)
TOLERANCE = 1e-3
FORMATS = tuple(export_formats.WRITERS)
_FIRST_LAYERS = {
    layers.StandardiseExample: "each window to mean 0 and variance 1 over what is not silence",
    layers.LogCompression: "decibels to log10(10,000 power + 1)",
    keras.layers.Rescaling: "samples to amplitudes from -1 to 1",
    keras.layers.BatchNormalization: "batch normalisation with the statistics of the training",
}
_SYNTHETIC = 4  # clips of synthetic music where there are no others
_FROM_RECORDS = 8


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file or folder.
        clips: Windows it was checked on.
        source: What they are of.
        difference: Largest absolute difference of a score from the Keras model's.
    """

    path: Path
    clips: int
    source: str
    difference: float


def export(
    run: Run,
    out: str | os.PathLike,
    kind: str,
    *,
    check: Sequence[str | os.PathLike] = (),
    threshold: float | None = None,
    tfrecords_dir: str | os.PathLike | None = None,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> Exported:
    """Write a tagger in another format, and check it in that format's own runtime against the Keras model.

    Args:
        run: Of `orpheus.train`, on tags or clusters.
        out: File, or the new folder of a SavedModel. Appears only when complete and checked.
        kind: ``"savedmodel"``, ``"tflite"`` or ``"onnx"``.
        check: Audio files to check with (three windows of each); none for windows of the run's records where these hold
            waveforms and are there, else synthetic music.
        threshold: Of every class; None for each class's best by F1 on the validation split, and 0.5 where its records
            are not there.
        tfrecords_dir: Where the run's records are now; None for where they were.
        progress: Wraps batches while thresholds are sought.

    Raises:
        ConfigError: an unknown format, `out` exists as a folder with something in it, a package is missing.
        DataError: not a tagger's run, a clip cannot be read, or a score differs by more than 1e-3: nothing is written.
    """
    if kind not in FORMATS:
        raise ConfigError(f"format={kind!r}: choose one of {', '.join(FORMATS)}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold}: must be between 0 and 1")
    run.check_task("tagging", "only runs of taggers can be exported")
    out = files.check_output(out, folder=kind == "savedmodel")
    if out.is_dir() and any(out.iterdir()):
        what = "a SavedModel already" if (out / "saved_model.pb").is_file() else "a folder with something in it"
        raise ConfigError(f"{out}: {what}; name another one, or remove it")
    tagger = Tagger(run)
    clips, source = _clips(tagger, check, tfrecords_dir)
    thresholds, chosen = _thresholds(run, tagger, threshold, tfrecords_dir, progress)
    about = describe(tagger, kind, thresholds, chosen)
    with files.whole(out, suffix="" if kind == "savedmodel" else f".{kind}") as temporary:
        try:
            export_formats.WRITERS[kind](graph(tagger, kind), temporary, about)
        except tf.errors.OpError as error:
            raise storage.os_error(error, out) from None
        scores, read_back = export_formats.READERS[kind](temporary)
        difference = float(np.abs(scores(clips) - reference(tagger, clips)).max())
        if not difference <= TOLERANCE:
            raise DataError(
                f"{out}: not written: its scores differ from the Keras model's by up to {difference:.2g} on {source}, "
                f"{TOLERANCE:g} is allowed"
            )
        if read_back["classes"] != list(tagger.classes):
            raise DataError(f"{out}: not written: the classes inside it are not the run's")
    return Exported(out, len(clips), source, difference)


def window_samples(tagger: Tagger) -> int:
    """Samples of a window: enough for its frames, which are centred."""
    return round(tagger.window_seconds * tagger.spec.sample_rate)


def graph(tagger: Tagger, kind: str) -> export_formats.Graph:
    """A tagger from samples to tags, as the format needs it: storing, then the model in float32.

    The first frames of what storing makes of `window_samples` are the model's window, so a window is tagged as a file of
    that length would be.
    """
    spec, model = tagger.spec, in_float32(tagger.model)
    frames = spec.frames(tagger.window_seconds)
    store = storing(spec, kind)

    def window(samples):
        return model(store(samples)[:, :frames], training=False)

    def track(samples):
        whole = store(samples[None])[0]
        whole = tf.pad(whole, [[0, tf.maximum(frames - tf.shape(whole)[0], 0)], *[[0, 0]] * (whole.shape.rank - 1)])
        last = tf.shape(whole)[0] - frames
        if tagger.windows.whole:
            starts = tf.range(0, last + 1, frames)
        else:
            starts = tf.concat([tf.range(0, last, frames), [last]], axis=0)

        def scores(start):
            return model(whole[None, start : start + frames], training=False)[0]

        # One after the other: the windows of an hour at once would take gigabytes.
        found = tf.map_fn(scores, starts, fn_output_signature=tf.TensorSpec([len(tagger.classes)], tf.float32))
        seconds = tf.cast(starts, tf.float32) * np.float32(spec.hop / spec.sample_rate)
        return {"mean": tf.reduce_mean(found, axis=0), "scores": found, "starts": seconds}

    return export_formats.Graph(window, track, window_samples(tagger), [v.value for v in model.variables])


def storing(spec: AudioSpec, kind: str) -> Callable:
    """(batch, samples) → stored frames as float32, (batch, frames, …), in operations that the format has."""
    if spec.format == WAVEFORM:
        return lambda samples: audio_in_graph.amplitudes(samples, dtype=spec.dtype)
    power_of_two = spec.n_fft & (spec.n_fft - 1) == 0
    return lambda samples: audio_in_graph.decibels(
        samples,
        spectrogram.mel_filterbank(spec),
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        floor=DECIBEL_FLOOR,
        dtype=spec.dtype,
        top_db=spec.top_db,
        convolution=kind == "onnx" or (kind == "tflite" and not power_of_two),
    )


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or where it was trained in mixed precision, one of the same weights that computes in float32."""
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model

    def copy(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def reference(tagger: Tagger, clips: np.ndarray) -> np.ndarray:
    """(clips, classes) scores of the run's model in float32, of clips stored as preprocessing stores them."""
    frames = tagger.spec.frames(tagger.window_seconds)
    forward = inference.forward(in_float32(tagger.model))
    windows = (spectrogram.convert(clip, tagger.spec)[:frames] for clip in clips)
    return np.concatenate([forward(window[None]).numpy() for window in windows])


def describe(tagger: Tagger, kind: str, thresholds: np.ndarray, chosen: str) -> dict:
    """What travels inside the file."""
    spec, samples = tagger.spec, window_samples(tagger)
    made: dict = {
        "orpheus": orpheus.__version__,
        "run": tagger.run.folder.name,
        "format": kind,
        "input": f"audio: float32 samples of a mono signal, -1 to 1, at {spec.sample_rate} Hz; {samples} of them",
        "output": "tags: float32 scores of the classes, 0 to 1",
        "sample_rate": spec.sample_rate,
        "samples": samples,
        "window_seconds": tagger.window_seconds,
        "classes": list(tagger.classes),
        "thresholds": [float(f"{value:.6g}") for value in thresholds],
        "thresholds_chosen": chosen,
        "normalisation": f"inside: {first_layers(tagger.model)}",
        "stored": spec.to_json(),
    }
    if spec.format == LOG_MEL:
        height = "equal area" if spec.mel_norm == "slaney" else "height 1"
        made["spectrogram"] = (
            f"inside: Hann window, centred frames, Slaney mel filters of {height} on the power, dB above -100"
        )
        if spec.top_db is not None:
            made["spectrogram"] += f", clipped {spec.top_db:g} dB below the loudest of what is given"
    return made


def first_layers(model: keras.Model) -> str:
    """What a network does to stored audio before its first filter, in words."""
    found = []
    for layer in model.layers[1:]:
        if isinstance(layer, keras.layers.Reshape):
            continue
        words = next((words for kind, words in _FIRST_LAYERS.items() if isinstance(layer, kind)), None)
        if words is None:
            break
        found.append(words)
    return ", then ".join(found) or "none"


def _clips(tagger: Tagger, paths: Sequence[str | os.PathLike], folder: str | os.PathLike | None):
    """((clips, samples) float32, what they are)."""
    spec, length = tagger.spec, window_samples(tagger)
    samples = AudioSpec(WAVEFORM, sample_rate=spec.sample_rate, dtype="float32")
    if paths:
        found = [clip for path in paths for clip in _three(reading.load(path, samples), length)]
        return np.stack(found), f"{len(paths)} file{'s' if len(paths) > 1 else ''}"
    if spec.format == WAVEFORM:
        try:
            data = tagging_data.reopen_data(tagger.run, tfrecords_dir=folder)
        except DataError as error:
            log.info("no records to check with (%s)", error)
        else:
            return _recorded(data, spec, length), f"records of {data.catalogue.folder}"
    rendered = (_synthetic(number, spec.sample_rate, length) for number in range(_SYNTHETIC))
    return np.stack([clip for track in rendered for clip in _three(track, length)]), "synthetic music"


def _three(track: np.ndarray, length: int) -> list[np.ndarray]:
    """The first, the middle and the last window of a track; a short one's only window, padded with silence."""
    if len(track) <= length:
        return [np.pad(track, (0, length - len(track)))]
    spare = len(track) - length
    return [track[start : start + length] for start in sorted({0, spare // 2, spare})]


def _recorded(data: tagging_data.TaggingData, spec: AudioSpec, length: int) -> np.ndarray:
    """Windows of the run's waveform records, those of the test split first."""
    found: list[np.ndarray] = []
    scale = 32768.0 if spec.dtype == "int16" else 1.0
    for path in data.catalogue.paths(shard for split in ("test", "valid", "train") for shard in data.split[split]):
        for record in format.read_shard(path):
            values = format.decode(record)["audio"]
            track = np.frombuffer(values[0], spec.dtype) if isinstance(values[0], bytes) else np.asarray(values)
            found.append(_three(track.astype(np.float32) / np.float32(scale), length)[0])
            if len(found) == _FROM_RECORDS:
                return np.stack(found)
    return np.stack(found)


def _synthetic(number: int, sample_rate: int, length: int) -> np.ndarray:
    """A minute or less of made-up music, long enough for three windows."""
    import soxr

    names = sorted(synth.INSTRUMENTS)
    style = synth.Style(
        instruments=(names[number % len(names)],),
        drums=number % 2 == 0,
        tempo=90 + 25 * number,
        major=number % 2 == 1,
        tonic=45 + 5 * number,
        loudness=number % 3 - 1,
        room=0.3,
        tilt=0.0,
    )
    played = synth.render(style, 1.5 * length / sample_rate, np.random.default_rng(number)).mean(axis=1)
    return np.clip(soxr.resample(played, synth.RATE, sample_rate), -0.99, 0.99).astype(np.float32)


def _thresholds(
    run: Run, tagger: Tagger, given: float | None, folder: str | os.PathLike | None, progress: Callable
) -> tuple[np.ndarray, str]:
    """((classes,) thresholds, how they were chosen)."""
    if given is not None:
        return np.full(len(tagger.classes), given), "given"
    usual = np.full(len(tagger.classes), 0.5)
    try:
        records = tagging_data.reopen_data(run, tfrecords_dir=folder).records_of("valid")
        truth = records.truth()
    except DataError as error:
        log.warning("thresholds: 0.5 for every class, there is no validation split to choose them by (%s)", error)
        return usual, "0.5: no validation split at hand"
    if not len(truth):
        return usual, "0.5: no validation track has any of the classes"
    batches = epochs.all_windows(records, tagger.windows, batch_size=32)
    scores, _, _ = inference.by_track(tagger.model, batches, len(truth), progress=progress)
    best, _ = classification.best_thresholds(truth, scores)
    return np.where(
        np.isnan(best), 0.5, best
    ), "the best F1 on the validation split; 0.5 where a class has no track there"
