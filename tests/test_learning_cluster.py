"""Several workers: their weights are one machine's, one writes, a lost one ends the others, a tf.data service feeds them."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from orpheus.run import Run
from tests.conftest import ROOT

JOB = {"dropout": 0.0, "synchronized": True, "sgd": True, "rate": 0.1}


def config(addresses, index, **cluster_of) -> str:
    return json.dumps({"cluster": {"worker": addresses, **cluster_of}, "task": {"type": "worker", "index": index}})


def start(command: list[str], workers: int = 2) -> list[subprocess.Popen]:
    """The command on every worker, on loopback."""
    sockets = [socket.socket() for _ in range(workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **quiet, "TF_CONFIG": config(addresses, index)},
        )
        for index in range(workers)
    ]  # fmt: skip


def finish(processes, codes=(0, 0), timeout=300) -> list[tuple[str, str]]:
    """(stdout, stderr) of each, when all have ended as they should."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, error), code in zip(processes, said, codes, strict=True):
        assert process.returncode == code, error[-3000:]
    return said


def script(folder, settings: dict) -> list[str]:
    return ["tests.engine", str(folder), json.dumps(settings)]


def alone(folder, settings: dict) -> np.ndarray:
    subprocess.run([sys.executable, "-m", *script(folder, settings)], cwd=ROOT, check=True, timeout=300)
    return np.load(folder / "weights.npy")


@pytest.mark.slow
def test_two_workers_equal_one_machine(tmp_path):
    """Uneven validation included; float32 sums in another order."""
    settings = {"job": JOB, "options": {"epochs": 2, "update_freq": 4, "micro_batches": 1}}
    one = alone(tmp_path / "one", settings)
    finish(start(script(tmp_path / "two", {**settings, "workers": 2})))
    np.testing.assert_allclose(np.load(tmp_path / "two/weights.npy"), one, atol=1e-5)
    first, second = (Run(tmp_path / name).read("history") for name in ("one", "two"))
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    names = [sorted(str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*.*") if "events" not in p.name) for n in ("one", "two")]  # fmt: skip
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
def test_a_lost_worker_ends_the_others_and_resume_goes_on(tmp_path, victim):
    settings = {"job": JOB, "options": {"epochs": 60, "steps_per_execution": 3}, "workers": 2}
    processes = start(script(tmp_path / "killed", settings))
    while len(Run(tmp_path / "killed").checkpoints()) < 2 and processes[victim].poll() is None:
        time.sleep(0.05)
    processes[victim].kill()
    started = time.monotonic()
    error = processes[1 - victim].communicate(timeout=60)[1]
    assert time.monotonic() - started < 30
    assert processes[1 - victim].returncode != 0
    assert "is gone, and this one" in error.splitlines()[-1]
    assert Run(tmp_path / "killed").checkpoints()[-1][0] < 60, "the run ended before a worker was killed"
    finish(start(script(tmp_path / "killed", settings)))
    whole = alone(tmp_path / "whole", {**settings, "workers": None})
    np.testing.assert_allclose(np.load(tmp_path / "killed/weights.npy"), whole, atol=1e-4)
