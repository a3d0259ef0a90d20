"""How a run is named: its folder, its number, or the time it began."""

import pytest

from orpheus.errors import DataError
from orpheus.runs import finding
from orpheus.runs.folder import Run


def test_a_run_by_its_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("waveform_260101-120000", "waveform_260101-120001", "log-mel-spectrogram_260102-090000"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        Run(folder).write("run", {"version": 1, "task": "tagging"})
    assert finding.find_run("260101-120001").folder.name == "waveform_260101-120001"
    assert finding.find_run("260102-0900").folder.name == "log-mel-spectrogram_260102-090000"
    with pytest.raises(DataError, match=r"2 runs began then \(waveform_260101-120000, waveform_260101-120001\)"):
        finding.find_run("260101-1200")
    with pytest.raises(DataError, match="no run; give the folder of the run"):
        finding.find_run("250101-120000")
    assert finding.find_run("runs/waveform_260101-120000").folder.name == "waveform_260101-120000"
