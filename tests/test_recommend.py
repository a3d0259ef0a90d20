"""Recommendations from Python and the command line: users, liked items, new files of every kind."""

import numpy as np
import pytest
import soundfile

import orpheus
from orpheus import experiment, recommend
from orpheus.config import experiment as config_experiment
from orpheus.data.items import layout, patch_files, patches, tables, texts
from orpheus.errors import ConfigError, DataError
from orpheus.runs.folder import Run
from orpheus.runs.models import load_model
from orpheus.tasks.recommendation import demo as listening_demo
from orpheus.tasks.recommendation import job, metrics
from orpheus.tasks.recommendation.data import describe, open_data
from orpheus.tasks.recommendation.prediction import predict

SETS = [
    part
    for one in (
        "data.dataset=DEMO",
        f"data.dim={listening_demo.DIM}",
        "model-training.epochs=8",
        "model-training.tensorboard=none",
        "inputs.biography.dense=[32]",
        "network.hidden=[32]",
    )
    for part in ("--set", one)
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = listening_demo.write(tmp_path_factory.mktemp("demo"), users=80, artists=150)
    arguments = ["music_recommender", "bio", "audio-emb", *SETS, "--data-dir", str(folder.root), "--only", "train"]
    assert experiment.main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def recommender(demo):
    return orpheus.MusicRecommender(demo.root)  # the newest run of a data folder


def test_a_users_list_is_the_ranking_of_the_evaluation(recommender, demo):
    user = layout.read_ids(demo.users_index())[5]
    found = recommender.recommend(user=user, k=4)
    values = recommender.vectors @ metrics.user_factors(recommender.data)[5]
    assert [one.id for one in found] == [demo.items("test")[n] for n in np.argsort(-values, kind="stable")[:4]]
    assert found[0].name == layout.read_pairs(demo.names())[found[0].id] and found[0].score == pytest.approx(
        values.max()
    )


def test_who_likes_an_item_gets_its_likes(recommender, demo):
    item = demo.items("test")[0]
    found = recommender.recommend(items=[item], k=100)
    assert item not in {one.id for one in found} and len(found) == len(demo.items("test")) - 1
    cosines = recommender.vectors @ recommender.vectors[0]
    assert found[0].id == demo.items("test")[int(np.argsort(-cosines)[1])]
    known = recommender.recommend(items=list(demo.items("train")[:2]), k=3)
    assert len(known) == 3


def test_new_items_by_the_files_of_their_inputs(recommender, demo, tmp_path):
    """The files of a known test artist give that artist's vector, so its listeners."""
    number = 2
    item = demo.items("test")[number]
    (tmp_path / "bio.txt").write_text(layout.read_pairs(demo.texts_index())[item])
    np.save(tmp_path / "sound.npy", tables.features(demo, "test", "audio-emb").dense([item])[0])
    found = recommender.recommend(new=[tmp_path / "bio.txt", tmp_path / "sound.npy"], k=5)
    values = metrics.user_factors(recommender.data) @ recommender.vectors[number]
    users = layout.read_ids(demo.users_index())
    assert [one.id for one in found] == [users[n] for n in np.argsort(-values, kind="stable")[:5]]
    with pytest.raises(ConfigError, match="input biography needs a file of text for each item"):
        recommender.recommend(new=[tmp_path / "sound.npy"])
    with pytest.raises(ConfigError, match="2 items for audio: the numbers must be the same"):
        recommender.recommend(new=[tmp_path / "bio.txt", tmp_path / "sound.npy", tmp_path / "sound.npy"])
    np.save(tmp_path / "short.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"short\.npy: 3 numbers, expected 64 finite ones for audio"):
        recommender.recommend(new=[tmp_path / "bio.txt", tmp_path / "short.npy"])


@pytest.mark.slow
def test_new_audio_and_text_pass_through_the_runs_that_made_the_features(demo, tmp_path):
    """An audio model and a text model, and a third on a hidden layer of the first beside word sequences."""
    folder = demo
    rng = np.random.default_rng(0)
    spec = patch_files.PatchSpec("mel", sample_rate=8000, hop_length=512, bins=12, n_fft=512, seconds=1, count=2)
    ids = [item for subset in layout.SETS for item in folder.items(subset)]
    (tmp_path / "audio").mkdir()
    paths = {item: tmp_path / "audio" / f"{item}.wav" for item in ids}
    for item in ids:
        soundfile.write(paths[item], 0.1 * rng.normal(size=8000), 8000)
    patches.make(folder, paths, spec, workers=1)
    words = texts.Sequences.fit(["common0 common1 rock0"], length=20)
    words.save(folder.text_model("seq"))
    read = texts.read_texts(folder, ids)
    for subset in layout.SETS:
        rows = words.transform([read[item] for item in folder.items(subset)])
        tables.save_sets(folder, "seq", {subset: rows})
    tables.save_matrix(folder.embedding("seq"), rng.normal(size=(len(words.words) + 2, 4)).astype(np.float32))

    def make(name, inputs):
        values = {
            "evaluation": "recommendation",
            "data": {"dataset": "DEMO", "fact": "als", "dim": listening_demo.DIM},
            "inputs": inputs,
            "model-training": {"epochs": 1},
        }
        data = open_data(folder.root, config_experiment.parse(values))
        run = Run(folder.models / name)
        run.folder.mkdir(parents=True)
        run.write("config", data.config.to_json())
        run.write("run", describe(data, data.config, name, seed=0, built_in=False))
        job.build(data).save(run.model_path)
        return run, data

    convolution = {"filters": 3, "kernel": [2, 12], "pool": [2, 1]}
    sound = {"kind": "patches", "count": 2, "seconds": 1, "convolutions": [convolution]}
    audio_run, _ = make("sound_1", {"audio": sound})
    for subset in layout.SETS:
        predict(audio_run, subset, layer="unit")
    both, data = make(
        "both_1",
        {
            "sound": {"kind": "vector", "setting": "sound_1-pred_unit"},
            "words": {"kind": "text", "setting": "seq", "filters": 2},
        },
    )
    names, vectors = job.job(data, data.config, epochs=1).vectors(load_model(both))  # for the projector
    words = list(texts.load_model(folder.text_model("seq")).words)
    assert list(names) == words
    np.testing.assert_array_equal(vectors, data.embeddings["words"][2 : 2 + len(words)])
    number = 1
    item = folder.items("test")[number]
    (tmp_path / "new.txt").write_text(read[item])
    expected = job.outputs(load_model(both), data.examples("test"))[number]
    by_files = orpheus.MusicRecommender(both.folder)
    # A file's patches are cut where its name says: that of the item, so that both are the same.
    renamed = tmp_path / item
    renamed.write_bytes(paths[item].read_bytes())
    found = by_files.recommend(new=[renamed, tmp_path / "new.txt"], k=3)
    values = metrics.user_factors(data) @ (expected / np.linalg.norm(expected))
    np.testing.assert_allclose([one.score for one in found], np.sort(values)[::-1][:3], atol=1e-3)


def test_mistakes_are_named(recommender, demo):
    for question, message in (
        ({"user": "nobody"}, "users_index_DEMO.tsv: no user 'nobody'; the first ones are"),
        ({"items": ["nothing"]}, "no item 'nothing', neither among the test items"),
        ({"new": ["none.npy"]}, "none.npy: no such file"),
    ):
        with pytest.raises(DataError, match=message):
            recommender.recommend(**question)
    with pytest.raises(ConfigError, match="give one of user, items, plays and new"):
        recommender.recommend(user="a", items=["b"])
    with pytest.raises(DataError, match="no trained recommendation run; make one with"):
        (demo.root / "empty" / "models").mkdir(parents=True)
        orpheus.MusicRecommender(demo.root / "empty")
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = orpheus.Nothing


def test_the_command(demo, capsys):
    user = layout.read_ids(demo.users_index())[0]
    assert recommend.main(["model_1", "--user", user, "-k", "3", "--data-dir", str(demo.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].split()[0] == "1" and "artist" in lines[0]
    assert recommend.main(["model_1", "--data-dir", str(demo.root)]) == 2
    assert "give one of --user, --item, --plays and --new" in capsys.readouterr().err
    assert recommend.main(["--user", user]) == 2


@pytest.mark.slow
def test_without_arguments_it_shows_the_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recommender = orpheus.MusicRecommender()
    found = recommender.recommend(k=3)
    shown = capsys.readouterr().out
    steps = [
        "Preprocessing",
        "Loading data",
        "Building network",
        "Training\n",
        "epoch 1/",
        "Saving",
        "Predicting for the split",
    ]
    steps += ["Predicting for the whole", "Evaluating", "MAP@500"]
    assert [shown.index(step) for step in steps] == sorted(shown.index(step) for step in steps)
    assert "the model beats" in shown or "the model loses to" in shown  # to what needs no training, beside its figure
    assert len(found) == 3 and found == recommender.recommend(user=recommender._users[0], k=3, reasons=2)
