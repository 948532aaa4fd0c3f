"""`desa2va segment`: masks of what the words name, in a picture, a folder of frames or a video.

What enters: an input and one or several requests. What leaves, in one folder that is complete or absent: an overlay,
one indexed PNG per frame, COCO run-length codes, the whole result as JSON, and the answers in words.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import add_command, add_model_arguments, input_kind, load_model, output_folder

if TYPE_CHECKING:
    from desa2va.processing.results import SegmentationResult

    from .frames import ShownFrames

_EXAMPLES = """
  desa2va segment photo.jpg "the small red circle"                  -> photo_masks/
  desa2va segment photo.jpg "the red circle" "the blue square"      several requests, the picture is encoded once
  desa2va segment clip.mp4 "the green star" --out out               every frame; overlay as mp4
  desa2va segment frames/ "the star" --max-frames 50                a folder of pictures, the first 50 frames
  desa2va segment photo.jpg "describe it" --task gcg                a description, each phrase with its mask

what lies in the folder:
  overlay.png | overlay.mp4   the masks drawn on the input
  masks/00000.png ...         one per frame, pixel value = object number + 1, 0 = background
  coco.json                   run-length codes, boxes and scores in COCO's form
  result.json                 everything (SegmentationResult.from_json reads it)
  answers.json                for each request: the answer, its status and its objects
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "segment", "masks of what you name, in a picture or a video", _EXAMPLES)
    parser.add_argument("input", metavar="INPUT", help="a picture, a video, a folder of frames, or an address")
    parser.add_argument(
        "what", nargs="+", metavar="WHAT", help="what to segment, in words; several requests are allowed"
    )
    parser.add_argument("--out", metavar="DIR", help="target folder; default: <name of the input>_masks here")
    parser.add_argument("--replace", action="store_true", help="replace an existing target folder")
    parser.add_argument(
        "--task",
        choices=("segment", "auto", "gcg"),
        default="segment",
        help="segment: always point; auto: as the model likes; gcg: a grounded description; default: %(default)s",
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="only the first N frames of a video")
    parser.add_argument(
        "--max-new-tokens", type=int, default=128, metavar="N", help="longest answer; default: %(default)s"
    )
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment, write, and say what was found."""
    if args.max_frames is not None and args.max_frames < 1:
        raise ValueError(f"--max-frames {args.max_frames} must be at least 1")
    kind = input_kind(args.input)
    out = Path(args.out or f"{Path(args.input.rstrip('/')).stem or 'input'}_masks")
    with output_folder(out, args.replace) as folder:
        model, processor = load_model(args)
        source = open_video(args.input, args.max_frames) if kind == "video" else args.input
        results = segment(model, processor, source, args.what, kind, args.task, args.max_new_tokens)
        write_results(results, args.what, folder, kind == "video")
    print_results(results, args.what)
    print(f"written to {out}")
    return 0


def open_video(source: str, max_frames: int | None = None) -> ShownFrames:
    """Return the frames of a video file or folder, the first `max_frames` of them, read with a progress bar."""
    from desa2va.processing.video_io import open_visual

    from .frames import ShownFrames

    return ShownFrames(open_visual(source, source), max_frames)


def segment(
    model: Any, processor: Any, source: Any, requests: list[str], kind: str, task: str, max_new_tokens: int = 128
) -> list[SegmentationResult]:
    """Return one result per request about one picture or video, which is encoded once.

    Args:
        model: A `DeSa2VAModel`.
        processor: Its `DeSa2VAProcessor`.
        source: What the processor takes as a picture or a video.
        requests: The user's texts.
        kind: `"image"` or `"video"`.
        task: `"segment"`, `"auto"` or `"gcg"`.
        max_new_tokens: Longest answer.
    """
    inputs = processor(**{f"{kind}s": source}, text=requests, task=task)
    outputs = model.generate(**inputs, max_new_tokens=max_new_tokens)
    return processor.post_process(outputs, inputs)


def merge(results: list[SegmentationResult], requests: list[str]) -> SegmentationResult:
    """Return one result with the objects of all requests, numbered through and named by phrase or request."""
    objects = []
    for result, request in zip(results, requests, strict=True):
        for entry in result.objects:
            objects.append(replace(entry, object_id=len(objects), phrase=entry.phrase or request, span=None))
    first = next((result for result in results if result.status == "ok"), results[0])
    texts = {name: "\n".join(getattr(result, name) for result in results) for name in ("text", "raw_text")}
    return replace(first, objects=objects, **texts)


def write_results(results: list[SegmentationResult], requests: list[str], folder: Path, is_video: bool) -> None:
    """Write overlay, masks, COCO, result and answers into an existing folder.

    Args:
        results: One per request, all about one visual.
        requests: The user's texts.
        folder: Target.
        is_video: Whether the overlay becomes an mp4.
    """
    merged = results[0] if len(results) == 1 else merge(results, requests)
    merged.save_png(folder / "masks")
    merged.to_coco(folder / "coco.json")
    merged.to_json(folder / "result.json")
    answers, first = [], 0
    for result, request in zip(results, requests, strict=True):
        numbers = list(range(first, first + len(result.objects)))
        first += len(numbers)
        answer = {"request": request, "answer": result.text, "status": result.status, "reason": result.reason}
        answers.append({**answer, "objects": numbers})
    (folder / "answers.json").write_text(json.dumps(answers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    merged.save_overlay(folder / ("overlay.mp4" if is_video else "overlay.png"))


def print_results(results: list[SegmentationResult], requests: list[str]) -> None:
    """Print for each request the answer and for each object its size and scores on the frame where it is largest."""
    for result, request in zip(results, requests, strict=True):
        print(f"{request!r}: {result.text}  [{result.status}]" + (f" {result.reason}" if result.reason else ""))
        for entry in result.objects:
            areas = entry.areas
            best = max(range(len(areas)), key=areas.__getitem__)
            seen = sum(area > 0 for area in areas)
            where = f"{seen} of {len(areas)} frames, at most " if len(areas) > 1 else ""
            share = areas[best] / (result.height * result.width)
            print(
                f"  object {entry.object_id}: {where}{areas[best]} pixels ({share:.1%}), box {entry.boxes[best]}, "
                f"predicted IoU {entry.iou_scores[best]:.2f}, object score {entry.object_scores[best]:.2f}"
            )
