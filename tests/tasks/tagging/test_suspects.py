"""Corrupted annotations are found: on made-up probabilities, and (slow) on the demo dataset's audio."""

import csv

import numpy as np
import pytest

from orpheus.tasks.tagging import suspects


def corrupted(rng, truth, share):
    """Annotations with `share` of all tracks' tags turned over, as many taken away as invented; and where."""
    annotated = truth.copy()
    for value in (True, False):
        there = np.argwhere(truth == value)
        chosen = there[rng.choice(len(there), round(share * truth.size / 2), replace=False)]
        annotated[tuple(chosen.T)] = not value
    return annotated, annotated != truth


def test_hand_table():
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    probabilities = np.array([[0.5, 0.9], [0.1, 0.25], [0.5, 0.25], [0.6, 0.25]])
    # Shares 1/2 and 1/4: log odds 0 and −log 3.
    expected = [
        [0, np.log(9)],
        [np.log(9), 0],
        [0, -np.log(3)],
        [np.log(1.5), -np.log(3)],
    ]
    np.testing.assert_allclose(suspects.disagreement(truth, probabilities), expected, atol=1e-12)
    found = suspects.find(truth, probabilities)
    assert [(one.track, one.column, one.direction) for one in found] == [
        (0, 1, "missing"),
        (1, 0, "wrong"),
        (3, 0, "missing"),
    ]
    assert len(suspects.find(truth, probabilities, count=2)) == 2


def test_certain_probabilities_and_empty_classes_stay_finite():
    truth = np.array([[1, 0], [0, 0]], bool)
    assert np.isfinite(suspects.disagreement(truth, np.array([[0.0, 1.0], [1.0, 0.0]]))).all()


def test_corrupted_annotations_are_near_the_top():
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.1, 0.02, 0.3])
    evidence = rng.normal(0, 3, (3000, 5)) * [1, 1, 1, 1, 0]  # the model knows nothing of the last tag
    probabilities = 1 / (1 + np.exp(-(evidence + np.log(shares / (1 - shares)))))
    annotated, wrong = corrupted(rng, rng.random(probabilities.shape) < probabilities, 0.02)
    found = suspects.find(annotated, probabilities, count=int(wrong.sum()))
    hits = np.mean([wrong[one.track, one.column] for one in found])
    assert hits > 0.35, f"{hits:.2f} of the most doubted were corrupted, 0.02 by chance"
    assert {one.direction for one in found} == {"missing", "wrong"}
    assert not any(one.column == 4 for one in found)


def test_csv(tmp_path):
    truth, probabilities = np.array([[0, 1], [1, 0]], bool), np.array([[0.9, 0.1], [0.5, 0.2]])
    found = suspects.find(truth, probabilities)
    suspects.write_csv(tmp_path / "s.csv", found, probabilities, ["A", "B"], ["rock, pop", "jazz"], {"A": "a.mp3"})
    rows = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8")))
    assert rows[0] == {
        "track_id": "A",
        "path": "a.mp3",
        "tag": "rock, pop",
        "direction": "missing",
        "probability": "0.9000",
        "score": "2.197",
    }
    assert rows[1]["direction"] == "wrong" and rows[1]["tag"] == "jazz"


@pytest.mark.slow
def test_corrupted_annotations_of_the_demo_set_are_near_the_top(tmp_path):
    """Audible tags of 160 tracks, 4 % turned over, evaluated by a model of mean spectra that has not seen the track."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from orpheus.data.audio import reading
    from orpheus.data.audio.spec import AudioSpec
    from orpheus.data.demo import plan
    from orpheus.data.demo import tracks as demo_tracks

    demo_tracks.make(tmp_path / "data", tracks=160, seconds=6.0)
    tracks = plan.plan(tracks=160, seed=0)
    spec = AudioSpec("log-mel-spectrogram", n_mels=48)
    features = []
    for track in tracks:
        frames = np.asarray(reading.load(tmp_path / "data" / track.audio_path, spec), np.float64)
        change = np.abs(np.diff(frames, axis=0)).mean(axis=0)
        features.append(np.concatenate([frames.mean(axis=0), frames.std(axis=0), change]))
    x, artists = np.array(features), [track.artist for track in tracks]
    truth = np.array([[tag in track.truth for tag in plan.AUDIBLE] for track in tracks])
    annotated, wrong = corrupted(np.random.default_rng(0), truth, 0.04)
    probabilities = np.zeros(truth.shape)
    for train, test in GroupKFold(8).split(x, groups=artists):
        for column in range(truth.shape[1]):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
            probabilities[test, column] = model.fit(x[train], annotated[train, column]).predict_proba(x[test])[:, 1]
    count = int(wrong.sum())
    found = suspects.find(annotated, probabilities, count=count)
    hits = np.mean([wrong[one.track, one.column] for one in found])
    print(f"{hits:.2f} of the {count} most doubted were corrupted, {wrong.mean():.2f} by chance")
    assert hits > 0.25
