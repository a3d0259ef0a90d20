"""Experiments on data folders: lazy reading, training by the engine, resume, layers as features, refusals."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import scipy.sparse

from orpheus import experiment, predict, train
from orpheus.config import experiment as config_experiment
from orpheus.data.items import layout, tables
from orpheus.data.items.examples import Examples, PatchRows, Rows, WordIds
from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError
from orpheus.runs import finding
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import demo as listening_demo
from orpheus.tasks.recommendation import job, run_table
from orpheus.tasks.recommendation.data import open_data, reopen_data

ROOT = Path(__file__).resolve().parents[3]
TINY = [
    "data.dataset=DEMO",
    f"data.dim={listening_demo.DIM}",
    "model-training.epochs=2",
    "model-training.tensorboard=none",
]
SMALL = [*TINY, "inputs.biography.dense=[8]", "network.hidden=[8]"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return listening_demo.write(tmp_path_factory.mktemp("demo"), users=60, artists=90)


@pytest.fixture(scope="module")
def trained(demo):
    """Two epochs of a small multimodal experiment, predicted and evaluated."""
    sets = [part for one in SMALL for part in ("--set", one)]
    arguments = ["music_recommender", "bio", "audio-emb", *sets, "--data-dir", str(demo.root), "--bootstrap", "20"]
    assert experiment.main(arguments) == 0
    return Run.open(demo.root / "models" / "model_1")


def small(**more):
    return config_experiment.parse(
        {
            "evaluation": "recommendation",
            "data": {"dataset": "DEMO", "fact": "als", "dim": listening_demo.DIM, **more.pop("data", {})},
            "inputs": {"bio": {"kind": "vector", "setting": "bio"}},
            **more,
        }
    )


# Reading


def test_rows_of_memory_mapped_and_sparse_tables_are_the_same(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    matrix[np.abs(matrix) < 0.7] = 0
    ids = [f"i{n}" for n in range(20)]
    for name, value in (("a.npy", matrix), ("a.npz", scipy.sparse.csr_matrix(matrix))):
        tables.save_matrix(tmp_path / name, value)
        table = tables.load(tmp_path / name, ids)
        wanted = ["i7", "i3", "i19"]
        reader = Rows(table, wanted)
        np.testing.assert_array_equal(reader(np.array([2, 0]), 0), matrix[[19, 7]])
        unit = Rows(table, wanted, unit=True)(np.arange(3), 0)
        expected = matrix[[7, 3, 19]] / np.linalg.norm(matrix[[7, 3, 19]], axis=1, keepdims=True)
        np.testing.assert_allclose(unit, expected, atol=1e-6)
    assert isinstance(tables.load(tmp_path / "a.npy", ids).matrix, np.memmap)


def test_a_matrix_is_never_read_whole(tmp_path):
    """A table that counts what is asked of it: a batch reads its rows, and nothing else does."""
    asked = []

    class Counting(np.ndarray):
        def __getitem__(self, key):
            asked.append(len(key))
            return np.asarray(super().__getitem__(key))

    matrix = np.arange(1000 * 3, dtype=np.float32).reshape(1000, 3).view(Counting)
    ids = tuple(map(str, range(1000)))
    examples = Examples(
        ids, {"x": Rows(Table("t", ids, matrix), ids)}, Rows(Table("y", ids, np.eye(1000, 2, dtype=np.float32)), ids)
    )
    batches = iter(examples.training(8, seed=0, first_epoch=0))
    for _ in range(5):
        next(batches)
    assert max(asked) == 8 and sum(asked) < 200


def test_epochs_see_every_example_in_an_order_of_seed_and_epoch():
    ids = tuple(map(str, range(10)))
    column = np.arange(10, dtype=np.float32)[:, None]
    examples = Examples(ids, {"x": Rows(Table("t", ids, column), ids)}, Rows(Table("t", ids, column), ids))

    def epochs(seed, first, count):
        batches = iter(examples.training(4, seed=seed, first_epoch=first))
        return [np.concatenate([next(batches)[0]["x"].numpy()[:, 0] for _ in range(3)]) for _ in range(count)]

    one = epochs(5, 0, 3)
    assert all(set(epoch) == set(range(10)) and len(epoch) == 12 for epoch in one)
    assert not np.array_equal(one[0], one[1])
    np.testing.assert_array_equal(epochs(5, 2, 1)[0], one[2])  # what a resumed run sees
    assert not np.array_equal(epochs(6, 0, 1)[0], one[0])
    assert examples.validation(4).cardinality() == 3
    valid = [x["x"].numpy() for x, _ in examples.validation(4)]
    np.testing.assert_array_equal(np.concatenate(valid), column)


class _Patches:
    def __init__(self, rows):
        self.owners = rows

    def positions(self, ids):
        return [[n for n, owner in enumerate(self.owners) if owner == item] for item in ids]

    def rows(self, positions):
        return np.asarray(positions, np.float32)[:, None, None]


def test_every_patch_is_an_example_and_outputs_are_means_over_them():
    ids = ("b", "a")
    rows = PatchRows(_Patches(["a", "a", "b", "b"]), ids)
    vectors = Rows(Table("v", ids, np.array([[10.0], [20.0]])), ids)
    examples = Examples(ids, {"p": rows, "v": vectors}, None, parts=2)
    inputs, _ = examples.read(np.arange(4))
    np.testing.assert_array_equal(inputs["p"].ravel(), [2, 3, 0, 1])
    np.testing.assert_array_equal(inputs["v"].ravel(), [10, 10, 20, 20])
    tensors = {"p": keras.Input((1, 1), name="p"), "v": keras.Input((1,), name="v")}
    total = keras.layers.Add()([keras.layers.Flatten()(tensors["p"]), tensors["v"]])
    for size in (1, 3, 4):
        out = job.outputs(keras.Model(tensors, total), examples, batch_size=size)
        np.testing.assert_array_equal(out.ravel(), [12.5, 20.5])


def test_bad_values_are_named_with_item_and_file():
    ids = ("a", "b")
    with pytest.raises(DataError, match=r"features\.npy: item 'b' has a value that is not finite"):
        Rows(Table("features.npy", ids, np.array([[0.0], [np.nan]])), ids)(np.array([0, 1]), 0)
    with pytest.raises(DataError, match="word id 7, but there are vectors of 5 words"):
        WordIds(Table("w", ids, np.array([[0], [7]])), ids, 5)(np.array([0, 1]), 0)
    with pytest.raises(DataError, match=r"t: c not there \(1 of 1"):
        Rows(Table("t", ids, np.zeros((2, 1))), ("c",))


# Opening


def test_open_data_knows_shapes_and_sets(demo):
    data = open_data(demo.root, small())
    assert data.shapes == {"bio": (tables.features(demo, "train", "bio").dim,)} and data.dim == listening_demo.DIM
    batch = next(iter(job.job(data, data.config, epochs=1).train(0)))
    assert batch[0]["bio"].shape == (32, *data.shapes["bio"]) and batch[1].shape == (32, listening_demo.DIM)


def test_a_val_set_is_drawn_where_the_folder_has_none(demo, tmp_path):
    folder = layout.DataFolder(tmp_path, "DEMO")
    for subset in ("train", "test"):
        layout.write_ids(folder.items_index(subset), demo.items(subset))
        tables.save_matrix(
            folder.targets(subset, "als", listening_demo.DIM),
            np.asarray(tables.targets(demo, subset, "als", listening_demo.DIM).matrix),
        )
        tables.save_sets(folder, "bio", {subset: tables.features(demo, subset, "bio").matrix})
    data = open_data(tmp_path, small(data={"val_share": 0.25}), seed=3)
    assert len(data.splits.val) == round(0.25 * len(demo.items("train")))
    item = data.splits.val[4]
    row = data.examples("val", targets=True).targets(np.array([4]), 0)[0]
    np.testing.assert_array_equal(row, tables.targets(demo, "train", "als", listening_demo.DIM).dense([item])[0])


def broken(demo, tmp_path):
    """A copy of the demo's folder to damage."""
    import shutil

    for name in ("splits", "train_data", "factors"):
        shutil.copytree(demo.root / name, tmp_path / name)
    return layout.DataFolder(tmp_path, "DEMO")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.targets("val", "als", listening_demo.DIM).unlink(), r"y_val_als_16_DEMO\.npy: no such file"),
        (lambda f: f.new_features("train", "bio", sparse=True).unlink(), "X_train_bio_DEMO.npy: neither .npy nor .npz"),
        (
            lambda f: tables.save_matrix(f.new_features("val", "bio", sparse=True), scipy.sparse.eye(36, 3).tocsr()),
            r"shape \(36, 3\), expected",
        ),
        (
            lambda f: tables.save_matrix(
                f.targets("train", "als", listening_demo.DIM), np.zeros((5, listening_demo.DIM))
            ),
            "y_train_als_16_DEMO.npy: 5 rows, but its index has",
        ),
        (
            lambda f: layout.write_ids(f.factors_index("als", listening_demo.DIM), f.items("test")),
            "leak of items_index_test_DEMO.tsv: item",
        ),
        (
            lambda f: layout.write_ids(f.items_index("train"), [*f.items("train")[1:], f.items("test")[0]]),
            "leak into items_index_train",
        ),
    ],
)
def test_bad_folders_are_refused_before_training(demo, tmp_path, damage, message):
    folder = broken(demo, tmp_path)
    damage(folder)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path, small())


def test_what_the_config_lacks_is_named(demo):
    with pytest.raises(ConfigError, match=r"inputs\.bio\.setting is missing; train features here: audio-emb, bio"):
        open_data(demo.root, small(inputs={"bio": {"kind": "vector"}}))
    with pytest.raises(ConfigError, match=r"data\.dim is missing"):
        open_data(demo.root, small(data={"dim": None}))


def test_a_value_that_is_not_finite_stops_the_training_by_its_name(demo, tmp_path, capsys):
    folder = broken(demo, tmp_path)
    path = folder.features("train", "audio-emb")
    rows = np.array(np.load(path))
    rows[3, 5] = np.inf
    np.save(path, rows)
    settings = [
        "--data-dir",
        str(tmp_path),
        "--set",
        "data.dataset=DEMO",
        "--set",
        f"data.dim={listening_demo.DIM}",
        "--only",
        "train",
    ]
    code = experiment.main(["rec_dense", "audio-emb", *settings, "--set", "inputs.features.dense=[4]", "--epochs", "1"])
    assert code == 2
    item = folder.items("train")[3]
    assert f"X_train_audio-emb_DEMO.npy: item {item!r} has a value that is not finite" in capsys.readouterr().err


# The whole way


def test_run_table_and_scores(trained, demo):
    about, metrics = trained.read("run"), trained.read("metrics")["test"]
    assert about["task"] == "recommendation" and about["settings"] == ["bio", "audio-emb"]
    assert set(metrics["mean"]) >= {"MAP@500", "P@5", "nDCG@10", "ROC"} and "R2" in metrics
    low, high = metrics["intervals"]["MAP@500"]
    assert low <= metrics["mean"]["MAP@500"] <= high
    predicted = np.load(demo.predictions / "pred_test_model_1_DEMO.npy")
    assert predicted.shape == (len(demo.items("test")), listening_demo.DIM)
    header, *rows = (demo.models / "trained_models.tsv").read_text().splitlines()
    row = dict(zip(header.split("\t"), rows[0].split("\t"), strict=True))
    assert row["id"] == "model_1" and row["settings"] == "bio audio-emb" and row["epochs"] == "2"
    assert json.loads(row["config"])["network"]["hidden"] == [8] and "MAP@500" in json.loads(row["scores"])
    assert "model_1  music_recommender" in run_table.show(demo.models)
    with np.load(trained.folder / "per_user_test.npz") as per_user:
        assert np.nanmean(per_user["MAP@500"]) == pytest.approx(metrics["mean"]["MAP@500"], abs=1e-6)
    assert metrics["hashes"] == about["hashes"] and row["split"] == about["hashes"]["split"][:8]
    assert metrics["intervals"]["R2"][0] < metrics["R2"] < metrics["intervals"]["R2"][1]


def test_tables_of_different_splits_stand_apart(trained, demo, tmp_path):
    for number, split in ((1, "a" * 64), (2, "b" * 64)):
        copy = Run(tmp_path / f"model_{number}")
        shutil.copytree(trained.folder, copy.folder, ignore=shutil.ignore_patterns("checkpoints", "*.keras"))
        copy.write("run", {**trained.read("run"), "hashes": {"split": split, "records": "r"}})
    apart = run_table.show(tmp_path).split("\n\n")
    assert [part.split(":")[0] for part in apart[:2]] == ["DEMO, split aaaaaaaa", "DEMO, split bbbbbbbb"]
    assert "model_2" not in apart[0] and "model_1" not in apart[1]
    together = run_table.show(tmp_path, different_splits=True)
    assert "model_1" in together and "model_2" in together and "\n\n" not in together


@pytest.mark.slow
def test_resuming_equals_training_in_one_go(trained, demo, tmp_path):
    settings = ["music_recommender", "bio", "audio-emb", *[part for one in SMALL for part in ("--set", one)]]
    more = ["--only", "train", "--data-dir", str(demo.root)]
    assert experiment.main([*settings, *more, "--epochs", "1"]) == 0
    again = finding.find_run(run_table.trained(demo.models)[-1]["id"], demo.root)
    assert train.main(["--resume", str(again.folder), "--epochs", "2"]) == 0
    for one, other in zip(_weights(trained), _weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


def _weights(run):
    model = load_model(run)
    model.load_weights(run.checkpoints()[-1][1] / "model.weights.h5")
    return model.get_weights()


@pytest.mark.slow
def test_a_hidden_layer_becomes_features_of_the_next_experiment(trained, demo):
    for subset in layout.SETS:
        assert predict.main([str(trained.folder), "-l", "hidden_1", "-s", subset]) == 0
    setting = "model_1-pred_hidden_1"
    table = tables.features(demo, "test", setting, dim=8)
    data = reopen_data(trained)
    model = load_model(trained)
    inner = keras.Model(model.input, model.get_layer("hidden_1").output)
    inputs, items = next(data.examples("test").batches(100))
    np.testing.assert_allclose(table.matrix[items], inner(inputs), atol=1e-5)
    name = f"items_index_test_{setting}_DEMO.tsv"
    assert layout.read_ids(demo.train_data / name) == demo.items("test")
    settings = [part for one in [*TINY, "network.hidden=[]"] for part in ("--set", one)]
    assert (
        experiment.main(["rec_multi", setting, "audio-emb", *settings, "--data-dir", str(demo.root), "--only", "train"])
        == 0
    )
    index = [layer.name for layer in model.layers].index("hidden_1")
    assert job.hidden(model, str(index)).output_shape == (None, 8)


def test_layers_and_runs_that_do_not_exist(trained, capsys):
    assert predict.main([str(trained.folder), "-l", "99"]) == 2
    assert "layer '99': not in the model, which has 0 biography" in capsys.readouterr().err
    assert predict.main([str(trained.folder), "-p"]) == 2
    assert "-p: the inputs of" in capsys.readouterr().err
    assert predict.main([str(trained.folder), "song.mp3"]) == 2
    assert "orpheus.recommend --new" in capsys.readouterr().err
    assert experiment.main(["--resume", "model_77", "--data-dir", str(trained.folder.parent.parent)]) == 2
    assert "no such run folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_nine_songs_from_spectrograms_to_the_multimodal_experiment(shared, tmp_path):
    """The walk of the reference's README, each command in a process of its own."""
    import shutil

    for name in ("splits", "index", "text", "audio"):
        shutil.copytree(shared / "super" / name, tmp_path / name)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    data = ["--data-dir", str(tmp_path)]
    steps = [
        ["tools.patches", "cqt", *data, "--dataset", "SUPER", "--keep-silent"],
        ["tools.text", "tfidf", *data, "--dataset", "SUPER", "--setting", "bow"],
        ["tools.text", "word2vec", *data, "--dataset", "SUPER", "--setting", "w2v"],
        ["orpheus.experiment", "dummy_audio", *data],
        ["orpheus.experiment", "dummy_text_vsm", "bow", *data],
        ["orpheus.experiment", "dummy_text_w2v", "w2v", *data, "--epochs", "3"],
        *[["orpheus.predict", "model_1", "-p", "-l", "9", "-s", one, *data] for one in layout.SETS],
        *[["orpheus.predict", "model_2", "-l", "5", "-s", one, *data] for one in layout.SETS],
        ["orpheus.experiment", "dummy_multimodal", "model_1-pred_9", "model_2-pred_5", *data],
        ["orpheus.evaluate", "model_4", "--split", "valid", *data],
    ]
    for step in steps:
        done = subprocess.run([sys.executable, "-m", *step], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{step}: {done.stderr}"
    with h5py.File(tmp_path / "patches" / "patches_train_SUPER_1x15.hdf5") as file:
        assert file["features"].shape == (3, 1, 322, 96)
    assert np.load(tmp_path / "train_data" / "X_test_model_2-pred_5_SUPER.npy").shape == (3, 128)
    assert (tmp_path / "models" / "model_4" / "confusion_test.png").stat().st_size > 1000
    assert len((tmp_path / "models" / "trained_models.tsv").read_text().splitlines()) == 5


MIRRORED = """
import json, sys
import tensorflow as tf
replicas, root, built_in = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "fit"
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
from orpheus.learning.engine import fit
from orpheus.runs.folder import Run
from orpheus.tasks.recommendation import data as task, job, registry
off = ["inputs.biography.dense=[8]", "inputs.biography.dropout=0", "network.dropout=0", "network.hidden=[8]"]
settings = ["data.dataset=DEMO", "data.dim=16", "model-training.optimizer.name=SGD", *off]
config = registry.load("music_recommender", ["bio", "audio-emb"], overrides=settings)
data = task.open_data(root, config)
on = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])
run = Run.create_numbered(root + "/models", "mirrored", command=["test"])
run.write("run", {})
fit.train(job.job(data, config, epochs=2, synchronized=replicas > 1), run, config.training, fit.Options(epochs=2, built_in=built_in), on)
print(json.dumps(run.read("history")[-1]))
"""


@pytest.mark.slow
def test_two_replicas_equal_one_with_named_inputs(demo):
    """Without dropout, whose masks differ per replica; both loops; float32 sums in another order."""
    histories = []
    for replicas, loop in ((1, "loop"), (2, "loop"), (2, "fit")):
        line = [sys.executable, "-c", MIRRORED, str(replicas), str(demo.root), loop]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        histories.append(json.loads(done.stdout.splitlines()[-1]))
    for other in histories[1:]:
        assert other == pytest.approx(histories[0], rel=1e-5)
