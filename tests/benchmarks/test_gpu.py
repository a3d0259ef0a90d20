"""benchmarks.gpu: what it asks of machines without a GPU, its arithmetic, and its machinery on a processor split in two."""

import numpy as np
import pytest

from benchmarks import common, gpu, run


def test_without_a_gpu_it_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr(common, "in_process", lambda function, kind: [])
    assert run.main(["--gpu"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "TensorFlow sees no GPU on this machine" in error
    with pytest.raises(SystemExit) as stop:
        run.main(["pipeline", "--gpu"])
    assert stop.value.code == 2 and "leave pipeline out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "gpus, expected", [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_numbers_of_gpus(gpus, expected):
    assert gpu.counts(gpus) == expected


def test_waiting_by_hand():
    """100 examples/s where 400 could be had: of a step three quarters are waiting."""
    assert gpu.waiting([90, 100, 500], [400, 300, 500]) == 0.75
    assert gpu.waiting([101], [100]) == 0
    case = gpu.Case("waveform", "float32, XLA", 2, "x", 64, 10, 3)
    row = gpu.row(case, gpu.Result([90, 100, 500], [400, 300, 500], 12_340_000_000), "NVIDIA X")
    assert (row.case, row.candidate, row.values) == ("waveform, 2 x NVIDIA X, 64 each", "float32, XLA", (90, 100, 500))
    assert row.note == "75 % of a step waiting for input, peak 12.3 GB a GPU"


@pytest.mark.slow
def test_it_runs_on_a_processor_split_in_two():
    arguments = ["--quick", "--device", "CPU", "--formats", "log-mel-spectrogram", "--modes", "float32", "bfloat16"]
    rows = gpu.measure(gpu.parser().parse_args(arguments))
    assert [(row.candidate, row.case.split(", ")[1]) for row in rows] == [
        ("float32", "1 x CPU"),
        ("bfloat16", "1 x CPU"),
        ("float32", "2 x CPU"),
        ("bfloat16", "2 x CPU"),
    ]
    assert all(np.isfinite(row.values).all() and row.values[0] > 0 for row in rows)
    assert all("waiting for input" in row.note and "peak" not in row.note for row in rows)
