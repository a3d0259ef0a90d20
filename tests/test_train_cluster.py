"""orpheus.train on several workers and from a tf.data service, on the demo's records."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from orpheus.runs.folder import Run
from tests.conftest import ROOT
from tests.learning.engine.test_multi_worker import finish, start

# Without dropout, whose masks differ per replica; with momentum, since Adam divides rounding errors by their own size.
SETTINGS = ["model.dropout=0", 'model-training.optimizer={"name":"SGD","learning_rate":0.02,"momentum":0.9}']


def command(demo, tiny, log_dir, *more) -> list[str]:
    chosen = [*SETTINGS, f"model-training.log_dir={log_dir}"]
    line = ["orpheus.train", "log-mel-spectrogram", "--config", str(tiny), "--tfrecords-dir", str(demo / "mel")]
    return [*line, *(part for one in chosen for part in ("--set", one)), "--epochs", "1", *more]


def weights(run) -> np.ndarray:
    import h5py

    values: list[np.ndarray] = []
    with h5py.File(Run(run).checkpoints()[-1][1] / "model.weights.h5") as file:
        file.visititems(lambda name, item: values.append(item[()].ravel()) if hasattr(item, "shape") else None)
    return np.concatenate([value.astype(np.float64) for value in values])


def alone(*line) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, line)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_workers_read_their_own_shards_and_any_number_goes_on(demo, tiny, tmp_path):
    lines = [command(demo, tiny, tmp_path / name, "--strategy", "multi-worker") for name in ("chief", "other")]
    said = finish(start(lines))
    run = said[0][0].strip().splitlines()[-1]
    assert not (tmp_path / "other").exists() and not said[1][0], "the chief alone writes"
    assert json.loads((Run(run).folder / "run.json").read_text())["readers"] == 2
    copy = shutil.copytree(run, tmp_path / "copy")
    finish(start(["orpheus.train", "--resume", run, "--epochs", "3", "--strategy", "multi-worker"]))
    alone("orpheus.train", "--resume", copy, "--epochs", "3")
    np.testing.assert_allclose(weights(run), weights(copy), atol=1e-4)
    for a, b in zip(Run(run).read("history"), Run(copy).read("history"), strict=True):
        assert a == pytest.approx(b, abs=1e-3)


@pytest.mark.slow
def test_a_data_service_feeds_one_machine_and_several(demo, tiny, tmp_path):
    """Its batches are those of one machine, so the weights are too."""
    service = [sys.executable, "-m", "tools.data_service"]
    dispatcher = subprocess.Popen([*service, "dispatcher", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    option = dispatcher.stdout.readline().split()
    worker = subprocess.Popen(
        [*service, "worker", "--dispatcher", option[1].removeprefix("grpc://")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout.readline().startswith("makes batches")
        plain = weights(alone(*command(demo, tiny, tmp_path / "plain")))
        served = weights(alone(*command(demo, tiny, tmp_path / "served", *option)))
        np.testing.assert_array_equal(served, plain)
        both = start(command(demo, tiny, tmp_path / "both", "--strategy", "multi-worker", *option))
        run = finish(both)[0][0].strip().splitlines()[-1]
        np.testing.assert_allclose(weights(run), plain, atol=1e-4)
    finally:
        for process in (worker, dispatcher):
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--strategy", "mirrored"], "--strategy mirrored: is for several GPUs"),
        (["--strategy", "multi-worker"], "TF_CONFIG: not set"),
        (["--strategy", "multi-worker", "--dry-run"], "a dry run is of one machine"),
        (["--data-service", "grpc://localhost:1"], "--data-service grpc://localhost:1: nothing answers"),
        (["--data-service", "grpc://localhost:1", "--built-in"], "only the custom loop reads from it"),
    ],
)
def test_mistakes_are_one_line(demo, tiny, tmp_path, capsys, monkeypatch, more, message):
    from orpheus import train

    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert train.main(command(demo, tiny, tmp_path / "runs", *more)[1:]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
