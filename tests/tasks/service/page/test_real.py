"""The page before the real service, with an index of the demo's songs: what a new user does, within a minute."""

import os
import re
import subprocess
import sys
import time

import pytest

from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from tests.conftest import ROOT
from tests.tasks.service.page.conftest import open_page
from tests.untrained import make_run

pytestmark = pytest.mark.slow

TAGS = ("guitar", "piano", "sad", "drums", "vocals")
ROWS = "document.querySelectorAll('#found-rows li').length"


@pytest.fixture
def service(demo, tmp_path, command):
    """Address of a service of an index of the demo's songs, and of the run that it was made with."""
    run = make_run(tmp_path / "runs", AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32), classes=TAGS, seconds=0.7)
    data = demo / "data"
    given = (run.folder, data / "tracks.csv", "-o", tmp_path / "music", "--tags", data / "tags.db", "--map")
    made = command("orpheus.retrieve", "index", *given, "--listeners", data / "plays.csv")
    assert made.returncode == 0, made.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "orpheus.serve", tmp_path / "music", run.folder, "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield re.search(r"http://\S+", line)[0] + "/"
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_a_new_user_searches_listens_and_drops_a_file_within_a_minute(service, demo, chromium, pictures):
    page, began = chromium, time.monotonic()
    page.size(1280, 900)
    page.prefer(color_scheme="light")
    open_page(page, service)
    page.ask("document.querySelector('#q').focus()")
    page.write("gui")
    page.wait("document.querySelectorAll('#q-suggestions [role=option]').length === 1", 10)
    page.press("ArrowDown", "Enter", "Enter")
    page.wait(f"{ROWS} === 20", 20)
    assert page.ask("location.hash") == "#search?model=music&q=guitar"
    page.ask("document.querySelector('#found-rows button').focus()")
    page.press("Enter")
    page.wait("document.querySelector('#audio').currentTime > 0.3", 20)
    page.ask("document.querySelector('#found-rows li:nth-child(4) [data-kind=way]').click()")
    page.wait("document.querySelector('#found-title').innerText.startsWith('On the way')", 20)
    page.wait("!document.querySelector('#found-rows').ariaBusy", 20)
    assert page.ask("document.querySelector('#found-problem').hidden") and page.ask(ROWS) > 3

    page.drop(600, 400, next(iter(sorted((demo / "data" / "audio").iterdir()))))
    page.wait("document.querySelectorAll('#heard-tags li').length === 5", 40)
    assert set(page.ask("[...document.querySelectorAll('#heard-tags .tag-name')].map(e => e.innerText)")) == set(TAGS)
    page.wait("document.querySelectorAll('#alike-rows li').length === 10", 20)
    page.press("Enter")
    page.wait("document.querySelector('#now-live').innerText.split(', ').length === 3", 20)
    assert time.monotonic() - began < 60
    pictures(page, "real-file")

    page.ask("document.querySelector('#views a[data-view=map]').click()")
    page.wait("document.querySelector('#map-status').innerText === '24 songs'", 20)
    pictures(page, "real-map")
    open_page(page, service, "#search?model=music&listener=nobody")
    page.wait("!document.querySelector('#found-problem').hidden", 20)
    assert "nobody" in page.ask("document.querySelector('#found-problem').innerText")
    own_mistakes = [problem for problem in page.problems if "400" not in problem and "404" not in problem]
    assert not own_mistakes
