"""Records that have moved: the message names the cure, and the run remembers it."""

import argparse
from types import SimpleNamespace

import pytest

from orpheus.errors import DataError
from orpheus.runs.folder import Run


def test_moved_records_are_asked_for_and_remembered(tmp_path):
    run = Run(tmp_path / "run")
    run.write("run", {"task": "tagging", "tfrecords_dir": str(tmp_path / "old"), "seed": 3})
    with pytest.raises(DataError, match=r"old: the records of .*run are there no longer; say with --tfrecords-dir"):
        run.records(None)
    assert run.records(tmp_path / "new") == str(tmp_path / "new")  # whoever opens it says what is wrong with it
    (tmp_path / "new").mkdir()
    run.moved(str(tmp_path / "new"))
    assert run.records(None) == str(tmp_path / "new")
    assert run.read("run")["seed"] == 3
    run.write("run", {"task": "tagging", "tfrecords_dir": "s3://bucket/records"})
    assert run.records(None) == "s3://bucket/records"


def test_records_that_could_not_be_evaluated_are_not_remembered(tmp_path, monkeypatch):
    from orpheus.tasks.tagging import data, evaluation, plan

    def damaged(*arguments, **more):
        raise DataError("a shard is damaged")

    run = Run(tmp_path / "run")
    about = {"task": "tagging", "tfrecords_dir": str(tmp_path / "old")}
    run.write("run", about)
    flags = argparse.Namespace(split="test", compare_tags=None, without_leaks=None, tfrecords_dir=str(tmp_path / "new"))
    flags.different_splits, flags.batch_size, flags.bootstrap, flags.csv, flags.suspects = False, 1, 0, None, None
    opened = SimpleNamespace(catalogue=SimpleNamespace(folder=flags.tfrecords_dir))
    scores = SimpleNamespace(save=lambda *arguments: None)
    monkeypatch.setattr(data, "reopen_data", lambda *arguments, **more: opened)
    monkeypatch.setattr(evaluation, "check_comparable", lambda *arguments, **more: None)
    monkeypatch.setattr(evaluation, "evaluate", damaged)
    with pytest.raises(DataError, match="damaged"):
        plan.evaluate(run, flags)
    assert run.read("run")["tfrecords_dir"] == about["tfrecords_dir"]
    monkeypatch.setattr(evaluation, "evaluate", lambda *arguments, **more: ({}, scores))
    monkeypatch.setattr(plan, "table", lambda *arguments: "")
    plan.evaluate(run, flags)
    assert run.read("run")["tfrecords_dir"] == flags.tfrecords_dir
