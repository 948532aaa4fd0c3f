"""Grounded conversations by hand: what is paired, where the search stops, what AP counts."""

import numpy as np
import pytest

from desa2va.eval.metrics import captions
from desa2va.eval.metrics.grounding import GroundedConversation, average_precision, count_matches, paired_iou


def same(one, other):
    """Stands in for the similarity of embeddings."""
    return float(one == other)


def span(start, stop):
    mask = np.zeros((2, 20), bool)
    mask[0, start:stop] = True
    return mask


def add(scores, name, answer, truth):
    """Phrases and masks from `{phrase: (start, stop)}`."""
    parts = [("a caption", list(said), [span(*place) for place in said.values()]) for said in (answer, truth)]
    scores.add(name, *parts)


def test_mean_iou_is_over_pairs_only():
    """IoU 1 pairs first, then 1/2; a third true mask without partner lowers nothing; no pair is 0."""
    assert paired_iou(np.array([[1, 0.6, 0], [0.9, 0.5, 0]])) == 0.75
    assert paired_iou(np.zeros((2, 3))) == paired_iou(np.zeros((0, 3))) == 0


def test_the_search_stops_at_the_first_pair_that_fails():
    """IoU .9 with the wrong phrase ends the search, although .8 with the right one would follow."""
    ious = np.array([[0.9, 0], [0, 0.8]])
    assert count_matches(ious, np.eye(2)) == 2
    assert count_matches(ious, np.array([[0, 0], [0, 1]])) == 0
    assert count_matches(ious, np.array([[1, 0], [0, 0]])) == 1
    assert count_matches(np.array([[0.5]]), np.array([[0.5]])) == 1
    assert count_matches(np.array([[0.49]]), np.array([[1]])) == 0


def test_a_mask_without_a_phrase_costs_the_picture_only_where_it_is_met():
    """GLaMM's evaluator fails on it; a surplus mask that pairs with nothing is never looked at."""
    assert count_matches(np.array([[0.6, 0.9]]), np.array([[1.0]])) is None
    assert count_matches(np.array([[0.9, 0.1]]), np.array([[1.0]])) == 1


def test_figures_by_hand():
    """Picture a: both found. b: one of two, the other phrase wrong. c: nothing said.

    Recall (2 + 1 + 0) / (2 + 2 + 1); mIoU (1 + 1 + 0) / 3; AP50: 4 of 4 masks right, 4 of 5 found: 81 of COCO's 101
    recall points have precision 1.
    """
    scores = GroundedConversation(same, captions=False)
    add(scores, "a", {"cat": (0, 4), "dog": (6, 9)}, {"cat": (0, 4), "dog": (6, 9)})
    add(scores, "b", {"cat": (0, 4), "hat": (6, 9)}, {"cat": (0, 4), "dog": (6, 9)})
    add(scores, "c", {}, {"cat": (0, 4)})
    figures = scores.compute()
    assert figures["recall"] == pytest.approx(3 / 5)
    assert figures["miou"] == pytest.approx(2 / 3)
    assert figures["ap50"] == pytest.approx(81 / 101)
    assert (figures["n"], figures["n_without_phrase"]) == (3, 0)


def test_processes_in_any_order():
    """AP breaks ties by the order of pictures, which is by id here. Two numbers of one picture are an error."""
    rng = np.random.default_rng(0)
    whole, parts = (
        GroundedConversation(same, captions=False),
        [GroundedConversation(same, captions=False) for _ in "ab"],
    )
    for number in range(30):
        starts = rng.integers(0, 12, 4)
        said = {"a": (starts[0], starts[0] + 5), "b": (starts[1], starts[1] + 3)}
        real = {"a": (starts[2], starts[2] + 5), "b": (starts[1], starts[1] + 4)}
        for scores in (whole, parts[number % 2]):
            add(scores, number, said, real)
    parts[1].merge(parts[0])
    assert parts[1].compute() == whole.compute()
    assert 0 < whole.compute()["ap50"] < 1
    parts[1].merge(parts[0])
    with pytest.raises(ValueError, match="more than once"):
        parts[1].compute()


def test_clips_and_nothing_to_find():
    """IoU over frames: right on one of two frames is 1/2. No truth at all has neither recall nor AP."""
    clip = np.stack([span(0, 4), span(0, 0)])
    scores = GroundedConversation(same, captions=False)
    scores.add(1, ("x", ["cat"], [clip]), ("x", ["cat"], [np.stack([span(0, 4), span(0, 4)])]))
    figures = scores.compute()
    assert (figures["miou"], figures["recall"], figures["ap50"]) == (0.5, 1, pytest.approx(1))
    assert average_precision([[]], [[]]) is None


def test_captions_are_scored_with_the_rest(monkeypatch):
    """In the order of ids, with all references; the scorers themselves are tested with captions."""

    def fixed(found, real):
        assert found == [["answer a"], ["answer b"]]
        assert real == [["caption a", "another"], ["caption b", "another"]]
        return {"meteor": (0.5, [0.5, 0.5]), "cider": (2, [2, 2])}

    monkeypatch.setattr(captions, "_score", fixed)
    scores = GroundedConversation(same)
    for name in "ba":
        scores.add(name, (f"answer {name}", [], []), ((f"caption {name}", "another"), ["cat"], [span(0, 4)]))
    figures = scores.compute()
    assert (figures["meteor"], figures["cider"], figures["recall"], figures["n"]) == (0.5, 2, 0, 2)
