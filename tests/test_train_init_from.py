"""Fine-tuning: which weights a new tagger starts from, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from orpheus import config as config_module
from orpheus import train
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.tagging import data as tagging_data
from orpheus.tasks.tagging import fine_tuning
from orpheus.tasks.tagging import job as tagging_job
from tests.untrained import make_run

VECTORS = {  # quiet is nearest to soft, then slow, then loud; flute to organ, slow, soft; happy has none
    "loud": (1, 0, 0),
    "soft": (-1, 0.1, 0),
    "slow": (-0.5, 1, 0),
    "organ": (0, 0, 1),
    "quiet": (-1, 0, 0),
    "flute": (-0.02, 0.1, 1),
}
OLD = ("loud", "soft", "slow", "organ", "polka")
NEW = ["quiet", "loud", "happy", "flute"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, demo):
    folder = tmp_path_factory.mktemp("init")
    values = {
        "model": {"frontend": "fcn", "n_filters": 4, "n_dense_units": 8},
        "model-training": {
            "batch_size": 4,
            "window_length": 1.5,
            "split": [60, 20, 20],
            "log_dir": str(folder / "runs"),
            "shuffle_buffer_size": 20,
            "tensorboard": "none",
        },
        "tags": {"top": 1, "with": NEW},
    }
    (folder / "config.json").write_text(json.dumps(values))
    lines = [f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()]
    (folder / "glove.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def origin(place, demo) -> Run:
    """Another window than the new run's, other classes."""
    spec = AudioSpec.from_json(json.loads((demo / "mel/spec.json").read_text()), "spec")
    return make_run(place / "origins", spec, classes=OLD, seconds=1.2, network="fcn")


@pytest.fixture(scope="module")
def new(place, demo):
    """(config, data) of the new run, whose classes are NEW."""
    config = config_module.load(place / "config.json")
    data = tagging_data.open_data("log-mel-spectrogram", config, tagging_data.Choices(demo / "mel"))
    targets = data.targets.__class__(tuple(NEW), {name: index for index, name in enumerate(NEW)})
    return config, tagging_data.TaggingData(data.catalogue, targets, data.database, data.split)


def test_weights_are_kept_and_rows_come_from_the_nearest(origin, new, place, caplog):
    config, data = new
    caplog.set_level("INFO", "orpheus")
    start = fine_tuning.start(origin.folder, data, config, embeddings=place / "glove.txt")
    assert start.rows == {
        "quiet": ["soft", "slow", "organ"],
        "loud": ["loud"],
        "happy": [],
        "flute": ["organ", "slow", "soft"],
    }
    assert "1 classes start fresh" in caplog.text
    assert "happy" in caplog.text.split("start fresh")[1]
    assert "flute starts from organ, slow, soft" in caplog.text

    job = tagging_job.job(data, config, epochs=1)
    fresh, model, old = job.build(), start.job(job).build(), load_model(origin)
    assert model.input_shape != old.input_shape
    compared = 0
    for layer in model.layers:
        if layer.name != "tags":
            for mine, theirs in zip(layer.get_weights(), old.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(mine, theirs)
                compared += 1
    assert compared > 20
    column = {name: index for index, name in enumerate(OLD)}
    for mine, theirs, first in zip(*(m.get_layer("tags").get_weights() for m in (model, old, fresh)), strict=True):
        np.testing.assert_array_equal(mine[..., 1], theirs[..., column["loud"]])
        np.testing.assert_array_equal(mine[..., 2], first[..., 2])
        nearest = [theirs[..., column[name]] for name in ("soft", "slow", "organ")]
        np.testing.assert_allclose(mine[..., 0], sum(nearest) / 3, rtol=1e-6)


def test_without_vectors_new_classes_start_fresh(origin, new, caplog):
    config, data = new
    start = fine_tuning.start(origin.folder, data, config)
    assert start.rows == {"quiet": [], "loud": ["loud"], "happy": [], "flute": []}
    assert "3 classes start fresh (no word vectors given" in caplog.text


def test_rows_by_name_only_where_they_are_asked_for(origin, new, caplog):
    config, data = new
    caplog.set_level("INFO", "orpheus")
    assert fine_tuning.start(origin.folder, data, config, by_name=False).rows["loud"] == []
    assert "not taken over (--init-rows by-name does): loud" in caplog.text
    about = origin.read("run")
    origin.write("run", {**about, "pretrained": {"name": "X"}})
    try:
        assert fine_tuning.start(origin.folder, data, config).rows["loud"] == []
        assert fine_tuning.start(origin.folder, data, config, by_name=True).rows["loud"] == ["loud"]
    finally:
        origin.write("run", about)


def test_a_frozen_network_learns_the_tags_only(origin, new):
    config, data = new
    job = fine_tuning.frozen(
        fine_tuning.start(origin.folder, data, config).job(tagging_job.job(data, config, epochs=1))
    )
    model, old = job.build(), load_model(origin)
    assert [weight.path for weight in model.trainable_weights] == ["tags/kernel", "tags/bias"]
    model.compile(loss=job.loss, optimizer="sgd")
    before = [weight.copy() for weight in model.get_layer("tags").get_weights()]
    audio, targets = next(iter(job.train(0)))
    model.train_on_batch(audio, targets)
    for layer in model.layers:
        same = (
            [
                np.array_equal(a, b)
                for a, b in zip(layer.get_weights(), old.get_layer(layer.name).get_weights(), strict=True)
            ]
            if layer.name != "tags"
            else []
        )
        assert all(same), f"{layer.name} has changed"
    assert not any(np.array_equal(a, b) for a, b in zip(before, model.get_layer("tags").get_weights(), strict=True))


def test_another_model_or_other_audio_is_refused(origin, new, place, demo):
    config, data = new

    def refused(error, match, *, spec=None, sizes=None, run=origin):
        changed = config.model_copy(update={"model": config.model.model_copy(update=sizes or {})})
        catalogue = data.catalogue.__class__(
            data.catalogue.folder, spec or data.catalogue.spec, data.catalogue.layout, data.catalogue.shards
        )
        other = tagging_data.TaggingData(catalogue, data.targets, data.database, data.split)
        with pytest.raises(error, match=match):
            fine_tuning.start(run.folder, other, changed)

    refused(ConfigError, r"model\.n_dense_units=9: --init-from .* has 8", sizes={"n_dense_units": 9})
    refused(ConfigError, r"model\.n_filters=2: ", sizes={"n_filters": 2})
    refused(ConfigError, "a log-mel-spectrogram model, and the records hold waveform", spec=AudioSpec("waveform", 8000))
    slower = AudioSpec("log-mel-spectrogram", 11025, n_mels=32)
    refused(ConfigError, "sample_rate=8000, the records have 11025", spec=slower)
    other = Run.create(place, "other", command=["test"])
    other.write("run", {"task": "retrieval"})
    refused(DataError, "--init-from takes a tagger's", run=other)
    unfinished = make_run(place / "unfinished", data.catalogue.spec, classes=OLD, network="fcn")
    unfinished.model_path.unlink()
    refused(DataError, "finish the training", run=unfinished)


def test_equal_sizes_and_other_layers_are_refused_before_the_training(origin, new):
    config, data = new
    start, job = fine_tuning.start(origin.folder, data, config), tagging_job.job(data, config, epochs=1)
    first = next(iter(start.weights))
    renamed = {("before" if name == first else name): weights for name, weights in start.weights.items()}
    with pytest.raises(ConfigError, match=rf"--init-from .*: layer {first} .* has no such layer; .* leave --init-from"):
        dataclasses.replace(start, weights=renamed).job(job)
    smaller = {**start.weights, first: [weight[:-1] for weight in start.weights[first]]}
    with pytest.raises(ConfigError, match=rf"layer {first} .* has one of weights \[\(.*\)\], not \["):
        dataclasses.replace(start, weights=smaller).job(job)
    assert start.job(job).build().count_params() == job.build().count_params()


def test_options_that_do_not_go_together(place, capsys):
    (place / "old").mkdir()
    (place / "old" / "run.json").write_text('{"task": "tagging"}')
    assert train.main(["--resume", str(place / "old"), "--init-from", "run"]) == 2
    assert "--init-from with --resume" in capsys.readouterr().err
    assert train.main(["waveform", "--config", str(place), "--tfrecords-dir", "d", "--init-embeddings-path", "v"]) == 2
    assert "--init-embeddings-path: says how" in capsys.readouterr().err
    assert train.main(["waveform", "--config", str(place), "--tfrecords-dir", "d", "--freeze"]) == 2
    assert "--freeze: says what becomes" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_starts_so_and_resumes_before_its_first_checkpoint(command, demo, place, origin, tmp_path):
    options = [
        "log-mel-spectrogram",
        "--config",
        place / "config.json",
        "--tfrecords-dir",
        demo / "mel",
        "--init-from",
        origin.folder,
        "--init-embeddings-path",
        place / "glove.txt",
        "--set",
        f"model-training.log_dir={tmp_path}",
    ]
    done = command("orpheus.train", *options, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    run = Run.open(done.stdout.strip().splitlines()[-1])
    described = run.read("run")["init_from"]
    assert described["rows"]["loud"] == ["loud"]
    assert described["embeddings"] == "glove.txt"
    before = run.model_path.read_bytes()
    weights = [w.copy() for w in load_model(run).get_weights()]

    # killed before the first checkpoint: the same weights are its start again
    import shutil

    shutil.rmtree(run.folder / "checkpoints")
    run.model_path.unlink()
    done = command("orpheus.train", "--resume", run.folder)
    assert done.returncode == 0, done.stderr
    for mine, theirs in zip(load_model(run).get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert before

    shutil.rmtree(run.folder / "checkpoints")
    described["sha256"] = "0" * 64
    run.write("run", {**run.read("run"), "init_from": described})
    done = command("orpheus.train", "--resume", run.folder)
    assert done.returncode == 2
    assert "not the model that" in done.stderr
