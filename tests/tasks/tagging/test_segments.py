"""Segments of tags over time, against what is written by hand."""

import csv
import json

import numpy as np
import pytest
import soundfile

from orpheus import predict
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.tasks.tagging import segments
from orpheus.tasks.tagging.tagger import Prediction
from tests.untrained import make_run

STARTS = np.array([0.0, 2.0, 4.0, 6.0, 7.5])  # the last window ends with the file, at 9.5
SCORES = np.array(
    [[0.25, 0.5, 0.0], [0.75, 0.25, 0.125], [0.5, 0.75, 0.0], [0.25, 1.0, 0.0], [1.0, 0.0, 0.25]], np.float32
)
PREDICTION = Prediction(("slow", "été", "never"), STARTS, 2.0, SCORES)
EXPECTED = [(0.0, 2.0, "été", 0.5), (2.0, 6.0, "slow", 0.625), (4.0, 8.0, "été", 0.875), (7.5, 9.5, "slow", 1.0)]

# By hand, with the keys of the published schema: github.com/marl/jams, jams/schemata/jams_schema.json.
JAMS = """{
  "annotations": [
    {
      "annotation_metadata": {
        "curator": {"name": "", "email": ""}, "annotator": {}, "version": "", "corpus": "",
        "annotation_tools": "orpheus.predict", "annotation_rules": "windows of 2 s, scores of at least 0.5",
        "validation": "", "data_source": "program"
      },
      "namespace": "tag_open",
      "data": [
        {"time": 0.0, "duration": 2.0, "value": "été", "confidence": 0.5},
        {"time": 2.0, "duration": 4.0, "value": "slow", "confidence": 0.625},
        {"time": 4.0, "duration": 4.0, "value": "été", "confidence": 0.875},
        {"time": 7.5, "duration": 2.0, "value": "slow", "confidence": 1.0}
      ],
      "sandbox": {}, "time": 0.0, "duration": 9.5
    }
  ],
  "file_metadata": {
    "title": "song", "artist": "", "release": "", "duration": 9.5, "identifiers": {}, "jams_version": "0.3.4"
  },
  "sandbox": {}
}"""


def test_runs_of_windows_by_hand():
    assert segments.find(PREDICTION, 0.5) == EXPECTED
    assert segments.find(PREDICTION, 0.51) == [
        (2.0, 4.0, "slow", 0.75),
        (4.0, 8.0, "été", 0.875),
        (7.5, 9.5, "slow", 1.0),
    ]
    whole = segments.find(PREDICTION, 0.0)
    assert [(one.start, one.end, one.tag) for one in whole] == [(0.0, 9.5, tag) for tag in PREDICTION.classes]
    np.testing.assert_allclose([one.confidence for one in whole], SCORES.mean(axis=0), atol=1e-6)


def test_the_three_files_by_hand(tmp_path):
    segments.write_jams(tmp_path / "x.jams", PREDICTION, "song", 0.5)
    assert json.loads((tmp_path / "x.jams").read_text(encoding="utf-8")) == json.loads(JAMS)
    segments.write_json(tmp_path / "x.json", {"a": PREDICTION}, {"b": "broken"}, 0.5)
    rows = [dict(zip(("start", "end", "tag", "confidence"), row, strict=True)) for row in EXPECTED]
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {
        "a": {"threshold": 0.5, "window_seconds": 2.0, "segments": rows},
        "b": {"error": "broken"},
    }
    segments.write_csv(tmp_path / "x.csv", {"a": PREDICTION}, 0.5)
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        head, *found = csv.reader(file)
    assert head == ["file", "start", "end", "tag", "confidence"]
    assert found == [["a", *map(str, row)] for row in EXPECTED]


def test_the_command(tmp_path, capsys):
    run = make_run(tmp_path, AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32), seconds=1.0, network="fcn")
    (tmp_path / "music").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 0.1, 20000)
        soundfile.write(tmp_path / "music" / f"{number}.wav", noise, 8000)
    (tmp_path / "music" / "2.wav").touch()
    call = [str(run.folder), str(tmp_path / "music"), "-t", "0.1", "--json", str(tmp_path / "all.json"), "--segments"]
    for suffix in ("json", "csv", "jams"):
        assert predict.main([*call, str(tmp_path / f"s.{suffix}")]) == 1
    scores = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    found = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert list(found) == list(scores) and "error" in found[str(tmp_path / "music" / "2.wav")]
    first = str(tmp_path / "music" / "0.wav")
    heard = {
        name
        for name, column in zip(scores[first]["classes"], np.transpose(scores[first]["scores"]), strict=True)
        if column.max() >= 0.1
    }
    assert heard == {row["tag"] for row in found[first]["segments"]}
    with open(tmp_path / "s.csv", encoding="utf-8", newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["file"] == first]
    assert [float(row["confidence"]) for row in listed] == [row["confidence"] for row in found[first]["segments"]]
    assert sorted(path.name for path in tmp_path.glob("*.jams")) == ["s_0.jams", "s_1.jams"]
    data = json.loads((tmp_path / "s_0.jams").read_text(encoding="utf-8"))["annotations"][0]["data"]
    assert [one["confidence"] for one in data] == [row["confidence"] for row in found[first]["segments"]]
    capsys.readouterr()
    with pytest.raises(SystemExit) as refused:
        predict.main([*call, str(tmp_path / "s.txt")])
    assert refused.value.code == 2 and "a name that ends in .json or .csv or .jams is needed" in capsys.readouterr().err
