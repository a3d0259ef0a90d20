"""orpheus.data.records.tracks: a csv of tracks, and the tags that are joined to them."""

import pytest

from orpheus.data.records.tracks import Track, read_tracks, with_tags
from orpheus.errors import DataError


def write_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_of_tracks(tmp_path):
    path = write_csv(tmp_path / "t.csv", "\ufefftrack_id,mp3_path,artist,album\n1,a.mp3,Björk ,x\n\n2,/b.mp3,,y\n")
    assert read_tracks(path) == [Track("1", str(tmp_path / "a.mp3"), "Björk"), Track("2", "/b.mp3")]
    assert read_tracks(path, root="/music")[0].path == "/music/a.mp3"
    assert read_tracks(path, root="gs://b/music")[0].path == "gs://b/music/a.mp3"
    assert [t.group for t in read_tracks(path, group_column="album")] == ["x", "y"]
    comments = write_csv(tmp_path / "t.csv", "# made, by hand\n#\ntrack_id,path\n1,a.mp3\n# the end\n")
    assert read_tracks(comments) == [Track("1", str(tmp_path / "a.mp3"))]
    # A file's name may begin with a blank; ids do not.
    blank = read_tracks(write_csv(tmp_path / "t.csv", "track_id,path\n 1, a.mp3\n"))
    assert blank == [Track("1", str(tmp_path / " a.mp3"))]
    path = write_csv(tmp_path / "t.csv", "npz_path,group,track_id\nx.npz,g,1\ns3://b/y.npz,g,2\n")
    assert read_tracks(path) == [Track("1", str(tmp_path / "x.npz"), "g"), Track("2", "s3://b/y.npz", "g")]


@pytest.mark.parametrize(
    "text, said",
    [
        ("track_id,file\n1,a\n", r"columns track_id, file; needs track_id and one of audio_path"),
        ("id,audio_path\n1,a\n", "needs track_id"),
        ("", "columns none; needs"),
        ("track_id,audio_path\n", "no track in it"),
        ("track_id,audio_path\n1,a\n2,b\n1,c\n", r"t\.csv:4: track_id '1' occurs twice"),
        ("track_id,audio_path\n1,a\n ,b\n", r"t\.csv:3: empty track_id or audio_path"),
        ("track_id,audio_path\n1\n", r"t\.csv:2: 1 cells, the header has 2"),
        ("track_id,audio_path\n1,\n", r"t\.csv:2: empty track_id or audio_path"),
        ('track_id,audio_path,artist\n1,a,"two\nlines"\n1,a,x\n', r"t\.csv:4: track_id '1' occurs twice"),
    ],
)
def test_mistakes_in_a_csv_are_named(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_tracks(write_csv(tmp_path / "t.csv", text))


def test_csvs_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="no such csv of tracks; make one with"):
        read_tracks(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"track_id,audio_path\n1,caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_tracks(tmp_path / "t.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_tracks(tmp_path)
    with pytest.raises(DataError, match="no column 'label'; it has track_id, path"):
        read_tracks(write_csv(tmp_path / "t.csv", "track_id,path\n1,a\n"), group_column="label")


def test_tags_of_several_sources():
    tracks = [Track("1", "a", "g"), Track("2", "b")]
    tagged = with_tags(tracks, [{"1": ["x", "y"], "9": ["z"]}, {"2": ["x"], "1": []}])
    assert tagged == [Track("1", "a", "g", (("x", "y"), ())), Track("2", "b", "", ((), ("x",)))]
    with pytest.raises(DataError, match=r"tag source 1: no tag for any of the 2 tracks \(first: 1\)"):
        with_tags(tracks, [{"1": ["x"]}, {"1": [], "7": ["x"]}])


def test_an_open_quote_gives_no_track_another_ones_tags(tmp_path):
    text = 'track_id,audio_path,title,tags\n1,a,"Heroes,rock\n2,b,x,pop\n3,c,y,jazz\n4,d,"Z",folk\n5,e,w,soul\n'
    with pytest.raises(DataError, match=r"t\.csv:2: text behind a closing quote"):
        read_tracks(write_csv(tmp_path / "t.csv", text))
