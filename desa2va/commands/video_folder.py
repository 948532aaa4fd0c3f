"""A video to a folder of results that grows frame by frame.

What enters: a video and requests. What leaves: one indexed PNG and one line of JSON per frame, written as the frame is
done, and at the end the files that need all frames. Memory does not grow with the video.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from .common import AskSettings, joined_texts

if TYPE_CHECKING:
    from desa2va.processing.inputs import FrameSource
    from desa2va.processing.results import FrameRecords, FrameResult, GrowingOverlay, RequestSummary


@dataclass(frozen=True, kw_only=True)
class VideoSettings(AskSettings):
    """How a video is segmented; `None` leaves the choice to processor and model.

    Attributes:
        key_frames: `"first"`, `"uniform"`, `"auto"`, `"all"` or frame numbers.
        num_key_frames: How many.
        strategy: `"consistent"`, `"memory"` or `"per_frame"`.
    """

    key_frames: str | list[int] | None = None
    num_key_frames: int | None = None
    strategy: str | None = None


def segment_video(
    model: Any, processor: Any, video: FrameSource, requests: list[str], folder: Path, settings: VideoSettings
) -> list[RequestSummary]:
    """Write `masks/`, `frames.jsonl`, then `coco.json`, `result.json`, `answers.json` and `overlay.mp4`.

    Args:
        model: A `DeSa2VAModel`.
        processor: Its `DeSa2VAProcessor`.
        video: The video.
        requests: The user's texts; none where marked objects or the task say what is wanted.
        folder: Target; exists and is empty.
        settings: How.

    Returns:
        What became of each request.
    """
    from desa2va.processing.results import FrameRecords, GrowingOverlay, summarise, write_coco

    (folder / "masks").mkdir()
    follow = _follow if requests or settings.task == "gcg" else _follow_marks
    with FrameRecords(folder / "frames.jsonl") as records, GrowingOverlay(folder / "overlay.mp4", video) as overlay:
        answers = follow(model, processor, video, requests, _Frames(records, overlay), settings)
        summaries = summarise(records, answers)
        write_answers(folder / "answers.json", summaries)
        write_coco(records, folder / "coco.json")
        spans = answers[0].spans if len(answers) == 1 else ()
        _write_result(records, folder / "result.json", summaries, video, spans)
        overlay.finish(records, partial(tqdm, desc="overlay", unit="frame"))
    return summaries


def _follow(
    model: Any,
    processor: Any,
    video: FrameSource,
    requests: list[str],
    written: _Frames,
    settings: VideoSettings,
) -> list[Any]:
    """Write every frame as it comes; return the answers."""
    from desa2va.modeling_desa2va.answering import refine_small_objects

    stream = model.stream(
        video,
        requests or None,
        processor,
        task=settings.task,
        key_frames=settings.key_frames,
        num_key_frames=settings.num_key_frames,
        strategy=settings.strategy,
        max_new_tokens=settings.max_new_tokens,
        options=settings.options,
        keep_images=True,
        verify=settings.verify,
        **settings.marks,
    )
    with stream, _frame_bar(video) as bar:
        for result in stream:
            if settings.refine_small:
                result = refine_small_objects(model, processor, result)
            written.add(result)
            bar.update()
    return stream.answers


def _follow_marks(
    model: Any, processor: Any, video: FrameSource, _: list[str], written: _Frames, settings: VideoSettings
) -> list[Any]:
    """`_follow` for marked objects without words, which SAM-2 follows from the frame on which they are marked."""
    from desa2va.modeling_desa2va.session import DeSa2VASession
    from desa2va.processing.inputs import MARKED_REQUEST, region_phrase
    from desa2va.processing.results import ParsedAnswer

    with DeSa2VASession(model, processor, video, settings.options) as session, _frame_bar(video) as bar:
        marked = session.add(**settings.marks, frame=(settings.key_frames or [0])[0])
        names = {number: region_phrase(place) for place, number in enumerate(marked, 1)}
        for result in session.propagate():
            named = [replace(entry, phrase=names[entry.object_id]) for entry in result.objects]
            written.add(replace(result, objects=named))
            bar.update()
    return [ParsedAnswer(request=MARKED_REQUEST)]


def _frame_bar(video: FrameSource) -> tqdm:
    return tqdm(total=len(video), desc="frames", unit="frame")


@dataclass
class _Frames:
    """Where a frame goes as it comes."""

    records: FrameRecords
    overlay: GrowingOverlay

    def add(self, result: FrameResult) -> None:
        """Write the masks and the line of one frame, and draw it."""
        from desa2va.processing.results import write_frame_png

        write_frame_png(result, self.records.path.parent / "masks")
        self.records.append(result)
        self.overlay.add(result)


def finished_frames(folder: Path) -> int:
    """Return how many frames are complete in the folder of a run that stopped early; what is not complete goes."""
    path = folder / "frames.jsonl"
    if not path.is_file():
        return 0
    for draft in folder.rglob(".*.writing-*"):
        draft.unlink(missing_ok=True)
    lines = path.read_bytes()
    whole = lines.rfind(b"\n") + 1
    if whole < len(lines):  # a kill came in the middle of a line
        os.truncate(path, whole)
    return lines.count(b"\n")


def write_answers(path: Path, summaries: list[Any]) -> None:
    """Write for each request its answer, status, reason, whether it was forced, its target score where the model is
    calibrated, and its objects, counted through.

    Args:
        path: The file.
        summaries: For each request anything with `request`, `text`, `status`, `reason`, `forced`, `target_score` and
            `objects`.
    """
    answers, first = [], 0
    for summary in summaries:
        numbers = list(range(first, first + len(summary.objects)))
        first += len(numbers)
        answer = {"request": summary.request, "answer": summary.text}
        answer |= {name: getattr(summary, name) for name in ("status", "reason", "forced")}
        score = {} if summary.target_score is None else {"target_score": summary.target_score}
        answers.append({**answer, **score, "objects": numbers})
    path.write_text(json.dumps(answers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_result(
    records: FrameRecords,
    path: Path,
    summaries: list[RequestSummary],
    video: FrameSource,
    spans: Sequence[tuple[int, int] | None],
) -> None:
    """Write all requests as one `SegmentationResult`."""
    from desa2va.processing.results import write_result

    shown = next((summary for summary in summaries if summary.status == "ok"), summaries[0])
    head = {
        **joined_texts(summaries),
        "status": shown.status,
        "reason": shown.reason,
        "height": video.height,
        "width": video.width,
        "num_frames": len(video),
        "fps": video.fps,
        "name": video.name,
        "target_score": shown.target_score if len(summaries) == 1 else None,
    }
    write_result(records, path, head, spans)


__all__ = ["VideoSettings", "finished_frames", "segment_video", "write_answers"]
