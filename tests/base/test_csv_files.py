"""The one csv reader and writer: nothing merged, nothing lost; Python's csv module is the reference for good files."""

import csv
import random

import pytest

from orpheus.base import csv_files
from orpheus.errors import DataError

AWKWARD = [
    "",
    " lead",
    "trail ",
    "a,b",
    'say "x"',
    "line\nfeed",
    "carriage\rreturn",
    "crlf\r\nend",
    '"',
    "plain",
    "é日本",
]


def write(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_is_written_is_read_as_it_was(tmp_path):
    draw = random.Random(0)
    rows = [[f"id{number}", *draw.choices(AWKWARD, k=3)] for number in range(200)]
    path = write(tmp_path, csv_files.text([["id", "a", "b", "c"], *rows]))
    assert [list(row.values()) for _, row in csv_files.read(path).rows] == rows
    with open(path, encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["id", "a", "b", "c"], *rows]


def test_rows_have_the_number_of_the_line_on_which_they_begin(tmp_path):
    path = write(tmp_path, '\ufeffid,title\n\n1,"two\nlines"\n2,b\n')
    assert [(number, row["id"]) for number, row in csv_files.read(path).rows] == [(3, "1"), (5, "2")]


def test_blanks_stay(tmp_path):
    assert csv_files.read(write(tmp_path, "a,b\n x , y\n")).rows[0][1] == {"a": " x ", "b": " y"}


BROKEN = [
    ('id,path,title,tags\n1,a,"Heroes,rock\n2,b,x,pop\n3,c,y,jazz\n4,d,"Z",folk\n', r":2: text behind a closing quote"),
    ('id,title\n1,a\n2,"never closed\n3,c\n', r":3: a quote opens in this row and is never closed"),
    ('id,title,path\n1,"Open,a.mp3\n2,Title 5",b.mp3\n', r":2: a quote opens here and is closed on line 3"),
    ("id,title\n1,a\n2,b,c\n", r":3: 3 cells, the header has 2"),
    ("id,title\n1\n", r":2: 1 cells, the header has 2"),
    ("id,id\n1,2\n", r":1: two columns are named 'id'"),
    ("id,title\n1,a\0b\n", r":2: a NUL character"),
    ("id,title\n1,a\n2," + "x" * 131_073 + "\n", r":3: a cell of more than 131072 characters"),
    (b"id,title\n1,caf\xe9\n", r"t\.csv: not UTF-8"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_broken_file_is_refused_by_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        csv_files.read(write(tmp_path, text))


def test_the_longest_cell_is_read(tmp_path):
    path = write(tmp_path, "id,title\n1," + "x" * 131_072 + "\n")
    assert len(csv_files.read(path).rows[0][1]["title"]) == 131_072


def test_missing_file_and_column(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        csv_files.read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no column tags; it has id"):
        csv_files.read(write(tmp_path, "id\n1\n"), required=["id", "tags"])


def test_without_quotes_a_quote_is_a_character(tmp_path):
    path = write(tmp_path, 'u\t"Heroes\t3\nv\tb\t1\n')
    rows = [cells for _, cells in csv_files.iterate(path, delimiter="\t", quotes=False)]
    assert rows == [["u", '"Heroes', "3"], ["v", "b", "1"]]


def test_comment_lines_are_left_out_where_they_are_asked_for(tmp_path):
    path = tmp_path / "ultimate.csv"
    path.write_text("# made by hand, in 2020\n#\nid,path\n#1 Dads,a.mp3\n# the rest, as it was, before\nb,b.mp3\n")
    table = csv_files.read(path, comments=True)
    assert table.columns == ("id", "path")
    # A line with as many cells as the header is a row, whatever its id begins with.
    assert [(number, row["id"]) for number, row in table.rows] == [(4, "#1 Dads"), (6, "b")]
    with pytest.raises(DataError):
        csv_files.read(path, required=["id"])
    path.write_text("id,path\na,b,c\n")
    with pytest.raises(DataError, match=":2: 3 cells"):
        csv_files.read(path, comments=True)
