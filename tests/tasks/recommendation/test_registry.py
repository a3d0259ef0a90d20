"""Experiment files: every one loads and builds; extending, settings and overrides; mistakes are named."""

import json

import numpy as np
import pytest

from orpheus import models
from orpheus.errors import ConfigError
from orpheus.tasks.recommendation import registry

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
SHAPES = {"vector": (6,), "patches": (322, 96), "text": (10,)}


def test_all_names_of_the_reference_are_there():
    assert set(NAMES) | {"music_recommender"} == set(registry.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_builds(name):
    config = registry.load(name)
    shapes = {key: SHAPES[value.kind] for key, value in config.inputs.items()}
    words = {key: np.zeros((5, 4), np.float32) for key, value in config.inputs.items() if value.kind == "text"}
    if name == "cosine_audio_multilabel":  # 7 million weights: the check of sizes is what counts here
        config = registry.load(name, overrides=["data.dim=5"])
    model = models.build_modalities(
        config.inputs, shapes, config.data.dim, network=config.network, output=config.output, embeddings=words
    )
    assert model.output_shape == (None, config.data.dim) and list(model.input) == list(config.inputs)


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
