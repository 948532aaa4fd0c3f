"""Segmentation of a video while it is read: results frame by frame, in memory that does not grow (METHOD section 6).

Enters: a video of any origin, also a camera, and what is asked. Leaves: `VideoStream`, which yields one `FrameResult`
after the other. The language pass on the key frames comes first, exactly as in `generate`; then every other frame is
decoded, encoded, tracked and handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from desa2va.configuration.integers import as_integer
from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import KeyFrameAnswer
from desa2va.modeling_desa2va.tracking import (
    NUM_PROMPTED,
    TRACK_STRATEGIES,
    TrackedFrame,
    absent_frame,
    encode_lazily,
    frame_reader,
)
from desa2va.processing.files import MaskOptions
from desa2va.processing.inputs import FrameSource, LiveSource, is_live, open_visual, shown
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.results import FORCED, FrameResult, ObjectLabel, frame_result

from .answering import AnsweringMixin
from .key_frame_choice import choose_key_frames

_REASONS = {
    "ok": "",
    "no_seg_token": "the answer holds no [SEG]; the model marked no object",
    "no_target": "its objects are judged absent on every frame so far",
    "empty_mask": "an object is judged present, but no mask has a pixel so far",
}


@dataclass
class StreamAnswer:
    """What was said to one sentence, and what became of it so far.

    Attributes:
        number: of the sentence, from 0. request: the sentence itself.
        text, raw_text, spans: the answer, see `ParsedAnswer`.
        objects: numbers of its objects in the stream. seen: statuses its objects had on the frames so far.
        forced: the model preferred not to mark anything; see `ObjectResult`.
        status: `"no_seg_token"`: the answer marks no object; `"no_target"`: its objects are judged absent on every
            frame so far; `"empty_mask"`: judged present, but without a pixel so far; `"ok"`.
        reason: why the status is not `"ok"`, and that the objects were forced; empty otherwise.
    """

    number: int
    request: str
    text: str
    raw_text: str
    spans: list[tuple[int, int] | None]
    objects: list[int] = field(default_factory=list)
    seen: set[str] = field(default_factory=set, repr=False)
    forced: bool = False

    @property
    def status(self) -> str:
        """See above."""
        if not self.objects:
            return "no_seg_token"
        return next((status for status in ("ok", "empty_mask") if status in self.seen), "no_target")

    @property
    def reason(self) -> str:
        """See above."""
        return "; ".join(part for part in (_REASONS[self.status], FORCED if self.forced else "") if part)

    def update(self, result: FrameResult) -> None:
        """Takes one more frame into account."""
        self.seen |= {entry.status for entry in result.objects if entry.request == self.number}


class VideoStream:
    """Results of one video, one frame at a time; an iterator and a context manager.

    Args:
        frames: yields the results. source: the video. answers: one per sentence.
        key_frames: frames the language model saw. num_frames: `None` for a camera.

    Attributes:
        source, answers, key_frames, num_frames: as above; the status of an answer follows the frames handed over.
    """

    def __init__(
        self,
        frames: Iterator[FrameResult],
        source: FrameSource,
        answers: list[StreamAnswer],
        key_frames: list[int],
        num_frames: int | None,
    ) -> None:
        self._frames = frames
        self.source, self.answers = source, answers
        self.key_frames, self.num_frames = key_frames, num_frames

    def __iter__(self) -> VideoStream:
        return self

    def __next__(self) -> FrameResult:
        result = next(self._frames)
        for answer in self.answers:
            answer.update(result)
        return result

    def close(self) -> None:
        """Ends the stream: stops the reading thread and frees memories and features. Nothing is yielded any more."""
        self._frames.close()

    def __enter__(self) -> VideoStream:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


@dataclass
class _Job:
    """What the frames of a stream are made from.

    Attributes:
        info: `VisualInfo` of the video. answer: of its key frames. labels: of the objects.
        num_frames: `None` for a camera. strategy: of `walk_objects`. options: of the masks, complete.
        timestamp: frame number -> seconds.
        images: source pictures of frames being worked on, by number; `None` where results hold none.
    """

    info: Any
    answer: KeyFrameAnswer
    labels: list[ObjectLabel]
    num_frames: int | None
    strategy: str
    options: MaskOptions
    timestamp: Callable[[int], float]
    images: dict[int, np.ndarray] | None = None

    def result(self, seen: TrackedFrame) -> FrameResult:
        """The result of one tracked frame."""
        image = None if self.images is None else self.images.pop(seen.frame)
        size = (self.info.height, self.info.width)
        return frame_result(seen.frame, self.timestamp(seen.frame), size, seen, self.labels, self.options, image)

    def idle_frames(self, start: int) -> Iterator[int]:
        """Numbers of the frames from `start` to the end, on which nothing is to be followed."""
        if self.num_frames is not None and self.images is None:
            yield from range(start, self.num_frames)
            return
        for number, image in enumerate(self.info.source.iterate(start), start):
            if self.images is not None:
                self.images[number] = image
            yield number


class StreamingMixin(AnsweringMixin):
    """`stream` for `DeSa2VAModel`."""

    @torch.no_grad()
    def stream(
        self,
        video: Any,
        text: str | list[str],
        processor: Any = None,
        *,
        task: str = "segment",
        key_frames: Any = None,
        num_key_frames: int | None = None,
        strategy: str | None = None,
        max_new_tokens: int = 128,
        options: MaskOptions | None = None,
        keep_images: bool = False,
        **generation: Any,
    ) -> VideoStream:
        """Answers about a video and tracks what the answers mark, frame by frame.

        The language pass is done when this returns; frames are read, encoded and tracked as they are asked for, and
        nothing of a frame is kept. Masks, scores and answers are those of `generate` with the same settings.

        With strategy `"consistent"` the frames come in walking order: from the first key frame that shows an object to
        the end, then, backwards, those before it. The other strategies begin at frame 0.

        Args:
            video: a path, folder of pictures, list, array or `FrameSource`; or any iterator of pictures, such as a
                camera (a `LiveSource` of it can state the frame rate). Of an iterator the first key frames are
                buffered, the others pass once; its tracking goes forward only, and frames before the first one that
                shows an object are reported absent.
            text: one sentence, or several about the same video: they share every image encoding.
            processor: the model's; `model.processor`, or the one in the model's folder, when omitted.
            task: see `DeSa2VAProcessor`.
            key_frames: `"first"`, `"uniform"`, `"all"` or indices: see `DeSa2VAProcessor`, whose choice is the
                default. `"auto"`: see `choose_key_frames`. A live source has `"first"` only.
            num_key_frames: how many; the processor's own when omitted.
            strategy: of `walk_objects`; the configuration's when omitted.
            max_new_tokens: longest answer. generation: further generation arguments.
            options: thresholds and clean-up of the masks; the configuration's where they leave a choice. They decide
                what becomes of what was tracked; what is tracked follows the configuration, as in `generate`.
            keep_images: put the source picture into every result, e.g. for overlays.

        Raises:
            ValueError: anything that can not be meant, and no processor to be found.
        """
        strategy = self.config.track_strategy if strategy is None else strategy
        if strategy not in TRACK_STRATEGIES:
            raise ValueError(f"strategy {shown(strategy)} is unknown; choose one of {', '.join(TRACK_STRATEGIES)}")
        processor = self.find_processor() if processor is None else processor
        count = processor.num_key_frames if num_key_frames is None else num_key_frames
        count = as_integer(count, "num_key_frames", least=1)
        source, key_frames = _open(video, key_frames, count, strategy)
        generation["max_new_tokens"], known = max_new_tokens, {}
        if isinstance(key_frames, str) and key_frames == "auto":
            choice = choose_key_frames(self, processor, source, text, count, task=task, **generation)
            key_frames, known = choice.key_frames, choice.known
        batch = processor(videos=[source], text=text, task=task, key_frames=key_frames, num_key_frames=count)
        answer = self.answer_key_frames(**batch, known=known, **generation)
        info = batch["visuals"][0]
        answers, labels = _answers(answer, [text] if isinstance(text, str) else list(text), processor)
        live = not getattr(source, "ended", True)
        job = _Job(
            info,
            answer,
            labels,
            num_frames=None if live else info.num_frames,
            strategy=strategy,
            options=self.mask_options(options, strategy),
            timestamp=source.timestamp if live else info.timestamps.__getitem__,
        )
        if keep_images:
            at_hand = sorted({*info.key_frames, *answer.visuals[0].known})
            job.images = dict(zip(at_hand, source.read(at_hand), strict=True))
        return VideoStream(self._stream(job), source, answers, list(info.key_frames), job.num_frames)

    def find_processor(self) -> Any:
        """The processor that belongs to the model: the attached one, else that of the model's folder or Hub id.

        Raises:
            ValueError: there is none.
        """
        if self.processor is None:
            name = self.config._name_or_path
            try:
                self.processor = DeSa2VAProcessor.from_pretrained(name)
            except Exception as error:
                raise ValueError(
                    f"the model has no processor ({name!r} holds none: {error}); give it as processor= or set "
                    "model.processor"
                ) from error
        return self.processor

    @torch.no_grad()
    def _stream(self, job: _Job) -> Iterator[FrameResult]:
        """The result of every frame."""
        idle = 0
        if job.labels:
            # A camera's frame is answered before the next one comes.
            batch_size = 1 if job.num_frames is None else None
            encode = encode_lazily(self.segmenter, frame_reader(job.info, job.images), batch_size)
            walk = self.walk_visual(job.answer, 0, job.num_frames, encode, job.strategy)
            with closing(walk):
                for seen in walk:
                    idle = max(idle, seen.frame + 1)
                    yield job.result(seen)
        if job.labels and job.num_frames is not None:
            return
        # Nothing is there to be followed: frames are handed over as they come, without encoding them.
        size, device = self.segmenter.sam.prompt_encoder.mask_input_size, execution_device(self.segmenter.sam)
        for number in job.idle_frames(idle):
            yield job.result(absent_frame(number, len(job.labels), size, device))


def _open(video: Any, key_frames: Any, count: int, strategy: str) -> tuple[FrameSource, Any]:
    """The source of a video, and how its key frames are chosen.

    Raises:
        ValueError: key frames that a live source can not have.
    """
    if not is_live(video):
        source = open_visual(video)
    else:
        # Algorithm 1 prompts its first frames whether the language model saw them or not.
        source = LiveSource(video, max(count, NUM_PROMPTED) if strategy == "memory" else count)
    if not hasattr(source, "ended"):
        return source, key_frames
    if key_frames not in (None, "first"):
        raise ValueError(
            f"key_frames={shown(key_frames)}: of a live video only the first frames are there when the language model "
            "answers; use 'first', or a file"
        )
    return source, "first"


def _answers(
    answer: KeyFrameAnswer, requests: list[str], processor: Any
) -> tuple[list[StreamAnswer], list[ObjectLabel]]:
    """What was said to each request, and the labels of all objects."""
    parser = processor.answer_parser
    parsed = [parser.parse(row) for row in answer.sequences.tolist()]
    answers = [
        StreamAnswer(number, request, said.text, said.raw_text, said.spans)
        for number, (request, said) in enumerate(zip(requests, parsed, strict=True))
    ]
    labels = []
    columns = answer.object_sequence.tolist(), answer.seg_probability.tolist(), answer.seg_forced.tolist()
    for number, (sequence, probability, forced) in enumerate(zip(*columns, strict=True)):
        said = answers[sequence]
        labels.append(ObjectLabel(number, parsed[sequence].phrase(len(said.objects)), sequence, probability, forced))
        said.objects.append(number)
        said.forced |= forced
    return answers, labels


__all__ = ["StreamAnswer", "StreamingMixin", "VideoStream"]
