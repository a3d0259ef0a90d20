"""orpheus.runs.models: a network that is damaged, foreign or hostile is one line that names the file."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.errors import DataError
from orpheus.runs.models import load_model, load_weights
from tests.untrained import make_run

SPEC = AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs"), SPEC)


@pytest.fixture
def run(made):
    """The run; its model is as it was again afterwards."""
    content = made.model_path.read_bytes()
    yield made
    made.model_path.write_bytes(content)


def change(path, *, drop=(), more=None, config=None, weights=None):
    """Write a .keras file anew with other members; checksums are right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name not in drop}
    if config is not None:
        values = json.loads(members["config.json"])
        config(values)
        members["config.json"] = json.dumps(values).encode()
    if weights is not None:
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as content:
            weights(content)
        members["model.weights.h5"] = file.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, **(more or {})}.items():
            archive.writestr(name, content)


def external(content):
    content.create_dataset("secret", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def dense(config):
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


HOSTILE = [
    ({"drop": ["config.json"]}, r"no config\.json in it; not a whole Keras model"),
    ({"drop": ["model.weights.h5"]}, r"no model\.weights\.h5 in it"),
    ({"more": {"assets/x": b"1"}}, "holds 'assets/x', which no model of orpheus does"),
    ({"more": {"config.json": b"[1, 2"}}, r"config\.json:1:6: not JSON"),
    ({"more": {"config.json": b"{}"}}, r"config\.json: no key 'class_name'"),
    ({"more": {"model.weights.h5": b"no weights"}}, r"model\.weights\.h5: not an HDF5 file"),
    ({"weights": external}, r"/secret is stored in '/etc/passwd'; refused"),
    ({"weights": lambda file: file.__setitem__("x", h5py.ExternalLink("/tmp/o.h5", "/a"))}, "/x is a link to /tmp/o"),
    ({"config": lambda c: dense(c)["config"].update(units=10**9)}, "a layer of units 1000000000, and the weights are"),
    ({"config": lambda c: dense(c).update(class_name="Unheard")}, "cannot be loaded as a Keras model"),
    ({"config": lambda c: dense(c).update(module="os", class_name="system")}, "cannot be loaded as a Keras model"),
    ({"config": lambda c: c["config"].pop("layers")}, "cannot be loaded as a Keras model"),
]


@pytest.mark.parametrize(("changes", "message"), HOSTILE, ids=[message for _, message in HOSTILE])
def test_a_hostile_model_is_one_line(run, changes, message):
    change(run.model_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        load_model(run)
    assert str(caught.value).startswith(str(run.model_path)) and len(str(caught.value)) <= 500


def test_a_flipped_byte_and_a_cut_are_one_line(run):
    content = run.model_path.read_bytes()
    for spoilt in (content[: len(content) // 2], content[:5000] + b"\xff" + content[5001:], b"", b"PK\3\4"):
        run.model_path.write_bytes(spoilt)
        with pytest.raises(DataError, match=r"model\.keras"):
            load_model(run)


def test_a_good_model_and_one_that_was_changed_in_nothing(run):
    before = load_model(run).get_weights()
    change(run.model_path)
    for one, other in zip(before, load_model(run).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_another_model_or_optimizer_are_refused(tmp_path):
    def model(units, optimizer):
        made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
        made.compile(optimizer, "mse")
        made.fit(np.zeros((4, 3)), np.zeros((4, units)), verbose=0)
        return made

    path = tmp_path / "model.weights.h5"
    one = model(2, "adam")
    one.save_weights(path)
    again = model(2, "adam")
    load_weights(again, path)
    np.testing.assert_array_equal(again.get_weights()[0], one.get_weights()[0])
    with pytest.raises(DataError, match="not the weights of this model"):
        load_weights(model(4, "adam"), path)
    with pytest.raises(DataError, match=r"not the weights of this model .*optimizer"):
        load_weights(model(2, "sgd"), path)
    with h5py.File(path, "a") as file:
        external(file)
    with pytest.raises(DataError, match="/secret is stored in '/etc/passwd'"):
        load_weights(again, path)
    with pytest.raises(DataError, match="no such file"):
        load_weights(again, tmp_path / "none.h5")
