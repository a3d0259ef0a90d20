"""Experiment files: every one loads and builds; extending, settings and overrides; mistakes are named."""

import json

import numpy as np
import pytest

from orpheus import models
from orpheus.errors import ConfigError
from orpheus.tasks.recommendation import job, registry

NAMES = [
    "dummy_audio",
    "dummy_text_vsm",
    "dummy_text_w2v",
    "dummy_multimodal",
    *[f"genres_{s}{m}" for s in ("allmusic", "discogs", "lastfm", "tagtraum") for m in ("", "_multimodal")],
    "genres_discogs_singlemodal",
    "rec_sparse",
    "rec_dense",
    "rec_multi",
    *[f"{loss}_multilabel_{n}" for loss in ("logistic", "cosine") for n in ("vector", "bi", "tri")],
    "cosine_audio_multilabel",
    "logistic_audio_multilabel",
    "logistic_text_multilabel",
    "cosine_text_multilabel",
    "single-label-audio",
    "single-label-vector",
    "single-label-multimodal",
    "single-label-all",
]
SHAPES = {"vector": (6,), "patches": (322, 96), "text": (10,), "flat": (1, 2669)}
# Those of the genre experiments and of MusicRecommender with the published inputs; the others by hand: vectors of 6 values,
# patches of 322 × 96, texts of 10 words of 4 dimensions.
PARAMETERS = {
    "genres_allmusic": 23_482_110,
    "genres_discogs": 764_475,
    "genres_lastfm": 767_559,
    "genres_tagtraum": 759_592,
    "genres_allmusic_multimodal": (4 * 6 + 1) * 766,
    "genres_discogs_multimodal": (4 * 6 + 1) * 315,
    "genres_lastfm_multimodal": (4 * 6 + 1) * 327,
    "genres_tagtraum_multimodal": (4 * 6 + 1) * 296,
    "genres_discogs_singlemodal": 7 * 315,
    "dummy_audio": (4 * 96 + 1) * 64 + (4 * 64 + 1) * 128 + (38 * 128 + 1) * 3,
    "dummy_text_vsm": 7 * 128 + 129 * 128 + 129 * 3,
    "dummy_multimodal": 13 * 3,
    "dummy_text_w2v": 5 * 4 + (2 * 4 + 1) * 150 + (3 * 4 + 1) * 150 + 301 * 128 + 129 * 3,
    "cosine_multilabel_vector": 7 * 50,
    "cosine_multilabel_bi": 13 * 50,
    "cosine_multilabel_tri": 19 * 50,
    "logistic_multilabel_vector": 7 * 250,
    "logistic_multilabel_bi": 13 * 250,
    "logistic_multilabel_tri": 19 * 250,
    "cosine_text_multilabel": 7 * 2048 + 2049 * 2048 + 2049 * 50,
    "logistic_text_multilabel": 7 * 2048 + 2049 * 2048 + 2049 * 250,
    "rec_sparse": 7 * 2048 + 2049 * 2048 + 2049 * 200,
    "rec_dense": 7 * 2048 + 2049 * 2048 + 2049 * 200,
    "rec_multi": 13 * 512 + 513 * 200,
    "music_recommender": 7_845_576,
    "single-label-vector": 7 * 15,
    "single-label-multimodal": 13 * 15,
    "single-label-all": 25 * 15,
    "cosine_audio_multilabel": 6_570_802,
    "logistic_audio_multilabel": 352_890,
    "single-label-audio": 219_599,
}


def test_all_names_of_the_reference_are_there():
    assert set(NAMES) | {"music_recommender"} == set(registry.names())


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_every_experiment_builds_with_its_number_of_parameters(name):
    config = registry.load(name)
    flat = {key for key, value in config.inputs.items() if getattr(value, "architecture", "") == "flat"}
    shapes = {key: SHAPES["flat" if key in flat else value.kind] for key, value in config.inputs.items()}
    if name == "music_recommender":
        shapes = {"biography": (10_000,), "audio": (4_096,)}
    words = {key: np.zeros((5, 4), np.float32) for key, value in config.inputs.items() if value.kind == "text"}
    model = models.build_modalities(
        config.inputs, shapes, config.data.dim, network=config.network, output=config.output, embeddings=words
    )
    assert model.output_shape == (None, config.data.dim) and list(model.input) == list(config.inputs)
    assert model.count_params() == PARAMETERS[name]


def test_no_experiment_is_without_a_number_of_parameters():
    assert set(PARAMETERS) == set(registry.names())


def test_genre_experiments_are_those_of_the_reference():
    """Descriptors of files named 1x1 into one network, or four unit vectors into one layer; batches of 32."""
    for source in ("allmusic", "discogs", "lastfm", "tagtraum"):
        single, joined = registry.load(f"genres_{source}"), registry.load(f"genres_{source}_multimodal", list("abcd"))
        assert single.training.batch_size == joined.training.batch_size == 32
        (descriptors,) = single.inputs.values()
        assert (descriptors.kind, descriptors.count, descriptors.seconds) == ("patches", 1, 1)
        assert [value.setting for value in joined.inputs.values()] == list("abcd")
        assert all(value.l2 and not value.dense for value in joined.inputs.values())
        assert joined.network.dropout == 0.5 and not joined.network.hidden
    (alone,) = registry.load("genres_discogs_singlemodal", ["a"]).inputs.values()
    assert not alone.l2 and registry.load("genres_discogs_singlemodal").network.dropout == 0.5


def test_inputs_and_dropouts_of_the_reference():
    for name in ("logistic_multilabel_vector", "cosine_multilabel_vector"):
        assert not registry.load(name).inputs["features"].l2
    assert registry.load("logistic_multilabel_bi").inputs["first"].l2  # joined vectors are of length 1
    text = registry.load("dummy_text_w2v").inputs["text"]
    assert (text.words_dropout, text.dropout) == (0.5, 0.8)


def test_inputs_of_the_forms():
    counts = {"vector": 1, "bi": 2, "tri": 3}
    for form, count in counts.items():
        assert len(registry.load(f"cosine_multilabel_{form}").inputs) == count
    assert [len(registry.load(f"single-label-{n}").inputs) for n in ("vector", "multimodal", "all")] == [1, 2, 4]
    cosine, logistic = registry.load("cosine_multilabel_bi"), registry.load("logistic_multilabel_bi")
    assert (cosine.data.fact, cosine.data.dim, cosine.training.loss, cosine.data.normalize) == (
        "pmi",
        50,
        "cosine",
        True,
    )
    assert (logistic.data.fact, logistic.data.dim, logistic.output.activation) == ("class", 250, "sigmoid")


def test_settings_go_to_the_inputs_in_order_and_overrides_win():
    config = registry.load("rec_multi", ["a", "b"], overrides=["inputs.second.setting=c", "network.dropout=0.1"])
    assert [value.setting for value in config.inputs.values()] == ["a", "c"] and config.network.dropout == 0.1
    with pytest.raises(ConfigError, match=r"rec_sparse: 2 settings for 1 inputs \(features\)"):
        registry.load("rec_sparse", ["a", "b"])
    with pytest.raises(ConfigError, match=r"dummy_audio: 1 settings for 0 inputs \(none\)"):
        registry.load("dummy_audio", ["a"])


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("rec_spase", [], "rec_spase: no such experiment; did you mean rec_sparse"),
        ("_rec", [], "_rec: no such experiment"),
        ("rec_sparse", ["inputs.features.dens=[2]"], r"inputs\.features\.dens: unknown key; did you mean dense\?"),
        ("dummy_audio", ["inputs.audio.kind=sound"], "inputs.audio"),
        ("dummy_audio", ["inputs.audio.convolutions=[]"], "cnn has at least 1"),
        ("dummy_audio", ["inputs.audio.architecture=flat"], "architecture=flat has none"),
        ("dummy_text_w2v", ["inputs.text.input_norm=true"], "word ids cannot have it"),
        ("rec_sparse", ["network.dropout=1"], "network.dropout=1: input should be less than 1"),
        ("rec_sparse", ["model-training.loss=hinge"], "model-training.loss='hinge'"),
        ("rec_sparse", ["output.activation=softmax"], "model-training.loss=cosine needs output.activation"),
        ("rec_sparse", ["model-training.loss=binary_crossentropy"], "needs output.activation=sigmoid or softmax"),
        ("rec_sparse", ["data.fold=3"], r"data\.fold: unknown key"),
        ("rec_sparse", ["dropout=3"], "expected section.key=value"),
    ],
)
def test_mistakes_are_one_line_with_the_key(name, overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        registry.load(name, overrides=overrides)
    assert "\n" not in str(caught.value)


def test_files_of_ones_own_extend_each_other(tmp_path):
    base = {
        "evaluation": "regression",
        "data": {"dataset": "D", "fact": "x", "dim": 2},
        "inputs": {"a": {"kind": "vector"}, "b": {"kind": "vector"}},
    }
    (tmp_path / "base.json").write_text(json.dumps(base))
    child = {
        "extends": "base",
        "_note": "x",
        "data": {"dim": 3},
        "inputs": {"b": None},
        "model-training": {"epochs": 7},
    }
    (tmp_path / "child.json").write_text(json.dumps(child))
    config = registry.load(str(tmp_path / "child.json"))
    assert (
        config.data.dim == 3
        and config.data.dataset == "D"
        and list(config.inputs) == ["a"]
        and config.training.epochs == 7
    )
    (tmp_path / "base.json").write_text(json.dumps({**base, "extends": "child"}))
    with pytest.raises(ConfigError, match="extends itself"):
        registry.load(str(tmp_path / "child.json"))
    (tmp_path / "base.json").write_text("{")
    with pytest.raises(ConfigError, match=r"base\.json:1:2: not JSON"):
        registry.load(str(tmp_path / "child.json"))


def test_layers_are_counted_as_in_the_reference():
    """Layer 9 of its audio model is the three-unit output, layer 5 of its text model the second dropout's 128."""
    for name, shape, layer, width in (("dummy_audio", (322, 96), 9, 3), ("dummy_text_vsm", (50,), 5, 128)):
        config = registry.load(name)
        shapes = dict.fromkeys(config.inputs, shape)
        model = models.build_modalities(config.inputs, shapes, 3, network=config.network, output=config.output)
        assert job.hidden(model, layer).output_shape == (None, width)
        assert job.hidden(model, str(layer - 1)).output_shape != (None, 3)
        assert job.hidden(model, -1).output_shape == (None, 3)
