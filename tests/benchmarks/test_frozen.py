"""benchmarks.frozen: a tiny run."""

import pytest

from benchmarks import frozen


@pytest.mark.slow
def test_kept_outputs_are_faster(capsys):
    assert frozen.main(["--batch-size", "2", "--steps", "1", "--repeats", "1"]) == 0
    kept, anew = capsys.readouterr().out.splitlines()[2:4]
    assert "| kept outputs |" in kept and "| network in every step |" in anew
    assert float(anew.split("|")[5].split()[0].replace(",", "")) > 2  # times as fast
