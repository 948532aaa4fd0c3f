"""Interactive video segmentation: start with words or clicks, look, correct, go on (METHOD section 6, Inter-VOS).

Enters: a video, and what a user says about it, one step at a time. Leaves: `FrameResult`s, frame by frame, or one
`SegmentationResult`. The session keeps one compact record per object and frame on disk (`store.py`), makes
SAM-2's memory from them when it is needed (`memory.py`), and walks the video (`walk.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from desa2va.configuration.integers import is_integer
from desa2va.processing.files import MaskOptions, is_text
from desa2va.processing.inputs import open_visual, shown
from desa2va.processing.results import FrameObject, FrameResult, ParsedAnswer, SegmentationResult, collect_frames

from .core import SessionCore
from .file import read_session, write_session
from .prompts import correction, new_prompts, settled
from .store import SessionObject
from .walk import DIRECTIONS
from .words import FoundObject, SessionAnswer, ask_for_objects


class DeSa2VASession:
    """Segments objects of one video in steps.

    Coordinates are pixels of the source, `(0, 0)` the top left corner of a frame. Memory does not grow with the video
    but for a few numbers per object and frame; results lie in a temporary file until `close`.

    Args:
        model: a `DeSa2VAModel` in eval mode. processor: its `DeSa2VAProcessor`.
        video: a path, a folder of pictures, a list of pictures, an array, or a `FrameSource`.
        options: how logits become masks; the thresholds of the model's configuration where they leave a choice.

    Attributes:
        video: the `FrameSource`. last_answer: what the model said to the last sentence, `None` before the first.

    Raises:
        ValueError: the model is in training mode, or the video can not be used.
    """

    def __init__(self, model: Any, processor: Any, video: Any, options: MaskOptions | None = None) -> None:
        if model.training:
            raise ValueError("a session needs eval mode: call .eval() on the model first")
        self._options = model.mask_options(options, strategy="consistent")
        self.video = open_visual(video)
        self.last_answer: SessionAnswer | None = None
        self._model, self._processor = model, processor
        self._open: SessionCore | None = self._new_core()

    # ------------------------------------------------------------------------------------------------ edits

    @torch.no_grad()
    def add(
        self,
        text: str | None = None,
        points: Any = None,
        boxes: Any = None,
        masks: Any = None,
        frame: int = 0,
        name: str | None = None,
        key_frames: str | Sequence[int] | None = None,
    ) -> list[int]:
        """Adds objects: by words, or by clicks, boxes or masks on one frame.

        Args:
            text: a request or a phrase; one object per `[SEG]` of the answer.
            points: `(k, 2)` or `(k, 3)` with labels (1 on the object, 0 beside it) for one object, or a list of these.
            boxes: `(4,)` or `(O, 4)`, x0, y0, x1, y1; may accompany points. masks: `(H, W)` or `(O, H, W)`.
            frame: where points, boxes and masks are.
            name: what results call the objects; with words, when omitted, their phrase (`ObjectResult`).
            key_frames: with words: the frames the language model sees, as the processor takes them, or `"auto"`.

        Returns:
            Numbers of the new objects; empty where words found nothing (`last_answer` says why).

        Raises:
            ValueError: not exactly one kind of prompt, an unknown frame, or prompts that mark nothing in the picture.
        """
        core = self._core
        if name is not None and not is_text(name):
            raise ValueError(f"name={name!r:.60} must be a text, since results and files show it")
        clicks = points is not None or boxes is not None
        if (text is not None) + (masks is not None) + clicks != 1:
            raise ValueError("add needs one kind of prompt: text, masks, or points and/or boxes")
        if text is not None:
            found = self._ask(text, key_frames)
            if found:
                with core.edit():
                    self.last_answer.object_ids = [
                        core.start(name or one.phrase, one.seg_probability, one.prompts, one.forced, one.denied)
                        for one in found
                    ]
            return list(self.last_answer.object_ids)
        if key_frames is not None:
            raise ValueError("key_frames= goes with text=; points, boxes and masks are on frame=")
        frame = core.frame_number(frame)
        given = new_prompts(points, boxes, masks, self.video, frame, core.memory.sam.image_size)
        with core.edit():
            return [core.start(name, 1.0, {frame: (prompt, None)}) for prompt in given]

    @torch.no_grad()
    def correct(
        self,
        object_id: int,
        frame: int,
        points: Any = None,
        box: Any = None,
        mask: Any = None,
        text: str | None = None,
    ) -> FrameObject | None:
        """Corrects one object on one frame, which from then on conditions the tracker; `propagate` carries it on.

        Clicks are added to those given on this frame before, and to the mask they led to; a box starts over; a mask
        is taken as it is. Where the object had been tracked to the frame, clicks are read with its memory of other
        frames, as SAM-2 does.

        Args:
            object_id: which object. frame: where.
            points: `(k, 2)` or `(k, 3)`, see `add`. box: `(4,)`; may accompany points. mask: `(H, W)`.
            text: a sentence about this one frame that names the object.

        Returns:
            The object on this frame; `None` where the words found nothing (`last_answer` says why, nothing changed).

        Raises:
            ValueError: an unknown object or frame, not exactly one kind of prompt, one that marks nothing in the
                picture, or words that find several objects.
        """
        core = self._core
        state = core.state(object_id)
        frame = core.frame_number(frame)
        if (text is not None) + (mask is not None) + (points is not None or box is not None) != 1:
            raise ValueError("correct needs one kind of prompt: text, mask, or points and/or box")
        answer = None
        if text is None:
            given = correction(state, frame, points, box, mask, self.video, core.memory.sam.image_size)
        else:
            found = self._ask(text, [frame])
            if len(found) > 1:
                raise ValueError(f"{shown(text)} finds {len(found)} objects on frame {frame}; name the one meant")
            if not found:
                return None
            self.last_answer.object_ids = [state.object_id]
            given, answer = found[0].prompts[frame]
            given = settled(state, frame, given)
        with core.edit():
            core.correct(state, frame, given, answer)
        return core.result(frame, only=state).objects[0]

    def remove(self, object_id: int) -> None:
        """Takes an object out of the session; its number is not used again.

        Raises:
            ValueError: there is no such object, or no longer.
        """
        core = self._core
        state = core.state(object_id)
        with core.edit():
            del core.objects[state.object_id]

    def undo(self) -> None:
        """Takes the last `add`, `correct` or `remove` back, and all that was propagated since.

        Raises:
            ValueError: there is nothing to take back.
        """
        self._core.undo()

    def clear(self) -> None:
        """Takes everything out of the session: objects, results and what could be undone."""
        self._core.close()
        self._open, self.last_answer = self._new_core(), None

    # ------------------------------------------------------------------------------------------------ results

    def propagate(
        self, objects: int | Sequence[int] | None = None, start: int | None = None, direction: str | None = None
    ) -> Iterator[FrameResult]:
        """Tracks objects through the video; what has been yielded is done, the rest waits if you stop early.

        By default whatever waits: of a new object all frames, forwards and then backwards from its first prompted one;
        of a corrected one those from the corrected frame on. Earlier frames stay as they are unless asked for.

        Args:
            objects: which; those that wait when omitted, or all where none waits and a direction is given.
            start: first frame; where the object waits, or was edited last, when omitted.
            direction: `"forward"` to the end, `"backward"` to frame 0, or `"both"`; with `start` alone forward.

        Yields:
            Every object of the session that has been tracked or prompted on the frame.

        Raises:
            ValueError: no or unknown objects, an unknown frame or direction.
            RuntimeError: the session was edited while the generator was in use.
        """
        core = self._core
        if direction not in (None, *DIRECTIONS):
            raise ValueError(f"direction={shown(direction)} is unknown; choose one of {', '.join(DIRECTIONS)}")
        if start is not None:
            start = core.frame_number(start)
            direction = direction or "forward"
        if objects is None:
            objects = [number for number, state in core.objects.items() if state.waits] or list(core.objects)
        numbers = [objects] if is_integer(objects) else objects
        states = list({id(state): state for state in map(core.state, numbers)}.values())
        if not states:
            raise ValueError("there are no objects to propagate; add one first")
        return core.propagate(states, start, direction)

    @property
    def objects(self) -> dict[int, SessionObject]:
        """Object number -> what is known of the object."""
        return {
            number: SessionObject(number, state.name, sorted(state.prompts), state.waits)
            for number, state in self._core.objects.items()
        }

    def result(self, frame: int) -> FrameResult:
        """One frame, with every object that has been tracked or prompted there; others still wait."""
        return self._core.result(self._core.frame_number(frame))

    def results(self) -> SegmentationResult:
        """The whole video; an object counts as absent where it has not been tracked."""
        core = self._core
        frames = (core.result(frame) for frame in range(len(self.video)))
        return collect_frames(frames, [ParsedAnswer()], self.video)[0]

    # ------------------------------------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Writes objects, prompts and results to one file, complete or not at all; not what could be undone.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
            OSError: it can not be written, for example because the disk is full.
        """
        write_session(path, self._model.segmenter, self._core, overwrite)

    @classmethod
    def load(
        cls, path: str | os.PathLike, model: Any, processor: Any, video: Any = None, options: MaskOptions | None = None
    ) -> DeSa2VASession:
        """Takes up a saved session, in any process.

        Args:
            path: written by `save`. model, processor: those it was made with.
            video: the video it was made with; opened by its stored name when omitted.
            options: see the class.

        Raises:
            FileNotFoundError: no such file, or no video at the stored name.
            ValueError: the file is broken, or belongs to another model or video.
        """
        file = read_session(path)
        session = cls(model, processor, file.video_name if video is None else video, options)
        try:
            file.check(model.segmenter, session._core)
            file.restore(session._core)
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        """Frees memory and temporary file; safe to call twice."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> DeSa2VASession:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def _core(self) -> SessionCore:
        if self._open is None:
            raise ValueError("this session is closed; start a new one or load a saved one")
        return self._open

    def _new_core(self) -> SessionCore:
        return SessionCore(self._model.segmenter, self.video, self._processor.sam_image_processor, self._options)

    def _ask(self, text: str, key_frames: str | Sequence[int] | None) -> list[FoundObject]:
        self.last_answer, found, features = ask_for_objects(self._model, self._processor, self.video, text, key_frames)
        for frame, encoded in features.items():
            self._core.memory.cache.put(frame, encoded)
        return found


__all__ = ["DeSa2VASession"]
