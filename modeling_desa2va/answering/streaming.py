"""Segmentation of a video while it is read: results frame by frame, in memory that does not grow (METHOD section 6).

Enters: a video of any origin, also a camera, and what is asked. Leaves: `VideoStream`, which yields one `FrameResult`
after the other. The language pass on the key frames comes first, exactly as in `generate`; then every other frame is
decoded, encoded, tracked and handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from desa2va.configuration.integers import as_integer, is_integer
from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.language import generation_settings
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
from desa2va.processing.inputs import FrameSource, LiveSource, is_live, open_visual, shown, task_of_each
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.results import FrameResult, ObjectLabel, frame_result

from .answering import AnsweringMixin
from .joined_requests import CurrentFrame, JoinedRequests, join_seen
from .key_frame_choice import choose_key_frames
from .stream_answers import StreamAnswer, read_answers


class VideoStream:
    """Results of one video, one frame at a time; an iterator and a context manager.

    Args:
        frames: yields the results. source: the video. answers: one per sentence.
        key_frames: frames the language model saw. num_frames: `None` for a camera.
        job: what `frames` is made from.

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
        job: _Job,
    ) -> None:
        self._frames, self._job = frames, job
        self.source, self.answers = source, answers
        self.key_frames, self.num_frames = key_frames, num_frames

    def __iter__(self) -> VideoStream:
        return self

    def __next__(self) -> FrameResult:
        result = next(self._frames)
        for answer in self.answers:
            answer.update(result)
        return result

    def add(self, text: str, task: str = "segment", max_new_tokens: int = 128, **generation: Any) -> StreamAnswer:
        """One more request, from the next frame on.

        The language model is asked about that frame, alone, and its objects are followed from there: they get the
        masks of a stream that begins with this frame. What is followed already does not change, and numbers go on. On
        the way back to frames before the first key frame it is not followed.

        Args:
            text: one sentence. task, max_new_tokens, generation: as for `stream`.

        Returns:
            The answer, which waits for the frame; also the last one of `answers`.

        Raises:
            ValueError: no frame is to come forward, a strategy that looks ahead, or what processor or `generate`
                refuse.
        """
        job = self._job
        job.check_joining(text, task, {"max_new_tokens": max_new_tokens, **generation})
        answer = StreamAnswer(request=text, task=task, number=len(self.answers), since=None)
        self.answers.append(answer)
        job.requests.waiting.append((answer, task, {"max_new_tokens": max_new_tokens, **generation}))
        return answer

    def withdraw(self, number: int) -> None:
        """Ends request `number` after the last frame: its objects are on no further one, and their memories are freed.

        Other objects keep their numbers and masks, and its own are not used again.

        Raises:
            ValueError: there is no such request, or no longer.
        """
        going = [answer.number for answer in self.answers if not answer.withdrawn]
        if not is_integer(number) or number not in going:
            names = ", ".join(map(str, going)) or "none"
            raise ValueError(f"there is no request {shown(number)}; the stream follows: {names}")
        answer = self.answers[number]
        answer.withdrawn = True
        self._job.withdrawn.update(answer.objects)
        self._job.requests.leave(number)

    def close(self) -> None:
        """Ends the stream: stops the reading thread and frees memories and features. Nothing is yielded any more."""
        self._frames.close()
        self._job.end()  # a generator that was never begun has no end of its own

    def __enter__(self) -> VideoStream:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


@dataclass
class _Job:
    """What the frames of a stream are made from.

    Attributes:
        info: `VisualInfo` of the video. answer: of its key frames, `None` at the end. labels: of the objects.
        num_frames: `None` for a camera. strategy: of `walk_objects`. options: of the masks, complete.
        timestamp: frame number -> seconds.
        requests: those that joined. current: the frame it is at.
        images: source pictures of frames being worked on, by number; `None` where nobody needs them.
        keep_images: results hold them.
        withdrawn: numbers of objects that are followed no more. closed: no further frame is handed over.
    """

    info: Any
    answer: KeyFrameAnswer | None
    labels: list[ObjectLabel]
    num_frames: int | None
    strategy: str
    options: MaskOptions
    timestamp: Callable[[int], float]
    requests: JoinedRequests
    current: CurrentFrame
    images: dict[int, np.ndarray] | None = None
    keep_images: bool = False
    withdrawn: set[int] = field(default_factory=set)
    closed: bool = False

    def result(self, seen: TrackedFrame) -> FrameResult:
        """The result of one tracked frame, with the objects of requests that joined."""
        frame = seen.frame
        if self.withdrawn:
            kept = [row for row, number in enumerate(seen.objects) if number not in self.withdrawn]
            rows = [seen[name][kept] for name in ("logits", "iou", "object_score")]
            seen = TrackedFrame(frame, [seen.objects[row] for row in kept], *rows)
        labels = [self.labels[number] for number in seen.objects]
        further, further_labels = self.requests.follow(frame)
        image = None if self.images is None else self.images.pop(frame, None)
        return frame_result(
            frame,
            self.timestamp(frame),
            (self.info.height, self.info.width),
            join_seen([seen, *further]),
            labels + further_labels,
            self.options,
            image if self.keep_images else None,
        )

    def end(self) -> None:
        """Frees everything; no further frame is handed over."""
        self.closed, self.answer, self.images = True, None, None
        self.requests.close()
        self.current.clear()

    def check_joining(self, text: str, task: str, generation: dict[str, Any]) -> None:
        """Raises `ValueError` where a request can not join; looks at everything, since it is asked later."""
        if self.strategy == "memory":
            raise ValueError("strategy 'memory' looks at frames ahead; requests join with 'consistent' or 'per_frame'")
        newest = self.requests.newest
        if self.closed or newest + 1 == self.num_frames:
            raise ValueError(f"a request joins on a frame to come, and frame {newest} was the last one")
        blank = np.zeros((self.info.height, self.info.width, 3), np.uint8)
        if not isinstance(text, str):
            raise ValueError(f"a request is one sentence, got {shown(text)}")
        batch = self.requests.processor(videos=[[blank]], text=text, task=task)
        generation_settings(self.requests.model.mllm, batch["input_ids"].shape[1], generation)

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
        text: str | list[str] | None = None,
        processor: Any = None,
        *,
        task: str = "segment",
        key_frames: Any = None,
        num_key_frames: int | None = None,
        strategy: str | None = None,
        max_new_tokens: int = 128,
        options: MaskOptions | None = None,
        keep_images: bool = False,
        verify: bool = False,
        points: Any = None,
        boxes: Any = None,
        masks: Any = None,
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
            text: one sentence, or several about the same video: they share every image encoding. May be left out where
                the task has words of its own, as `"gcg"`.
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
            verify: as in `generate`; the best verified key frame of each object conditions the tracker.
            points, boxes, masks: beside words: regions of the first key frame, see `DeSa2VAProcessor`. Objects that
                are clicked alone are followed by a `DeSa2VASession`.

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
        marks = {"points": points, "boxes": boxes, "masks": masks}
        if isinstance(key_frames, str) and key_frames == "auto":
            if text is None or any(value is not None for value in marks.values()):
                raise ValueError("key_frames='auto' is for texts without points=, boxes= or masks=; name the frames")
            choice = choose_key_frames(self, processor, source, text, count, task=task, **generation)
            key_frames, known = choice.key_frames, choice.known
        batch = processor(videos=[source], text=text, task=task, key_frames=key_frames, num_key_frames=count, **marks)
        if "input_ids" not in batch:
            raise ValueError(
                "a stream follows what text= asks for; objects that are marked alone go to DeSa2VASession"
            )
        answer = self.answer_key_frames(**batch, known=known, verify=verify, processor=processor, **generation)
        info = batch["visuals"][0]
        tasks = task_of_each(batch["task"], len(batch["texts"]))
        answers, labels = read_answers(answer, list(zip(batch["requests"], tasks, strict=True)), processor)
        live = not getattr(source, "ended", True)
        num_frames = None if live else info.num_frames
        # A camera's frame can not be read once more for a request that joins.
        images = _at_hand(source, answer, info) if keep_images or live else None
        current = CurrentFrame(self.segmenter, info, images, answer.visuals[0])
        job = _Job(
            info,
            answer,
            labels,
            num_frames=num_frames,
            strategy=strategy,
            options=self.mask_options(options, strategy),
            timestamp=source.timestamp if live else info.timestamps.__getitem__,
            requests=JoinedRequests(self, processor, current, num_frames, strategy, len(labels)),
            current=current,
            images=images,
            keep_images=keep_images,
        )
        return VideoStream(self._stream(job), source, answers, list(info.key_frames), num_frames, job)

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
        try:
            with closing(self._seen_frames(job)) as frames:
                for seen in frames:
                    yield job.result(seen)
        finally:
            job.end()

    def _seen_frames(self, job: _Job) -> Generator[TrackedFrame, None, None]:
        """Every frame with the objects that were asked for at the start."""
        idle = 0
        if job.labels:
            # A camera's frame is answered before the next one comes.
            batch_size = 1 if job.num_frames is None else None
            encode = encode_lazily(self.segmenter, frame_reader(job.info, job.images), batch_size)
            encode = job.current.noting(encode)
            walk = self.walk_visual(job.answer, 0, job.num_frames, encode, job.strategy, job.withdrawn)
            with closing(walk):
                for seen in walk:
                    idle = max(idle, seen.frame + 1)
                    yield seen
        if job.labels and job.num_frames is not None:
            return
        # Nothing is there to be followed: frames are handed over as they come, without encoding them.
        size, device = self.segmenter.sam.prompt_encoder.mask_input_size, execution_device(self.segmenter.sam)
        for number in job.idle_frames(idle):
            yield absent_frame(number, len(job.labels), size, device)


def _at_hand(source: FrameSource, answer: KeyFrameAnswer, info: Any) -> dict[int, np.ndarray]:
    """The pictures of the frames that were looked at, by number."""
    frames = sorted({*info.key_frames, *answer.visuals[0].known})
    return dict(zip(frames, source.read(frames), strict=True))


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


__all__ = ["StreamingMixin", "VideoStream"]
