"""benchmarks.genres: what its measures say of clusters whose quality is known by construction."""

import numpy as np
import pytest

from benchmarks import genres
from orpheus.data.tags.files import TaggedTrack
from orpheus.semantics.cooccurrence import cooccurrence, npmi, tag_matrix

TAGS = ["a1", "a2", "a3", "b1", "b2", "b3"]


def planted(count=600, seed=0):
    """Tracks that hold two or three tags of one of two groups, seldom one of the other."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        own, other = (TAGS[:3], TAGS[3:]) if rng.random() < 0.5 else (TAGS[3:], TAGS[:3])
        tags = list(rng.choice(own, rng.integers(2, 4), replace=False))
        yield [*tags, str(rng.choice(other))] if rng.random() < 0.1 else tags


@pytest.fixture
def heldout():
    matrix = tag_matrix(planted(), tags=TAGS)
    return genres.Heldout(matrix, matrix)


def test_measures_of_right_and_wrong_clusters(heldout):
    right = [genres.Genre({tag: int(tag[0] == "b") for tag in TAGS}, [*TAGS, "main"])]
    heldout.counts["main"] = 0
    wrong = [genres.Genre({tag: int(tag[1] == "3") for tag in TAGS}, TAGS)]
    good, bad = genres.measure(right, heldout), genres.measure(wrong, heldout)
    assert good["AUC"] == good["AUC artists"] == 1 and good["silhouette"] > 0.5
    assert bad["AUC"] < 0.5 and bad["silhouette"] < 0
    assert (good["clusters"], good["tags %"], good["counts %"]) == (2, pytest.approx(600 / 7), 100)
    values = npmi(cooccurrence(heldout.tracks), 600)
    within = np.mean([values[i, j] for i in range(6) for j in range(i) if TAGS[i][0] == TAGS[j][0]])
    assert good["within"] == pytest.approx(within, abs=1e-12)


def test_tags_alone_are_in_no_cluster(heldout):
    found = genres.measure([genres.Genre({"a1": 0, "a2": 0, "a3": -1, "b1": -2, "b2": 1, "b3": 1}, TAGS)], heldout)
    assert found["clusters"] == 2 and found["tags %"] == pytest.approx(400 / 6)
    assert found["counts %"] == pytest.approx(
        100 * sum(heldout.counts[t] for t in ("a1", "a2", "b2", "b3")) / sum(heldout.counts.values())
    )


def test_random_partitions_keep_the_sizes(heldout):
    labels = {tag: number // 2 for number, tag in enumerate(TAGS)}
    drawn = [genres.shuffled([genres.Genre(labels, TAGS)], (0, draw))[0].labels for draw in range(20)]
    assert all(sorted(each.values()) == sorted(labels.values()) for each in drawn)
    assert len({tuple(each.values()) for each in drawn}) > 5
    assert genres.shuffled([genres.Genre(labels, TAGS)], (0, 3))[0].labels == drawn[3]


def test_split_separates_artists():
    tracks = {f"t{i}": TaggedTrack(f"artist{i % 10}", "", "", 1.0, tuple(t)) for i, t in enumerate(planted(100))}
    train, held = genres.split(tracks, share=0.7, seed=1)
    assert train.tracks == 70 and held.tracks.tracks == 30 and held.artists.tracks == 3
    assert held.tracks.tags == train.tags


@pytest.mark.slow
def test_both_methods_find_the_planted_clusters():
    train = tag_matrix([["main", *tags] for tags in planted()])
    found = genres.cluster([["main", *TAGS]], train, ks=[2], epochs=20, seed=0)
    for method in ("NPMI", "skip-gram"):
        labels = found[method, 2][0].labels
        assert labels["a1"] == labels["a2"] == labels["a3"] != labels["b1"] == labels["b2"] == labels["b3"], method


def test_agreement():
    assert genres.agreement([{"a": 0, "b": 0, "c": 1}, {"a": 5, "b": 5, "c": 2, "d": 1}]) == "1.000"
