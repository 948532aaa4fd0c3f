"""Accuracies of multiple choice, Video-MME and MME by hand."""

import numpy as np
import pytest

from desa2va.eval.metrics.choices import MME, MultipleChoice, VideoMME, YesNo
from desa2va.training.data.question_sets import MME_TASKS

OPTIONS = {"A": "red", "B": "blue", "C": "green", "D": "white"}


def test_groups_by_hand():
    """Three of four right; an answer that names nothing is wrong and counted as such."""
    scores = MultipleChoice()
    for index, (answer, category) in enumerate([("A", "x"), ("red", "x"), ("no idea", "y"), ("(A)", "y")]):
        scores.add(index, answer, OPTIONS, "A", {"category": category})
    figures = scores.compute()
    assert (figures["n"], figures["accuracy"], figures["unresolved"]) == (4, 0.75, 1)
    assert figures["groups"] == {"category": {"x": {"n": 2, "accuracy": 1}, "y": {"n": 2, "accuracy": 0.5}}}


def test_circular_needs_all_rotations():
    """Question 1 fails one of two rotations, question 2 none: 1/2; by rows it is 3/4. Groups are the first row's."""
    rows = [(1, "A", "A"), (2, "B", "B"), (1_000_001, "B", "D"), (1_000_002, "C", "C")]
    found = {}
    for circular in (True, False):
        parts = [MultipleChoice(circular) for _ in range(2)]
        for number, (index, answer, truth) in enumerate(rows):
            parts[number // 2].add(index, answer, OPTIONS, truth, {"category": f"c{index % 1_000_000}"})
        parts[1].merge(parts[0])  # rotations before their question, in another process
        found[circular] = parts[1].compute()
    assert (found[True]["accuracy"], found[True]["n"]) == (0.5, 2)
    assert (found[False]["accuracy"], found[False]["n"]) == (0.75, 4)
    assert found[True]["groups"]["category"]["c1"] == {"n": 1, "accuracy": 0}


def test_bad_multiple_choice():
    scores = MultipleChoice(circular=True)
    with pytest.raises(ValueError, match="'E' is not among A, B, C, D"):
        scores.add(1, "A", OPTIONS, "E")
    scores.add(1_000_001, "A", OPTIONS, "A")
    with pytest.raises(ValueError, match="question 1 was not added"):
        scores.compute()
    scores.add(1_000_001, "A", OPTIONS, "A")
    with pytest.raises(ValueError, match="more than once"):
        scores.compute()


def test_video_mme_divides_by_what_each_rule_counts():
    """A, nothing (but the text of the right option) and a wrong one: 1/2 of two answered, or 2/3 of all."""
    found = {}
    for rule in ("official", "vlmevalkit"):
        scores = VideoMME(rule)
        for answer, duration in (("A", "short"), ("it is red", "short"), ("B", "long"), ("", "medium")):
            groups = {"duration": duration, "domain": "Knowledge", "sub_category": "Law", "task_type": "OCR Problems"}
            scores.add(answer, OPTIONS, "A", groups)
        found[rule] = scores.compute()
    official, kit = found["official"], found["vlmevalkit"]
    assert (official["answered"], official["overall"]["accuracy"], official["short"]["accuracy"]) == (2, 0.5, 1)
    assert official["medium"] is None
    assert (kit["answered"], kit["overall"]["accuracy"], kit["medium"]["accuracy"]) == (3, 0.5, 0)
    assert kit["overall"]["groups"]["domain"] == {"Knowledge": {"n": 4, "accuracy": 0.5}}
    with pytest.raises(ValueError, match="its duration"):
        scores.add("A", OPTIONS, "A", {"domain": "Knowledge"})


def test_yes_no_by_hand():
    scores = YesNo()
    for answer, truth in (("Yes", True), ("No", True), ("maybe", False), ("no", False)):
        scores.add(answer, truth, {"category": "x"})
    figures = scores.compute()
    assert (figures["accuracy"], figures["unresolved"], figures["groups"]["category"]["x"]["n"]) == (0.5, 1, 4)


def test_mme_by_hand():
    """Counting: one picture with both right, one with one right: 75 + 50. Code: both wrong: 0."""
    scores = MME()
    for picture, answers in (("1.jpg", ("yes", "no")), ("2.jpg", ("yes", "yes"))):
        for answer, truth in zip(answers, (True, False), strict=True):
            scores.add(answer, truth, "count", picture)
    for truth in (True, False):
        scores.add("maybe", truth, "code_reasoning", "1.jpg")
    figures = scores.compute()
    assert figures["tasks"]["count"] == {"score": 125, "accuracy": 75, "accuracy_plus": 50}
    assert (figures["perception"], figures["cognition"], figures["unresolved"]) == (125, 0, 2)
    assert len(figures["missing"]) == 12
    with pytest.raises(ValueError, match="must be one of existence"):
        scores.add("yes", True, "counting", "3.jpg")
    scores.add("yes", True, "count", "3.jpg")
    with pytest.raises(ValueError, match=r"'3.jpg' of count has 1 questions"):
        scores.compute()


def test_mme_of_a_perfect_model():
    scores = MME("vlmevalkit")
    for task in MME_TASKS:
        for truth in (True, False):
            scores.add("Yes." if truth else "No, it is not", truth, task, "1.jpg")
    figures = scores.compute()
    assert (figures["perception"], figures["cognition"], figures["missing"]) == (2000, 800, [])


def test_mme_against_loops_over_pictures():
    """Random answers to every task: accuracy over questions plus over pictures; ten tasks are perception, four not."""
    rng = np.random.default_rng(3)
    scores, expected = MME(), {}
    for task in MME_TASKS:
        pictures = rng.random((6, 2)) < 0.6
        for number, pair in enumerate(pictures.tolist()):
            for right, truth in zip(pair, (True, False), strict=True):
                scores.add("Yes" if right is truth else "No", truth, task, f"{number}.jpg")
        both = sum(first and second for first, second in pictures.tolist())
        expected[task] = 100 * pictures.sum() / 12 + 100 * both / 6
    figures = scores.compute()
    assert {task: row["score"] for task, row in figures["tasks"].items()} == pytest.approx(expected)
    seen = ["existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"]
    known = ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"]
    assert figures["perception"] == pytest.approx(sum(expected[task] for task in seen))
    assert figures["cognition"] == pytest.approx(sum(expected[task] for task in known))


def test_video_mme_against_loops_over_groups():
    """Random answers in all groups: each is over its own questions; answers without a letter are in one rule alone."""
    rng = np.random.default_rng(4)
    names = {"duration": ("short", "medium", "long"), "domain": ("Law", "Art"), "sub_category": ("x", "y", "z")}
    rows = []
    for _ in range(80):
        groups = {name: str(rng.choice(values)) for name, values in names.items()}
        rows.append((str(rng.choice(["A", "B", "none"])), {**groups, "task_type": "OCR Problems"}))
    for rule in ("official", "vlmevalkit"):
        scores = VideoMME(rule)
        for answer, groups in rows:
            scores.add(answer, OPTIONS, "A", groups)
        counted = [row for row in rows if rule == "vlmevalkit" or row[0] != "none"]
        figures = scores.compute()
        for part in ("overall", *names["duration"]):
            own = [row for row in counted if part in ("overall", row[1]["duration"])]
            assert figures[part]["accuracy"] == pytest.approx(sum(answer == "A" for answer, _ in own) / len(own))
            for group in ("domain", "sub_category"):
                for name in names[group]:
                    inside = [answer == "A" for answer, groups in own if groups[group] == name]
                    found = figures[part]["groups"][group][name]
                    assert found == {"n": len(inside), "accuracy": pytest.approx(sum(inside) / len(inside))}
