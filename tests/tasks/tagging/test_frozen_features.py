"""A frozen network's outputs, kept: the run is that of the network asked anew, and is refused where it would not be."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from orpheus import config as config_module
from orpheus.config.sections import Training
from orpheus.learning.engine import devices, fit
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import data as tagging_data
from orpheus.tasks.tagging import fine_tuning, frozen_features
from orpheus.tasks.tagging import job as tagging_job

VALUES = {
    "model": {"n_filters": 1, "n_dense_units": 8},
    "model-training": {
        "batch_size": 4,
        "window_length": 1.5,
        "window_random": False,
        "split": [60, 20, 20],
        "shuffle_buffer_size": 20,
        "tensorboard": "none",
    },
    "tags": {"top": 5},
}


@pytest.fixture
def made(demo):
    def make(**changes):
        config = config_module.parse({**VALUES, **changes})
        data = tagging_data.open_data("log-mel-spectrogram", config, tagging_data.Choices(demo / "mel"))
        job = fine_tuning.frozen(tagging_job.job(data, config, epochs=2, seed=3))
        return config, data, job

    return make


def trained(job, folder, epochs=2):
    run = Run(folder) if folder.exists() else Run.begin(folder, command=["test"])
    model = fit.train(job, run, Training(tensorboard="none"), fit.Options(epochs=epochs), devices.strategy())
    return run, model


def weights(model):
    return {weight.path: np.asarray(weight) for weight in model.weights if "seed" not in weight.path}


def test_kept_outputs_are_those_of_the_batches(made):
    config, data, job = made()
    kept = frozen_features.kept(job, data, config)
    assert [spec.shape[1:] for spec in kept.valid.element_spec] == [(1024,), (5,)]  # of `pooled`: dropout is behind it
    end = kept.build()
    whole = kept.whole(end)
    assert whole.input_shape == (None, *data.catalogue.spec.window_shape(1.5))
    sides = ((kept.train(1).take(2), job.train(1).take(2)), (kept.valid, job.valid))
    for (features, truth), (audio, targets) in (pair for side in sides for pair in zip(*side, strict=True)):
        np.testing.assert_array_equal(truth, targets)
        np.testing.assert_allclose(end(features), whole(audio), atol=1e-6)
    assert np.ptp(end(features), axis=0).max() > 1e-3  # of different clips


@pytest.mark.slow
def test_a_run_is_the_run_that_asks_the_network_anew(made, tmp_path):
    config, data, job = made()
    anew, first = trained(job, tmp_path / "anew")
    trained(frozen_features.kept(job, data, config), tmp_path / "kept", epochs=1)
    run, whole = trained(frozen_features.kept(job, data, config), tmp_path / "kept")  # goes on
    for path, value in weights(first).items():
        np.testing.assert_allclose(weights(whole)[path], value, atol=1e-5, err_msg=path)
        np.testing.assert_allclose(weights(load_model(run))[path], weights(load_model(anew))[path], atol=1e-5)
    for mine, theirs in zip(run.read("history"), anew.read("history"), strict=True):
        for name, value in theirs.items():
            assert mine[name] == pytest.approx(value, abs=1e-3), name  # areas are of 200 thresholds
    start = job.build().get_layer("tags").get_weights()[0]
    assert np.abs(whole.get_layer("tags").get_weights()[0] - start).max() > 1e-3  # it has learned


@pytest.mark.parametrize(
    ("section", "values", "why"),
    [
        ("model-training", {**VALUES["model-training"], "window_random": True}, "window_random=false takes the middle"),
        ("augmentation", {"mixup_alpha": 0.2}, "augmentation changes its windows"),
    ],
)
def test_what_is_random_is_not_kept(made, caplog, section, values, why):
    caplog.set_level("INFO", "orpheus")
    config, data, job = made(**{section: values})
    assert frozen_features.kept(job, data, config) is job
    assert why in caplog.text


def test_dropout_within_the_network_keeps_nothing(made, caplog):
    caplog.set_level("INFO", "orpheus")
    config, data, job = made()
    audio = keras.Input((47, 32))
    dropped = keras.layers.Dropout(0.1)(keras.layers.Flatten()(audio))
    embedding = keras.layers.Dense(3, name="embedding")(dropped)
    dropping_model = keras.Model(audio, keras.layers.Dense(5, name="tags")(embedding))
    dropping = replace(job, build=lambda: dropping_model)
    assert frozen_features.kept(dropping, data, config) is dropping
    assert "model.dropout=0 turns off" in caplog.text


def test_numbers_are_the_rows_of_the_batches(made):
    _, data, job = made()
    truth = data.records_of("train").truth()
    for (_, targets), rows in zip(job.train(1).take(7), job.numbers(1).take(7), strict=True):
        np.testing.assert_array_equal(truth[rows.numpy()], targets)
