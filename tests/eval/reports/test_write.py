"""The command: what it writes, that the page stands alone, and that foreign text stays text."""

import json
import re
from html.parser import HTMLParser

import pytest

from desa2va.cli import main
from desa2va.eval.reports.plots import histogram, histogram_svg
from tests.eval.reports.conftest import PICTURES


class Page(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "br", "link", "line", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_folder_with_page_text_and_plots(run_folder, tmp_path, capsys):
    """Guards the page: it loads nothing, every tag is closed, every picture is inside and described."""
    data, folder = run_folder
    assert main(["report", str(folder), "--out", str(tmp_path / "page"), "--cases", "2"]) == 0
    assert "index.html" in capsys.readouterr().out
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    parsed = Page(page)
    assert not parsed.open
    names = [tag for tag, _ in parsed.tags]
    assert not {"script", "link", "iframe", "object"} & set(names)
    pictures = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(pictures) == 3 * 6
    assert all(entry["src"].startswith("data:image/jpeg;base64,") and entry["alt"] for entry in pictures)
    assert not re.search(r"(url\(|@import|src=\"(?!data:))", page)
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    text = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    figures = json.loads((folder / "report.json").read_text())["figures"]
    assert f"| cIoU | {figures['ciou']:.4f} |" in text
    assert "| DeSa2VA-4B (2) | 82.6 | DeSa2VA, table 1 |" in text
    assert f"| machine.data | {data} |".replace("_", "\\_") in text
    plot = re.search(r"!\[scores\]\((.*?)\)", text).group(1)
    assert (tmp_path / "page" / plot).read_bytes()[:4] == b"\x89PNG"


def test_what_was_asked_stays_text(run_folder, tmp_path):
    """An expression of a data set must neither run in a browser nor break a table."""
    said = PICTURES[9][0][2][1]
    assert main(["report", str(run_folder[1]), "--out", str(tmp_path / "page"), "--cases", "4"]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    text = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    assert said not in text
    rows = [line for line in text.splitlines() if "alert(1)" in line]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 7


def test_several_reports_share_a_page_and_compare_with_each_other(run_folder, tmp_path):
    folder = str(run_folder[1])
    assert main(["report", folder, folder, "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert page.count('class="ours"') == 4
    assert page.count("<h2 ") == 2


def test_without_data_there_is_a_page_that_says_so(run_folder, tmp_path, capsys):
    """The figures need no data; data that were asked for and are not there are an error."""
    moved = tmp_path / "moved"
    moved.mkdir()
    content = json.loads((run_folder[1] / "report.json").read_text())
    content["provenance"]["machine"]["data"] = str(tmp_path / "gone")
    (moved / "report.json").write_text(json.dumps(content))
    assert main(["report", str(moved), "--out", str(tmp_path / "page")]) == 0
    assert "no gallery" in capsys.readouterr().out
    assert "No gallery: " in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    words = ["report", str(moved), "--out", str(tmp_path / "other"), "--data", str(tmp_path / "gone")]
    assert main(words) == 2
    assert not (tmp_path / "other").exists()
    assert main(["report", str(run_folder[1]), "--out", str(tmp_path / "page")]) == 2
    assert main(["report", str(run_folder[1]), "--out", str(tmp_path / "page"), "--replace"]) == 0


def test_the_histogram_counts_every_sample():
    counts = histogram([0.0, 0.04, 0.05, 0.5, 1.0])
    assert counts.sum() == 5
    assert (counts[0], counts[1], counts[10], counts[19]) == (2, 1, 1, 1)
    assert "mean 0.500, median 0.500" in histogram_svg([0.0, 0.5, 1.0], "iou")
    with pytest.raises(TypeError):
        histogram([None])
