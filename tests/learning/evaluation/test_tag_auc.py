"""TagAUC against keras.metrics.AUC, plain counting and its own life cycle."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.evaluation.tag_auc import TagAUC


def _data(rows=400, classes=6, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, classes)) < np.linspace(0.05, 0.6, classes)
    predictions = 1 / (1 + np.exp(-(rng.standard_normal((rows, classes)) + targets - 1)))
    predictions = predictions if decimals is None else predictions.round(decimals)
    return targets.astype(np.float32), predictions.astype(np.float32)


def _keras(targets, predictions, average, thresholds, weight=None):
    values = []
    for curve in ("ROC", "PR"):
        metric = keras.metrics.AUC(num_thresholds=thresholds, curve=curve, multi_label=average == "macro")
        metric.update_state(targets, predictions, weight)
        values.append(float(metric.result()))
    return values


@pytest.mark.parametrize("thresholds", [2, 3, 50, 200])
@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("decimals", [None, 1], ids=["smooth", "on the thresholds"])
def test_equals_keras(thresholds, average, decimals):
    targets, predictions = _data(decimals=decimals)
    metric = TagAUC(6, num_thresholds=thresholds, average=average)
    for part in np.array_split(np.arange(len(targets)), 7):
        metric.update_state(targets[part], predictions[part])
    result = metric.result()
    assert list(result) == ["ROC-AUC", "PR-AUC"]
    np.testing.assert_allclose(
        [float(v) for v in result.values()], _keras(targets, predictions, average, thresholds), atol=1e-6
    )


def test_sample_weight():
    targets, predictions = _data()
    weight = np.random.default_rng(1).integers(0, 4, len(targets)).astype(np.float32)
    results = []
    for shape in (weight, weight[:, None], np.repeat(weight[:, None], 6, axis=1)):
        metric = TagAUC(6)
        metric.update_state(targets, predictions, shape)
        results.append([float(v) for v in metric.result().values()])
    repeated = TagAUC(6)
    repeated.update_state(*(np.repeat(a, weight.astype(int), axis=0) for a in (targets, predictions)))
    expected = [float(v) for v in repeated.result().values()]
    np.testing.assert_allclose(results, [expected] * 3, atol=1e-7)


def test_per_label_and_confusion_against_a_loop():
    targets, predictions = _data(rows=60, classes=3, decimals=2)
    metric = TagAUC(3, num_thresholds=11)
    metric.update_state(targets, predictions)
    counts = metric.confusion()
    assert counts.shape == (4, 11, 3)
    assert counts.dtype == np.int64
    # float32, as predictions are: 0.3 lies on the threshold 0.3 and not above it.
    for t, threshold in enumerate(metric.thresholds.astype(np.float32)):
        above, true = predictions > threshold, targets > 0
        expected = [(above & true), (~above & ~true), (above & ~true), (~above & true)]
        np.testing.assert_array_equal(counts[:, t], [e.sum(axis=0) for e in expected], err_msg=str(threshold))
    for c in range(3):
        column = _keras(targets[:, [c]], predictions[:, [c]], "micro", 11)
        np.testing.assert_allclose([metric.per_label()["roc"][c], metric.per_label()["pr"][c]], column, atol=1e-6)


def test_one_kind_of_label_is_left_out():
    targets, predictions = _data()
    with_poison = np.concatenate([targets, np.zeros((400, 1)), np.ones((400, 1))], axis=1)
    metric, clean = TagAUC(8, average="macro"), TagAUC(6, average="macro")
    metric.update_state(with_poison, np.concatenate([predictions, predictions[:, :2]], axis=1))
    clean.update_state(targets, predictions)
    for name, value in clean.result().items():
        assert float(metric.result()[name]) == pytest.approx(float(value), abs=1e-7)
    labels = metric.per_label()
    assert np.isnan(labels["roc"][6:]).all() and np.isnan(labels["pr"][6:]).all()
    assert not np.isnan(labels["roc"][:6]).any()
    empty = TagAUC(2)
    assert [float(v) for v in empty.result().values()] == [0, 0]


def test_counts_beyond_float32():
    metric = TagAUC(1, num_thresholds=3)
    metric.update_state([[1.0]], [[0.9]], float(2**24))
    for _ in range(3):
        metric.update_state([[1.0]], [[0.9]])
    assert metric.confusion()[0, 0, 0] == 2**24 + 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_cast_first(dtype):
    targets, predictions = _data()
    half = tf.cast(predictions, dtype)
    metric, reference = TagAUC(6), TagAUC(6)
    metric.update_state(tf.cast(targets, dtype), half)
    reference.update_state(targets, tf.cast(half, "float32"))
    np.testing.assert_array_equal(metric.confusion(), reference.confusion())


def test_out_of_range_and_empty_batches():
    metric = TagAUC(2, num_thresholds=5)
    metric.update_state(np.zeros((0, 2)), np.zeros((0, 2)))
    metric.update_state([[1, 0], [0, 1]], [[1.5, -0.5], [np.nan, 1.0]])
    counts = metric.confusion()
    assert counts.sum(axis=0).tolist() == [[2, 2]] * 5
    assert counts[:, -1].tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]  # nothing lies above 1 + ε


@pytest.mark.parametrize("jit", [False, True])
def test_inside_graphs(jit):
    targets, predictions = _data()
    metric, eager = TagAUC(6, average="macro"), TagAUC(6, average="macro")
    step = tf.function(metric.update_state, jit_compile=jit)
    step(tf.constant(targets), tf.constant(predictions))
    eager.update_state(targets, predictions)
    np.testing.assert_array_equal(metric.confusion(), eager.confusion())
    metric.reset_state()
    assert metric.confusion().sum() == 0


@pytest.mark.slow
@pytest.mark.pins
def test_fit_and_evaluate_name_both_results(tmp_path):
    targets, predictions = _data()
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[TagAUC(6, num_thresholds=20)])
    data = (predictions, targets)
    history = model.fit(*data, validation_data=data, epochs=1, verbose=0).history
    assert set(history) == {"loss", "ROC-AUC", "PR-AUC", "val_loss", "val_ROC-AUC", "val_PR-AUC"}
    values = model.evaluate(*data, return_dict=True, verbose=0)
    assert values["ROC-AUC"] == pytest.approx(history["val_ROC-AUC"][0], abs=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").evaluate(*data, return_dict=True, verbose=0)
    assert again == pytest.approx(values, abs=1e-6)


def test_config_round_trip_and_bad_arguments():
    metric = TagAUC(7, num_thresholds=31, average="macro", name="tags")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(again, TagAUC)
    assert again.get_config() == metric.get_config()
    for wrong, key in (
        ({"n_classes": 0}, "n_classes"),
        ({"num_thresholds": 1}, "num_thresholds"),
        ({"average": "mean"}, "average"),
    ):
        with pytest.raises(ConfigError, match=key):
            TagAUC(**{"n_classes": 2, **wrong})


@pytest.mark.slow
def test_two_replicas_count_like_one():
    code = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from orpheus.learning.evaluation.tag_auc import TagAUC
        rng = np.random.default_rng(0)
        targets = (rng.random((64, 5)) < 0.3).astype("float32")
        predictions = rng.random((64, 5)).astype("float32")
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            metric = TagAUC(5)
        @tf.function
        def step(batch):
            strategy.run(metric.update_state, args=batch)
        data = tf.data.Dataset.from_tensor_slices((targets, predictions)).batch(24)  # uneven last batch
        for batch in strategy.experimental_distribute_dataset(data):
            step(batch)
        one = TagAUC(5)
        one.update_state(targets, predictions)
        assert (metric.confusion() == one.confusion()).all()
        for name, value in one.result().items():
            assert abs(float(metric.result()[name]) - float(value)) < 1e-7, name
        assert abs(metric.per_label()["pr"] - one.per_label()["pr"]).max() < 1e-12
        print("equal")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=200)
    assert done.stdout.endswith("equal\n"), done.stderr[-2000:]
