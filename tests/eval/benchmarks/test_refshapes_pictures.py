"""RefShapes over the runner: the scenes, words and figures of `desa2va eval refshapes`."""

from itertools import islice

import numpy as np
import pytest

from desa2va.eval.benchmarks.asking import ModelAnswerer
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.refshapes_pictures import SCENES
from desa2va.eval.benchmarks.runner import Run, answer_all, score_run
from desa2va.eval.refshapes import evaluate_refshapes
from desa2va.eval.refshapes_samples import draw_samples
from desa2va.processing.inputs import load_image
from desa2va.training.data.refshapes import PICTURE_KINDS
from tests.eval.benchmarks.layouts import Oracle


@pytest.fixture
def short(monkeypatch):
    """Twelve scenes; the shares of the kinds hold of the whole."""
    monkeypatch.setattr("desa2va.eval.benchmarks.refshapes_pictures.SCENES", 12)


@pytest.mark.parametrize("level", ["standard", "full"])
def test_the_scenes_are_those_of_the_other_program(level, short, tmp_path):
    """Same pixels, same words, same masks, in the same order."""
    plan = Run(open_benchmark(f"refshapes-{level}-test"), tmp_path, tmp_path / "out").plan()
    questions = [question for _, found in plan.all_questions() for question in found]
    samples = list(draw_samples("test", level, 0, PICTURE_KINDS[level], 12))
    assert len(questions) == 12
    for question, sample in zip(questions, samples, strict=True):
        (conversation,) = sample.conversations
        assert question.prompt == conversation.turns[0][0]
        assert str(question.dialogue.ids["text"]) in question.prompt
        assert np.array_equal(load_image(question.record.media[0], "it"), sample.frames[0])
        assert np.array_equal(question.truth()[0], conversation.masks[:, 0].any(axis=0))


def test_figures_by_kind(short, tmp_path, evaluate):
    """The first two expressions are answered truly, all others not at all; a missing mask counts as an empty one."""
    plan = Run(open_benchmark("refshapes-standard-test"), tmp_path, tmp_path / "out").plan()
    questions = [question for _, found in plan.all_questions() for question in found]
    known = {question.id: question.truth() for question in questions[:2]}
    report = evaluate("refshapes-standard-test", tmp_path, Oracle(known))
    areas = [int(question.truth().sum()) for question in questions]
    figures = report["figures"]
    assert figures["overall"]["ciou"] == pytest.approx(sum(areas[:2]) / sum(areas))
    assert figures["overall"]["giou"] == pytest.approx(2 / 12)
    assert {kind: row["n"] for kind, row in figures.items()} == {
        "overall": 12,
        "attribute": 6,
        "relation": 4,
        "superlative": 2,
    }
    hits = sum(question.dialogue.kind == "attribute" for question in questions[:2])
    assert figures["attribute"]["giou"] == pytest.approx(hits / 6)


def test_the_figure_of_the_shipped_model_is_that_of_the_other_program(short, tmp_path, shipped):
    """Guards against a second protocol under one name."""
    expected = evaluate_refshapes(*shipped, limit=12, videos=0, questions=0, batch_size=12)
    run = Run(open_benchmark("refshapes-standard-test"), tmp_path, tmp_path / "out", batch_size=12)
    plan = run.plan()
    report = score_run(run, plan, answer_all(run, plan, ModelAnswerer(*shipped), {}))
    assert report["figures"]["overall"]["ciou"] == pytest.approx(expected["ciou"], abs=2e-3)


def test_scenes_from_several_sides_are_drawn_when_asked_for():
    """A thousand scenes are not painted for the sake of two."""
    records = open_benchmark("refshapes-standard-test").described(None)
    assert len(records) == SCENES
    first, second = islice(records, 2)
    assert first.name != second.name
    assert len(first.dialogues) > 1
