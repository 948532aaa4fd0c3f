"""Everything a user asks of a model, as functions that say what came of it in arrays one can compare."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

import desa2va
from desa2va.eval.answering import Answerer
from desa2va.eval.probe.features import collect
from desa2va.eval.refshapes_scores import PictureScores
from desa2va.modeling_desa2va.answering import refine_small_objects
from desa2va.training.data.refshapes.dataset import RefShapes

FRAMES = 4


@dataclass
class Outcome:
    """What was said, the masks bool, and scores of any shape."""

    texts: list[str] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def add_results(self, results):
        for result in results:
            self.texts += [result.text, result.status]
            for entry in result.objects:
                self.masks += [entry.mask(frame) for frame in range(result.num_frames)]
                self.scores.append(np.asarray(entry.iou_scores))
        return self

    def add_frame(self, frame):
        for entry in frame.objects:
            self.texts.append(entry.status)
            self.masks.append(entry.mask)
            self.scores.append(np.asarray([entry.iou_score, entry.object_score]))
        return self


def assert_same(one, other, pixels=2, scores=2e-3):
    """Raises where two outcomes differ by more than a hair."""
    assert one.texts == other.texts
    for left, right in zip(one.masks, other.masks, strict=True):
        assert (left != right).sum() <= pixels
    for left, right in zip(one.scores, other.scores, strict=True):
        np.testing.assert_allclose(left, right, rtol=scores, atol=scores)


def pictures():
    """Two pictures, and a request that fits each."""
    data = RefShapes("test", "easy", conversations=1, kinds={"attribute": 1.0}, length=2)
    samples = [data[0], data[1]]
    return samples, [sample.frames[0] for sample in samples], [_question(sample) for sample in samples]


def clip():
    """A clip, and a request that fits it."""
    fields = {"video_fraction": 1.0, "num_frames": FRAMES, "kinds": {"attribute": 1.0}}
    sample = RefShapes("test", "standard", conversations=1, length=1, **fields)[0]
    return sample, list(sample.frames), _question(sample)


def _question(sample):
    return sample.conversations[0].turns[0][0]


@contextmanager
def settings(model, **fields):
    """Other fields of the configuration inside the block."""
    usual = {name: getattr(model.config, name) for name in fields}
    vars(model.config).update(fields)
    try:
        yield
    finally:
        vars(model.config).update(usual)


def _generate(model, processor, task="segment", **shown):
    inputs = processor(task=task, **shown)
    output = model.generate(**inputs, max_new_tokens=24, return_branches=task == "segment")
    return Outcome().add_results(processor.post_process(output, inputs, keep_logits=True))


def picture(model, processor):
    _, images, texts = pictures()
    return _generate(model, processor, images=images, text=texts)


def chat(model, processor):
    _, images, texts = pictures()
    return _generate(model, processor, "chat", images=images, text=texts)


def grounded_caption(model, processor):
    return _generate(model, processor, "gcg", images=pictures()[1][0], text="describe the picture")


def _video(model, processor, strategy, **fields):
    _, frames, text = clip()
    with settings(model, track_strategy=strategy, **fields):
        return _generate(model, processor, videos=frames, text=[text, "the red circle"], num_key_frames=2)


def video_consistent(model, processor):
    return _video(model, processor, "consistent", num_reprompts=0)


def video_memory(model, processor):
    return _video(model, processor, "memory")


def video_per_frame(model, processor):
    return _video(model, processor, "per_frame", num_reprompts=2)


def clicks_on_a_picture(model, processor):
    image = pictures()[1][0]
    clicks = {"points": [[[64, 64, 1], [3, 3, 0]]], "boxes": [[20, 20, 90, 90]]}
    outcome = _generate(model, processor, "auto", images=image, **clicks)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[30:70, 30:80] = True
    second = _generate(model, processor, "auto", images=image, masks=[mask])
    outcome.masks += second.masks
    return outcome


def clicks_on_a_video(model, processor):
    return _generate(model, processor, "auto", videos=clip()[1], points=[[[64, 64, 1]], [[30, 90, 1]]])


def _stream(model, processor, video, **options):
    outcome = Outcome()
    with model.stream(video, [clip()[2], "the ring"], processor, max_new_tokens=24, **options) as stream:
        for frame in stream:
            outcome.add_frame(frame)
        outcome.texts += [answer.text for answer in stream.answers]
    return outcome


def stream(model, processor):
    return _stream(model, processor, clip()[1], num_key_frames=2)


def stream_best_key_frames(model, processor):
    return _stream(model, processor, clip()[1], key_frames="auto", num_key_frames=2)


def camera(model, processor):
    return _stream(model, processor, iter(clip()[1]), strategy="memory", num_key_frames=2)


def session(model, processor):
    outcome, (_, frames, text) = Outcome(), clip()
    with desa2va.DeSa2VASession(model, processor, frames) as work:
        named = work.add(text=text)
        clicked, boxed = work.add(points=[[64, 64]], frame=2) + work.add(boxes=[20, 20, 70, 70], frame=3)
        mask = np.zeros(frames[0].shape[:2], dtype=bool)
        mask[30:70, 30:80] = True
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


def evaluation(model, processor):
    samples, scores = pictures()[0], PictureScores(["attribute"])
    for sample, result in Answerer(model, processor, 2)(samples, return_branches=True):
        scores.add(sample, result)
    return Outcome(texts=[str(sorted(scores.report()))])


def probe(model, processor):
    features = collect(model, processor, scenes=2, batch_size=2)
    return Outcome(scores=[value.numpy() for _, value in sorted(features.states.items())])


def refined(model, processor):
    _, images, _ = pictures()
    with desa2va.DeSa2VASession(model, processor, [images[0], images[1]]) as work:
        work.add(boxes=[[20, 20, 60, 60], [70, 70, 100, 110]])
        result = work.result(0)
    return Outcome().add_frame(refine_small_objects(model, processor, result, images[0], refine_area=1.0))


SCENARIOS = [
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
]

__all__ = ["SCENARIOS", "Outcome", "assert_same", "clip", "pictures", "settings"]
