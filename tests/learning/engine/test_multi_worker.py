"""Several workers: their weights are one machine's, one writes, a lost one ends the others, a tf.data service feeds them."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from orpheus.errors import ConfigError
from orpheus.learning.engine import multi_worker
from orpheus.learning.engine.multi_worker import Member
from orpheus.runs.folder import Run
from tests import engine
from tests.conftest import ROOT

JOB = {"dropout": 0.0, "synchronized": True, "sgd": True, "rate": 0.1}


def config(addresses, index, **cluster_of) -> str:
    return json.dumps({"cluster": {"worker": addresses, **cluster_of}, "task": {"type": "worker", "index": index}})


def start(command: list, workers: int = 2) -> list[subprocess.Popen]:
    """The command, or one of them for each, on every worker, on loopback."""
    commands = command if isinstance(command[0], list) else [command] * workers
    sockets = [socket.socket() for _ in range(workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", *commands[index]],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **quiet, "TF_CONFIG": config(addresses, index)},
        )
        for index in range(workers)
    ]


def finish(processes, codes=(0, 0), timeout=300) -> list[tuple[str, str]]:
    """(stdout, stderr) of each, when all have ended as they should."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    found = [process.returncode for process in processes]
    assert found == list(codes), "\n".join(error[-3000:] for _, error in said)
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
    names = [
        sorted(str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*.*") if "events" not in p.name)
        for n in ("one", "two")
    ]
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
    # TensorFlow's own threads may have the last word.
    assert len([line for line in error.splitlines() if "is gone, and this one" in line]) == 1, error
    assert Run(tmp_path / "killed").checkpoints()[-1][0] < 60, "the run ended before a worker was killed"
    finish(start(script(tmp_path / "killed", settings)))
    whole = alone(tmp_path / "whole", {**settings, "workers": None})
    np.testing.assert_allclose(np.load(tmp_path / "killed/weights.npy"), whole, atol=1e-4)


BAD = [
    (None, "not set"),
    ("{", "not JSON"),
    ("[]", "has no cluster or no task"),
    ('{"cluster": {"worker": ["a:1", "b:2"]}}', "has no cluster or no task"),
    (config(["a:1", "b:2"], 0, ps=["c:3"]), "cluster.ps has no part"),
    (config(["a:1", "b"], 0), "is no list of host:port"),
    (config("a:1", 0), "is no list of host:port"),
    (config(["a:1"], 0), "names 1 worker"),
    (config(["a:1", "a:1"], 0), "an address twice"),
    (config(["a:1", "b:2"], 2), "is none of the cluster's"),
    (config(["a:1", "b:2"], "0"), "is none of the cluster's"),
    (config(["a:1"], 0, chief=["b:2", "c:3"]), "there is one chief"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_tf_config_is_one_line(text, message):
    with pytest.raises(ConfigError, match=f"^TF_CONFIG: .*{message}.*needs TF_CONFIG='") as error:
        multi_worker.parse(text)
    assert "\n" not in str(error.value)


def test_who_is_who():
    assert multi_worker.parse(config(["a:1", "b:2"], 1)) == Member(1, ("a:1", "b:2"))
    assert multi_worker.parse(config(["a:1", "b:2"], 1, chief=["c:3"])) == Member(2, ("c:3", "a:1", "b:2"))
    assert multi_worker.member(tf.distribute.get_strategy()).workers == 1


def test_a_port_that_is_taken_is_named(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", config([address, "b:2"], 0))
        with pytest.raises(ConfigError, match=f"cannot listen at {address}.*choose another port"):
            multi_worker.connect()


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("localhost:1", "give grpc://host:port"),
        ("grpc://localhost:1", "nothing answers"),
        ("grpc://localhost:99999", "nothing answers"),
    ],
)
def test_a_data_service_that_is_not_there_is_named(service, message):
    with pytest.raises(ConfigError, match=f"--data-service {service}: {message}"):
        multi_worker.check_service(service)


@pytest.fixture
def service():
    """A dispatcher with one worker, in this process."""
    dispatcher = tf.data.experimental.service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    worker = tf.data.experimental.service.WorkerServer(
        tf.data.experimental.service.WorkerConfig(dispatcher_address=address)
    )
    yield dispatcher.target
    del worker, dispatcher


def test_a_data_service_gives_the_same_batches_from_any_epoch_on(service):
    job, on = engine.job(), tf.distribute.get_strategy()
    for first_epoch in (0, 3, 0):  # the third time as a new run, not where the first has stopped
        served = iter(multi_worker.training(job, first_epoch, on, service=service))
        for batch, (x, y) in zip(job.train(first_epoch).take(engine.STEPS + 2), served, strict=False):
            np.testing.assert_array_equal(batch[0], x)
            np.testing.assert_array_equal(batch[1], y)


def test_rows_are_dealt_in_order():
    batches = tf.data.Dataset.range(24).batch(12).map(lambda rows: ({"a": rows, "b": -rows}, rows))
    parts = list(multi_worker._deal(batches, 3).as_numpy_iterator())
    assert [rows.tolist() for _, rows in parts] == [list(range(start, start + 4)) for start in range(0, 24, 4)]
    for inputs, rows in parts:
        np.testing.assert_array_equal([inputs["a"], -inputs["b"]], [rows, rows])


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_does_not_come_is_named(monkeypatch, index):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}", "127.0.0.1:9"]
    monkeypatch.setenv("TF_CONFIG", config(addresses, index))
    monkeypatch.setattr(multi_worker, "_check_port", lambda address: None)
    member = multi_worker.parse(os.environ["TF_CONFIG"])
    with pytest.raises(ConfigError, match=rf"^did not meet \({addresses[1 - index]}: "):
        multi_worker._meet(member, 0, "did not meet")


@pytest.mark.slow
def test_workers_that_would_train_different_things_say_so(tmp_path):
    commands = [script(tmp_path, {"workers": 2, "job": JOB, "options": {"epochs": epochs}}) for epochs in (2, 3)]
    for _, error in finish(start(commands), codes=(1, 1)):
        assert "epochs: 2 on worker 0, 3 on worker 1; all workers need the same command" in error
