"""The pipeline on known scenes: only true statements, and the planted conflicts are dropped."""

import json

from desa2va.annotation.refshapes import check_rows, planted
from desa2va.cli import main

OWN = {"color": "red", "center_x": 20.0, "center_y": 20.0, "motion": "right", "speed": 8.0, "first_frame": 0}
OWN["visible"] = [1.0] * 8


def row(said, verdict="yes"):
    steps = [{"step": "check", "text": verdict}, {"step": "scene", "frames": [2]}]
    return {"video": "v", "object": "1", "status": "complete", "long": said, "steps": steps}


def test_only_true_statements_and_no_conflict(tmp_path, capsys):
    """Guards against the wrong frame, the wrong object and a border that is taken for a colour."""
    assert main(["annotate", "refshapes", "--limit", "8", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "dataset" / "report.json").read_text())["refshapes"]
    assert found["planted"] >= 4
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert found["false"] == []
    assert found["true"] == found["statements"] == 3 * (found["checked"] - found["dropped"])
    assert "precision 1.0, recall 1.0" in capsys.readouterr().out


def test_false_statements_are_told():
    """A check that believes everything would look the same."""
    said = "The {} object is in the {} of the picture and covers 3 percent of it. In the course of the video it {}."
    truth = {("v", "1"): OWN}
    assert check_rows([row(said.format("red", "upper left", "moves to the right"))], truth, {})["false"] == []
    assert check_rows([row(said.format("blue", "lower left", "moves up"))], truth, {})["false"] == [
        "v, object 1: blue",
        "v, object 1: lower left",
        "v, object 1: moves up",
    ]
    assert check_rows([row(said.format("red", "upper left", "stays where it is"))], truth, {})["true"] == 2
    assert check_rows([row("A dog.")], truth, {})["statements"] == 0


def test_precision_and_recall():
    """Dropped rightly 1, wrongly 1; one planted conflict went through, one was never asked about: 1/2 and 1/2."""
    rows = []
    for number, dropped in (("1", True), ("2", True), ("3", False)):
        check = {"step": "check", "text": "", **({"dropped": "contradict"} if dropped else {})}
        rows.append({"video": "v", "object": number, "status": "dropped", "steps": [check]})
    found = check_rows(rows, {}, {("v", "1"): "2", ("v", "3"): "2", ("v", "4"): "2"})
    assert (found["planted"], found["dropped"], found["precision"], found["recall"]) == (2, 2, 0.5, 0.5)


def test_conflicts_are_planted_where_colors_differ():
    """Another object of the same colour would be no conflict that anybody could see."""
    colors = {"1": "red", "2": "red", "3": "blue"}
    truth = {("v", number): {"color": color} for number, color in colors.items()}
    truth[("w", "1")] = {"color": "red"}
    assert planted(truth) == {("v", "1"): "3"}
