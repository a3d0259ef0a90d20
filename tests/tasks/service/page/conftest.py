"""The page of the service in a browser, before a stand-in of the service."""

import os
from pathlib import Path

import pytest

from tests import browser
from tests.tasks.service import fake_api


@pytest.fixture(scope="package")
def api():
    with fake_api.serving() as server:
        yield server


@pytest.fixture(scope="package")
def chromium(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(api, chromium):
    """A fresh page of all that is served; what a test leaves in the browser is not there."""
    api.reset()
    chromium.size(1280, 900)
    chromium.prefer(color_scheme="light")
    open_page(chromium, api.address)
    api.asked.clear()
    yield chromium
    chromium.ask("sessionStorage.clear(), localStorage.clear()")
    chromium.call("Network.clearBrowserCookies")


def open_page(chromium, address: str, view: str = "") -> None:
    """Open the page, at a view, and wait until it is there."""
    chromium.open("about:blank")
    chromium.open(address + view)
    chromium.wait("!!document.querySelector('main > section:not([hidden]), #problem:not([hidden]), dialog[open]')", 10)


@pytest.fixture(scope="session")
def pictures():
    """Where screenshots go: of ORPHEUS_PICTURES, or nowhere."""
    folder = os.environ.get("ORPHEUS_PICTURES")

    def take(chromium, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            chromium.picture(Path(folder) / f"page-{name}.png")

    return take


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    """A file of six seconds."""
    path = tmp_path_factory.mktemp("recording") / "my song.wav"
    path.write_bytes(fake_api.tone(3))
    return path
