"""Token ids of an answer to readable text, and to the phrase of each object.

In: generated ids such as `<p> red circle </p> [SEG].<|im_end|>`. Out: the text without control tokens (`red circle.`)
and, for each `[SEG]`, the phrase and its place in that text. Paper section 3.1 (grounded answers). Read from ids, not
from
characters: only a real control token counts, never one that the answer spells out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from desa2va.processing.inputs import asked_phrase

# Between a phrase and a further [SEG] that belongs to it as well: "<p> two dogs </p> [SEG], [SEG] and [SEG]".
_LIST_GLUE = re.compile(r"[\s,]*(and)?[\s,]*")
_CLOSING_PUNCTUATION = tuple(".,;:!?)")
_SENTENCE_END = tuple(".!?")


@dataclass
class ParsedAnswer:
    """An answer in readable form, and what it answers.

    Attributes:
        text: without control tokens.
        raw_text: with `[SEG]`, `<p>` and `</p>`, without the others.
        spans: for each object `(start, end)` of its phrase in `text`, or `None`.
        request, task: what was asked, and how.
    """

    text: str = ""
    raw_text: str = ""
    spans: list[tuple[int, int] | None] = field(default_factory=list)
    request: str = ""
    task: str = "auto"

    def span(self, index: int) -> tuple[int, int] | None:
        """The place of an object's phrase in `text`, `None` where the answer marks none."""
        return self.spans[index] if index < len(self.spans) else None

    def phrase(self, index: int) -> str | None:
        """What an object is called: its phrase in the answer, else what was asked for; `None` without either."""
        span = self.span(index)
        return (asked_phrase(self.request, self.task) or None) if span is None else self.text[span[0] : span[1]]


class AnswerParser:
    """Reads answers of one tokenizer.

    Args:
        tokenizer: the processor's.
        seg_ids: the ids that make up one object, in order (one, or several with `seg_design` repetitive or unique).
        stop_strings: texts that end an answer where no control token does; they are no part of it.
    """

    def __init__(self, tokenizer: Any, seg_ids: Sequence[int], stop_strings: Sequence[str] = ()) -> None:
        self.stop_strings = tuple(stop_strings)
        self.tokenizer = tokenizer
        self.seg_ids = list(seg_ids)
        vocabulary = tokenizer.get_vocab()
        self._open = vocabulary.get("<p>")
        self._close = vocabulary.get("</p>")
        self._controls = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)

    def parse(self, ids: Sequence[int], request: str = "", task: str = "auto") -> ParsedAnswer:
        """Parses the ids of one answer to a request; everything from the end token on is ignored."""
        answer = ParsedAnswer(request=request, task=task)
        start: int | None = None
        span: tuple[int, int] | None = None
        num_seg = 0
        for marker, segment in self._segments(ids):
            if segment:
                if span is not None and not _LIST_GLUE.fullmatch(segment):
                    span = None
                answer.raw_text += segment
                added = _join(answer, segment)
                if start is not None and start > len(answer.text) - added:
                    start = len(answer.text) - added
            if marker == "open":
                start, span = len(answer.text), None
                answer.raw_text += "<p>"
            elif marker == "close":
                span = _trimmed(answer.text, start) if start is not None else None
                start = None
                answer.raw_text += "</p>"
            elif marker == "seg":
                num_seg += 1
                answer.raw_text += "[SEG]"
                if num_seg % len(self.seg_ids) == 0:
                    answer.spans.append(span)
        for stop in self.stop_strings:
            answer.text, answer.raw_text = (text.partition(stop)[0] for text in (answer.text, answer.raw_text))
        answer.text = answer.text.rstrip()
        answer.raw_text = answer.raw_text.strip()
        return answer

    def _segments(self, ids: Sequence[int]) -> list[tuple[str, str]]:
        """The answer as `(marker, text before it)`; the last marker is `"end"`."""
        segments: list[tuple[str, str]] = []
        pending: list[int] = []
        for index in ids:
            if index == self.tokenizer.eos_token_id:
                break
            marker = self._marker(index)
            if marker is None:
                pending.append(index)
                continue
            segments.append((marker, self._decode(pending)))
            pending = []
        segments.append(("end", self._decode(pending)))
        return segments

    def _marker(self, index: int) -> str | None:
        if index in self.seg_ids:
            return "seg"
        if index == self._open:
            return "open"
        if index == self._close:
            return "close"
        return "other" if index in self._controls else None

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) if ids else ""


def _join(answer: ParsedAnswer, segment: str) -> int:
    """Appends text after a removed marker without doubled or dangling spaces and stops; returns the characters that
    stand.
    """
    if not answer.text or answer.text[-1].isspace():
        segment = segment.lstrip(" ")
    if segment.startswith(_CLOSING_PUNCTUATION):
        answer.text = answer.text.rstrip(" ")
        if answer.text.endswith(_SENTENCE_END) and segment[0] in ".,;:":  # a forced [SEG] stands behind a full stop
            segment = segment[1:]
    answer.text += segment
    return len(segment)


def _trimmed(text: str, start: int) -> tuple[int, int] | None:
    """The span from `start` to the end of the text, without spaces around; `None` when nothing is left."""
    phrase = text[start:]
    if not phrase.strip():
        return None
    begin = start + len(phrase) - len(phrase.lstrip())
    return begin, begin + len(phrase.strip())


__all__ = ["AnswerParser", "ParsedAnswer"]
