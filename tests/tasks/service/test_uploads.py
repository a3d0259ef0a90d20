"""What is asked of a file that is sent: answers are those of the library, and nothing of the file stays."""

import concurrent.futures
import io
import logging
import wave

import numpy as np
import pytest
import soundfile

import orpheus
from orpheus.tasks.search import tagger_space
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.service import decoding
from orpheus.tasks.service.settings import Settings
from tests.retriever import FakeRetriever, vector
from tests.tasks.service import faulty
from tests.tasks.service.conftest import client_of, left


def sent(path, name=None):
    """A form with a file."""
    return {"files": {"file": (name or path.name, path.read_bytes())}}


def scores(answer):
    assert answer.status_code == 200, answer.text
    return {one["tag"]: one["score"] for one in answer.json()["tags"]}


@pytest.fixture(scope="module")
def tagger(tagger_run):
    return orpheus.load(tagger_run)


@pytest.mark.parametrize("name", ["clip0.wav", "clip3.flac"])
def test_tags_are_those_of_predict(heard, tagger, tagger_run, clips, name):
    expected = tagger.predict(clips / name)
    answer = heard.post(f"/api/{tagger_run.name}/tags?timeline=true", **sent(clips / name))
    found = scores(answer)
    assert list(found.values()) == sorted(found.values(), reverse=True) and len(found) == 4
    np.testing.assert_allclose([found[tag] for tag in expected.classes], expected.mean, atol=1e-6)
    line = answer.json()["timeline"]
    columns = [expected.classes.index(tag) for tag in line["tags"]]
    np.testing.assert_allclose(line["scores"], expected.scores[:, columns], atol=1e-6)
    np.testing.assert_allclose(line["times"], expected.starts, atol=1e-6)
    assert line["window_seconds"] == line["hop_seconds"] == expected.window_seconds
    assert answer.json()["seconds"] == pytest.approx(1 + 1.3 * int(name[4]), abs=0.1)
    assert left(heard) == []


def test_a_finer_timeline_and_fewer_tags(heard, tagger, tagger_run, clips):
    asked = f"/api/{tagger_run.name}/tags?timeline=true&hop=0.25&k=2"
    answer = heard.post(asked, **sent(clips / "clip1.flac")).json()
    expected = tagger.predict(clips / "clip1.flac", hop_seconds=0.25)
    assert len(answer["tags"]) == len(answer["timeline"]["tags"]) == 2
    assert len(answer["timeline"]["times"]) == len(expected.starts) > 5
    assert heard.post(f"/api/{tagger_run.name}/tags?hop=2", **sent(clips / "clip1.flac")).status_code == 400
    assert heard.post(f"/api/{tagger_run.name}/tags?hop=0.0001", **sent(clips / "clip1.flac")).status_code == 422


def test_many_at_once_get_what_each_gets_alone(heard, tagger, tagger_run, clips):
    """Windows of several recordings go through the model together, which nobody sees in the answer."""
    files = sorted(clips.iterdir()) * 3
    before = heard.app.state.parts.metrics.batch
    passes, windows = before._sum.get(), sum(bucket.get() for bucket in before._buckets)
    with concurrent.futures.ThreadPoolExecutor(len(files)) as threads:
        answers = list(threads.map(lambda path: heard.post(f"/api/{tagger_run.name}/tags", **sent(path)), files))
    for path, answer in zip(files, answers, strict=True):
        expected = tagger.predict(path)
        found = scores(answer)
        np.testing.assert_allclose([found[tag] for tag in expected.classes], expected.mean, atol=1e-6)
    assert before._sum.get() > passes and sum(bucket.get() for bucket in before._buckets) > windows
    assert len({tuple(round(score, 3) for score in scores(answer).values()) for answer in answers}) == 4


@pytest.mark.slow
def test_features_and_similar_songs_of_a_file(heard, tagger, tagger_run, tagger_index, clips):
    path = clips / "clip2.wav"
    for layer in ("", "?layer=embedding"):
        found = heard.post(f"/api/{tagger_run.name}/features{layer}", **sent(path)).json()
        expected = tagger.features(path, layer=layer.removeprefix("?layer=") or None).mean(axis=0)
        np.testing.assert_allclose(found["values"], expected, atol=1e-4, rtol=1e-4)
        assert found["layer"] == (layer.removeprefix("?layer=") or "pooled")
    near = SongIndex(tagger_index).similar(path, 3)
    answer = heard.post("/api/clips.index/similar?k=4", **sent(path)).json()["hits"]
    assert answer[0]["id"] == str(path) and answer[0]["score"] > 0.9999
    assert [hit["id"] for hit in answer[1:]] == [hit.id for hit in near]
    np.testing.assert_allclose([hit["score"] for hit in answer[1:]], [hit.score for hit in near], atol=1e-4)
    assert heard.post(f"/api/{tagger_run.name}/features?layer=nonsense", **sent(path)).status_code == 400
    assert heard.post(f"/api/{tagger_run.name}/similar", **sent(path)).status_code == 404


def test_a_song_of_the_index_is_heard_like_a_file(heard, clips):
    number = heard.get("/api/clips.index/search?q=guitar").json()["hits"][0]
    by_number = heard.get(f"/api/clips.index/songs/{number['number']}/tags?timeline=true&hop=0.5").json()
    by_file = heard.post("/api/clips.index/tags?timeline=true&hop=0.5", **sent(clips / number["id"].rpartition("/")[2]))
    assert by_number == by_file.json() and by_number["timeline"]["times"]


@pytest.mark.parametrize(
    ("name", "content", "status", "code", "said"),
    [
        ("a.wav", b"", 422, "unusable_audio", "empty"),
        ("a.mp3", b"no audio at all\n" * 50, 422, "unusable_audio", "not decodable"),
        ("a.npz", b"PK\x03\x04" + bytes(100), 422, "unusable_audio", ""),
        ("a.wav", bytes(2 << 20), 413, "too_large", "1 MiB"),
        ("<script>\n.flac", b"fLaC" + bytes(400), 422, "unusable_audio", ""),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(heard, tagger_run, name, content, status, code, said):
    answer = heard.post(f"/api/{tagger_run.name}/tags", files={"file": (name, content)})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code) and said in error["message"]
    assert "\n" not in error["message"] and "orpheus-serve" not in error["message"] and "upload" not in error["message"]
    assert left(heard) == []


def silence_and(seconds: float) -> bytes:
    """A wav file, most of it quiet."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes([0, 255]) * 4000 + bytes([128]) * int(8000 * seconds - 8000))
    return target.getvalue()


def test_more_audio_than_is_taken(heard, tagger_run):
    for seconds, status in ((59, 200), (61, 413)):
        answer = heard.post(f"/api/{tagger_run.name}/tags", files={"file": ("a.wav", silence_and(seconds))})
        assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == "too_long" and left(heard) == []


def test_names_of_files_lead_nowhere(heard, tagger_run, clips, tmp_path):
    for name in ("../../../../tmp/x.wav", "/etc/passwd", "a\x00.wav", "é\udce9.wav".encode("utf-8", "surrogateescape")):
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + (
            name if isinstance(name, bytes) else name.encode()
        )
        body = form + b'"\r\n\r\n' + (clips / "clip0.wav").read_bytes() + b"\r\n--b--\r\n"
        kind = {"content-type": "multipart/form-data; boundary=b"}
        assert heard.post(f"/api/{tagger_run.name}/tags", content=body, headers=kind).status_code == 200
    assert left(heard) == []


TYPE = "multipart/form-data"
FORM = {"content-type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({}, 415, "not_a_form"),
        ({"json": {"file": "x"}}, 415, "not_a_form"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415, "not_a_form"),
        ({"content": b"x", "headers": FORM}, 400, "broken_form"),
        ({"content": b"x", "headers": {"content-type": f"{TYPE}; boundary={999 * 'b'}"}}, 400, "broken_form"),
        ({"content": b"", "headers": FORM}, 400, "broken_form"),
        ({"content": b"--b--\r\n", "headers": FORM}, 422, "no_file"),
        (
            {"content": b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nxx', "headers": FORM},
            400,
            "broken_form",
        ),
        ({"files": {"other": ("a.wav", b"x")}}, 422, "no_file"),
        ({"data": {"file": "x" * 10}, "files": {"other": b""}}, 422, "unusable_audio"),
        ({"content": (bytes(1 << 16) for _ in range(40)), "headers": FORM}, 413, "too_large"),
        (
            {
                "content": iter([b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n", *[bytes(1 << 16)] * 40]),
                "headers": FORM,
            },
            413,
            "too_large",
        ),
    ],
)
def test_a_form_that_is_none(heard, tagger_run, options, status, code):
    answer = heard.post(f"/api/{tagger_run.name}/tags", **options)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert left(heard) == []


def test_a_run_that_hears_nothing_says_so(fake_index, fake, tmp_path):
    """Its index is searched all the same."""
    fake.input_type = "cf"
    with client_of([fake_index], tmp_path / "work") as client:
        for asked in ("tags", "features", "similar"):
            answer = client.post(f"/api/music/{asked}", files={"file": ("a.wav", b"x")})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_available")
        assert client.get("/api/music/search?q=sad").status_code == 200
        assert "upload" not in client.get("/api/models").json()[0]["can"]
        assert client.post("/api/nothing/tags", files={"file": ("a.wav", b"x")}).status_code == 404


class Sounding(FakeRetriever):
    """Hears "sad piano" in everything."""

    def files(self, paths, *, damaged="keep"):
        for path in paths:
            assert soundfile.info(path).samplerate == self.spec.sample_rate
            yield path, vector("sad piano")


class Joint(Sounding):
    """Gives probabilities of its tags, too."""

    input_type = "joint"

    def probabilities(self, vectors):
        return np.tile(np.float32([0.1, 0.2, 0.4, 0.3]), (len(vectors), 1))


@pytest.mark.parametrize("kind", [Sounding, Joint])
def test_retrieval_and_joint_runs_by_themselves(fake_index, clips, tmp_path, monkeypatch, kind):
    """Tags are the nearest ones, or those that are probable; features are a song's place."""
    run = fake_index.parent / "run"
    monkeypatch.setattr(tagger_space, "load", lambda _: kind(run))
    expected = {"rock": 0.4, "80s": 0.3, "Piano": 0.2, "sad": 0.1}
    if kind is Sounding:
        cosines = {tag: float(vector(tag) @ vector("sad piano")) for tag in kind.training_tags}
        expected = dict(sorted(cosines.items(), key=lambda pair: -pair[1]))
    with client_of([run], tmp_path / "work", settings=Settings(decoders=1)) as client:
        found = scores(client.post("/api/run/tags", **sent(clips / "clip0.wav")))
        assert found == pytest.approx(expected, abs=1e-6) and list(found) == list(expected)
        features = client.post("/api/run/features", **sent(clips / "clip0.wav")).json()
        np.testing.assert_allclose(features["values"], vector("sad piano"), atol=1e-6)
        assert client.get("/api/run/neighbours?tag=happy&k=2").status_code == 200
        assert client.get("/api/run/search?q=sad").json()["error"]["code"] == "not_available"


@pytest.mark.parametrize(("what", "said"), [("hang", "longer than"), ("crash", "died"), ("swallow", "")])
def test_a_decoder_that_never_ends_or_dies_is_that_files_failure(heard, tagger_run, clips, monkeypatch, what, said):
    """The next file is decoded as if nothing had been."""
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "to_stored", getattr(faulty, what))
        patch.setattr(heard.app.state.parts.decoder, "_seconds", 0.3)
        answer = heard.post(f"/api/{tagger_run.name}/tags", **sent(clips / "clip0.wav"))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "unusable_audio") and said in error["message"]
    assert heard.post(f"/api/{tagger_run.name}/tags", **sent(clips / "clip0.wav")).status_code == 200
    assert left(heard) == []


def test_a_defect_of_ours_is_500_and_logged_with_where(heard, tagger_run, clips, monkeypatch, caplog):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(heard.app.state.served[tagger_run.name].hears._tagger, "cut", broken)
    with caplog.at_level(logging.INFO, "orpheus"):
        answer = heard.post(f"/api/{tagger_run.name}/tags", **sent(clips / "clip0.wav"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "defect")
    assert "KeyError" not in answer.text and "KeyError" in caplog.text and left(heard) == []


@pytest.mark.slow
def test_no_more_than_so_many_at_a_time(tagger_run, clips, tmp_path, monkeypatch):
    settings = Settings(decoders=1, uploads=1, request_seconds=0.5)
    with client_of([tagger_run], tmp_path / "work", settings=settings) as client:
        monkeypatch.setattr(decoding, "to_stored", faulty.hang)
        with concurrent.futures.ThreadPoolExecutor(3) as threads:
            asked = lambda _: client.post(f"/api/{tagger_run.name}/tags", **sent(clips / "clip0.wav"))  # noqa: E731
            found = list(threads.map(asked, range(3)))
        assert sorted(answer.status_code for answer in found) == [429, 429, 504]
        for answer in found:
            assert answer.status_code == 504 or answer.headers["retry-after"] == "1"
        assert left(client) == []
