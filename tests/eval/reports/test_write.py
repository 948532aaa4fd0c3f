"""The command: what it writes, that the page stands alone, and that foreign text stays text."""

import json
import re
from html.parser import HTMLParser

import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks.mmbench_video import benchmark as judged_benchmark
from desa2va.eval.benchmarks.questions import Answer
from desa2va.eval.benchmarks.runner import Run, answer_all, score_run
from desa2va.eval.reports.opened import read_report
from desa2va.eval.reports.plots import histogram, histogram_svg
from desa2va.eval.reports.reproduction import reproduce
from tests.eval.benchmarks.layouts import MODEL, Oracle
from tests.eval.benchmarks.test_question_videos import write_mmbench_video
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
    counts = histogram([0, 1, 3, 3], 3)
    assert (counts[0], counts[6], counts[19]) == (1, 1, 2)
    drawn = histogram_svg([0, 1, 2, 3], "score", 3)
    assert 'x1="320.0" x2="320.0"' in drawn
    assert re.findall(r">([\d.]+)</text>", drawn) == ["0", "1.5", "3"]
    with pytest.raises(TypeError):
        histogram([None])


def test_judged_answers_are_ranked_by_their_score(tmp_path):
    """Guards a score of 0 to 3: it was no score at all, and would have been cut off at 1 in the distribution."""
    data = tmp_path / "data"
    write_mmbench_video(data)
    run = Run(
        judged_benchmark("mmbench_video-test", lambda question, truth, answer: len(answer)), data, tmp_path / "out"
    )
    plan = run.plan()
    said = [Answer("ok", text=text) for text in ("", "xyz", "x")]
    known = {str(index): answer for index, answer in enumerate(said)}
    score_run(run, plan, answer_all(run, plan, Oracle(known), MODEL, {"model": "oracle", "data": str(data)}))
    assert main(["report", str(run.folder), "--out", str(tmp_path / "page"), "--cases", "1"]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<strong>(score [\d.]+)</strong>", page) == ["score 3.000", "score 1.000", "score 0.000"]
    assert "score of 3 samples: mean 1.333, median 1.000" in page
    with pytest.raises(ValueError, match="a judge's"):
        reproduce(read_report(run.folder), 1)


def test_groups_without_a_figure_in_common_have_tables_of_their_own(run_folder, tmp_path):
    """Guards against robustness' table: 14 groups and 13 figures, nearly all of them dashes."""
    content = json.loads((run_folder[1] / "report.json").read_text())
    content["figures"] = {
        "wordings": {"agreement": 0.9, "n": 4},
        "words": {"moved": 0.8, "n": 3},
        "jpeg60": {"flips": 0.0, "agreement": 0.7, "n": 4},
        "wide": {"error_px": 0.5, "mask_px": None, "n": 2},
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    report = read_report(path)
    assert [list(groups) for groups in report.tables()] == [["wordings", "jpeg60"], ["words"], ["wide"]]
    assert main(["report", str(path), "--out", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    assert "| figure | wordings | jpeg60 |\n|---|---|---|\n| agreement | 0.9000 | 0.7000 |" in text
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert page.count('<th scope="col">figure</th>') == 3
