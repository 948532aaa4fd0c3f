"""The page on which people accept, edit or reject: one file, nothing fetched, decisions leave as a JSON file.

Enters: clips and the rows of their masklets. Leaves: HTML with every object outlined on three frames. The texts are
anybody's and are escaped. (Sa2VA, section 3.3: the evaluation set was filtered by people.)
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from desa2va.processing.files import decode_mask
from desa2va.training.data.record_media import read_frames

from .frames import largest_frame, outlined, spread_frames
from .masklets import Clip, Masklet
from .rows import REVIEW_FORMAT

WIDTH = 320  # pixels of a picture
MOST = 500  # objects of a page; a browser holds no more with ease


@dataclass(frozen=True)
class Card:
    """One object on the page.

    Attributes:
        row: of it. pictures: JPEG as base64. size: (width, height) of each in pixels.
    """

    row: Mapping[str, Any]
    pictures: list[str]
    size: tuple[int, int]


def clip_cards(clip: Clip, rows: list[dict[str, Any]]) -> Iterator[Card]:
    """The cards of a clip's complete masklets; one whose frames can not be read has no pictures."""
    masklets = {masklet.number: masklet for masklet in clip.masklets}
    for row in rows:
        if row["status"] == "complete":
            yield _card(clip, masklets[row["object"]], row)


def _card(clip: Clip, masklet: Masklet, row: Mapping[str, Any]) -> Card:
    record = clip.record
    spread = spread_frames(masklet.codes, 3)
    frames = sorted({spread[0], largest_frame(masklet.codes), spread[-1]})
    size = (min(WIDTH, record.size[1]), max(1, round(min(WIDTH, record.size[1]) * record.size[0] / record.size[1])))
    pictures = []
    for pixels, frame in zip(read_frames(record, frames), frames, strict=True):
        code = masklet.codes[frame]
        mask = np.zeros(record.size, bool) if code is None else decode_mask(code)
        stream = io.BytesIO()
        Image.fromarray(outlined(pixels, mask)).resize(size).save(stream, "JPEG", quality=80)
        pictures.append(base64.b64encode(stream.getvalue()).decode())
    return Card(row, pictures, size)


def render_review(cards: list[Card], left_out: int, title: str) -> str:
    """The page.

    Args:
        cards: at most `MOST`. left_out: complete masklets that are on no card. title: of the run.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("review.html.jinja")
    return template.render(cards=cards, left_out=left_out, title=title, format=REVIEW_FORMAT)


__all__ = ["MOST", "clip_cards", "render_review"]
