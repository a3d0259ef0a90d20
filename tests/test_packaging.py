"""`pip install .`: every command is a program, shipped files come along, and the checkout is not needed."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from orpheus import __version__
from orpheus.base import resources
from tests.conftest import ROOT
from tests.test_structure import COMMANDS


def test_every_command_has_an_entry_point():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    scripts = dict(re.findall(r'^(orpheus-[\w-]+) = "([\w.]+):main"$', text, re.M))
    expected = {f"orpheus-{module.split('.')[-1].replace('_', '-')}": module for module in COMMANDS}
    assert {name: module for name, module in scripts.items() if module in COMMANDS} == expected
    assert re.search(r'^version = "(.+)"$', text, re.M)[1] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_every_folder_of_code_is_a_package_and_every_kind_of_shipped_file_is_named():
    folders = {path.parent for top in ("orpheus", "tools") for path in (ROOT / top).rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders), "setup.py finds packages by their __init__.py"
    kinds = {path.suffix for name in resources.FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()}
    assert kinds <= {".json", ".txt", ".tsv", ".md"}, "pyproject.toml's package-data names these kinds only"


@pytest.mark.slow
def test_pip_install_gives_programs_that_need_no_checkout(tmp_path):
    source, target = tmp_path / "source", tmp_path / "installed"
    kept = (
        "orpheus",
        "tools",
        "configs",
        "dictionaries",
        "pyproject.toml",
        "setup.py",
        "requirements.txt",
        "README.md",
        "LICENSE",
    )
    source.mkdir()
    for name in kept:  # building in the checkout would leave build/ there
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name) if (ROOT / name).is_dir() else copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
    done = subprocess.run([*map(str, pip), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def call(program, *arguments):
        return subprocess.run([target / "bin" / program, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)  # fmt: skip

    for module in COMMANDS:
        program = f"orpheus-{module.split('.')[-1].replace('_', '-')}"
        assert (target / "bin" / program).is_file(), program
    for program in ("orpheus-train", "orpheus-preprocess", "orpheus-export", "orpheus-doctor"):
        done = call(program, "--help")
        assert done.returncode == 0, done.stderr
        assert "example:" in done.stdout
    done = call("orpheus-experiment", "--list", "--data-dir", str(tmp_path))
    assert "music_recommender" in done.stdout, done.stderr

    for name in resources.FOLDERS:  # all of them, and from the installed package
        theirs = target / "orpheus/shipped" / name
        shipped = {path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()}
        assert shipped == {path.relative_to(ROOT / name) for path in (ROOT / name).rglob("*") if path.is_file()}
    code = (
        "import json, orpheus, orpheus.config; from orpheus.semantics import dictionary\n"
        "print(json.dumps([orpheus.__file__, orpheus.config.load('configs/demo.json').training.batch_size, "
        "len(dictionary.load('dictionaries/demo').mapping)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    file, batch_size, tags = json.loads(done.stdout)
    assert file.startswith(str(target))
    assert batch_size > 0
    assert tags > 0
