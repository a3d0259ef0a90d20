"""Records that have moved: the message names the cure, and the run remembers it."""

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
