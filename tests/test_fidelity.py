"""Every test that docs/FIDELITY.md names is there."""

import re

from tests.conftest import ROOT


def test_the_tests_it_names_exist():
    page = (ROOT / "docs/FIDELITY.md").read_text(encoding="utf-8")
    named = {
        name for code in re.findall(r"`([^`\n]+)`", page) for name in re.findall(r"::(test_\w+)|^(test_\w+)$", code)
    }
    wanted = {one for pair in named for one in pair if one}
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)\(", path.read_text(encoding="utf-8"))
    }
    assert len(wanted) >= 15 and wanted <= there, sorted(wanted - there)
    for path in re.findall(r"`([\w/]+\.py)(?:::\w+)?`", page):
        assert (ROOT / "tests" / path).is_file(), path
