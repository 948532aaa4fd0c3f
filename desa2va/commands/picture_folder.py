"""A picture to a folder of results.

What enters: a picture and requests, in words, by marked objects, or both. What leaves: one result per request, and the
overlay, masks and files of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import AskSettings, joined_texts

if TYPE_CHECKING:
    from desa2va.processing.results import SegmentationResult


@dataclass(frozen=True, kw_only=True)
class PictureSettings(AskSettings):
    """How a picture is segmented.

    Attributes:
        explain: Keep both branches of every mask.
    """

    explain: bool = False


def segment_picture(
    model: Any, processor: Any, source: Any, requests: list[str], settings: PictureSettings | None = None
) -> list[SegmentationResult]:
    """Return one result per request about one picture, which is encoded once.

    Args:
        model: A `DeSa2VAModel`.
        processor: Its `DeSa2VAProcessor`.
        source: What the processor takes as a picture.
        requests: The user's texts; none where marked objects or the task say what is wanted.
        settings: How.
    """
    settings = PictureSettings() if settings is None else settings
    inputs = processor(images=source, text=requests or None, task=settings.task, **settings.marks)
    asking = {"verify": settings.verify, "return_branches": settings.explain}
    outputs = model.generate(**inputs, max_new_tokens=settings.max_new_tokens, **asking)
    options = {} if settings.options is None else vars(settings.options)
    results = processor.post_process(outputs, inputs, **options)
    number_through(results)
    return results


def number_through(results: list[SegmentationResult]) -> None:
    """Number the objects of all requests through, as the files and pixel values do, in the reasons too."""
    count = 0
    for result in results:
        result.number_from(count)
        count += len(result.objects)


def merge(results: list[SegmentationResult]) -> SegmentationResult:
    """Return one result with the objects of all requests, numbered through."""
    objects = []
    for result in results:
        for entry in result.objects:
            span = entry.span if len(results) == 1 else None
            objects.append(replace(entry, object_id=len(objects), span=span))
    first = next((result for result in results if result.status == "ok"), results[0])
    score = first.target_score if len(results) == 1 else None  # one number for several requests tells nothing
    return replace(first, objects=objects, target_score=score, **joined_texts(results))


def write_results(results: list[SegmentationResult], folder: Path) -> None:
    """Write overlay, masks, COCO, result and answers about a picture or video into an existing folder.

    Args:
        results: One per request.
        folder: Target.
    """
    from .video_folder import write_answers

    merged = merge(results)
    merged.save_png(folder / "masks")
    merged.to_coco(folder / "coco.json")
    merged.to_json(folder / "result.json")
    write_answers(folder / "answers.json", results)
    merged.save_overlay(folder / ("overlay.png" if merged.num_frames == 1 else "overlay.mp4"))


def write_explanations(results: list[SegmentationResult], folder: Path) -> None:
    """Write `explain_0.png`, ... for each result with objects.

    Args:
        results: Made with `PictureSettings.explain`.
        folder: Target.

    Raises:
        ValueError: The model has one branch only.
    """
    from PIL import Image

    for number, result in enumerate(results):
        if result.objects:
            Image.fromarray(result.explain().plot()).save(folder / f"explain_{number}.png")


__all__ = ["PictureSettings", "merge", "number_through", "segment_picture", "write_explanations", "write_results"]
