"""Who has a pixel that several answers claim: ReferFormer's rule on the probabilities, against numpy and by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.eval.benchmarks.asking import ModelAnswerer
from desa2va.eval.benchmarks.contest import ContestAnswerer
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.plan import Plan
from desa2va.eval.benchmarks.runner import Run, answer_all, finished_run, score_run
from desa2va.processing.files import decode_mask
from tests.eval.benchmarks.layouts import MODEL
from tests.eval.benchmarks.test_ref_davis17 import FIRST, FRAMES, SECOND, write_davis
from tests.training.data.readers.picture_layouts import SIZE

NUM_FRAMES = len(FRAMES)


class StubModel:
    """Answers the n-th request about "object n" with its logits `(T, h, w)` each, predicted IoUs, object scores."""

    def __init__(self, processor, said):
        self.processor, self.said = processor, said

    def generate(self, texts, max_new_tokens, **inputs):
        asked = [self.said[int(text.rsplit(" ", 1)[1].rstrip("."))] for text in texts]
        if any(isinstance(objects, Exception) for objects in asked):
            raise next(objects for objects in asked if isinstance(objects, Exception))
        rows = [self.processor.assembler.encoder.answer(" ".join(["[SEG]"] * len(objects))) for objects in asked]
        longest = max(map(len, rows)) + 1
        end = self.processor.tokenizer.eos_token_id
        flat = [entry for objects in asked for entry in objects]
        return SimpleNamespace(
            sequences=torch.tensor([[*row, end] + [0] * (longest - len(row) - 1) for row in rows]),
            object_sequence=torch.tensor([n for n, objects in enumerate(asked) for _ in objects]),
            seg_probability=torch.ones(len(flat)),
            track_logits=[torch.as_tensor(logits) for logits, _, _ in flat],
            track_iou=[torch.full((NUM_FRAMES,), iou) for _, iou, _ in flat],
            track_object_score=[torch.tensor(scores) for _, _, scores in flat],
        )


def seen(logits, iou=0.5, scores=None):
    """One object: on every frame, unless its object scores say otherwise."""
    return np.asarray(logits, np.float32), iou, scores or [3.0] * NUM_FRAMES


def answered(processor, root, said, **options):
    """Runs the stub through the benchmark's own way of asking: the run, and its report."""
    benchmark = open_benchmark("ref_davis17-valid")
    run = Run(benchmark, root, root.parent / "out", **options)
    answerer = benchmark.asks(ModelAnswerer(StubModel(processor, said), processor))
    assert isinstance(answerer, ContestAnswerer)
    plan = run.plan()
    return run, score_run(run, plan, answer_all(run, plan, answerer, MODEL))


def label_maps(run):
    """Int `(T, H, W)` of annotator 0 as its answers were kept: the number of the object that has the pixel."""
    _, plan, answers = finished_run(run)
    maps, claims = np.zeros((NUM_FRAMES, *SIZE), int), np.zeros((NUM_FRAMES, *SIZE), int)
    for unit, questions in plan.all_questions():
        for question, answer in zip(questions, answers.read(unit, [one.id for one in questions])[0], strict=True):
            if question.dialogue.ids["annotator"] == 0:
                for frame, code in enumerate(answer.owned):
                    share = np.zeros(SIZE, bool) if code is None else decode_mask(code)
                    maps[frame][share] = int(question.dialogue.ids["obj_id"])
                    claims[frame] += share
    assert claims.max() <= 1
    return maps


def enlarged(logits, size):
    """Bilinear with half-pixel centres, edges repeated: `(T, h, w)` to `(T, H, W)`, in float64."""
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = logits.shape[axis]
        centres = ((np.arange(wanted) + 0.5) * have / wanted - 0.5).clip(0, have - 1)
        low = np.floor(centres).astype(int)
        part = np.expand_dims(centres - low, (0, 2) if axis == 1 else (0, 1))
        high = (low + 1).clip(max=have - 1)
        logits = np.take(logits, low, axis) * (1 - part) + np.take(logits, high, axis) * part
    return logits


def official(objects):
    """ReferFormer's rule in numpy, at source resolution.

    Args:
        objects: per object logits `(T, h, w)`.

    Returns:
        Numbers `(T, H, W)`, and where they are beyond the rounding of single precision: the two best are apart, or
        certain both.
    """
    logits = np.stack([enlarged(one, SIZE) for one in objects])
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    scores[scores < 0.5] = 0
    scores = np.concatenate([np.full_like(scores[:1], 0.1), scores])
    second, best = np.sort(scores, axis=0)[-2:]
    clear = (best - second > 1e-6) | (np.sort(logits, axis=0)[-2] > 18)
    return scores.argmax(axis=0), clear & (abs(logits) > 1e-4).all(axis=0)


def test_the_surer_pixel_wins_not_the_better_mask(processor, tmp_path):
    """By hand: the first claims all (p .88, predicted IoU .9), the second the right half surer (p .98, IoU .4).

    The truth is a half each: by probability both are whole, J = 1. By predicted IoU the first would have everything:
    J = (1/2 + 0) / 2.
    """
    halves = np.ones((NUM_FRAMES, *SIZE), int)
    halves[:, :, SIZE[1] // 2 :] = 2
    root = write_davis(tmp_path / "data", halves)
    said = {
        1: [seen(np.full((NUM_FRAMES, *SIZE), 2.0), iou=0.9)],
        2: [seen(np.where(halves == 2, 4.0, -4.0), iou=0.4)],
    }
    run, report = answered(processor, root, said)
    figures = report["figures"]["four_annotators"]
    assert (figures["j"], figures["views"], figures["views_by_probability"]) == (1, 4, 4)
    assert np.array_equal(label_maps(run), halves)
    # Alone every expression keeps all that it claims: the first half right, the second wholly.
    assert report["figures"]["expression"]["j"] == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_equals_the_official_rule_at_source_resolution(processor, tmp_path, batch_size):
    """Low-resolution logits of five objects; ties where two sigmoids are 1 in float32, though one logit is higher."""
    rng = np.random.default_rng(0)
    objects = [(5 * rng.standard_normal((NUM_FRAMES, 9, 12))).round(1) for _ in range(5)]
    for place, certain in ((1, 20.0), (3, 30.0)):
        objects[place][:, 2:6, 2:8] = certain
    expected, clear = official(objects)
    assert clear.mean() > 0.95
    assert (expected[:, 16:28, 16:36] == 2).all()
    assert len(np.unique(expected)) == 6
    root = write_davis(tmp_path / "data", expected, objects=5)
    run, report = answered(
        processor, root, {n: [seen(logits)] for n, logits in enumerate(objects, 1)}, batch_size=batch_size
    )
    assert np.array_equal(label_maps(run)[clear], expected[clear])
    assert report["figures"]["four_annotators"]["j"] == pytest.approx(1, abs=0.02)


def test_several_objects_of_one_answer_and_absent_ones(processor, tmp_path):
    """An answer is as sure as its surest object; one that is judged absent claims nothing, however high its logits."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    absent = [3.0, -3.0, 3.0, 3.0]
    logits = [np.where(mask, 6.0, -6.0) for mask in (FIRST, SECOND)]
    said = {
        1: [seen(logits[0] / 2), seen(logits[1] / 3)],
        2: [seen(np.full((NUM_FRAMES, *SIZE), 2.5), scores=absent)],
    }
    run, _ = answered(processor, root, said)
    expected = np.where(FIRST, 1, 2)
    expected[1] = FIRST[1] | SECOND[1]
    assert np.array_equal(label_maps(run), expected)


def test_an_even_chance_is_enough(processor, tmp_path):
    """Official: at least .5. A logit of 0 is in no mask here, but it is in the contest, as there."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    even = np.where(SECOND, 0.0, -1.0)
    run, _ = answered(processor, root, {1: [seen(np.where(FIRST, 1.0, -1.0))], 2: [seen(even)]})
    assert np.array_equal(label_maps(run), FIRST + 2 * SECOND)


def test_a_view_with_a_failed_expression_goes_by_predicted_iou(processor, tmp_path):
    """Guards against half a contest: answers that were given alone would each have every pixel that they claim."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    said = {1: [seen(np.where(FIRST, 4.0, -4.0))], 2: ValueError("no such object")}
    _, report = answered(processor, root, said)
    figures = report["figures"]["four_annotators"]
    assert (figures["views"], figures["views_by_probability"]) == (4, 0)
    assert figures["j"] == 0.5
    assert report["statuses"] == {"failed": 4, "ok": 4}


def test_a_limit_leaves_views_undecided(processor, tmp_path):
    """Expressions 0 to 4 of 8: annotator 0 is whole, of the others the second object is missing."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    said = {n: [seen(np.where(mask, 4.0, -4.0))] for n, mask in ((1, FIRST), (2, SECOND))}
    run, report = answered(processor, root, said, limit=5)
    _, plan, answers = finished_run(run)
    assert isinstance(plan, Plan)
    answers, _ = answers.read(0, plan.ids)
    assert [answer.owned is not None for answer in answers] == [True, False, False, False, True]
    assert report["figures"]["four_annotators"] is None


def test_a_share_of_another_size_is_refused(processor, tmp_path):
    """Guards against answers of other data: kept shares are checked as masks are."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    said = {n: [seen(np.where(mask, 4.0, -4.0))] for n, mask in ((1, FIRST), (2, SECOND))}
    run, _ = answered(processor, root, said)
    path = next(run.folder.glob("answers-*.jsonl"))
    path.write_text(path.read_text().replace('"owned": [{"size": [48, 64]', '"owned": [{"size": [64, 48]'))
    with pytest.raises(ValueError, match="sample bear/0: 'owned', frame 0"):
        score_run(*finished_run(run))
