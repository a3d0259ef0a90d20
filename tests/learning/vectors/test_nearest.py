"""The vector index against NumPy's exact search: small and large, after adding, replacing, removing, saving."""

import numpy as np
import pytest

from orpheus.errors import DataError
from orpheus.learning.vectors.nearest import Nearest


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, dimension=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, dimension))
    return unit(centres[rng.integers(0, 40, count)] + 0.4 * rng.normal(size=(count, dimension)))


def reference(vectors, ids, queries, k):
    """Numbers of the k nearest by sorting all inner products; equal ones by number."""
    scores = queries @ vectors.T
    return np.array([ids[np.lexsort((ids, -row))[:k]] for row in scores])


@pytest.fixture(params=[100_000, 200], ids=["exact", "lists"])
def options(request):
    return {"exact_up_to": request.param}


def test_finds_what_a_full_search_finds(options):
    vectors, queries = clustered(3000), clustered(50, seed=1)
    index = Nearest(16, **options)
    index.add(np.arange(3000), vectors)
    ids, scores = index.search(queries, 10)
    wanted = reference(vectors, np.arange(3000), queries, 10)
    if index.lists:
        shares = [len(set(a) & set(b)) / 10 for a, b in zip(ids, wanted, strict=True)]
        assert 0 < index.probes < index.lists
        assert np.mean(shares) >= 0.95
    else:
        np.testing.assert_array_equal(ids, wanted)
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, vectors[ids]), atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_noise_without_any_structure_is_found_too():
    """Lists do not help there, so that many must be looked through: slower, but not wrong."""
    vectors, queries = unit(np.random.default_rng(0).normal(size=(3000, 64))), clustered(50, 64, seed=1)
    index = Nearest(64, exact_up_to=200)
    index.add(np.arange(3000), vectors, queries=queries)
    wanted = reference(vectors, np.arange(3000), queries, 10)
    ids, _ = index.search(queries, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, wanted, strict=True)]) >= 0.97
    assert index.probes >= index.lists / 4


def test_calibrated_for_queries_of_another_kind():
    vectors = clustered(4000, 32)
    far = unit(np.random.default_rng(3).normal(size=(200, 32)))  # far from every song, as tags may be
    few, many = Nearest(32, exact_up_to=200, recall=0.9), Nearest(32, exact_up_to=200, recall=0.9)
    few.add(np.arange(4000), vectors)
    many.add(np.arange(4000), vectors, queries=far)
    assert many.probes >= few.probes
    ids, _ = many.search(far, 10)
    wanted = reference(vectors, np.arange(4000), far, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, wanted, strict=True)]) >= 0.9


def test_replacing_and_removing(options):
    vectors = clustered(1000)
    index = Nearest(16, **options)
    index.add(np.arange(500), vectors[:500])
    index.add(np.arange(500, 1000), vectors[500:])
    assert len(index) == 1000
    index.add([7, 1000], vectors[[8, 9]])  # 7 is another song now
    assert len(index) == 1001
    ids, scores = index.search(vectors[[8]], 2)
    assert ids.tolist() == [[7, 8]]  # equally near ones by number
    np.testing.assert_allclose(scores, 1, atol=1e-6)
    assert index.remove([8, 4711]) == 1
    assert index.search(vectors[[8]], 1)[0].tolist() == [[7]]
    assert 8 not in index.ids and len(index) == 1000
    assert index.remove(index.ids) == 1000
    ids, scores = index.search(vectors[:2], 3)
    assert (ids == -1).all() and (scores == -np.inf).all()


def test_grows_into_lists_and_shrinks_out_of_them():
    vectors = clustered(5000)
    index = Nearest(16, exact_up_to=1000)
    kinds = []
    for start in range(0, 5000, 500):
        index.add(np.arange(start, start + 500), vectors[start : start + 500])
        kinds.append(index.lists)
    # The power of two nearest to 4 √count: doubled from 2049 on.
    assert kinds == [0, 0, 128, 128] + 6 * [256]
    for number in (0, 2500, 4999):
        assert index.search(vectors[[number]], 1)[0][0, 0] == number
    index.remove(np.arange(400, 5000))
    assert index.lists == 0 and index.ids.tolist() == list(range(400))
    assert index.search(vectors[[399]], 1)[0][0, 0] == 399


def test_more_asked_for_than_the_nearest_lists_hold():
    vectors = clustered(2000)
    index = Nearest(16, exact_up_to=100)
    index.add(np.arange(2000), vectors)
    ids, _ = index.search(vectors[:1], 1500)
    assert (ids >= 0).all() and len(np.unique(ids)) == 1500
    ids, _ = index.search(vectors[:1], 2010)
    assert (ids[0, :2000] >= 0).all() and (ids[0, 2000:] == -1).all()


def test_saved_and_loaded_is_the_same(tmp_path, options):
    vectors = clustered(1500)
    index = Nearest(16, **options)
    index.add(np.arange(1500) * 3, vectors)
    index.save(tmp_path / "a.faiss")
    loaded = Nearest.load(tmp_path / "a.faiss", 16, **options)
    assert (loaded.lists, loaded.probes) == (index.lists, index.probes)
    np.testing.assert_array_equal(loaded.ids, index.ids)
    for a, b in zip(loaded.search(vectors[:20], 12), index.search(vectors[:20], 12), strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.remove([3])
    loaded.add([1], vectors[[1]])
    assert loaded.search(vectors[[1]], 1)[0].tolist() == [[1]]
    again = Nearest(16, **options)
    again.add(np.arange(1500) * 3, vectors)
    again.save(tmp_path / "b.faiss")
    assert (tmp_path / "a.faiss").read_bytes() == (tmp_path / "b.faiss").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.faiss", "b.faiss"]


def test_bad_input(tmp_path):
    index = Nearest(4)
    with pytest.raises(DataError, match=r"shape \(2, 3\), expected \(2, 4\)"):
        index.add([0, 1], np.zeros((2, 3)))
    with pytest.raises(DataError, match="must be different"):
        index.add([1, 1], np.eye(4)[:2])
    with pytest.raises(DataError, match="vector 5: not of length 1"):
        index.add([4, 5], np.array([[1, 0, 0, 0], [np.nan, 0, 0, 0]]))
    with pytest.raises(DataError, match=r"queries: shape \(1, 3\)"):
        index.search(np.zeros((1, 3)), 2)
    index.add([0], np.eye(4)[:1])
    index.save(tmp_path / "good.faiss")
    with pytest.raises(DataError, match="of 4 dimensions, expected one of 8"):
        Nearest.load(tmp_path / "good.faiss", 8)
    (tmp_path / "bad.faiss").write_bytes((tmp_path / "good.faiss").read_bytes()[:20])
    with pytest.raises(DataError, match=r"bad\.faiss: not an index"):
        Nearest.load(tmp_path / "bad.faiss", 4)
    with pytest.raises(DataError, match="no such file"):
        Nearest.load(tmp_path / "none.faiss", 4)


def test_a_changed_byte_is_found_before_faiss_reads(tmp_path):
    index = Nearest(4)
    index.add([1, 2, 3], np.eye(4, dtype=np.float32)[:3])
    index.save(tmp_path / "x.faiss")
    assert len(Nearest.load(tmp_path / "x.faiss", 4)) == 3
    content = (tmp_path / "x.faiss").read_bytes()
    for spoilt in (content[:-1], content[:40] + b"\xff" + content[41:], content + b"x", content[:-18], b""):
        (tmp_path / "x.faiss").write_bytes(spoilt)
        with pytest.raises(DataError, match="its checksum is wrong"):
            Nearest.load(tmp_path / "x.faiss", 4)
