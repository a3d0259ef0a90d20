"""Every command of docs/tutorials works: each page's commands are run, in their order, in a folder of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
LEFT = {  # what has to be there in the end, and is not empty
    "tagging": ["tags.csv", "taggram.png", "timeline.html", "report.html"],
    "semantics": [
        "vectors.txt",
        "dictionaries/demo/3_models/tags_dict_8.json",
        "projector/vectors.tsv",
        "cooccurrence",
    ],
    "recommendation": ["split.json", "rec/models/model_1/metrics.json"],
    "retrieval": ["music.index"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a reader of the pages would be: in a checkout, with nothing made yet. The pages share their data."""
    path = tmp_path_factory.mktemp("tutorials")
    for name in ("configs", "dictionaries"):
        (path / name).symlink_to(ROOT / name)
    return path


def commands(page: Path) -> str:
    return "\n".join(re.findall(r"(?ms)^```bash\n(.*?)^```", page.read_text(encoding="utf-8")))


def test_each_task_has_its_page():
    assert [page.stem for page in PAGES] == sorted(LEFT)
    assert all(commands(page).count("python -m ") >= 5 for page in PAGES)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_work(page, folder):
    before = os.environ.get("PATH", "")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{before}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", commands(page)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr[-3000:]}"
    for name in LEFT[page.stem]:
        made = folder / "demo" / name
        assert made.is_dir() or made.stat().st_size > 0, name
