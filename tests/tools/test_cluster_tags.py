"""tools.cluster_tags end to end on planted tags, from every kind of source, and one line for each bad input."""

import json

import numpy as np
import pytest

from orpheus.data.tags.database import TagDatabase
from orpheus.semantics import dictionary
from tools import cluster_tags

GROUPS = {
    "rock": ["rock", "Hard Rock", "punk-rock"],
    "jazz": ["jazz", "smooth jazz", "Bebop"],
    "mood": ["sad", "happy"],
}


def tag_lists(seed=0, tracks=300):
    rng = np.random.default_rng(seed)
    lists = {}
    for i in range(tracks):
        group = list(GROUPS.values())[rng.integers(3)]
        lists[f"t{i:03}"] = [tag for tag in group if rng.random() < 0.7]
    lists["t000"] = ["unheardof", "unheardof of", "Rare Rock"]
    return lists


@pytest.fixture
def database(tmp_path):
    rows = [(tid, tag, 100) for tid, tags in tag_lists().items() for tag in tags]
    TagDatabase.write(tmp_path / "tags.db", rows)
    return tmp_path / "tags.db"


@pytest.fixture
def glove(tmp_path):
    rng = np.random.default_rng(0)
    centres = {"rock": [1, 0, 0, 0], "jazz": [0, 1, 0, 0], "mood": [0, 0, 1, 0]}
    words = {
        "rock": "rock",
        "hard": "rock",
        "punk": "rock",
        "jazz": "jazz",
        "smooth": "jazz",
        "bebop": "jazz",
        "sad": "mood",
        "happy": "mood",
        "rare": "rock",
    }
    lines = [
        f"{word} " + " ".join(f"{v:.4f}" for v in np.array(centres[group]) + 0.05 * rng.normal(size=4))
        for word, group in words.items()
    ]
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "glove.txt"


def partition(path):
    groups = {}
    for tag, column in dictionary.load(path).mapping.items():
        groups.setdefault(column, set()).add(tag)
    return sorted(map(sorted, groups.values()))


def kmeans(database, glove, out, *more):
    arguments = ["kmeans", "--tags", database, "--embedding", "glove", glove, "--out", out, "--n-init", 5, *more]
    return cluster_tags.main(list(map(str, arguments)))


def test_kmeans_grid_and_filter(tmp_path, database, glove, capsys):
    (tmp_path / "tags_remove.txt").write_text("SAD\nhappy\n")
    grid = ["--threshold", 0, 10, "--n-clusters", 3, 2, "--filter-path", tmp_path, "--name", "mine"]
    assert kmeans(database, glove, tmp_path / "d", *grid) == 0
    made = sorted(str(p.relative_to(tmp_path / "d")) for p in (tmp_path / "d").rglob("*.json"))
    assert made == [f"mine/{t}_models/tags_dict_{k}.json" for t in (0, 10) for k in (2, 3)]
    # The cluster of moods holds only filtered tags; case does not matter for the filter.
    assert partition(tmp_path / "d/mine/10_models/tags_dict_3.json") == [sorted(GROUPS["jazz"]), sorted(GROUPS["rock"])]
    low = dictionary.load(tmp_path / "d/mine/0_models/tags_dict_3.json")
    assert low.mapping["Rare Rock"] == low.mapping["rock"] and "unheardof" not in low.mapping
    assert low.counts == {t: c for t, c in TagDatabase(database).popularity() if t in low.mapping}
    assert low.made["embedding"]["name"] == "glove.txt" and len(low.made["embedding"]["sha256"]) == 64
    assert low.made["data"]["name"] == "tags.db" and low.made["parameters"]["n_clusters"] == 3 and low.made["seed"] == 0
    assert "6 tags in 2 clusters (of 8 in 3" in capsys.readouterr().out


def test_no_filter_and_keep_tags(tmp_path, database, glove):
    assert kmeans(database, glove, tmp_path / "all", "--no-filter", "--n-clusters", 3, "--threshold", 10) == 0
    path = tmp_path / "all/glove/10_models"
    assert partition(path) == sorted(map(sorted, GROUPS.values()))
    (tmp_path / "keep.txt").write_text("sad\n")
    assert (
        kmeans(
            database, glove, tmp_path / "k", "--keep-tags", tmp_path / "keep.txt", "--n-clusters", 3, "--threshold", 10
        )
        == 0
    )
    assert partition(tmp_path / "k/glove/10_models") == [["happy", "sad"]]


@pytest.mark.slow
def test_every_source_gives_the_same_clusters(tmp_path, database, glove):
    lists = tag_lists()
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    names = sorted(k for k in lists if lists[k])
    halves = [names[::2], names[1::2]]
    for part, ids in enumerate(halves):
        lines = ["\t".join((tid, "a", "b", "p", "1.0", *(f"genre---{t}" for t in lists[tid]))) for tid in ids]
        (tmp_path / f"part{part}.tsv").write_text(header + "\n".join(lines) + "\n")
    records = tmp_path / "records"
    records.mkdir()
    rows = [
        {"id": tid, "artist": "a", "tags_0": [], "tags_1": tags, "seconds": 1.0, "shard": "s"}
        for tid, tags in lists.items()
    ]
    (records / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = {
        "db": [database],
        "tsv": [tmp_path / "part0.tsv", tmp_path / "part1.tsv"],
        "records": [records, "--multi-db-default", 1],
        "manifest": [records / "manifest.jsonl", "--multi-db-default", 1],
    }
    results = {}
    for name, source in sources.items():
        arguments = ["kmeans", "--tags", *source, "--embedding", "glove", glove, "--out", tmp_path / name]
        arguments += ["--no-filter", "--threshold", 10, "--n-clusters", 3, "--n-init", 3]
        assert cluster_tags.main(list(map(str, arguments))) == 0
        results[name] = dictionary.load(tmp_path / name / "glove/10_models")
    assert all(r.mapping == results["db"].mapping and r.counts == results["db"].counts for r in results.values())


def test_artists_of_hetrec_count_as_tracks(tmp_path):
    import argparse

    from tools import _tracks

    (tmp_path / "tags.dat").write_text("tagID\ttagValue\n1\trock\n2\tjazz\n")
    rows = ["1\t7\t1", "2\t7\t1", "1\t7\t2", "1\t8\t2"]
    text = "".join(f"{row}\t1\t4\t2009\n" for row in ["userID\tartistID\ttagID", *rows])
    (tmp_path / "user_taggedartists.dat").write_text(text)
    (tmp_path / "artists.dat").write_text("id\tname\turl\tpictureURL\n7\tA\tu\tp\n8\tB\tu\tp\n")
    (tmp_path / "user_artists.dat").write_text("userID\tartistID\tweight\n1\t7\t3\n")
    arguments = argparse.Namespace(tags=[tmp_path], multi_db_default=0, min_val=0)
    assert {k: sorted(v) for k, v in _tracks.read(arguments)[0].items()} == {"7": ["jazz", "rock"], "8": ["jazz"]}
    arguments.min_val = 2
    assert _tracks.read(arguments)[0] == {"7": ["rock"], "8": []}


def test_tags_inside_records_without_manifest(tmp_path):
    import argparse

    from orpheus.data.records import format
    from tools import _tracks

    written = [
        format.encode("a", np.zeros(3, np.float32), [["Rock", "日本"]]),
        format.encode("b", np.zeros(3, np.float32), [[]]),
    ]
    format.write_shard(tmp_path / "x.tfrecord", written)
    arguments = argparse.Namespace(tags=[tmp_path], multi_db_default=0, min_val=0)
    tracks, data = _tracks.read(arguments)
    assert tracks == {"a": ["Rock", "日本"], "b": []} and data["name"] == tmp_path.name


@pytest.fixture
def genre_base(tmp_path):
    """A dictionary of two genres with planted subgenres, and tracks for it."""
    rng = np.random.default_rng(1)
    lists = {}
    for i in range(1500):
        genre, sub = ("rock", "jazz")[rng.integers(2)], rng.integers(5)
        lists[f"t{i}"] = [genre, *(f"{genre} {sub}{n}" for n in range(4) if rng.random() < 0.6)]
    rows = [(tid, tag, 1) for tid, tags in lists.items() for tag in tags]
    TagDatabase.write(tmp_path / "sub.db", rows)
    tags = {tag: 4 if tag.startswith("rock") else 9 for tags in lists.values() for tag in tags} | {"sad": 6}
    dictionary.Dictionary(tags).save(tmp_path / "base.json")
    (tmp_path / "genres.txt").write_text("[0, 2]\n[]\n")
    return tmp_path


@pytest.mark.parametrize("method", ["npmi", pytest.param("skip-gram", marks=pytest.mark.slow)])
def test_subgenres(genre_base, method, capsys):
    more = [] if method == "npmi" else ["--epochs", 20, "--n-init", 10, "--batch-size", 128, "--learning-rate", 0.03]
    arguments = [
        method,
        "--tags",
        genre_base / "sub.db",
        "--dictionary",
        genre_base / "base.json",
        "--genre-path",
        genre_base,
    ]
    assert cluster_tags.main([*map(str, arguments), "--out", str(genre_base / "new.json"), *map(str, more)]) == 0
    result = dictionary.load(genre_base / "new.json")
    planted = sorted(sorted(f"{g} {s}{n}" for n in range(4)) for g in ("jazz", "rock") for s in range(5))
    assert partition(genre_base / "new.json") == planted
    assert result.scores["genres"]["rock"]["k"] == 5 and result.scores["genres"]["rock"]["silhouette"] > 0
    clusters = result.scores["genres"]["rock"]["clusters"]
    assert {tag for c in clusters for tag in result.clusters[c]} == {t for t in result.mapping if t.startswith("rock")}
    assert result.made["method"] == method and result.made["parameters"]["dictionary"]["name"] == "base.json"
    assert "40 tags in 10 clusters" in capsys.readouterr().out


def test_the_grid_writes_what_can_be_made_and_names_the_rest(database, glove, tmp_path, capsys):
    grid = ["--threshold", 0, 10**6, "--n-clusters", 2, 50, "--n-init", 2]
    arguments = [
        "kmeans",
        "--tags",
        database,
        "--embedding",
        "glove",
        glove,
        "--out",
        tmp_path / "o",
        "--no-filter",
        *grid,
    ]
    assert cluster_tags.main(list(map(str, arguments))) == 1
    said = capsys.readouterr().out
    assert {path.relative_to(tmp_path / "o").as_posix() for path in (tmp_path / "o").rglob("*.json")} == {
        "glove/0_models/tags_dict_2.json"
    }
    assert "tags_dict_50.json: not made; k-means: n_clusters=50" in said and said.count("not made; ") == 3
    assert "annotations (" in said and "knows no tag of more than 1000000 tracks" in said


def test_what_a_clustering_loses_is_counted(genre_base, capsys):
    rest = ["--tags", genre_base / "sub.db", "--dictionary", genre_base / "base.json", "--genre-path", genre_base]
    assert cluster_tags.main(["npmi", *map(str, [*rest, "--out", genre_base / "n.json"])]) == 0
    counts = dict(TagDatabase(genre_base / "sub.db").popularity())
    total, there = sum(counts.values()), sum(count for tag, count in counts.items() if tag not in ("rock", "jazz"))
    said = capsys.readouterr().out
    assert f"{there:,} of {total:,} annotations ({100 * there / total:.1f} %), {total - there:,} lost" in said


def test_the_number_of_clusters_scales_with_a_small_genre():
    """Twelve tags in four planted groups: 3 to 6 clusters are tried instead of 5 to 11."""
    from orpheus.semantics import cooccurrence, subgenres

    rng = np.random.default_rng(0)
    tracks = [["genre", *(f"{g}{n}" for n in range(3) if rng.random() < 0.7)] for g in rng.integers(4, size=800)]
    group = subgenres.members(sorted({tag for tags in tracks for tag in tags}), cooccurrence.tag_matrix(tracks))
    plain, scaled = subgenres.by_npmi(group), subgenres.by_npmi(group, scaled=True)
    assert sorted(plain.scores) == list(range(5, 12)) and sorted(scaled.scores) == [3, 4, 5, 6]
    assert scaled.k == 4 and len(scaled.labels) == 12 and len(plain.labels) <= 12


@pytest.mark.parametrize("place", [0, 1, 99])
def test_verbosity_before_and_behind_the_method(genre_base, place, capsys):
    rest = [
        "npmi",
        "--tags",
        genre_base / "sub.db",
        "--dictionary",
        genre_base / "base.json",
        "--out",
        genre_base / "v.json",
    ]
    arguments = list(map(str, rest))
    arguments[place:place] = ["-v", "0"]
    assert cluster_tags.parser().parse_args(arguments).verbose == 0
    assert cluster_tags.parser().parse_args(list(map(str, rest))).verbose == 1


def failing(capsys, arguments, message):
    assert cluster_tags.main(list(map(str, arguments))) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error, error


def test_bad_input_is_one_line(genre_base, database, glove, capsys):
    base = ["kmeans", "--tags", database, "--embedding", "glove", glove, "--out", genre_base / "o", "--no-filter"]
    failing(capsys, [*base, "--threshold", 10**6], "no tag has more tracks; the most frequent has")
    failing(capsys, [*base, "--threshold", 0, "--n-clusters", 50], "n_clusters=50 for 9 different vectors")
    failing(capsys, [*base[:4], "elmo", *base[5:], "--threshold", 0], "unknown kind 'elmo'")
    failing(capsys, [*base[:-1], "--filter-path", genre_base / "no"], "no such filter")
    failing(capsys, ["kmeans", "--tags", genre_base / "no.db", *base[3:]], "no such tag database or tag file")
    sub = [
        "npmi",
        "--tags",
        genre_base / "sub.db",
        "--dictionary",
        genre_base / "base.json",
        "--out",
        genre_base / "o.json",
    ]
    (genre_base / "genres.txt").write_text("[7]\n[]")
    failing(capsys, [*sub, "--genre-path", genre_base], "genres.txt: cluster 7 does not exist")
    failing(capsys, [*sub, "--min-clusters", 1], "expected 2 ≤ smallest")
    failing(capsys, [*sub[:2], database, "--dictionary", genre_base / "other.json"], "no such file")
    dictionary.Dictionary({"polka": 0}).save(genre_base / "polka.json")
    failing(capsys, [*sub[:4], genre_base / "polka.json"], "none of its 1 tags is on a track")


def test_help_is_quick_and_says_the_defaults(command):
    done = command("tools.cluster_tags", "kmeans", "--help")
    assert done.returncode == 0 and "(default: 60)" in done.stdout
    assert "kmeans,npmi,skip-gram" in command("tools.cluster_tags", "--help").stdout
