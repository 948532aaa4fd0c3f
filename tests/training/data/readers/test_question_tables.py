"""Tables of questions as records: rows of one picture together, read when asked for; checked like any set."""

import pytest

from desa2va.cli import main
from desa2va.processing.inputs import load_image
from desa2va.training.data.readers import READERS
from tests.eval.benchmarks.question_layouts import choice, picture_bytes, picture_cell, write_tsv

pytestmark = pytest.mark.usefixtures("own_files")


@pytest.fixture
def path(tmp_path):
    """Questions 7 and 2 are about one picture, by its content, 5 by the index of 2; 3 is about another."""
    rows = [
        choice(7, picture_cell(10), "A", category="x", split="dev"),
        choice(3, picture_cell(30), "B", options=("red", "blue", "", "N/A"), l2_category="m"),
        choice(2, picture_cell(10), "B"),
        choice(5, "2", "A"),
    ]
    return write_tsv(tmp_path / "LMUData" / "MMBench_DEV_EN.tsv", rows)


def test_records(tmp_path, path):
    """An empty cell is no option, `N/A` is one; the picture is the file that was encoded."""
    records = READERS["mmbench"].read(tmp_path, "dev_en")
    first, second = records
    assert [dialogue.ids["index"] for dialogue in first.dialogues] == [7, 2, 5]
    assert (first.media, first.size, first.is_video) == ((picture_bytes(10),), (48, 64), False)
    assert load_image(second.media[0]).shape == (48, 64, 3)
    assert dict(first.dialogues[0].ids) == {
        "index": 7,
        "category": "x",
        "split": "dev",
        "answer": "A",
        "A": "red",
        "B": "blue",
    }
    assert dict(second.dialogues[0].ids) == {
        "index": 3,
        "l2-category": "m",
        "answer": "B",
        "A": "red",
        "B": "blue",
        "D": "N/A",
    }
    assert first.dialogues[0].turns[0][1] == "A"


def test_check_and_status(tmp_path, path, capsys):
    """A broken picture, of which the header is sound, is told as of any set."""
    words = ["data", "check", "mmbench", "--option", f"root={tmp_path}", "--option", "split=dev_en"]
    assert main(words) == 0
    assert "2 pictures" in capsys.readouterr().out
    write_tsv(path, [choice(7, picture_cell(10)[:4000], "A"), choice(8, picture_cell(20), "E")])
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "MMBench_DEV_EN.tsv, index 7, image:" in shown
    assert "MMBench_DEV_EN.tsv, index 8, answer: 'E' is none of the options" in shown
    assert main(["data", "status", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "mmbench: incomplete" in lines
    assert "mmbench_v11: absent" in lines
    assert "seed_bench: absent" in lines
