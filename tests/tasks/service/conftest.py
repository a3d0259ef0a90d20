"""What is served in tests: an untrained tagger, an index made with it, and one whose retriever needs no model."""

import json

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from orpheus.data.audio.spec import LOG_MEL, AudioSpec
from orpheus.tasks.search import tagger_space
from orpheus.tasks.search.listeners import Listener, Listeners
from orpheus.tasks.search.song_index import SongIndex
from orpheus.tasks.search.store import Song
from orpheus.tasks.service import app
from orpheus.tasks.service.served import Parts, open_all
from orpheus.tasks.service.settings import Settings
from tests.retriever import FakeRetriever, vector
from tests.untrained import make_run

SPEC = AudioSpec(LOG_MEL, sample_rate=8000, n_mels=32)
SONGS = {
    "a": ("sad piano", "Ann", "One"),
    "b": ("happy guitar", "Ann", "Two"),
    "c": ("sad vocals guitar", "Bob <script>alert(1)</script>", 'Three "of" \n four'),
    "d": ("rock guitar vocals", "", ""),
    "e": ("jazz piano", "Cleo", "Five"),
}
HOSTILE = "<img src=x onerror=alert(1)>"


def client_of(given, folder, *, settings=None, **options):
    """A client of a service over runs and indexes."""
    folder.mkdir(exist_ok=True)
    parts = Parts(settings or Settings(decoders=0), folder)
    built = app.build(open_all([str(one) for one in given], parts), parts, **options)
    return TestClient(built, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="session")
def fake_index(tmp_path_factory):
    """The folder of an index with artists, titles, listeners, and audio of one second for song "a"."""
    folder = tmp_path_factory.mktemp("fake")
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text(json.dumps({"task": "retrieval"}))
    index = SongIndex.create(folder / "music", FakeRetriever(folder / "run"))
    soundfile.write(folder / "a.flac", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    index._store.put(
        Song(
            name,
            vector(text),
            tuple(text.split()) + ((HOSTILE,) if name == "d" else ()),
            path=str(folder / f"{name}.flac"),
            hash="x",
            artist=artist,
            title=title,
        )
        for name, (text, artist, title) in SONGS.items()
    )
    Listeners(index._store).put([Listener("u1", ("a", "e")), Listener("u2", ("d",)), Listener("v<b>", ("b",))])
    index._tags.keep(lambda items, **_: items)
    index._save()
    return folder / "music"


@pytest.fixture
def fake(fake_index, monkeypatch):
    """`FakeRetriever` wherever a run is loaded; the run of `fake_index`."""
    retriever = FakeRetriever(fake_index.parent / "run")
    monkeypatch.setattr(tagger_space, "load", lambda run, word_vectors=None: retriever)
    return retriever


@pytest.fixture
def client(fake_index, fake, tmp_path):
    """A client of a service over `fake_index`, which is called music."""
    with client_of([fake_index], tmp_path / "work") as found:
        yield found


@pytest.fixture
def index(fake_index, fake):
    """The same index, asked directly."""
    return SongIndex(fake_index)


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Files of noise and tones, of 1 to 5 seconds."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        rng = np.random.default_rng(number)
        samples = rng.normal(0, 0.1, int(8000 * (1 + 1.3 * number)))
        samples += 0.2 * np.sin(2 * np.pi * (200 + 150 * number) * np.arange(len(samples)) / 8000)
        soundfile.write(folder / f"clip{number}.{'flac' if number % 2 else 'wav'}", samples, 8000)
    return folder


@pytest.fixture(scope="session")
def tagger_run(tmp_path_factory):
    """The folder of an untrained tagger's run, which hears 1 s at a time."""
    return make_run(tmp_path_factory.mktemp("run") / "runs", SPEC, seconds=1.0).folder


@pytest.fixture(scope="session")
def tagger_index(tagger_run, clips, tmp_path_factory):
    """The folder of an index of `clips`."""
    folder = tmp_path_factory.mktemp("index") / "clips.index"
    tags = {str(path): ["guitar", "noise"] for path in clips.iterdir()}
    SongIndex.create(folder, tagger_run).add([clips], tags=tags)
    return folder


@pytest.fixture(scope="session")
def heard(tagger_run, tagger_index, tmp_path_factory):
    """A client of a service over the tagger, called as its folder is, and its index, called clips.index."""
    settings = Settings(decoders=2, upload_bytes=1 << 20, audio_seconds=60.0)
    with client_of([tagger_run, tagger_index], tmp_path_factory.mktemp("work"), settings=settings) as found:
        yield found


def left(client) -> list:
    """What a service has on its disk."""
    return list(client.app.state.parts.folder.iterdir())
