"""MMBench, SEED-Bench, AI2D, MMStar, ScienceQA and MME in their own layout, with figures worked out by hand."""

import csv
import json

import pytest

from desa2va.cli import main
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run
from desa2va.eval.benchmarks.submission import AnswerTable
from tests.eval.benchmarks.layouts import Oracle
from tests.eval.benchmarks.question_layouts import choice, picture_cell, says, write_tsv
from tests.eval.benchmarks.test_runner import Alone, stable

pytestmark = pytest.mark.usefixtures("own_files")

ASKED = "Answer with the option's letter from the given choices directly."


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ai2d-test", "AI2D_TEST.tsv"),
        ("ai2d-test_no_mask", "AI2D_TEST_NO_MASK.tsv"),
        ("mmstar-val", "MMStar.tsv"),
        ("scienceqa-val", "ScienceQA_VAL.tsv"),
        ("scienceqa-test", "ScienceQA_TEST.tsv"),
        ("seed_bench-image", "SEEDBench_IMG.tsv"),
    ],
)
def test_multiple_choice(tmp_path, evaluate, name, file):
    """Six questions. Right: a letter in brackets, and the text of an option. Wrong: two letters, another letter, no
    answer at all, and words that hold no option: 2/6; category x 2/4, y 0/2. The last three name no single option.
    """
    rows = [
        choice(1, picture_cell(10), "B", category="x"),
        choice(2, "1", "A", 'And\tthis "one"?\nIs it?', ("red", "blue", "None"), category="x"),
        choice(3, picture_cell(30), "A", category="x", hint="A text."),
        choice(4, picture_cell(40), "A", category="y"),
        choice(5, picture_cell(50), "A", category="y"),
        choice(6, picture_cell(60), "A", category="x"),
        choice(7, "", "A", category="x"),  # without a picture: no question of the published counts
    ]
    write_tsv(tmp_path / "data" / "LMUData" / file, rows)
    known = says(q1="(B).", q2="It is RED", q3="A or B", q4="B", q6="dunno")
    oracle = Oracle({**known, "5": RuntimeError("broken")})
    report = evaluate(name, tmp_path / "data", oracle, batch_size=3)
    assert oracle.asked[0] == ["1", "2"]  # one picture, one encoding
    chosen = {sample["id"]: (sample["chosen"], sample["right"]) for sample in report["samples"]}
    assert chosen == {
        "1": ("B", True),
        "2": ("A", True),
        "3": (None, False),
        "4": ("B", False),
        "5": (None, False),
        "6": (None, False),
    }
    figures = report["figures"]
    assert (figures["n"], figures["accuracy"], figures["unresolved"]) == (6, pytest.approx(2 / 6), 3)
    assert figures["groups"]["category"]["x"] == {"n": 4, "accuracy": 0.5}
    assert figures["groups"]["category"]["y"] == {"n": 2, "accuracy": 0}
    assert report["failed"] == [{"id": "5", "reason": "RuntimeError: broken"}]
    prompts = {sample["id"]: sample["expression"] for sample in report["samples"]}
    assert prompts["2"] == f'And\tthis "one"?\nIs it?\nA. red\nB. blue\nC. None\n{ASKED}'
    assert prompts["3"] == f"A text.\nWhat colour?\nA. red\nB. blue\n{ASKED}"


def mmbench(file, question="What colour?"):
    """Three questions; 1 and 2 have two rotations each and share nothing, 3 has one; all rotations name their base."""
    rows = [
        choice(1, picture_cell(10), "A", question, split="dev", **{"l2-category": "m", "category": "x"}),
        choice(2, picture_cell(20), "A", question, split="dev", **{"l2-category": "m", "category": "y"}),
        choice(3, picture_cell(30), "B", question, split="dev", **{"l2-category": "n", "category": "z"}),
        choice(1_000_001, "1", "B", question, ("blue", "red"), split="dev", **{"l2-category": "m", "category": "x"}),
        choice(1_000_002, "2", "B", question, ("blue", "red"), split="dev", **{"l2-category": "m", "category": "y"}),
    ]
    return write_tsv(file, rows)


KNOWN = says(q1="A", q1000001="B", q2="A", q1000002="A", q3="B")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mmbench-dev_en", "MMBench_DEV_EN.tsv"),
        ("mmbench-dev_cn", "MMBench_DEV_CN.tsv"),
        ("mmbench_v11-dev_en", "MMBench_DEV_EN_V11.tsv"),
        ("mmbench_v11-dev_cn", "MMBench_DEV_CN_V11.tsv"),
    ],
)
def test_mmbench_is_circular(tmp_path, evaluate, name, file):
    """Question 2 is right once and wrong when rotated, always saying A: circular 2/3, vanilla 3/3; rotations go with
    their question. By ability m 1/2, n 1/1.
    """
    mmbench(tmp_path / "data" / "LMUData" / file, "什么颜色?" if name.endswith("cn") else "What colour?")
    oracle = Oracle(KNOWN)
    report = evaluate(name, tmp_path / "data", oracle)
    assert oracle.asked == [["1", "1000001"], ["2", "1000002"], ["3"]]
    circular, vanilla = report["figures"]["circular"], report["figures"]["vanilla"]
    assert (circular["n"], circular["accuracy"]) == (3, pytest.approx(2 / 3))
    assert (vanilla["n"], vanilla["accuracy"]) == (3, 1)
    assert circular["groups"]["l2-category"] == {"m": {"n": 2, "accuracy": 0.5}, "n": {"n": 1, "accuracy": 1}}
    asked = "请直接回答选项字母。" if name.endswith("cn") else ASKED
    assert all(sample["expression"].endswith(f"\nB. blue\n{asked}") for sample in report["samples"][::2])


def test_a_limited_run_does_not_take_a_question_for_right_that_was_asked_once(tmp_path, evaluate):
    """Guards the circular figure: without its rotations a question is easier. Of three samples question 2 is half."""
    mmbench(tmp_path / "data" / "LMUData" / "MMBench_DEV_EN.tsv")
    report = evaluate("mmbench-dev_en", tmp_path / "data", KNOWN, limit=3)
    assert [sample["id"] for sample in report["samples"]] == ["1", "1000001", "2"]
    assert (report["figures"]["circular"]["n"], report["figures"]["vanilla"]["n"]) == (1, 2)
    alone = evaluate("mmbench-dev_en", tmp_path / "data", KNOWN, limit=1, out="one")
    assert alone["figures"]["circular"] is None


def test_two_processes_give_the_report_of_one(tmp_path, evaluate):
    mmbench(tmp_path / "data" / "LMUData" / "MMBench_DEV_EN.tsv")
    expected = stable(evaluate("mmbench-dev_en", tmp_path / "data", KNOWN, out="one", batch_size=2))
    with pytest.raises(ValueError, match="2 of 3 units have no answer, the first of sample 1"):
        evaluate("mmbench-dev_en", tmp_path / "data", KNOWN, out="two", batch_size=2, processes=Alone(1, 2))
    found = evaluate("mmbench-dev_en", tmp_path / "data", KNOWN, out="two", batch_size=2, processes=Alone(0, 2))
    assert stable(found) == expected


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mmbench-test_en", "MMBench_TEST_EN.tsv"),
        ("mmbench-test_cn", "MMBench_TEST_CN.tsv"),
        ("mmbench_v11-test_en", "MMBench_TEST_EN_V11.tsv"),
        ("mmbench_v11-test_cn", "MMBench_TEST_CN_V11.tsv"),
    ],
)
def test_mmbench_test_is_a_table_for_its_server(tmp_path, evaluate, name, file):
    """No answers here: every rotation with what was said, nothing of a failed one, in the columns that the server
    reads; words with tabs and quotes come back as they were.
    """
    path = mmbench(tmp_path / "data" / "LMUData" / file)
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    place = rows[0].index("answer")
    path.write_text("".join("\t".join(row[:place] + row[place + 1 :]) + "\n" for row in rows))
    said = 'A\t"red"\nor so'
    known = {**says(q1=said, q1000001="B", q1000002="A", q3="B"), "2": RuntimeError("no")}
    report = evaluate(name, tmp_path / "data", known)
    assert report["figures"] == {}
    assert report["submission"] == {"file": "submission.tsv", "answers": 5}
    table = tmp_path / "out" / "submission.tsv"
    with table.open(newline="") as stream:
        found = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["index"] for row in found] == ["1", "1000001", "2", "1000002", "3"]
    assert [row["prediction"] for row in found] == [said, "B", "", "A", "B"]
    assert found[1] == {
        **{"index": "1000001", "question": "What colour?", "A": "blue", "B": "red", "C": "", "D": ""},
        **{"category": "x", "l2-category": "m", "split": "dev", "prediction": "B"},
    }
    assert report["samples"][0]["expression"] == f"What colour?\nA. red\nB. blue\n{ASKED}"
    assert "submission" not in evaluate(name, tmp_path / "data", known, out="part", limit=2)
    questions = [
        question
        for _, group in Run(open_benchmark(name), tmp_path / "data", tmp_path).plan().all_questions()
        for question in group
    ]
    with pytest.raises(ValueError, match="has 5 rows, not one for each of 4 questions"):
        AnswerTable().check(table, questions[:4])
    table.write_text("index\tprediction\n")
    with pytest.raises(ValueError, match="has the columns index, prediction; they are index, question, A"):
        AnswerTable().check(table, questions)


def mme_row(index, image, answer, task="count", path="a.jpg"):
    question = "Is there one? Please answer yes or no."
    row = {"index": index, "image": image, "category": task, "question": question, "answer": answer}
    return {**row, "image_path": f"images/{task}/{path}"}


def test_mme(tmp_path, evaluate):
    """Count: picture a both right, b one of two: 75 + 50. Scene, on the same picture as count's a: one "The answer is
    no", which the official rule does not see within four characters and VLMEvalKit does: 50 + 0 and 100 + 100. OCR:
    "no, yes" is no to the official rule and neither to the other: 100 + 100 and 50 + 0.
    """
    shared = picture_cell(10)
    rows = [
        mme_row(1, shared, "Yes"),
        mme_row(2, shared, "No"),
        mme_row(3, picture_cell(20), "Yes", path="b.jpg"),
        mme_row(4, "3", "No", path="b.jpg"),
        mme_row(5, shared, "Yes", "scene"),
        mme_row(6, shared, "No", "scene"),
        mme_row(7, picture_cell(30), "Yes", "OCR"),
        mme_row(8, "7", "No", "OCR"),
    ]
    write_tsv(tmp_path / "data" / "LMUData" / "MME.tsv", rows)
    known = says(q1="Yes.", q2="No", q3="yes", q4="Yes", q5="Yes", q6="The answer is no", q7="yes", q8="no, yes")
    oracle = Oracle(known)
    report = evaluate("mme-test", tmp_path / "data", oracle)
    assert oracle.asked == [["1", "2", "5", "6"], ["3", "4"], ["7", "8"]]
    official, other = report["figures"]["official"], report["figures"]["vlmevalkit"]
    scores = {task: (official["tasks"][task]["score"], other["tasks"][task]["score"]) for task in official["tasks"]}
    assert scores == {"count": (125, 125), "scene": (50, 200), "OCR": (200, 50)}
    assert (official["perception"], other["perception"], official["cognition"]) == (375, 375, 0)
    assert (official["unresolved"], other["unresolved"]) == (1, 1)
    assert len(official["missing"]) == 11
    last = report["samples"][-1]
    assert (last["right_official"], last["right_vlmevalkit"], last["answer"]) == (True, False, "no, yes")
    assert last["expression"].endswith("yes or no. Answer the question using a single word or phrase.")
    limited = evaluate("mme-test", tmp_path / "data", known, limit=3, out="three")
    assert limited["figures"]["official"]["n"] == 2  # the third question's fellow was not asked


def test_what_is_wrong_is_named(tmp_path, evaluate):
    """Before anything is asked; a benchmark on part of its data is another benchmark."""
    path = tmp_path / "data" / "LMUData" / "MMStar.tsv"

    def told(*rows, name="mmstar-val"):
        if rows:
            write_tsv(path, rows)
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            evaluate(name, tmp_path / "data", {})
        return str(error.value)

    good = choice(1, picture_cell(10), "A")
    assert f"there is no file {path}" in told()
    assert "row 1: the index '1' occurs twice" in told(good, good)
    assert "row 1: the index 'b' is no whole number" in told(good, choice("b", picture_cell(10), "A"))
    assert "index 2: no row '9' holds its picture" in told(good, choice(2, "9", "A"))
    assert "MMStar.tsv, index 2, answer: 'C' is none of the options (A, B)" in told(good, choice(2, "1", "C"))
    assert "index 2, answer: '' is none" in told(good, choice(2, "1", ""))
    assert "index 2, question: nothing is asked" in told(good, choice(2, "1", "A", ""))
    assert "index 1, image: is neither base64" in told(choice(1, "?" * 100, "A"))
    assert "index 1, image: a picture of 75 bytes" in told(choice(1, "A" * 100, "A"))
    assert "lacks the columns answer; it has index, image" in told(
        {"index": 1, "image": good["image"], "question": "?"}
    )
    assert "asks nothing about a picture" in told(choice(1, "", "A"))
    path.write_text("index\timage\tquestion\tanswer\n1\tx\n")
    assert "row 0: 2 cells for 4 columns" in told()
    path.write_bytes(b"index\timage\tquestion\tanswer\n1\t2\t\xff\tA\n")
    assert "row 0: not UTF-8" in told()


def test_what_scores_could_not_group_is_told_at_reading(tmp_path, evaluate):
    """Guards against hours of answers to a set that can not be scored: a task that MME does not have, a picture that
    is not asked about twice, a rotation without its question. File and row are named, nothing is asked.
    """
    shared = picture_cell(10)
    pair = [mme_row(1, shared, "Yes"), mme_row(2, shared, "No")]
    third = [mme_row(3, picture_cell(20), "Yes", path="b.jpg"), mme_row(4, "3", "No", path="b.jpg")]

    def told(name, file, rows):
        write_tsv(tmp_path / "data" / "LMUData" / file, rows)
        oracle = Oracle({})
        with pytest.raises(ValueError, match=file) as error:
            evaluate(name, tmp_path / "data", oracle)
        assert not oracle.asked
        return str(error.value)

    for task in ("", "counting"):
        wrong = told("mme-test", "MME.tsv", [*pair, *({**row, "category": task} for row in third)])
        assert "MME.tsv, index 3, category: is a task of MME (existence, count, " in wrong
        assert wrong.endswith(f"got '{task}'")
    wrong = told("mme-test", "MME.tsv", [*pair, third[0]])
    assert "index 3, image_path: 'images/count/b.jpg' of count has 1 questions, index 3; MME asks 2" in wrong
    wrong = told("mme-test", "MME.tsv", [*pair, mme_row(5, "1", "No")])
    assert "index 1, image_path: 'images/count/a.jpg' of count has 3 questions, index 1, 2, 5" in wrong
    rows = [choice(1, shared, "A"), choice(1_000_001, "1", "B"), choice(2_000_002, "1", "B")]
    wrong = told("mmbench-dev_en", "MMBench_DEV_EN.tsv", rows)
    assert "index 2000002, index: is a rotation of question 2, which is not asked about this picture" in wrong


def test_a_missing_picture_keeps_what_is_finished(tmp_path, evaluate):
    """It is named, nothing of the run is touched, and with the picture mended the run is whole."""
    path = tmp_path / "data" / "LMUData" / "MMStar.tsv"
    write_tsv(path, [choice(1, picture_cell(10), "A"), choice(2, picture_cell(20), "A")])
    first = evaluate("mmstar-val", tmp_path / "data", says(q1="A", q2="A"))
    kept = (tmp_path / "out" / "answers-00000.jsonl").read_bytes()
    write_tsv(path, [choice(1, picture_cell(10), "A"), choice(2, "A" * 80, "A")])
    with pytest.raises(ValueError, match="index 2, image"):
        evaluate("mmstar-val", tmp_path / "data", {})
    assert (tmp_path / "out" / "answers-00000.jsonl").read_bytes() == kept
    write_tsv(path, [choice(1, picture_cell(10), "A"), choice(2, picture_cell(20), "A")])
    assert stable(evaluate("mmstar-val", tmp_path / "data", {})) == stable(first)


def test_the_shipped_model_answers_in_words(tmp_path, capsys):
    """By the command line: no masks, a whole report, the same twice; baselines of masks are refused."""
    mmbench(tmp_path / "LMUData" / "MMBench_DEV_EN.tsv")
    reports = []
    for out in (tmp_path / "one", tmp_path / "two"):
        words = ["eval", "mmbench-dev_en", "--data", str(tmp_path), "--out", str(out), "--device", "cpu"]
        assert main(words) == 0
        reports.append(stable(json.loads((out / "report.json").read_text())))
    assert reports[0] == reports[1]
    assert reports[0]["n"] == 5
    assert "circular        accuracy 0." in capsys.readouterr().out
    assert "[SEG]" not in "".join(sample["answer"] for sample in reports[0]["samples"])
    assert main([*words, "--baseline", "whole"]) == 2
    assert "mmbench-dev_en scores words alone" in capsys.readouterr().err


def test_a_prompt_is_not_taken(tmp_path):
    mmbench(tmp_path / "LMUData" / "MMBench_DEV_EN.tsv")
    with pytest.raises(ValueError, match="asks in its own words"):
        Run(open_benchmark("mmbench-dev_en"), tmp_path, tmp_path / "out", prompt="{}!").plan()
