"""benchmarks.gamma: its quantities by hand."""

import numpy as np
import pytest

from benchmarks import gamma


def test_quantities_by_hand():
    # Classes: cello, violoncello (which means cello), flute, and one without a vector.
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [np.nan, np.nan]])
    given = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    meant = [[1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    scores = np.array([[0.9, 0.7, 0.2, 0.1], [0.1, 0.3, 0.2, 0.2], [0.1, 0.2, 0.3, 0.9], [0.9, 0.9, 0.9, 0.9]])
    found = gamma.quantities(scores, given, meant, vectors)
    # Top mistakes: violoncello of cello (.8, true), violoncello of flute (.6), one without a vector; the last has no tag.
    assert found == pytest.approx({"similarity": (0.8 + 0.6) / 2, "meant": 1 / 3, "rank": (1 + 3) / 2})


def test_table_has_a_row_per_kind():
    one = {"true": 0.4, "own": 0.2, "similarity": 0.5, "meant": 0.3, "rank": 10.0}
    rows = [{"vectors": None, "gamma": None, **one}, {"vectors": None, "gamma": None, **one, "rank": 12.0}]
    shown = gamma.table([*rows, {"vectors": "jamendo", "gamma": 0.1, **one}]).splitlines()
    assert shown[2].startswith("| none: binary cross-entropy |  | 0.400 ± 0.000 |") and "| 11.0 ± 1.4 |" in shown[2]
    assert shown[3].startswith("| jamendo | 0.1 | 0.400 | 0.200 |")
