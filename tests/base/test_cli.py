"""What all commands share: how the heavy libraries are loaded."""

import gc
import importlib.util
import subprocess
import sys

import pytest

from orpheus.base import cli
from tests.conftest import ROOT

HEAVY = """
import gc
try:
    import orpheus_test_extra as extra
except ImportError:
    extra = None
collected = gc.isenabled()
"""


def test_heavy_libraries_are_loaded_without_what_they_do_not_need(tmp_path, monkeypatch, capfd):
    class Quickly(cli._Quickly):
        TAKES = ("orpheus_test_heavy",)
        LEFT_OUT = ("orpheus_test_extra",)

    (tmp_path / "orpheus_test_heavy.py").write_text(
        HEAVY + "import os\nos.write(2, b'I0000 00:00:1.5 of a library\\n')\n"
    )
    (tmp_path / "orpheus_test_extra.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    finder = Quickly(quietly=True)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    frozen = gc.get_freeze_count()
    assert importlib.util.find_spec("orpheus_test_heavy") is not None
    assert importlib.util.find_spec("orpheus_test_extra") is not None, "who looks for it has not begun to load it"
    import orpheus_test_heavy

    assert orpheus_test_heavy.extra is None
    assert not orpheus_test_heavy.collected and gc.isenabled()
    assert gc.get_freeze_count() > frozen
    assert capfd.readouterr().err == ""
    assert finder not in sys.meta_path
    import orpheus_test_extra

    assert orpheus_test_extra.value == 1, "only while it was loading"


@pytest.mark.slow
def test_a_command_that_needs_keras_does_not_load_pictures():
    code = """
import sys
from orpheus.base import cli
def body(arguments):
    import keras
    assert "matplotlib" not in sys.modules and "sklearn" not in sys.modules
    import matplotlib.pyplot, sklearn.base
sys.exit(cli.run(cli.parser("test", "A test.", example="none"), body, []))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
