"""`desa2va segment`: masks of what the words name, in a picture, a folder of frames or a video.

What enters: an input and one or several requests. What leaves, in one folder that is complete or absent: an overlay,
one indexed PNG per frame, COCO run-length codes, the whole result as JSON, and the answers in words. Of a video that
stops half-way (interrupt, full disk, broken input) the finished frames stay in a folder named `.partial`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desa2va.argument_types import LARGEST, add_model_arguments, integer, named, unknown_name

from .common import add_command, input_kind, keep_finished, load_model
from .marks import NAMES, add_mark_arguments, given_marks
from .segment_many import add_many_arguments, is_many, run_many

if TYPE_CHECKING:
    from desa2va.processing.results import RequestSummary, SegmentationResult

    from .frames import FirstFrames

_NOUNS = {"image": "picture", "video": "video"}
_EXAMPLES = """
  desa2va segment photo.jpg "the small red circle"                  -> photo_masks/
  desa2va segment photo.jpg "the red circle" "the blue square"      several requests, the picture is encoded once
  desa2va segment clip.mp4 "the green star" --out out               every frame; overlay as mp4
  desa2va segment frames/ "the star" --max-frames 50                a folder of pictures, the first 50 frames
  desa2va segment clip.mp4 "the star" --key-frames 0,40,80          the model looks at these frames, then follows
  desa2va segment clip.mp4 "a cup" "a spoon" --no-overlap --fill-holes 50
  desa2va segment photo.jpg --task gcg                              a description, each phrase with its mask
  desa2va segment photo.jpg "all like this one" --box 40,60,90,120  words, and an example of what they mean
  desa2va segment clip.mp4 --point 64,64 --point 20,90              two clicked objects, followed without words
  desa2va segment photo.jpg "the red circle" --explain --verify     why the mask is so, and does the model stand by it
  desa2va segment photos/ "the red circle" --each --out out         every picture and video of a folder by itself
  desa2va segment list.txt "the red circle" --out out               those in a list, a path or address per line
  desa2va segment user/set "the {label}" --column image --out out   a data set; {label} is another of its columns
  accelerate launch -m desa2va.segment photos/ "the ring" --each --out out     the same on several devices

what lies in the folder:
  overlay.png | overlay.mp4   the masks drawn on the input
  masks/00000.png ...         one per frame, pixel value = object number + 1, 0 = background
  frames.jsonl                of a video: a line per frame, written as it is done
  coco.json                   run-length codes, boxes and scores in COCO's form
  result.json                 everything (SegmentationResult.from_json reads it)
  answers.json                for each request: the answer, its status and its objects
  explain_0.png ...           with --explain, for each request that marked something
of many: items/NAME/ with these files, table/*.parquet with all answers and masks, report.json; the same command goes
on with a run that was stopped
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "segment", "masks of what you name, in a picture or a video", _EXAMPLES)
    parser.add_argument("input", metavar="INPUT", help="a picture, a video, a folder, a list, an address, a data set")
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help="what to segment, in words; several requests are allowed; none where objects are marked, or with gcg",
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
        "--verify", action="store_true", help="ask the model back whether each mask shows what was meant"
    )
    parser.add_argument(
        "--explain", action="store_true", help="of a picture: draw both branches' masks and where they disagree"
    )
    parser.add_argument(
        "--max-new-tokens",
        type=integer(1, 131_072),
        default=128,
        metavar="N",
        help="longest answer; default: %(default)s",
    )
    add_mark_arguments(parser)
    _add_video_arguments(parser)
    _add_mask_arguments(parser)
    add_many_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run, further="what")


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
    if is_many(args):
        return run_many(args)
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
    marked = any(getattr(args, name) for name in NAMES)
    if not args.what and not marked and args.task != "gcg":
        raise ValueError(
            f"nothing is asked about {args.input}: name it in words, or mark it with --point, --box or --mask"
        )
    others = {"image": ("max_frames", "key_frames", "num_key_frames", "strategy"), "video": ("explain",)}
    _refuse(args, others[kind], f"for {'videos' if kind == 'image' else 'pictures'}, {args.input} is a {_NOUNS[kind]}")
    if not args.what and args.task != "gcg":
        _refuse(args, ("verify", "explain"), "about requests in words, and objects are marked alone")
        if kind == "video":
            _refuse(args, ("num_key_frames", "strategy", "refine_small"), "for requests in words")
            if isinstance(args.key_frames, str) or len(args.key_frames or [0]) > 1:
                raise ValueError(
                    "--key-frames of marked objects without words is the one frame on which they are marked"
                )


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raise `ValueError` where one of these options is given."""
    for name in names:
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name.replace('_', '-')} is {why}")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says about both kinds of input, fields of `AskSettings`."""
    from desa2va.processing.files import MaskOptions

    return {
        "task": args.task,
        "max_new_tokens": args.max_new_tokens,
        "options": MaskOptions(
            non_overlapping=args.no_overlap, max_hole_area=args.fill_holes, max_speckle_area=args.remove_specks
        ),
        "refine_small": args.refine_small,
        "verify": args.verify,
        "marks": given_marks(args),
    }


def run_video(args: argparse.Namespace, out: Path) -> None:
    """Segment a video into the folder `out`, frame by frame."""
    from desa2va.processing.files import DEFAULT_FPS, check_video_size, output_folder

    from .video_folder import VideoSettings, finished_frames, segment_video

    settings = VideoSettings(
        **settings_of(args), key_frames=args.key_frames, num_key_frames=args.num_key_frames, strategy=args.strategy
    )
    rescue = keep_finished(out, finished_frames)
    with output_folder(out, args.replace, [args.input, args.model], rescue) as folder:
        video = open_video(args.input, args.max_frames)
        check_video_size(video.height, video.width, video.fps or DEFAULT_FPS)
        model, processor = load_model(args)
        summaries = segment_video(model, processor, video, args.what, folder, settings)
    print_summaries(summaries, len(video), video.height * video.width)


def run_picture(args: argparse.Namespace, out: Path) -> None:
    """Segment a picture into the folder `out`."""
    from desa2va.processing.files import output_folder

    from .picture_folder import PictureSettings, segment_picture, write_explanations, write_results

    settings = PictureSettings(**settings_of(args), explain=args.explain)
    with output_folder(out, args.replace, [args.input, args.model]) as folder:
        model, processor = load_model(args)
        results = segment_picture(model, processor, args.input, args.what, settings)
        if args.explain:
            write_explanations(results, folder)
        if args.refine_small:
            from desa2va.modeling_desa2va.answering import refine_result

            results = [refine_result(model, processor, result) for result in results]
        write_results(results, folder)
    print_results(results)


def open_video(source: str, max_frames: int | None = None) -> FirstFrames:
    """Return the frames of a video file or folder, the first `max_frames` of them."""
    from desa2va.processing.inputs import open_visual

    from .frames import FirstFrames

    return FirstFrames(open_visual(source, source), max_frames)


def print_results(results: list[SegmentationResult]) -> None:
    """Print for each request about a picture the answer, and for each object its size and scores."""
    for result in results:
        _print_answer(result)
        for entry in result.objects:
            scores = (entry.iou_scores[0], entry.object_scores[0], entry.agreement)
            _print_object(entry.object_id, entry.areas[0], result.height * result.width, entry.boxes[0], scores)


def print_summaries(summaries: list[RequestSummary], num_frames: int, pixels: int) -> None:
    """Print for each request about a video the answer, and each object on the frame where it is largest."""
    for summary in summaries:
        _print_answer(summary)
        for entry in summary.objects:
            best = entry.largest
            where = f"{entry.num_frames} of {num_frames} frames, at most "
            scores = (best.iou_score, best.object_score, entry.agreement)
            _print_object(entry.object_id, best.area, pixels, best.box, scores, where)


def _print_answer(answer: SegmentationResult | RequestSummary) -> None:
    said = f" {answer.text} " if answer.text else ""
    print(f"{answer.request!r}:{said} [{answer.status}]" + (f" {answer.reason}" if answer.reason else ""))


def _print_object(
    number: int, area: int, pixels: int, box: Any, scores: tuple[float, float, float | None], where: str = ""
) -> None:
    agreement = "" if scores[2] is None else f", agreement {scores[2]:.2f}"
    print(
        f"  object {number}: {where}{area} pixels ({area / pixels:.1%}), box {box}, predicted IoU {scores[0]:.2f}, "
        f"object score {scores[1]:.2f}{agreement}"
    )
