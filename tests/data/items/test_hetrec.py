"""The Last.fm import: encodings, whole held-out artists, bad lines."""

import collections

import numpy as np
import pytest

from orpheus.data.items import hetrec, layout, tables, texts
from orpheus.errors import DataError


@pytest.fixture
def source(tmp_path):
    """Thirty artists; artist a has 30 − a listeners among thirty users; the last two artists have no tags."""
    folder = tmp_path / "dat"
    folder.mkdir()
    (folder / "artists.dat").write_text(
        "id\tname\turl\tpictureURL\n" + "".join(f"{a}\tArtist {a}\tu\tp\n" for a in range(30)), encoding="utf-8"
    )
    (folder / "tags.dat").write_bytes(b"tagID\ttagValue\r\n1\trock\r\n2\ttropic\xe1lia\r\n3\tm\xc3\xbasica\r\n")
    (folder / "user_artists.dat").write_bytes(
        b"userID\tartistID\tweight\r\n"
        + b"".join(b"%d\t%d\t%d\r\n" % (u, a, 1 + u + a) for u in range(30) for a in range(30 - u))
    )
    (folder / "user_taggedartists.dat").write_bytes(
        b"userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
        + b"".join(b"%d\t%d\t%d\t1\t1\t2009\r\n" % (u, a, 1 + (a + u) % 3) for a in range(28) for u in range(4))
        + b"\r\n"
    )
    return folder


def test_reading_both_encodings(source):
    data = hetrec.read(source)
    assert set(data.tags["0"]) == {"rock", "tropicália", "música"}
    assert data.tags["0"]["rock"] == 2  # users 0 and 3
    assert data.names["7"] == "Artist 7" and len(data.interactions.items) == 30
    assert data.interactions.counts[0, 5] == 6


def test_a_document_has_every_tag_as_often_as_given():
    assert hetrec.document(collections.Counter({"b": 1, "a": 1, "new wave": 3})) == "new wave, a, b, new wave, new wave"
    assert hetrec.document(collections.Counter()) == ""


def test_conversion_holds_out_whole_artists(source, tmp_path):
    data, folder = hetrec.read(source), layout.DataFolder(tmp_path / "data", "HET")
    report = hetrec.convert(data, folder, min_listeners=3, min_items=2, test_share=0.2, classes=2)
    splits = folder.sets()  # disjoint, or it raises
    assert [len(ids) for ids in splits] == [report[name] for name in ("train", "val", "test")]
    # 28 artists have tags, and the least heard of them three listeners; a fifth of them, 5.6, is held out
    assert sum(map(len, splits)) == 28 and report["test"] == 6 and not {"28", "29"} & set().union(*splits)
    users = layout.read_ids(folder.users_index())
    whole = data.interactions.select(users=users)
    for subset, ids in splits._asdict().items():
        counts = tables.counts(folder, subset)
        np.testing.assert_array_equal(counts.matrix.toarray(), whole.select(items=ids).counts.T.toarray())
    assert tables.counts(folder, "train").matrix.sum(axis=0).min() > 0  # every user has something to learn from
    everything = [item for ids in splits for item in ids]
    assert texts.read_texts(folder, everything)[everything[0]] == hetrec.document(data.tags[everything[0]])
    assert len(layout.read_ids(folder.labels())) == 2
    again = layout.DataFolder(tmp_path / "again", "HET")
    hetrec.convert(data, again, min_listeners=3, min_items=2, test_share=0.2, classes=2)
    assert again.sets() == splits


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("user_artists.dat", b"1\t2\t-3\n", "weight '-3'"),
        ("user_artists.dat", b"1\t2\n", "2 columns, expected at least 3"),
        ("user_taggedartists.dat", b"1\t2\t99\t1\t1\t2009\n", "tag '99' is not in tags.dat"),
    ],
)
def test_bad_lines_are_named(source, name, line, message):
    path = source / name
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], line.rstrip(), *lines[2:]]))
    with pytest.raises(DataError, match=f"{name}:3: {message}"):
        hetrec.read(source)


def test_a_missing_file_is_named(source):
    (source / "tags.dat").unlink()
    with pytest.raises(DataError, match=r"tags\.dat: no such file"):
        hetrec.read(source)


def test_the_real_files(shared, tmp_path):
    data = hetrec.read(shared / "hetrec2011-lastfm-2k")
    assert data.interactions.counts.shape == (1892, 17632) and data.interactions.counts.nnz == 92834
    assert sum(sum(tags.values()) for tags in data.tags.values()) > 108_000
    assert "tropicália" in {tag for tags in data.tags.values() for tag in tags}
    folder = layout.DataFolder(tmp_path, "HET")
    report = hetrec.convert(data, folder)
    known = report["train"] + report["val"] + report["test"]
    assert report["test"] == round(0.1 * known)
    listeners = {subset: np.diff(tables.counts(folder, subset).matrix.indptr) for subset in ("train", "test")}
    # held-out artists are as popular as the others
    np.testing.assert_allclose(listeners["test"].mean(), listeners["train"].mean(), rtol=0.1)
    assert listeners["test"].min() > 0
