"""orpheus.data.tags.files: MTG-Jamendo's files read as they are, malformed ones named by line."""

import pytest

from orpheus.data.tags.database import TagDatabase
from orpheus.data.tags.files import TagFile, is_csv, open_tags, read_tags
from orpheus.errors import DataError

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
LINES = (
    "track_2\tartist_1\talbum_9\t14/2.mp3\t124.6\tgenre---rock\tmood/theme---summer day\n"
    "track_1\tartist_2\talbum_8\t15/1.mp3\t60\tgenre---rock\tgenre---ambient\tgenre---rock\n"
)


@pytest.fixture
def tags(tmp_path):
    (tmp_path / "a.tsv").write_text(HEADER + LINES, encoding="utf-8")
    return tmp_path / "a.tsv"


def test_reads_every_field(tags):
    tracks = read_tags(tags)
    assert list(tracks) == ["track_2", "track_1"]
    track = tracks["track_2"]
    assert (track.artist, track.album, track.path, track.seconds) == ("artist_1", "album_9", "14/2.mp3", 124.6)
    assert track.tags == ("rock", "summer day")
    assert read_tags(tags, prefix=True)["track_1"].tags == ("genre---rock", "genre---ambient")


def test_windows_line_ends_and_byte_order_mark(tmp_path, tags):
    (tmp_path / "b.tsv").write_bytes(b"\xef\xbb\xbf" + (HEADER + LINES).replace("\n", "\r\n").encode())
    assert read_tags(tmp_path / "b.tsv") == read_tags(tags)
    assert isinstance(open_tags(tmp_path / "b.tsv"), TagFile)


def test_a_tag_file_and_its_database_say_the_same(tmp_path, tags):
    source = open_tags(tags)
    TagDatabase.write(tmp_path / "a.db", source.rows())
    database = open_tags(tmp_path / "a.db")
    assert isinstance(source, TagFile) and isinstance(database, TagDatabase)
    assert source.popularity() == database.popularity() == [("rock", 2), ("ambient", 1), ("summer day", 1)]
    ids = ["track_1", "track_2", "unknown"]
    assert source.track_weights("rock") == [("track_1", 100), ("track_2", 100)]
    for min_val in (0, 100, 101):
        assert source.tags_of_all(ids, min_val=min_val) == database.tags_of_all(ids, min_val=min_val)
        assert source.tags_of_all(min_val=min_val) == database.tags_of_all(min_val=min_val)
        assert source.track_weights("rock", min_val=min_val) == database.track_weights("rock", min_val=min_val)
        assert source.tag_weights("track_1", min_val=min_val) == database.tag_weights("track_1", min_val=min_val)
    assert source.track_count() == database.track_count() == 2


def test_several_files_unite_their_tags(tmp_path, tags):
    (tmp_path / "b.tsv").write_text(
        HEADER + "track_1\tartist_2\talbum_8\t15/1.mp3\t60.0\tinstrument---voice\tgenre---ambient\n"
        "track_3\ta\tb\tc\t1\tgenre---folk\n"
    )
    both = TagFile([tags, tmp_path / "b.tsv"])
    assert both.tracks["track_1"].tags == ("rock", "ambient", "voice")
    assert both.tags_of("track_3") == ["folk"]
    (tmp_path / "c.tsv").write_text(HEADER + "track_1\tartist_X\talbum_8\t15/1.mp3\t60\tgenre---folk\n")
    with pytest.raises(DataError, match=r"c\.tsv: track track_1 .*artist_X.*artist_2"):
        TagFile([tags, tmp_path / "c.tsv"])


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "no tracks"),
        (HEADER.encode(), "no tracks"),
        (b"id,tags\n", r"a\.tsv:1: expected the header TRACK_ID"),
        ((HEADER + LINES + "track_3\tartist\n").encode(), r"a\.tsv:4: 2 fields"),
        ((HEADER + LINES + "\n").encode(), r"a\.tsv:4: 1 fields"),
        ((HEADER + "t\ta\tb\tc\tlong\tgenre---x\n").encode(), r"a\.tsv:2: duration 'long'"),
        ((HEADER + "t\ta\tb\tc\tinf\tgenre---x\n").encode(), r"a\.tsv:2: duration 'inf'"),
        ((HEADER + "t\ta\tb\tc\t1\tgenre---x\t\n").encode(), r"a\.tsv:2: an empty tag"),
        ((HEADER + "t\ta\tb\tc\t1\tgenre---\n").encode(), r"a\.tsv:2: an empty tag"),
        ((HEADER + "\ta\tb\tc\t1\tgenre---x\n").encode(), r"a\.tsv:2: the track id is empty"),
        ((HEADER + LINES + LINES).encode(), r"a\.tsv:4: track id 'track_2' is there a second time"),
        (HEADER.encode() + b"t\t\xff\tb\tc\t1\tgenre---x\n", r"a\.tsv:2: .*utf-8"),
        ((HEADER + "t\ta\tb\tc\t1\n").encode(), "none of its 1 tracks has a tag"),
    ],
)
def test_malformed_files_are_named_by_line(tmp_path, content, said):
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        TagFile(tmp_path / "a.tsv")
    assert "\n" not in str(caught.value)


def test_other_files_are_no_tag_source(tmp_path):
    (tmp_path / "x.csv").write_text("id,tags\n")
    with pytest.raises(DataError, match="neither an SQLite tag database, nor"):
        open_tags(tmp_path / "x.csv")
    with pytest.raises(DataError, match="no such"):
        open_tags(tmp_path / "missing.tsv")


@pytest.mark.slow
def test_real_files(shared):
    """Published counts of the dataset: 55,525 tracks with 87 genres, 40 instruments and 56 moods or themes."""
    folder = shared / "mtg-jamendo"
    kinds = {"genre": 87, "instrument": 40, "moodtheme": 56}
    paths = [folder / f"autotagging_{kind}-{part}.tsv" for kind in kinds for part in ("train", "validation", "test")]
    source = TagFile(paths, prefix=True)
    names = [tag.split("---")[0].replace("/", "") for tag, _ in source.popularity()]
    assert {kind: names.count(kind) for kind in kinds} == kinds
    assert len(source.tracks) == source.track_count() > 55_000
    first = source.tracks["track_0000214"]
    assert (first.artist, first.album, first.path, first.seconds) == (
        "artist_000014",
        "album_000031",
        "14/214.mp3",
        124.6,
    )
    assert "genre---punkrock" in first.tags


def test_csv_with_a_column_of_tags(tmp_path):
    path = tmp_path / "tracks.csv"
    path.write_text(
        '\ufefftrack_id,audio_path,tags,artist\n1,a.mp3,"piano; sad;piano",X\n2,b.mp3,drums| fast ,Y\n3,c.mp3,,Y\n',
        encoding="utf-8",
    )
    source = open_tags(path)
    assert source.tags_of_all(["1", "2", "3", "4"]) == {"1": ["piano", "sad"], "2": ["drums", "fast"], "3": [], "4": []}
    assert source.popularity() == [("drums", 1), ("fast", 1), ("piano", 1), ("sad", 1)]
    path.write_text("track_id,tags\n1,a\n1,b\n")
    with pytest.raises(DataError, match=r"tracks.csv:3: track_id '1' is there twice"):
        open_tags(path)
    path.write_text("track_id,audio_path\n1,a\n")
    assert not is_csv(path) and not is_csv(tmp_path / "none")
    with pytest.raises(DataError, match="nor a csv with the columns track_id and tags"):
        open_tags(path)


def test_a_csv_of_tags(tmp_path, caplog):
    path = tmp_path / "tags.csv"
    path.write_text("track_id,tags\n1,piano; sad\n2,\"['piano', 'sad']\"\n3,\"rock|a, b\"\n4,\n")
    found = {track: row.tags for track, row in read_tags(path).items()}
    assert found == {"1": ("piano", "sad"), "2": ("piano", "sad"), "3": ("rock", "a, b"), "4": ()}
    assert not caplog.records


def test_commas_in_the_cells_of_a_csv_of_tags_are_warned_of(tmp_path, caplog):
    path = tmp_path / "tags.csv"
    path.write_text('track_id,tags\n1,rock\n2,"piano, sad"\n3,"a, b"\n')
    assert read_tags(path)["2"].tags == ("piano, sad",)
    assert len(caplog.records) == 1
    assert "tags.csv:3: 'piano, sad' is taken as one tag, and so are 2 such cells" in caplog.text


def test_a_cell_that_only_looks_like_a_list_is_refused(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text('track_id,tags\n1,"[piano, sad]"\n')
    with pytest.raises(DataError, match=r"tags.csv:2: tags '\[piano, sad\]' look like a list"):
        read_tags(path)
