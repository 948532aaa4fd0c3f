"""`python -m desa2va.commands.make_demo_assets`: the bundled picture and video of `desa2va demo`.

Both come from RefShapes' test split, which training never sees. They are the first samples that offer what the demo
shows, not the ones with the best masks: a picture of at least four objects with an attribute, a relation, a
superlative and a colour question; an `easy` video of at least three objects, two of them asked for by attributes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from desa2va.argument_types import Parser, integer
from desa2va.processing.files import VideoWriter, write_file
from desa2va.program import run_program
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.data.sample import Conversation, Sample

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "demo"
PICTURE_KINDS = ("attribute", "relation", "superlative", "qa_color")
FPS = 6


def is_short(conversation: Conversation) -> bool:
    """Whether the user says a bare phrase (they make short labels) or asks for a colour."""
    return conversation.turns[0][0].startswith("the ") or conversation.kind == "qa_color"


def first_sample(dataset: RefShapes, min_objects: int, kinds: tuple[str, ...]) -> tuple[Sample, dict[str, str]]:
    """Return the first sample with enough objects that has a conversation of every kind, and kind -> user text.

    Raises:
        ValueError: If the whole data set has none.
    """
    for index in range(len(dataset)):
        sample = dataset[index]
        texts: dict[str, str] = {}
        for conversation in sample.conversations:
            if is_short(conversation):
                texts.setdefault(conversation.kind, conversation.turns[0][0])
        if len(sample.scene["objects"]) >= min_objects and all(kind in texts for kind in kinds):
            return sample, {kind: texts[kind] for kind in kinds}
    raise ValueError(f"no sample of {len(dataset)} has {min_objects} objects and conversations of {kinds}")


def first_clip(dataset: RefShapes, min_objects: int) -> tuple[Sample, list[str]]:
    """Return the first video with enough objects and two different ones asked for by bare phrases, and the phrases.

    Raises:
        ValueError: If the whole data set has none.
    """
    for index in range(len(dataset)):
        sample = dataset[index]
        texts = {c.targets[0]: c.turns[0][0] for c in sample.conversations if is_short(c)}
        if len(sample.scene["objects"]) >= min_objects and len(texts) >= 2:
            return sample, list(texts.values())[:2]
    raise ValueError(f"no video of {len(dataset)} has {min_objects} objects and two that are asked for")


def make(folder: Path, size: int, num_frames: int) -> dict[str, Any]:
    """Write `scene.png`, `clip.mp4` and `prompts.json` into `folder`.

    Args:
        folder: Created when absent; existing files of these names are replaced.
        size: Side of the frames in pixels.
        num_frames: Frames of the video.

    Returns:
        The content of `prompts.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = RefShapes("test", size=size, length=2000, conversations=16, kinds=dict.fromkeys(PICTURE_KINDS, 1.0))
    scene, texts = first_sample(pictures, 4, PICTURE_KINDS)
    options = {"video_fraction": 1.0, "num_frames": num_frames}
    videos = RefShapes("test", level="easy", size=size, length=500, conversations=16, **options)
    clip, requests = first_clip(videos, 3)
    question = texts.pop("qa_color")
    picture = Image.fromarray(scene.frames[0])
    write_file(folder / "scene.png", lambda temporary: picture.save(temporary, optimize=True), overwrite=True)
    with VideoWriter(folder / "clip.mp4", fps=FPS, overwrite=True) as writer:
        for frame in clip.frames:
            writer.write(frame)
    prompts = {
        "scene": {"source": scene.name, "requests": list(texts.values()), "question": question},
        "clip": {"source": clip.name, "requests": requests},
    }
    text = json.dumps(prompts, indent=2) + "\n"
    write_file(folder / "prompts.json", lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True)
    return prompts


def main(argv: list[str] | None = None) -> int:
    """Parse arguments, write the files, print the prompts."""
    parser = Parser(prog="python -m desa2va.commands.make_demo_assets", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ASSETS, help="target folder; default: %(default)s")
    parser.add_argument(
        "--size", type=integer(32, 4096), default=256, help="side of the frames in pixels; default: %(default)s"
    )
    parser.add_argument(
        "--frames", type=integer(2, 1000), default=8, metavar="N", help="frames of the video; default: %(default)s"
    )
    args = parser.parse_args(argv)
    print(json.dumps(make(args.out, args.size, args.frames), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_program("desa2va.commands.make_demo_assets", main))
