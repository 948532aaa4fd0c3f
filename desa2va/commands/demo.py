"""`desa2va demo`: the whole path on bundled inputs: objects by words in a picture and a video, and a question."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from desa2va.argument_types import add_model_arguments

from .common import add_command, load_model
from .picture_folder import segment_picture, write_results
from .segment import open_video, print_results, print_summaries
from .video_folder import VideoSettings, segment_video

ASSETS = Path(__file__).resolve().parent.parent / "assets"
_EXAMPLES = """
  desa2va demo                       writes demo_output/scene, demo_output/clip and demo_output/chat.json
  desa2va demo --out show --replace
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "demo", "segment a bundled picture and video by words, and chat about one", _EXAMPLES
    )
    parser.add_argument("--out", default="demo_output", metavar="DIR", help="target folder; default: %(default)s")
    parser.add_argument("--replace", action="store_true", help="replace an existing target folder")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
    from desa2va.processing.files import output_folder

    prompts = json.loads((ASSETS / "demo" / "prompts.json").read_text(encoding="utf-8"))
    started = time.perf_counter()
    with output_folder(args.out, args.replace, sources=[args.model]) as folder:
        model, processor = load_model(args)
        for name, file in (("scene", "scene.png"), ("clip", "clip.mp4")):
            source, requests = str(ASSETS / "demo" / file), prompts[name]["requests"]
            (folder / name).mkdir()
            print(f"{file} ({prompts[name]['source']})")
            if name == "scene":
                results = segment_picture(model, processor, source, requests)
                write_results(results, folder / name)
                print_results(results)
            else:
                # The language model sees the clip's first frame alone; SAM-2's memory carries its masks on.
                settings = VideoSettings(key_frames="first", num_key_frames=1)
                video = open_video(source)
                summaries = segment_video(model, processor, video, requests, folder / name, settings)
                print_summaries(summaries, len(video), video.height * video.width)
        question = prompts["scene"]["question"]
        with DeSa2VAConversation(model, processor, image=str(ASSETS / "demo" / "scene.png")) as talk:
            reply = talk.ask(question, "chat", max_new_tokens=128).text
        chat = {"input": "scene.png", "question": question, "answer": reply}
        (folder / "chat.json").write_text(json.dumps(chat, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"scene.png, asked {question!r}: {reply}")
    seconds = time.perf_counter() - started
    print(f"\nwritten to {args.out}: overlays, masks, COCO and JSON ({seconds:.1f} s)")
    print(held_out_score(args.model))
    return 0


def held_out_score(model: str) -> str:
    """Return one line with the held-out score that travels with the model, or say that there is none."""
    from desa2va.hub import resolve

    path = Path(resolve(model)) / "evaluation.json"
    if not path.is_file():
        return f"{model} carries no evaluation.json; `desa2va eval refshapes --model {model} --json FILE` makes one"
    reports = json.loads(path.read_text(encoding="utf-8"))
    several = (value for value in reports.values() if isinstance(value, dict) and {"ciou", "level"} <= set(value))
    report = reports if "ciou" in reports else next(several, None)
    if report is None:
        return f"{path} holds no score of RefShapes"
    shown = ", ".join(f"{kind} {entry['ciou']:.3f}" for kind, entry in report.get("by_kind", {}).items())
    error = f" ± {report['ciou_se']:.3f}" if report.get("ciou_se") is not None else ""
    title = " ".join(str(report[key]) for key in ("level", "split") if key in report)
    return f"held-out score of {model} on RefShapes {title}: cIoU {report['ciou']:.3f}{error} ({shown})"
