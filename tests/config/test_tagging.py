"""orpheus.config: the reference's files load, mistakes are named with their cure."""

import json

import pytest

from orpheus import config
from orpheus.errors import ConfigError

REFERENCE = {
    "model": {"n_dense_units": 500, "n_filters": 16},
    "model-training": {
        "optimizer": {"name": "Adam", "learning_rate": 0.001},
        "batch_size": 64,
        "interleave_cycle_length": 2,
        "interleave_block_length": 1,
        "reduceLRoP_factor": None,
        "early_stop_min_delta": None,
        "reduceLRoP_min_delta": None,
        "early_stop_patience": None,
        "reduceLRoP_patience": None,
        "log_dir": "/home/someone/saved_models",
        "shuffle": False,
        "shuffle_buffer_size": None,
        "split": [80, 10, 10],
        "window_length": 15,
        "window_random": True,
    },
    "tags": {"top": 100, "with": [], "without": [], "merge": None},
    "tfrecords": {"n_mels": None, "n_tags": 155, "sample_rate": 16000},
}


def test_reference_config_loads_unchanged(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(REFERENCE))
    loaded = config.load(tmp_path)  # a folder, as the reference's commands give it
    assert loaded.model.n_filters == 16
    assert loaded.training.shuffle is False
    assert loaded.training.shuffle_buffer_size == 1000
    assert loaded.training.early_stop_patience is None
    assert loaded.tags.top == 100
    assert loaded.tags.merge == []
    assert config.parse(loaded.to_json()) == loaded


def test_reference_cyclic_config_loads():
    values = json.loads(json.dumps(REFERENCE))
    values["model-training"]["optimizer"]["max_learning_rate"] = 0.0014
    values["model-training"].update(iterations=2026, early_stop_patience=0, reduceLRoP_factor=0.0)
    values["model"]["n_clusters"] = 500
    loaded = config.parse(values)
    assert loaded.training.iterations == 2026
    assert loaded.training.optimizer.max_learning_rate == 0.0014


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model-training.batch_szie=3", r"model-training\.batch_szie: unknown key; did you mean batch_size\?"),
        ("modle.n_filters=3", r"modle: unknown key; did you mean model\?"),
        ("model-training.batch_size=0", r"model-training\.batch_size=0: input should be greater than 0"),
        ("model-training.batch_size=many", r"model-training\.batch_size='many': input should be a valid integer"),
        ("model-training.window_length=-1", r"window_length=-1: input should be greater than 0"),
        ("model-training.split=[0,100]", r"model-training: split=\[0.0, 100.0\] leaves nothing to train on"),
        ("model-training.schedule=one-cycle", "schedule=one-cycle needs optimizer.max_learning_rate"),
        ("model-training.optimizer.max_learning_rate=0.0001", "must be above"),
        ("model-training.mixed_precision=float8", "mixed_precision='float8'"),
        ("batch_size=3", "--set batch_size=3: expected section.key=value"),
        ("model.dropout=1", "model.dropout=1: input should be less than 1"),
    ],
)
def test_mistakes_are_one_line_with_key_and_cure(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config.parse(REFERENCE, overrides=[override])
    assert "\n" not in str(caught.value)


def test_overrides_are_json_where_they_parse():
    loaded = config.parse(
        REFERENCE, overrides=['tags.with=["a","b"]', "model-training.log_dir=out", "model-training.jit=true"]
    )
    assert loaded.tags.with_ == ["a", "b"]
    assert loaded.training.log_dir == "out"
    assert loaded.training.jit is True


def test_missing_and_malformed_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no such config"):
        config.load(tmp_path / "none.json")
    (tmp_path / "config.json").write_text('"model": {}')
    with pytest.raises(ConfigError, match="not JSON"):
        config.load(tmp_path)
