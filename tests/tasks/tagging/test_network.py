"""Which network a tagger has: defaults, refusals, and WORKSPACE.md's recipe for a new one, followed to the letter."""

import json

import keras
import numpy as np
import pytest

import orpheus
from orpheus import config as config_module
from orpheus import models, train
from orpheus.config.tagging import Config
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import ConfigError
from orpheus.models.networks import LOG_MEL, WAVEFORM, Frontend, blocks
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import data as tagging_data
from orpheus.tasks.tagging import fine_tuning, network
from orpheus.tasks.tagging import job as tagging_job
from tests.conftest import ROOT
from tests.untrained import make_run


def toy(audio, *, n_filters: int, n_dense_units: int, dropout: float, seed: int, synchronized: bool):
    """One convolution, and the mean over time."""
    x = blocks.normalised(blocks.channel(audio), synchronized=synchronized)
    x = blocks.block(x, n_filters, 3, "conv", pooling=4, seed=seed, synchronized=synchronized)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    return blocks.dense_embedding(x, n_dense_units, seed=seed, synchronized=synchronized)


@pytest.fixture
def with_toy(monkeypatch):
    monkeypatch.setitem(models.FRONTENDS, "toy", Frontend(LOG_MEL, toy, "nobody 2026", 4, 8, shortest=3, longest=80))


def parsed(**model) -> Config:
    return config_module.parse({"model": model, "model-training": {"window_length": 1.5}})


def test_old_configs_get_the_network_that_was_called_after_the_format():
    for format in (LOG_MEL, WAVEFORM):
        model = network.settled(parsed(), format).model
        assert (model.frontend, model.n_filters, model.n_dense_units) == (format, 16, 500)
    model = network.settled(parsed(n_filters=3, n_dense_units=7), LOG_MEL).model
    assert (model.n_filters, model.n_dense_units) == (3, 7)


def test_a_network_brings_its_papers_sizes():
    once = network.settled(parsed(frontend="crnn"), LOG_MEL)
    assert (once.model.frontend, once.model.n_filters, once.model.n_dense_units) == ("crnn", 64, 32)
    assert network.settled(once, LOG_MEL) == once
    assert network.settled(parsed(frontend="crnn", n_filters=8), LOG_MEL).model.n_filters == 8


@pytest.mark.parametrize(
    ("model", "spec", "message"),
    [
        (
            {"frontend": "crn"},
            AudioSpec(LOG_MEL),
            r"model\.frontend='crn': no such network; available are waveform, .*crnn",
        ),
        (
            {"frontend": "harmonic"},
            AudioSpec(LOG_MEL),
            r"model\.frontend=harmonic: takes waveform records.* choose one of log-mel",
        ),
        (
            {"frontend": "crnn"},
            AudioSpec(WAVEFORM),
            r"make others with tools\.preprocess log-mel-spectrogram, or choose one of waveform",
        ),
        (
            {"frontend": "harmonic"},
            AudioSpec(WAVEFORM, dtype="float32"),
            "stored as float32; re-run tools.preprocess without --dtype",
        ),
        ({"frontend": "spectrogram-transformer"}, AudioSpec(LOG_MEL, n_mels=12), "n_mels=12: .* at least 16"),
        (
            {"frontend": "toy"},
            AudioSpec(LOG_MEL, 8000, 512, 80),
            r"window_length=1\.5: the toy model needs at most 0\.80 s",
        ),
        (
            {"frontend": "toy"},
            AudioSpec(LOG_MEL, 800, 1024, 1024),
            r"window_length=1\.5: the toy model needs at least 3\.84 s",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(model, spec, message, with_toy):
    with pytest.raises(ConfigError, match=message):
        network.check(network.settled(parsed(**model), spec.format), spec)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_networks_that_standardise_take_samples_of_any_scale(dtype):
    config = config_module.parse({"model-training": {"window_length": 5}})
    network.check(network.settled(config, WAVEFORM), AudioSpec(WAVEFORM, dtype=dtype))


@pytest.mark.slow
def test_the_command_refuses_in_one_line(command, demo, tiny, tmp_path):
    shared = ["--config", tiny, "--tfrecords-dir", demo / "mel", "--set"]
    done = command("orpheus.train", LOG_MEL, *shared, "model.frontend=harmonic")
    assert done.returncode == 2 and not (tmp_path / "runs").exists()
    assert done.stderr.strip().splitlines()[-1].count("model.frontend=harmonic: takes waveform records") == 1


@pytest.mark.slow
def test_the_recipe_for_a_network(demo, tiny, with_toy, capsys):
    """WORKSPACE.md: one function, one line in the table, its parameter count; then it trains and tags."""
    recipe = (ROOT / "WORKSPACE.md").read_text(encoding="utf-8").split("- **a network**")[1].split("\n- **")[0]
    for word in ("models/networks/", "FRONTENDS", "SIZES", "configs/"):
        assert word in recipe
    convolution, normalisations = 1 * 4 * 9 + 4, 4 * (1 + 4 + 8)
    built = models.build("toy", (46, 32), 3)
    assert built.count_params() == convolution + normalisations + (4 * 8 + 8) + (8 * 3 + 3)

    options = [
        "--config",
        str(tiny),
        "--tfrecords-dir",
        str(demo / "mel"),
        "--epochs",
        "1",
        "--set",
        "model.frontend=toy",
    ]
    assert train.main([LOG_MEL, *options]) == 0
    place = capsys.readouterr().out.strip().splitlines()[-1]
    assert "/toy_" in place
    stored = json.loads((ROOT / place / "config.json").read_text())
    assert stored["model"]["frontend"] == "toy" and stored["model"]["n_filters"] == 1
    tagger = orpheus.load(place)
    song = sorted((demo / "data/audio").glob("*"))[0]
    scores = tagger.predict(song).mean
    assert scores.shape == (12,) and ((scores > 0) & (scores < 1)).all()
    assert train.main(["--resume", place, "--epochs", "2"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(models.FRONTENDS) - {LOG_MEL, WAVEFORM}))
def test_a_new_tagger_starts_from_one_of_its_network(name, demo, tiny, tmp_path):
    frontend = models.FRONTENDS[name]
    folder = demo / ("mel" if frontend.format == LOG_MEL else "wave")
    spec = AudioSpec.from_json(json.loads((folder / "spec.json").read_text()), "spec")
    if frontend.fewest_mels > spec.n_mels:
        pytest.skip(f"{name} takes no {spec.n_mels} mels")
    seconds = max(1.5, spec.seconds(frontend.shortest) + 0.5)
    origin = make_run(tmp_path / "origins", spec, network=name, seconds=seconds - 0.3)
    changes = [
        f"model.frontend={name}",
        "model.n_filters=4",
        f"model.dropout={0.1}",
        f"model-training.window_length={seconds}",
    ]
    config = config_module.load(tiny, overrides=changes)
    data = tagging_data.open_data(frontend.format, config, tagging_data.Choices(folder))
    job = tagging_job.job(data, config, epochs=1)
    model, old = fine_tuning.start(origin.folder, data, config).job(job).build(), load_model(origin)
    assert model.input_shape != old.input_shape or frontend.longest
    for layer in model.layers:
        if layer.name != "tags":
            for mine, theirs in zip(layer.get_weights(), old.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    other = config.model_copy(update={"model": config.model.model_copy(update={"frontend": None})})
    with pytest.raises(ConfigError, match=f"model.frontend={frontend.format}: --init-from .* has {name}"):
        fine_tuning.start(origin.folder, data, other)
