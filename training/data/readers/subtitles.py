"""Subtitles of a video in SubRip's format.

Enters: an `.srt` file. Leaves: what is said when. (Paper section 4.1: Video-MME with subtitles.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .json_entries import read_text

_CLOCK = r"(\d+):(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_SPAN = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}")
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")
Subtitle = tuple[float, float, str]


def read_subtitles(path: Path) -> list[Subtitle]:
    """The entries of a file, in its order: first and last second, and the text in one line, without tags.

    Raises:
        FileNotFoundError: no such file. ValueError: no UTF-8, or no entries in a file that is not empty.
    """
    text = read_text(path).replace("\r\n", "\n")
    found = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip("\n").split("\n")
        place, span = next(
            ((place, match) for place, line in enumerate(lines) if (match := _SPAN.match(line))), (0, None)
        )
        if span is not None:
            said = " ".join(" ".join(_TAG.sub("", line) for line in lines[place + 1 :]).split())
            found.append((_seconds(span.groups()[:4]), _seconds(span.groups()[4:]), said))
    if text.strip() and not found:
        raise ValueError(f"{path} holds no subtitles; an entry has a line such as 00:00:01,500 --> 00:00:04,000")
    return found


def _seconds(clock: Sequence[str]) -> float:
    hours, minutes, seconds, fraction = clock
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def said_at(subtitles: Sequence[Subtitle], seconds: Sequence[float]) -> str:
    """What is said at these times, a line for each at which something is: the first entry around it, ends excluded."""
    texts = (next((text for start, end, text in subtitles if start < time < end), "") for time in seconds)
    return "\n".join(filter(None, texts))


__all__ = ["read_subtitles", "said_at"]
