"""The commands on data: every planted fault is named, good data is let be, the page stands alone."""

import re

import datasets
import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.training.data.contact_sheet import SHOWN, ContactSheet
from desa2va.training.data.readers import READERS, Reader, look
from desa2va.training.data.records import Record, expression_dialogue

SIZE = (60, 80)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def ball(t):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - 30 - 10 * np.sin(t / 3)) ** 2 + (columns - 10 - 3 * t) ** 2 < 64


@pytest.fixture
def folder(tmp_path):
    """A picture with two objects; a video of a ball; their masks and table."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(60, 120, (10, 14)), np.ones((6, 6)))[: SIZE[0], : SIZE[1]]
    for name in ("images", "videos/ball", "masks/ball"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for t in range(20):
        picture = np.where(ball(t), 220, ground) + rng.normal(0, 2, SIZE)
        pixels = picture.clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").save(tmp_path / "set" / "videos" / "ball" / f"{t:05d}.jpg")
        Image.fromarray(ball(t).astype(np.uint8)).save(tmp_path / "set" / "masks" / "ball" / f"{t:05d}.png")
    Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(tmp_path / "set" / "images" / "a.jpg")
    Image.fromarray((ball(0) + 2 * ball(9)).astype(np.uint8)).save(tmp_path / "set" / "masks" / "a.png")
    return tmp_path / "set"


def table(folder, *rows):
    lines = ["image,video,object,expression", "a.jpg,,1,the left one", "a.jpg,,,the dog", ",ball,1,the ball", *rows]
    (folder / "expressions.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_good_data(folder, capsys):
    """Guards against doubts about good data: no problem, no note, exit code 0."""
    assert main(["data", "check", table(folder)]) == 0
    out = capsys.readouterr().out
    assert "1 pictures, 1 videos, 21 frames, 3 expressions, 1 without target, 0 chat turns; no problems" in out
    assert "note" not in out


def test_faults_are_named_with_file_and_row(folder, capsys):
    """A planted offset, a missing file, a wrong size, an object that is not there and a text that cuts the [SEG]."""
    masks = folder / "masks" / "ball"
    for t in range(19):
        (masks / f"{t:05d}.png").write_bytes((masks / f"{t + 1:05d}.png").read_bytes())
    Image.new("RGB", (8, 8)).save(folder / "images" / "b.jpg")
    Image.new("P", (9, 9), 1).save(folder / "masks" / "b.png")
    rows = ["c.jpg,,1,it", "b.jpg,,1,it", "a.jpg,,5,it", f"a.jpg,,2,{'word ' * 3000}"]
    assert main(["data", "check", table(folder, *rows)]) == 1
    out = capsys.readouterr().out
    for line in (
        r"expressions.csv, line 4 \(ball\), masks: masks are 1 frame too early",
        r"expressions.csv, line 5 \(c.jpg\), image: no file .*c.jpg",
        r"expressions.csv, line 6 \(b.jpg\), mask: .*b.png is 9 x 9 but its picture is 8 x 8",
        r"expressions.csv, line 7 \(a.jpg\), object: no object 5",
        r"expressions.csv, line 2 \(a.jpg\), text 2: .*max_length",
    ):
        assert re.search(line, out), line
    assert "5 problems" in out


def test_a_poisoned_pickle_is_a_problem(tmp_path, capsys):
    """It is what was examined that is wrong, not the request: exit code 1, and nothing of it runs."""
    home = tmp_path / "ref_seg" / "refcoco"
    home.mkdir(parents=True)
    (home / "refs(unc).p").write_bytes(b"cos\nmkdir\n(V" + str(tmp_path / "owned").encode() + b"\ntR.")
    assert main(["data", "check", "refcoco", "--option", f"root={tmp_path}"]) == 1
    out = capsys.readouterr().out
    assert "refs(unc).p, content: an annotation file holds lists" in out
    assert "a call of os.mkdir; nothing of it was run" in out
    assert "1 problem" in out
    assert not (tmp_path / "owned").exists()


def test_notes(folder, capsys):
    """Guards what is allowed and seldom meant: it is told, and is no problem."""
    table(folder, "a.jpg,,2,The left one.", ",ball,1,the ball", f'a.jpg,,2,"{"very " * 60}long"')
    assert main(["data", "check", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "note: one expression for different masks in 1 records, the first: expressions.csv, line 2" in out
    assert "note: an expression twice for one mask in 1 records, the first: expressions.csv, line 4" in out
    assert "note: an expression of more than 60 words in 1 records" in out


def test_the_page_stands_alone(folder, tmp_path):
    """Guards against a page that loads anything, and against markup of a hostile expression."""
    page = tmp_path / "sheet.html"
    assert main(["data", "check", table(folder, "a.jpg,,2,<script>alert(1)</script>"), "--sheet", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count('<img src="data:image/jpeg;base64,') == 3 + 3
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"https?://|<link|src=\"(?!data:)", text)


def test_a_page_holds_an_even_share(tmp_path):
    """Guards against a page of a million records, or of the first ones alone."""
    sheet = ContactSheet()
    for number in range(500):
        sheet.add(Record(f"row {number}", (), False, (0, 0), 0, (expression_dialogue("it", None),), "set"))
    sheet.save(tmp_path / "a.html", "many")
    shown = [int(number) for number in re.findall(r"<h3>row (\d+)</h3>", (tmp_path / "a.html").read_text())]
    assert SHOWN / 2 <= len(shown) <= SHOWN
    assert len(set(np.diff(shown))) == 1
    assert shown[-1] > 450


def test_prepare_and_options(folder, tmp_path, capsys):
    """Guards the command, its options, and that what it wrote passes the check."""
    assert main(["data", "prepare", table(folder), "--out", str(tmp_path / "out"), "--shard-size", "1"]) == 0
    assert "2 records in 2 shards" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    assert "3 expressions, 1 without target" in capsys.readouterr().out
    assert main(["data", "check", str(folder), "--option", "colums=3"]) != 0
    assert "'colums' is unknown; did you mean 'columns'?" in capsys.readouterr().err


def test_status(tmp_path, capsys, monkeypatch):
    """Guards the list of sets: what is there, what is missing, where to get it; nothing is read."""

    def present(root):
        return look(root, ["toy/a.json", "toy/images|images"], "https://example.org/toy", licence="MIT")

    toy = Reader(lambda **_: iter(()), present, ("train",))
    monkeypatch.setattr("desa2va.training.data.readers.READERS", {"toy": toy})
    assert main(["data", "status", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "toy: absent; MIT",
        f"    missing below {tmp_path}: toy/a.json, toy/images or images",
        "    where: https://example.org/toy",
    ]
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.json").write_text("")
    (tmp_path / "images").mkdir()
    assert main(["data", "status", "--root", str(tmp_path)]) == 0
    assert "toy: incomplete; MIT" in capsys.readouterr().out
    (tmp_path / "images" / "a.jpg").write_text("")
    assert main(["data", "status", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "toy: complete; MIT\n"


def test_every_published_set_says_where_it_is(tmp_path):
    """Guards readers of published sets: absent, each names its page and what it lacks."""
    for name, reader in READERS.items():
        status = reader.present(tmp_path)
        assert status.missing, name
        assert "https://" in status.where, name
