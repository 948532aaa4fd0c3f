"""MMMU in its own layout, with figures worked out by hand; several pictures of one question."""

import json
import random

import numpy as np
import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks.showing import manner, opened_visual
from tests.eval.benchmarks.layouts import Oracle
from tests.eval.benchmarks.question_layouts import choice, picture_cell, says, write_tsv
from tests.eval.benchmarks.test_multiple_choice import ASKED

pytestmark = pytest.mark.usefixtures("own_files")

OPTIONS = ("red", "dark blue")


def write_mmmu(root):
    """Four questions of the validation, the second about two pictures, the third open; one of dev."""
    two = str([picture_cell(20), picture_cell(200, (20, 90))])
    rows = [
        choice(1, picture_cell(10), "B", "<image 1> What?", OPTIONS, category="Art", split="validation"),
        choice(2, two, "A", "<image 1> or <image 2>?", OPTIONS, category="Art", split="validation"),
        choice(3, picture_cell(30), "['3.5', '7/2']", "How much?", (), category="Math", split="validation"),
        choice(4, picture_cell(40), "A", "What?", OPTIONS, category="Math", split="validation"),
        choice(5, "1", "A", "What?", OPTIONS, category="Math", split="dev"),
    ]
    return write_tsv(root / "LMUData" / "MMMU_DEV_VAL.tsv", rows)


def test_mmmu(tmp_path, evaluate):
    """Official: "A or B" is B, the open answer holds 3.5, nothing is drawn for a sample that failed, "who knows" is
    drawn, by the question's number, as A, which is right. VLMEvalKit: only "(A)" is right; the open answer is not the
    list that the table writes.
    """
    write_mmmu(tmp_path)
    known = says(q1="A or B", q2="(A)", q3="It is 3.50", q4="who knows")
    report = evaluate("mmmu-validation", tmp_path, known)
    assert random.Random("MMMU 4").choice("AB") == "A"
    official, other = report["figures"]["official"], report["figures"]["vlmevalkit"]
    assert (report["n"], official["accuracy"], other["accuracy"]) == (4, 1, 1 / 4)
    assert report["figures"]["drawn"] == 1
    assert official["groups"]["category"]["Art"] == {"n": 2, "accuracy": 1}
    asked = {sample["id"]: sample["expression"] for sample in report["samples"]}
    assert asked["2"] == f"<image 1> or <image 2>?\nA. red\nB. dark blue\n{ASKED}"
    assert asked["3"] == "How much?\nAnswer the question directly."
    failed = evaluate("mmmu-validation", tmp_path, {**known, "4": RuntimeError("no")}, out="failed")
    assert failed["figures"]["official"]["accuracy"] == 3 / 4
    assert failed["figures"]["drawn"] == 0
    assert evaluate("mmmu-dev", tmp_path, says(q5="A"), out="dev")["figures"]["official"]["accuracy"] == 1


def test_all_pictures_of_a_question_are_shown(tmp_path, evaluate):
    """Guards against the number of key frames of a model, and pictures of different sizes, each whole on white."""
    write_mmmu(tmp_path)
    seen = {}

    class Looker(Oracle):
        def __call__(self, questions):
            if questions[0].record.is_video:
                (source,), arguments = opened_visual(questions)["videos"], manner(questions)
                seen["frames"], seen["arguments"] = source.read([0, 1]), arguments
            return super().__call__(questions)

    evaluate("mmmu-validation", tmp_path, Looker({}))
    assert seen["arguments"] == {"task": "chat", "key_frames": [0, 1]}
    assert [frame.shape for frame in seen["frames"]] == [(48, 90, 3)] * 2
    assert (seen["frames"][0][:, 64:] == 255).all()
    assert (seen["frames"][1][20:] == 255).all()
    assert 20 <= seen["frames"][0][:, :64].mean() < 60 < 200 <= np.mean(seen["frames"][1][:20])


def test_the_shipped_model_on_several_pictures(tmp_path):
    write_mmmu(tmp_path)
    words = ["eval", "mmmu-validation", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["n"], report["failed"]) == (4, [])
    assert all(isinstance(sample["answer"], str) for sample in report["samples"])


def test_a_question_without_its_answer_is_named(tmp_path, evaluate):
    row = choice(3, picture_cell(30), "", "How much?", (), split="validation", category="x")
    write_tsv(tmp_path / "LMUData" / "MMMU_DEV_VAL.tsv", [row])
    with pytest.raises(ValueError, match="index 3, answer: an open question needs its answer"):
        evaluate("mmmu-validation", tmp_path, {})
