"""The joint task's figures on small arrays, against plain loops and what is known by construction."""

import json

import numpy as np
import pytest
from scipy import sparse

from orpheus.errors import DataError
from orpheus.tasks.joint import baselines, metrics
from orpheus.tasks.joint.metrics import Outputs, Truth

SONGS, TAGS, LISTENERS, DIM = 60, 5, 25, 8
NAMES = [f"tag {i}" for i in range(TAGS)]


@pytest.fixture(scope="module")
def world():
    """Songs, tags and listeners with true places in one space, outputs that see them with noise, and a training's songs."""
    generator = np.random.default_rng(0)
    songs, tags, listeners = (generator.normal(size=(n, DIM)) for n in (2 * SONGS, TAGS, LISTENERS))
    chance = 1 / (1 + np.exp(-(2 * songs @ tags.T - 2)))
    labels = generator.random(chance.shape) < chance
    heard = generator.random((LISTENERS, 2 * SONGS)) < 1 / (1 + np.exp(-(2 * listeners @ songs.T - 3)))
    labels[SONGS] = False  # a song that nobody has tagged
    truth = Truth(
        NAMES, labels[SONGS:], [f"artist {i // 3}" for i in range(SONGS)], sparse.csr_matrix(heard[:, SONGS:])
    )
    learned = baselines.Learned(labels[:SONGS], sparse.csr_matrix(heard[:, :SONGS]), songs[:SONGS], songs[SONGS:])
    return Outputs.of_vectors(songs[SONGS:], tags, chance[SONGS:], listeners), truth, learned


@pytest.fixture(scope="module")
def evaluated(world):
    outputs, truth, learned = world
    return metrics.evaluate(outputs, truth, baselines=baselines.outputs(truth, learned), replicates=50, k=20)


def average_precision(relevant, scores):
    order = np.argsort(-scores, kind="stable")
    found, total = 0, 0.0
    for place, item in enumerate(order, 1):
        if relevant[item]:
            found += 1
            total += found / place
    return total / found


def test_the_three_maps_are_plain_loops(world, evaluated):
    outputs, truth, _ = world
    rows = np.flatnonzero(truth.labels.any(axis=1))
    assert len(rows) < SONGS
    labels, scores = truth.labels[rows], outputs.tag_scores[rows]
    by_tag = [average_precision(labels[:, t], scores[:, t]) for t in range(TAGS)]
    assert evaluated["tag_songs"]["MAP"] == pytest.approx(np.mean(by_tag), abs=1e-12)
    assert evaluated["song_tags"]["PR-AUC"] == pytest.approx(
        np.mean(by_tag), abs=1e-12
    )  # probabilities rise with scores
    by_song = [average_precision(truth.labels[row], outputs.probabilities[row]) for row in rows]
    assert evaluated["song_tags"]["MAP"] == pytest.approx(np.mean(by_song), abs=1e-12)
    values = []
    for listener in range(LISTENERS):
        held = truth.heard.toarray()[listener]
        if held.any():
            order = np.argsort(-outputs.listener_scores(np.array([listener]))[0])[:20]
            hits = held[order]
            values.append(sum(hits[:i].mean() * hits[i - 1] for i in range(1, 21)) / min(held.sum(), 20))
    assert evaluated["listener_songs"]["MAP@20"] == pytest.approx(np.mean(values), abs=1e-12)
    assert evaluated["listener_songs"]["listeners"] == len(values)
    three = [evaluated["tag_songs"]["MAP"], evaluated["song_tags"]["MAP"], evaluated["listener_songs"]["MAP@20"]]
    assert evaluated["mean"] == pytest.approx(np.mean(three), abs=1e-12)


def test_intervals_stand_about_their_figures_and_json_holds_all_but_listeners(evaluated):
    for question, wanted in {
        "tag_songs": ("MAP", "ROC-AUC", "P@10"),
        "song_tags": ("MAP", "ROC-AUC", "PR-AUC"),
        "listener_songs": ("MAP@20", "nDCG@20", "P@10"),
    }.items():
        row = evaluated[question]
        for metric in wanted:
            low, high = row["intervals"][metric]
            assert low <= row[metric] <= high and low < high, (question, metric)
    assert evaluated["song_tags"]["calibration"]["intervals"]["ece"]
    per_user = evaluated["listener_songs"]["per_user"]
    assert {values.shape for values in per_user.values()} == {(LISTENERS,)}
    kept = {**evaluated, "listener_songs": {k: v for k, v in evaluated["listener_songs"].items() if k != "per_user"}}
    assert json.loads(json.dumps(kept))["songs"] == SONGS


def test_the_truth_beats_every_baseline_but_an_oracle_and_random_is_chance(evaluated):
    found = evaluated["baselines"]
    assert set(found) == {"random", "popularity", "popularity, oracle", "nearest neighbours"}
    for question, metric in (("tag_songs", "MAP"), ("song_tags", "MAP"), ("listener_songs", "MAP@20")):
        mine = evaluated[question][metric]
        assert all(mine > one[question][metric] for one in found.values()), question
        assert found["nearest neighbours"][question][metric] > found["random"][question][metric]
    assert found["random"]["tag_songs"]["ROC-AUC"] == pytest.approx(0.5, abs=0.12)
    assert found["popularity"]["song_tags"]["ROC-AUC"] == 0.5  # one probability for all songs


def test_probabilities_are_calibrated_and_those_of_neighbours_are_shares(world, evaluated):
    outputs, truth, learned = world
    found = evaluated["song_tags"]["calibration"]
    assert found["ece"] < 3 * found["ece_by_sampling"]
    worse = metrics.figures(Outputs(probabilities=np.sqrt(outputs.probabilities)), truth)["song_tags"]
    assert worse["calibration"]["ece"] > 2 * found["ece"] and worse["PR-AUC"] == pytest.approx(
        evaluated["song_tags"]["PR-AUC"]
    )
    shares = baselines.outputs(truth, learned)["nearest neighbours"].probabilities
    assert shares.min() >= 0 and shares.max() <= 1
    songs, train = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (learned.of_songs, learned.features))
    cosines = np.maximum(songs @ train.T, 0)  # fewer than a hundred training songs: all are neighbours
    np.testing.assert_allclose(
        shares, cosines @ learned.labels / cosines.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


def test_validation_says_the_same_and_asks_fewer_listeners(world):
    outputs, truth, _ = world
    found = metrics.summarise(outputs, truth, k=20)
    whole = metrics.figures(outputs, truth, k=20)
    assert found == {**metrics.headlines(whole), "ECE": whole["song_tags"]["calibration"]["ece"]}
    few = metrics.figures(outputs, truth, k=20, most_listeners=7)["listener_songs"]
    assert few["listeners"] == 7
    there = ~np.isnan(few["per_user"]["MAP@20"])
    np.testing.assert_array_equal(
        few["per_user"]["MAP@20"][there], whole["listener_songs"]["per_user"]["MAP@20"][there]
    )


def test_questions_without_an_answer_are_left_out(world):
    outputs, truth, learned = world
    alone = Truth(NAMES, truth.labels, truth.groups)
    found = metrics.evaluate(
        outputs, alone, baselines=baselines.outputs(alone, baselines.Learned(learned.labels)), k=20
    )
    assert set(found) == {"songs", "mean", "tag_songs", "song_tags", "baselines"}
    assert set(found["baselines"]["popularity"]) == {"song_tags"}
    with pytest.raises(DataError, match="nothing can be evaluated"):
        metrics.evaluate(outputs, Truth(NAMES, np.zeros_like(truth.labels), truth.groups))
    with pytest.raises(DataError, match=r"probabilities: shape \(59, 5\)"):
        metrics.figures(Outputs(probabilities=outputs.probabilities[1:]), truth)


def test_songs_heard_before_are_not_recommended(world):
    outputs, truth, _ = world
    before = sparse.csr_matrix(truth.heard.toarray() * (np.arange(SONGS) % 2 == 0))
    held = sparse.csr_matrix(truth.heard.toarray() * (np.arange(SONGS) % 2 == 1))
    rest = Truth(NAMES, truth.labels, truth.groups, held, before)
    mine = metrics.figures(outputs, rest, k=20)["listener_songs"]["MAP@20"]
    among_all = metrics.figures(outputs, Truth(NAMES, truth.labels, truth.groups, held), k=20)["listener_songs"][
        "MAP@20"
    ]
    assert mine > among_all
