"""benchmarks.search: its exact search against sorting, and what its songs are like."""

import numpy as np

from benchmarks import search


def test_exact_search_against_sorting():
    songs, queries = search.made_up("clustered", 3000, 20, seed=0)
    for asked in queries.values():
        wanted = np.sort(np.argsort(-(asked @ songs.T), axis=1)[:, :10], axis=1)
        np.testing.assert_array_equal(np.sort(search.exact(songs, asked, 10), axis=1), wanted)


def test_made_up_songs_lie_in_clusters_and_uniform_ones_do_not():
    near = {}
    for kind in ("clustered", "uniform"):
        songs, queries = search.made_up(kind, 4000, 50, seed=0)
        np.testing.assert_allclose(np.linalg.norm(songs, axis=1), 1, atol=1e-5)
        near[kind] = (queries["songs"] @ songs.T).max(axis=1).mean()
    assert near["clustered"] > near["uniform"] + 0.3
    again, _ = search.made_up("uniform", 4000, 50, seed=0)
    np.testing.assert_array_equal(songs, again)


def test_rows_say_recall_and_time():
    arguments = search.parser().parse_args(
        ["--songs", "2000", "--queries", "5", "--exact-queries", "2", "--rounds", "1"]
    )
    rows = search.measure(arguments)
    assert [row.candidate for row in rows] == ["orpheus", "exact search"] * 2 + ["orpheus"] * 3
    assert "recall@10 1.000 (≥ 0.95 met)" in rows[0].note and "ms" in rows[0].note
    assert len(rows[1].ratios) == 1
