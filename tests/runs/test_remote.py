"""orpheus.runs.remote: runs at a URL (ram://, memory://), and the whole way through a local S3 server, processes and all."""

import json
import re
import sys

import numpy as np
import pytest

from orpheus.base import storage
from orpheus.errors import DataError
from orpheus.runs import remote
from orpheus.runs.folder import Run
from tests.base.test_storage import stored, url  # noqa: F401
from tests.conftest import ROOT
from tests.s3 import Server


@pytest.fixture
def run(url):  # noqa: F811
    return remote.create_run(url, "log-mel", command=["python", "x"])


def checkpoint(run: Run, epoch: int, text: str) -> None:
    path = run.start_checkpoint()
    (path / "model.weights.h5").write_text(text)
    state = {"history": [{"epoch": n + 1} for n in range(epoch)], "best": None, "best_epoch": None, "callbacks": []}
    (path / "state.json").write_text(json.dumps(state))
    run.finish_checkpoint(f"epoch-{epoch:04d}")
    run.prune_checkpoints()


def walked(url) -> list[str]:  # noqa: F811
    return sorted(storage.walked(url))


def test_a_run_at_a_url_is_opened_as_it_was_left(run):
    run.write("run", {"task": "tagging"})
    for epoch, text in ((1, "one"), (2, "two"), (3, "three")):
        checkpoint(run, epoch, text)
    (run.folder / "train").mkdir()
    (run.folder / "train" / "events").write_text("x")
    (run.folder / ".half").write_text("x")
    run.publish()
    assert run.location == run.url and not run.folder.is_relative_to(ROOT)
    again = remote.open_run(run.url)
    assert isinstance(again, remote.RemoteRun) and again.folder != run.folder
    assert again.read("run") == {"task": "tagging"}
    assert (again.folder / "train" / "events").is_file() and not (again.folder / "checkpoints").exists()
    assert [(epoch, (path / "model.weights.h5").read_text()) for epoch, path in again.checkpoints()] == [
        (2, "two"),
        (3, "three"),
    ]
    checkpoint(again, 4, "four")
    again.publish()
    assert not any("half" in name or "epoch-0002" in name for name in walked(run.url))
    assert [epoch for epoch, _ in remote.open_run(run.url).checkpoints()] == [3, 4]


def test_a_checkpoint_counts_when_its_last_object_is_there(run, monkeypatch):
    run.write("run", {})
    order = []
    real, drop = storage.writable, storage.remove
    monkeypatch.setattr(storage, "writable", lambda path: order.append(path.removeprefix(run.url)) or real(path))
    monkeypatch.setattr(storage, "remove", lambda path: order.append("- " + path.removeprefix(run.url)) or drop(path))
    for epoch in (1, 2, 3):
        checkpoint(run, epoch, str(epoch))
        run.publish()
    one, two, three = (
        [f"/checkpoints/epoch-000{epoch}/{name}" for name in ("model.weights.h5", "state.json")] for epoch in (1, 2, 3)
    )
    assert order == [*one, *two, *three, f"- {one[1]}", f"- {one[0]}"]


def test_an_upload_that_fails_is_tried_again_and_the_last_one_says_where_the_run_is(run, monkeypatch, caplog):
    def refuse(path):
        raise DataError(f"{path}: cannot be written (refused)")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "writable", refuse)
        run.write("run", {})
        assert "run.json: cannot be written (refused); going on" in caplog.text
        with pytest.raises(DataError, match=f"refused.*; the run is in {run.folder}"):
            run.publish()
    run.write("history", [])
    assert {"run.json", "history.json", "command.txt", "versions.json"} <= set(storage.listed(run.url))


def test_a_url_that_is_no_run(url):  # noqa: F811
    with pytest.raises(DataError, match=r"not a run \(no run\.json\)"):
        remote.open_run(url)
    with pytest.raises(DataError, match="this needs one here; copy the folder"):
        Run.open(url)
    taken = storage.listed(url)
    names = []
    for _ in range(3):
        run = remote.create_run(url, "x", command=[])
        run.publish()
        names.append(run.url)
    assert taken == [] and len(set(names)) == 3


@pytest.fixture
def server():
    """A server on loopback."""
    one = Server()
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.pins
def test_preprocess_train_resume_evaluate_and_predict_on_s3(server, demo, tiny, command, tmp_path):
    """Through tensorflow-io or, on Python 3.13, s3fs.

    The records are a local run's, the weights those of the same training on local records, every exit code is 0.
    """
    source = [
        "--csv-path",
        demo / "data/tracks.csv",
        "--tag-path",
        demo / "data/tags.db",
        "-n",
        6,
        "--group-column",
        "track_id",
    ]
    made = command(
        "tools.preprocess",
        "log-mel-spectrogram",
        "s3://bucket/mel",
        "--sr",
        8000,
        "--mels",
        32,
        "--workers",
        0,
        *source,
        **server.environment,
    )
    assert (made.returncode, made.stderr) == (0, "")
    local = {path.name: path.read_bytes() for path in (demo / "mel").iterdir()}
    assert {name: server.objects[f"bucket/mel/{name}"] for name in server.names("bucket/mel/")} == local
    again = command("tools.preprocess", "log-mel-spectrogram", "s3://bucket/mel", "--check", **server.environment)
    assert again.returncode == 0, again.stderr

    shared = ["log-mel-spectrogram", "--config", tiny, "--set", "model-training.tensorboard=scalars"]
    here = command("orpheus.train", *shared, "--epochs", 2, "--tfrecords-dir", demo / "mel")
    assert here.returncode == 0, here.stderr
    options = [*shared, "--set", "model-training.log_dir=s3://bucket/runs", "--tfrecords-dir", "s3://bucket/mel"]
    there = command("orpheus.train", *options, "--epochs", 1, **server.environment)
    assert there.returncode == 0, there.stderr
    run = there.stdout.strip()
    assert re.fullmatch(r"s3://bucket/runs/log-mel-spectrogram_\d{6}-\d{6}", run)
    if sys.version_info >= (3, 13):
        served = command(
            "orpheus.train", *options, "--epochs", 1, "--data-service", "grpc://127.0.0.1:9", **server.environment
        )
        assert served.returncode == 2 and "fsspec opens it, and in this process only" in served.stderr
    more = command("orpheus.train", "--resume", run, "--epochs", 2, **server.environment)
    assert (more.returncode, more.stdout.strip()) == (0, run), more.stderr
    prefix = run.removeprefix("s3://") + "/"
    files = server.names(prefix)
    assert {"model.keras", "history.json", "checkpoints/epoch-0002/state.json"} <= set(files)
    assert any(name.startswith("train/events") for name in files)
    (tmp_path / "there.keras").write_bytes(server.objects[f"{prefix}model.keras"])
    assert not list(tmp_path.glob("orpheus-run-*"))
    import keras

    import orpheus.models  # noqa: F401

    ours, theirs = (
        keras.saving.load_model(path, compile=False).get_weights()
        for path in (f"{here.stdout.strip()}/model.keras", tmp_path / "there.keras")
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)  # one process or two, threads add in another order

    evaluated = command("orpheus.evaluate", run, **server.environment)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(server.objects[f"{prefix}metrics.json"])["test"]["tracks"] > 0
    song = sorted((demo / "data").rglob("*.mp3"))[:1] or sorted((demo / "data").rglob("*.wav"))[:1]
    tagged = command("orpheus.predict", run, *song, "-t", 0, **server.environment)
    assert tagged.returncode == 0 and len(tagged.stdout.splitlines()) > 1, tagged.stderr


@pytest.mark.slow
@pytest.mark.pins
def test_s3_that_refuses_or_is_empty_is_one_line_and_exit_code_2(server, tiny, command):
    run = command("orpheus.evaluate", "s3://nothing/here", **server.environment)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1) and "not a run" in run.stderr
    train = ["orpheus.train", "log-mel-spectrogram", "--config", tiny, "--tfrecords-dir", "s3://nothing/mel"]
    empty = command(*train, **server.environment)
    assert (empty.returncode, len(empty.stderr.splitlines())) == (2, 1)
    assert "s3://nothing/mel: no such folder of records" in empty.stderr
