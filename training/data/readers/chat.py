"""LLaVA's lists of messages as turns, as the published chat and region sets have them.

Enters: `[{"from": "human" | "gpt", "value": text}, ...]`. Leaves: `(user, assistant)` turns. (Paper section 4.)
"""

from __future__ import annotations

import re
from typing import Any

from .json_entries import FieldError
from .rows import need

_PLACEHOLDERS = re.compile(r"\s*<(image|video)>\s*")
_REGION = re.compile(r"<region\s*(\d+)>")


def chat_turns(row: Any) -> tuple[tuple[str, str], ...]:
    """The turns of a row's `conversations`; none where nothing is asked and answered.

    The place of the picture is dropped, the processor has its own; so are answers before the first question, and a
    last question without an answer. `<region1>` becomes `region 1`, as this model is asked.

    Raises:
        FieldError: no such list, an unknown speaker, or two messages of one speaker in a row.
    """
    turns: list[tuple[str, str]] = []
    asked: str | None = None
    for number, message in enumerate(need(row, "conversations", list)):
        speaker, text = need(message, "from", str), clean(need(message, "value", str))
        if speaker == "human" and asked is None:
            asked = text
        elif speaker == "gpt" and (asked is not None or not number):
            turns += [] if asked is None else [(asked, text)]
            asked = None
        else:
            raise FieldError("conversations", f"[{number}] is said by {speaker!r:.20}; human and gpt take turns")
    return tuple((question, answer) for question, answer in turns if question and answer)


def clean(text: str) -> str:
    """A message without the picture's place, regions in words."""
    return _REGION.sub(r"region \1", _PLACEHOLDERS.sub("\n", text)).strip()


__all__ = ["chat_turns", "clean"]
