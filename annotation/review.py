"""The pages on which people accept, edit or reject: nothing fetched, decisions leave as a JSON file.

Enters: clips and the rows of their masklets. Leaves: HTML with every object outlined on three frames, in parts that a
browser holds with ease. The texts are anybody's and are escaped. (Sa2VA, section 3.3: the evaluation set was filtered
by people.)
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
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
MOST = 500  # objects of a page, about 20 MB


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


class ReviewPages:
    """`review.html`, and `review-2.html`, ... where there are more than `MOST` cards; one page is held at a time.

    Args:
        folder: of the pages; exists. title: of the run.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self._cards: list[Card] = []
        self._part = 1

    def add(self, cards: Iterable[Card]) -> None:
        """Puts cards on the current page and on further ones."""
        for card in cards:
            if len(self._cards) == MOST:
                self._write(last=False)
            self._cards.append(card)

    def finish(self) -> None:
        """Writes the last page; without any card the only one."""
        self._write(last=True)

    def _write(self, last: bool) -> None:
        page = render_review(self._cards, self.title, self._part, last)
        (self.folder / page_name(self._part)).write_text(page, encoding="utf-8")
        self._cards, self._part = [], self._part + 1


def page_name(part: int) -> str:
    """The file of a part, counted from one."""
    return "review.html" if part == 1 else f"review-{part}.html"


def render_review(cards: list[Card], title: str, part: int = 1, last: bool = True) -> str:
    """A page.

    Args:
        cards: of it. title: of the run. part: its number, from one. last: no other page follows.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("review.html.jinja")
    fields = {"cards": cards, "title": title, "format": REVIEW_FORMAT, "part": part, "first": MOST * (part - 1) + 1}
    before, after = page_name(part - 1) if part > 1 else None, None if last else page_name(part + 1)
    return template.render(**fields, before=before, after=after)


__all__ = ["ReviewPages", "clip_cards", "page_name", "render_review"]
