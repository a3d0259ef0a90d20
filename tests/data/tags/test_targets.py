"""orpheus.data.tags.targets against tables made by hand."""

import numpy as np
import pytest

from orpheus.data.tags.targets import TagTargets, choose, popularity, read_filter
from orpheus.errors import ConfigError, DataError

POPULAR = [("rock", 9), ("pop", 7), ("seen live", 6), ("hip hop", 5), ("jazz", 4), ("hip-hop", 3), ("rap", 2)]


@pytest.mark.parametrize(
    "choice, classes, columns",
    [
        ({}, "rock pop seen_live hip_hop jazz hip-hop rap", None),
        ({"top": 2}, "rock pop", {"rock": 0, "pop": 1}),
        ({"top": 99}, "rock pop seen_live hip_hop jazz hip-hop rap", None),
        ({"top": 2, "with_": ["rap", "jazz", "pop"]}, "rock pop rap jazz", None),
        ({"top": 3, "without": ["pop"], "removed": ["unknown"]}, "rock seen_live", None),  # the top is not refilled
        ({"top": 1, "with_": ["rap"], "without": ["rap"]}, "rock", {"rock": 0}),
        (
            {"top": 4, "merge": [["rap", "hip hop", "hip-hop"]]},
            "rock pop seen_live rap",
            {"rock": 0, "pop": 1, "seen live": 2, "hip hop": 3, "hip-hop": 3, "rap": 3},
        ),
        ({"top": 3, "merge": [["hip hop", "rap"]]}, "rock pop seen_live", None),  # none of the group is chosen
        (
            {"top": 2, "merge": [["jazz", "rock"], ["rap", "pop"]]},
            "jazz rap",
            {"jazz": 0, "rock": 0, "rap": 1, "pop": 1},
        ),
        (
            {"merge": [["rap", "hip hop", "hip-hop"]], "without": ["rap", "seen live", "jazz"]},
            "rock pop hip_hop",
            {"rock": 0, "pop": 1, "hip hop": 2, "hip-hop": 2},
        ),
    ],
)
def test_choice(choice, classes, columns):
    targets = choose(POPULAR, **choice)
    assert targets.classes == tuple(name.replace("_", " ") for name in classes.split())
    expected = columns or {name: index for index, name in enumerate(targets.classes)}
    assert targets.columns == expected
    # By column, then by name: the file of a run does not depend on the order of a merge.
    assert list(targets.columns) == sorted(targets.columns, key=lambda tag: (targets.columns[tag], tag))


@pytest.mark.parametrize(
    "choice, said",
    [
        ({"with_": ["Rock"]}, r"tags.with: no track has the tag 'Rock'; did you mean 'rock'\?"),
        ({"with_": ["zzzzzz"]}, "tags.with: no track has the tag 'zzzzzz'$"),
        ({"without": ["jaz"]}, r"tags.without: no track has the tag 'jaz'; did you mean 'jazz'\?"),
        ({"merge": [["rock", "popp"]]}, r"tags.merge: no track has the tag 'popp'; did you mean 'pop'\?"),
        ({"merge": [["rock"]]}, "is no group"),
        ({"merge": [["rock", "pop"], ["jazz", "pop"]]}, "'pop' occurs twice"),
        ({"merge": [["rock", "pop", "rock"]]}, "'rock' occurs twice"),
        ({"top": 1, "without": ["rock"]}, "no class left"),
    ],
)
def test_mistakes_are_named(choice, said):
    with pytest.raises(ConfigError, match=said):
        choose(POPULAR, **choice)


def test_popularity_counts_tracks_and_breaks_ties_by_name():
    lists = [["b", "a", "a"], ["b", "c"], [], ["c", "d"]]
    assert popularity(lists) == [("b", 2), ("c", 2), ("a", 1), ("d", 1)]
    letters = "qwertyuiopasdfghjklzxcvbnm"
    assert popularity([letters, "m"]) == [("m", 2), *((letter, 1) for letter in sorted(letters) if letter != "m")]


def test_multi_hot_and_matrix():
    targets = TagTargets(("x", "y", "z"), {"x": 0, "ex": 0, "y": 1, "z": 2})
    np.testing.assert_array_equal(targets.multi_hot(["ex", "x", "z", "other"]), [1, 0, 1])
    matrix = targets.matrix([["y"], [], ["other"]])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert targets.matrix([]).shape == (0, 3) and targets.matrix([]).dtype == np.float32
    assert targets.any(["q", "ex"]) and not targets.any(["q"]) and not targets.any([])


def test_targets_round_trip_and_are_checked():
    targets = TagTargets(("x", "y"), {"x": 0, "ex": 0, "y": 1}, "clusters")
    assert TagTargets.from_json(targets.to_json(), "classes.json") == targets
    with pytest.raises(DataError, match=r"classes\.json: no key 'kind'"):
        TagTargets.from_json({"classes": ["x"], "columns": {}}, "classes.json")
    with pytest.raises(ConfigError, match="class 'x' occurs twice"):
        TagTargets(("x", "x"), {})
    with pytest.raises(DataError, match="tag 'y' points to column 2 of 1"):
        TagTargets(("x",), {"y": 2})


def test_filters_are_read(tmp_path):
    (tmp_path / "tags_remove.txt").write_text("\ufeffseen live\n\n  Björk \n", encoding="utf-8")
    for path in (tmp_path, tmp_path / "tags_remove.txt"):
        assert read_filter(path) == ["seen live", "Björk"]
    with pytest.raises(
        DataError, match=r"nowhere: no such filter; --filter-path is a folder that holds tags_remove\.txt"
    ):
        read_filter(tmp_path / "nowhere")
    (tmp_path / "tags_remove.txt").write_text("\n \n")
    with pytest.raises(DataError, match="names no tag"):
        read_filter(tmp_path)
    (tmp_path / "tags_remove.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        read_filter(tmp_path)
