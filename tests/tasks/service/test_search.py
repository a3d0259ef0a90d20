"""What is asked of an index: the answers are those of the index itself, and errors are one line of one shape."""

import urllib.parse

import numpy as np
import pytest

from orpheus.errors import DataError
from orpheus.tasks.search.filters import Filters
from orpheus.tasks.search.mixing import Mix
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.search.store import Song
from tests.retriever import vector
from tests.tasks.service.conftest import HOSTILE, SONGS

QUESTIONS = {
    "q=sad+piano&k=3": lambda index: index.search("sad piano", 3),
    "q=guitar+-vocals": lambda index: index.search("guitar -vocals"),
    "listener=u1": lambda index: index.search(mix=Mix(listener="u1")),
    "q=sad&listener=u1&weight_words=3&weight_listener=0.5": lambda index: index.search(
        "sad", mix=Mix(listener="u1", weights={"words": 3, "listener": 0.5})
    ),
    "history=a&history=b&include_heard=true": lambda index: index.search(
        mix=Mix(history=["a", "b"]), filters=Filters(include_heard=True)
    ),
    "like=1&q=rock": lambda index: index.search("rock", mix=Mix(like=["a"])),
    "q=sad&tag=guitar&without=rock": lambda index: index.search(
        "sad", filters=Filters(tags=["guitar"], without=["rock"])
    ),
    "q=sad&artists_once=true&k=2": lambda index: index.search("sad", 2, filters=Filters(artists_once=True)),
    "q=guitar&diversity=0.9&k=3": lambda index: index.search("guitar", 3, diversity=0.9),
}


def same(answer, hits):
    """Whether an answer says what hits are."""
    assert answer.status_code == 200, answer.text
    found = answer.json()["hits"]
    assert [one["id"] for one in found] == [hit.id for hit in hits] and hits
    np.testing.assert_allclose([one["score"] for one in found], [hit.score for hit in hits], atol=1e-6)
    for one, hit in zip(found, hits, strict=True):
        assert (one["number"], one["artist"], one["tags"]) == (hit.number, hit.artist, list(hit.tags))
        assert one["because"] == list(hit.shared) and one["title"] == (hit.title or hit.id)
        assert one["audio"] == f"/api/music/songs/{hit.number}/audio"
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_search_is_that_of_the_index(client, index, question):
    same(client.get(f"/api/music/search?{question}"), QUESTIONS[question](index))


def test_questions_differ(index):
    answers = [[(hit.id, round(hit.score, 5)) for hit in ask(index)] for ask in QUESTIONS.values()]
    assert all(one not in answers[:place] for place, one in enumerate(answers))


def test_songs_like_a_song_for_a_listener_and_on_a_way(client, index):
    found = same(client.get("/api/music/similar?song=1&k=3"), index.similar("a", 3))
    assert "a" not in [hit["id"] for hit in found]
    same(client.get("/api/music/recommend?listener=u1&k=2"), index.recommend("u1", k=2))
    same(client.get("/api/music/recommend?history=d"), index.recommend(history=["d"]))
    same(client.get("/api/music/path?start=1&end=4&steps=2"), index.path("a", "d", 2))
    one = client.get("/api/music/songs/3").json()
    assert (one["id"], one["artist"], one["title"]) == ("c", SONGS["c"][1], SONGS["c"][2])


def test_tags_of_a_song_and_near_a_tag_and_what_begins_so(client, index):
    found = client.get("/api/music/songs/1/tags?k=3&timeline=true").json()
    assert [one["tag"] for one in found["tags"]] == [near.tag for near in index.tags("a", 3)]
    assert found["timeline"] is None and found["seconds"] is None
    near = client.get("/api/music/neighbours?tag=Piano&k=3").json()["tags"]
    assert [one["tag"] for one in near] == [one.tag for one in index.neighbours("Piano", 3)] != []
    assert "Piano" not in [one["tag"] for one in near]
    assert client.get("/api/music/words?prefix=pi").json() == {"words": ["Piano"]}
    assert client.get("/api/music/listeners?prefix=u").json() == {"listeners": ["u1", "u2"]}
    assert client.get("/api/music/listeners?prefix=x").json() == {"listeners": []}


def test_what_is_served_says_what_it_is(client, index):
    (one,) = client.get("/api/models").json()
    assert (one["name"], one["kind"], one["songs"], one["listeners"]) == ("music", "index", len(SONGS), 3)
    assert set(index.training_tags) & set(one["tags"]) and {"search", "listeners", "path"} <= set(one["can"])
    health = client.get("/health").json()
    assert health["status"] == "ok" and health["models"] == 1


def test_the_map_is_that_of_the_index(client, index):
    content, expected = client.get("/api/music/map").content, index.map()
    (count,) = np.frombuffer(content, "<u4", 1)
    assert count == len(SONGS) == len(expected.numbers) and len(content) == 4 + count * 12
    np.testing.assert_array_equal(np.frombuffer(content, "<u4", count, 4), expected.numbers)
    points = np.frombuffer(content, "<f4", 2 * count, 4 + 4 * count).reshape(-1, 2)
    np.testing.assert_array_equal(points, expected.points)
    labels = client.get("/api/music/map/labels").json()["labels"]
    assert [(one["x"], one["y"], one["text"]) for one in labels] == expected.labels


def test_a_playlist_holds_the_files_in_order(client, fake_index):
    answer = client.post("/api/music/playlist", json={"numbers": [3, 1]})
    folder = fake_index.parent
    assert (
        answer.headers["content-type"].startswith("audio/mpegurl")
        and "attachment" in answer.headers["content-disposition"]
    )
    lines = answer.text.splitlines()
    assert lines[0] == "#EXTM3U" and [line for line in lines if line[0] != "#"] == [
        f"{folder}/c.flac",
        f"{folder}/a.flac",
    ]
    assert client.post("/api/music/playlist", json={"numbers": [99]}).status_code == 404
    for wrong in ({}, {"numbers": []}, {"numbers": ["x"]}, {"numbers": [2**70]}, [1]):
        assert client.post("/api/music/playlist", json=wrong).status_code == 422


@pytest.mark.parametrize(
    ("asked", "status", "code", "said"),
    [
        ("nothing/search?q=sad", 404, "not_found", "nothing called 'nothing'"),
        ("music/search", 400, "refused", "empty"),
        ("music/search?q=qwertz", 400, "refused", "no vector for 'qwertz'"),
        ("music/search?q=sad+-sad", 400, "refused", "cancel out"),
        ("music/search?q=sad&k=0", 422, "invalid", "k: "),
        ("music/search?q=sad&k=201", 422, "invalid", "k: "),
        ("music/search?q=sad&k=x", 422, "invalid", "k: "),
        ("music/search?q=sad&diversity=nan", 422, "invalid", "diversity: "),
        ("music/search?q=sad&weight_words=-1", 422, "invalid", "weight_words: "),
        ("music/search?q=sad&like=99", 404, "not_found", "no song 99"),
        ("music/search?history=../../etc/passwd", 400, "refused", "not in it"),
        ("music/search?listener=nobody", 400, "refused", "no listener 'nobody'"),
        ("music/search?q=" + 501 * "x", 422, "invalid", "q: "),
        ("music/recommend", 422, "invalid", "listener, history"),
        ("music/similar", 422, "invalid", "song: "),
        ("music/similar?song=99999999999999999999", 422, "invalid", "song: "),
        ("music/similar?song=77", 404, "not_found", "no song 77"),
        ("music/path?start=1&end=1", 400, "refused", "to itself"),
        ("music/songs/0", 404, "not_found", "no song 0"),
        ("music/songs/%2e%2e", 422, "invalid", "number: "),
        ("music/songs/../../../etc/passwd", 404, "not_found", ""),
        ("music/nonsense", 404, "not_found", ""),
    ],
)
def test_a_wrong_question_is_one_line(client, asked, status, code, said):
    answer = client.get(f"/api/{asked}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code) and said in error["message"]
    assert "\n" not in error["message"] and len(error["message"]) <= 500


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("songs/77", "music: no song 77 in it; it may have changed since"),
        ("search?listener=nobody", "music: no listener 'nobody' among 3 (nearest: "),
        ("search?history=nope", "music: 1 of 1 songs given are not in it: 'nope'"),
        ("similar?song=77", "music: no song 77 in it"),
    ],
)
def test_an_error_says_what_is_served_and_not_where_it_is(client, fake_index, asked, said):
    message = client.get(f"/api/music/{asked}").json()["error"]["message"]
    assert message.startswith(said) and str(fake_index.parent) not in message


def test_an_error_of_the_run_names_no_path_either(client, fake, fake_index, monkeypatch):
    def fail(names):
        raise DataError(f"{fake_index.parent / 'run'}: a tagger is searched by its classes, not by {names[0]}")

    monkeypatch.setattr(fake, "tags", fail)
    message = client.get("/api/music/search?q=qwertz").json()["error"]["message"]
    assert message == "music: a tagger is searched by its classes, not by qwertz"


def test_hostile_names_are_data(client):
    """They come as JSON, of a type that no browser takes for a page."""
    name = urllib.parse.quote("<script>alert(1)</script>")
    answer = client.get(f"/api/{name}/search?q=x")
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = client.get("/api/music/similar?song=3").json()["hits"]
    assert HOSTILE in next(one for one in found if one["id"] == "d")["tags"]
    assert client.get("/api/music/listeners?prefix=v").json() == {"listeners": ["v<b>"]}
    assert client.put("/api/music/search").json()["error"]["code"] == "method_not_allowed"


def test_what_another_process_changes_is_taken_over(fake_index, fake, tmp_path):
    """Songs that are gone never come, changed and new ones do: without a wrong answer meanwhile."""
    import shutil

    from tests.tasks.service.conftest import client_of

    folder = shutil.copytree(fake_index, tmp_path / "changing")
    with client_of([folder], tmp_path / "work") as client:
        served = client.app.state.served["changing"]
        assert client.get("/api/changing/search?q=jazz&k=1").json()["hits"][0]["id"] == "e"
        other = SongIndex(folder)
        other._store.remove(["e"])
        other._store.put([Song("f", vector("jazz"), ("jazz",), artist="New")])
        other._save()
        at_once = client.get("/api/changing/search?q=jazz&k=2").json()["hits"]
        assert "e" not in [hit["id"] for hit in at_once]
        served._look = 0.0
        assert client.get("/api/changing/search?q=jazz&k=1").json()["hits"][0]["id"] == "f"
        assert client.get("/api/changing/songs/5").status_code == 404
        assert client.get("/api/models").json()[0]["songs"] == len(SONGS)
        shutil.rmtree(folder)
        served._look = 0.0
        assert client.get("/api/changing/search?q=jazz&k=1").json()["hits"][0]["id"] == "f"
