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
                ours = words[1 : words.index("--") if "--" in words else None]  # behind -- are options of Beam
                found.append((page.name, words[0].rstrip(".:"), ours))
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


@pytest.mark.slow
def test_own_music_in_five_minutes(shared, tmp_path, command):
    """The steps of that section, on real files: notes of four instruments, named in a csv that somebody typed."""
    wanted = ("cello", "flute", "guitar", "oboe")
    folder = shared / "philharmonia/audio"
    found = {name: sorted(folder.glob(f"{name}_*.mp3"))[:30] for name in wanted}
    lines = ["track_id,audio_path,artist,tags"]
    for name, paths in found.items():
        for path in paths:
            note, loud = path.stem.split("_")[1], "; loud" if "forte" in path.stem else ""
            lines.append(f"{path.stem},{path},{note},{name}{loud}")
    (tmp_path / "tracks.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    records, config = tmp_path / "records", "configs/small-log-mel.json"

    def run(module, *arguments):
        done = command(module, *arguments, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run("tools.preprocess", "log-mel-spectrogram", records, "--csv-path", tmp_path / "tracks.csv", "-n", 10)
    made = run(
        "orpheus.train",
        "log-mel-spectrogram",
        "--config",
        config,
        "--tfrecords-dir",
        records,
        "--epochs",
        2,
        "--set",
        f"model-training.log_dir={tmp_path / 'runs'}",
    ).splitlines()[-1]
    assert "macro" in run("orpheus.evaluate", made)
    printed = run("orpheus.predict", made, found["flute"][0], "-t", "0.3", "--csv", tmp_path / "tags.csv")
    assert str(found["flute"][0]) in printed
    header = (tmp_path / "tags.csv").read_text(encoding="utf-8").splitlines()[0]
    assert set(header.split(",")[1:]) == {*wanted, "loud"}
