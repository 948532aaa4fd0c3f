"""A caption and the masks of its phrases as the answer of grounded conversation.

Enters: places of phrases in a caption, with their masks. Leaves: `<p> phrase </p> [SEG]` in place of each, the i-th
`[SEG]` standing for the i-th mask. (Paper section 4: grounded conversation generation.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from desa2va.processing.files import Code, unite_masks
from desa2va.processing.processing_desa2va import GCG_INSTRUCTION
from desa2va.training.data.records import Dialogue, Target
from desa2va.training.data.sample import SEG
from desa2va.training.data.wording import bare_phrase

from .json_entries import FieldError

_TAGS = ("<p>", "</p>", SEG)


@dataclass(frozen=True)
class Span:
    """A phrase of a caption: the characters from `start` to before `end`, and its mask."""

    start: int
    end: int
    code: Code


def grounded_dialogue(
    caption: str, spans: Sequence[Span], ids: Mapping[str, str | int] | None = None
) -> Dialogue | None:
    """The dialogue of a caption; `None` where it has no spans.

    Raises:
        FieldError: a span outside of the caption or without a letter, or a caption that holds a tag itself.
    """
    tag = next((tag for tag in _TAGS if tag in caption), None)
    if tag is not None:
        raise FieldError("caption", f"holds {tag} itself: {caption!r:.100}")
    for span in spans:
        if not 0 <= span.start < span.end <= len(caption) or not caption[span.start : span.end].strip():
            raise FieldError("span", f"[{span.start}, {span.end}] is no phrase of {caption!r:.100}")
    answer, targets, place = "", [], 0
    for span in _apart(caption, spans):
        phrase = caption[span.start : span.end].strip()
        start = caption.index(phrase, span.start)
        answer += f"{caption[place:start]}<p> {phrase} </p> {SEG}"
        place = start + len(phrase)
        targets.append(Target(bare_phrase(phrase), (span.code,)))
    if not targets:
        return None
    turns = ((GCG_INSTRUCTION, answer + caption[place:]),)
    return Dialogue("gcg", turns, tuple(targets), ids={"caption": caption, **(ids or {})})


def _apart(caption: str, spans: Sequence[Span]) -> list[Span]:
    """Spans in order, none over another.

    Of two that overlap the earlier one ends where the later one begins; where nothing is left of it, as both begin
    together, the longer one stays. The same phrase twice is one, with both masks.
    """
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        last = kept[-1] if kept else None
        if last is not None and (last.start, last.end) == (span.start, span.end):
            kept[-1] = replace(last, code=unite_masks([last.code, span.code]))
        elif last is None or last.end <= span.start:
            kept.append(span)
        elif caption[last.start : span.start].strip():
            kept[-1] = replace(last, end=span.start)
            kept.append(span)
    return kept


__all__ = ["Span", "grounded_dialogue"]
