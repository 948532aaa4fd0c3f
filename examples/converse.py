"""Several turns about one picture: questions in words, a mask on request, and what was said before is remembered.

    python examples/converse.py
    python examples/converse.py photo.jpg "What is on the table?" "Please segment the cup."

A text that asks for a mask gets one. Leaves the last turn's masks in `--out`.
"""

import argparse
from pathlib import Path

import desa2va

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"
TURNS = ["What color is the cross?", "How many triangles are there?", "Please segment the largest triangle."]


def main(arguments: list[str] | None = None) -> None:
    """Asks turn by turn and prints the talk."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", default=SCENE)
    parser.add_argument("text", nargs="*", default=TURNS)
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("talk.png"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    history = []
    for text in args.text:
        content = [{"type": "text", "text": text}]
        if not history:  # the picture belongs to the first turn
            content.insert(0, {"type": "image", "image": args.picture})
        history.append({"role": "user", "content": content})
        inputs = processor(messages=history)
        result = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)[0]
        # raw_text keeps the [SEG] by which a later turn can refer to a mask.
        history.append({"role": "assistant", "content": result.raw_text})
        masks = f"  ({result.count} masks)" if result.objects else ""
        print(f"> {text}\n{result.text}{masks}")
    result.save_overlay(args.out, overwrite=True)


if __name__ == "__main__":
    main()
