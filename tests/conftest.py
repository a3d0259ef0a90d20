"""Fixtures that every room shares: the slow switch, the real data beside the checkout, and helpers to call commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow") or os.environ.get("CI"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; a missing one fails in CI and skips loudly elsewhere."""
    if not SHARED.is_dir():
        message = f"REAL DATA MISSING: {SHARED} is not there; tests on real data did not run"
        if os.environ.get("CI"):
            pytest.fail(message)
        print(f"\n*** {message} ***", file=sys.stderr)
        pytest.skip(message)
    return SHARED


@pytest.fixture
def command():
    """Run ``python -m MODULE ARGUMENTS…`` in a process of its own; returns the completed process (text)."""

    def call(module: str, *arguments: object, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT, capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment},
        )  # fmt: skip

    return call
