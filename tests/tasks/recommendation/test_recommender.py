"""MusicRecommender.fit with its steps, listeners who were not in training, and reasons, each against the equations."""

import re

import numpy as np
import pytest

import orpheus
from orpheus import recommend
from orpheus.data.items import layout, tables
from orpheus.errors import ConfigError, DataError
from orpheus.learning.evaluation import as_reference
from orpheus.tasks.recommendation import demo as listening_demo
from orpheus.tasks.recommendation import job, listeners, metrics, recommender
from tests.tools.test_recommendation_data import call, factorize, small

SMALL = ["inputs.biography.dense=[16]", "network.hidden=[16]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return listening_demo.write(tmp_path_factory.mktemp("fitted"), users=60, artists=150)


@pytest.fixture(scope="module")
def fitted(folder):
    said: list[str] = []
    found = orpheus.MusicRecommender().fit(folder.root, "bio", "audio-emb", overrides=SMALL, epochs=2, say=said.append)
    return found, said


def test_every_step_is_said_with_the_counts_of_the_sets(fitted, folder):
    found, said = fitted
    text = "\n".join(said)
    steps = ["Loading data", "Training data points", "Validation data points", "Test data points (split)"]
    steps += [
        "Building network",
        "Total params",
        "Training\n",
        "epoch 1/2",
        "epoch 2/2",
        "Saving trained model model_1",
    ]
    steps += ["Predicting for the split's test data", "R2 avg", "Predicting for the whole test data"]
    steps += ["Test data points: ", "Prediction is completed", "Evaluating", "MAP@500"]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    total = len(folder.items("train"))
    held = -(-total // 10)
    assert f"Training data points: {total - held}\n" in text and f"(split): {held}\n" in text
    assert f"Test data points: {len(folder.items('test'))}\n" in text
    assert all(quantity in text for quantity in ("loss", "mean_squared_error", "val_loss", "val_mean_squared_error"))
    figure = re.search(r"MAP@500: ([\d.]+) \(as tartarus, users without a test item as zero: ([\d.]+)\)", text)
    assert float(figure[1]) == pytest.approx(found.run.metrics()["test"]["mean"]["MAP@500"], abs=1e-5)
    assert 0 < float(figure[2]) < float(figure[1]), "some users have no test item"


def test_r_squared_is_of_items_that_have_factors_and_were_not_learned_from(fitted):
    found, said = fitted
    data = found.data
    assert not set(data.held_out) & {item for ids in data.splits for item in ids}
    held_out = data.examples("train", ids=data.held_out, targets=True)
    truth = tables.targets(data.folder, "train", "als", data.dim).dense(data.held_out)
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    expected = as_reference.r_squared_of_items(truth, job.outputs(recommender.load_model(found.run), held_out))
    shown = re.search(r"R2 avg: (-?[\d.]+) \(of each item", "\n".join(said))
    assert float(shown[1]) == pytest.approx(expected, abs=1e-4)


def test_a_part_of_train_is_held_out_as_in_the_reference(tmp_path):
    """264,344 items: 211,475 to train on, 26,434 for the validation, 26,435 for the test of the split."""
    folder = layout.DataFolder(tmp_path, "MSD-A-songs")
    layout.write_ids(folder.items_index("train"), [f"s{n}" for n in range(264_344)])
    layout.write_ids(folder.items_index("test"), ["t"])
    splits, held_out = folder.sets_and_rest(test_share=0.1)
    assert (len(splits.train), len(splits.val), len(held_out)) == (211_475, 26_434, 26_435)
    assert len({*splits.train, *splits.val, *held_out}) == 264_344
    whole = folder.sets()
    assert whole.val == splits.val and set(whole.train) == {*splits.train, *held_out}
    layout.write_ids(folder.items_index("train"), ["a", "b"])
    with pytest.raises(DataError, match=r"2 items leave none to train on, with val_share=0.1 and test_share=0.5"):
        folder.sets_and_rest(test_share=0.5)


def exact(factors: np.ndarray, counts: np.ndarray, alpha: float, regularization: float) -> np.ndarray:
    """One listener's least squares as the paper writes it: dense C and p in float64 (equation 4)."""
    factors = factors.astype(np.float64)
    confidences = np.where(counts > 0, 1 + alpha * np.log1p(counts), 1.0)
    left = factors.T @ np.diag(confidences) @ factors + regularization * np.eye(factors.shape[1])
    return np.linalg.solve(left, factors.T @ np.diag(confidences) @ (counts > 0))


def test_a_new_listener_is_folded_in_by_the_exact_equations(fitted, folder):
    found, _ = fitted
    table = found.factorised.table
    plays = {table.ids[30]: 7.0, table.ids[2]: 1.0, table.ids[77]: 3.0}
    counts = np.zeros(len(table))
    counts[[30, 2, 77]] = [7, 1, 3]
    expected = exact(np.asarray(table.matrix), counts, listening_demo.ALPHA, listening_demo.REGULARIZATION)
    folded = found.factorised.fold_in(plays)
    np.testing.assert_allclose(folded.vector, expected, rtol=1e-5, atol=1e-8)
    places = found.recommend(plays=plays, k=5)
    order = np.argsort(-(found.vectors @ expected), kind="stable")[:5]
    assert [one.id for one in places] == [found.candidates[n] for n in order]
    assert places != found.recommend(plays={table.ids[50]: 9.0}, k=5), "another taste, another list"
    assert found.recommend(plays=[table.ids[30]], k=3) == found.recommend(plays={table.ids[30]: 1}, k=3)


def test_a_listener_of_the_training_folded_in_gets_nearly_the_same_list(fitted, folder):
    found, _ = fitted
    scores = metrics.user_factors(found.data) @ found.vectors.T
    folded = np.stack([found.factorised.of_training(user).vector for user in range(len(scores))]) @ found.vectors.T
    same = [np.corrcoef(one, other)[0, 1] for one, other in zip(scores, folded, strict=True)]
    others = [np.corrcoef(one, other)[0, 1] for one, other in zip(scores, np.roll(folded, 1, axis=0), strict=True)]
    assert np.mean(same) > 0.9 > 0.6 > np.mean(others)


def test_the_settings_of_the_factorisation_are_kept_for_new_listeners(tmp_path):
    folder, path = small(tmp_path)
    options = ("--alpha", 3, "--regularization", 0.7, "--weighting", "linear")
    assert call(factorize, folder, "als", "--counts", path, "--dim", 4, *options) == 0
    stored = listeners.files.read_json(folder.factors_settings("als", 4))
    assert stored == {"weighting": "linear", "alpha": 3.0, "regularization": 0.7}


def test_reasons_are_the_parts_of_the_score(fitted):
    found, _ = fitted
    table = found.factorised.table
    plays = {table.ids[n]: 1.0 + n for n in (3, 8, 21, 40)}
    listener = found.factorised.fold_in(plays)
    for one in found.recommend(plays=plays, k=3, reasons=4):
        parts = listener.parts @ found.vectors[found.candidates.index(one.id)]
        assert one.score == pytest.approx(parts.sum(), rel=1e-5)
        shares = dict(zip(listener.heard, parts / parts.sum(), strict=True))
        assert {reason.id: reason.share for reason in one.reasons} == pytest.approx(
            {item: share for item, share in shares.items() if share > 0}
        )
        assert list(one.reasons) == sorted(one.reasons, key=lambda reason: -reason.share)
    liked = found.recommend(items=list(table.ids[:2]), k=2, reasons=2)
    assert all(abs(sum(reason.share for reason in one.reasons) - 1) < 1e-5 or len(one.reasons) < 2 for one in liked)


def test_words_that_texts_share_are_those_of_the_style(fitted, folder):
    found, _ = fitted
    names = layout.read_pairs(folder.names())
    jazz = [item for item in found.factorised.table.ids if names[item].startswith("jazz")][:6]
    places = found.recommend(items=jazz, k=20, reasons=5)
    of_style = [one for one in places if one.name.startswith("jazz")]
    assert of_style and all(one.words for one in of_style)
    row = found.words.row(of_style[0].id)
    assert all(row[found.words.words.index(word)] > 0 for word in of_style[0].words)
    assert np.mean([word.startswith("jazz") for one in of_style for word in one.words]) > 0.6
    user = layout.read_ids(folder.users_index())[0]
    place = found.recommend(user=user, k=1, reasons=3)[0]
    assert len(place.reasons) == 3 and place._replace(reasons=(), words=()) == found.recommend(user=user, k=1)[0]


def test_new_items_are_explained_by_what_their_listeners_know(fitted, folder, tmp_path):
    found, _ = fitted
    item = folder.items("test")[0]
    (tmp_path / "bio.txt").write_text(layout.read_pairs(folder.texts_index())[item])
    np.save(tmp_path / "sound.npy", tables.features(folder, "test", "audio-emb").dense([item])[0])
    first = found.recommend(new=[tmp_path / "bio.txt", tmp_path / "sound.npy"], k=2, reasons=3)[0]
    heard = found.factorised.of_training(layout.read_ids(folder.users_index()).index(first.id)).heard
    assert first.reasons and {reason.id for reason in first.reasons} <= set(heard) and first.words


def test_plays_of_a_file_and_the_flags(fitted, folder, tmp_path, capsys):
    found, _ = fitted
    ids = found.factorised.table.ids
    path = tmp_path / "plays.csv"
    path.write_text(f"{ids[3]},4\n{ids[9]}\n")
    assert recommender.read_plays(path) == {ids[3]: 4.0, ids[9]: 1.0}
    arguments = [str(found.run.folder), "--plays", str(path), "-k", "2", "--why", "2"]
    assert recommend.main(arguments) == 0
    places = found.recommend(plays={ids[3]: 4, ids[9]: 1}, k=2, reasons=2)
    assert capsys.readouterr().out.splitlines() == [
        f"{n:>3}  {recommender.line(one)}" for n, one in enumerate(places, 1)
    ]
    for text, message in (
        (f"{ids[3]},x", "count 'x'"),
        (f"{ids[3]},1\n{ids[3]},2", "plays.csv:2: item .* comes twice"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            recommender.read_plays(path)
    path.write_text("nobody\n")
    assert recommend.main(arguments) == 2 and "no item 'nobody'" in capsys.readouterr().err
    candidate = found.candidates[0]
    with pytest.raises(DataError, match="none of the 1 played items is there"):
        found.recommend(plays=[candidate])
    with pytest.raises(ConfigError, match="expected a number above 0"):
        found.recommend(plays={ids[0]: 0})
    for wrong in (["--epochs", "2", "--user", "user0"], ["--fit", "bio", "--epochs", "0"], ["-k", "0", "--user", "u"]):
        assert recommend.main([str(folder.root), *wrong]) == 2
    assert "RUN is missing" not in capsys.readouterr().err


def test_fit_by_flags_finds_what_the_folder_has(folder, capsys):
    arguments = [str(folder.root), "--fit", "--epochs", "1", "--plays", str(folder.items_index("val")), "-k", "1"]
    assert recommend.main([*arguments, *[part for one in SMALL for part in ("--set", one)]]) == 0
    text = capsys.readouterr().out
    assert "biography" in text and "Test data points: " in text and text.splitlines()[-1].startswith("  1  ")


def test_what_is_not_clear_is_asked_for(folder, tmp_path):
    with pytest.raises(DataError, match=r"no items_index_train_DATASET.tsv in splits/"):
        orpheus.MusicRecommender().fit(tmp_path)
    other = layout.DataFolder(tmp_path, "D")
    layout.write_ids(other.items_index("train"), ["a", "b"])
    with pytest.raises(ConfigError, match="features none; say which ones"):
        orpheus.MusicRecommender().fit(tmp_path)
    with pytest.raises(DataError, match=r"y_train_FACT_DIM_D.npy: none; make them with python -m tools.factorize als"):
        orpheus.MusicRecommender().fit(tmp_path, "bow")
    with pytest.raises(ConfigError, match="evaluation=multiclass; a recommender is trained by one of recommendation"):
        orpheus.MusicRecommender().fit(folder.root, "bio", experiment="dummy_text_vsm")
    with pytest.raises(ConfigError, match="call fit\\(\\) or recommend\\(\\) first"):
        orpheus.MusicRecommender().recommend(plays=["a"])
