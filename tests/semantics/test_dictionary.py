"""Dictionaries and genres.txt: round trips, positions, merging, and one clear line for each kind of damage."""

import json
import pickle

import numpy as np
import pytest

from orpheus.errors import DataError
from orpheus.semantics import dictionary, genres, pickles

TAGS = {"Rock": 58, "rock": 58, "indie, rock": 58, "jazz": 3, "Trip Hop": 7, "日本語": 7, "lone": 90}
COUNTS = {"Rock": 5, "rock": 9, "indie, rock": 1, "jazz": 20, "Trip Hop": 2, "日本語": 3, "lone": 4}


@pytest.fixture
def example():
    made = dictionary.provenance(
        "kmeans", parameters={"n_clusters": 4}, data={"name": "x", "sha256": "0"}, embedding={"name": "glove"}, seed=0
    )
    return dictionary.Dictionary(TAGS, COUNTS, made, {"cost": 1.5})


def test_columns_are_positions_in_the_sorted_list_of_clusters(example):
    assert list(example.clusters) == [3, 7, 58, 90]
    assert example.mapping == {"jazz": 0, "rock": 2, "Rock": 2, "lone": 3, "日本語": 1, "Trip Hop": 1, "indie, rock": 2}
    assert example.names == ("jazz", "日本語, Trip Hop", "rock, Rock, indie, rock", "lone")


def test_names_of_columns_differ_even_where_tags_hold_commas():
    names = dictionary.Dictionary({"a, b": 0, "a": 1, "b": 1}).names
    assert len(set(names)) == 2


def test_round_trip_keeps_everything(tmp_path, example):
    example.save(tmp_path / "d" / "tags_dict_4.json")
    for path in (tmp_path / "d" / "tags_dict_4.json", tmp_path / "d"):
        again = dictionary.load(path)
        assert list(again.tag_to_cluster.items()) == list(example.tag_to_cluster.items())
        assert (again.counts, again.made, again.scores) == (COUNTS, example.made, {"cost": 1.5})
    text = (tmp_path / "d" / "tags_dict_4.json").read_text(encoding="utf-8")
    assert "日本語" in text and {"date", "seed", "versions", "embedding", "data"} <= set(json.loads(text)["made"])
    assert json.loads(text)["clusters"]["58"] == [["rock", 9], ["Rock", 5], ["indie, rock", 1]]


def test_clusters_with_tags_to_keep(example):
    kept = example.keep_clusters_with(["rock", "lone", "nothing"])
    assert set(kept.clusters) == {58, 90} and kept.clusters[58] == ("rock", "Rock", "indie, rock")
    assert set(kept.counts) == set(kept.tag_to_cluster)
    with pytest.raises(DataError, match="no cluster holds one of the 1 tags to keep"):
        example.keep_clusters_with(["ROCK"])


def test_genres_merge_in_groups_and_others_go(example):
    # Positions: 0 jazz, 1 trip hop, 2 rock, 3 lone. 3 is no genre: the reference leaves it out, pair or not.
    plain = example.restrict([2, 0], [(3, 2)])
    assert plain.clusters == {3: ("jazz",), 58: ("rock", "Rock", "indie, rock")}
    assert plain.made["restricted"] == {"genres": [0, 2], "merge": [[3, 2]]}
    wide = example.restrict([2, 0], [(3, 2)], merge_outside=True)
    assert wide.clusters == {3: ("jazz",), 58: ("rock", "Rock", "lone", "indie, rock")}
    assert wide.mapping["lone"] == wide.mapping["rock"] == 1 and wide.made["restricted"]["merge_outside"]
    both = example.restrict([0, 2, 3], [(3, 2)])
    assert both.clusters == wide.clusters and both.clusters != plain.clusters
    # A pair that leads through a cluster that is no genre joins nothing either.
    assert set(example.restrict([0, 3], [(0, 1), (1, 3)]).clusters) == {3, 90}
    chained = example.restrict([0, 1, 2, 3], [(0, 1), (1, 3)])
    assert set(chained.clusters) == {3, 58} and len(chained.clusters[3]) == 4
    assert set(example.restrict(None, [(2, 3)]).clusters) == {3, 7, 58}


@pytest.mark.parametrize(
    ("chosen", "merge", "message"),
    [
        ([1, 4], [], "cluster 4 does not exist; dictionary has 4 clusters, so positions go from 0 to 3"),
        ([1], [(0, 9)], "cluster 9 does not exist"),
        ([], [], "names no cluster"),
        ([1], [(1, 1)], "no pair of two clusters"),
        ([-1], [], "cluster -1 does not exist"),
    ],
)
def test_genres_that_do_not_fit(example, chosen, merge, message):
    with pytest.raises(DataError, match=message):
        example.restrict(chosen, merge)


def test_join_numbers_clusters_anew(example):
    other = dictionary.Dictionary({"a": 5, "b": 9}, {"a": 1, "b": 2})
    joined = dictionary.join([example, other], made={"method": "npmi"})
    assert len(joined.clusters) == 6 and joined.tag_to_cluster["a"] == 4 and joined.tag_to_cluster["b"] == 5
    with pytest.raises(DataError, match="'b' is in two"):
        dictionary.join([other, other], made={})


def damaged(tmp_path, example, change):
    example.save(tmp_path / "d.json")
    content = json.loads((tmp_path / "d.json").read_text())
    change(content)
    (tmp_path / "d.json").write_text(json.dumps(content))
    return tmp_path / "d.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "has version 2, this program reads 1"),
        (lambda c: c.update(format="x"), "not a dictionary of clusters"),
        (lambda c: c.update(tags={}, clusters={}), "holds no tag"),
        (lambda c: c.pop("made"), "no key 'made'"),
        (lambda c: c["tags"].update(jazz=4), "tag 'jazz' has cluster 4 under 'tags' but 3 under 'clusters'"),
        (lambda c: c["tags"].pop("jazz"), "tag 'jazz' has cluster None"),
        (lambda c: c["clusters"].update({"3": "jazz"}), "'clusters.3' is 'jazz'; it should be a valid list"),
        (
            lambda c: (
                c["tags"].update(jazz=1.5),
                c["clusters"].update({"1.5": [["jazz", 1]]}),
                c["clusters"].pop("3"),
            ),
            "'tags.jazz' is 1.5; it should be a valid integer",
        ),
        (lambda c: c["clusters"].update({"3": [["jazz", -1]]}), "'clusters.3.0.1' is -1; it should be greater"),
    ],
)
def test_damaged_files(tmp_path, example, change, message):
    with pytest.raises(DataError, match=message):
        dictionary.load(damaged(tmp_path, example, change))


def test_where_a_dictionary_is(tmp_path, example):
    with pytest.raises(DataError, match="holds no dictionary"):
        dictionary.load(tmp_path)
    example.save(tmp_path / "a.json")
    (tmp_path / "genres.json").write_text("{}")
    assert dictionary.find(tmp_path).name == "a.json"
    example.save(tmp_path / "b.json")
    with pytest.raises(DataError, match=r"holds 2 \(a.json"):
        dictionary.load(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        dictionary.load(tmp_path / "none.json")


def test_pickles_of_the_reference_are_read_and_run_nothing(tmp_path):
    (tmp_path / "theirs").mkdir()
    path = tmp_path / "theirs" / "tags_dict_4.pkl"
    path.write_bytes(pickle.dumps({"rock": np.int32(5), "jazz": 2, "bop": 2}))
    for found in (dictionary.load(path), dictionary.load(path.parent)):
        assert found.tag_to_cluster == {"rock": 5, "jazz": 2, "bop": 2} and found.mapping["jazz"] == 0
        assert found.made["method"] == "converted" and found.made["data"]["name"] == "tags_dict_4.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(DataError, match=r"system"):
        dictionary.load(path)
    path.write_bytes(pickle.dumps(["rock"]))
    with pytest.raises(DataError, match=r"holds a list; expected a dict of tag → cluster"):
        dictionary.load(path)


def test_pickles_that_would_grow_or_never_end(tmp_path):
    path = tmp_path / "d.pkl"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")  # an empty list under the number 2,147,483,647
    with pytest.raises(DataError, match="it numbers a value 2147483647, and has 9 bytes"):
        pickles.load(path)
    nested = ["piano"]
    for _ in range(60):
        nested = [nested, nested]  # 2^60 words when written out
    path.write_bytes(pickle.dumps(nested, protocol=2))
    found = pickles.load(path)
    assert found[0] is found[1] and len(found) == 2
    circle: list = []
    circle.append(circle)
    path.write_bytes(pickle.dumps(circle, protocol=2))
    with pytest.raises(DataError, match="a value that holds itself"):
        pickles.load(path)


def test_genres_files(tmp_path, shared):
    there = genres.read(shared / "seed-dictionaries")
    assert there.genres == (34, 37, 24, 6, 25, 13, 27, 22, 23, 3, 38, 1)
    assert there.merge == ((6, 37), (14, 24), (18, 24))
    genres.write(tmp_path, there, names=[f"c{i}" for i in range(39)])
    for path in (tmp_path, tmp_path / "genres.txt", tmp_path / "genres.json"):
        again = genres.read(path)
        assert (again.genres, again.merge) == (there.genres, there.merge)
    assert json.loads((tmp_path / "genres.json").read_text())["names"]["14"] == "c14"
    (tmp_path / "genres.txt").unlink()
    assert genres.read(tmp_path).source.endswith("genres.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1,2\n[]", r"genres.txt:1: expected a list like \[34"),
        ("[1,2]\n[1,2]", "genres.txt:2: expected pairs"),
        ("[1,2]\n[[1,1]]", "genres.txt:2: expected pairs of different"),
        ("[1,-2]\n[]", "genres.txt:1: expected a list of clusters"),
        ("[1,true]\n[]", "genres.txt:1: expected a list of clusters"),
        ("__import__('os').getcwd()\n[]", "genres.txt:1: expected a list like"),
        ("", "expected two lines"),
        ("[]\n[]\n[]", "expected two lines"),
    ],
)
def test_bad_genres_files(tmp_path, content, message):
    (tmp_path / "genres.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        genres.read(tmp_path)


def test_no_genres_file(tmp_path):
    with pytest.raises(DataError, match=r"holds neither genres.txt nor genres.json"):
        genres.read(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        genres.read(tmp_path / "genres.txt")
