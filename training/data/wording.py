"""The words around an expression, in training as inference puts them.

Enters: an expression as an annotation file has it. Leaves: what the user says, what the model answers, and the phrase
that the text branch reads. (Paper section 3.3.)
"""

from __future__ import annotations

import re

from desa2va.processing.inputs import apply_task

SINGLE_ANSWER = "Sure, it is [SEG]."
_ARTICLE = re.compile(r"^(the|a|an)\s+", re.IGNORECASE)


def segment_request(text: str) -> str:
    """What the user says for an expression: the words that `task="segment"` puts around it."""
    return apply_task(text, "segment", "")


def bare_phrase(text: str) -> str:
    """The expression without its article and full stop, as the text branch reads it: `"dog on the left"`."""
    phrase = text.strip().rstrip(".").rstrip()
    return _ARTICLE.sub("", phrase) or phrase


def no_target_answer(text: str) -> str:
    """The answer where nothing fits an expression."""
    return f"There is no {bare_phrase(text)}."


__all__ = ["SINGLE_ANSWER", "bare_phrase", "no_target_answer", "segment_request"]
