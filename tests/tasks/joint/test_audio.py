"""A joint run on sound and texts: files, records and validation give a song the same place; files get probable tags."""

import json

import numpy as np
import pytest

from orpheus import predict, train
from orpheus.data.items import tables
from orpheus.errors import ConfigError
from orpheus.runs.folder import Run
from orpheus.tasks.joint import embedding
from orpheus.tasks.joint.data import load_config, reopen_data
from orpheus.tasks.joint.space import JointSpace
from tests.tasks.joint import planted
from tools import text_vectors


@pytest.fixture(scope="module")
def heard(demo, tmp_path_factory):
    """A run of two steps on the demo's sound and texts, of which some songs have none; the table of texts."""
    folder = tmp_path_factory.mktemp("heard")
    assert text_vectors.main([str(demo / "data/texts"), "--max-df", "1", "--out", str(folder / "all.npz")]) == 0
    whole = tables.read(folder / "all.npz")
    texts = tables.Table("texts", whole.ids[4:], whole.matrix[4:])
    tables.write(folder / "texts.npz", texts)
    truth = json.loads((demo / "data/demo.json").read_text())
    words = sorted({tag for tags in truth["truth"].values() for tag in tags})
    rng = np.random.default_rng(0)
    lines = (f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=6))}\n" for word in words)
    (folder / "vectors.txt").write_text("".join(lines))
    section = {
        "inputs": ["audio", "text"],
        "frontend": "short-chunk",
        "n_filters": 2,
        "input_length": 128,
        "num_chunk": 2,
    }
    config = planted.config(folder, **section, history=1)
    named = {"--tfrecords-dir": demo / "mel", "--texts": folder / "texts.npz", "--counts": demo / "data/plays.csv"}
    options = [str(part) for pair in named.items() for part in pair]
    small = [
        "model-training.batch_size=4",
        "model-training.split=[60,20,20]",
        f"model-training.log_dir={folder / 'runs'}",
    ]
    sets = [part for one in small for part in ("--set", one)]
    start = [
        "log-mel-spectrogram",
        "--config",
        str(config),
        "--word-vectors",
        str(folder / "vectors.txt"),
        *options,
        *sets,
    ]
    assert train.main([*start, "--epochs", "1", "--steps-per-epoch", "2"]) == 0
    return Run.open(next((folder / "runs").iterdir())), texts


@pytest.mark.slow
def test_a_song_has_one_place(demo, heard):
    run, texts = heard
    space, data = JointSpace(run), reopen_data(run)
    assert space.inputs == ("audio", "text") and not data.present.all() and data.present[:, 0].all()
    rows = data.songs_of("valid")
    expected = dict(
        zip((data.ids[row] for row in rows), embedding.songs(space.model, data, rows, load_config(run)), strict=True)
    )
    found = {song: vector for song, _, vector in space.records(demo / "mel", only=expected, texts=texts)}
    assert found.keys() == expected.keys()
    for song, vector in found.items():
        np.testing.assert_allclose(vector, expected[song], atol=1e-5)
    heard_alone = {song: vector for song, _, vector in space.records(demo / "mel", only=expected)}
    some = next(song for song in expected if song in texts)
    assert np.abs(heard_alone[some] - found[some]).max() > 1e-2
    path = next((demo / "data/audio").glob(f"{some}.*"))
    ((_, by_file),) = space.files([path])
    np.testing.assert_allclose(by_file, heard_alone[some], atol=0.05)  # records hold decibels in float16
    ids, by_text = space.tables(texts=texts)
    assert np.abs(by_text[ids.index(some)] - found[some]).max() > 1e-2
    with pytest.raises(ConfigError, match="was trained on audio and text and does not use"):
        space.tables(factors=texts)


@pytest.mark.slow
def test_tags_of_files_are_probabilities(demo, heard, capsys, tmp_path):
    run, _ = heard
    path = sorted((demo / "data/audio").iterdir())[0]
    (tmp_path / "bad.wav").write_text("no audio")
    assert predict.main([str(run.folder), str(path), str(tmp_path / "bad.wav"), "-t", "0", "--top", "3"]) == 1
    printed = capsys.readouterr()
    name, *rows = printed.out.strip().splitlines()
    assert name == str(path) and len(rows) == 3 and "1 of 2 files could not be read" in printed.err
    scores = [float(row.split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] < 1
    assert predict.main([str(run.folder), str(path), "--top", "0"]) == 2
    assert "--top 0: must be at least 1" in capsys.readouterr().err


def test_a_run_without_sound_hears_no_files(tmp_path, capsys):
    Run(tmp_path).write("run", {"task": "joint", "inputs": ["text"]})
    assert predict.main([str(tmp_path), "song.mp3"]) == 2
    assert "was trained on text and hears no files" in capsys.readouterr().err
