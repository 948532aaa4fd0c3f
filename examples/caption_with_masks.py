"""A description whose phrases carry masks (grounded conversation generation), of a picture or a video.

python examples/caption_with_masks.py
python examples/caption_with_masks.py photo.jpg --text "What are the people doing?" --out caption.png

The plain caption is asked for as well. Leaves the masks drawn in `--out`.
"""

import argparse
from pathlib import Path

import desa2va
from desa2va.processing.inputs import visual_kind

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"


def main(arguments: list[str] | None = None) -> None:
    """Asks for a plain and for a grounded caption in one batch."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("visual", nargs="?", default=SCENE, help="a picture or a video")
    parser.add_argument("--text", help="a request of your own; the model's usual one when omitted")
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("caption.png"), help=".mp4 or .gif for a video")
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    visual = {f"{visual_kind(args.visual)}s": args.visual}
    inputs = processor(**visual, task="caption")
    plain = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)[0]
    print("in words:  ", plain.text)

    inputs = processor(**visual, text=args.text, task="gcg")
    result = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)[0]
    print("with masks:", result.text)
    for found in result.objects:
        place = "no phrase" if found.span is None else result.text[slice(*found.span)]
        print(f"  {place!r}: {max(found.areas)} pixels, {found.status}")
    result.save_overlay(args.out, overwrite=True)


if __name__ == "__main__":
    main()
