"""orpheus.runs.schemas: a run's files hold what they should, and a key that is asked for and lacks is an error of the file."""

import json
import pickle

import pytest

from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.runs.schemas import checked


def test_a_missing_key_is_named_with_its_path(tmp_path):
    (tmp_path / "run.json").write_text('{"task": "retrieval", "vectors": {"name": "x"}, "list": [{"a": 1}]}')
    about = Run(tmp_path).read("run")
    assert about["vectors"]["name"] == "x" and about.get("epochs", 3) == 3 and "epochs" not in about
    with pytest.raises(DataError, match=r"run\.json: no key 'epochs'; the run is of an older orpheus or"):
        about["epochs"]
    with pytest.raises(DataError, match=r"run\.json: no key 'vectors\.sha256'"):
        about["vectors"]["sha256"]
    with pytest.raises(DataError, match=r"no key 'list\.b'"):
        about["list"][0]["b"]
    assert json.loads(json.dumps(about)) == about == pickle.loads(pickle.dumps(about))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("run", [], r"^run\.json: it holds something else"),
        ("run", {"epochs": "5"}, "'epochs' is '5'; it should be a valid integer"),
        ("run", {"epochs": 0}, "'epochs' is 0"),
        ("run", {"split": {"train": "a.tfrecord"}}, r"'split\.train' is 'a\.tfrecord'; it should be a valid list"),
        ("run", {"tfrecords_dir": 3}, "'tfrecords_dir' is 3"),
        ("classes", {"classes": "rock"}, "'classes' is 'rock'"),
        ("history", [{"epoch": 1, "loss": "low"}], r"'0\.loss' is 'low'"),
        ("history", {"loss": [1]}, "it should be a valid list"),
        ("metrics", {"test": [1]}, "'test' is"),
        ("songs", {"a": ["artist"]}, "'a' is"),
    ],
)
def test_other_types_are_refused(name, value, message):
    with pytest.raises(DataError, match=message):
        checked(name, value, f"{name}.json")


GOOD = {
    "history": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}],
    "best": 0.1,
    "best_epoch": 2,
    "callbacks": [{"wait": 1}],
}


def test_a_checkpoint_state():
    assert checked("state", GOOD, "state.json") == GOOD
    assert checked("state", {**GOOD, "best": None, "best_epoch": None}, "state.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"history": "long"}, "'history' is 'long'; it should be a valid list"),
        ({"history": GOOD["history"][1:]}, "'history' must have a row for each epoch"),
        ({"best_epoch": 7}, "'best_epoch' is 7 of 2 epochs"),
        ({"best_checkpoint": "../../other"}, r"'best_checkpoint' is '\.\./\.\./other'"),
        ({"best": None}, "'best_epoch' is 2 of 2 epochs, with 'best' None"),
        ({"callbacks": [{"wait": "x"}]}, r"'callbacks\.0\.wait' is 'x'"),
    ],
)
def test_a_checkpoint_state_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        checked("state", {**GOOD, **change}, "state.json")


def test_a_state_of_another_epoch_than_its_folder_is_refused(tmp_path):
    folder = tmp_path / "checkpoints" / "epoch-0002"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(GOOD))
    assert Run(tmp_path).state(folder) == GOOD
    folder = folder.rename(folder.with_name("epoch-0003"))
    with pytest.raises(DataError, match=r"epoch-0003/state\.json: is of 2 epochs; put back its own"):
        Run(tmp_path).state(folder)
