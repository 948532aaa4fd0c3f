"""Draws the pictures of docs/tasks.md from held-out scenes: `python examples/task_figures.py --out docs/images/tasks`.

Every panel is the first scene of a fresh seed that carries its kind (or such a set): nothing is chosen by its answer.
"""

import argparse
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image
from readme_figures import panel, row

import desa2va
from desa2va.processing.inputs import draw_regions
from desa2va.training.data.refshapes import RefShapes


def scene(kind: str, number: int = 0, members: int | None = None, video: bool = False):
    """The frames and the only conversation of a held-out sample: of this number among those with so many objects."""
    data = RefShapes("test", "full", conversations=1, kinds={kind: 1.0}, seed=7, video_fraction=float(video))
    said = ((sample.frames, sample.conversations[0]) for sample in map(data.__getitem__, count()))
    return next(islice((pair for pair in said if members in (None, len(pair[1].masks))), number, None))


def asked(loaded, kind: str, task: str, number: int = 0, members: int | None = None) -> Image.Image:
    """One scene, its request and the answer below, its masks drawn; a marked region is outlined."""
    model, processor = loaded
    (frame, *_), talk = scene(kind, number, members)
    text = talk.turns[-1][0]
    inputs = processor(images=frame, text=None if task == "gcg" else text, task=task, masks=talk.regions)
    result = processor.post_process(model.generate(**inputs, max_new_tokens=64), inputs)[0]
    drawn = frame if talk.regions is None else draw_regions(frame, talk.regions)
    answer = "(no mask)" if result.status == "no_seg_token" and not result.text else result.text
    return panel(drawn, [found.mask() for found in result.objects], f"{text} | {answer}")


def watched(loaded, kind: str) -> Image.Image:
    """Five frames of a clip, with what is said of the object on each."""
    model, processor = loaded
    frames, talk = scene(kind, video=True)
    results = {frame.frame: frame for frame in model.stream(list(frames), talk.turns[-1][0], processor)}
    panels = []
    for number in np.linspace(0, len(frames) - 1, 5).astype(int).tolist():
        objects = results[number].objects
        states = ", ".join(f"{found.status} {found.object_score:.2f}" for found in objects) or "nothing marked"
        caption = talk.turns[-1][0] if number == 0 else ""
        panels.append(panel(frames[number], [one.mask for one in objects], f"{number}: {states} {caption}"))
    return row(panels)


def clicked(loaded) -> Image.Image:
    """A click on the middle of frame 0, then the click on frame 2 that was meant, and what memory makes of it."""
    frames, talk = scene("attribute", video=True)
    truth, last = np.argwhere(talk.masks[0, 2]), len(frames) - 1
    y, x = truth.mean(axis=0).round().astype(int).tolist()
    with desa2va.DeSa2VASession(*loaded, list(frames)) as session:
        (number,) = session.add(points=[(frames.shape[2] / 2, frames.shape[1] / 2)], frame=0)
        list(session.propagate())
        shown = [(2, session.result(2), "2: a click on the middle of frame 0")]
        session.correct(number, 2, points=[(x + 0.5, y + 0.5)])
        list(session.propagate())
        shown += [(2, session.result(2), f"2: a click on ({x}, {y})"), (last, session.result(last), f"{last}: memory")]
    return row([panel(frames[t], [result.objects[0].mask], caption) for t, result, caption in shown])


def explained(loaded) -> Image.Image:
    """Both branches, their fusion and where they disagree."""
    model, processor = loaded
    (frame, *_), talk = scene("relation")
    inputs = processor(images=frame, text=talk.turns[-1][0], task="segment")
    output = model.generate(**inputs, return_branches=True)
    return Image.fromarray(processor.post_process(output, inputs)[0].explain().plot())


def main(arguments: list[str] | None = None) -> None:
    """Draws them all; 256 colours each, which keeps the files small."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("docs/images/tasks"))
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    loaded = desa2va.load(args.model, device="cpu")
    rows = {
        "words": [("attribute", "auto"), ("relation", "auto"), ("superlative", "auto"), ("no_target", "auto")],
        "answers": [("qa_color", "chat"), ("qa_count", "chat"), ("qa_exist", "chat"), ("caption_plain", "caption")],
        "captions": [("caption", "gcg", number) for number in range(3)],
        "regions": [("region", "region", number) for number in range(3)],
        "sets": [("set", "auto"), *(("set", "auto", number, 2) for number in range(3)), ("example", "auto", 0, 2)],
    }
    figures = {name: row([asked(loaded, *one) for one in panels]) for name, panels in rows.items()}
    figures |= {"video": watched(loaded, "motion"), "away": watched(loaded, "late")}
    figures |= {"clicks": clicked(loaded), "explain": explained(loaded)}
    for name, figure in figures.items():
        figure.quantize(256).save(args.out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
