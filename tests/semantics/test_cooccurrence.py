"""Co-occurrence and NPMI against hand-made tables and a plain loop; subgenres on planted groups of tags."""

import math
import time

import numpy as np
import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.semantics import clustering, cooccurrence, subgenres

# Eight tracks. a: 4, b: 4, c: 2, d: 1; a and b meet twice (independent), c only where a is, d never with the others.
TRACKS = [["a", "b"], ["b", "a", "a"], ["a", "c"], ["a", "c"], ["b"], ["b"], ["d"], []]


def test_counts_and_pairs_by_hand():
    matrix = cooccurrence.tag_matrix(TRACKS)
    assert matrix.tags == ("a", "b", "c", "d") and matrix.tracks == 8
    expected = [[4, 2, 2, 0], [2, 4, 0, 0], [2, 0, 2, 0], [0, 0, 0, 1]]
    assert cooccurrence.cooccurrence(matrix).tolist() == expected
    sparse = cooccurrence.cooccurrence(matrix, dense=False)
    assert sparse.toarray().tolist() == expected and sparse.nnz == 8
    some = cooccurrence.tag_matrix(TRACKS, tags=["c", "a"])
    assert cooccurrence.cooccurrence(some).tolist() == [[2, 2], [2, 4]] and some.tracks == 8
    assert matrix.columns(["d", "b"]).counts().tolist() == [1, 4]


@pytest.mark.parametrize("kind", [list, tuple])
def test_matrix_against_sets_of_tags(kind):
    rng = np.random.default_rng(1)
    lists = [[f"t{tag}" for tag in rng.integers(30, size=rng.integers(9))] for _ in range(300)]
    assert any(len(set(tags)) < len(tags) for tags in lists) and [] in lists
    matrix = cooccurrence.tag_matrix(map(kind, lists))
    dense = [[int(tag in tags) for tag in matrix.tags] for tags in lists]
    assert matrix.matrix.toarray().tolist() == dense
    counts = matrix.counts().tolist()
    expected = sorted({tag for tags in lists for tag in tags}, key=lambda t: (-sum(t in tags for tags in lists), t))
    assert list(matrix.tags) == expected and counts == sorted(counts, reverse=True) and len(set(counts)) < 30
    some = cooccurrence.tag_matrix(lists, tags=["t3", "absent", "t1"])
    assert some.matrix.toarray().tolist() == [[int(t in tags) for t in some.tags] for tags in lists]


def test_npmi_by_hand():
    distances = cooccurrence.npmi_distances(cooccurrence.cooccurrence(cooccurrence.tag_matrix(TRACKS)), 8)
    # P(a)=P(b)=1/2, P(a,b)=1/4: independent, so NPMI 0. P(c)=P(a,c)=1/4: log 2 / log 4 = 1/2. Others never meet.
    expected = [[0, 1, 0.5, 2], [1, 0, 2, 2], [0.5, 2, 0, 2], [2, 2, 2, 0]]
    np.testing.assert_allclose(distances, expected, atol=1e-12)


def test_npmi_against_a_loop():
    rng = np.random.default_rng(0)
    tracks = [[f"t{i}" for i in range(12) if rng.random() < 0.1 + 0.05 * (i % 4)] for _ in range(200)]
    matrix = cooccurrence.tag_matrix(tracks)
    distances = cooccurrence.npmi_distances(cooccurrence.cooccurrence(matrix), 200)
    sets = [set(t) for t in tracks]
    for i, a in enumerate(matrix.tags):
        for j, b in enumerate(matrix.tags):
            pa, pb = (sum(x in s for s in sets) / 200 for x in (a, b))
            both = sum(a in s and b in s for s in sets) / 200
            expected = 0 if a == b else 2 if not both else 1 - math.log(both / (pa * pb)) / -math.log(both)
            assert distances[i, j] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_array_equal(distances, distances.T)


def test_tags_on_every_track_and_impossible_counts():
    everywhere = cooccurrence.cooccurrence(cooccurrence.tag_matrix([["a", "b"], ["a", "b", "c"]]))
    assert np.isfinite(cooccurrence.npmi_distances(everywhere, 2)).all()
    assert cooccurrence.npmi(everywhere, 2)[0, 1] == 1
    with pytest.raises(DataError, match="on the diagonal"):
        cooccurrence.npmi(everywhere, 1)
    with pytest.raises(DataError, match="nothing to count"):
        cooccurrence.tag_matrix([])


def test_clusters_of_tags_count_a_track_once():
    mapping = {"a": 0, "b": 0, "c": 1}
    together = cooccurrence.cooccurrence(cooccurrence.class_matrix(TRACKS, mapping, ["ab", "c"]))
    assert together.tolist() == [[6, 2], [2, 2]]


def test_correlated_pairs_by_both_criteria():
    # 0 and 1: 60/√(100·80) = .67 and 60/80 > 2/3. 0 and 2: .32, 10/10. 1 and 2: 0. 3: 55/√(100·100) > .5, but 55 % < 2/3.
    together = np.array([[100, 60, 10, 55], [60, 80, 0, 0], [10, 0, 10, 0], [55, 0, 0, 100]])
    pairs = {(p.i, p.j): p for p in cooccurrence.correlated_pairs(together)}
    assert list(pairs) == [(0, 1), (0, 3), (0, 2)]
    assert pairs[0, 1].cosine == pytest.approx(60 / math.sqrt(8000)) and pairs[0, 1].share == 0.75
    assert [(p.by_cosine, p.by_share) for p in pairs.values()] == [(True, True), (True, False), (False, True)]
    # The second criterion as the reference states it: normalised > √(min ratio of the counts) / m.
    normal, own = cooccurrence.normalise(together), np.diagonal(together)
    for (i, j), pair in pairs.items():
        assert pair.by_share == (normal[i, j] > math.sqrt(min(own[i] / own[j], own[j] / own[i])) / 1.5)
    assert cooccurrence.correlated_pairs(np.diag([3, 0, 1])) == []


def planted(groups=6, size=6, tracks=3000, seed=0):
    """Tracks of one genre: each has `genre` and some tags of one of the groups, rarely one of another."""
    rng = np.random.default_rng(seed)
    lists = []
    for _ in range(tracks):
        group = rng.integers(groups)
        tags = [f"g{group}_{i}" for i in range(size) if rng.random() < 0.4]
        if rng.random() < 0.1:
            tags.append(f"g{rng.integers(groups)}_{rng.integers(size)}")
        lists.append(["genre", *tags])
    lists += [["genre", "once"], ["loner"], *[["loner", "other"]] * 20, *[["other"]] * 50]
    lists += [["genre", "solitary"]] * 30
    return lists


def check_planted(result):
    groups = {}
    for tag, label in result.labels.items():
        groups.setdefault(label, set()).add(tag.split("_")[0])
    assert sorted(map(sorted, groups.values())) == [[f"g{i}"] for i in range(6)]
    assert result.genre == "genre" and "genre" not in result.labels
    assert result.rare == ("once",)


def test_planted_subgenres_are_found_by_npmi():
    tracks = cooccurrence.tag_matrix(planted())
    tags = ["genre", "once", "absent", "solitary", *[f"g{g}_{i}" for g in range(6) for i in range(6)]]
    genre = subgenres.members(tags, tracks)
    result = subgenres.by_npmi(genre)
    check_planted(result)
    assert result.k == 7 and result.singletons == ("solitary",) and set(result.scores) == set(range(5, 21))
    whole = subgenres.joined([result], made={"method": "npmi"})
    assert len(whole.clusters) == 6 and whole.counts["g0_0"] == tracks.columns(["g0_0"]).counts()[0]
    assert whole.scores["genres"]["genre"]["silhouette"] == max(result.scores.values())


def test_small_genres():
    tracks = cooccurrence.tag_matrix([["x", "a", "b"], ["x", "a"], ["x", "b"], ["x", "c"]])
    assert subgenres.members(["nowhere"], tracks) is None
    few = subgenres.by_npmi(subgenres.members(["x", "a", "b"], tracks))
    assert few.k == 0 and few.labels == {"a": 0, "b": 0}
    one = subgenres.by_npmi(subgenres.members(["x", "a"], tracks))
    assert one.labels == {} and one.singletons == ("a",)
    none = subgenres.by_npmi(subgenres.members(["x"], tracks))
    assert none.labels == {}
    with pytest.raises(ConfigError, match="no dictionary to join"):
        subgenres.joined([one, none], made={})
    with pytest.raises(ConfigError, match="expected 2 ≤ smallest"):
        subgenres.by_npmi(subgenres.members(["x", "a", "b"], tracks), k_range=(1, 5))


def test_rare_tags_are_below_the_fourth_root_of_the_largest_count():
    lists = [["x"]] * 81 + [["x", "three"]] * 3 + [["x", "two"]] * 2
    genre = subgenres.members(["x", "two", "three"], cooccurrence.tag_matrix(lists))
    # 86 tracks have x: 86 ** 0.25 is 3.05; of 81 it were 3.
    assert genre.rare == ("three", "two")
    genre = subgenres.members(["x", "two", "three"], cooccurrence.tag_matrix(lists[5:]))
    assert genre.rare == ("two",) and genre.tracks.tags == ("three",)


def test_clusters_by_vectors_on_planted_directions():
    rng = np.random.default_rng(0)
    tracks = cooccurrence.tag_matrix(planted())
    genre = subgenres.members(["genre", "once", *[f"g{g}_{i}" for g in range(6) for i in range(6)]], tracks)
    centres = {f"g{g}": rng.normal(size=8) for g in range(6)}
    vectors = np.stack([centres[t.split("_")[0]] + 0.05 * rng.normal(size=8) for t in genre.tracks.tags])
    result = subgenres.by_vectors(genre, vectors, n_init=5)
    check_planted(result)
    assert result.k == 6


@pytest.mark.slow
def test_npmi_of_900_tags_takes_less_than_a_second():
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 901)
    lists = [{f"t{i}" for i in rng.choice(900, size=8, p=popularity / popularity.sum())} for _ in range(20000)] + [
        {f"t{i}"} for i in range(900)
    ]
    matrix = cooccurrence.tag_matrix(lists)
    start = time.perf_counter()
    distances = cooccurrence.npmi_distances(cooccurrence.cooccurrence(matrix), matrix.tracks)
    clustering.choose_k(distances, clustering.agglomerative(distances, range(5, 21)))
    assert time.perf_counter() - start < 1
