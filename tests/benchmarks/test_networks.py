"""benchmarks.networks: multiply-adds by hand, and a tiny run."""

import json

import keras
import numpy as np
import pytest

from benchmarks import networks
from orpheus.models.networks.attention import attention


def test_multiply_adds_by_hand():
    layers = keras.layers
    audio = keras.Input((8, 6))
    x = layers.Conv1D(5, 3, padding="same")(audio)  # 8 steps of 3 · 6 → 5
    x = layers.Reshape((8, 5, 1))(x)
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)  # 4 × 3 positions of 3 · 3 → 4
    x = layers.Reshape((4, 12))(x)
    x = attention(x, "a", heads=2, dropout=0.0, seed=0)  # four dense layers; products and sums over 4 × 4 steps
    x = layers.Dense(7)(layers.Flatten()(x))
    expected = 8 * 3 * 6 * 5 + 4 * 3 * 9 * 4 + 4 * (4 * 12 * 12) + 2 * (4 * 4 * 12) + 48 * 7
    assert networks.multiply_adds(keras.Model(audio, x)) == expected


def test_networks_by_name(capsys):
    assert networks.chosen(["crnn", "waveform"]) == ["waveform", "crnn"]
    assert networks.main(["--networks", "fc"]) == 2
    assert "--networks fc: no such network; available are waveform" in capsys.readouterr().err


def test_line_of_the_table():
    one = networks.Measured(2.0, 1_500_000, 2_500_000_000, [3.0, 1.0, 2.0], [40.0], (0.5, 0.025), 1_250_000_000)
    expected = "| fcn | 2 s | 1.50 M | 2.5 G | 2 (1 to 3) windows/s, 4 s of audio/s | 40 windows/s, 80 s of audio/s | 15 / 0.75 | 1.2 GB |"
    assert networks.line("fcn", one) == expected
    assert networks.HEADING.splitlines()[0].count("|") == expected.count("|")


def test_table_of_accuracy():
    rows = [{"steps": n, "clips": 160, "macro": {"roc_auc": 0.5 + n / 100, "pr_auc": 0.25}} for n in (10, 20)]
    shown = networks.accuracy_table({"fcn": rows, "crnn": rows[:1]}).splitlines()
    assert shown[2:] == ["| fcn | 15 | 1.5 | 0.650 ± 0.071 | 0.250 ± 0.000 |", "| crnn | 10 | 1 | 0.600 | 0.250 |"]


@pytest.mark.slow
def test_equal_time_of_processors(demo):
    found = {seconds: networks._trained("fcn", str(demo / "mel"), seconds, 0) for seconds in (0.01, 1.5)}
    assert found[0.01]["steps"] <= 2 < found[1.5]["steps"]
    assert found[1.5]["clips"] > 0 and set(found[1.5]["macro"]) >= {"roc_auc", "pr_auc"}


@pytest.mark.slow
def test_a_tiny_run(tmp_path, capsys):
    options = ["--networks", "fcn", "--repeats", "1", "--batch-size", "2", "--seconds", "1"]
    assert networks.main([*options, "--json", str(tmp_path / "n.json")]) == 0
    assert "| fcn | 0.992 s | 0.45 M |" in capsys.readouterr().out
    found = json.loads((tmp_path / "n.json").read_text())["networks"]["fcn"]
    assert found["parameters"] == 447_732 and np.isfinite(found["steps"]).all() and found["multiply_adds"] > 1e7
