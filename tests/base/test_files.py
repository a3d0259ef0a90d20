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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "more than 64 levels deep"),
        ("[" * 66 + "]" * 66, "more than 64 levels deep"),
        ('{"a":' * 66 + "1" + "}" * 66, "more than 64 levels deep"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": ' + "1" * 5000 + "}", "has 5000 digits"),
        ('{"a": 18446744073709551616}', "has 20 digits"),
        ('{"a": 1, "b": 2, "a": 1}', "key 'a' comes twice"),
        ('["\\ud800"]', "half of a surrogate pair"),
        ('{"a\\u0000": 1}', "holds a NUL"),
        ('{"a": 1', r"x\.json:1:8: not JSON"),
    ],
    ids=lambda text: text[:30],
)
def test_json_beyond_what_is_written_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message):
        files.read_json(tmp_path / "x.json")
    (tmp_path / "x.jsonl").write_text(f'{{"row": 1}}\n{{"value": {text}}}\n')
    with pytest.raises(DataError, match=r"x\.jsonl:2"):
        files.read_jsonl(tmp_path / "x.jsonl")


def test_json_at_the_limits_is_read():
    assert files.parse_json("[" * 64 + "]" * 64, "x")
    assert files.parse_json("[18446744073709551615, -9223372036854775808, 1e308]", "x") == [2**64 - 1, -(2**63), 1e308]
    assert files.parse_json('["\\ud83c\\udfb5", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]', "x")[0] == "🎵"


def test_too_large_json_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_JSON", 20)
    (tmp_path / "x.json").write_text('"' + "x" * 20 + '"')
    with pytest.raises(DataError, match="more than 0 MB of JSON"):
        files.read_json(tmp_path / "x.json")


def test_messages_are_one_short_line():
    message = str(DataError(f"{'/long' * 300}/name\nof\x1b[31m a file: " + "x" * 3000 + "; the cure"))
    assert (
        len(message) <= 500 and message.isprintable() and message.startswith("/long") and message.endswith("the cure")
    )
    assert str(DataError("a\tb\u00a0é")) == "a\\tb\\xa0é"
    assert str(DataError("\n" * 400)).count("\\n") < 250
