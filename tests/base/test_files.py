"""orpheus.base.files: a file is whole or absent, and a broken one is named."""

import pytest

from orpheus.base import files
from orpheus.errors import DataError


def test_atomic_keeps_the_old_file_on_error(tmp_path):
    path = tmp_path / "a" / "x.txt"
    with files.atomic(path) as file:
        file.write("old")
    with pytest.raises(RuntimeError), files.atomic(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_json_round_trip_keeps_unicode_and_order(tmp_path):
    value = {"z": "Björk", "a": [1, 2.5, None]}
    files.write_json(tmp_path / "x.json", value)
    assert list(files.read_json(tmp_path / "x.json").items()) == list(value.items())
    assert "Björk" in (tmp_path / "x.json").read_text(encoding="utf-8")


def test_broken_json_is_named_with_its_line(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1,\n "b": }')
    with pytest.raises(DataError, match=r"x\.json:2:7"):
        files.read_json(tmp_path / "x.json")
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n[1]\n')
    with pytest.raises(DataError, match=r"x\.jsonl:2: expected a JSON object"):
        files.read_jsonl(tmp_path / "x.jsonl")
    with pytest.raises(DataError, match="no such file"):
        files.read_json(tmp_path / "missing.json")


def test_content_hash_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.content_hash(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
