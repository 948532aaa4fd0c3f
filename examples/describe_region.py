"""What is here? A box, a point or a mask marks a region, the model says what it is.

    python examples/describe_region.py
    python examples/describe_region.py photo.jpg --box 40 60 200 180 --box 220 60 300 180

The language model sees an outline around each region; SAM-2 sees the clean picture.
"""

import argparse
from pathlib import Path

import desa2va

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"
BOXES = [(4, 36, 58, 90), (48, 122, 118, 192)]  # the red triangle and the cross of the bundled scene


def main(arguments: list[str] | None = None) -> None:
    """Asks about every region in one call, then for its mask."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", default=SCENE)
    parser.add_argument("--box", type=float, nargs=4, action="append", metavar=("X0", "Y0", "X1", "Y1"))
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("regions.png"))
    args = parser.parse_args(arguments)
    boxes = args.box or BOXES
    model, processor = desa2va.load(args.model)

    inputs = processor(images=args.picture, boxes=boxes, task="region")
    results = processor.post_process(model.generate(**inputs, max_new_tokens=64), inputs)
    for box, result in zip(boxes, results, strict=True):
        print(f"{box}: {result.text}")

    # Without a task and words the same boxes go to SAM-2 alone.
    inputs = processor(images=args.picture, boxes=boxes)
    masks = processor.post_process(model.generate(**inputs), inputs)[0]
    print("pixels of their masks:", [found.areas[0] for found in masks.objects])
    masks.save_overlay(args.out, overwrite=True)


if __name__ == "__main__":
    main()
