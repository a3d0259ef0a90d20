"""Commands on a run whose files are damaged or hostile: one line, exit code 2, the file's name."""

import json

import pytest

from orpheus import evaluate, export, predict, report, train
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from tests.runs.test_models import change, external
from tests.untrained import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs"), AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32))


@pytest.fixture
def run(made):
    """The run, whose files are as they were again afterwards."""
    content = {path: path.read_bytes() for path in made.folder.iterdir() if path.is_file()}
    yield made
    for path, before in content.items():
        path.write_bytes(before)


COMMANDS = {
    "predict": lambda run, place: predict.main([str(run.folder), str(place / "a.wav")]),
    "export": lambda run, place: export.main([str(run.folder), str(place / "out")]),
    "report": lambda run, place: report.main([str(run.folder), "-o", str(place / "page.html")]),
    "evaluate": lambda run, place: evaluate.main([str(run.folder)]),
    "resume": lambda run, place: train.main(["--resume", str(run.folder)]),
}


def refused(name, run, place, capsys) -> str:
    """The one line of a command that ends with exit code 2."""
    (place / "a.wav").write_bytes(b"RIFF")
    assert COMMANDS[name](run, place) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1 and len(lines[0]) < 560
    return lines[0]


def spoil_config(path):
    values = json.loads(path.read_text())
    del values["frontend"], values["split"], values["tfrecords_dir"]
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("name", ["predict", "export"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not an archive that can be read"),
        (lambda path: change(path, drop=["config.json"]), "no config.json in it"),
        (lambda path: change(path, weights=external), "/secret is stored in '/etc/passwd'; refused"),
    ],
)
def test_a_hostile_model(run, tmp_path, capsys, name, spoil, message):
    spoil(run.model_path)
    said = refused(name, run, tmp_path, capsys)
    assert "model.keras" in said and message in said


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 500 + "]" * 500, "more than 64 levels deep"),
        ('{"task": 5}', "'task' is 5"),
        ('{"task": "tagging", "epochs": "x"}', "'epochs'"),
    ],
)
def test_a_run_json_of_other_content(run, tmp_path, capsys, name, text, message):
    (run.folder / "run.json").write_text(text)
    said = refused(name, run, tmp_path, capsys)
    assert "run.json" in said and message in said


@pytest.mark.parametrize("name", ["evaluate", "resume"])
def test_a_key_that_is_not_there(run, tmp_path, capsys, name):
    spoil_config(run.folder / "run.json")
    assert "run.json: no key '" in refused(name, run, tmp_path, capsys)
