"""Frame results of a whole video to the files of `export`, in memory that does not grow with the video.

In: `FrameRecords`. Out: the same COCO and result files that `SegmentationResult` writes, filled frame by frame, and
the overlay video (results of METHOD section 6).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np

from desa2va.processing.files import (
    DEFAULT_FPS,
    VideoWriter,
    coco_annotation,
    empty_code,
    index_pixels,
    write_file,
    write_index_png,
)
from desa2va.processing.inputs import FrameSource

from .answer_text import ParsedAnswer
from .frame_records import FrameRecords, ObjectSummary
from .frame_results import FrameObject, FrameResult
from .statuses import told_of_answer


@dataclass
class RequestSummary:
    """What became of one request.

    Attributes:
        text: the answer without control tokens.
        raw_text: with them.
        status: `"ok"` if any object has a mask, else why not; as in `SegmentationResult`.
        reason: as in `SegmentationResult`.
        objects: its objects over all frames.
        request: what was asked, as it was given.
    """

    text: str
    raw_text: str
    status: str
    reason: str
    objects: list[ObjectSummary]
    request: str = ""

    @property
    def forced(self) -> bool:
        """Whether any object is there only because it was forced; see `ObjectResult`."""
        return any(entry.forced for entry in self.objects)

    @property
    def target_score(self) -> float | None:
        """See `SegmentationResult`; `None` also where nothing was marked."""
        return self.objects[0].target_score if self.objects else None


def summarise(records: FrameRecords, answers: Sequence[ParsedAnswer]) -> list[RequestSummary]:
    """One summary per request.

    Args:
        records: the frames.
        answers: one per request.
    """
    summaries = []
    for request, answer in enumerate(answers):
        mine = [entry for _, entry in sorted(records.objects.items()) if entry.request == request]
        objects = [
            SimpleNamespace(object_id=entry.object_id, status=status, reason=reason, span=answer.span(place))
            for place, entry in enumerate(mine)
            for status, reason in [entry.status(records.options)]
        ]
        told = told_of_answer(answer.text, objects, answer.task)
        summaries.append(RequestSummary(answer.text, answer.raw_text, *told, mine, answer.request))
    return summaries


def write_frame_png(result: FrameResult, folder: str | os.PathLike) -> None:
    """Writes the numbers of one frame's objects, `00000.png` and so on; see `SegmentationResult.save_png`."""
    pixels = index_pixels(
        ((entry.object_id, entry.mask) for entry in result.objects), (result.height, result.width), result.frame
    )
    write_index_png(pixels, Path(folder) / f"{result.frame:05d}.png")


def write_coco(records: FrameRecords, path: str | os.PathLike) -> None:
    """Writes COCO's form of the frames, as `result_to_coco`, with the annotations ordered by frame.

    Raises:
        FileExistsError: `path` exists.
    """
    names = sorted({entry.phrase or "object" for entry in records.objects.values()})
    categories = {name: index + 1 for index, name in enumerate(names)}

    def annotations() -> Iterable[dict[str, Any]]:
        count = 0
        for result in records:
            for entry in result.objects:
                if entry.area:
                    count += 1
                    category = categories[entry.phrase or "object"]
                    scores = (entry.iou_score, entry.object_score)
                    yield coco_annotation(count, result.frame, category, entry.object_id, entry.code, scores)

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(f'{{"info": {json.dumps(asdict(records.options))}, ')
            _write_list(file, "images", (_coco_image(result) for result in records))
            file.write(", ")
            _write_list(file, "annotations", annotations())
            file.write(", ")
            _write_list(file, "categories", ({"id": index, "name": name} for name, index in categories.items()))
            file.write("}")

    write_file(path, write)


def _coco_image(result: FrameResult) -> dict[str, Any]:
    return {
        "id": result.frame,
        "file_name": f"{result.frame:05d}",
        "height": result.height,
        "width": result.width,
    }


def write_result(
    records: FrameRecords,
    path: str | os.PathLike,
    head: dict[str, Any],
    spans: Sequence[tuple[int, int] | None] = (),
) -> None:
    """Writes a file that `SegmentationResult.from_json` reads; the frames are read once per object and list.

    Args:
        records: every frame of the video.
        path: the file.
        head: every field of `SegmentationResult.to_dict` but `objects` and `options`.
        spans: of the objects, in order of their numbers, where `text` is one answer.

    Raises:
        FileExistsError: `path` exists.
    """
    head = {**head, "options": asdict(records.options)}

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "objects": [')
            for place, number in enumerate(sorted(records.objects)):
                file.write(", " if place else "")
                span = spans[place] if place < len(spans) else None
                _write_object(file, records, records.objects[number], span)
            file.write("]}")

    write_file(path, write)


def _write_object(file: TextIO, records: FrameRecords, summary: ObjectSummary, span: tuple[int, int] | None) -> None:
    """One entry of `objects` in `SegmentationResult.to_dict`."""
    status, reason = summary.status(records.options)
    head = {
        "object_id": summary.object_id,
        "status": status,
        "reason": reason,
        "phrase": summary.phrase,
        "span": span,
        "seg_probability": summary.seg_probability,
        "forced": summary.forced,
        "agreement": summary.agreement,
    }
    file.write(json.dumps(head, ensure_ascii=False)[:-1])
    columns = {"codes": "code", "iou_scores": "iou_score", "object_scores": "object_score", "boxes": "box"}
    for name, attribute in columns.items():
        file.write(", ")
        entries = (_entry(result, summary.object_id) for result in records)
        _write_list(file, name, (getattr(entry, attribute) for entry in entries))
    file.write("}")


def _entry(result: FrameResult, object_id: int) -> FrameObject:
    """An object of a frame; where the frame does not list it: absent."""
    found = next((entry for entry in result.objects if entry.object_id == object_id), None)
    if found is not None:
        return found
    return FrameObject(object_id, empty_code(result.size), 0.0, 0.0, "no_target")


def _write_list(file: TextIO, name: str, items: Iterable[Any]) -> None:
    file.write(f'"{name}": [')
    for place, item in enumerate(items):
        file.write((", " if place else "") + json.dumps(item, ensure_ascii=False))
    file.write("]")


class GrowingOverlay(VideoWriter):
    """The masks drawn on a video, an mp4: frames while they are found, and the others when all are known.

    Args:
        path: the file; must not exist.
        video: the video.
    """

    def __init__(self, path: str | os.PathLike, video: FrameSource) -> None:
        super().__init__(path, video.fps or DEFAULT_FPS)
        self._video = video

    def add(self, result: FrameResult) -> None:
        """Draws a frame that holds its picture, if it is the next one: then it has not to be read once more."""
        if result.frame == self.num_frames and result.image is not None:
            self.write(result.plot())

    def finish(self, records: FrameRecords, shown: Callable[..., Iterable[np.ndarray]]) -> None:
        """Draws the frames that are left.

        Args:
            records: every frame of the video. shown: takes the pictures of those left and `total=` their number, and
                yields them, as a progress bar does.
        """
        first, total = self.num_frames, len(self._video)
        if first < total:
            for frame, image in enumerate(shown(self._video.iterate(first), total=total - first), first):
                self.write(records.read(frame).plot(image))


__all__ = [
    "GrowingOverlay",
    "RequestSummary",
    "summarise",
    "write_coco",
    "write_frame_png",
    "write_result",
]
