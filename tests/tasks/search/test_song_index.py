"""An index of songs: only what is new or changed is embedded, nothing is lost, and hits by hand-made vectors."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from orpheus.base import locks
from orpheus.data.items import tables
from orpheus.data.items.tables import Table
from orpheus.data.records import format
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search.near import neighbours
from orpheus.tasks.search.song_index import SongIndex
from tests.conftest import ROOT
from tests.retriever import WORDS, FakeRetriever, vector

SONGS = {"a.wav": "sad piano", "b.wav": "happy guitar", "sub/c.mp3": "sad vocals guitar", "d.ogg": "rock guitar vocals"}


@pytest.fixture
def music(tmp_path):
    """A folder of "audio files" that say what is heard in them."""
    for name, text in SONGS.items():
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "music"


@pytest.fixture
def retriever(tmp_path):
    return FakeRetriever(tmp_path / "run")


@pytest.fixture
def index(tmp_path, retriever):
    return SongIndex.create(tmp_path / "index", retriever)


def names(hits):
    return [os.path.basename(hit.id) for hit in hits]


def reopened(index, retriever):
    """The index as another process finds it; it may use the run."""
    found = SongIndex(index.folder)
    found._retriever = retriever
    return found


def write_records(folder, songs, *, shard="shard-0"):
    folder.mkdir(exist_ok=True)
    rows = [
        format.encode(song, np.frombuffer(text.ljust(40, "\0").encode(), np.uint8), [tags])
        for song, (text, tags) in songs.items()
    ]
    format.write_shard(folder / f"{shard}.tfrecord", rows)


def test_search_by_words_against_cosines_by_hand(index, music):
    index.add([music])
    hits = index.search("sad piano", k=3)
    query = vector("sad") + vector("piano")
    expected = {name: float(query / np.linalg.norm(query) @ vector(text)) for name, text in SONGS.items()}
    best = sorted(expected, key=expected.get, reverse=True)[:3]
    assert names(hits)[0] == "a.wav" and names(hits)[1] == "c.mp3"
    np.testing.assert_allclose([hit.score for hit in hits], [expected[name] for name in best], atol=1e-6)
    assert hits[0].path == str(music / "a.wav") == hits[0].id
    assert names(index.search("guitar -vocals -rock", k=1)) == ["b.wav"]
    assert names(index.search("-vocals -happy -guitar", k=1)) == ["a.wav"]
    assert len(index.search("jazz", k=20)) == 4


def test_adding_again_embeds_only_what_is_new_or_changed(index, music, retriever):
    report = index.add([music])
    assert (len(report.new), report.unchanged, str(report)) == (4, 0, "4 new, 0 unchanged")
    retriever.embedded.clear()
    assert str(index.add([music])) == "0 new, 4 unchanged"
    (music / "a.wav").write_text("jazz vocals")
    os.utime(music / "b.wav", ns=(1, 1))  # another date, the same content
    (music / "e.wav").write_text("rock piano")
    (music / "f.wav").write_text("rock guitar vocals")  # the content of d.ogg
    (music / "sub/c.mp3").unlink()
    again = reopened(index, retriever)
    report = again.add([music])
    assert sorted(retriever.embedded) == ["a.wav", "e.wav"]
    assert (names_of(report.new), names_of(report.changed), names_of(report.removed)) == (
        ["e.wav", "f.wav"],
        ["a.wav"],
        ["c.mp3"],
    )
    assert (report.unchanged, report.copied) == (2, 1)
    assert names(again.search("jazz", k=1)) == ["a.wav"]
    assert len(again) == 5 and "c.mp3" not in names(again.search("sad", k=9))
    assert names(reopened(index, retriever).search("jazz", k=1)) == ["a.wav"]
    assert len(list(index.folder.glob("*.faiss"))) == 1


def names_of(ids):
    return sorted(os.path.basename(one) for one in ids)


def test_same_size_and_date_but_other_content_is_seen_when_reread(index, music, retriever):
    index.add([music])
    before = (music / "a.wav").stat()
    (music / "a.wav").write_text("sad vocal")
    os.utime(music / "a.wav", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index.add([music]).unchanged == 4
    assert len(index.add([music], reread=True).changed) == 1


def test_what_is_gone_can_be_kept(index, music):
    index.add([music])
    (music / "a.wav").unlink()
    report = index.add([music], keep=True)
    assert names_of(report.kept) == ["a.wav"] and not report.removed and len(index) == 4
    assert "1 no longer there but kept" in str(report)
    assert names_of(index.add([music]).removed) == ["a.wav"]
    assert names_of(index.remove([music / "sub"])) == ["c.mp3"]
    assert names_of(index.remove([music / "b.wav"])) == ["b.wav"] and len(index) == 1
    with pytest.raises(DataError, match="no song, folder or table of this index"):
        index.remove([music / "b.wav"])


def test_a_folder_of_a_folder_and_single_files_touch_nothing_else(index, music):
    index.add([music])
    shutil.copy(music / "a.wav", music / "sub" / "a.wav")
    report = index.add([music / "sub"])
    assert names_of(report.new) == ["a.wav"] and report.copied == 1 and report.unchanged == 1 and not report.removed
    report = index.add([music / "b.wav"])
    assert report.unchanged == 1 and not report.removed and len(index) == 5


def test_files_that_cannot_be_used(index, music):
    index.add([music])
    (music / "a.wav").write_text("nothing known")
    (music / "x.wav").write_text("nothing either")
    report = index.add([music])
    assert names_of(report.failures) == ["a.wav", "x.wav"] and "silent" in report.failures[str(music / "x.wav")]
    assert names_of(report.removed) == ["a.wav"]  # what was embedded is no longer in the file
    assert len(index) == 3


def test_unusable_files_are_not_read_again_until_they_change_or_are_to_be(index, music, retriever):
    (music / "x.wav").write_text("nothing either")
    index.add([music])
    again = reopened(index, retriever)
    retriever.embedded.clear()

    def tried(**options):
        before = len(retriever.embedded)
        report = again.add([music], **options)
        return len(retriever.embedded) - before, report

    count, report = tried()
    assert (
        count == 0
        and "--retry" in report.failures[str(music / "x.wav")]
        and "silent" in report.failures[str(music / "x.wav")]
    )
    assert tried(retry=True)[0] == 1 and tried()[0] == 0
    assert tried(damaged="skip")[0] == 1  # another question
    (music / "x.wav").write_text("sad guitar vocals")
    count, report = tried()
    assert count == 1 and not report.failures and names_of(report.new) == ["x.wav"]
    assert again._store.unusable() == {}


def test_interrupted_indexing_loses_nothing(tmp_path, music):
    for number in range(40):
        (music / f"more-{number:02d}.wav").write_text(f"rock piano {number}")
    stopping = FakeRetriever(tmp_path / "run", stop_after=37)
    with pytest.raises(KeyboardInterrupt):
        SongIndex.create(tmp_path / "index", stopping).add([music])
    assert not list((tmp_path / "index").glob("*.faiss"))
    retriever = FakeRetriever(tmp_path / "run")
    index = SongIndex.create(tmp_path / "index", retriever)
    assert len(index) == 37 and len(index.search("rock", k=50)) == 37  # can be searched as it is
    report = index.add([music])
    assert len(retriever.embedded) == 44 - 37 and report.unchanged == 37 and len(index) == 44


@pytest.mark.parametrize("left", ["songs.db", ".songs.db.0123abcd-1.tmp", "songs.db-journal"])
def test_a_killed_start_of_an_index_is_no_obstacle(tmp_path, music, retriever, left):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / left).touch()
    index = SongIndex.create(tmp_path / "index", retriever)
    assert len(index.add([music]).new) == len(SONGS)
    assert names(reopened(index, retriever).search("happy", 1)) == ["b.wav"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(DataError, match="is not an index"):
        SongIndex.create(tmp_path / "other", retriever)


def test_two_updates_at_once_are_refused(index, music):
    with locks.lock(index.folder):
        with pytest.raises(DataError, match="has been writing to it"):
            index.add([music])
        assert len(index) == 0
        assert index.search("happy") == []
    index.add([music])
    with locks.lock(index.folder), pytest.raises(DataError, match="has been writing to it"):
        index.remove([music])
    assert len(index) == len(SONGS)
    assert sorted(path.name.split("-")[0] for path in index.folder.iterdir()) == ["songs.db", "vectors"]


def test_the_file_of_vectors_is_made_again_where_it_is_lost_or_damaged(index, music, retriever, caplog):
    index.add([music])
    (file,) = index.folder.glob("*.faiss")
    wanted = index.search("sad", k=4)
    file.write_bytes(b"nonsense")
    assert reopened(index, retriever).search("sad", k=4) == wanted
    assert "is made again" in caplog.text
    again = reopened(index, retriever)
    again.add([music])
    assert file.read_bytes() != b"nonsense"
    file.unlink()
    again = reopened(index, retriever)
    assert again.search("sad", k=4) == wanted
    again.add([music])
    assert file.is_file()


def test_a_csv_of_tracks_with_tags_that_explain_hits(index, music, tmp_path):
    rows = "".join(f"{number},{name}\n" for number, name in enumerate(SONGS))
    (music / "tracks.csv").write_text(f"track_id,audio_path\n{rows}")
    tags = {"0": ["Sad", "ballad", "PIANO", "jazz"], "1": ["happy", "80's", "rock"], "2": ["female", "sad", "vocals"]}
    report = index.add([music / "tracks.csv"], tags=tags)
    assert report.new == ["0", "1", "2", "3"]
    first, second = index.search("piano sad", k=2)
    assert (first.id, first.tags, first.shared) == ("0", ("Sad", "ballad", "PIANO", "jazz"), ("PIANO", "Sad"))
    assert (second.id, second.shared) == ("2", ("sad",))
    hit = next(hit for hit in index.search("eighties", k=4) if hit.id == "1")
    assert hit.shared == ("80's",)  # another spelling of the same tag
    near = next(hit for hit in index.search('"happy rock vocals"', k=4) if hit.id == "1")
    assert near.shared == ("happy", "rock")  # not what was asked for, but near to it
    report = index.add([music / "tracks.csv"], tags={**tags, "3": ["rock"]})
    assert (report.unchanged, report.retagged) == (4, 1)
    assert [hit.tags for hit in index.search("rock", k=1)] == [("rock",)]
    assert index.add([music / "tracks.csv"]).retagged == 0  # no tags given: they stay
    assert index.search("rock", k=1)[0].tags == ("rock",)


def test_similar_and_tags(index, music, retriever, tmp_path):
    index.add([music])
    hits = index.similar(music / "d.ogg", k=2)
    assert names(hits) == ["c.mp3", "b.wav"]
    assert (
        index.similar(str(music / "d.ogg"), k=9)[-1].id == str(music / "a.wav")
        and len(index.similar(music / "d.ogg")) == 3
    )
    other = tmp_path / "other.wav"
    other.write_text("piano rock")
    assert len(index.similar(other, k=9)) == 4
    assert [near.tag for near in index.tags(other, k=2)] == ["Piano", "rock"]
    assert index.tags(other, k=1)[0].score == pytest.approx(float(vector("piano") @ vector("piano rock")))
    with pytest.raises(DataError, match=r"no song '.*a\.waf' in it, and no such file; did you mean '.*a\.wav'"):
        index.similar(music / "a.waf")
    other.write_text("unheard of")
    with pytest.raises(DataError, match=r"other\.wav: silent"):
        index.similar(other)


def test_a_tag_is_listed_in_one_spelling(index, music):
    (music / "e.wav").write_text("piano")
    index.add([music], tags={str(music / "e.wav"): ["Piano", "PIANO", "piano", "rock"]})
    listed = [near.tag for near in index.tags(music / "e.wav", k=20)]
    assert [tag.lower() for tag in listed].count("piano") == 1 == listed.count("rock")


def test_known_tags_are_searched_without_the_run(index, music):
    index.add([music])
    again = SongIndex(index.folder)  # its run folder does not exist
    assert names(again.search("sad Piano", k=1)) == ["a.wav"]
    assert names(again.similar(music / "a.wav", k=1)) == ["c.mp3"]
    with pytest.raises(DataError, match="no such run folder"):
        again.search("guitar")


def test_a_search_for_known_tags_loads_no_tensorflow(index, music):
    index.add([music])
    code = f"from orpheus import SongIndex; SongIndex({str(index.folder)!r}).search('sad'); import sys; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_records(index, retriever, tmp_path):
    folder = tmp_path / "records"
    write_records(folder, {"1": ("sad piano", ["sad", "soft"]), "2": ("rock", ["rock"])})
    write_records(folder, {"3": ("jazz", ["jazz"])}, shard="shard-1")
    assert index.add([folder]).new == ["1", "2", "3"]
    assert index.search("sad", k=1)[0][3:5] == (("sad", "soft"), ("sad",))
    retriever.embedded.clear()
    assert index.add([folder]).unchanged == 3
    write_records(folder, {"1": ("sad piano", ["sad", "soft"]), "2": ("happy", ["rock"]), "4": ("vocals", [])})
    report = index.add([folder])
    assert (report.new, report.changed, report.unchanged, retriever.embedded) == (["4"], ["2"], 2, ["2", "4"])
    (folder / "shard-1.tfrecord").unlink()
    assert index.add([folder]).removed == ["3"]
    assert index.similar("1", k=1)[0].id in ("2", "4")


def test_records_and_factors_together(index, retriever, tmp_path):
    write_records(tmp_path / "records", {"1": ("sad", []), "2": ("rock", []), "3": ("jazz", []), "4": ("happy", [])})
    rows = 5 * np.eye(8, dtype=np.float32)[[6, 5, 5, 0]]
    rows[2] = 0
    table = Table("factors.npz", ("1", "2", "3", "5"), rows)
    report = index.add([tmp_path / "records"], factors=table)
    assert report.new == ["1", "2"] and list(report.failures) == ["3", "4"]
    assert report.failures["4"] == "factors.npz: song '4' has no factors"
    assert index.search("jazz", k=1)[0].id == "1"  # by its factors
    retriever.embedded.clear()
    assert index.add([tmp_path / "records"], factors=table).unchanged == 2
    rows[1] = 5 * np.eye(8, dtype=np.float32)[2]
    assert index.add([tmp_path / "records"], factors=Table("factors.npz", table.ids, rows)).changed == ["2"]
    assert retriever.embedded == ["2"]


def test_factors(tmp_path, retriever):
    retriever.input_type = "cf"
    index = SongIndex.create(tmp_path / "index", retriever)
    rows = np.eye(8, dtype=np.float32)[:4] * 3
    rows[3] = 0
    tables.write(tmp_path / "factors.npz", Table("factors", ("x", "y", "z", "nobody"), rows))
    report = index.add([tmp_path / "factors.npz"], tags={"x": ["sad"]})
    assert report.new == ["x", "y", "z"] and list(report.failures) == ["nobody"]
    assert "song 'nobody' has no factors" in report.failures["nobody"]
    hit = index.search(WORDS[0], k=1)[0]
    assert (hit.id, hit.path, hit.shared) == ("x", "", ("sad",))
    rows[1] = [0, 1, 1, 0, 0, 0, 0, 0]
    tables.write(tmp_path / "factors.npz", Table("factors", ("x", "y", "w"), rows[:3]))
    retriever.embedded.clear()
    report = index.add([tmp_path / "factors.npz"])
    assert (report.new, report.changed, report.removed, report.unchanged) == (["w"], ["y"], ["z"], 1)
    assert retriever.embedded == ["y", "w"]
    (tmp_path / "a.wav").write_text("sad")
    with pytest.raises(ConfigError, match="trained on factors and cannot embed audio files"):
        index.add([tmp_path / "a.wav"])
    assert len(index) == 3


def test_an_index_of_another_run_is_refused(index, music, tmp_path):
    index.add([music])
    other = FakeRetriever(tmp_path / "other", "b" * 64)
    with pytest.raises(
        DataError, match=r"made with another run \(.*run, weights aaaaaaaa\) than .*other \(weights bbbb"
    ):
        SongIndex.create(tmp_path / "index", other)
    assert len(SongIndex.create(tmp_path / "index", FakeRetriever(tmp_path / "moved"))) == 4  # the same run elsewhere


def test_bad_input(index, music, tmp_path):
    index.add([music])
    with pytest.raises(ConfigError, match="is empty: give tags or words, for example 80s, Piano, rock, sad"):
        index.search(" ")
    with pytest.raises(DataError, match=r"no vector for 'xyzzy' \(nearest known: sad\)"):
        index.search("sad xyzzy")
    with pytest.raises(ConfigError, match="its terms cancel out"):
        index.search("sad -sad")
    with pytest.raises(ConfigError, match="k=0"):
        index.search("sad", k=0)
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        index.add([tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"no such index; make one with python -m orpheus\.retrieve index"):
        SongIndex(tmp_path / "nowhere")
    with pytest.raises(DataError, match="exists and is not an index"):
        SongIndex.create(music, FakeRetriever(tmp_path / "run"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "songs.db").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"songs\.db: not an index of songs"):
        SongIndex(tmp_path / "broken")


def test_a_newer_format_is_refused(index):
    index._store._db.execute("UPDATE about SET value = '99' WHERE key = 'version'")
    with pytest.raises(DataError, match="version 99, this orpheus reads 2"):
        SongIndex(index.folder)


def test_neighbours_of_a_tag(retriever):
    found = neighbours(retriever, "sad piano", k=2)
    assert [near.tag for near in found] == ["sad", "Piano"]
    assert found[0].score == pytest.approx(float(vector("sad piano") @ vector("sad")))
    assert [near.tag for near in neighbours(retriever, "SAD", k=9)] == ["Piano", "rock", "80s"]
    assert [near.tag for near in neighbours(retriever, "sad", k=9, among=["sad vocals", "jazz"])] == [
        "sad vocals",
        "jazz",
    ]
    json.dumps(found)
