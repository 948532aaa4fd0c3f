"""Tables with pictures in their cells: what ends a row, what a cell is, and that rows are read when asked for."""

import csv

import pytest

from desa2va.training.data.readers.tsv_rows import TsvRows


def rows_of(path, content, needed=("index",)):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return TsvRows(path, needed)


def test_cells_as_pandas_writes_them(tmp_path):
    """Tabs, quotes and line breaks of all kinds within cells; a quote in the middle of a cell is a quote."""
    lines = (
        "\ufeffindex\tQuestion\tA\tl2-Category",
        '1\t"tab\there ""said"" one\n\ntwo"\tNone\t',
        '2\t5" pipe\t6" pipe\tx\u2028y\n',
    )
    content = "\n".join(lines)
    rows = rows_of(tmp_path / "a.tsv", content)
    assert rows.columns == ["index", "question", "A", "l2-category"]
    assert list(rows) == [
        {"index": "1", "question": 'tab\there "said" one\n\ntwo', "A": "None", "l2-category": ""},
        {"index": "2", "question": '5" pipe', "A": '6" pipe', "l2-category": "x\u2028y"},
    ]


def test_lines_that_end_otherwise(tmp_path):
    """A carriage return before the line feed, an empty last line, and a last row without an end."""
    assert [row["a"] for row in rows_of(tmp_path / "a.tsv", "index\ta\r\n1\tx\r\n\r\n2\ty")] == ["x", "y"]


def test_long_cells_and_the_limit_of_others(tmp_path):
    """Guards pictures, which are longer than csv's limit, and whoever relies on that limit."""
    limit = csv.field_size_limit()
    rows = rows_of(tmp_path / "a.tsv", f"index\timage\n1\t{'x' * 200_000}\n")
    assert len(rows[0]["image"]) == 200_000
    assert csv.field_size_limit() == limit


def test_rows_are_read_when_asked_for(tmp_path):
    """Guards memory: a table of gigabytes is opened by the places of its rows."""
    path = tmp_path / "a.tsv"
    rows = rows_of(path, "index\ta\n1\tx\n2\ty\n")
    path.write_text("index\ta\n1\tz\n2\ty\n")
    assert (len(rows), rows[0]["a"], rows[-1]["a"]) == (2, "z", "y")


def test_what_is_no_table_is_named(tmp_path):
    path = tmp_path / "a.tsv"
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.tsv"):
        TsvRows(path, ("index",))
    for content in ("", "index\ta\n"):
        with pytest.raises(ValueError, match=r"a\.tsv must hold a line of names and rows below it"):
            rows_of(path, content)
    with pytest.raises(ValueError, match=r"a\.tsv lacks the columns image, answer; it has index, a"):
        rows_of(path, "index\ta\n1\tx\n", ("index", "image", "answer"))
    with pytest.raises(ValueError, match=r"a\.tsv, row 0: 1 cells for 2 columns; the file is cut off"):
        _ = list(rows_of(path, "index\ta\n1\n"))
    with pytest.raises(ValueError, match=r"a\.tsv, byte 12: a quote is opened and not closed; the file is cut off"):
        rows_of(path, 'index\ta\n1\tx\n2\t"cut off\n3\ty\n')
    with pytest.raises(ValueError, match=r"a\.tsv, row 1: not UTF-8"):
        _ = list(rows_of(path, b"index\ta\n1\tx\n2\t\xff\n"))
