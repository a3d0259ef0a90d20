"""Tasks: each keeps the protocol, has the same functions under the same names, and refuses the others' options."""

import argparse
import importlib
import inspect

import pytest

from orpheus import evaluate, predict, train
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.tasks import plan

NAMES = sorted(plan.TASKS)
PROTOCOL = [name for name, value in vars(plan.Task).items() if inspect.isfunction(value) and not name.startswith("_")]
# What the rooms of a task have in common: module, function → the names of what it is given first.
COMMON = {
    ("data", "open_data"): ("config",),
    ("data", "reopen_data"): ("run",),
    ("data", "load_config"): ("run",),
    ("data", "describe"): ("data", "config"),
    ("data", "save"): ("run", "data", "config"),
    ("data", "lines"): ("data", "settings"),
    ("job", "job"): ("data", "config", "epochs", "seed", "synchronized"),
    ("evaluation", "check_comparable"): ("run", "data", "different_splits"),
    ("evaluation", "evaluate"): ("run", "data", "split", "replicates", "progress"),
    ("evaluation", "table"): ("result", "split"),
}


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_keeps_the_protocol(name):
    task = plan.task(name)
    assert isinstance(task.NAME, str) and (task.SECTION is None) == (name == plan.DEFAULT)
    assert set(PROTOCOL) == {"check", "plan", "reopen", "evaluate", "table", "predict"}
    for function in PROTOCOL:
        assert parameters(getattr(task, function)) == parameters(getattr(plan.Task, function)), function
    assert set(task.FLAGS) <= {"train", "evaluate", "predict"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("module, function", COMMON)
def test_tasks_have_the_same_functions(name, module, function):
    room = plan.TASKS[name].rpartition(".")[0]
    found = parameters(getattr(importlib.import_module(f"{room}.{module}"), function))
    assert [one for one in found if one in COMMON[module, function]] == list(COMMON[module, function])


def test_the_task_of_a_config_and_of_a_run(tmp_path):
    assert plan.task_for({"model": {}}).NAME == "tagging"
    assert plan.task_for({"retrieval": {}}).NAME == "retrieval"
    assert plan.task_for({"inputs": {}, "evaluation": "binary"}).NAME == "experiment"
    run = Run(tmp_path)
    run.write("run", {"task": "classification"})
    assert plan.task_of(run) is plan.task("recommendation")
    run.write("run", {"task": "dancing"})
    with pytest.raises(DataError, match="task 'dancing' is unknown; this orpheus has tagging, retrieval"):
        plan.task_of(run)


@pytest.mark.parametrize("command", [train, evaluate, predict])
def test_every_option_of_a_task_is_an_option_of_the_command(command):
    name = command.__name__.rpartition(".")[2]
    given = {action.dest: action for action in command.parser()._actions}
    for task in plan.tasks():
        for flags in task.FLAGS.get(name, {}).values():
            for option in flags:
                action = given[option.dest]
                assert set(option.names) <= set(action.option_strings)
                assert not option.given(argparse.Namespace(**{option.dest: action.default})), option.name


@pytest.mark.parametrize(
    "task, command, option, owner",
    [
        ("retrieval", evaluate, ["--suspects", "x.csv"], "tagging"),
        ("tagging", evaluate, ["--baselines"], "experiment"),
        ("tagging", evaluate, ["--factors", "x.npz"], "retrieval"),
        ("recommendation", evaluate, ["--tfrecords-dir", "records"], "tagging"),
        ("tagging", predict, ["-p"], "experiment"),
        ("classification", predict, ["--timeline", "x.html"], "tagging"),
        ("retrieval", train, ["--no-shuffle"], "tagging"),
        ("tagging", train, ["--word-vectors", "v.txt"], "retrieval"),
    ],
)
def test_an_option_is_refused_by_the_runs_of_others(tmp_path, capsys, task, command, option, owner):
    run = Run(tmp_path)
    run.write("run", {"task": task})
    start = ["--resume", str(tmp_path)] if command is train else [str(tmp_path)]
    assert command.main([*start, *option]) == 2
    line = capsys.readouterr().err
    assert f"an option of {owner} runs, and {tmp_path} is a run of {task}" in line and option[0][-1] in line


def test_an_option_of_several_tasks_is_refused_by_none_of_them(tmp_path):
    run = Run(tmp_path)
    for name in ("tagging", "retrieval"):
        run.write("run", {"task": name})
        arguments = evaluate.parser().parse_args([str(tmp_path), "--tfrecords-dir", "records"])
        plan.check_flags(plan.task(name), "evaluate", arguments, run)
    arguments.suspects = "x.csv"
    with pytest.raises(ConfigError, match="--suspects: an option of tagging runs"):
        plan.check_flags(plan.task("retrieval"), "evaluate", arguments, run)


def test_a_retrieval_run_says_who_answers_for_it(tmp_path, capsys):
    Run(tmp_path).write("run", {"task": "retrieval"})
    assert predict.main([str(tmp_path), "song.mp3"]) == 2
    assert "ask it for songs and tags with python -m orpheus.retrieve" in capsys.readouterr().err
