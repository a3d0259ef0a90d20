"""The same seed gives the same run twice on one CPU, to the last bit, in processes of their own."""

import json
import zipfile

import numpy as np
import pytest

from orpheus.runs.folder import Run
from orpheus.runs.models import load_model


def outcome(folder: str) -> tuple[list[bytes], list[dict]]:
    """(bytes of every weight, numbers of every epoch) of a run."""
    run = Run.open(folder)
    assert "model.weights.h5" in zipfile.ZipFile(run.model_path).namelist()
    weights = [np.ascontiguousarray(w).tobytes() for w in load_model(run).get_weights()]
    timings = ("seconds", "examples_per_second", "time")
    epochs = [{k: v for k, v in row.items() if not any(t in k for t in timings)} for row in run.read("history")]
    return weights, epochs


@pytest.mark.slow
@pytest.mark.parametrize("frontend", ["log-mel-spectrogram", "waveform"])
def test_the_same_seed_gives_the_same_bits(command, demo, tiny, tmp_path, frontend):
    records = demo / ("mel" if frontend.startswith("log") else "wave")
    values = json.loads(tiny.read_text())
    values["augmentation"] = {"mixup_alpha": 0.2, "gain_db": 6.0}
    values["model-training"]["window_length"] = 2.5
    tiny.write_text(json.dumps(values))

    def trained(seed: int):
        done = command(
            "orpheus.train",
            frontend,
            "--config",
            tiny,
            "--tfrecords-dir",
            records,
            "--epochs",
            2,
            "--seed",
            seed,
            "--steps-per-epoch",
            3,
        )
        assert done.returncode == 0, done.stderr
        return outcome(done.stdout.strip().splitlines()[-1])

    first, again, other = trained(5), trained(5), trained(6)
    assert len(first[0]) > 30
    assert first[0] == again[0]
    assert first[1] == again[1]
    assert first[0] != other[0]
