"""The commands of docs/RETRIEVAL.md work, in their order, on files of the names that the page gives to the reader's own."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from orpheus.data.demo import tracks
from orpheus.data.tags.files import open_tags
from orpheus.semantics import words
from tests.conftest import ROOT

SMALL = (
    "--epochs 1 --steps-per-epoch 1 --set retrieval.n_filters=1 --set retrieval.embedding=8 --set retrieval.num_chunk=1 "
    "--set retrieval.input_length=20 --set model-training.batch_size=8"
)
# What the page says of a large collection → what fits the demo's 32 songs.
LESS = {
    "--songs ids.txt": "--songs ids.txt --min-songs 2 --min-score 0",
    "--top 100 --min-tracks 40": "--top 6 --min-tracks 1 --nearest --tolerance 20",
    "--mels 128": "--mels 128 -n 4",
    "--dim 200": "--dim 8",
    "als-all_200_NAME": "als-all_8_NAME",
}


def commands() -> list[str]:
    page = (ROOT / "docs/RETRIEVAL.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```bash\n(.*?)^```", page)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python -m ")]


def test_the_page_has_a_whole_chain():
    modules = [line.split()[2] for line in commands()]
    chain = ["tools.clean_tags", "tools.split", "tools.preprocess", "tools.factorize", "tools.join_tables"]
    assert modules[:5] == chain and modules.count("orpheus.train") == 3 and "orpheus.evaluate" in modules
    assert all(any(old in line for line in commands()) for old in LESS)


@pytest.mark.slow
def test_its_commands_work(tmp_path):
    tracks.make(tmp_path / "demo", tracks=32, seconds=2.0)
    for name in ("tracks.csv", "tags.db", "plays.csv"):
        shutil.copy(tmp_path / "demo" / name, tmp_path / name)
    for name in ("audio", "texts"):
        if (tmp_path / "demo" / name).is_dir():
            (tmp_path / name).symlink_to(tmp_path / "demo" / name)
    shutil.copy(tmp_path / "tags.db", tmp_path / "lastfm_tags.db")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    tagged = open_tags(tmp_path / "tags.db").tags_of_all()
    (tmp_path / "ids.txt").write_text("".join(f"{song}\n" for song in tagged))
    (tmp_path / "artists.tsv").write_text("".join(f"{song}\tartist of {song}\n" for song in tagged))
    rng = np.random.default_rng(0)
    known = sorted({word for tags in tagged.values() for tag in tags for word in words.tokens(tag)})
    rows = (f"{word} {' '.join(f'{value:.4f}' for value in rng.normal(size=12))}\n" for word in known)
    (tmp_path / "glove.6B.300d.txt").write_text("".join(rows))
    script = []
    for line in commands():
        for old, new in LESS.items():
            line = line.replace(old, new)
        line = re.sub(r"\s+#.*", "", line)
        if " orpheus.train " in line:
            line += f" {SMALL}"
        script.append(re.sub(r"\bRUN\b", "$(ls -d runs/* | tail -1)", line))
    environment = {
        **os.environ,
        "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "runs").iterdir())) == 3 and "mean over tags" in done.stdout
