"""Structural rules: which room imports which, and `--help` of every command is fast and loads no TensorFlow."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Layer of each room; what is in it has the same.
LAYERS = {
    "errors": 0,
    "base": 0,
    "config": 0,
    "runs": 1,
    "data": 1,
    "data.records": 2,
    "data.batches": 2,
    "semantics": 1,
    "models": 2,
    "learning": 2,
    "learning.evaluation": 1,
    "learning.vectors": 1,
    "tasks": 3,
}
# Modules of these rooms that need TensorFlow, or something that does, and so stand in layer 2.
ABOVE = {
    "base.filesystems",
    "base.storage",
    "runs.remote",
    "runs.finding",
    "runs.models",
    "runs.comparability",
    "data.items.examples",
    "data.tags.sources",
    "semantics.skipgram",
    "learning.evaluation.tag_auc",
}
# Modules of TensorFlow's rooms that need none, and serve those below.
BELOW = {"data.records.tracks", "learning.tensorboard.projector"}
COMMAND_LAYER = 4
ROOMS = ("data", "semantics", "models", "learning")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for folder in ("orpheus", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
COMMANDS = [name for name, path in MODULES.items() if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


PYTHON_FILES = [
    path for folder in ("orpheus", "tools", "benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))
]
LONGEST = 400


def layer(module: str) -> int:
    """Layer of a module by the innermost room that is known; commands and tools are the top."""
    parts = module.split(".")[1:] if module.startswith("orpheus") else []
    if (name := ".".join(parts)) in ABOVE | BELOW:
        return 2 if name in ABOVE else 1
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


def test_the_table_names_rooms_and_needed_exceptions():
    assert [name for name in LAYERS if not (ROOT / "orpheus" / name.replace(".", "/")).is_dir()] == ["errors"]
    heavy = {"tensorflow", "keras", "tensorflow_io", "fsspec"}
    for name in ABOVE:
        found = imports(MODULES[f"orpheus.{name}"])
        above = {one for one in found & set(MODULES) if layer(one) == 2 and one != f"orpheus.{name}"}
        assert above or heavy & {one.split(".")[0] for one in found}, f"orpheus.{name} need not be an exception"


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


def test_no_file_is_too_long_to_be_read():
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON_FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}, "split it by subject"
    assert max(lines.values()) > LONGEST / 2


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_quick_and_loads_no_tensorflow(module):
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('HEAVY', [m for m in ('tensorflow', 'keras', 'librosa', 'sklearn') if m in sys.modules]))\n"
        f"sys.argv = ['{module}', '--help']\n"
        f"runpy.run_module('{module}', run_name='__main__')"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    after = os.times()
    # The processor's time, which does not depend on what else the machine does.
    seconds = sum(after[2:4]) - sum(before[2:4])
    assert done.returncode == 0, done.stderr
    assert "example:" in done.stdout, f"{module} --help shows no example"
    assert "HEAVY []" in done.stdout, done.stdout.splitlines()[-1]
    assert seconds < 0.5


@pytest.mark.parametrize("module", COMMANDS)
def test_bad_option_is_one_line(module):
    done = subprocess.run([sys.executable, "-m", module, "--no-such-option"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
