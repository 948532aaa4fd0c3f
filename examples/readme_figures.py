"""Draws the README's pictures from held-out scenes: `python examples/readme_figures.py --out docs/images`.

`pictures.png`: test scenes of RefShapes; each column is one request, its masks drawn over the scene. `video.png`:
frames of a held-out clip of which the language model saw the first frame alone; SAM-2's memory followed.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import desa2va
from desa2va.processing.files import overlay_masks
from desa2va.training.data.refshapes import RefShapes

SCALE = 2
CAPTION = 40  # pixels below a picture, at least
LINE = 18


def panel(frame: np.ndarray, masks: list[np.ndarray], caption: str) -> Image.Image:
    """One picture with its masks, enlarged, and the request below."""
    side = frame.shape[0] * SCALE
    enlarged = np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.NEAREST))
    masks = [np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST)) for mask in masks]
    if masks:
        # Overlay colours drown in coloured shapes: everything that was not asked for is dimmed.
        enlarged = np.where(np.any(masks, axis=0)[..., None], enlarged, enlarged // 3)
    words, lines = caption.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 34:
            lines.append("")
        lines[-1] += f" {word}"
    canvas = Image.new("RGB", (side, side + max(CAPTION, 4 + LINE * len(lines))), "white")
    canvas.paste(Image.fromarray(overlay_masks(enlarged, masks, opacity=0.0)), (0, 0))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(canvas).multiline_text(
        (4, side + 2), "\n".join(line.strip() for line in lines), fill="black", font=font
    )
    return canvas


def row(panels: list[Image.Image]) -> Image.Image:
    """Panels side by side."""
    gap = 8
    width = sum(p.width for p in panels) + gap * (len(panels) - 1)
    sheet = Image.new("RGB", (width, max(p.height for p in panels)), "white")
    for number, one in enumerate(panels):
        sheet.paste(one, (number * (one.width + gap), 0))
    return sheet


def pictures(model, processor) -> Image.Image:
    """One request per kind on the first held-out scenes that carry it."""
    panels = []
    for number, kind in enumerate(("attribute", "relation", "superlative", "relation", "multiple")):
        dataset = RefShapes("test", level="full", conversations=1, kinds={kind: 1.0}, seed=7)
        sample, expressions = dataset.with_expressions(number)
        inputs = processor(images=sample.frames[0], text=expressions[0].text)
        result = processor.post_process(model.generate(**inputs, max_new_tokens=64), inputs)[0]
        panels.append(panel(sample.frames[0], [found.mask() for found in result.objects], expressions[0].text))
    return row(panels)


def video(model, processor) -> Image.Image:
    """Five frames of a held-out clip; only the first one is prompted."""
    dataset = RefShapes("test", conversations=1, kinds={"attribute": 1.0}, video_fraction=1.0, seed=7)
    sample, expressions = dataset.with_expressions(1)
    inputs = processor(videos=[sample.frames], text=expressions[0].text, key_frames="first")
    result = processor.post_process(model.generate(**inputs, max_new_tokens=64), inputs)[0]
    frames = np.linspace(0, len(sample.frames) - 1, 5).astype(int)
    captions = [expressions[0].text if t == 0 else f"frame {t}: from memory" for t in frames]
    return row(
        [
            panel(sample.frames[t], [found.mask(int(t)) for found in result.objects], caption)
            for t, caption in zip(frames, captions, strict=True)
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    loaded = desa2va.load(arguments.model, device="cpu")
    pictures(*loaded).save(arguments.out / "pictures.png")
    video(*loaded).save(arguments.out / "video.png")
