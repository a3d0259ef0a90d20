"""benchmarks.differences: what it calls the reference's figures are those of Keras' metric, and of a set's order."""

import keras
import numpy as np
import pytest

from benchmarks import differences


def test_a_class_without_positives_counts_as_zero_in_keras_metric():
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 10)) < 0.3).astype(np.float32)
    scores = np.clip(0.3 * truth + 0.7 * rng.random(truth.shape), 0, 1).astype(np.float32)
    truth, scores = differences._without(truth, scores)
    assert (truth.sum(axis=0) == 0).tolist() == [True, False, False, False, False] * 2
    metric = keras.metrics.AUC(curve="PR", multi_label=True, num_labels=10)
    metric.update_state(truth, scores)
    theirs, ours = differences._macro(truth, scores, zero=True), differences._macro(truth, scores)
    assert theirs == pytest.approx(float(metric.result()), abs=0.01)
    assert theirs == pytest.approx(0.8 * ours) and ours - theirs > 0.1


def test_the_order_of_a_set_is_another_one_in_the_next_process():
    names = [f"tag {number}" for number in range(40)]
    kept = [differences._same_columns(names, key) for key in range(3)]
    assert max(kept) < 0.5 and differences._same_columns(names, -1) == 1
