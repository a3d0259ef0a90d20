"""An index of a run that places songs by tables, has listeners of its own and says how probable tags are."""

import numpy as np
import pytest

from orpheus.data.items.interactions import Interactions
from orpheus.data.items.tables import Table
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search.song_index import SongIndex
from tests.retriever import FakeRetriever, vector
from tests.tasks.search.test_song_index import write_records


class FakeJointSpace(FakeRetriever):
    """Besides: the agreed methods of `orpheus.tasks.joint.space.JointSpace`."""

    input_type = "joint"

    @property
    def listeners(self):
        return {"tess": vector("jazz"), "tom": vector("rock")}

    def probabilities(self, vectors):
        return 1 / (1 + np.exp(-4 * vectors @ self.tags(self.training_tags).T))

    def files(self, paths, *, damaged="keep", factors=None, texts=None, ids=None):
        for path, heard in super().files(paths, damaged=damaged):
            beside = [
                table.dense([ids[str(path)]])[0] for table in (factors, texts) if table and ids[str(path)] in table
            ]
            total = heard + sum(beside, np.zeros(8, np.float32))
            yield path, (total / np.linalg.norm(total)).astype(np.float32)

    def tables(self, factors=None, texts=None):
        given = [table for table in (factors, texts) if table is not None]
        ids = list(dict.fromkeys(song for table in given for song in table.ids))
        rows = np.stack([sum(table.dense([song])[0] for table in given if song in table) for song in ids])
        self.embedded += ids
        return ids, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def table(name, **songs):
    return Table(name, tuple(songs), np.stack([vector(text) for text in songs.values()]))


@pytest.fixture
def index(tmp_path):
    found = SongIndex.create(tmp_path / "index", FakeJointSpace(tmp_path / "run"))
    found.add([], factors=table("f", a="jazz", b="rock"), texts=table("t", b="rock", c="sad"), tags={"a": ["cool"]})
    return found


def test_songs_of_tables_are_embedded_once(index):
    run = index.retriever
    assert run.embedded == ["a", "b", "c"] and index.search("jazz", 1)[0].tags == ("cool",)
    run.embedded.clear()
    report = index.add([], factors=table("f", a="jazz", b="happy"), texts=table("t", b="rock", d="sad"))
    assert (report.new, report.changed, report.unchanged, report.removed) == (["d"], ["b"], 1, ["c"])
    assert sorted(run.embedded) == ["b", "d"]


def test_files_are_placed_by_their_texts_too(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.flac").write_text("sad")
    csv = tmp_path / "tracks.csv"
    csv.write_text("track_id,audio_path\na,one.flac\nb,two.flac\n")
    index = SongIndex.create(tmp_path / "index", FakeJointSpace(tmp_path / "run"))
    report = index.add([csv], texts=table("t", a="jazz"))
    assert report.new == ["a", "b"]
    jazz = {hit.id: hit.score for hit in index.search("jazz", 2)}
    assert jazz["a"] > 0.6 and abs(jazz["b"]) < 1e-6, "of equal sound, and b has no text"
    index.retriever.embedded.clear()
    assert index.add([csv], texts=table("t", a="jazz")).unchanged == 2 and not index.retriever.embedded
    assert index.add([csv], texts=table("t", a="rock", b="rock")).changed == ["a", "b"]
    assert {hit.id: round(hit.score, 3) for hit in index.search("rock", 2)} == {"a": 0.707, "b": 0.707}
    plain = SongIndex.create(tmp_path / "plain", FakeRetriever(tmp_path / "run"))
    with pytest.raises(ConfigError, match="t: this run places audio files by their sound"):
        plain.add([csv], texts=table("t", a="jazz"))


def test_two_songs_of_one_file_are_placed_by_their_own_texts(tmp_path):
    (tmp_path / "one.flac").write_text("sad")
    csv = tmp_path / "tracks.csv"
    csv.write_text("track_id,audio_path\na,one.flac\nb,one.flac\n")
    index = SongIndex.create(tmp_path / "index", FakeJointSpace(tmp_path / "run"))
    assert index.add([csv], texts=table("t", a="jazz", b="rock")).new == ["a", "b"]
    for word, song, other in (("jazz", "a", "b"), ("rock", "b", "a")):
        found = {hit.id: hit.score for hit in index.search(word, 2)}
        assert found[song] == pytest.approx(0.7071, abs=1e-3) and abs(found[other]) < 1e-6


def test_a_song_whose_numbers_are_not_finite_is_named_and_the_index_stays_whole(index):
    texts = table("t", b="rock", c="sad", d="happy")
    texts.matrix[2] = np.nan
    report = index.add([], factors=table("f", a="jazz", b="rock"), texts=texts)
    assert list(report.failures) == ["d"] and "song 'd' has no place" in report.failures["d"]
    assert (report.new, report.unchanged) == ([], 3)
    again = SongIndex(index.folder)
    assert len(again) == 3 and again.search("rock", 1)[0].id == "b"
    texts.matrix[2] = vector("happy")
    assert index.add([], factors=table("f", a="jazz", b="rock"), texts=texts).new == ["d"]


def test_records_without_factors_are_placed_by_their_sound(tmp_path):
    """A run that needs both says that they have none (test_song_index); a joint one takes what there is."""

    class Joint(FakeJointSpace):
        def records(self, folder, *, only=None, factors=None, texts=None):
            return super().records(folder, only=only)

    write_records(tmp_path / "records", {"r1": ("sad", "x"), "r2": ("rock", "x")})
    index = SongIndex.create(tmp_path / "index", Joint(tmp_path / "run"))
    report = index.add([tmp_path / "records"], factors=table("f", r1="jazz"))
    assert report.new == ["r1", "r2"] and not report.failures and len(index) == 2
    assert index.add([tmp_path / "records"], factors=table("f", r1="jazz")).unchanged == 2
    assert index.add([tmp_path / "records"], factors=table("f", r1="rock")).changed == ["r1"]


def test_a_run_without_tables_needs_songs(tmp_path):
    index = SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "run"))
    with pytest.raises(ConfigError, match="f: this run places no song by tables"):
        index.add([], factors=table("f", a="jazz"))


def test_its_listeners_lie_where_its_tower_says(index):
    assert index.listeners() == ["tess", "tom"]
    assert index.recommend("tess", k=1)[0].id == "a" and index.recommend("tom", k=1)[0].id == "b"
    index.add([], listeners=Interactions.from_triples([("tess", "a", 2.0), ("new", "c", 1.0), ("new", "z", 1.0)]))
    assert index.listeners() == ["new", "tess", "tom"]
    again = SongIndex(index.folder)  # whose run is not there
    assert [hit.id for hit in again.recommend("tess", k=9)] == ["b", "c"]  # a was heard
    assert again.recommend("tess")[0].score == pytest.approx(vector("jazz") @ vector("rock"), abs=1e-6)
    assert again.recommend("new", k=1)[0].id in ("a", "b") and again._asking.listeners.get("new").heard == ("c",)


def test_a_run_whose_training_data_are_gone_has_no_listeners(tmp_path, caplog):
    class Gone(FakeJointSpace):
        @property
        def listeners(self):
            raise DataError("plays.csv: no such file")

    found = SongIndex.create(tmp_path / "index", Gone(tmp_path / "run"))
    assert found.add([], factors=table("f", a="jazz")).new == ["a"] and found.listeners() == []
    assert "plays.csv: no such file; so its own listeners are not in the index" in caplog.text


def test_tags_are_probabilities(index):
    found = index.tags("a", 2)
    expected = 1 / (1 + np.exp(-4 * vector("jazz") @ index.retriever.tags(index.training_tags).T))
    assert found[0].score == pytest.approx(expected.max()) and len(found) == 2
    near = SongIndex.create(index.folder.parent / "other", FakeRetriever(index.folder.parent / "run"))
    assert "probabilities" not in near.about


def test_places_are_asked_like_songs_and_tags_have_neighbours(index):
    assert index.similar(3 * vector("rock"), 2)[0].id == "b"
    assert index.tags(vector("rock"), 1)[0].tag == "rock"
    assert [near.tag for near in index.neighbours("sad piano", 2)] == ["sad", "Piano"]
    assert "sad" not in [near.tag for near in index.neighbours("Sad", 9)]
    with pytest.raises(ConfigError, match="is empty"):
        index.neighbours(" ")
