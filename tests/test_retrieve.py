"""The command: unwanted words survive the parser, three formats, one line for every mistake."""

import csv
import io
import json

import numpy as np
import pytest

import orpheus
from orpheus import retrieve, train
from orpheus.base import files
from orpheus.errors import DataError
from orpheus.semantics.words import tokens
from orpheus.tasks.retrieval import retriever as real
from orpheus.tasks.search import tagger_space
from tests.retriever import FakeRetriever


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder whose retriever is the one without a model."""
    monkeypatch.setattr(real.Retriever, "load", classmethod(lambda cls, run: FakeRetriever(run)))
    monkeypatch.setattr(tagger_space, "load", lambda run, word_vectors=None: FakeRetriever(run))
    return tmp_path / "run"


@pytest.fixture
def index(run, tmp_path, capsys):
    music = tmp_path / "music"
    music.mkdir()
    for name, text in {"1": "sad piano", "2": "sad piano vocals", "3": "rock guitar vocals"}.items():
        (music / f"{name}.wav").write_text(text)
    (music / "tracks.csv").write_text("track_id,audio_path\n1,1.wav\n2,2.wav\n3,3.wav\n")
    (music / "tags.tsv").write_text(
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
        "1\ta\tb\tp\t1.0\tsad\tPiano\n2\ta\tb\tp\t1.0\tvocals\tpiano\n3\ta\tb\tp\t1.0\trock\n"
    )
    path = tmp_path / "music.index"
    code = retrieve.main(
        ["index", str(run), str(music / "tracks.csv"), "-o", str(path), "--tags", str(music / "tags.tsv")]
    )
    assert code == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["3 new, 0 unchanged", f"{path}: 3 songs"]
    return path


def asked(capsys, *arguments):
    assert retrieve.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_search_as_table_csv_and_json(index, capsys):
    table = asked(capsys, "search", index, "sad piano", "-k", 2).splitlines()
    assert table[0].split() == ["rank", "id", "score", "shared"]
    assert table[1].split()[:2] == ["1", "1"] and table[1].endswith("sad; Piano") and len(table) == 3
    rows = list(csv.DictReader(io.StringIO(asked(capsys, "search", index, "sad piano", "--format", "csv"))))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert (
        rows[1]["tags"] == "piano; vocals"
        and rows[1]["shared"].startswith("piano")
        and rows[1]["path"].endswith("2.wav")
    )
    hits = json.loads(asked(capsys, "search", index, "sad", "piano", "--format", "json"))
    assert [(hit["rank"], hit["id"]) for hit in hits] == [(1, "1"), (2, "2"), (3, "3")]
    assert hits[0]["shared"] == ["sad", "Piano"] and -1 <= hits[0]["score"] <= 1


@pytest.mark.parametrize(
    "words",
    [["vocals", "-sad"], ["vocals -sad"], ["-sad", "vocals"], ["-k", "3", "-sad", "vocals"], ["-sad", "vocals", "-k3"]],
)
def test_unwanted_words_reach_the_query(index, capsys, words):
    hits = json.loads(asked(capsys, "search", index, *words, "--format", "json"))
    assert hits[0]["id"] == "3"
    assert [hit["id"] for hit in hits] == ["3", "2", "1"]


def test_what_is_an_option_and_what_is_not_wanted():
    argv = ["search", "i", "-vocals", "-k", "5", "-k7", "-kpop", "-h", "-house", "--format", "csv", "-female vocals"]
    assert retrieve.unwanted(argv) == [
        "search",
        "i",
        " -vocals",
        "-k",
        "5",
        "-k7",
        " -kpop",
        "-h",
        " -house",
        "--format",
        "csv",
        " -female vocals",
    ]
    assert retrieve.unwanted(["index", "r", "search", "-o", "x"]) == ["index", "r", "search", "-o", "x"]
    assert (
        retrieve._query(["dream pop", " -female vocals", "sad", ' -"a b"']) == '"dream pop" -"female vocals" sad -"a b"'
    )
    assert retrieve._query(["dream pop -sad"]) == "dream pop -sad"


def test_similar_tags_and_neighbours(index, run, capsys):
    hits = json.loads(asked(capsys, "similar", index, "1", "--format", "json"))
    assert [hit["id"] for hit in hits] == ["2", "3"] and hits[0]["shared"][0] == "piano"
    table = asked(capsys, "tags", index, index.parent / "music" / "1.wav", "-k", 2).splitlines()
    assert [line.split()[1] for line in table] == ["tag", "sad", "Piano"]
    rows = json.loads(asked(capsys, "neighbours", run, "sad piano", "-k", 2, "--format", "json"))
    assert [(row["tag"], row["tag by words"]) for row in rows] == [("sad", "sad"), ("Piano", "Piano")]
    table = asked(capsys, "neighbours", run, "sad", "--among", "sad rock", "jazz").splitlines()
    assert table[1].split()[:3] == ["1", "sad", "rock"]


def test_a_joint_run_has_neighbours_of_tags_too(run, capsys, monkeypatch):
    """By the space that the run's task has, and not by retrieval's reader, which refuses it."""

    def refuse(cls, run):
        raise DataError(f"{run}: a run of joint; search needs one of task retrieval")

    monkeypatch.setattr(real.Retriever, "load", classmethod(refuse))
    rows = json.loads(asked(capsys, "neighbours", run, "sad piano", "-k", 2, "--format", "json"))
    assert [row["tag"] for row in rows] == ["sad", "Piano"]


def test_added_again_and_removed(index, run, capsys):
    music = index.parent / "music"
    (music / "3.wav").write_text("unheard of")
    (music / "tracks.csv").write_text("track_id,audio_path\n1,1.wav\n3,3.wav\n4,4.wav\n")
    assert retrieve.main(["index", str(run), str(music / "tracks.csv"), "-o", str(index)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out == ["removed 2", "removed 3", "0 new, 1 unchanged, 2 removed, 2 unusable", f"{index}: 1 songs"]
    assert retrieve.main(["index", str(run), "-o", str(index), "--remove", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == ["removed 1", f"{index}: 0 songs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "{index}", "sad", "xyzzy"], "words.txt: no vector for 'xyzzy' (nearest known: sad)"),
        (["search", "{index}", " "], "is empty: give tags or words, for example"),
        (["search", "{index}", "sad", "-sad"], "its terms cancel out"),
        (["search", "{index}", "sad", "-k", "0"], "k=0: must be at least 1"),
        (["search", "nowhere", "sad"], "nowhere: no such index; make one with"),
        (["similar", "{index}", "11"], "no song '11' in it, and no such file"),
        (["index", "{run}", "-o", "{index}"], "SONGS is missing"),
        (["index", "{run}", "nowhere", "-o", "{index}"], "nowhere: no such file or folder"),
        (["neighbours", "{run}", "xyzzy"], "no vector for 'xyzzy'"),
        (["neighbours", "{run}", "sad", "-k", "0"], "k=0: must be at least 1"),
    ],
)
def test_mistakes_are_one_line(index, run, capsys, arguments, message):
    assert retrieve.main([word.format(index=index, run=run) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_nothing_is_made_where_songs_are_missing(run, tmp_path, capsys):
    assert retrieve.main(["index", str(run), str(tmp_path / "nowhere"), "-o", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def test_an_index_made_by_another_run(index, run, capsys, monkeypatch):
    monkeypatch.setattr(tagger_space, "load", lambda run, word_vectors=None: FakeRetriever(run, "b" * 64))
    for arguments in (["index", run, index.parent / "music", "-o", index], ["search", index, "guitar"]):
        assert retrieve.main(list(map(str, arguments))) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "was made with another run" in line


def test_the_python_interface_is_the_same(index):
    found = orpheus.SongIndex(index)
    assert [hit.id for hit in found.search("sad piano", k=2)] == ["1", "2"]
    assert len(found) == 3


@pytest.mark.slow
def test_a_trained_run_from_audio_to_hits(demo, tmp_path, capsys):
    """Records and the files they were made from lie at the same places; another run's index is refused."""
    rng = np.random.default_rng(0)
    rows = files.read_jsonl(demo / "mel" / "manifest.jsonl")
    words = sorted({word for row in rows for tag in row["tags"] for word in tokens(tag)} | {"quiet"})
    lines = [f"{word} " + " ".join(f"{value:.4f}" for value in rng.normal(size=10)) for word in words]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    values = {
        "retrieval": {
            "n_filters": 2,
            "embedding": 16,
            "input_length": 40,
            "num_chunk": 2,
            "triplets_per_epoch": 16,
            "is_weighted": True,
        },
        "model-training": {
            "batch_size": 8,
            "log_dir": str(tmp_path / "runs"),
            "split": [60, 20, 20],
            "tensorboard": "scalars",
        },
        "tags": {"top": 8},
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    given = [
        "--config",
        tmp_path / "config.json",
        "--tfrecords-dir",
        demo / "mel",
        "--word-vectors",
        tmp_path / "vectors.txt",
    ]
    for seed in (0, 1):
        assert train.main(["log-mel-spectrogram", *map(str, given), "--epochs", "1", "--seed", str(seed)]) == 0
    run, other = sorted((tmp_path / "runs").iterdir())
    index = tmp_path / "index"
    assert (
        retrieve.main(["index", str(run), str(demo / "mel"), str(demo / "data" / "tracks.csv"), "-o", str(index)]) == 0
    )
    capsys.readouterr()
    # The csv has the same ids, and now its files stand for them: decoded and cut as the records were.
    by_file = {song.id: song.vector for song in (orpheus.SongIndex(index)._store.find(row["id"]) for row in rows)}
    for song, _, vector in real.Retriever.load(run).records(demo / "mel"):
        assert by_file[song] @ vector > 0.999
    assert retrieve.main(["index", str(run), str(demo / "data" / "tracks.csv"), "-o", str(index)]) == 0
    assert f"0 new, {len(rows)} unchanged" in capsys.readouterr().out
    hits = json.loads(asked(capsys, "search", index, "quiet", f"-{words[0]}", "-k", 3, "--format", "json"))
    assert len(hits) == 3 and hits[0]["score"] >= hits[2]["score"]
    audio = hits[0]["path"]
    assert hits[0]["id"] not in [
        hit["id"] for hit in json.loads(asked(capsys, "similar", index, audio, "--format", "json"))
    ]
    assert len(asked(capsys, "tags", index, audio, "-k", 3).splitlines()) == 4
    assert retrieve.main(["search", str(index), "xyzzy"]) == 2
    assert "vectors.txt: no vector for 'xyzzy'" in capsys.readouterr().err
    assert retrieve.main(["index", str(other), audio, "-o", str(index)]) == 2
    assert "was made with another run" in capsys.readouterr().err


def test_an_index_cannot_take_the_place_of_a_file(run, tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        retrieve.main(["index", str(run), "songs", "-o", str(tmp_path / "taken")])
    assert ended.value.code == 2 and "taken is a file, and no folder" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.fixture
def heard(index, run, capsys):
    """The index with artists, titles and listeners."""
    music = index.parent / "music"
    (music / "tracks.csv").write_text(
        "track_id,audio_path,artist,title\n1,1.wav,Ann,One\n2,2.wav,Ann,Two\n3,3.wav,,Three\n"
    )
    (music / "plays.csv").write_text("user,item,count\nu,1,3\nv,3,1\nw,9,1\n")
    given = ["index", run, music / "tracks.csv", "-o", index, "--listeners", music / "plays.csv", "--map"]
    assert asked(capsys, *given).splitlines()[-1] == f"{index}: 3 songs, 2 listeners"
    assert (index / "map.npz").is_file()
    return index


def ids(text):
    return [hit["id"] for hit in json.loads(text)]


def test_listeners_histories_filters_and_mixtures(heard, capsys):
    def found(*arguments):
        return ids(asked(capsys, arguments[0], heard, *arguments[1:], "--format", "json"))

    assert found("recommend", "--listener", "u") == ["2", "3"]
    assert found("recommend", "--listener", "u", "--include-heard") == ["1", "2", "3"]
    assert found("search", "rock", "--listener", "u", "--weight", "words=5", "listener=.1")[0] == "3"
    assert found("search", "rock", "--listener", "u", "--weight", "words=.1", "listener=5")[0] == "2"
    assert found("search", "sad", "--with-tags", "PIANO", "--without-tags", "vocals") == ["1"]
    assert found("search", "sad", "--artists-once", "--exclude", "2") == ["1", "3"]
    assert found("similar", "1", "--diversity", "1") == ["2", "3"]
    assert found("path", "1", "3", "--steps", "5") == ["1", "2", "3"]
    table = asked(capsys, "search", heard, "sad").splitlines()
    assert table[0].split() == ["rank", "id", "score", "shared", "artist", "title"] and table[1].endswith("One")


def test_playlists_are_written_and_are_histories(heard, capsys):
    music, written = heard.parent / "music", heard.parent / "lists" / "sad.m3u8"
    written.parent.mkdir()
    asked(capsys, "search", heard, "sad", "-k", 2, "--playlist", written, "--relative")
    assert written.read_text(encoding="utf-8").splitlines() == [
        "#EXTM3U",
        "#EXTINF:-1,Ann - One",
        "../music/1.wav",
        "#EXTINF:-1,Ann - Two",
        "../music/2.wav",
    ]
    hits = asked(capsys, "recommend", heard, "--history", written, "--format", "json")
    assert ids(hits) == ["3"] and json.loads(hits)[0]["title"] == "Three"
    asked(capsys, "path", heard, "1", "3", "--playlist", written)
    assert str(music / "1.wav") in written.read_text().splitlines()
    (music / "heard.txt").write_text("1\n\n2\n")
    assert ids(asked(capsys, "recommend", heard, "--history", music / "heard.txt", "--format", "json")) == ["3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "{index}"], "nobody to recommend for: give --listener, --history or --like"),
        (["recommend", "{index}", "--listener", "x"], "no listener 'x' among 2 (nearest: u, v)"),
        (["recommend", "{index}", "--history", "nowhere.txt"], "nowhere.txt: cannot be read"),
        (["search", "{index}", " ", "--listener", "u"], "is empty: give tags or words"),
        (["search", "{index}", "sad", "--weight", "words"], "--weight words: expected PART=NUMBER"),
        (["search", "{index}", "sad", "--weight", "words=0"], "weight words=0: must be above 0"),
        (
            ["search", "{index}", "sad", "--with-tags", "Piano", "--without-tags", "piano"],
            "no song is left by the filters",
        ),
        (
            ["search", "{index}", "sad", "--playlist", "x.txt"],
            "x.txt: ends in .txt; a name that ends in .m3u8 is needed",
        ),
        (["path", "{index}", "1", "1"], "a path from '1' to itself"),
    ],
)
def test_mistakes_of_more_than_words_are_one_line(heard, capsys, arguments, message):
    assert retrieve.main([word.format(index=heard) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
