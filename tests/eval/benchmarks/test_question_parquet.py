"""MMMU, MMStar and ScienceQA in their authors' own Parquet files, columns and types as their pages have them."""

import datasets
import pytest
from datasets import Features, Image, Sequence, Value

from desa2va.eval.metrics.mmmu import judged
from desa2va.training.data.readers import READERS
from desa2va.training.data.readers.question_parquet import DISCIPLINES, listed_options
from tests.eval.benchmarks.layouts import Oracle
from tests.eval.benchmarks.question_layouts import choice, picture_bytes, picture_cell, says, write_tsv
from tests.eval.benchmarks.test_multiple_choice import ASKED

pytestmark = pytest.mark.usefixtures("own_files")

TEXT = Value("string")
MMMU_IMAGES = {f"image_{number}": Image() for number in range(1, 8)}
MMMU = Features(
    dict.fromkeys(("id", "question", "options", "explanation"), TEXT)
    | MMMU_IMAGES
    | dict.fromkeys(("img_type", "answer", "topic_difficulty", "question_type", "subfield"), TEXT)
)
MMSTAR = Features(
    {
        "index": Value("int64"),
        "question": TEXT,
        "image": Image(),
        **dict.fromkeys(("answer", "category", "l2_category"), TEXT),
        "meta_info": dict.fromkeys(("source", "split", "image_path"), TEXT),
    }
)
SCIENCEQA = Features(
    {"image": Image(), "question": TEXT, "choices": Sequence(TEXT), "answer": Value("int8")}
    | dict.fromkeys(("hint", "task", "grade", "subject", "topic", "category", "skill", "lecture", "solution"), TEXT)
)


def write_parquet(path, rows, features, rows_in_a_group=2):
    """Rows with what is left out as null; several groups of rows, as large files have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = [{name: row.get(name) for name in features} for row in rows]
    datasets.Dataset.from_list(whole, features=features).to_parquet(path, batch_size=rows_in_a_group)
    return path


def cell(shade, size=(48, 64)):
    """A picture as `datasets` writes it."""
    return {"bytes": picture_bytes(shade, size), "path": None}


def mmmu_row(name, answer, options="['red', 'dark blue']", kind="multiple-choice", **pictures):
    row = {"id": name, "question": "<image 1> What?", "options": options, "answer": answer, "question_type": kind}
    return {**row, "image_1": cell(10), **pictures}


def write_mmmu(home, pattern="{subject}/{split}-00000-of-00001.parquet"):
    """Two subjects, one with an open question, and the split that is not asked about."""
    art = [mmmu_row("validation_Art_1", "B"), mmmu_row("validation_Art_2", "A", image_2=cell(200, (20, 90)))]
    math = [mmmu_row("validation_Math_1", "['3.5', '7/2']", "[]", "open"), mmmu_row("validation_Math_2", "A")]
    if "{subject}" not in pattern:
        write_parquet(home / pattern.format(split="validation"), art + math, MMMU)
    else:
        for subject, rows in (("Art", art), ("Math", math)):
            write_parquet(home / pattern.format(subject=subject, split="validation"), rows, MMMU)
    one = {"subject": "Math", "split": "dev"}
    write_parquet(home / pattern.format(**one), [mmmu_row("dev_Math_1", "A")], MMMU)


@pytest.mark.parametrize(
    "pattern", ["{subject}/{split}-00000-of-00001.parquet", "data/{split}-00000-of-00001.parquet"]
)
def test_mmmu(tmp_path, evaluate, pattern):
    """As `test_mmmu.py` in VLMEvalKit's table: "A or B" is B, "who knows" is drawn by the number of its row."""
    write_mmmu(tmp_path / "MMMU", pattern)
    oracle = Oracle(says(q0="A or B", q1="(A)", q2="It is 3.50", q3="who knows"))
    report = evaluate("mmmu-validation", tmp_path, oracle)
    drawn = judged(3, "who knows", {"A": "red", "B": "dark blue"}, "A")[0]
    official, other = report["figures"]["official"], report["figures"]["vlmevalkit"]
    assert (report["n"], official["accuracy"], other["accuracy"]) == (4, (3 + drawn) / 4, 1 / 4)
    assert official["groups"]["category"]["Art"] == {"n": 2, "accuracy": 1}
    assert official["groups"]["l2-category"]["Science"]["n"] == 2
    asked = {sample["id"]: sample["expression"] for sample in report["samples"]}
    assert asked["1"] == f"<image 1> What?\nA. red\nB. dark blue\n{ASKED}"
    assert asked["2"] == "<image 1> What?\nAnswer the question directly."
    second = next(record for record in READERS["mmmu"].read(tmp_path, "validation") if record.is_video)
    assert (second.num_frames, second.size) == (2, (48, 90))
    assert evaluate("mmmu-dev", tmp_path, says(q0="A"), out="dev")["figures"]["official"]["accuracy"] == 1


def test_every_subject_of_mmmu_has_its_discipline():
    assert len(DISCIPLINES) == 6
    assert len({subject for subjects in DISCIPLINES.values() for subject in subjects.split()}) == 30


@pytest.mark.parametrize(
    ("question", "head", "options"),
    [
        (
            "What?\nOptions: A: red, B: dark, blue, C: a B: b, D: none",
            "What?",
            ["red", "dark, blue", "a B: b", "none"],
        ),
        ("Hint: x\nQuestion: y\nChoices:\n(A) 97\n(B) 102\n(C) 107", "Hint: x\nQuestion: y", ["97", "102", "107"]),
        ("Options: A or B?\nOptions: A: x, B: y", "Options: A or B?", ["x", "y"]),
    ],
)
def test_options_within_a_question_of_mmstar(question, head, options):
    assert listed_options(question) == (head, dict(zip("ABCD", options, strict=False)))


def test_options_that_are_not_listed_are_known_by_their_letters():
    """Leaving the question out, or refusing all others for it, would be another benchmark."""
    assert listed_options("Which letter is it?") == ("Which letter is it?", {letter: letter for letter in "ABCD"})


def mmstar_row(index, answer, question="What colour?\nOptions: A: red, B: blue, C: green, D: grey", shade=10):
    row = {"index": index, "question": question, "image": cell(shade), "answer": answer}
    return {**row, "category": "math", "l2_category": "geometry", "meta_info": {"source": "MMBench"}}


def test_mmstar(tmp_path, evaluate):
    """Three of four right; what is asked and scored is what VLMEvalKit's table gives."""
    rows = [mmstar_row(0, "B"), mmstar_row(1, "A"), mmstar_row(2, "C", shade=20), mmstar_row(3, "D", shade=30)]
    write_parquet(tmp_path / "MMStar" / "mmstar.parquet", rows, MMSTAR)
    oracle = Oracle(says(q0="(B).", q1="It is RED", q2="green", q3="A"))
    report = evaluate("mmstar-val", tmp_path, oracle)
    assert oracle.asked[0] == ["0", "1"]  # one picture, one encoding
    assert report["figures"]["accuracy"] == 3 / 4
    assert report["figures"]["groups"]["l2-category"]["geometry"] == {"n": 4, "accuracy": 3 / 4}
    table = [
        choice(row["index"], picture_cell(shade), row["answer"], "What colour?", ("red", "blue", "green", "grey"))
        | {"category": "math", "l2_category": "geometry"}
        for row, shade in zip(rows, (10, 10, 20, 30), strict=True)
    ]
    write_tsv(tmp_path / "tables" / "LMUData" / "MMStar.tsv", table)
    same = evaluate("mmstar-val", tmp_path / "tables", oracle.known, out="table")
    assert same["samples"] == report["samples"]


@pytest.mark.parametrize("place", ["data/{}-00000-of-00001-f0e719df791966ff.parquet", "ScienceQA-IMG/{}-0.parquet"])
def test_scienceqa(tmp_path, evaluate, place):
    """A question without a picture is left out, as in the published counts; one of two right; the hint comes first."""
    rows = [
        {"question": "Which?", "choices": ["a", "b"], "answer": 0, "hint": "", "subject": "x", "topic": "y"},
        {"question": "Where?", "choices": ["left", "right", "up"], "answer": 2, "hint": "Look.", "image": cell(10)},
        {"question": "When?", "choices": ["now", "then"], "answer": 1, "hint": "", "image": cell(20)},
    ]
    rows = [{**row, "subject": "natural science", "topic": "physics"} for row in rows]
    write_parquet(tmp_path / "ScienceQA" / place.format("test"), rows, SCIENCEQA)
    write_parquet(tmp_path / "ScienceQA" / place.format("validation"), rows[1:2], SCIENCEQA)
    report = evaluate("scienceqa-test", tmp_path, says(q1="C. up", q2="now"))
    assert [sample["id"] for sample in report["samples"]] == ["1", "2"]
    assert report["figures"]["accuracy"] == 1 / 2
    assert report["figures"]["groups"]["category"] == {"physics": {"n": 2, "accuracy": 1 / 2}}
    assert report["samples"][0]["expression"] == f"Look.\nWhere?\nA. left\nB. right\nC. up\n{ASKED}"
    assert evaluate("scienceqa-val", tmp_path, says(q0="C"), out="val")["figures"]["accuracy"] == 1


def test_what_is_wrong_is_named(tmp_path, evaluate):
    def told(name="scienceqa-test"):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            evaluate(name, tmp_path, {})
        return str(error.value)

    assert "ScienceQA_TEST.tsv, and in" in told()
    assert "no ScienceQA/data/test-*.parquet or ScienceQA/ScienceQA-IMG" in told()
    row = {"question": "Which?", "choices": ["a", "b"], "hint": "", "image": cell(10)}
    path = write_parquet(tmp_path / "ScienceQA" / "data" / "test-0.parquet", [{**row, "answer": 2}], SCIENCEQA)
    assert "ScienceQA, row 0, answer: 2 is none of 2 choices" in told()
    broken = {**row, "answer": 0, "image": {"bytes": b"no picture" * 9, "path": None}}
    write_parquet(path, [broken], SCIENCEQA)
    assert "index 0, image:" in told()
    short = Features({name: kind for name, kind in SCIENCEQA.items() if name != "choices"})
    write_parquet(path, [{**row, "answer": 0}], short)
    assert "lacks the columns choices; it has image, question" in told()
    path.write_bytes(b"PAR1")
    assert "is no Parquet file" in told()
    write_parquet(tmp_path / "MMMU" / "Art" / "validation-0.parquet", [mmmu_row("validation_Art_1", "A", "red")], MMMU)
    assert "row 0, options: 'red' is no list" in told("mmmu-validation")


def test_status_finds_either_form(tmp_path):
    """`desa2va data status` said that a set was missing which every benchmark could read."""
    write_mmmu(tmp_path / "MMMU")
    assert READERS["mmmu"].present(tmp_path).complete
    assert not READERS["mmstar"].present(tmp_path).complete
