"""Scores of the further tasks, from answers whose score is known."""

import numpy as np
import pytest

from desa2va.eval.answering import Answerer
from desa2va.eval.metrics.pieces import Pieces, in_pieces
from desa2va.eval.refshapes import evaluate_refshapes, summarise
from desa2va.eval.refshapes_samples import draw_samples
from desa2va.eval.refshapes_tasks import PICTURE_TASKS, VIDEO_TASKS

COUNT = 8


def answers(model, processor, samples):
    return Answerer(model, processor, 4)(samples)


@pytest.fixture
def score(make_fake, processor):
    """Figures of a kind for a reply."""

    def run(kind, reply, videos=False, count=COUNT):
        samples = list(draw_samples("test", "full", 0, {kind: 1.0}, count, videos=videos))
        fake = make_fake(reply, samples=samples).eval()
        return (VIDEO_TASKS if videos else PICTURE_TASKS)[kind](answers(fake, processor, samples))

    return run


@pytest.mark.parametrize(
    ("kind", "videos"), [*((kind, False) for kind in PICTURE_TASKS), *((kind, True) for kind in VIDEO_TASKS)]
)
def test_the_truth_scores_one(score, replies, kind, videos):
    """Guards any loss between an answer and its figure: histories, regions, phrases, orders, frames."""
    figures = score(kind, replies.truth, videos, 4 if videos else COUNT)
    ones = {"positive_micro_f1", "count_accuracy", "said_agrees", "miou", "ap50", "recall", "exact", "accuracy"}
    ones &= set(figures)
    assert ones
    assert {name: figures[name] for name in ones} == dict.fromkeys(ones, pytest.approx(1))
    if "without_seg" in figures:
        assert figures["without_seg"] == 1
    if "in_pieces" in figures:
        assert figures["in_pieces"]["predicted"] == figures["in_pieces"]["true"]


def test_one_mask_of_everything_is_no_set(score, replies):
    """Guards a score that unites the members of a set."""
    figures = score("set", replies.all_foreground, count=12)
    assert figures["positive_micro_f1"] < 0.5
    assert figures["count_accuracy"] < 1


def test_a_number_that_the_masks_contradict_is_counted(score, replies):
    def reply(sample):
        return replies.Reply("There are nine [SEG].", (sample.scene["instance_map"] > 0)[None])

    assert score("set", reply)["said_agrees"] == 0


def test_a_seg_in_a_description_is_seen(score, replies):
    figures = score("caption_plain", replies.all_foreground)
    assert figures["without_seg"] == figures["exact"] == 0


def test_a_later_turn_needs_its_own_mask(score, replies):
    """Guards a score that the masks of earlier turns satisfy."""

    def earlier(sample):
        conversation = sample.conversations[0]
        return replies.Reply("Sure, it is [SEG].", conversation.masks[:1])

    figures = score("turns", earlier, count=24)
    assert figures["accuracy_color"] == 0
    assert 0 < figures["accuracy_mask"] < 1


def test_a_mixed_dialogue_needs_the_answer_to_its_last_turn(score, replies):
    """Guards a score that an answer of an earlier turn satisfies: the fault it is there to see."""

    def earlier(sample):
        conversation = sample.conversations[0]
        answer = conversation.turns[-2][1]
        return replies.Reply(answer, conversation.masks[: answer.count("[SEG]")])

    figures = score("mixed_turns", earlier, count=24)
    assert figures["accuracy"] < 0.3
    assert 0.3 < figures["repeated"] < 1  # answers about a mask repeat no words


def test_masks_in_pieces_are_counted_on_both_sides():
    """Two squares that touch at a corner are one piece; a mask without a pixel is none."""
    whole, corner, apart = np.zeros((3, 8, 8), bool)
    whole[2:4, 2:4] = corner[2:4, 2:4] = apart[2:4, 2:4] = True
    corner[4:6, 4:6] = apart[5:7, 5:7] = True
    assert [in_pieces(mask) for mask in (whole, corner, apart)] == [False, False, True]
    pieces = Pieces()
    assert pieces.report() == {"predicted": None, "true": None, "n_predicted": 0, "n_true": 0}
    pieces.add([whole, apart, np.zeros((8, 8), bool)], [np.stack([whole, apart, apart, apart])])
    assert pieces.report() == {"predicted": 0.5, "true": 0.75, "n_predicted": 2, "n_true": 4}


def test_the_report_holds_every_task(make_model, processor):
    report = evaluate_refshapes(make_model(), processor, limit=1, videos=0, questions=0, tasks=1)
    assert set(report["tasks"]) == {
        *PICTURE_TASKS,
        "video set",
        "video caption",
        "video caption_plain",
        "video region",
    }
    assert report["provenance"]["tasks"] == 1
    for name in report["tasks"]:
        assert f"\n{name}: " in summarise(report)
    with pytest.raises(ValueError, match="tasks must be at least 0"):
        evaluate_refshapes(make_model(), processor, tasks=-1)
