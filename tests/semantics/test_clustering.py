"""k-means against scikit-learn and planted clusters; linkage and silhouette against scikit-learn, hand tables."""

import numpy as np
import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.semantics import clustering


def blobs(n, d, k, *, noise, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    x = rng.normal(size=(k, d))[truth] + noise * rng.normal(size=(n, d))
    return clustering.normalised(x), truth


def loop_cost(x, labels):
    total = 0.0
    for cluster in set(labels.tolist()):
        members = x[labels == cluster].astype(float)
        centroid = members.mean(0) / np.linalg.norm(members.mean(0))
        total += sum(1 - point @ centroid for point in members)
    return total


def test_planted_clusters_are_found():
    from sklearn.metrics import adjusted_rand_score

    x, truth = blobs(600, 30, 12, noise=0.2, seed=1)
    result = clustering.kmeans(x, 12, n_init=5, seed=0)
    assert adjusted_rand_score(truth, result.labels) == 1
    assert result.cost == pytest.approx(loop_cost(x, result.labels), rel=1e-5)
    assert clustering.cost_of(x, result.labels + 7) == pytest.approx(result.cost, rel=1e-6)
    means = np.stack([x[result.labels == c].mean(0) for c in range(12)])
    np.testing.assert_allclose(result.centroids, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "d", "planted", "noise"), [(400, 20, 30, 1.0), (300, 8, 3, 1.5), (250, 50, 10, 3.0)])
def test_cost_is_no_worse_than_scikit_learns(seed, n, d, planted, noise):
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    x, _ = blobs(n, d, planted, noise=noise, seed=seed)
    ours = clustering.kmeans(x, 12, n_init=10, seed=seed)
    with threadpool_limits(1):  # its threads wait busily for each other
        theirs = KMeans(12, n_init=10, random_state=seed).fit(x)
    assert ours.cost <= loop_cost(x, theirs.labels_) * 1.0001
    # By its own measure too: the squared distance to the normalised centroids is twice the cost.
    assert 2 * ours.cost == pytest.approx(float(((x - ours.centroids[ours.labels]) ** 2).sum()), rel=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_cost_never_rises_and_no_cluster_is_empty(seed):
    x, _ = blobs(200, 5, 4, noise=1.0, seed=seed)
    x[:40] = x[0]  # equal points empty clusters
    result = clustering.kmeans(x, 60, n_init=1, seed=seed)
    history = np.array(result.history)
    assert len(history) >= 2 and (np.diff(history) <= 1e-4).all()
    assert result.cost == pytest.approx(history[-1], abs=1e-6)
    assert (np.bincount(result.labels, minlength=60) > 0).all()


def test_offers_are_what_a_loop_over_all_moves_finds():
    x, _ = blobs(60, 4, 5, noise=1.0, seed=5)
    labels = np.arange(60) % 7
    sums = np.stack([x[labels == c].sum(0) for c in range(7)]).astype(np.float64)
    target, joined, left = clustering._offers(x, labels, sums)
    for point, p in enumerate(x.astype(np.float64)):
        own = labels[point]
        grown = np.linalg.norm(sums + p, axis=1) - np.linalg.norm(sums, axis=1)
        grown[own] = -np.inf
        assert target[point] == grown.argmax()
        assert joined[point] == pytest.approx(grown.max(), abs=1e-5)
        shrunk = np.linalg.norm(sums[own]) - np.linalg.norm(sums[own] - p)
        assert left[point] == pytest.approx(shrunk, abs=1e-5)


def test_no_single_move_lowers_the_cost_that_is_reached():
    x, _ = blobs(150, 6, 8, noise=1.5, seed=6)
    result = clustering.kmeans(x, 9, n_init=7, seed=1)
    for point in range(len(x)):
        for cluster in range(9):
            labels = result.labels.copy()
            labels[point] = cluster
            assert clustering.cost_of(x, labels) >= result.cost - 1e-4 or len(set(labels.tolist())) < 9
    lloyd = clustering._Start(x, result.centroids)
    assert lloyd.cost == pytest.approx(result.cost, abs=1e-3), "Lloyd's step changes nothing either"


@pytest.mark.parametrize("seeded", [50, 100])  # of 400 points, with k=40: without the table of distances, with it
def test_seeds_from_a_sample_cost_little_more(monkeypatch, seeded):
    x, _ = blobs(400, 20, 40, noise=0.7, seed=7)
    whole = clustering.kmeans(x, 40, n_init=8, seed=3)
    monkeypatch.setattr(clustering, "_SEEDED", seeded)
    sampled = clustering.kmeans(x, 40, n_init=8, seed=3)
    assert not np.array_equal(sampled.labels, whole.labels)
    assert sampled.cost <= whole.cost * 1.03
    assert (np.bincount(sampled.labels, minlength=40) > 0).all()


def test_number_of_threads_changes_nothing(monkeypatch):
    x, _ = blobs(500, 30, 20, noise=1.0, seed=9)
    results = []
    for cores in (1, 4):
        monkeypatch.setattr(clustering.os, "cpu_count", lambda cores=cores: cores)
        results.append(clustering.kmeans(x, 20, n_init=12, seed=2))
    np.testing.assert_array_equal(results[0].labels, results[1].labels)
    assert results[0].history == results[1].history
    more = clustering.kmeans(x, 20, n_init=12, seed=3)
    assert not np.array_equal(more.labels, results[0].labels)


def test_empty_clusters_get_the_farthest_points():
    labels = np.array([0, 0, 0, 2])
    clustering._fill_empty(labels, np.array([0.9, 0.1, 0.5, 0.0]), 4)
    assert labels.tolist() == [0, 1, 3, 2]


def test_same_seed_same_clusters_and_lengths_do_not_matter():
    x, _ = blobs(150, 10, 5, noise=1.0, seed=2)
    first = clustering.kmeans(x, 5, n_init=3, seed=4)
    again = clustering.kmeans(x * np.linspace(1, 9, 150)[:, None], 5, n_init=3, seed=4)
    assert first.cost == pytest.approx(again.cost, rel=1e-5)
    np.testing.assert_array_equal(first.labels, clustering.kmeans(x, 5, n_init=3, seed=4).labels)
    assert {clustering.kmeans(x, 5, n_init=1, seed=s).history[0] for s in range(4)} != {first.history[0]}


def test_as_many_clusters_as_points_cost_nothing():
    x = np.eye(6, dtype=np.float32)
    result = clustering.kmeans(x, 6, n_init=2)
    assert sorted(result.labels) == list(range(6)) and result.cost == pytest.approx(0, abs=1e-6)
    one = clustering.kmeans(x, 1, n_init=1)
    assert one.cost == pytest.approx(6 - np.sqrt(6), abs=1e-5)


def test_bad_input_of_kmeans():
    x = np.eye(4, dtype=np.float32)
    with pytest.raises(ConfigError, match="n_clusters=9 for 4 different vectors; ask for at most 4"):
        clustering.kmeans(np.repeat(x, 5, axis=0), 9)
    with pytest.raises(ConfigError, match="must be at least 1"):
        clustering.kmeans(x, 0)
    with pytest.raises(DataError, match="row 2 has no direction"):
        clustering.kmeans(np.diag([1.0, 1, 0, 1]), 2)
    with pytest.raises(DataError, match="row 1 has no direction"):
        clustering.kmeans(np.array([[1, 0], [np.nan, 1]]), 1)
    with pytest.raises(DataError, match="expected a matrix"):
        clustering.kmeans(np.ones(3), 1)


@pytest.mark.parametrize("linkage", clustering.LINKAGES)
def test_linkage_is_scikit_learns(linkage):
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    x, _ = blobs(80, 6, 6, noise=0.5, seed=3)
    distances = clustering.cosine_distances(x)
    labellings = clustering.agglomerative(distances, range(5, 11), linkage=linkage)
    for k, labels in labellings.items():
        assert len(set(labels.tolist())) == k
        expected = AgglomerativeClustering(k, metric="precomputed", linkage=linkage).fit_predict(distances)
        assert adjusted_rand_score(expected, labels) == 1
    k, labels, scores = clustering.choose_k(distances, labellings)
    assert scores[k] == max(scores.values()) == silhouette_score(distances, labels, metric="precomputed")


def test_number_of_clusters_by_silhouette_finds_the_planted_one():
    x, truth = blobs(120, 20, 7, noise=0.15, seed=8)
    distances = clustering.cosine_distances(x)
    k, labels, _ = clustering.choose_k(distances, clustering.agglomerative(distances, range(5, 21)))
    assert k == 7 and len(set(zip(labels.tolist(), truth.tolist(), strict=True))) == 7


def test_bad_distances():
    good = np.array([[0, 1.0], [1.0, 0]])
    with pytest.raises(ConfigError, match="must be one of average, complete, single"):
        clustering.agglomerative(good, [1], linkage="ward")
    with pytest.raises(ConfigError, match="3 clusters of 2 points"):
        clustering.agglomerative(good, [3])
    for bad, why in [
        (np.ones((2, 3)), "square"),
        (np.array([[0, np.nan], [np.nan, 0]]), "finite"),
        (np.array([[0, 1.0], [2, 0]]), "symmetric"),
        (np.array([[1, 1.0], [1, 0]]), "zeros on the diagonal"),
    ]:
        with pytest.raises(DataError, match=why):
            clustering.agglomerative(bad, [1])
    assert clustering.silhouette(good, np.array([0, 1])) == -1
    with pytest.raises(DataError, match="too few tags"):
        clustering.choose_k(good, {})
    assert clustering.agglomerative(np.zeros((1, 1)), [1])[1].tolist() == [0]
