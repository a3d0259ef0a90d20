"""Fixtures that every room shares: the slow switch, the real data beside the checkout, and helpers to call commands."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes on two cores: more threads would only wait for each other. Read when TensorFlow is imported.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# TensorFlow, Keras and the tests are a million objects that stay: looking for garbage among them is half of collecting.
gc.disable()

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
ORACLE = SHARED.with_name("oracle")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow") or os.environ.get("CI"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; a missing one fails in CI and skips loudly elsewhere."""
    return _real(SHARED, "REAL DATA MISSING", "tests on real data did not run")


@pytest.fixture(scope="session")
def oracle() -> Path:
    """The folder of values that the published taggers' original graphs gave; like `shared`."""
    return _real(ORACLE, "REFERENCE VALUES MISSING", "the published taggers were not compared")


def _real(folder: Path, what: str, consequence: str) -> Path:
    if not folder.is_dir():
        message = f"{what}: {folder} is not there; {consequence}"
        if os.environ.get("CI"):
            pytest.fail(message)
        print(f"\n*** {message} ***", file=sys.stderr)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel of the published taggers, downloaded once per machine; skips loudly where it cannot be had."""
    from orpheus.errors import DataError
    from orpheus.runs import published

    try:
        return published.fetch()
    except DataError as error:
        print(f"\n*** NO WEIGHTS: {error} ***", file=sys.stderr)
        pytest.skip(f"NO WEIGHTS: {error}")


@pytest.fixture(scope="session")
def published_run(wheel, tmp_path_factory) -> Path:
    """The run folder of MSD_musicnn."""
    from orpheus.runs import published
    from tools import pretrained

    return pretrained.make(published.find("MSD_musicnn"), tmp_path_factory.mktemp("published") / "run", wheel=wheel)


@pytest.fixture
def command():
    """Run ``python -m MODULE ARGUMENTS…`` in a process of its own; returns the completed process (text)."""

    def call(module: str, *arguments: object, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )

    return call


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """A small demo dataset: data/ with audio and tags of 24 tracks, mel/ and wave/ with their records."""
    from orpheus.data.demo import tracks as dataset
    from tools import preprocess

    folder = tmp_path_factory.mktemp("demo")
    dataset.make(folder / "data", tracks=24, seconds=3.0)
    for name, kind in (("mel", "log-mel-spectrogram"), ("wave", "waveform")):
        options = [
            "--csv-path",
            folder / "data/tracks.csv",
            "--tag-path",
            folder / "data/tags.db",
            "-n",
            6,
            "--workers",
            1,
            "--group-column",
            "track_id",
        ]
        code = preprocess.main([kind, str(folder / name), "--sr", "8000", "--mels", "32", *map(str, options)])
        assert code == 0
    return folder


@pytest.fixture
def tiny(tmp_path, demo) -> Path:
    """A config for `demo` whose model trains in seconds."""
    import json

    values = {
        "model": {"n_filters": 1, "n_dense_units": 8},
        "model-training": {
            "batch_size": 4,
            "window_length": 1.5,
            "split": [60, 20, 20],
            "log_dir": str(tmp_path / "runs"),
            "shuffle_buffer_size": 20,
            "tensorboard": "scalars",
        },
        "tags": {"top": 12},
    }
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(values))
    return path
