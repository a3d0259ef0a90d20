"""Dictionaries, genres and word vectors that a training is given: classes by hand, and what is refused."""

import logging
from collections import Counter

import numpy as np
import pytest

from orpheus.data.tags.targets import TagTargets
from orpheus.semantics import dictionary, words
from orpheus.tasks.tagging import similarity_loss
from orpheus.tasks.tagging.clusters import cluster_targets, read_clusters
from orpheus.tasks.tagging.data import reopen_data
from tests.clusters import CLUSTERS, by_hand, call, make_folder, one_line, tags_of, write


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("clusters"))


def test_cluster_targets_by_hand(place, demo, caplog):
    tracks, _ = tags_of(demo)
    clusters = read_clusters(place / "dictionary")
    with caplog.at_level(logging.INFO, "orpheus"):
        found = cluster_targets(clusters, {tag for tags in tracks.values() for tag in tags})
    assert found.kind == "clusters" and len(found.classes) == 5
    assert found.classes[0] == "loud, energetic, Loud" and found.classes[4] == "strings, violins"
    assert "1 of 6 clusters" in caplog.text and "polka, mazurka" in caplog.text
    for tags in tracks.values():
        assert found.multi_hot(tags).tolist() == by_hand(tags)
    # A filter takes tags, and a cluster with them where nothing is left.
    fewer = cluster_targets(clusters, {"loud", "quiet", "soft"}, without=["quiet", "loud", "Loud", "energetic"])
    assert fewer.columns == {"soft": 0, "Quiet": 0}


def test_genres_keep_and_merge(place):
    reduced = read_clusters(place / "dictionary", place / "genres")
    # Positions 0, 1 and 4 of (0, 1, 2, 4, 5, 7), 1 and 4 merged; the pair (2, 3) has no genre.
    assert set(reduced.clusters) == {0, 1}
    assert set(reduced.clusters[1]) == {*CLUSTERS[1], *CLUSTERS[5]}
    found = cluster_targets(reduced, ["loud", "violins", "fast"])
    assert found.multi_hot(["violins"]).tolist() == [0, 1] and not found.any(["fast"])


def test_similarity_of_tags_is_that_of_words(place):
    vectors = words.load(place / "glove.txt")
    classes = ("quiet", "soft", "guitar", "fast", "slow")
    found = similarity_loss.class_similarity(TagTargets(classes, {tag: i for i, tag in enumerate(classes)}), vectors)
    np.testing.assert_allclose(found, words.similarity(classes, vectors), atol=1e-6)


def stored(tags: dict, version=1) -> dict:
    """A dictionary file's content as it should not be."""
    clusters: dict = {}
    for tag, cluster in tags.items():
        clusters.setdefault(str(cluster), []).append([tag, None])
    return {
        "format": "orpheus-dictionary",
        "version": version,
        "tags": tags,
        "clusters": clusters,
        "made": {},
        "scores": {},
    }


@pytest.mark.parametrize(
    "name, options, message",
    [
        (
            "gamma below 0",
            ["--gamma", -0.5, "--custom-loss-embeddings-path", "glove.txt"],
            "--gamma -0.5: must be at least 0",
        ),
        ("gamma nan", ["--gamma", "nan", "--custom-loss-embeddings-path", "glove.txt"], "--gamma nan"),
        ("gamma alone", ["--gamma", 1], "--custom-loss-embeddings-path"),
        ("genres alone", ["--genre-path", "genres"], "--dictionary-dir"),
        ("no vectors", ["--custom-loss-embeddings-path", "none.txt"], "none.txt: no such file"),
        (
            "another dimension",
            ["--custom-loss-embeddings-path", "short.txt"],
            "short.txt:2: expected 3 numbers behind the word, found 2",
        ),
        ("malformed", ["--custom-loss-embeddings-path", "letters.txt"], "letters.txt:1"),
        ("other language", ["--custom-loss-embeddings-path", "foreign.txt"], "foreign.txt"),
        ("empty dictionary", ["--dictionary-dir", "empty.json"], "empty.json: holds no tag"),
        ("no dictionary", ["--dictionary-dir", "nothing"], "nothing: no such file"),
        ("no pickle", ["--dictionary-dir", "old.pkl"], "old.pkl"),
        (
            "few vectors",
            ["--custom-loss-embeddings-path", "few.txt"],
            "has vectors of 1 of 12 classes, fewer than --min-coverage 0.5",
        ),
        (
            "coverage",
            ["--min-coverage", 2, "--custom-loss-embeddings-path", "few.txt"],
            "--min-coverage 2.0: must be between 0 and 1",
        ),
        ("not a dictionary", ["--dictionary-dir", "config.json"], "not a dictionary"),
        ("version", ["--dictionary-dir", "version.json"], "version 2"),
        (
            "no tag occurs",
            ["--dictionary-dir", "klingon.json"],
            "none of its 2 tags (qa'vam, 'oH, …) occurs in the records",
        ),
        ("case", ["--dictionary-dir", "case.json"], "differ in case only"),
        (
            "genres that do not exist",
            ["--dictionary-dir", "dictionary", "--genre-path", "wrong"],
            "cluster 6 does not exist; ",
        ),
        ("no genres", ["--dictionary-dir", "dictionary", "--merge-outside"], "give --genre-path too"),
        (
            "no genres.txt",
            ["--dictionary-dir", "dictionary", "--genre-path", "runs"],
            "neither genres.txt nor genres.json",
        ),
        ("genres malformed", ["--dictionary-dir", "dictionary", "--genre-path", "bad"], "genres.txt:2"),
    ],
)
def test_bad_input_is_one_line(place, demo, capsys, name, options, message):
    (place / "runs").mkdir(exist_ok=True)
    write(place / "short.txt", "loud 1 0 0\nfast 1 0\n")
    write(place / "letters.txt", "loud one two three\n")
    write(place / "few.txt", "loud 1 0 0\n")
    write(place / "foreign.txt", "laut 1 0\nleise 0 1\n")
    write(place / "empty.json", stored({}))
    write(place / "klingon.json", stored({"qa'vam": 0, "'oH": 1}))
    write(place / "case.json", stored({"FAST": 0, "SLOW": 1}))
    write(place / "version.json", stored({"fast": 0}, version=2))
    write(place / "old.pkl", "no matter")
    for folder, text in (("wrong", "[0, 6]\n[]\n"), ("bad", "[0]\n[[1, 2, 3]]\n")):
        (place / folder).mkdir(exist_ok=True)
        write(place / folder / "genres.txt", text)
    names = {path.name for path in place.iterdir()} | {"none.txt", "nothing"}
    code, _ = call(place, demo, *(place / option if option in names else option for option in options))
    assert code == 2, name
    assert message in one_line(capsys)


def test_dictionary_overrules_section_tags_and_says_so(place, demo, caplog, capsys):
    with caplog.at_level(logging.INFO, "orpheus"):
        code, _ = call(
            place,
            demo,
            "--dictionary-dir",
            place / "dictionary",
            "--genre-path",
            place / "genres",
            "--dry-run",
            "--set",
            'tags.with=["seen live"]',
        )
    assert code == 0
    assert "tags.top, tags.with of the config are ignored" in caplog.text
    tracks, _ = tags_of(demo)
    wanted = {*CLUSTERS[0], *CLUSTERS[1], *CLUSTERS[5]}
    kept = sum(bool(wanted & set(tags)) for tags in tracks.values())
    assert f"{kept} of 24 tracks have any of the 2 classes; {24 - kept} are left out" in caplog.text
    assert "loud, energetic, Loud" in capsys.readouterr().out


@pytest.mark.slow
def test_trains_with_a_converted_dictionary(shared, place, demo, tmp_path):
    from tools import convert_dictionary

    old = shared / "seed-dictionaries" / "embeddings_baseline" / "tags_dict_500.pkl"
    convert_dictionary.convert(old, tmp_path / "new.json")
    code, run = call(place, demo, "--dictionary-dir", tmp_path / "new.json")
    assert code == 0
    tracks, _ = tags_of(demo)
    mapping = dictionary.load(tmp_path / "new.json").tag_to_cluster
    present = Counter(
        cluster for tags in tracks.values() for cluster in {mapping[tag] for tag in tags if tag in mapping}
    )
    data = reopen_data(run)
    assert len(data.targets.classes) == len(present) > 10
    assert sum(data.records_of(split).truth().sum() for split in data.split) == sum(present.values())
