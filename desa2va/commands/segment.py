"""`desa2va segment`: masks of what the words name, in a picture, a folder of frames or a video.

What enters: an input and one or several requests. What leaves, in one folder that is complete or absent: an overlay,
one indexed PNG per frame, COCO run-length codes, the whole result as JSON, and the answers in words. Of a video that
stops half-way (interrupt, full disk, broken input) the finished frames stay in a folder named `.partial`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desa2va.argument_types import LARGEST, add_model_arguments, integer, named, unknown_name

from .common import add_command, input_kind, keep_finished, load_model

if TYPE_CHECKING:
    from desa2va.processing.files import MaskOptions
    from desa2va.processing.results import RequestSummary, SegmentationResult

    from .frames import FirstFrames

MOST_REQUESTS = 255  # pixel values of a palette picture, without the background
_EXAMPLES = """
  desa2va segment photo.jpg "the small red circle"                  -> photo_masks/
  desa2va segment photo.jpg "the red circle" "the blue square"      several requests, the picture is encoded once
  desa2va segment clip.mp4 "the green star" --out out               every frame; overlay as mp4
  desa2va segment frames/ "the star" --max-frames 50                a folder of pictures, the first 50 frames
  desa2va segment clip.mp4 "the star" --key-frames 0,40,80          the model looks at these frames, then follows
  desa2va segment clip.mp4 "a cup" "a spoon" --no-overlap --fill-holes 50
  desa2va segment photo.jpg "describe it" --task gcg                a description, each phrase with its mask

what lies in the folder:
  overlay.png | overlay.mp4   the masks drawn on the input
  masks/00000.png ...         one per frame, pixel value = object number + 1, 0 = background
  frames.jsonl                of a video: a line per frame, written as it is done
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
        **named("segment", "auto", "gcg"),
        default="segment",
        help="segment: always point; auto: as the model likes; gcg: a grounded description; default: %(default)s",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=integer(1, 131_072),
        default=128,
        metavar="N",
        help="longest answer; default: %(default)s",
    )
    _add_video_arguments(parser)
    _add_mask_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _add_video_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("videos")
    group.add_argument("--max-frames", type=integer(1), metavar="N", help="only the first N frames")
    group.add_argument(
        "--key-frames",
        type=_key_frames,
        metavar="HOW",
        help="frames the language model sees: first, uniform, auto (chosen by the model's own scores), all, or frame "
        "numbers such as 0,5,9; default: the model's own choice",
    )
    group.add_argument(
        "--num-key-frames", type=integer(1, 1000), metavar="N", help="how many; default: the model's own choice"
    )
    group.add_argument(
        "--strategy",
        **named("consistent", "memory", "per_frame"),
        help="how masks reach the other frames; default: the model's own choice",
    )


def _add_mask_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("masks")
    group.add_argument("--no-overlap", action="store_true", help="a shared pixel goes to the most certain object")
    area = {"type": integer(0), "default": 0, "metavar": "N"}
    group.add_argument("--fill-holes", **area, help="fill holes of at most N pixels")
    group.add_argument("--remove-specks", **area, help="drop pieces of at most N pixels")
    group.add_argument(
        "--refine-small", action="store_true", help="look at small objects again in a crop; slower, finer outlines"
    )


def _key_frames(text: str) -> str | list[int]:
    """Return the name of a choice, or frame numbers."""
    names = ("first", "uniform", "auto", "all")
    if text in names:
        return text
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and int(number[:11]) <= LARGEST for number in numbers):
        raise argparse.ArgumentTypeError(f"{unknown_name(text, names)}, or frame numbers such as 0,5,9")
    return [int(number) for number in numbers]


def run(args: argparse.Namespace) -> int:
    """Segment, write, and say what was found."""
    kind = input_kind(args.input)
    _check(args, kind)
    usual = f"{Path(args.input.rstrip('/')).stem or 'input'}_masks"
    out = Path(usual if args.out is None else args.out)
    if kind == "video":
        run_video(args, out)
    else:
        run_picture(args, out)
    print(f"written to {out}")
    return 0


def _check(args: argparse.Namespace, kind: str) -> None:
    """Raise `ValueError` for options that can not be meant, before anything is loaded."""
    if len(args.what) > MOST_REQUESTS:
        raise ValueError(
            f"{len(args.what)} requests are more than a palette picture has numbers for; ask at most {MOST_REQUESTS} "
            "at a time"
        )
    if kind == "image":
        for name in ("max_frames", "key_frames", "num_key_frames", "strategy"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} is for videos, {args.input} is a picture")


def mask_options(args: argparse.Namespace) -> MaskOptions:
    """Return what the command line says about masks."""
    from desa2va.processing.files import MaskOptions

    return MaskOptions(
        non_overlapping=args.no_overlap, max_hole_area=args.fill_holes, max_speckle_area=args.remove_specks
    )


def run_video(args: argparse.Namespace, out: Path) -> None:
    """Segment a video into the folder `out`, frame by frame."""
    from desa2va.processing.files import DEFAULT_FPS, check_video_size, output_folder

    from .video_folder import VideoSettings, finished_frames, segment_video

    settings = VideoSettings(
        args.task,
        args.key_frames,
        args.num_key_frames,
        args.strategy,
        args.max_new_tokens,
        mask_options(args),
        args.refine_small,
    )
    rescue = keep_finished(out, finished_frames)
    with output_folder(out, args.replace, [args.input, args.model], rescue) as folder:
        video = open_video(args.input, args.max_frames)
        check_video_size(video.height, video.width, video.fps or DEFAULT_FPS)
        model, processor = load_model(args)
        summaries = segment_video(model, processor, video, args.what, folder, settings)
    print_summaries(summaries, args.what, len(video), video.height * video.width)


def run_picture(args: argparse.Namespace, out: Path) -> None:
    """Segment a picture into the folder `out`."""
    from desa2va.processing.files import output_folder

    with output_folder(out, args.replace, [args.input, args.model]) as folder:
        model, processor = load_model(args)
        results = segment_picture(
            model, processor, args.input, args.what, args.task, args.max_new_tokens, mask_options(args)
        )
        if args.refine_small:
            from desa2va.modeling_desa2va.answering import refine_result

            results = [refine_result(model, processor, result) for result in results]
        write_results(results, args.what, folder)
    print_results(results, args.what)


def open_video(source: str, max_frames: int | None = None) -> FirstFrames:
    """Return the frames of a video file or folder, the first `max_frames` of them."""
    from desa2va.processing.inputs import open_visual

    from .frames import FirstFrames

    return FirstFrames(open_visual(source, source), max_frames)


def segment_picture(
    model: Any,
    processor: Any,
    source: Any,
    requests: list[str],
    task: str = "segment",
    max_new_tokens: int = 128,
    options: MaskOptions | None = None,
) -> list[SegmentationResult]:
    """Return one result per request about one picture, which is encoded once.

    Args:
        model: A `DeSa2VAModel`.
        processor: Its `DeSa2VAProcessor`.
        source: What the processor takes as a picture.
        requests: The user's texts.
        task: `"segment"`, `"auto"` or `"gcg"`.
        max_new_tokens: Longest answer.
        options: Of the masks.
    """
    inputs = processor(images=source, text=requests, task=task)
    outputs = model.generate(**inputs, max_new_tokens=max_new_tokens)
    return processor.post_process(outputs, inputs, **({} if options is None else vars(options)))


def merge(results: list[SegmentationResult], requests: list[str]) -> SegmentationResult:
    """Return one result with the objects of all requests, numbered through and named by phrase or request."""
    objects = []
    for result, request in zip(results, requests, strict=True):
        for entry in result.objects:
            span = entry.span if len(results) == 1 else None
            objects.append(replace(entry, object_id=len(objects), phrase=entry.phrase or request, span=span))
    first = next((result for result in results if result.status == "ok"), results[0])
    texts = {name: "\n".join(getattr(result, name) for result in results) for name in ("text", "raw_text")}
    score = first.target_score if len(results) == 1 else None  # one number for several requests tells nothing
    return replace(first, objects=objects, target_score=score, **texts)


def write_results(results: list[SegmentationResult], requests: list[str], folder: Path) -> None:
    """Write overlay, masks, COCO, result and answers about a picture into an existing folder.

    Args:
        results: One per request.
        requests: The user's texts.
        folder: Target.
    """
    from .video_folder import write_answers

    merged = merge(results, requests)
    merged.save_png(folder / "masks")
    merged.to_coco(folder / "coco.json")
    merged.to_json(folder / "result.json")
    write_answers(folder / "answers.json", requests, results)
    merged.save_overlay(folder / "overlay.png")


def print_results(results: list[SegmentationResult], requests: list[str]) -> None:
    """Print for each request about a picture the answer, and for each object its size and scores."""
    for result, request in zip(results, requests, strict=True):
        _print_answer(request, result)
        for entry in result.objects:
            scores = (entry.iou_scores[0], entry.object_scores[0])
            _print_object(entry.object_id, entry.areas[0], result.height * result.width, entry.boxes[0], scores)


def print_summaries(summaries: list[RequestSummary], requests: list[str], num_frames: int, pixels: int) -> None:
    """Print for each request about a video the answer, and each object on the frame where it is largest."""
    first = 0
    for summary, request in zip(summaries, requests, strict=True):
        _print_answer(request, summary)
        for entry in summary.objects:
            best = entry.largest
            where = f"{entry.num_frames} of {num_frames} frames, at most "
            _print_object(
                entry.object_id - first, best.area, pixels, best.box, (best.iou_score, best.object_score), where
            )
        first += len(summary.objects)


def _print_answer(request: str, answer: SegmentationResult | RequestSummary) -> None:
    print(f"{request!r}: {answer.text}  [{answer.status}]" + (f" {answer.reason}" if answer.reason else ""))


def _print_object(number: int, area: int, pixels: int, box: Any, scores: tuple[float, float], where: str = "") -> None:
    print(
        f"  object {number}: {where}{area} pixels ({area / pixels:.1%}), box {box}, predicted IoU {scores[0]:.2f}, "
        f"object score {scores[1]:.2f}"
    )
