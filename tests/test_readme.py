"""What the README and the docs show exists: every command, every option, every file and link."""

import importlib
import re

import pytest

from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "WORKSPACE.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "dictionaries/README.md",
]


def shown() -> list[tuple[str, str, list[str]]]:
    """(page, module, words after it) of every `python -m` of ours."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"python -m ((?:orpheus|tools|benchmarks)[^`|\n]*)", text):
            line = line.split("  #")[0].replace("…", " ").replace("'", "")
            words = re.sub(r"[(),;\"]", " ", line).split()
            if words[0].islower():  # not the NAME of "tools.NAME"
                found.append((page.name, words[0].rstrip(".:"), words[1:]))
    return found


@pytest.mark.parametrize(
    ("page", "module", "words"), shown(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_shown_commands_and_options_exist(page, module, words):
    command = importlib.import_module(module)
    known = options(command.parser())
    for word in getattr(command, "unwanted", list)(words):  # the -WORD of a query is no option
        if word.startswith("-") and not re.fullmatch(r"-\d.*", word):
            assert word.split("=")[0] in known, f"{page}: python -m {module} has no {word}"


def options(parser) -> set[str]:
    """Option strings of a parser and of its subcommands."""
    found = set()
    for action in parser._actions:
        found.update(action.option_strings)
        choices = getattr(action, "choices", None)
        if isinstance(choices, dict):
            for sub in choices.values():
                found |= options(sub)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_exist(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"(?ms)^```.*?^```", "", text)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target} is not there"
    for path in re.findall(r"(?:configs|dictionaries)/[a-z\d_./-]+\.(?:json|txt)", text):
        assert (ROOT / path).exists(), f"{page.name}: {path} is not there"
