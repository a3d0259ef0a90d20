"""Playlists: names that break nothing, paths that come back."""

import os
from types import SimpleNamespace

import pytest

from orpheus.errors import ConfigError, DataError
from orpheus.tasks.search import listeners, playlist


def song(path, artist="", title=""):
    return SimpleNamespace(id="i", path=str(path), artist=artist, title=title)


def test_a_playlist_says_who_what_and_where_and_is_read_back(tmp_path):
    strange = tmp_path / "#1 été\u2028.mp3"
    songs = [song("/m/a.mp3", "Björk\r\n#EXTM3U", "Jóga"), song("/m/b c.ogg"), song(strange, title="x")]
    playlist.write(songs, tmp_path / "l.m3u8")
    lines = (tmp_path / "l.m3u8").read_bytes().decode("utf-8").split("\n")
    assert lines[:5] == ["#EXTM3U", "#EXTINF:-1,Björk #EXTM3U - Jóga", "/m/a.mp3", "#EXTINF:-1,b c", "/m/b c.ogg"]
    assert playlist.read(tmp_path / "l.m3u8") == ["/m/a.mp3", "/m/b c.ogg", str(strange)]
    playlist.write(songs, tmp_path / "l.m3u8", relative=True)
    assert (tmp_path / "l.m3u8").read_bytes().decode().split("\n")[6] == "./#1 été\u2028.mp3"
    assert listeners.read_history(tmp_path / "l.m3u8") == ["/m/a.mp3", "/m/b c.ogg", str(strange)]


def test_what_is_no_text_in_a_name_comes_back_as_bytes(tmp_path):
    playlist.write([song(os.fsdecode(b"/m/\xff.mp3"))], tmp_path / "l.m3u8")
    assert b"\n/m/\xff.mp3\n" in (tmp_path / "l.m3u8").read_bytes()


def test_other_programs_playlists(tmp_path):
    (tmp_path / "l.m3u").write_bytes("\ufeff#EXTM3U\r\n\r\n#EXTINF:3,x\r\nsub/a b.mp3\r\n../c.mp3".encode())
    assert playlist.read(tmp_path / "l.m3u") == [str(tmp_path / "sub/a b.mp3"), str(tmp_path.parent / "c.mp3")]


@pytest.mark.parametrize(
    ("path", "message"), [("", "without an audio file"), ("/r/shard.tfrecord", "without"), ("/m/a\nb", "line break")]
)
def test_a_song_that_no_playlist_can_hold(tmp_path, path, message):
    with pytest.raises(DataError, match=message):
        playlist.write([song("/m/a.mp3"), song(path)], tmp_path / "l.m3u8")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_lists(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.m3u").write_bytes("/m/é.mp3".encode("latin-1"))
    for name, message in {
        "empty.txt": "no song in it",
        "latin.m3u": "not UTF-8 at byte 3",
        "no.txt": "cannot be read",
    }.items():
        with pytest.raises(DataError, match=message):
            listeners.read_history(tmp_path / name)
    with pytest.raises(ConfigError, match="m3u8 is needed"):
        playlist.write([], tmp_path / "l.m3u")
