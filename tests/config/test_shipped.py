"""Every shipped config loads, builds its model and takes a training step."""

import json

import keras
import numpy as np
import pytest

from orpheus import config, models
from orpheus.config import joint, retrieval
from orpheus.data.audio.spec import AudioSpec
from orpheus.learning.engine import fit
from orpheus.learning.losses.joint import Layout
from orpheus.models import towers
from orpheus.tasks.joint import job as joint_job
from orpheus.tasks.retrieval.job import loss_of
from tests.conftest import ROOT

CONFIGS = sorted(
    path for path in (ROOT / "configs").glob("*.json") if not {"retrieval", "joint"} & set(path.stem.split("_"))
)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_and_steps(path):
    loaded = config.load(path)
    assert json.loads(path.read_text())["_comment"][0].startswith("python -m "), "the header says the command"
    frontend = loaded.model.frontend or ("waveform" if "waveform" in path.name else "log-mel-spectrogram")
    given = {key: value for key, value in loaded.tfrecords.model_dump().items() if value and key != "n_tags"}
    spec = AudioSpec(models.FRONTENDS[frontend].format, **given)
    models.networks.check_window(frontend, spec.window_shape(loaded.training.window_length))
    # A short window: the step is what is tested, not its speed.
    shape = spec.window_shape(min(loaded.training.window_length, 1.0))
    shape = (max(shape[0], models.minimum_window(frontend)), *shape[1:])
    model = models.build(
        frontend,
        shape,
        5,
        n_filters=loaded.model.n_filters,
        n_dense_units=loaded.model.n_dense_units,
        dropout=loaded.model.dropout,
    )
    optimizer = fit.optimizer(loaded.training, steps_per_epoch=10, epochs=10)
    model.compile(optimizer, keras.losses.BinaryCrossentropy(), jit_compile=False)
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(2, *shape)).astype(np.float32)
    before = [w.copy() for w in model.get_weights()]
    loss = model.train_on_batch(audio, rng.integers(0, 2, (2, 5)).astype(np.float32))
    assert np.isfinite(loss)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", models.FRONTENDS)
def test_every_network_has_a_config_of_its_papers_sizes(name):
    file = {"log-mel-spectrogram": "log-mel"}.get(name, name)
    loaded, network = config.load(ROOT / f"configs/{file}.json"), models.FRONTENDS[name]
    assert loaded.model.frontend in (name, None if name == network.format else name)
    assert (loaded.model.n_filters, loaded.model.n_dense_units) == (network.n_filters, network.n_dense_units)


RETRIEVAL = sorted((ROOT / "configs").glob("retrieval_*.json"))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem.endswith("cf") else [pytest.mark.slow])
        for path in RETRIEVAL
    ],
)
def test_retrieval_config_builds_and_steps(path):
    values, source = config.read(path)
    assert values["_comment"][0].startswith("python -m "), "the header says the command"
    loaded = retrieval.parse(values, source=source)
    section = loaded.retrieval
    shapes = {"audio": (20, 16)} if section.input_type != "cf" else {}
    shapes |= {"factors": (7,)} if section.input_type != "spec" else {}
    count = 1 if section.negatives == "batch" else 2
    # A small picture and few filters: the step is what is tested, not its speed.
    model = towers.build_towers(
        shapes,
        9,
        songs=count,
        frontend=section.frontend,
        n_filters=2,
        dimension=section.embedding,
        dropout=section.dropout,
        fusion=section.fusion,
        audio_tower=section.audio_tower,
    )
    optimizer = fit.optimizer(loaded.training, steps_per_epoch=10, epochs=10)
    model.compile(optimizer, loss_of(section), jit_compile=False)
    rng = np.random.default_rng(0)
    inputs = {
        "tag": rng.normal(size=(4, 9)),
        **{name: rng.normal(size=(4, count, *shape)) for name, shape in shapes.items()},
    }
    targets = np.concatenate([np.arange(4)[:, None], rng.random((4, 1)), np.eye(4)], axis=1)
    before = [w.copy() for w in model.get_weights()]
    loss = model.train_on_batch(
        {name: value.astype(np.float32) for name, value in inputs.items()}, targets.astype(np.float32)
    )
    assert np.isfinite(loss) and loss > 0
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem.endswith("hetrec") else [pytest.mark.slow])
        for path in sorted((ROOT / "configs").glob("joint*.json"))
    ],
)
def test_joint_config_builds_and_steps(path):
    values, source = config.read(path)
    assert values["_comment"][0].startswith("python -m "), "the header says the command"
    loaded = joint.parse(values, source=source)
    section, batch, tags = loaded.joint, 4, 5
    # A short window: the step is what is tested, not its speed.
    shapes = {name: {"audio": (128, 96), "text": (7,), "factors": (6,)}[name] for name in section.inputs}
    layout = Layout(section.embedding, batch, tags=True, listeners=True, classes=tags)
    rng = np.random.default_rng(0)
    columns = 3 if section.listeners == "factors" else None
    model = joint_job.build(
        section,
        shapes,
        rng.normal(size=(tags, 9)),
        layout,
        listener_columns=columns,
        prevalence=np.full(tags, 0.2),
    )
    loss = joint_job.loss_of(section, layout)
    model.compile(fit.optimizer(loaded.training, steps_per_epoch=10, epochs=10), loss, jit_compile=False)
    inputs = {name: rng.normal(size=(batch, *one.shape[1:])).astype(np.float32) for name, one in model.input.items()}
    inputs |= {"tag": np.arange(batch, dtype=np.int32), "present": np.ones(inputs["present"].shape, np.float32)}
    lacking = 1 - np.eye(batch)
    place = rng.random((batch, 1))
    hot = rng.integers(0, 2, (batch, tags))
    parts = [np.arange(batch)[:, None], place, lacking, place, lacking, np.ones((batch, 1)), hot]
    before = [w.copy() for w in model.get_weights()]
    value = model.train_on_batch(inputs, np.concatenate(parts, axis=1).astype(np.float32))
    assert np.isfinite(value) and value > 0
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
