"""Objects in a video, named in words: a mask on every frame, an overlay to look at, files for other tools.

    python examples/segment_video.py
    python examples/segment_video.py clip.mp4 "the dog on the left" --out dog

Leaves `overlay.mp4`, indexed PNGs and `coco.json` in `--out`. For videos too long for memory see `watch_camera.py`.
"""

import argparse
from pathlib import Path

import desa2va
from desa2va.processing.files import output_folder

CLIP = Path(desa2va.__file__).parent / "assets" / "demo" / "clip.mp4"


def main(arguments: list[str] | None = None) -> None:
    """Asks, prints on which frames each object is, writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", nargs="?", default=CLIP, help="a file, or a folder of frames")
    parser.add_argument("text", nargs="?", default="the red object")
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("video_found"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    # The language model sees the key frames; SAM-2's memory carries their masks to all others.
    inputs = processor(videos=args.video, text=args.text, task="segment", key_frames="uniform")
    output = model.generate(**inputs, max_new_tokens=128)
    result = processor.post_process(output, inputs)[0]

    print(f"{args.text!r}: {result.text!r}, {result.status} {result.reason}".rstrip())
    for found in result.objects:
        seen = [frame for frame, area in enumerate(found.areas) if area]
        print(f"  object {found.object_id}: on {len(seen)} of {result.num_frames} frames, areas {found.areas}")
    with output_folder(args.out, replace=True, sources=[args.video]) as folder:
        result.save_overlay(folder / "overlay.mp4")
        result.save_png(folder / "masks")
        result.to_coco(folder / "coco.json")


if __name__ == "__main__":
    main()
