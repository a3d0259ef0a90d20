"""A tagger's space of songs: by its classes, by what it hears, over the index that retrieval runs use."""

import json

import numpy as np
import pytest
import soundfile

from orpheus import SongIndex, predict, retrieve
from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.tasks.search import tagger_space
from tests.folders import clips, write
from tests.untrained import CLASSES, make_run

SPEC = AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return tagger_space.load(make_run(tmp_path_factory.mktemp("run"), SPEC, seconds=1.0, network="fcn").folder)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Noises and tones, and one file that is empty."""
    folder = tmp_path_factory.mktemp("songs")
    time = np.arange(8000 * 3) / 8000
    for number in range(3):
        rng = np.random.default_rng(number)
        soundfile.write(folder / f"noise{number}.wav", rng.normal(0, 0.1, len(time)), 8000)
        tone = 0.3 * np.sin(2 * np.pi * (300 + 5 * number) * time) * (1 + 0.01 * rng.normal(size=len(time)))
        soundfile.write(folder / f"tone{number}.wav", tone, 8000)
    (folder / "empty.wav").touch()
    return folder


def test_vectors_are_what_the_tagger_hears_and_says(space, songs):
    ((path, vector),) = space.files([songs / "tone1.wav"])
    tagger = space.tagger
    heard, scores = (tagger.features(path, layer=layer).mean(axis=0) for layer in ("embedding", "tags"))
    expected = np.concatenate([half / np.linalg.norm(half) for half in (heard, scores)]) / np.sqrt(2)
    np.testing.assert_allclose(vector, expected, atol=1e-5)
    np.testing.assert_allclose(scores, tagger.predict(path).mean, atol=1e-6)
    cosines = space.tags(CLASSES) @ vector
    np.testing.assert_allclose(cosines, scores / np.linalg.norm(scores) / np.sqrt(2), atol=1e-5)
    ((_, error),) = space.files([songs / "empty.wav"])
    assert isinstance(error, DataError)


def test_an_index_by_a_tagger(space, songs, tmp_path, capsys):
    call = ["index", str(space.run.folder), str(songs), "-o", str(tmp_path / "index")]
    assert retrieve.main(call) == 1  # the empty file
    index = SongIndex(tmp_path / "index")
    assert len(index) == 6
    near = index.similar(songs / "tone0.wav", k=2)
    assert {hit.path.rpartition("/")[2] for hit in near} == {"tone1.wav", "tone2.wav"}
    found = index.search("Guitar", k=6)
    scores = {
        str(path): space.tags(["guitar"])[0] @ vector for path, vector in space.files([hit.path for hit in found])
    }
    assert [hit.path for hit in found] == sorted(scores, key=scores.get, reverse=True)
    assert np.ptp(list(scores.values())) > 1e-4
    assert {near.tag for near in index.tags(songs / "tone0.wav")} == set(CLASSES)
    with pytest.raises(DataError, match=r"searched by its classes, and 'guitars' is none \(nearest: guitar\)"):
        index.search("guitars")
    (tmp_path / "glove.txt").write_text("guitar 1 0\nslow 0 1\nguitars 1 0\n")
    asked = [
        "search",
        str(tmp_path / "index"),
        "guitars",
        "--word-vectors",
        str(tmp_path / "glove.txt"),
        "--format",
        "json",
    ]
    capsys.readouterr()
    assert retrieve.main(asked) == 0
    by_word = [hit["path"] for hit in json.loads(capsys.readouterr().out)]
    assert by_word == [hit.path for hit in found]  # guitar stands for it
    made = ["index", str(space.run.folder), str(songs / "tone0.wav"), "-o", str(tmp_path / "knowing")]
    assert retrieve.main([*made, "--word-vectors", str(tmp_path / "glove.txt")]) == 0
    assert SongIndex(tmp_path / "knowing").search("guitars")  # remembers them
    capsys.readouterr()


def test_a_word_that_is_no_class_stands_for_the_nearest_classes(space, tmp_path, caplog):
    vectors = {"guitar": (1, 0, 0), "slow": (0, 1, 0), "drag": (0.6, 0.8, 0), "far": (0, 0, 1)}
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in vectors.items()]
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    caplog.set_level("INFO", "orpheus")
    known = tagger_space.load(space.run.folder, tmp_path / "glove.txt")
    assert [known.knows(word) for word in ("été", "drag", "far", "nothing")] == [True, True, False, False]
    assert not space.knows("drag")
    guitar, slow = space.tags(["guitar", "slow"])
    own, word = known.tags(["guitar", "drag"])
    np.testing.assert_array_equal(own, guitar)
    np.testing.assert_allclose(word, 0.8 * slow + 0.6 * guitar, atol=1e-6)
    assert "drag is no class; for it stand slow (0.80), guitar (0.60)" in caplog.text
    np.testing.assert_allclose(known.word_vectors(["slow"]) @ vectors["drag"], [0.8], atol=1e-6)
    with pytest.raises(DataError, match="no vector for 'far' that is near a class's; nor is it one; it has guitar"):
        known.tags(["far"])


def test_damaged_files_are_kept_or_skipped(space, songs, tmp_path, caplog):
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "half.flac", np.random.default_rng(7).normal(0, 0.1, 24000), 8000)
    content = (tmp_path / "half.flac").read_bytes()
    (tmp_path / "music" / "half.flac").write_bytes(content[: len(content) * 3 // 4])
    call = ["index", str(space.run.folder), str(tmp_path / "music"), "-o"]
    assert retrieve.main([*call, str(tmp_path / "kept")]) == 0 and len(SongIndex(tmp_path / "kept")) == 1
    assert retrieve.main([*call, str(tmp_path / "skipped"), "--damaged", "skip"]) == 1
    assert len(SongIndex(tmp_path / "skipped")) == 0
    assert "half.flac: damaged: " in caplog.text
    predicted = [str(space.run.folder), str(tmp_path / "music"), "-t", "0"]
    assert predict.main(predicted) == 0 and predict.main([*predicted, "--damaged", "skip"]) == 1
    features = [*predicted, "-l", "embedding", "-o", str(tmp_path / "x.npz")]
    with pytest.raises(ConfigError, match="damaged='drop'"):
        space.tagger.predict(tmp_path / "music" / "half.flac", damaged="drop")
    assert predict.main(features) == 0 and predict.main([*features, "--damaged", "skip"]) == 2  # nothing is left


def test_records_are_embedded_as_their_audio_would_be(space, tmp_path):
    made = clips([50, 9], [["slow"], ["drum & bass", "x"]], SPEC)
    write(tmp_path, [made], SPEC)
    found = {song: (tags, vector) for song, tags, vector in space.records(tmp_path)}
    assert [tags for tags, _ in found.values()] == [("slow",), ("drum & bass", "x")]
    for clip in made:
        np.testing.assert_allclose(found[clip.track_id][1], space._embed([clip.audio]), atol=1e-6)
    assert [song for song, *_ in space.records(tmp_path, only={made[1].track_id})] == [made[1].track_id]


def test_what_a_tagger_has_not(space, tmp_path):
    with pytest.raises(ConfigError, match="knows no word vectors"):
        space.word_vectors(["guitar"])
    other = Run.begin(tmp_path, command=["test"])
    other.write("run", {"task": "recommendation"})
    with pytest.raises(DataError, match="a run of recommendation"):
        tagger_space.load(tmp_path)
