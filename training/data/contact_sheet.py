"""Records to look at: one static HTML page with small overlays inside, nothing from elsewhere.

Enters: records, one by one. Leaves: a file of the first ones and, of many, an even share of the rest.
(Engineering; no paper section.)
"""

from __future__ import annotations

import base64
import html
import io
import os

import numpy as np
from PIL import Image

from desa2va.processing.files import overlay_masks, write_file

from .record_media import read_frames
from .records import Dialogue, Record

SHOWN = 60  # records of a page
_SIDE = 240  # pixels of the longest side of a tile
_DIALOGUES, _FRAMES = 4, 3  # of one record
_STYLE = (
    "body{font:14px sans-serif;margin:1em}section{border-top:1px solid #ccc;padding:.5em 0}"
    "figure{display:inline-block;vertical-align:top;margin:.3em;max-width:780px}figcaption{max-width:480px}"
)


class ContactSheet:
    """Collects records evenly while their number is not known: when it is full, every second one goes."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, str]] = []
        self._count, self._step = 0, 1

    def add(self, record: Record) -> None:
        """Takes a record, or passes it over."""
        if self._count % self._step == 0:
            self._kept.append((self._count, _section(record)))
        self._count += 1
        if len(self._kept) > SHOWN:
            self._kept, self._step = self._kept[::2], 2 * self._step

    def save(self, path: str | os.PathLike, title: str) -> None:
        """Writes the page, in place of an earlier one."""
        head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
        told = f"<h1>{html.escape(title)}</h1><p>{len(self._kept)} of {self._count} records</p>"
        page = head + told + "".join(section for _, section in self._kept)
        encoded = page.encode("utf-8", "backslashreplace")

        def write(target: str | os.PathLike) -> None:
            with open(target, "wb") as file:
                file.write(encoded)

        write_file(path, write, overwrite=True)


def _section(record: Record) -> str:
    figures = "".join(_figure(record, dialogue) for dialogue in record.dialogues[:_DIALOGUES])
    more = len(record.dialogues) - _DIALOGUES
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    return f"<section><h3>{html.escape(record.name)}</h3>{figures}{rest}</section>"


def _figure(record: Record, dialogue: Dialogue) -> str:
    said = "<br>".join(f"<b>{html.escape(user)}</b> {html.escape(answer)}" for user, answer in dialogue.turns)
    caption = f"<figcaption>{said} <i>({html.escape(dialogue.kind)})</i></figcaption>"
    return f"<figure>{''.join(_tiles(record, dialogue))}{caption}</figure>"


def _tiles(record: Record, dialogue: Dialogue) -> list[str]:
    if not record.paths:
        return []
    shown = [frame for frame in range(record.num_frames) if any(target.codes[frame] for target in dialogue.targets)]
    shown = shown or list(range(record.num_frames))
    places = np.linspace(0, len(shown) - 1, min(_FRAMES, len(shown))).astype(int)
    frames = [shown[place] for place in places]
    masks = record.conversation(dialogue, frames).masks
    return [_tile(picture, list(masks[:, row])) for row, picture in enumerate(read_frames(record, frames))]


def _tile(picture: np.ndarray, masks: list[np.ndarray]) -> str:
    drawn = overlay_masks(picture, masks, object_ids=list(range(len(masks)))) if masks else picture
    image = Image.fromarray(drawn)
    image.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}">'


__all__ = ["ContactSheet"]
