"""Exported taggers against the Keras model: scores, what travels inside, and nothing left where it goes wrong."""

import json
import re
import zipfile

import numpy as np
import pytest

import orpheus
from orpheus.data.audio import reading
from orpheus.data.audio.spec import FORMATS as AUDIO_FORMATS
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import ConfigError, DataError
from orpheus.models import FRONTENDS
from orpheus.runs.folder import Run
from orpheus.tasks.tagging import export, export_formats
from tests.conftest import ROOT
from tests.untrained import CLASSES, make_run

RATE, SECONDS = 8000, 2.6


@pytest.fixture(scope="module")
def mel_run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("mel"), AudioSpec("log-mel-spectrogram", RATE, 512, 160, 24))


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> str:
    """7.3 s of noise that swells and a falling tone, stereo, at another sample rate."""
    import soundfile

    time = np.arange(round(7.3 * 11025)) / 11025
    noise = np.random.default_rng(1).normal(size=(len(time), 2)) * 0.05 * time[:, None] / 7.3
    tone = 0.3 * np.sin(2 * np.pi * (2000 - 120 * time) * time)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, noise + tone[:, None], 11025)
    return str(path)


def needs(kind: str) -> None:
    """Skip where the packages of ONNX are not installed, as beside TensorFlow 2.21."""
    if kind == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")


def samples_of(path) -> np.ndarray:
    return reading.load(path, AudioSpec("waveform", RATE, dtype="float32"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", export.FORMATS)
def test_a_published_tagger(published_run, shared, oracle, tmp_path, kind):
    needs(kind)
    song = shared / "librosa-audio" / "sorohanro_-_solo-trumpet-06.ogg"
    out = tmp_path / f"tagger.{kind}"
    assert export.export(Run.open(published_run), out, kind, check=[song], threshold=0.5).difference < 1e-4
    run, about = export_formats.read(out)
    assert about["normalisation"] == (
        "inside: decibels to log10(10,000 power + 1), then batch normalisation with the statistics of the training"
    )
    assert "Slaney mel filters of equal area" in about["spectrogram"] and about["stored"]["dtype"] == "float32"
    samples = reading.load(song, AudioSpec("waveform", 16000, dtype="float32"))
    truth = np.load(oracle / "MSD_musicnn_sorohanro_-_solo-trumpet-06.npz")
    assert about["classes"] == truth["labels"].tolist()
    # The file goes on behind the window, where a window by itself has the padding of its end.
    np.testing.assert_allclose(run(samples[None, : about["samples"]])[0], truth["taggram_f32"][0], atol=0.02)


def test_the_graph_tags_as_predict_does(mel_run, song):
    tagger, samples = orpheus.load(mel_run.folder), samples_of(song)
    graph = export.graph(tagger, "savedmodel")
    expected = tagger.predict(song)
    track = graph.track(samples)
    np.testing.assert_allclose(track["scores"], expected.scores, atol=1e-3)
    np.testing.assert_allclose(track["starts"], expected.starts, atol=1e-6)
    assert np.ptp(expected.scores) > 0.01, "a model that always says the same would prove nothing"


@pytest.mark.slow
def test_savedmodel_tags_as_predict_does_and_says_what_it_is(mel_run, song, tmp_path):
    import tensorflow as tf

    written = export.export(mel_run, tmp_path / "deep/tagger", "savedmodel", check=[song])
    assert written.clips == 3
    assert written.difference < 1e-4
    tagger, loaded = orpheus.load(mel_run.folder), tf.saved_model.load(str(written.path))

    samples = samples_of(song)
    window = loaded.signatures["serving_default"](audio=samples[None, : round(SECONDS * RATE)])["tags"].numpy()
    assert window.shape == (1, len(CLASSES))

    expected = tagger.predict(song)
    track = {key: value.numpy() for key, value in loaded.signatures["track"](audio=samples).items()}
    np.testing.assert_allclose(track["scores"], expected.scores, atol=1e-3)
    np.testing.assert_allclose(track["mean"], expected.mean, atol=1e-3)
    np.testing.assert_allclose(track["starts"], expected.starts, atol=1e-6)
    short = samples[: RATE // 2]
    assert loaded.signatures["track"](audio=short)["scores"].shape == (1, len(CLASSES))

    about = {key: value.numpy() for key, value in loaded.signatures["about"]().items()}
    assert [name.decode() for name in about["classes"]] == list(CLASSES)
    assert (about["sample_rate"], about["samples"]) == (RATE, round(SECONDS * RATE))
    np.testing.assert_array_equal(about["thresholds"], np.full(4, 0.5, np.float32))
    beside = json.loads((written.path / "assets.extra/orpheus.json").read_text(encoding="utf-8"))
    assert beside == json.loads(about["json"])
    assert "mean 0 and variance 1" in beside["normalisation"]


def test_a_difference_is_refused_and_leaves_nothing(mel_run, tmp_path, monkeypatch):
    monkeypatch.setitem(export_formats.WRITERS, "savedmodel", lambda graph, path, about: path.mkdir())
    wrong = (lambda audio: np.full((len(audio), len(CLASSES)), 0.9), {"classes": list(CLASSES)})
    monkeypatch.setitem(export_formats.READERS, "savedmodel", lambda path: wrong)
    with pytest.raises(DataError, match=r"not written: its scores differ .* on synthetic music"):
        export.export(mel_run, tmp_path / "tagger", "savedmodel", threshold=0.5)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(mel_run, tmp_path, song):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="name another one"):
        export.export(mel_run, tmp_path / "full", "savedmodel")
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        export.export(mel_run, tmp_path / "full", "onnx")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        export.export(mel_run, tmp_path / "out", "savedmodel", threshold=1.5)
    with pytest.raises(ConfigError, match="choose one of savedmodel, tflite, onnx"):
        export.export(mel_run, tmp_path / "out", "caffe")
    with pytest.raises(DataError, match=r"missing\.wav: no such file"):
        export.export(mel_run, tmp_path / "out", "savedmodel", check=["missing.wav"])
    other = Run.create(tmp_path, "other", command=["test"])
    other.write("run", {"task": "recommendation"})
    with pytest.raises(DataError, match="only runs of taggers"):
        export.export(other, tmp_path / "out", "savedmodel")
    with pytest.raises(DataError, match="neither the folder"):
        export_formats.read(tmp_path / "full")
    assert (tmp_path / "full/mine.txt").read_text() == "mine"
    assert not (tmp_path / "out").exists()


def test_windows_of_a_track():
    track = np.arange(10.0)
    assert [list(window) for window in export._three(track, 4)] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert [list(window) for window in export._three(track[:3], 4)] == [[0, 1, 2, 0]]
    assert [list(window) for window in export._three(track[:5], 4)] == [[0, 1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.slow
@pytest.mark.parametrize("frontend", ["log-mel-spectrogram", "waveform"])
@pytest.mark.parametrize("kind", export.FORMATS)
def test_every_format_of_a_trained_run(command, demo, tiny, tmp_path, frontend, kind):
    needs(kind)
    records = demo / ("mel" if frontend.startswith("log") else "wave")
    done = command(
        "orpheus.train",
        frontend,
        "--config",
        tiny,
        "--tfrecords-dir",
        records,
        "--epochs",
        1,
        "--set",
        "model-training.window_length=2.5",
    )
    run = orpheus.load(done.stdout.strip().splitlines()[-1]).run
    songs = sorted(map(str, (demo / "data/audio").glob("*")))[:3]
    out = tmp_path / f"tagger.{kind}"
    done = command("orpheus.export", run.folder, out, "--format", kind, "--check", *songs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out)

    scores, about = export_formats.read(out)
    tagger = orpheus.load(run.folder)
    assert about["classes"] == list(tagger.classes)
    assert about["sample_rate"] == RATE
    assert len(about["thresholds"]) == len(tagger.classes)
    assert all(0 <= value <= 1 for value in about["thresholds"])
    assert about["thresholds_chosen"].startswith("the best F1 on the validation split")
    # predict on a file of exactly one window takes the path of preprocessing
    import soundfile

    clip = samples_of(songs[-1])[: about["samples"]]
    path = tmp_path / "window.wav"
    soundfile.write(path, clip, RATE, subtype="FLOAT")
    expected = tagger.predict(path).scores[0]
    assert np.abs(scores(clip[None])[0] - expected).max() < 1e-3
    default = export.export(run, tmp_path / f"default.{kind}", kind, threshold=0.25)
    assert default.source == (f"records of {records}" if frontend == "waveform" else "synthetic music")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FRONTENDS) - set(AUDIO_FORMATS)))
@pytest.mark.parametrize("kind", export.FORMATS)
def test_every_network(tmp_path, song, name, kind):
    needs(kind)
    spec = AudioSpec(FRONTENDS[name].format, RATE, 512, 160, max(24, FRONTENDS[name].fewest_mels))
    run = make_run(tmp_path, spec, network=name, seconds=max(1.5, spec.seconds(FRONTENDS[name].shortest) + 0.1))
    assert export.export(run, tmp_path / f"a.{kind}", kind, check=[song]).difference < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", export.FORMATS)
def test_odd_specs_and_mixed_precision(tmp_path, song, kind):
    needs(kind)
    # 500 is no power of two, for which TFLite has a transform
    run = make_run(tmp_path, AudioSpec("log-mel-spectrogram", RATE, 500, 250, 20, "float32"), mixed=True)
    assert export.export(run, tmp_path / f"a.{kind}", kind, check=[song]).difference < 1e-4


@pytest.mark.slow
def test_tflite_has_builtin_operators_only_and_labels_behind_it(mel_run, tmp_path):
    import tensorflow as tf

    path = export.export(mel_run, tmp_path / "tagger.tflite", "tflite", threshold=0.5).path
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(CLASSES)
    operators = {row["op_name"] for row in tf.lite.Interpreter(str(path))._get_ops_details()}
    assert "RFFT2D" in operators
    assert not [name for name in operators if "Flex" in name or "CUSTOM" in name.upper()]


@pytest.mark.slow
def test_the_snippets_of_the_docs_run(mel_run, song, tmp_path, monkeypatch):
    needs("onnx")
    text = (ROOT / "docs/EXPORT.md").read_text(encoding="utf-8").split("## Python, without orpheus")[1]
    snippets = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(snippets) == 4
    monkeypatch.chdir(tmp_path)
    for name, kind in (("tagger", "savedmodel"), ("tagger.tflite", "tflite"), ("tagger.onnx", "onnx")):
        export.export(mel_run, name, kind, check=[song])
    expected = orpheus.load(mel_run.folder).predict(song)
    samples = samples_of(song)
    scores = export.reference(orpheus.load(mel_run.folder), samples[None, : round(SECONDS * RATE)])[0]
    for snippet in snippets:
        found = {"samples": samples}
        exec(snippet.replace("runs/log-mel-spectrogram_260101-120000", str(mel_run.folder)), found)
        if "tags" in found:
            np.testing.assert_allclose(found["tags"]["mean"], expected.mean, atol=1e-3)
        elif "scores" in found:
            np.testing.assert_allclose(found["scores"], scores, atol=1e-3)
        else:
            assert found["model"].output_shape == (None, len(CLASSES))
