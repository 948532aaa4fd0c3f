"""Several turns about one picture or video: questions in words, a mask on request, and what was said is remembered.

    python examples/converse.py
    python examples/converse.py clip.mp4 "What is on the table?" "Please segment the cup."

Turn 2 and later encode nothing again and read the new words alone. Where a turn marked an object, the last one asks
about it by its number. Leaves the last masks in `--out`.
"""

import argparse
from pathlib import Path

import desa2va
from desa2va.processing.inputs import visual_kind

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"
TURNS = ["How many triangles are there?", "Please segment the largest triangle.", "What color is it?"]


def main(arguments: list[str] | None = None) -> None:
    """Asks turn by turn and prints the talk."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("visual", nargs="?", default=str(SCENE), help="picture or video")
    parser.add_argument("text", nargs="*", default=TURNS)
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, help="default: talk.png, of a video talk.mp4")
    args = parser.parse_args(arguments)
    kind = visual_kind(args.visual)
    model, processor = desa2va.load(args.model)

    with desa2va.DeSa2VAConversation(model, processor, **{kind: args.visual}) as talk:
        for text in args.text:
            result = talk.ask(text, max_new_tokens=128)
            print(f"> {text}\n{result.text}")
            for found in result.objects:  # numbers go on through the conversation
                print(f"  object {found.object_id}: {max(found.areas)} pixels")
        seen = [number for number, found in talk.objects.items() if found.mask().any()]
        if seen:
            out = args.out or Path("talk.png" if kind == "image" else "talk.mp4")
            marked = [result for result in talk.results if result.objects]
            marked[-1].save_overlay(out, overwrite=True)
            # The mask is outlined on the picture, which the language model sees once more.
            print(f"> What is region 1? (object {seen[-1]})")
            print(talk.ask("What is region 1?", "region", objects=[seen[-1]], max_new_tokens=32).text)


if __name__ == "__main__":
    main()
