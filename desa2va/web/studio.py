"""One visitor's work on a picture or a video: words, clicks, boxes, masks, turns of a conversation, files.

What enters: what a visitor does, one step at a time. What leaves: a `View` to be shown, or a file. A picture is a
video of one frame, so everything is a `DeSa2VASession`. Every method but `export` and `save` is to be called in the
model's thread (`Engine.call`). (Engineering; no paper section.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
from desa2va.modeling_desa2va.session import DeSa2VASession
from desa2va.processing.files import object_colour
from desa2va.processing.inputs import MemorySource, load_image, visual_kind
from desa2va.serving.limits import Limits
from desa2va.serving.media import check_picture, opened_video

from .exports import write_files

TOOLS = ("on it", "beside it", "box")


@dataclass(frozen=True)
class Shown:
    """An object as the page lists it.

    Attributes:
        number: of the object. name: what it is called. colour: RGB, its colour on every frame.
        waits: whether frames of it are still to be tracked.
    """

    number: int
    name: str
    colour: tuple[int, int, int]
    waits: bool


@dataclass(frozen=True)
class View:
    """What the page shows.

    Attributes:
        picture: uint8 (H, W, 3), the frame with its masks. frame: its number. num_frames: of the video.
        objects: all of them. chosen: number of the one that clicks correct; `None`: they make a new one.
        said: one sentence about what happened.
    """

    picture: np.ndarray
    frame: int
    num_frames: int
    objects: list[Shown]
    chosen: int | None
    said: str


class Studio:
    """What one visitor works on.

    Args:
        model, processor: of every visitor. path: the picture or video, which is read once and not kept open.
        limits: size and length that are granted.

    Attributes:
        session: the `DeSa2VASession`. folder: files of this visitor, gone with `close`. frame: the one that is shown.
        chosen: see `View`. corner: the first corner of a box, (x, y), until the second is clicked.

    Raises:
        ValueError: the file is neither a picture nor a video, or beyond the limits.
    """

    def __init__(self, model: Any, processor: Any, path: str | Path, limits: Limits) -> None:
        self._model, self._processor = model, processor
        self._temporary = tempfile.TemporaryDirectory(prefix="desa2va-visitor-")
        self.folder = Path(self._temporary.name)
        self.frame, self.chosen, self.corner = 0, None, None
        self._sentence: str | None = None
        self._talk: DeSa2VAConversation | None = None
        self._talk_frame = 0
        try:
            self.session = DeSa2VASession(model, processor, _open(Path(path).read_bytes(), limits))
        except BaseException:
            self._temporary.cleanup()
            raise

    # ------------------------------------------------------------------------------------------------ what is shown

    @property
    def is_picture(self) -> bool:
        """Whether there is nothing to track."""
        return len(self.session.video) == 1

    def show(self, said: str = "", frame: int | None = None) -> View:
        """The page as it is now; `frame` turns to another one.

        Raises:
            ValueError: there is no such frame.
        """
        video = self.session.video
        frame = self.frame if frame is None else int(frame)
        if not 0 <= frame < len(video):
            raise ValueError(f"frame {frame} does not exist; the video has {len(video)}, from 0 on")
        if frame != self.frame:
            self.frame, self.corner = frame, None
        objects = [
            Shown(number, entry.name or f"object {number}", object_colour(number), entry.pending)
            for number, entry in self.session.objects.items()
        ]
        if self.chosen not in self.session.objects:
            self.chosen = None
        (image,) = video.read([frame])
        return View(self.session.result(frame).plot(image), frame, len(video), objects, self.chosen, said)

    def choose(self, number: int | None) -> View:
        """Clicks correct this object from now on; with `None` they make a new one."""
        self.chosen, self.corner = number, None
        return self.show()

    # ------------------------------------------------------------------------------------------------ edits

    def find(self, text: str, name: str = "") -> View:
        """Objects by words, looked for on the shown frame.

        Raises:
            ValueError: no words.
        """
        text = _words(text, "what shall be found")
        self._sentence = text
        numbers = self.session.add(text=text, name=name.strip() or None, key_frames=[self.frame])
        answer = self.session.last_answer
        if not numbers:
            return self.show(f"Nothing was found: {answer.reason or answer.status}.")
        self.chosen = numbers[-1]
        return self.show(f"{_objects(len(numbers))} found. {answer.text}{self._hint()}")

    def click(self, x: float, y: float, tool: str = TOOLS[0], name: str = "") -> View:
        """A click on the shown frame, in pixels of the source: on an object, beside it, or a corner of a box.

        Raises:
            ValueError: outside the picture, an unknown tool, or a point beside an object where none is chosen.
        """
        if tool not in TOOLS:
            raise ValueError(f"tool {tool!r:.40} is unknown; choose one of {', '.join(TOOLS)}")
        if tool == "box":
            if self.corner is None:
                self.corner = (x, y)
                return self.show(f"Corner at {x:g}, {y:g}; click the opposite one.")
            (x0, y0), self.corner = self.corner, None
            return self.mark(name, box=[min(x0, x), min(y0, y), max(x0, x), max(y0, y)])
        if tool == "beside it" and self.chosen is None:
            raise ValueError("choose the object first that this point is not on")
        return self.mark(name, points=[[x, y, int(tool == "on it")]])

    def type_marks(self, numbers: str, tool: str = TOOLS[0], name: str = "") -> View:
        """What a click does, by the keyboard: `x y` of a point, or `x0 y0 x1 y1` of a box.

        Raises:
            ValueError: other than two or four numbers, and as `click`.
        """
        try:
            values = [float(word) for word in numbers.replace(",", " ").split()]
        except ValueError:
            values = []
        if len(values) == 4:
            return self.mark(name, box=values)
        if len(values) != 2:
            raise ValueError("type x y of a point, or x0 y0 x1 y1 of a box, in pixels")
        return self.click(*values, TOOLS[0] if tool == "box" else tool, name)

    def mask_file(self, path: str, name: str = "") -> View:
        """A mask of the shown frame: a picture of the same size, black where the object is not.

        Raises:
            ValueError: no picture, or one of another size.
        """
        mask = load_image(path, "the mask").any(axis=2)
        size = self.session.video.height, self.session.video.width
        if mask.shape != size:
            raise ValueError(f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, the frame {size[1]} x {size[0]}")
        return self.mark(name, mask=mask)

    def mark(self, name: str, points: Any = None, box: Any = None, mask: Any = None) -> View:
        """Corrects the chosen object on the shown frame, or makes a new one there, which is then the chosen one."""
        place = f"frame {self.frame}"
        if points is not None:
            place += f" at {points[0][0]:g}, {points[0][1]:g}"
        if box is not None:
            place += " in {:g}, {:g} to {:g}, {:g}".format(*box)
        if self.chosen is None:
            (self.chosen,) = self.session.add(
                points=points, boxes=box, masks=mask, frame=self.frame, name=name.strip() or None
            )
            return self.show(f"A new object on {place}.{self._hint()}")
        self.session.correct(self.chosen, self.frame, points, box, mask)
        return self.show(f"Corrected on {place}.{self._hint()}")

    def remove(self) -> View:
        """Takes the chosen object out.

        Raises:
            ValueError: none is chosen.
        """
        if self.chosen is None:
            raise ValueError("choose the object first that is to be removed")
        self.session.remove(self.chosen)
        return self.show("Removed; Undo brings it back.")

    def undo(self) -> View:
        """Takes the last edit back, and all that was tracked since; or the first corner of a box.

        Raises:
            ValueError: there is nothing to take back.
        """
        if self.corner is not None:
            self.corner = None
            return self.show("The corner is forgotten.")
        self.session.undo()
        return self.show("The last step is taken back.")

    def propagate(self, direction: str | None = None) -> Iterator[int]:
        """Tracks what waits, or everything in a direction from the shown frame on; yields the number of each frame."""
        options = {} if direction is None else {"direction": direction, "start": self.frame}
        return (result.frame for result in self.session.propagate(**options))

    # ------------------------------------------------------------------------------------------------ words and files

    def ask(self, text: str, stopped: Callable[[], bool] = lambda: False) -> tuple[str, View]:
        """The next turn of a conversation about the shown frame; the chosen object, where it has a mask, is marked.

        Masks of the answer become objects. It ends early when `stopped` says so.

        Returns:
            The answer, and the page.
        """
        text = _words(text, "what is asked")
        (image,) = self.session.video.read([self.frame])
        if self._talk is None or self._talk_frame != self.frame:
            self._end_talk()
            self._talk = DeSa2VAConversation(self._model, self._processor, image=image)
            self._talk_frame = self.frame
        known = {found.object_id: found.mask for found in self.session.result(self.frame).objects}
        mask = known.get(self.chosen)
        marks = {"masks": [mask]} if mask is not None and mask.any() else {"objects": []}
        answer = self._talk.ask(text, "auto", **marks, stopping_criteria=[lambda *_, **__: stopped()])
        for found in answer.objects:
            if found.mask().any():
                self.session.add(masks=found.mask(), frame=self.frame, name=found.phrase)
        return answer.text or answer.reason, self.show()

    def explain(self) -> np.ndarray:
        """Why the last sentence's masks are as they are on the shown frame, uint8 (h, w, 3).

        Raises:
            ValueError: there is no sentence yet, nothing is marked, or the model has one branch only.
        """
        if self._sentence is None:
            raise ValueError("find something by words first; then its masks can be explained")
        (image,) = self.session.video.read([self.frame])
        inputs = self._processor(images=image, text=self._sentence, task="segment")
        output = self._model.generate(**inputs, return_branches=True)
        return self._processor.post_process(output, inputs)[0].explain().plot()

    def export(self) -> list[str]:
        """Paths of the overlay (PNG or MP4), the masks (PNG or ZIP of PNGs), and COCO JSON.

        Raises:
            ValueError: there is no object.
        """
        if not self.session.objects:
            raise ValueError("there is no object to download; find or click one first")
        return write_files(self.session.results(), self.folder)

    def save(self) -> str:
        """Path of the session as a file, with which work on the same picture or video goes on later."""
        path = self.folder / "work.desa2va"
        self.session.save(path, overwrite=True)
        return str(path)

    def resume(self, path: str) -> View:
        """Takes up saved work on the picture or video that is open.

        Raises:
            ValueError: the file is broken, or belongs to another model or video.
        """
        session = DeSa2VASession.load(path, self._model, self._processor, self.session.video)
        self.session.close()
        self.session, self.chosen, self.corner = session, None, None
        return self.show(f"Goes on with {_objects(len(session.objects))}.{self._hint()}")

    def close(self) -> None:
        """Frees everything and removes the files; safe to call twice."""
        self._end_talk()
        self.session.close()
        self._temporary.cleanup()

    def _end_talk(self) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None

    def _hint(self) -> str:
        waits = not self.is_picture and any(entry.pending for entry in self.session.objects.values())
        return " Follow carries it through the video." if waits else ""


def _open(content: bytes, limits: Limits) -> Any:
    """A picture or video as a `FrameSource` within the limits. As bytes, since a path could be a list of others."""
    if visual_kind(content) == "image":
        check_picture(content, limits)
        return MemorySource([load_image(content, "picture")], "picture")
    return opened_video(content, "video", limits)


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


def _words(text: str, what: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError(f"type {what}")
    return text


__all__ = ["Shown", "Studio", "TOOLS", "View"]
