"""tools.pretrained: published taggers as run folders, equal to the original from song to tags, and usable as any run."""

import json
import shutil

import numpy as np
import pytest

import orpheus
from orpheus import evaluate, predict, report, train
from orpheus.data.audio import reading
from orpheus.runs import published
from tools import preprocess, pretrained

SONGS = ("Kevin_MacLeod_-_Vibe_Ace", "admiralbob77_-_Choice_-_Drum-bass", "sorohanro_-_solo-trumpet-06")


def values(oracle, model, song):
    return np.load(oracle / f"{model}_{song.removeprefix('Kevin_MacLeod_-_')}.npz")


@pytest.mark.slow
def test_two_commands_to_the_tags_of_three_songs(tmp_path, wheel, shared, oracle):
    run, out = tmp_path / "msd-musicnn", tmp_path / "tags.json"
    assert pretrained.main(["MSD_musicnn", "-o", str(run), "--wheel", str(wheel)]) == 0
    assert predict.main([str(run), str(shared / "librosa-audio"), "--json", str(out)]) == 0
    found = {path.rpartition("/")[2].removesuffix(".ogg"): tags for path, tags in json.loads(out.read_text()).items()}
    assert set(found) == set(SONGS)
    for song, result in found.items():
        truth = values(oracle, "MSD_musicnn", song)
        mean = [result["tags"][label] for label in truth["labels"]]
        np.testing.assert_allclose(mean, truth["mean_tags"], atol=1e-3)
        np.testing.assert_allclose(result["scores"], truth["taggram_f32"], atol=1e-4)
        np.testing.assert_allclose(result["starts"], truth["start_seconds"], atol=1e-6)
    assert max(found[SONGS[2]]["tags"], key=found[SONGS[2]]["tags"].get) == "jazz"  # a trumpet


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in published.models() if name != "MSD_musicnn"])
def test_the_other_three(tmp_path, wheel, shared, oracle, name):
    tagger = orpheus.load(pretrained.make(published.find(name), tmp_path / "run", wheel=wheel))
    for song in SONGS:
        truth, found = values(oracle, name, song), tagger.predict(shared / "librosa-audio" / f"{song}.ogg")
        assert found.classes == tuple(truth["labels"])
        np.testing.assert_allclose(found.mean, truth["mean_tags"], atol=1e-3)
        np.testing.assert_allclose(found.scores, truth["taggram_f32"], atol=1e-4)


def test_the_stored_audio_is_the_originals_input(shared, oracle):
    for song in SONGS:
        stored = reading.load(shared / "librosa-audio" / f"{song}.ogg", published.spec())
        patches = values(oracle, "MSD_musicnn", song)["patches_f32"]
        frames = stored[: 187 * len(patches)].reshape(patches.shape).astype(np.float64)
        np.testing.assert_allclose(np.log10(10 ** (frames / 10 - 6) + 1), patches, atol=1e-4)


def test_what_is_in_the_folder(published_run):
    names = {path.name for path in published_run.iterdir()}
    assert names >= {
        "config.json",
        "spec.json",
        "classes.json",
        "run.json",
        "model.keras",
        "versions.json",
        "LICENCE.txt",
    }
    assert "Music Technology Group, Universitat Pompeu Fabra" in (published_run / "LICENCE.txt").read_text()
    about = json.loads((published_run / "run.json").read_text())
    assert about["pretrained"]["sha256"] == published.SHA256 and about["task"] == "tagging"
    assert orpheus.load(published_run).model.input_shape == (None, 187, 96)


def test_features_of_a_song(published_run, shared, oracle):
    truth = values(oracle, "MSD_musicnn", SONGS[0])
    found = orpheus.load(published_run).features(shared / "librosa-audio" / f"{SONGS[0]}.ogg")
    # The original makes its features of a power rounded to float16.
    np.testing.assert_allclose(found[:, :753], truth["max_pool"], atol=1e-3 * truth["max_pool"].max())
    np.testing.assert_allclose(found[:, 753:], truth["mean_pool"], atol=1e-3 * truth["mean_pool"].max())


def test_a_network_that_was_put_together_otherwise_leaves_nothing(tmp_path, wheel, capsys, monkeypatch):
    from orpheus.models import layers

    monkeypatch.setattr(layers.LogCompression, "call", lambda self, inputs: inputs / 10)  # raw decibels
    assert pretrained.main(["MSD_musicnn", "-o", str(tmp_path / "run"), "--wheel", str(wheel)]) == 2
    assert "its scores of the stored example differ by 0." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_list(capsys):
    assert pretrained.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in published.models())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["-o", "x"], "NAME is missing"),
        (["MSD_musicnn"], "-o is missing"),
        (["MSD_big", "-o", "x"], "no such pretrained tagger; there are MTT_musicnn"),
        (["MSD_musicnn", "-o", "."], ".: there already; name another folder"),
        (["MSD_musicnn", "-o", "nowhere/x", "--wheel", "y.whl"], "y.whl: no such file; pip download musicnn==0.1.0"),
    ],
)
def test_what_is_refused(call, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained.main(call) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def records(shared, tmp_path_factory):
    """The three songs, tagged with two of the tagger's words and one that it does not know."""
    folder = tmp_path_factory.mktemp("records")
    tags = ("electronic; lounge", "electronic; rock", "jazz")
    rows = [f"{song[:4]},{shared}/librosa-audio/{song}.ogg,{words}" for song, words in zip(SONGS, tags, strict=True)]
    (folder / "tracks.csv").write_text("\n".join(["track_id,audio_path,tags", *rows]) + "\n")
    options = ["--n-fft", "512", "--hop-length", "256", "--dtype", "float32", "-n", "2", "--workers", "1"]
    call = ["log-mel-spectrogram", str(folder / "mel"), "--csv-path", str(folder / "tracks.csv"), *options]
    assert preprocess.main(call) == 0
    return folder / "mel"


@pytest.mark.slow
def test_records_with_matching_tags_are_all_its_test_split(tmp_path, published_run, records, oracle, capsys):
    run = shutil.copytree(published_run, tmp_path / "run")
    assert evaluate.main([str(run)]) == 2
    assert "knows no records; give some with --tfrecords-dir" in capsys.readouterr().err
    assert evaluate.main([str(run), "--tfrecords-dir", str(records), "--bootstrap", "0"]) == 0
    result = json.loads((run / "metrics.json").read_text())["test"]
    assert result["tracks"] == 3
    means = [values(oracle, "MSD_musicnn", song)["mean_tags"] for song in SONGS]
    labels = values(oracle, "MSD_musicnn", SONGS[0])["labels"].tolist()
    jazz = [mean[labels.index("jazz")] for mean in means]
    assert jazz[2] == max(jazz)  # the one track of that tag is above both others: an area of 1
    assert result["mean_of_windows"]["per_class"]["jazz"]["roc_auc"] == 1
    assert evaluate.main([str(run), "--tfrecords-dir", str(records), "--split", "valid"]) == 2
    assert report.main([str(run), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "MSD_musicnn of musicnn==0.1.0" in page and "ROC-AUC 0.8802" in page


@pytest.mark.slow
def test_a_new_head_on_the_frozen_network(tmp_path, published_run, records):
    config = json.loads((published_run / "config.json").read_text())
    settings = {**config["model-training"], "batch_size": 2, "split": [50, 50], "log_dir": str(tmp_path / "runs")}
    values_ = {**config, "model-training": settings, "tags": {"with": ["jazz", "lounge"], "top": 1}}
    (tmp_path / "config.json").write_text(json.dumps(values_))
    call = ["log-mel-spectrogram", "--config", str(tmp_path / "config.json"), "--tfrecords-dir", str(records)]
    assert train.main([*call, "--init-from", str(published_run), "--freeze", "--epochs", "1"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    new, old = orpheus.load(run).model, orpheus.load(published_run).model
    for layer in old.layers[:-1]:
        for mine, theirs in zip(new.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert new.output_shape == (None, 3) or new.output_shape == (None, 2)
    assert json.loads((run / "run.json").read_text())["init_from"]["rows"]["jazz"] == []
    assert train.main(["--resume", str(run), "--epochs", "2"]) == 0  # the network stays frozen
    for layer in old.layers[:-1]:
        for mine, theirs in zip(
            orpheus.load(run).model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
