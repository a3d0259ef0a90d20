"""Structural rules: which room imports which, and `--help` of every command is fast and loads no TensorFlow."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Layer of each room; a room's name stands for all in it that is not named itself.
LAYERS = {
    "errors": 0,
    "base": 0,
    "config": 0,
    "runs": 1,
    "data": 1,
    "semantics": 1,
    "learning.evaluation": 1,
    "learning.vectors": 1,
    "base.filesystems": 2,
    "base.storage": 2,
    "runs.remote": 2,
    "runs.finding": 2,
    "runs.models": 2,
    "runs.comparability": 2,
    "data.records": 2,
    "data.batches": 2,
    "data.items.examples": 2,
    "data.tags.sources": 2,
    "data.records.tracks": 1,
    "data.records.shards": 2,
    "semantics.skipgram": 2,
    "models": 2,
    "learning": 2,
    "learning.evaluation.tag_auc": 2,
    "learning.tensorboard.projector": 1,
    "tasks": 3,
}
COMMAND_LAYER = 4
ROOMS = ("data", "semantics", "models", "learning")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for folder in ("orpheus", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
COMMANDS = [name for name, path in MODULES.items() if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


def layer(module: str) -> int:
    """Layer of a module by its longest known prefix; commands and tools are the top."""
    parts = module.split(".")[1:] if module.startswith("orpheus") else []
    while parts:
        if (name := ".".join(parts)) in LAYERS:
            return LAYERS[name]
        parts.pop()
    return COMMAND_LAYER


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Modules that a file imports, anywhere in it or at its top level only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("orpheus.")])
def test_rooms_import_only_what_lies_below(module):
    room = module.split(".")[1]
    for imported in imports(MODULES[module]) & set(MODULES):
        assert layer(imported) <= layer(module), f"{module} (layer {layer(module)}) imports {imported}"
        other = imported.split(".")[1] if "." in imported else ""
        if room in ROOMS and other in ROOMS:
            assert room == other, f"{module} imports {imported}: tasks join the rooms, rooms do not import each other"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("orpheus.") and layer(m) <= 1])
def test_core_layers_are_free_of_tensorflow(module):
    # TF-Hub's word vectors are SavedModels: the one reader of them loads TensorFlow when it meets one.
    late = module == "orpheus.semantics.vector_files"
    found = imports(MODULES[module], top_level=late)
    heavy = {name for name in found if name.split(".")[0] in ("tensorflow", "keras", "tensorflow_io")}
    assert not heavy, f"{module} imports {heavy}"


def test_there_is_one_door_to_pickles():
    users = [name for name, path in MODULES.items() if {"pickle", "joblib", "dill"} & imports(path)]
    assert users == ["orpheus.semantics.pickles"]


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_quick_and_loads_no_tensorflow(module):
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('HEAVY', [m for m in ('tensorflow', 'keras', 'librosa', 'sklearn') if m in sys.modules]))\n"
        f"sys.argv = ['{module}', '--help']\n"
        f"runpy.run_module('{module}', run_name='__main__')"
    )
    seconds = []
    for _ in range(3):  # the best of three: other processes may be at work
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - started)
        if seconds[-1] < 0.5:
            break
    assert done.returncode == 0, done.stderr
    assert "example:" in done.stdout, f"{module} --help shows no example"
    assert "HEAVY []" in done.stdout, done.stdout.splitlines()[-1]
    assert min(seconds) < 0.5


@pytest.mark.parametrize("module", COMMANDS)
def test_bad_option_is_one_line(module):
    done = subprocess.run([sys.executable, "-m", module, "--no-such-option"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
