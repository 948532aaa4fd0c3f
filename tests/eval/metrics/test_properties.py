"""What must hold for all masks and answers, tried on odd ones: empty, full, one pixel, noise, sizes from 1 x 1."""

import json

import numpy as np
import pytest

from desa2va.eval.metrics.boundary import boundary_accuracy
from desa2va.eval.metrics.choices import MME, MultipleChoice, VideoMME, YesNo
from desa2va.eval.metrics.concepts import ConceptSegmentation
from desa2va.eval.metrics.davis import DavisSegmentation
from desa2va.eval.metrics.expression_groups import RefSAV, ReVOS, pixel_accuracy, robustness
from desa2va.eval.metrics.generalized import GeneralizedReferring
from desa2va.eval.metrics.grounding import GroundedConversation
from desa2va.eval.metrics.judged import MMBenchVideo
from desa2va.eval.metrics.ref_davis import RefDavis17
from desa2va.eval.metrics.referring import ReferringSegmentation
from desa2va.eval.metrics.video import jaccard
from desa2va.training.data.question_sets import LEAVES, MME_TASKS

SIZES = [(1, 1), (1, 6), (5, 1), (3, 4), (17, 23), (48, 31)]


def odd_clips(rng, size, count=12):
    """Pairs of clips of three frames whose masks are empty, full, of one pixel or noise."""

    def frame():
        mask = np.zeros(size, bool)
        kind = rng.integers(4)
        if kind == 0:
            mask[rng.integers(size[0]), rng.integers(size[1])] = True
        return mask if kind == 0 else mask | (rng.random(size) < (0, 0, 0.4, 1)[kind])

    return [tuple(np.stack([frame() for _ in range(3)]) for _ in range(2)) for _ in range(count)]


@pytest.mark.parametrize("size", SIZES)
def test_frame_scores(size):
    """In [0, 1]; a mask against itself is 1; prediction and truth may be swapped, but not in R."""
    for prediction, truth in odd_clips(np.random.default_rng(1), size):
        for measure in (jaccard, boundary_accuracy, pixel_accuracy):
            scores = measure(prediction, truth)
            assert ((scores >= 0) & (scores <= 1)).all()
            assert scores == pytest.approx(measure(truth, prediction), abs=1e-15)
            assert measure(truth, truth).min() == 1
        assert robustness(truth, truth, prediction).min() == 1
        assert ((r := robustness(prediction, truth, truth)) >= 0).all()
        assert (r <= 1).all()


@pytest.mark.parametrize("size", SIZES)
def test_protocols_of_referring_agree_but_for_their_margins(size):
    """LISA's figures lie below the exact ones, by less than 1e-5 of a pixel; targets of all kinds in gRefCOCO too."""
    exact, lisa, general = ReferringSegmentation(), ReferringSegmentation(protocol="lisa"), GeneralizedReferring()
    for pair in odd_clips(np.random.default_rng(2), size):
        for scores in (exact, lisa, general):
            scores.add(*pair)
    figures, other, third = exact.compute(), lisa.compute(), general.compute()
    assert 0 <= figures["giou"] - other["giou"] <= 1e-5
    assert 0 <= figures["ciou"] - other["ciou"] <= 1e-9
    # Without verdicts the two data sets' rules differ in nothing else.
    assert (third["giou"], third["ciou"]) == (figures["giou"], figures["ciou"])


def test_circular_is_never_above_vanilla():
    rng = np.random.default_rng(3)
    options = {letter: f"text {letter.lower()}" for letter in "ABCD"}
    for _ in range(20):
        circular, vanilla = MultipleChoice(circular=True), MultipleChoice()
        for index in range(8):
            for rotation in range(4):
                row = (index + rotation * 1_000_000, rng.choice(["A", "B", "nothing"]), options, "A")
                circular.add(*row)
                if rotation == 0:
                    vanilla.add(*row)
        assert circular.compute()["accuracy"] <= vanilla.compute()["accuracy"]


def all_metrics(rng):
    """Every metric with its protocols, and a function that adds the n-th of its samples."""
    options = {letter: letter * 3 for letter in "ABCD"}
    pairs = odd_clips(rng, (9, 11), 16)
    names = [str(rng.choice(["A", "B", "yes", "No.", "?"])) for _ in pairs]
    maps = [(prediction * 1 + (truth & ~prediction) * 2).astype(np.uint8) for prediction, truth in pairs]
    for clip in maps:
        clip[:, 0, :2] = (1, 2)
    groups = {"duration": "short", "domain": "Law"}
    task = MME_TASKS
    yield ReVOS(), lambda m, n: m.add(*pairs[n], pairs[n - 1][0], n % 3)
    yield RefSAV(None), lambda m, n: m.add(*pairs[n], n % 2)
    yield DavisSegmentation("unsupervised"), lambda m, n: m.add(f"s{n}", maps[n - 1], maps[n])
    yield RefDavis17(), lambda m, n: m.add(f"v{n}", n % 4, [maps[n - 1] == 1, maps[n - 1] == 2], maps[n])
    yield ConceptSegmentation("sam3"), lambda m, n: m.add(pairs[n][0], pairs[n][1][: n % 3])
    yield (
        GroundedConversation(lambda one, other: float(one == other), captions=False),
        lambda m, n: m.add(n, ("x", names[:2], pairs[n][0]), ("y", names[1:4], pairs[n][1])),
    )
    yield MultipleChoice(), lambda m, n: m.add(n, names[n], options, "A", {"category": names[n]})
    yield VideoMME(), lambda m, n: m.add(names[n], options, "A", groups)
    yield YesNo("vlmevalkit"), lambda m, n: m.add(names[n], n % 2 == 0, {"a": "b"})
    yield MME(), lambda m, n: m.add(names[n], n % 3 == 0, task[n // 4], f"{n // 2}.jpg")
    yield MMBenchVideo(), lambda m, n: m.add(None if n % 5 == 0 else n % 4, [LEAVES[n], LEAVES[-n]])


@pytest.mark.parametrize("number", range(11))
def test_saved_rows_of_two_processes_give_the_report_of_one(number):
    """Each metric, half of its rows through JSON, in another order: the very bits of one process."""
    reports = []
    for split in (False, True):
        metric, add = list(all_metrics(np.random.default_rng(4)))[number]
        for sample in range(16) if not split else (*range(1, 16, 2), *range(0, 16, 2)):
            add(metric, sample)
            if split:
                metric.rows[:] = json.loads(json.dumps(metric.rows))
        reports.append(metric.compute())
    assert reports[0] == reports[1]
