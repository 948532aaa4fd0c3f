"""Everything a user asks of a model, as functions that say what came of it in arrays one can compare.

Enters: a model in eval mode and its processor. Leaves: an `Outcome`. Where a model computes (another device,
offloaded, half precision) should change neither texts nor masks; tests and `gpu_check` compare outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

import desa2va
from desa2va.eval.answering import Answerer
from desa2va.eval.probe.features import collect
from desa2va.eval.refshapes_scores import PictureScores
from desa2va.modeling_desa2va.answering import refine_small_objects
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.sample import Sample

FRAMES = 4
LONGEST_ANSWER = 24


@dataclass
class Outcome:
    """What was said, the masks, bool, and scores of any shape, in the order in which they came."""

    texts: list[str] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def add_results(self, results: Iterable[Any]) -> Outcome:
        """Takes over `SegmentationResult`s."""
        for result in results:
            self.texts += [result.text, result.status]
            for entry in result.objects:
                self.masks += [entry.mask(frame) for frame in range(result.num_frames)]
                self.scores.append(np.asarray(entry.iou_scores))
        return self

    def add_frame(self, frame: Any) -> Outcome:
        """Takes over a `FrameResult`."""
        for entry in frame.objects:
            self.texts.append(entry.status)
            self.masks.append(entry.mask)
            self.scores.append(np.asarray([entry.iou_score, entry.object_score]))
        return self


def assert_same(one: Outcome, other: Outcome, pixels: int = 2, scores: float = 2e-3) -> None:
    """Raises `AssertionError` where two outcomes differ by more than a hair."""
    assert one.texts == other.texts
    for left, right in zip(one.masks, other.masks, strict=True):
        assert (left != right).sum() <= pixels
    for left, right in zip(one.scores, other.scores, strict=True):
        np.testing.assert_allclose(left, right, rtol=scores, atol=scores)


def overlap(one: Outcome, other: Outcome) -> float:
    """Mean IoU of the masks of two outcomes; two empty masks agree, and so do two outcomes without any."""
    pairs = [(left & right, left | right) for left, right in zip(one.masks, other.masks, strict=True)]
    ious = [shared.sum() / union.sum() if union.any() else 1.0 for shared, union in pairs]
    return float(np.mean(ious)) if ious else 1.0


@lru_cache
def pictures() -> list[Sample]:
    """Two pictures with a request that fits each."""
    data = RefShapes("test", "easy", conversations=1, kinds={"attribute": 1.0}, length=2)
    return [data[0], data[1]]


@lru_cache
def clip() -> Sample:
    """A short clip with a request that fits it."""
    fields = {"video_fraction": 1.0, "num_frames": FRAMES, "kinds": {"attribute": 1.0}}
    return RefShapes("test", "standard", conversations=1, length=1, **fields)[0]


def request(sample: Sample) -> str:
    """What is asked first."""
    return sample.conversations[0].turns[0][0]


@contextmanager
def settings(model: Any, **fields: Any) -> Iterator[None]:
    """Other fields of the configuration inside the block."""
    usual = {name: getattr(model.config, name) for name in fields}
    vars(model.config).update(fields)
    try:
        yield
    finally:
        vars(model.config).update(usual)


def _generate(model: Any, processor: Any, task: str = "segment", **shown: Any) -> Outcome:
    inputs = processor(task=task, **shown)
    output = model.generate(**inputs, max_new_tokens=LONGEST_ANSWER, return_branches=task == "segment")
    return Outcome().add_results(processor.post_process(output, inputs, keep_logits=True))


def picture(model: Any, processor: Any) -> Outcome:
    """Two pictures in one batch."""
    texts = [request(sample) for sample in pictures()]
    return _generate(model, processor, images=[sample.frames[0] for sample in pictures()], text=texts)


def chat(model: Any, processor: Any) -> Outcome:
    """Words alone."""
    return _generate(model, processor, "chat", images=pictures()[0].frames[0], text=request(pictures()[0]))


def grounded_caption(model: Any, processor: Any) -> Outcome:
    """As many objects as the model names."""
    return _generate(model, processor, "gcg", images=pictures()[0].frames[0], text="describe the picture")


def _video(model: Any, processor: Any, strategy: str, **fields: Any) -> Outcome:
    with settings(model, track_strategy=strategy, **fields):
        texts = [request(clip()), "the red circle"]
        return _generate(model, processor, videos=list(clip().frames), text=texts, num_key_frames=2)


def video_consistent(model: Any, processor: Any) -> Outcome:
    """Strategy `consistent`, no re-prompt."""
    return _video(model, processor, "consistent", num_reprompts=0)


def video_memory(model: Any, processor: Any) -> Outcome:
    """Strategy `memory`, the configuration's re-prompt."""
    return _video(model, processor, "memory")


def video_per_frame(model: Any, processor: Any) -> Outcome:
    """Strategy `per_frame`, two re-prompts."""
    return _video(model, processor, "per_frame", num_reprompts=2)


def _rectangle(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape[:2], dtype=bool)
    mask[30:70, 30:80] = True
    return mask


def clicks_on_a_picture(model: Any, processor: Any) -> Outcome:
    """Points with a box, and a mask."""
    image = pictures()[0].frames[0]
    clicks = {"points": [[[64, 64, 1], [3, 3, 0]]], "boxes": [[20, 20, 90, 90]]}
    outcome = _generate(model, processor, "auto", images=image, **clicks)
    outcome.masks += _generate(model, processor, "auto", images=image, masks=[_rectangle(image.shape)]).masks
    return outcome


def clicks_on_a_video(model: Any, processor: Any) -> Outcome:
    """Two objects, tracked."""
    return _generate(model, processor, "auto", videos=list(clip().frames), points=[[[64, 64, 1]], [[30, 90, 1]]])


def _stream(model: Any, processor: Any, video: Any, **options: Any) -> Outcome:
    outcome, texts = Outcome(), [request(clip()), "the ring"]
    with model.stream(video, texts, processor, max_new_tokens=LONGEST_ANSWER, **options) as frames:
        for frame in frames:
            outcome.add_frame(frame)
        outcome.texts += [answer.text for answer in frames.answers]
    return outcome


def stream(model: Any, processor: Any) -> Outcome:
    """A clip, frame by frame."""
    return _stream(model, processor, list(clip().frames), num_key_frames=2)


def stream_best_key_frames(model: Any, processor: Any) -> Outcome:
    """The same with key frames the model chooses."""
    return _stream(model, processor, list(clip().frames), key_frames="auto", num_key_frames=2)


def camera(model: Any, processor: Any) -> Outcome:
    """Frames whose number nobody knows."""
    return _stream(model, processor, iter(clip().frames), strategy="memory", num_key_frames=2)


def session(model: Any, processor: Any) -> Outcome:
    """Words, points, a box and a mask; corrected, propagated and taken back."""
    outcome, frames = Outcome(), list(clip().frames)
    mask = _rectangle(frames[0].shape)
    with desa2va.DeSa2VASession(model, processor, frames) as work:
        named = work.add(text=request(clip()))
        clicked, boxed = work.add(points=[[64, 64]], frame=2) + work.add(boxes=[20, 20, 70, 70], frame=3)
        work.add(masks=mask, frame=1)
        for frame in work.propagate():
            outcome.add_frame(frame)
        work.correct(clicked, frame=1, points=[[60, 60, 1], [5, 5, 0]])
        work.correct(boxed, frame=1, box=[20, 20, 70, 70])
        for number in named:
            work.correct(number, frame=3, mask=mask)
        for frame in work.propagate():
            outcome.add_frame(frame)
        work.undo()
        outcome.add_results([work.results()])
    return outcome


def evaluation(model: Any, processor: Any) -> Outcome:
    """Two pictures, scored."""
    scores = PictureScores(["attribute"])
    for sample, result in Answerer(model, processor, 2)(pictures(), return_branches=True):
        scores.add(sample, result)
    return Outcome(texts=[str(sorted(scores.report()))])


def probe(model: Any, processor: Any) -> Outcome:
    """States of two scenes."""
    features = collect(model, processor, scenes=2, batch_size=2)
    return Outcome(scores=[value.numpy() for _, value in sorted(features.states.items())])


def refined(model: Any, processor: Any) -> Outcome:
    """Two objects decoded again, each in a crop of its own."""
    images = [sample.frames[0] for sample in pictures()]
    with desa2va.DeSa2VASession(model, processor, images) as work:
        work.add(boxes=[[20, 20, 60, 60], [70, 70, 100, 110]])
        result = work.result(0)
    return Outcome().add_frame(refine_small_objects(model, processor, result, images[0], refine_area=1.0))


SCENARIOS = (
    picture,
    chat,
    grounded_caption,
    video_consistent,
    video_memory,
    video_per_frame,
    clicks_on_a_picture,
    clicks_on_a_video,
    stream,
    stream_best_key_frames,
    camera,
    session,
    evaluation,
    probe,
    refined,
)

__all__ = ["SCENARIOS", "Outcome", "assert_same", "overlap", "settings", *(entry.__name__ for entry in SCENARIOS)]
