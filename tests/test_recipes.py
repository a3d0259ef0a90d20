"""WORKSPACE.md's recipes, each followed literally: task, metric, tag source, dictionary method, command."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from orpheus import evaluate, predict, report, train
from orpheus.base import cli
from orpheus.data.tags import sources
from orpheus.runs.folder import Run
from orpheus.semantics import dictionary
from orpheus.tasks import plan
from orpheus.tasks.tagging.clusters import cluster_targets
from tests.conftest import ROOT
from tests.test_structure import COMMANDS
from tools import _tracks, cluster_tags, tag_stats

TEXT = (ROOT / "WORKSPACE.md").read_text(encoding="utf-8")


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The toy task in the table, and the command line of a run of it."""
    monkeypatch.setitem(plan.TASKS, "toy", "tests.toy_task")
    training = {"batch_size": 12, "log_dir": str(tmp_path / "runs"), "tensorboard": "scalars"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"toy": {}, "model-training": training}))
    return ["features", "--config", str(path), "--seed", "3"]


@pytest.mark.slow
def test_a_task_trains_resumes_and_is_evaluated(toy, tmp_path, capsys):
    assert train.main([*toy, "--dry-run", "--wheels", "3"]) == 0
    assert re.search(r"wheels +3\n", capsys.readouterr().out) and not (tmp_path / "runs").exists()
    assert train.main([*toy, "--epochs", "1"]) == 0
    run = Run.open(capsys.readouterr().out.strip())
    assert run.task == "toy" and run.read("run")["wheels"] == 4 and len(run.history()) == 1
    assert train.main(["--resume", str(run.folder), "--epochs", "2"]) == 0
    assert [row["epoch"] for row in run.history()] == [1, 2]
    capsys.readouterr()
    assert evaluate.main([str(run.folder)]) == 0
    shown = capsys.readouterr().out
    # The recipe of a metric: what the task's evaluation returns is in metrics.json, and a report shows it.
    value = run.metrics()["test"]["mean"]["agreement"]
    assert 0.4 < value <= 1 and f"agreement {value:.4f}" in shown
    assert report.main([str(run.folder), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "agreement" in page and f"{value:.4f}" in page


def test_a_tasks_options_are_its_own(toy, tmp_path, capsys):
    for line, message in (
        ([*toy, "--wheels", "0"], "--wheels 0: must be at least 1"),
        ([*toy, "--no-shuffle"], "--no-shuffle: an option of tagging runs, and this is a new toy run"),
    ):
        assert train.main(line) == 2
        assert message in capsys.readouterr().err
    Run(tmp_path / "run").write("run", {"task": "toy"})
    assert predict.main([str(tmp_path / "run"), "song.mp3"]) == 2
    assert "orpheus.predict has no use for" in capsys.readouterr().err
    assert train.main(["--resume", str(tmp_path / "run"), "--wheels", "4"]) == 2
    assert "--wheels with --resume" in capsys.readouterr().err
    Run(tmp_path / "other").write("run", {"task": "tagging"})
    assert train.main(["--resume", str(tmp_path / "other"), "--wheels", "4"]) == 2
    assert "--wheels: an option of toy runs" in capsys.readouterr().err


def test_a_tag_source(monkeypatch, tmp_path, capsys):
    """A file of ``track: tag, tag`` lines, known to every command that takes --tags."""

    def read(path, min_val, database):
        lines = (line.split(": ") for line in path.read_text().splitlines())
        return {track: tags.split(", ") for track, tags in lines}

    path = tmp_path / "mine.colons"
    path.write_text("a: rock, loud\nb: rock\n")
    assert tag_stats.main(["--tags", str(path)]) == 2, "not known yet"
    kind = sources.Kind(lambda path: path.suffix == ".colons", read)
    monkeypatch.setattr(sources, "KINDS", {"colons": kind, **sources.KINDS})
    tags, provenance = sources.read([path])
    assert tags == {"a": ["rock", "loud"], "b": ["rock"]} and provenance["name"] == "mine.colons"
    capsys.readouterr()
    assert tag_stats.main(["--tags", str(path)]) == 0
    assert "rock" in capsys.readouterr().out


def test_a_dictionary_method(monkeypatch, tmp_path, capsys):
    """Clusters by the first letter, through the command and into a tagger's classes."""

    def flags(parser):
        _tracks.add_source(parser)
        parser.add_argument("--out", required=True)

    def run(arguments):
        tracks, data = _tracks.read(arguments)
        counts = _tracks.popularity(tracks)
        letters = sorted({tag[0] for tag in counts})
        made = dictionary.provenance("first-letter", parameters={}, data=data, seed=None)
        dictionary.Dictionary({tag: letters.index(tag[0]) for tag in counts}, counts, made).save(arguments.out)

    monkeypatch.setitem(cluster_tags.METHODS, "first-letter", cluster_tags.Method("by the first letter", flags, run))
    (tmp_path / "tags.csv").write_text("track_id,tags\na,rock; raga\nb,rock; soul\n")
    out = tmp_path / "tags_dict.json"
    assert cluster_tags.main(["first-letter", "--tags", str(tmp_path / "tags.csv"), "--out", str(out)]) == 0
    found = dictionary.load(out)
    assert found.made["method"] == "first-letter" and found.tag_to_cluster == {"rock": 0, "raga": 0, "soul": 1}
    targets = cluster_targets(found, ["rock", "soul", "raga"])
    np.testing.assert_array_equal(targets.multi_hot(["raga"]), [1, 0])
    with pytest.raises(SystemExit):
        cluster_tags.main(["--help"])
    assert "first-letter" in capsys.readouterr().out


COMMAND = '''
"""Says hello."""
import argparse
import sys
from orpheus.base import cli
from orpheus.errors import ConfigError

def parser() -> cli.Parser:
    result = cli.parser("hello", "Say hello.", example="python -m hello you")
    result.add_argument("name", help="whom to greet")
    return result

def body(arguments: argparse.Namespace) -> int:
    if arguments.name == "nobody":
        raise ConfigError("name=nobody: greet somebody")
    print(f"hello {arguments.name}")
    return cli.EXIT_OK

def main(argv=None) -> int:
    return cli.run(parser(), body, argv)

if __name__ == "__main__":
    sys.exit(main())
'''


def test_a_command(tmp_path):
    (tmp_path / "hello.py").write_text(COMMAND)

    def call(*arguments):
        code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import hello; sys.exit(hello.main({list(arguments)!r}))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert call("you").stdout == "hello you\n"
    refused = call("nobody")
    assert refused.returncode == cli.EXIT_BAD_INPUT and len(refused.stderr.splitlines()) == 1
    assert "example:\n  python -m hello you" in call("--help").stdout
    for name in COMMANDS:  # as those that are there
        text = (ROOT / name.replace(".", "/")).with_suffix(".py").read_text()
        assert all(f"\ndef {function}(" in text for function in ("parser", "body", "main")), name


def test_where_is_names_what_is_there():
    """Each row of "Where is …" names one file and functions or constants that are in it."""
    section = TEXT.partition("## Where is …")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("|")][2:]
    assert len(rows) >= 10  # the ten questions of whoever comes new, and more
    for question, place, names in rows:
        path = ROOT / place.strip("`")
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"`([^`]+)`", names)
        assert found, question
        for name in found:
            for part in name.split("."):
                assert re.search(rf"^ *(def|class) {part}\b|^{part}\b.* = ", text, re.M), (
                    f"{question}: {place} has no {name}"
                )


def test_paths_that_the_map_names_are_there():
    named = set(re.findall(r"`?((?:orpheus|tests|tools|benchmarks|configs|docs)/[\w/.-]*\w)", TEXT))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert named and not missing
    for room in re.findall(r"^\| `(orpheus/[\w/]+)/` ", TEXT, re.M):
        assert (ROOT / room).is_dir(), room
