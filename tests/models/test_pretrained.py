"""The published taggers against values of their original graphs (../shared/oracle), and the reader of their weights."""

import zipfile

import keras
import numpy as np
import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.models import layers, pretrained
from orpheus.models import tagger as taggers
from orpheus.models.networks.musicnn import musicnn
from orpheus.models.networks.vgg import vgg
from orpheus.runs import published

NETWORKS = {"musicnn": (musicnn, 64), "vgg": (vgg, 128)}
SONGS = ("Vibe_Ace", "admiralbob77_-_Choice_-_Drum-bass", "sorohanro_-_solo-trumpet-06")


def tagger(network, *, frames=187, mels=96, n_filters=None, n_dense_units=200, classes=50):
    function, filters = NETWORKS[network]
    audio = keras.Input((frames, mels), dtype="float32", name="audio")
    x = function(
        audio, n_filters=n_filters or filters, n_dense_units=n_dense_units, dropout=0.5, seed=0, synchronized=False
    )
    return keras.Model(audio, taggers.tags(x, n_classes=classes, dropout=0.5, seed=0), name=network)


def decibels(patches):
    """Stored decibels of the oracle's log10(10,000 p + 1), in float64."""
    return (10 * np.log10(np.maximum(10.0 ** patches.astype(np.float64) - 1, 1e-6)) + 60).astype(np.float32)


@pytest.fixture(scope="module", params=list(published.models()))
def trained(request, wheel, tmp_path_factory):
    """(name, model with the published weights)."""
    facts = published.find(request.param)
    prefix = published.extract(wheel, facts, tmp_path_factory.mktemp("checkpoint"))
    return request.param, pretrained.load(tagger(facts.network), facts.network, prefix)


# Parameters of the published checkpoints, the optimizer's left out: trainable + moving statistics.
@pytest.mark.parametrize(("network", "count"), [("musicnn", 787_159 + 4_920), ("vgg", 605_748 + 1_282)])
def test_parameters_of_the_published_sizes(network, count):
    assert tagger(network).count_params() == count


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_of_interest(network):
    model = tagger(network, n_filters=8, n_dense_units=5, classes=3)
    assert model.get_layer("embedding").output.shape == (None, 5 if network == "musicnn" else 2 * 8)
    assert model.get_layer("tags").output.shape == (None, 3)
    if network == "musicnn":  # 25 + 25 + 3 · 6 + 3 · 8, maxima and means
        assert model.get_layer("pooled").output.shape == (None, 2 * 92)
        assert model.get_layer("timbral_38").kernel.shape == (7, 38, 1, 25)


def test_vgg_leaves_two_steps_within_its_range():
    from orpheus.models.networks.vgg import LONGEST_FRAMES, SHORTEST_FRAMES

    def steps(frames):
        return tagger("vgg", frames=frames, n_filters=1).get_layer("pool_5").output.shape[1]

    assert steps(SHORTEST_FRAMES) == steps(LONGEST_FRAMES) == 2
    assert steps(SHORTEST_FRAMES - 1) == 1
    assert steps(LONGEST_FRAMES + 1) == 3


def test_log_compression_is_the_closed_form():
    power = np.float64([0, 1e-10, 1e-6, 1e-3, 1.0, 1e3])
    stored = (10 * np.log10(np.maximum(power, 1e-10)) + 100).astype(np.float32)[None]
    found = np.asarray(layers.LogCompression()(stored))[0]
    np.testing.assert_allclose(found[1:], np.log10(10_000 * power[1:] + 1), rtol=2e-5, atol=1e-7)
    assert 0 <= found[0] < 1e-6  # silence, stored as zero
    half = keras.layers.Layer(dtype=keras.DTypePolicy("mixed_float16"))
    assert half.compute_dtype == "float16" and layers.LogCompression()(stored).dtype == "float32"


@pytest.mark.parametrize("song", SONGS)
def test_the_original_graphs_values(trained, oracle, song):
    name, model = trained
    truth = np.load(oracle / f"{name}_{song}.npz")
    patches = truth["patches_f32"]
    wanted = ["tags", "embedding"] + (["maximum", "mean"] if name.endswith("musicnn") else [])
    outputs = keras.Model(model.input, {key: model.get_layer(key).output for key in wanted})
    found = {key: np.asarray(value) for key, value in outputs(decibels(patches), training=False).items()}
    np.testing.assert_allclose(found["tags"], truth["taggram_f32"][: len(patches)], atol=1e-5)
    if name.endswith("musicnn"):
        features = {"maximum": "max_pool", "mean": "mean_pool", "embedding": "penultimate"}
    else:
        features = {"embedding": "pool5"}
    for key, theirs in features.items():
        expected = truth[theirs][: len(patches)].reshape(len(patches), -1)
        # The original makes its features of a power rounded to float16, so they are no closer than that.
        np.testing.assert_allclose(found[key], expected, atol=1e-3 * np.abs(expected).max(), err_msg=key)
    assert np.abs(found["tags"][:, ::-1] - truth["taggram_f32"][: len(patches)]).max() > 0.05  # order matters


def test_the_stored_example(trained):
    name, model = trained
    found = np.asarray(model(published.example()[None], training=False))[0]
    np.testing.assert_allclose(found, published.find(name).scores, atol=2e-5)


def test_labels_are_the_original_order(wheel, oracle):
    for name, model in published.models().items():
        labels = np.load(oracle / f"{name}_{SONGS[0]}.npz")["labels"].tolist()
        assert list(published.labels(wheel, model)) == labels
        assert len(model.scores) == 50
    assert "Permission to use" in published.licence(wheel)


def test_a_checkpoint_of_another_network_is_refused(wheel, tmp_path):
    prefix = published.extract(wheel, published.find("MTT_vgg"), tmp_path)
    with pytest.raises(DataError, match="has no variable conv2d/kernel, which musicnn needs for timbral_38"):
        pretrained.load(tagger("musicnn"), "musicnn", prefix)
    with pytest.raises(DataError, match=r"dense/kernel: has shape \(256, 50\), and tags \(256, 7\)"):
        pretrained.load(tagger("vgg", classes=7), "vgg", prefix)


def test_only_the_pinned_wheel_is_read(tmp_path):
    other = tmp_path / published.WHEEL
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("musicnn/configuration.py", "raise SystemExit('run')")
    with pytest.raises(DataError, match="SHA-256"):
        published.fetch(other)
    with pytest.raises(DataError, match=r"no such file; pip download musicnn==0\.1\.0"):
        published.fetch(tmp_path / "nowhere.whl")
    with pytest.raises(ConfigError, match="no such pretrained tagger; there are MTT_musicnn, MSD_musicnn"):
        published.find("MSD_big")


def test_what_to_do_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DataError, match=r"cannot be downloaded \(.*then give --wheel musicnn-0.1.0") as caught:
        published.fetch()
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache/orpheus").iterdir())
