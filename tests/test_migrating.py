"""docs/migrating names every option of the reference systems, and the counterparts it gives exist."""

import json
import re

import pytest

from orpheus import config
from orpheus.config import retrieval
from tests.conftest import ROOT

FOLDER = ROOT / "docs/migrating"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
THEIRS = json.loads((ROOT / "tests/migrating_options.json").read_text(encoding="utf-8"))
COMMANDS = [(system, command) for system in ("tagging", "tartarus", "retrieval") for command in THEIRS[system]]


def pages(system: str) -> str:
    """The text on a system; inspections are of tagging."""
    return PAGES[system] + (PAGES["inspections"] if system == "tagging" else "")


def rows(system: str, heading: str) -> list[tuple[str, str, str]]:
    """The table below a heading, as (there, here, remark)."""
    section = re.split(r"(?m)^#+ ", pages(system).split(f"{heading}\n", 1)[1], maxsplit=1)[0]
    found = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if line[:1] == "|"
    ]
    assert all(len(row) == 3 for row in found), heading
    return found[2:]


@pytest.mark.parametrize(("system", "command"), COMMANDS)
def test_every_option_of_theirs_is_named_once(system, command):
    """Options are those of their parsers; the names of one option stand in one row."""
    table = rows(system, f"### Options of {command}")
    named = [option for there, _, _ in table for option in re.findall(r"`([^`]+)`", there)]
    assert sorted(named) == sorted(name for names in THEIRS[system][command] for name in names)
    for names in THEIRS[system][command]:
        assert any(all(f"`{name}`" in there for name in names) for there, _, _ in table), names


@pytest.mark.parametrize("system", ["tagging", "tartarus", "retrieval"])
def test_every_command_of_theirs_is_named(system):
    there = " ".join(row.split("|")[1] for row in pages(system).splitlines() if row.startswith("|"))
    headings = " ".join(line for line in pages(system).splitlines() if line.startswith("### Options of"))
    wanted = [*THEIRS[system], *THEIRS["without options"][system]]
    assert len(wanted) >= 10 and not [name for name in wanted if name not in there + headings]


def test_the_data_are_those_of_the_references_text():
    """What their READMEs show of options is in the data."""
    known = {
        name for system, _ in COMMANDS for command in THEIRS[system].values() for names in command for name in names
    }
    shown = """--tfrecords-dir --gamma --custom-loss-embeddings-path --save-coocurrence-matrix-path --genre-path --built-in
        --num_chunk --is_weighted --neptune_api_key -l -s -p --is_subset"""
    assert set(shown.split()) <= known and len(known) > 90


def test_what_has_no_counterpart_says_why():
    tables = [line for page in PAGES.values() for line in page.splitlines() if line.startswith("| `")]
    without = [line for line in tables if line.split("|")[2].strip() == "–"]
    assert without and all(len(line.split("|")[3].strip()) > 5 for line in without)
    assert all(line.split("|")[2].strip() for line in tables)


def test_keys_of_configs_exist():
    known: dict[str, set] = {}
    checked = 0
    for model in (config.Config, retrieval.RetrievalConfig):
        for name, field in model.model_fields.items():
            known.setdefault(field.alias or name, set()).update(field.annotation.model_fields)
    for section, key in re.findall(r"`([a-z-]+)\.([a-z_]+)(?:\.[a-z_]+)?`", PAGES["retrieval"]):
        if section in known:
            assert key in known[section], f"{section}.{key}"
            checked += 1
    assert checked >= 10
