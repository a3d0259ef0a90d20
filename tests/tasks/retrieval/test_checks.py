"""What a retrieval run refuses: data that is no longer what it was, songs in two splits; and two replicas equal one."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orpheus import evaluate, retrieve, train
from orpheus.config import retrieval as config_retrieval
from orpheus.data.items import tables
from orpheus.data.records import format
from orpheus.data.tags import sources
from orpheus.data.tags.categories import read_categories
from orpheus.errors import ConfigError, DataError
from orpheus.models import towers
from orpheus.tasks.retrieval import data as retrieval_data
from orpheus.tasks.retrieval import joining
from tests.tasks.retrieval.test_data import plant, the_run

ROOT = Path(__file__).parents[3]


def one_line(main, arguments, capsys) -> str:
    """The message of a command that ends with code 2."""
    assert main(list(map(str, arguments))) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with merged tags, evaluated; its folder is the first of runs/ beside its data."""
    folder = tmp_path_factory.mktemp("trained")
    merge = ["--set", 'tags.merge=[["angry", "calm"], ["new", "old"]]']
    assert train.main([*plant(folder, count=48), *merge, "--epochs", "1", "--steps-per-epoch", "1"]) == 0
    assert evaluate.main([str(the_run(folder).folder), "--bootstrap", "0"]) == 0
    return folder


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_data_only(tmp_path, trained, capsys, caplog):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    run_json = the_run(tmp_path).folder / "run.json"
    run_json.write_text(run_json.read_text().replace(str(trained), str(tmp_path)))
    run, path = the_run(tmp_path), tmp_path / "factors.npz"
    whole = tables.read(path)
    resume = ["--resume", run.folder, "--epochs", 2]

    tables.write(path, tables.Table("f", whole.ids, whole.matrix + 1))
    assert "other values than those it was trained on" in one_line(train.main, resume, capsys)
    assert evaluate.main([str(run.folder), "--bootstrap", "0"]) == 0 and "other values" in caplog.text
    tables.write(path, tables.Table("f", whole.ids, whole.matrix[:, :5]))
    for main, line in ((train.main, resume), (evaluate.main, [run.folder])):
        assert "was trained on factors of shape (12,), and these have (5,)" in one_line(main, line, capsys)
    tables.write(path, tables.Table("f", whole.ids[9:], whole.matrix[9:]))
    for main, line in ((train.main, resume), (evaluate.main, [run.folder])):
        assert "songs are not there any more; put them back" in one_line(main, line, capsys)
    assert evaluate.main([str(run.folder), "--bootstrap", "0", "--different-splits"]) == 0
    # Rows in another order are the same factors.
    tables.write(tmp_path / "moved.npz", tables.Table("f", whole.ids[::-1], whole.matrix[::-1]))
    assert train.main([*map(str, resume), "--factors", str(tmp_path / "moved.npz"), "--steps-per-epoch", "1"]) == 0
    assert "uses none; leave it out" in one_line(evaluate.main, [run.folder, "--tfrecords-dir", "x"], capsys)


@pytest.mark.parametrize(
    "valid, message",
    [((20, 36), "song 'song 20' is in train and in valid"), ((30, 30), None), ((47, 48), "in valid and in test")],
)
def test_a_song_is_on_one_side_of_the_split(tmp_path, capsys, valid, message):
    arguments = plant(tmp_path, count=48)
    split = json.loads((tmp_path / "split.json").read_text())
    split["valid"] = [f"song {number}" for number in range(*valid)]
    if message is None:
        split["train"].append("song 0")
        message = "song 'song 0' is twice in train"
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert message in one_line(train.main, arguments, capsys) and not (tmp_path / "runs").exists()


def test_a_validation_that_measures_nothing_is_said(tmp_path, capsys, caplog):
    arguments = plant(tmp_path, count=48)
    split = json.loads((tmp_path / "split.json").read_text())
    tagged = {row["id"] for row in map(json.loads, (tmp_path / "tags.jsonl").read_text().splitlines()) if row["tags"]}
    alone = [song for song in split["valid"] if song in tagged][:1]
    (tmp_path / "split.json").write_text(json.dumps({**split, "valid": alone}))
    assert train.main([*arguments, "--dry-run"]) == 0
    assert "no validation: of no tag of training" in caplog.text
    stopping = ["--set", "model-training.early_stop_patience=2"]
    assert "watch the validation" in one_line(train.main, [*arguments, *stopping], capsys)


def test_a_part_that_joining_empties_is_refused_at_once(tmp_path, capsys):
    arguments = plant(tmp_path, count=48)
    split = json.loads((tmp_path / "split.json").read_text())
    table = tables.read(tmp_path / "factors.npz")
    seen = tuple(song for song in table.ids if song not in set(split["test"]))
    tables.write(tmp_path / "factors.npz", tables.Table("f", seen, table.dense(seen)))
    message = one_line(train.main, arguments, capsys)
    assert "has factors of none of the" in message and "tagged test songs" in message and "als --all" in message
    (tmp_path / "split.json").write_text(json.dumps({**split, "valid": ["nobody"]}))
    assert "none of the 1 valid songs has any of the 6 tags" in one_line(train.main, arguments, capsys)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "split.json").write_text(json.dumps({**split, "valid": [], "test": []}))
    assert train.main([*arguments, "--dry-run"]) == 0


def test_factors_are_rows_of_numbers(tmp_path, capsys):
    arguments = plant(tmp_path, count=48)
    ids = np.array([f"song {number}" for number in range(48)])
    np.savez(tmp_path / "factors.npz", ids=ids, matrix=np.ones((48, 3, 2)))
    assert "shape (48, 3, 2), expected a row of numbers" in one_line(train.main, arguments, capsys)
    np.savez(tmp_path / "factors.npz", ids=ids, matrix=np.full((48, 3), 1e300))
    assert "not finite" in one_line(train.main, arguments, capsys)


def test_merged_tags_survive_in_a_run(trained):
    data = retrieval_data.reopen_data(the_run(trained))
    assert set(data.targets.classes) == {"angry", "piano", "drums", "new"}
    given = {row["id"]: set(row["tags"]) for row in map(json.loads, (trained / "tags.jsonl").read_text().splitlines())}
    column = data.targets.classes.index("angry")
    expected = [bool(given[song] & {"angry", "calm"}) for song in data.ids]
    assert data.labels[:, column].tolist() == expected and data.hashes() == the_run(trained).read("run")["hashes"]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"retrieval": {"batch_size": 8}, "model-training": {"batch_size": 16}}, r"retrieval\.batch_size=8: .* too"),
        ({"retrieval": {"lr": 1}, "model-training": {"optimizer": {"learning_rate": 2}}}, r"retrieval\.lr=1: .* too"),
        ({"retrieval": {"lr": 1}, "model-training": {"optimizer": "Adam"}}, "model-training.optimizer='Adam'"),
        ({"retrieval": {"lr": 1}, "model-training": 5}, "model-training=5"),
        ({"retrieval": {"lr": 1}, "training": {}}, "did you mean model-training"),
    ],
)
def test_the_references_names_do_not_hide_others(values, message):
    with pytest.raises(ConfigError, match=message):
        config_retrieval.parse(values)


def test_an_optimizer_by_name_keeps_the_papers_rate():
    config = config_retrieval.parse({"retrieval": {"n_epochs": 2}, "model-training": {"optimizer": {"name": "SGD"}}})
    assert config.training.optimizer.learning_rate == 1e-4 and config.training.n_epochs == 2


@pytest.mark.parametrize(
    "frontend, shape, message",
    [
        ("short-chunk", (16000,), r"takes log-mel-spectrogram records, .* choose one of waveform, sample-level"),
        (
            "log-mel-spectrogram",
            (16000,),
            r"takes log-mel-spectrogram records, .* choose one of waveform, sample-level",
        ),
        ("waveform", (173, 128), "takes waveform records, .* choose one of log-mel-spectrogram, musicnn"),
        ("waveform", (19679,), "input_length: .* 19679 samples, and retrieval.frontend=waveform takes at least 19680"),
        ("log-mel-spectrogram", (7, 32), "takes at least 8 frames"),
        ("log-mel-spectrogram", (8, 2), "n_mels=2: .* at least 3"),
        ("gru", (173, 128), "no such network"),
    ],
)
def test_a_frontend_that_cannot_take_the_windows(frontend, shape, message):
    with pytest.raises(ConfigError, match=message):
        towers.build_towers({"audio": shape}, 4, frontend=frontend)


def test_no_run_folder_for_a_model_that_cannot_be_built(tmp_path, demo, capsys):
    arguments = plant(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["retrieval"] = {"input_type": "spec", "input_length": 2000}
    catalogue = format.open_folder(str(demo / "wave"), format="waveform", wanted={})
    row = catalogue.rows(catalogue.shards)[0]
    (tmp_path / "v.txt").write_text("".join(f"{tag.split()[0].lower()} 1 2\n" for tag in row.tags[0]))
    (tmp_path / "config.json").write_text(json.dumps(config))
    line = ["waveform", *arguments[1:3], "--tfrecords-dir", demo / "wave", "--word-vectors", tmp_path / "v.txt"]
    assert "frontend=short-chunk: takes log-mel" in one_line(train.main, line, capsys)
    assert not (tmp_path / "runs").exists()


def test_tags_of_the_database_that_was_asked_for(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"id": "a", "tags_0": ["x"], "tags_1": ["y"]}\n')
    choices = retrieval_data.Choices("v", tags=[path], database=1)
    assert joining.tags_of_songs(choices, None)[0] == {"a": ["y"]} == sources.read([path], database=1)[0]


def test_a_category_that_is_given_twice(tmp_path):
    (tmp_path / "c.tsv").write_text("calm\tmood\ncalm\tmood\ncalm\tgenre\n")
    with pytest.raises(DataError, match=r"c\.tsv:3: 'calm' is of category 'mood' above"):
        read_categories(tmp_path / "c.tsv")


def test_only_runs_that_differ_by_seed_become_one_row(tmp_path, trained, capsys, caplog):
    folders = [str(tmp_path / name) for name in "abc"]
    for folder in folders:
        shutil.copytree(the_run(trained).folder, folder)
    settings = json.loads(Path(folders[1], "run.json").read_text())
    Path(folders[1], "run.json").write_text(json.dumps({**settings, "seed": 1}))
    config = json.loads(Path(folders[2], "config.json").read_text())
    config["retrieval"]["margin"] = 0.2
    Path(folders[2], "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert retrieve.main(["runs", *folders, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["runs"], row["differs by"]) for row in rows] == [
        ("2", "retrieval.margin=0.4"),
        ("1", "retrieval.margin=0.2"),
    ]
    assert retrieve.main(["runs", *folders[:2], "--format", "json"]) == 0
    assert "differs by" not in json.loads(capsys.readouterr().out)[0]
    with caplog.at_level(logging.WARNING):
        metrics = json.loads(Path(folders[0], "metrics.json").read_text())
        metrics["test"]["per_class"].pop("piano")
        Path(folders[0], "metrics.json").write_text(json.dumps(metrics))
        assert retrieve.main(["runs", *folders[:2], "--format", "json"]) == 0
    assert "means are over different tags" in caplog.text


MIRRORED = """
import json, sys
from pathlib import Path
import tensorflow as tf
replicas, folder, built_in = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "fit"
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
from orpheus.config import retrieval as config_retrieval
from orpheus.learning.engine import fit
from orpheus.runs.folder import Run
from orpheus.tasks.retrieval import data as task
from orpheus.tasks.retrieval.job import job as make_job
values = json.loads((folder / "config.json").read_text())
config = config_retrieval.parse(values)
choices = task.Choices(folder / "vectors.txt", factors=folder / "factors.npz", tags=[folder / "tags.jsonl"], split=folder / "split.json")
data = task.open_data("features", config, choices)
on = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])
run = Run(folder / f"run-{replicas}-{sys.argv[3]}")
run.folder.mkdir()
job = make_job(data, config, epochs=2, seed=0, synchronized=True)
fit.train(job, run, config.training, fit.Options(epochs=2, built_in=built_in), on)
print(json.dumps(run.read("history")[-1]))
"""

OWN_SHARE = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from orpheus.learning.losses.triplet import TripletLoss, WithoutNegative
on = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
outputs = rng.normal(size=(8, 2, 4)).astype(np.float32)
outputs /= np.linalg.norm(outputs, axis=-1, keepdims=True)
# Anchor 0 everywhere. Of the first share all songs have it, and of the second but one none: over the whole batch every
# anchor would find a negative, within its share only the second's.
hot = np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32)
targets = np.stack([np.zeros(8), rng.random(8), hot], axis=1).astype(np.float32)
with on.scope():
    counted, loss = WithoutNegative(), TripletLoss(0.4)
batches = on.experimental_distribute_dataset(tf.data.Dataset.from_tensors((targets, outputs)))

@tf.function
def step(y, x):
    def own(y, x):
        counted.update_state(y, x)
        return loss.call(y, x)
    return on.experimental_local_results(on.run(own, args=(y, x)))

splits = step(*next(iter(batches)))
assert [split.shape[0] for split in splits] == [4, 4], splits
assert float(counted.result()) == 4
assert not splits[0].numpy().any() and splits[1].numpy().any()
alone = loss.call(targets[4:], outputs[4:])
np.testing.assert_allclose(splits[1].numpy(), alone.numpy(), atol=1e-6)
near = (outputs[4:, 0] * outputs[4:, 1]).sum(-1)
allowed = [np.maximum(0, 0.4 - n + outputs[4 + i, 0] @ outputs[5:, 1].T) for i, n in enumerate(near)]
assert all(np.isclose(value, row, atol=1e-6).any() for value, row in zip(splits[1].numpy(), allowed))
assert loss.call(targets, outputs).numpy()[:4].any(), "the whole batch as one share has negatives for them"
"""


def in_a_process_of_its_own(code, *arguments) -> str:
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_two_replicas_equal_one(tmp_path):
    """Given negatives, normalisation over all replicas, no dropout (masks differ per replica); sums in another order."""
    plant(tmp_path, options={"is_balanced": True, "negatives": "all", "dropout": 0, "triplets_per_epoch": 320})
    config = json.loads((tmp_path / "config.json").read_text())
    config["model-training"]["optimizer"] = {"name": "SGD", "learning_rate": 0.1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    histories = [
        json.loads(in_a_process_of_its_own(MIRRORED, replicas, tmp_path, loop).splitlines()[-1])
        for replicas, loop in ((1, "loop"), (2, "loop"), (2, "fit"))
    ]
    assert histories[0]["val_MAP"] > 0.5 and histories[0]["loss"] < 0.35
    for other in histories[1:]:
        assert other["loss"] == pytest.approx(histories[0]["loss"], rel=1e-4)
        assert other["val_MAP"] == pytest.approx(histories[0]["val_MAP"], abs=0.01)


@pytest.mark.slow
def test_a_replica_draws_negatives_from_its_own_share():
    in_a_process_of_its_own(OWN_SHARE)
