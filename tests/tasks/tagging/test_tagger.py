"""orpheus.tasks.tagging.tagger and learning.inference.ahead: files batched together, decoded while the model is at work."""

import threading

import numpy as np
import pytest
import soundfile

from orpheus.data.audio import reading
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine import inference
from orpheus.tasks.tagging import export
from orpheus.tasks.tagging.tagger import Tagger
from tests.untrained import make_run

SPEC = AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return Tagger(make_run(tmp_path_factory.mktemp("run"), SPEC, seconds=1.0))


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Files of 0.4 to 9 s, one of them empty and one cut off in the middle of its header."""
    folder = tmp_path_factory.mktemp("songs")
    paths = []
    for index, seconds in enumerate((2.5, 0.4, 0, 9.0, 1.0, 3.2)):
        paths.append(folder / f"{index}.wav")
        soundfile.write(paths[-1], np.random.default_rng(index).normal(0, 0.1, int(8000 * seconds)), 8000)
    paths[2].write_bytes(b"")
    paths.append(folder / "cut.wav")
    paths[-1].write_bytes(paths[0].read_bytes()[:20])
    return paths


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_files_together_are_scored_as_each_alone(tagger, songs, batch_size):
    found = list(tagger.predict_files(songs, hop_seconds=0.5, batch_size=batch_size))
    assert [path for path, _ in found] == songs
    for path, result in found:
        if path in (songs[2], songs[-1]):
            assert isinstance(result, DataError) and str(result).startswith(str(path))
            with pytest.raises(DataError, match=path.name):
                tagger.predict(path)
            continue
        alone = tagger.predict(path, hop_seconds=0.5, batch_size=7)
        np.testing.assert_array_equal(result.starts, alone.starts)
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-5)  # float32 sums in batches of other sizes


def test_batches_go_across_files(tagger, songs, monkeypatch):
    sizes = []
    forward = tagger.forward()
    monkeypatch.setattr(tagger, "forward", lambda: lambda batch: sizes.append(len(batch)) or forward(batch))
    total = sum(
        len(result.starts) for _, result in tagger.predict_files([songs[1], songs[4], songs[0]] * 4, batch_size=8)
    )
    assert total == 4 * (1 + 1 + 3) and sizes == [8, 8, 4]


def test_a_file_that_breaks_behind_its_first_windows_spoils_no_other(tagger, songs, monkeypatch):
    stream = reading.stream

    def breaking(path, spec, **options):
        for number, block in enumerate(stream(path, spec, **options)):
            yield block
            if path == songs[3] and number == 0:
                raise DataError(f"{path}: broken in the middle")

    expected = tagger.predict(songs[5])
    monkeypatch.setattr(reading, "stream", breaking)
    for size in (2, 100):
        results = dict(tagger.predict_files([songs[0], songs[3], songs[5]], batch_size=size))
        assert isinstance(results[songs[3]], DataError)
        np.testing.assert_allclose(results[songs[5]].scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("hop", [0, -1, 1.5])
def test_a_hop_out_of_range(tagger, songs, hop):
    with pytest.raises(ConfigError, match="hop_seconds"):
        list(tagger.predict_files(songs, hop_seconds=hop))


def test_items_are_made_ahead_by_another_thread_and_no_more_than_asked():
    """The second is made before it is asked for; the fourth only after the second has been taken."""
    made, threads, second = [], set(), threading.Event()

    def items():
        for number in range(6):
            made.append(number)
            threads.add(threading.get_ident())
            if number == 1:
                second.set()
            yield number

    iterator = inference.ahead(items(), 2)
    assert next(iterator) == 0
    assert second.wait(10) and threading.get_ident() not in threads
    assert max(made) <= 2
    assert list(iterator) == [1, 2, 3, 4, 5]


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        raise DataError("broken")

    iterator = inference.ahead(items(), 3)
    assert next(iterator) == 1
    with pytest.raises(DataError, match="broken"):
        next(iterator)
    stopped = inference.ahead(iter(range(1000)), 2)
    assert next(stopped) == 0
    stopped.close()


@pytest.mark.slow
def test_whole_windows_only(tmp_path, songs):
    run = make_run(tmp_path, SPEC, seconds=1.0)
    cut = Tagger(run).predict(songs[0])
    settings = run.read("config")
    settings["model-training"]["whole_windows"] = True
    run.write("config", settings)
    whole = Tagger(run)
    frame = SPEC.seconds(1)
    assert cut.starts == pytest.approx([0, 1, 1.5], abs=1.5 * frame)
    assert whole.predict(songs[0]).starts == pytest.approx([0, 1], abs=frame)
    assert whole.predict(songs[1]).starts == [0]  # shorter than a window
    samples = reading.load(songs[0], AudioSpec("waveform", 8000, dtype="float32"))
    exported = export.graph(whole, "savedmodel").track(samples)
    np.testing.assert_allclose(exported["scores"], whole.predict(songs[0]).scores, atol=1e-3)


def test_from_memory_as_from_the_file(tagger, songs):
    expected = tagger.predict(songs[0])
    samples, rate = soundfile.read(songs[0], dtype="int16")
    stereo = np.stack([samples, samples], axis=1)
    with open(songs[0], "rb") as file:
        found = [
            tagger.predict(samples, sample_rate=rate),
            tagger.predict(stereo.T / np.float32(32768), sample_rate=rate),
            tagger.predict(songs[0].read_bytes()),
            tagger.predict(file),
        ]
    for one in found:
        np.testing.assert_array_equal(one.starts, expected.starts)
        np.testing.assert_allclose(one.scores, expected.scores, atol=1e-5)
    assert np.abs(tagger.predict(samples, sample_rate=2 * rate).mean - expected.mean).max() > 1e-3


def test_what_cannot_be_heard_in_memory(tagger, songs, tmp_path):
    samples = np.zeros(8000, np.float32)
    with pytest.raises(ConfigError, match="sample_rate=None: an array needs it"):
        tagger.predict(samples)
    with pytest.raises(ConfigError, match="sample_rate=8000: only an array needs it"):
        tagger.predict(songs[0], sample_rate=8000)
    for source, options, said in (
        (samples, {"sample_rate": 8000}, "array: silent"),
        (samples[:0], {"sample_rate": 8000}, "array: no audio in it"),
        (np.full(8000, np.nan), {"sample_rate": 8000}, "array: a sample is not finite"),
        (b"", {}, "bytes: empty file"),
        (b"no audio" * 100, {}, "bytes: not decodable"),
    ):
        with pytest.raises(DataError, match=said):
            tagger.predict(source, **options)
    text = tmp_path / "x.txt"
    text.write_text("words")
    with open(text) as file, pytest.raises(DataError, match=r"x\.txt: gives text; open it with mode 'rb'"):
        tagger.predict(file)


@pytest.mark.parametrize("layer", [None, "pooled", "embedding"])
def test_features_are_the_layers_output(tagger, songs, layer):
    import keras

    windows = np.stack([frames for _, frames in inference.sliding(reading.stream(songs[3], SPEC), 16, 16)])
    inner = keras.Model(tagger.model.input, tagger.model.get_layer(layer or "pooled").output)
    assert SPEC.frames(1.0) == 16 and len(windows) > 8
    found = tagger.features(songs[3], layer=layer, batch_size=3)
    np.testing.assert_allclose(found, inner(windows.astype(np.float32), training=False), atol=1e-5)
    assert found.shape == (len(windows), 1024 if layer in (None, "pooled") else 8) and np.ptp(found) > 0.1
    for path, result in tagger.features_of_files(songs, layer=layer):
        assert isinstance(result, DataError) == (path in (songs[2], songs[-1]))


def test_a_layer_that_is_not_there(tagger, songs):
    with pytest.raises(ConfigError, match=r"layer=poled: .* has no such layer; vectors give .*pooled.*tags"):
        tagger.features(songs[0], layer="poled")


@pytest.mark.parametrize("name", ["features.npz", "features.npy"])
def test_features_as_a_table(tagger, songs, tmp_path, name, capsys):
    from orpheus import predict
    from orpheus.data.items import tables

    call = [str(tagger.run.folder), *map(str, songs), "-l", "embedding", "-o", str(tmp_path / name)]
    assert predict.main(call) == 1  # two files cannot be read
    table = tables.read(tmp_path / name)
    assert table.ids == ("0", "1", "3", "4", "5") and table.dim == 8
    np.testing.assert_allclose(
        table.dense(["3"])[0], tagger.features(songs[3], layer="embedding").mean(axis=0), atol=1e-5
    )
    captured = capsys.readouterr()
    assert "5 files, 8 values each" in captured.out and "2 of 7 files could not be read" in captured.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-l", "pooled"], "-l pooled: -o is missing, the file .npz or .npy"),
        (["-l", "pooled", "-o", "x.npz", "--csv", "y"], "--csv: shows tags"),
        (["-l", "features", "-o", "x.npz"], "no vector"),
        (["-p"], "--patches: an option of"),
    ],
)
def test_options_that_do_not_go_together(tagger, songs, options, said, capsys):
    from orpheus import predict

    assert predict.main([str(tagger.run.folder), str(songs[0]), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_table_of_features_has_one_of_two_endings(tagger, songs, capsys):
    from orpheus import predict

    with pytest.raises(SystemExit):
        predict.main([str(tagger.run.folder), str(songs[0]), "-l", "pooled", "-o", "x.csv"])
    assert "ends in .csv; a name that ends in .npz or .npy is needed" in capsys.readouterr().err
