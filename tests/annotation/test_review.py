"""The page of a review: what it shows, and that its script makes the file that is read back."""

import json
import re
import shutil
import subprocess

import pytest

from desa2va.annotation import review
from desa2va.annotation.masklets import find_sources, read_clip
from desa2va.annotation.review import Card, ReviewPages, clip_cards, render_review
from desa2va.annotation.rows import Decision, read_decisions
from tests.annotation.layouts import write_palettes

# As much of a browser as the script uses: two cards, whose texts and buttons are changed and clicked by the test.
BROWSER = """
const events = new Map();
const element = (dataset, more) => ({ dataset, attributes: {}, setAttribute(k, v) { this.attributes[k] = v; },
  addEventListener(name, run) { this["on" + name] = run; }, click() { if (this.onclick) this.onclick(); }, ...more });
const card = (video, number, long) => {
  const field = (kind, given) => element({ kind, given }, { value: given });
  const fields = [field("long", long), field("short", "")];
  const buttons = ["accept", "reject"].map((choice) => element({ choice }));
  return element({ video, object: number }, { fields, buttons,
    querySelectorAll(what) { return what === "button" ? buttons : fields; } });
};
const nodes = [card("a", "1", "one"), card("a", "2", "two"), card("b", "1", "three"), card("b", "2", "four")];
const save = element({}), count = element({}), storage = {};
let file = null;
const document = { querySelector: () => element({ format: FORMAT, run: "r" }), querySelectorAll: () => nodes,
  getElementById: (name) => (name === "save" ? save : count), createElement: () => element({}) };
const localStorage = { getItem: (k) => (k in storage ? storage[k] : null), setItem(k, v) { storage[k] = v; } };
const URL = { createObjectURL: (blob) => { file = blob.parts.join(""); return "blob:"; }, revokeObjectURL() {} };
class Blob { constructor(parts) { this.parts = parts; } }
"""
CLICKS = """
cards[0].buttons[0].click();
cards[1].fields[0].value = "another two";
cards[1].fields[0].oninput();
cards[2].buttons[1].click();
save.click();
console.log(JSON.stringify({ file: JSON.parse(file), count: count.textContent, kept: Object.keys(storage).length }));
"""


def row(text, **fields):
    return {"video": "clip", "object": "1", "status": "complete", "long": text, "short": None, **fields}


@pytest.fixture
def clip(tmp_path):
    (source,) = find_sources(*write_palettes(tmp_path))
    return read_clip(source)


def test_texts_are_shown_and_never_run(clip):
    """A description is anybody's text."""
    text = '</textarea><script>alert(1)</script>" onfocus="x'
    dropped = {"video": "clip", "object": "2", "status": "dropped", "reason": "check: no"}
    (card,) = clip_cards(clip, [row(text, review="edit"), dropped])
    page = render_review([card], "run")
    assert page.count("<script>") == 1
    assert "&lt;/textarea&gt;&lt;script&gt;alert(1)" in page
    assert 'onfocus="x' not in page
    assert "Review of 1 objects" in page
    assert "review-2.html" not in page
    assert page.count("data:image/jpeg;base64,") == len(card.pictures) == 2
    assert not re.search(r"""(?:src|href)=["']https?:""", page)


def test_no_object_is_left_out(tmp_path, monkeypatch):
    """Guards against a page that ends at its limit, a link that leads nowhere and parts that share a file's name."""
    monkeypatch.setattr(review, "MOST", 2)
    pages = ReviewPages(tmp_path, "run")
    for number in range(5):
        pages.add([Card(row(f"text {number}"), [], (1, 1))])
    pages.finish()
    found = {path.name: path.read_text() for path in sorted(tmp_path.iterdir())}
    assert list(found) == ["review-2.html", "review-3.html", "review.html"]
    parts = [found["review.html"], found["review-2.html"], found["review-3.html"]]
    texts = [re.findall(r">(text \d)<", page) for page in parts]
    assert texts == [["text 0", "text 1"], ["text 2", "text 3"], ["text 4"]]
    links = [re.findall(r'href="([^"]*)"', page) for page in parts]
    assert links == [["review-2.html"], ["review.html", "review-3.html"], ["review-2.html"]]
    assert "part 2: objects 3 to 4" in parts[1]
    assert [re.search(r'data-file="([^"]*)"', page)[1] for page in parts] == [
        f"decisions{end}.json" for end in ("", "-2", "-3")
    ]
    monkeypatch.setattr(review, "MOST", 500)
    ReviewPages(tmp_path, "run").finish()
    assert "Review of 0 objects" in (tmp_path / "review.html").read_text()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_what_is_clicked_is_what_is_read(tmp_path):
    """Accepted, edited (by changing the text), rejected; the fourth, untouched, is not decided."""
    page = render_review([], "run")
    script = re.search(r"<script>\n(.*?)</script>", page, re.DOTALL)[1].replace('"use strict";', "")
    browser = BROWSER.replace("FORMAT", json.dumps(re.search(r'data-format="([^"]*)"', page)[1]))
    program = tmp_path / "page.mjs"
    program.write_text("{" + browser + script + CLICKS + "}")
    done = subprocess.run(["node", str(program)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    (tmp_path / "decisions.json").write_text(json.dumps(found["file"]))
    assert read_decisions(tmp_path / "decisions.json") == {
        ("a", "1"): Decision("accept", "one"),
        ("a", "2"): Decision("edit", "another two"),
        ("b", "1"): Decision("reject", "three"),
    }
    assert (found["count"], found["kept"]) == ("3 of 4 decided", 3)
