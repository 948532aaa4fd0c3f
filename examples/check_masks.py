"""Does the model stand by its masks? It is shown each of them outlined, and asked back.

    python examples/check_masks.py
    python examples/check_masks.py clip.mp4 "the dog" "the red cup"

`agreement` is P(yes) / (P(yes) + P(no)). Of a video's key frames the one with the highest agreement conditions the
tracker. The shipped model never learnt to answer such questions: its figures say little.
"""

import argparse
from pathlib import Path

import desa2va
from desa2va.processing.inputs import visual_kind

CLIP = Path(desa2va.__file__).parent / "assets" / "demo" / "clip.mp4"


def main(arguments: list[str] | None = None) -> None:
    """Asks, asks back, prints the surest object first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("visual", nargs="?", default=str(CLIP), help="picture or video")
    parser.add_argument("text", nargs="*", default=["the red object", "the cross"])
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("checked.json"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    inputs = processor(**{f"{visual_kind(args.visual)}s": args.visual}, text=args.text, task="segment")
    output = model.generate(**inputs, max_new_tokens=128, verify=True)
    results = processor.post_process(output, inputs)
    found = [(text, entry) for text, result in zip(args.text, results, strict=True) for entry in result.objects]
    # Nothing is asked about a mask without a pixel.
    for text, entry in sorted(found, key=lambda pair: -(pair[1].agreement or 0.0)):
        asked = "not asked" if entry.agreement is None else f"agreement {entry.agreement:.2f}"
        print(f"{text!r}: {asked}, predicted IoU {max(entry.iou_scores):.2f}")
    key_frames = inputs["visuals"][0].key_frames
    for number, values in enumerate(output.agreement):
        print(f"mask {number}:", ", ".join(f"frame {t} {v:.2f}" for t, v in zip(key_frames, values, strict=True)))
    results[0].to_json(args.out, overwrite=True)


if __name__ == "__main__":
    main()
