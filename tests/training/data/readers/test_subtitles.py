"""Subtitles in SubRip's format: what is said when."""

import pytest

from desa2va.training.data.readers.subtitles import read_subtitles, said_at

FILE = """\ufeff1
00:00:01,500 --> 00:00:04,000
<i>Hello</i>
there.

2
00:00:03,000 --> 00:01:05.25
{\\an8}Again

7
01:00:00,000 --> 01:00:01,000

"""


def test_entries_and_times(tmp_path):
    """Tags go, lines are joined; an entry without words is one."""
    path = tmp_path / "a.srt"
    path.write_text(FILE.replace("\n", "\r\n"), encoding="utf-8", newline="")
    entries = read_subtitles(path)
    assert entries == [(1.5, 4.0, "Hello there."), (3.0, 65.25, "Again"), (3600.0, 3601.0, "")]
    assert said_at(entries, [0, 1.5, 2, 3.5, 4, 70, 3600.5]) == "Hello there.\nHello there.\nAgain"
    assert said_at(entries, []) == ""


def test_what_is_no_subtitles_is_named(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text("")
    assert read_subtitles(path) == []
    path.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"a\.srt holds no subtitles"):
        read_subtitles(path)
    path.write_bytes(b"1\n00:00:01,500 --> 00:00:04,000\n\xff\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_subtitles(path)
