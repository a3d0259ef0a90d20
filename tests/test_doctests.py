"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import re

import numpy as np
import pytest

from tests.conftest import ROOT

WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "orpheus").rglob("*.py")
    if any(">>> " in line and "+SKIP" not in line for line in path.read_text(encoding="utf-8").splitlines())
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_run(module):
    with np.printoptions(legacy=False):
        failed, tried = doctest.testmod(
            importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        )
    assert tried and not failed, module


def test_a_wrong_example_fails():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(wrong, out=lambda text: None).failed == 1


def test_examples_are_skipped_only_where_they_need_a_run_an_index_or_vectors():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "orpheus").rglob("*.py"))
    skipped = re.findall(r">>> (.*?) +# doctest: \+SKIP", text)
    needs = ("orpheus.load(", "SongIndex", "MusicRecommender", "from orpheus import", "glove.6B")
    assert skipped and all(any(need in line for need in needs) for line in skipped), skipped
