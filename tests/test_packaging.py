"""What is installed: pins that fit together on every Python, one wheel with all in it, and programs that need no checkout."""

import base64
import csv
import email
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from orpheus import __version__
from orpheus.base import resources
from tests.conftest import ROOT
from tests.test_structure import COMMANDS

SETS = {"2.17.1": ("3.11", "3.10", "3.12"), "2.21.0": ("3.13",)}  # TensorFlow → its Pythons, preferred first
KEPT = (
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


def pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def program(module: str) -> str:
    return f"orpheus-{module.split('.')[-1].replace('_', '-')}"


def interpreter(version: str) -> str:
    """A Python of this version on this machine; skips where there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    candidates = [f"python{version}", *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for name in candidates:
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True).returncode == 0:
            return path
    print(f"\n*** PYTHON {version} MISSING: what is installed there was not tried ***", file=sys.stderr)
    pytest.skip(f"no Python {version} here")


def pip(python: str, *arguments: object) -> None:
    words = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("minor", (10, 11, 12, 13))
def test_every_requirement_is_pinned_once_for_every_python(minor):
    here = {"python_version": f"3.{minor}"}
    found: dict[str, str] = {}
    for pin in pins():
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
        if pin.marker is None or pin.marker.evaluate(here):
            assert pin.name.lower() not in found, pin
            found[pin.name.lower()] = str(pin.specifier)[2:]
    (wanted,) = (tensorflow for tensorflow, pythons in SETS.items() if here["python_version"] in pythons)
    assert found["tensorflow"] == wanted and ("tensorflow-io" in found) == (wanted == "2.17.1")
    text = (ROOT / "requirements-gpu.txt").read_text(encoding="utf-8")
    gpu = [Requirement(line) for line in text.splitlines() if line.startswith("tensorflow")]
    assert [str(pin.specifier)[2:] for pin in gpu if pin.marker.evaluate(here)] == [wanted]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_pins_fit_together(version, source, tmp_path):
    """Those of the extras too; on 3.11 and 3.13 CI installs them."""
    pip(interpreter(version), "install", "--dry-run", "--ignore-installed", "--only-binary=:all:", f"{source}[dev]")


def test_every_command_has_an_entry_point():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    scripts = dict(re.findall(r'^(orpheus-[\w-]+) = "([\w.]+):main"$', text, re.M))
    expected = {program(module): module for module in COMMANDS}
    assert {name: module for name, module in scripts.items() if module in COMMANDS} == expected
    assert re.search(r'^version = "(.+)"$', text, re.M)[1] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_every_folder_of_code_is_a_package_and_every_kind_of_shipped_file_is_named():
    folders = {path.parent for top in ("orpheus", "tools") for path in (ROOT / top).rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders), "setup.py finds packages by their __init__.py"
    kinds = {path.suffix for name in resources.FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()}
    assert kinds <= {".json", ".txt", ".tsv", ".md"}, "pyproject.toml's package-data names these kinds only"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what a wheel is made of: building in the checkout would leave build/ there."""
    folder = tmp_path_factory.mktemp("source")
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """The wheel, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, source)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_everything_and_says_what_it_needs(wheel):
    assert wheel.name == f"orpheus_music-{__version__}-py3-none-any.whl"
    info = f"orpheus_music-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    metadata = email.message_from_bytes(content[f"{info}/METADATA"])
    assert (metadata["Name"], metadata["Version"]) == ("orpheus-music", __version__)
    assert metadata["Requires-Python"] == "<3.14,>=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown" and metadata.get_payload().startswith("# orpheus")
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert {str(each) for each in needed if "extra" not in str(each.marker)} == {str(each) for each in pins()}
    assert set(metadata.get_all("Provides-Extra")) == {"beam", "dev", "export", "map", "serve"}
    entries = content[f"{info}/entry_points.txt"].decode()
    assert set(re.findall(r"^(orpheus-[\w-]+) = ", entries, re.M)) == set(map(program, COMMANDS))

    code = {
        path.relative_to(ROOT).as_posix(): path
        for top in ("orpheus", "tools")
        for suffix in ("*.py", "*.json")  # what code reads stands beside it
        for path in (ROOT / top).rglob(suffix)
    }
    page = [path for path in (ROOT / "orpheus/tasks/service/page").rglob("*") if path.is_file()]
    assert {"index.html", "docs.html", "app.js", "style.css"} <= {path.name for path in page}
    code |= {path.relative_to(ROOT).as_posix(): path for path in page}
    shipped = {
        f"orpheus/shipped/{path.relative_to(ROOT).as_posix()}": path
        for name in resources.FOLDERS
        for path in (ROOT / name).rglob("*")
        if path.is_file()
    }
    expected = {**code, **shipped}
    assert {name for name in content if not name.startswith(info)} == set(expected)
    assert all(content[name] == path.read_bytes() for name, path in expected.items())
    for name, digest, size in csv.reader(content[f"{info}/RECORD"].decode().splitlines()):
        if not name.endswith("/RECORD"):
            found = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={found}", len(content[name])), name


@pytest.mark.slow
@pytest.mark.parametrize("tensorflow", SETS)
def test_an_empty_environment_gets_programs_that_tag_music(tensorflow, wheel, tmp_path):
    """`pip install` of the wheel with all it needs and nothing else, --help of every program, and the short way through."""
    python = interpreter(SETS[tensorflow][0])
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    bin = tmp_path / "venv/bin"
    pip(str(bin / "python"), "install", "--no-compile", wheel)
    pip(str(bin / "python"), "check")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(name: str, *arguments: object) -> str:
        words = [bin / name, *map(str, arguments)]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{name} {arguments}: {done.stderr}"
        return done.stdout

    for module in COMMANDS:
        assert "example:" in call(program(module), "--help")
    code = (
        "import importlib.metadata, json, tensorflow_hub, orpheus; from orpheus.semantics import dictionary\n"
        "print(json.dumps([orpheus.__file__, importlib.metadata.version('tensorflow'), "
        "len(dictionary.load('dictionaries/demo').mapping)]))"
    )
    file, version, tags = json.loads(call("python", "-c", code))
    assert Path(file).is_relative_to(tmp_path / "venv") and version == tensorflow and tags > 0
    assert "music_recommender" in call("orpheus-experiment", "--list", "--data-dir", "data")
    assert "0 broken, 0 warnings" in call("orpheus-doctor").splitlines()[-1]

    call("orpheus-make-demo-dataset", "data", "--tracks", 24, "--seconds", 4)
    given = ["--csv-path", "data/tracks.csv", "--tag-path", "data/tags.db", "-n", 6, "--group-column", "track_id"]
    call("orpheus-preprocess", "log-mel-spectrogram", "records", *given, "--workers", 1)
    options = ["--tfrecords-dir", "records", "--epochs", 1, "--set", "model-training.batch_size=4"]
    run = call("orpheus-train", "log-mel-spectrogram", "--config", "configs/demo.json", *options).strip()
    assert "ROC-AUC" in call("orpheus-evaluate", run)
    song = next((tmp_path / "data").rglob("*.mp3"))
    assert song.name in call("orpheus-predict", run, song, "-t", 0)
    call("orpheus-export", run, "tagger", "--format", "savedmodel")
    assert (tmp_path / "tagger/saved_model.pb").is_file()
    call("orpheus-report", run, "-o", "report.html", "--tracks", "data/tracks.csv")
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "venv")  # gigabytes, which pytest would keep


def test_the_containerfile_names_what_is_there():
    """No test builds it: what it copies, installs, runs and takes by default is looked up instead."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    defaults = dict(line.removeprefix("ARG ").split("=") for line in lines if line.startswith("ARG "))
    assert any(defaults["PYTHON"] in pythons for pythons in SETS.values())
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {defaults["REQUIREMENTS"], "requirements-gpu.txt"} <= set(copied)
    assert "--build-arg REQUIREMENTS=requirements-gpu.txt" in text
    assert set(copied) == {*KEPT, "requirements-gpu.txt"} and all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    programs = set(re.findall(r"\borpheus-[a-z-]+\b", text)) - {"orpheus-gpu"}
    assert {"orpheus-doctor", "orpheus-predict"} <= programs <= set(map(program, COMMANDS))
    assert lines[-1] == 'CMD ["orpheus-doctor"]'
