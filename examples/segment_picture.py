"""Objects in a picture, named in words: masks, scores, and an honest "not there".

    python examples/segment_picture.py
    python examples/segment_picture.py photo.jpg "the dog" "the red cup" --out found.png

All requests share the picture's encodings. Leaves one picture per request: `found_0.png`, ...
"""

import argparse
from pathlib import Path

import desa2va

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"


def main(arguments: list[str] | None = None) -> None:
    """Asks, prints one line per object, draws."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", default=SCENE)
    parser.add_argument("text", nargs="*", default=["the red object", "the largest triangle", "the yellow star"])
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("found.png"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    # "auto" lets the model answer without a mask; "segment" would force one, and say so in `forced`.
    inputs = processor(images=args.picture, text=args.text, task="auto")
    output = model.generate(**inputs, max_new_tokens=128)
    for number, (request, result) in enumerate(zip(args.text, processor.post_process(output, inputs), strict=True)):
        print(f"{request!r}: {result.text!r}, {result.status} {result.reason}".rstrip())
        for found in result.objects:
            print(f"  {found.areas[0]} pixels in {found.boxes[0]}, predicted IoU {found.iou_scores[0]:.2f}")
        result.save_overlay(args.out.with_stem(f"{args.out.stem}_{number}"), overwrite=True)


if __name__ == "__main__":
    main()
