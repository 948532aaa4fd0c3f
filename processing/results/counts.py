"""Does an answer mark as many objects as it says?

In: the text of an answer and the phrases of its objects. Out: a sentence for every number that the masks contradict. A
set ("all red circles") is answered with one mask for each member, so that a number and masks that disagree are a fault
of the model which a user should not have to find. (METHOD section 6: nothing is handed over in silence.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER = rf"(?P<number>\d{{1,4}}|{'|'.join(_NUMBERS)})\b"
_LEADING = re.compile(_NUMBER, re.IGNORECASE)
_THERE_ARE = re.compile(rf"\bthere (?:is|are) {_NUMBER}", re.IGNORECASE)


def count_remarks(text: str, objects: Sequence[Any]) -> list[str]:
    """What is to be told of numbers in an answer.

    Args:
        text: the answer without control tokens.
        objects: `ObjectResult`s of the answer, with `span` and `status`. Those of one phrase share its span.

    Returns:
        A sentence for each phrase that begins with another number than it has masks ("two red circles"), and for a
        "there are two ..." outside of phrases where the masks of the answer are not so many.
    """
    remarks, outside = [], text
    for span in sorted({entry.span for entry in objects if entry.span is not None}, reverse=True):
        phrase = text[span[0] : span[1]]
        marked = sum(entry.status == "ok" for entry in objects if entry.span == span)
        number = _number(_LEADING.match(phrase))
        outside = outside[: span[0]] + outside[span[1] :]
        if number not in (None, marked):
            remarks.insert(0, f"the text says {phrase!r}, but the masks of it are {marked}")
    said, marked = _THERE_ARE.search(outside), sum(entry.status == "ok" for entry in objects)
    if said is not None and _number(said) != marked:
        remarks.append(f"the text says {said.group()!r}, but the masks are {marked}")
    return remarks


def _number(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    word = match["number"].lower()
    return int(word) if word.isdigit() else _NUMBERS.index(word)


__all__ = ["count_remarks"]
