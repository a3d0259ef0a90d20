"""Bad input of a joint training: one line that names option or key, and no run folder."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from orpheus import train
from orpheus.data.items import layout, tables
from orpheus.data.items.tables import Table
from orpheus.tasks.joint import space
from tests.tasks.joint import planted


def write(folder, name, text):
    (folder / name).write_text(text)


CASES = {
    "no counts": (
        {"without": ("--counts",)},
        {},
        None,
        "--counts is missing: joint.listener_loss needs who heard what",
    ),
    "no texts": ({"without": ("--texts",)}, {}, None, "--texts is missing: joint.inputs=['text', 'factors'] needs it"),
    "no factors": ({"without": ("--factors",)}, {}, None, "--factors is missing"),
    "no tags": ({"without": ("--tags",)}, {}, None, "--tags is missing: without records nothing says it"),
    "no split": ({"without": ("--split",)}, {}, None, "--split is missing"),
    "no vectors": ({"without": ("--word-vectors",)}, {}, None, "--word-vectors is missing: a new joint run needs it"),
    "unused factors": ({}, {"inputs": ["text"]}, None, "--factors: joint.inputs=['text'] does not use it"),
    "only factors": ({}, {"inputs": ["factors"]}, None, "songs of validation and test have none, by construction"),
    "audio as features": (
        {},
        {"inputs": ["audio", "text", "factors"]},
        None,
        "is trained as orpheus.train log-mel-spec",
    ),
    "an unknown input": ({}, {"inputs": ["smell"]}, None, "joint.inputs"),
    "an input twice": ({}, {"inputs": ["text", "text"]}, None, "names one twice"),
    "nothing to learn": (
        {},
        {name: {"weight": 0} for name in ("tag_loss", "listener_loss", "class_loss")},
        None,
        "are all 0, and nothing is learned",
    ),
    "listeners' factors missing": (
        {},
        {"listeners": "factors"},
        None,
        "--listener-factors is missing: joint.listeners=factors",
    ),
    "an unknown key": ({}, {"embeding": 1}, None, "joint.embeding: unknown key; did you mean embedding?"),
    "dropout of another input": ({}, {"modality_dropout": {"audio": 0.5}}, None, "['audio'] not among inputs"),
    "nobody's songs": (
        {},
        {},
        lambda f: write(f, "plays.csv", "a,zz1,1\nb,zz2,2\n"),
        "none of its 2 songs (zz1, …) is in the split; do the ids agree?",
    ),
    "empty counts": ({}, {}, lambda f: write(f, "plays.csv", ""), "plays.csv: no counts"),
    "a count that is none": (
        {},
        {},
        lambda f: write(f, "plays.csv", "a,s000,1\nb,s001,many\n"),
        "plays.csv:2: count 'many'",
    ),
    "one song each": (
        {},
        {},
        lambda f: write(f, "plays.csv", "".join(f"u{i},s{i:03d},1\n" for i in range(240))),
        "at least two must have it, and some not",
    ),
    "inputs of other songs": (
        {},
        {},
        lambda f: [tables.write(f / f"{n}.npz", Table(n, ("x",), np.ones((1, 3)))) for n in ("texts", "factors")],
        "none of any of the",
    ),
    "a value that is not finite": (
        {},
        {},
        lambda f: tables.write(
            f / "texts.npz", Table("t", tuple(f"s{i:03d}" for i in range(240)), np.full((240, 2), np.nan))
        ),
        "has a value that is not finite",
    ),
    "a split of other songs": (
        {},
        {},
        lambda f: write(
            f, "split.json", json.dumps({**json.loads((f / "split.json").read_text()), "test": ["q1", "q2"]})
        ),
        "none of the 2 test songs has an input and a tag or a listener",
    ),
    "no such file": ({}, {}, lambda f: (f / "texts.npz").unlink(), "texts.npz: no such table"),
    "a figure that cannot be had": (
        {},
        {"monitor": "song_tags", "class_loss": {"weight": 0}},
        None,
        "joint.monitor=song_tags",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_no_run(tmp_path, capsys, name):
    options, section, spoil, message = CASES[name]
    files = planted.plant(tmp_path)
    if spoil is not None:
        spoil(tmp_path)
    assert train.main(files.arguments(planted.config(tmp_path, **section), **options)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert message in line, line
    assert "Traceback" not in line and not (tmp_path / "runs").exists()


def test_factors_of_listeners_made_with_songs_held_out_are_refused(tmp_path, capsys):
    files = planted.plant(tmp_path)
    split = json.loads((tmp_path / "split.json").read_text())
    table = tables.read(tmp_path / "listeners.npz")
    np.save(tmp_path / "user_factors_als_6_X.npy", table.matrix)
    layout.write_ids(tmp_path / "users_index_X.tsv", table.ids)
    layout.write_ids(tmp_path / "index_factors_als_6_X.tsv", [*split["train"], split["test"][0]])
    arguments = files.arguments(planted.config(tmp_path, listeners="factors"))
    assert train.main([*arguments, "--listener-factors", str(tmp_path / "user_factors_als_6_X.npy")]) == 2
    assert f"made with songs of validation or test: item '{split['test'][0]}' is in both" in capsys.readouterr().err


def test_places_of_listeners_are_kept_and_made_again_where_the_file_is_damaged(tmp_path, monkeypatch, caplog):
    """Of these weights: those of others lie elsewhere."""
    made = []

    def listeners_of(*_):
        made.append(1)
        return np.array([[1, 0], [0, 0], [0, 1]], np.float32)  # nothing is known of the second one

    monkeypatch.setattr(space.data, "reopen_data", lambda run: SimpleNamespace(listeners=("u", "v", "w")))
    monkeypatch.setattr(space.embedding, "listeners_of", listeners_of)

    def places(identity="a"):
        own = SimpleNamespace(run=SimpleNamespace(folder=tmp_path), identity=identity, model=None, config=None)
        return {name: place.tolist() for name, place in space.JointSpace.listeners.func(own).items()}

    expected = {"u": [1, 0], "w": [0, 1]}
    assert places() == places() == expected and len(made) == 1
    assert places("b") == expected and len(made) == 2
    path = tmp_path / space.LISTENERS
    path.write_bytes(path.read_bytes()[:100])
    assert places("b") == places("b") == expected and len(made) == 3 and "it is made again" in caplog.text
