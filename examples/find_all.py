"""Every instance: all objects that words describe, or all that are like a marked one.

    python examples/find_all.py
    python examples/find_all.py photo.jpg --text "all red cups" --like 40 60 200 180

Every instance is an object of its own. Leaves `set_words.png` and `set_like.png` beside each other.
"""

import argparse
from pathlib import Path

import desa2va

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"


def main(arguments: list[str] | None = None) -> None:
    """Asks twice: by words, and by example."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", default=SCENE)
    parser.add_argument("--text", default="all triangles")
    parser.add_argument(
        "--like", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), default=(92, 132, 170, 206), help="a box"
    )
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("set.png"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    asked = {
        "words": {"text": args.text},
        "like": {"text": "Please segment all objects like region 1.", "boxes": [args.like]},
    }
    for name, request in asked.items():
        inputs = processor(images=args.picture, task="auto", **request)
        result = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)[0]
        # The text may say another number than there are masks: `count` is that of the masks, `reason` tells.
        print(f"{request['text']!r}: {result.count} masks, {result.text!r} {result.reason}".rstrip())
        for found in result.objects:
            print(f"  object {found.object_id}: {found.areas[0]} pixels in {found.boxes[0]}")
        result.save_overlay(args.out.with_stem(f"{args.out.stem}_{name}"), overwrite=True)


if __name__ == "__main__":
    main()
