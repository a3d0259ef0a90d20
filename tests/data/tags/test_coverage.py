"""What tags cover, against tables counted by hand."""

import numpy as np
import pytest

from orpheus.data.tags import coverage
from orpheus.errors import DataError

TRACKS = {
    "1": ["rock", "pop", "rock"],  # a tag that is there twice counts once
    "2": ["rock", "jazz"],
    "3": ["bebop"],
    "4": ["noise"],
    "5": [],
}


def test_coverage_by_hand():
    top, jazz, nothing = coverage.coverage(
        TRACKS, {"top": ["rock", "pop"], "jazz": ["jazz", "bebop", "swing"], "none": ["x"]}
    )
    assert (top.tags, top.present, top.counts, top.tracks) == (2, 2, 3, 2)
    assert (jazz.tags, jazz.present, jazz.counts, jazz.tracks) == (3, 2, 2, 2)
    assert (nothing.present, nothing.counts, nothing.tracks, nothing.tags_per_track) == (0, 0, 0, 0.0)
    assert (top.all_counts, top.all_tracks) == (6, 4)
    assert (top.count_share, top.track_share, top.tags_per_track) == (3 / 6, 2 / 4, 1.5)


def test_cluster_sizes_by_hand():
    mapping = {"rock": 0, "pop": 0, "jazz": 1, "bebop": 1, "swing": 1, "polka": 2}
    found = coverage.cluster_sizes(TRACKS, mapping, ["loud", "swinging", "polka"])
    assert [(c.name, c.tags, c.present, c.counts, c.tracks) for c in found] == [
        ("loud", 2, 2, 3, 2),
        ("swinging", 3, 2, 2, 2),
        ("polka", 1, 0, 0, 0),
    ]


def test_tags_per_track_leaves_out_tracks_without():
    np.testing.assert_array_equal(coverage.tags_per_track(TRACKS), [2, 2, 1, 1])


def test_no_tag_at_all():
    with pytest.raises(DataError, match="none of 2 tracks has a tag"):
        coverage.coverage({"a": [], "b": []}, {})
