"""Frames as they come: tracks what words name through a camera or a video of any length, and says when it is away.

    python examples/watch_camera.py
    python examples/watch_camera.py long.mp4 "the dog" "the cyclist"

A camera is any iterator of RGB pictures; `camera` below stands for one. Nothing of a frame is kept.
Leaves the frames with their masks drawn, `00000.png`, ..., in `--out`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import desa2va
from desa2va.processing.files import output_folder
from desa2va.processing.inputs import open_visual

CLIP = Path(desa2va.__file__).parent / "assets" / "demo" / "clip.mp4"


def camera(path: str | Path) -> Iterator[np.ndarray]:
    """Stands for a camera: frames one by one, uint8 (H, W, 3), without a length and without a way back."""
    yield from open_visual(path, str(path)).iterate()


def main(arguments: list[str] | None = None) -> None:
    """Prints a line per frame while it is tracked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", nargs="?", default=CLIP)
    parser.add_argument("text", nargs="*", default=["the red object", "the cross"])
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("watched"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    with (
        output_folder(args.out, replace=True, sources=[args.video]) as folder,
        model.stream(camera(args.video), args.text, processor, task="auto", keep_images=True) as stream,
    ):
        for frame in stream:
            for found in frame.objects:
                where = f"{found.area} pixels" if found.status == "ok" else f"away ({found.status})"
                print(f"frame {frame.frame} {args.text[found.request]!r}: {where}, {found.object_score:.2f}")
            Image.fromarray(frame.plot()).save(folder / f"{frame.frame:05d}.png")
        for answer in stream.answers:
            print(f"{answer.request!r}: {answer.status} {answer.reason}".rstrip())


if __name__ == "__main__":
    main()
