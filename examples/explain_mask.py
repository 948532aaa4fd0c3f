"""Why is the mask as it is? What each of the two decoders drew, how they were fused, and where they disagree.

python examples/explain_mask.py
python examples/explain_mask.py photo.jpg "the dog" --out why.png

Leaves all masks and the map of their disagreement as one picture.
"""

import argparse
from pathlib import Path

from PIL import Image

import desa2va

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"


def main(arguments: list[str] | None = None) -> None:
    """Asks, prints gate and disagreement, draws all masks beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", default=SCENE)
    parser.add_argument("text", nargs="?", default="the triangle left of the cross")
    parser.add_argument("--model", default="desa2va-tiny", help="one with two decoders")
    parser.add_argument("--out", type=Path, default=Path("why.png"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    inputs = processor(images=args.picture, text=args.text, task="segment")
    output = model.generate(**inputs, return_branches=True)
    result = processor.post_process(output, inputs)[0]
    explanation = result.explain()
    for found in explanation.objects:
        print(
            f"object {found.object_id}: gate {found.gates[0]:.2f} (1: visual mask alone), "
            f"disagreement {found.disagreement[0]:.2f}, pixels in doubt {(found.uncertainty() > 0.5).sum()}, "
            f"predicted IoU {found.iou_scores[0]:.2f}"
        )
    Image.fromarray(explanation.plot()).save(args.out)


if __name__ == "__main__":
    main()
