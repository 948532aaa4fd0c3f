"""MMMU in the two protocols in which it is reported: its own script's and VLMEvalKit's.

Answers with options and truth enter, accuracies by both protocols leave (paper section 4.1, image chat). They differ
in what they make of an answer that names no single option, and of open questions:

* `official`: of several options the one named last counts; where none is, one is drawn at random. Here the draw hangs
  on the question's index alone, so that neither order nor number of processes changes it. An open answer is right if
  what stands behind "is", "answer", "=" and the like, or a number in it, is or holds a true answer.
* `vlmevalkit`, with exact matching: `infer_choice`; an open question is one of two options, the true answer and
  "Other Answers".
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Mapping
from typing import Any

from .answers import infer_choice
from .choices import grouped_accuracy
from .collected import Collected, require_unique

_ENDS = ",.!?;:'"
_LEAST_WORDS = 5  # an answer of more may name an option by its text
_INTRODUCTIONS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
Reading = str | float


class MMMU(Collected):
    """Collects answers to MMMU's questions."""

    def add(
        self, index: int, answer: str | None, options: Mapping[str, str], truth: str, groups: Mapping[str, str]
    ) -> None:
        """Add one question.

        Args:
            index: of the question. answer: what the model wrote, `None` where no answer came, which is wrong.
            options: texts by capital letter; none: an open question. truth: the letter; of an open question a text, or
                a list of texts as a literal of Python.
            groups: e.g. `category`.

        Raises:
            ValueError: the truth is no option.
        """
        if options and truth not in options:
            raise ValueError(f"question {index}: the true option {truth!r} is not among {', '.join(options)}")
        self.rows.append((int(index), *judged(index, answer, options, truth), dict(groups)))

    def compute(self) -> dict[str, Any]:
        """`n`; the figures of `grouped_accuracy` by protocol; `drawn`: answers that named no option, in `official`.

        Raises:
            ValueError: no question was added, or an index occurs twice.
        """
        indices, official, vlmevalkit, drawn, groups = self.columns()
        require_unique("question", indices)
        return {
            "n": len(self),
            "drawn": sum(drawn),
            "official": grouped_accuracy(official, groups),
            "vlmevalkit": grouped_accuracy(vlmevalkit, groups),
        }


def judged(index: int, answer: str | None, options: Mapping[str, str], truth: str) -> tuple[bool, bool, bool]:
    """Whether an answer is right by the official protocol, by VLMEvalKit's, and whether the former drew an option."""
    if answer is None:
        return False, False, False
    if not options:
        found = infer_choice(answer, {"A": truth, "B": "Other Answers"})
        return is_open_right(answer, truth), found == "A", False
    named = last_choice(answer, options)
    drawn = named or random.Random(f"MMMU {index}").choice(list(options))
    return drawn == truth, infer_choice(answer, options) == truth, named is None


def last_choice(answer: str, options: Mapping[str, str]) -> str | None:
    """The option named last: by "(A)", else by " A ", else, in an answer of more than five words, by its text.

    Args:
        answer: what the model wrote. options: texts by capital letter.

    Returns:
        The letter; `None` where none is named, for which the official script draws one.
    """
    for mark in _ENDS:
        answer = answer.strip(mark)
    answer = f" {answer} "
    ways = [
        ({letter: f"({letter})" for letter in options}, answer),
        ({letter: f" {letter} " for letter in options}, answer),
    ]
    if len(answer.split()) > _LEAST_WORDS:
        ways.append(({letter: text.lower() for letter, text in options.items()}, answer.lower()))
    for spellings, text in ways:
        places = {letter: text.rfind(spelling) for letter, spelling in spellings.items() if spelling in text}
        if places:
            return max(places, key=places.__getitem__)
    return None


def is_open_right(answer: str, truth: str) -> bool:
    """Whether an open answer is right.

    Args:
        answer: what the model wrote. truth: a text, or a list of texts as a literal of Python.
    """
    accepted = {reading for text in _true_texts(truth) for reading in _readings(text)}
    said = {reading for text in _conclusions(answer) for reading in _readings(text)}
    texts = [reading for reading in accepted if isinstance(reading, str)]
    return any(
        any(text in reading for text in texts) if isinstance(reading, str) else reading in accepted for reading in said
    )


def _true_texts(truth: str) -> list[str]:
    try:
        found = ast.literal_eval(truth) if truth.startswith("[") else truth
    except (SyntaxError, ValueError):
        found = truth
    return [str(text) for text in found] if isinstance(found, list) else [truth]


def _conclusions(answer: str) -> list[str]:
    """Of every line the shortest text behind an introduction, or the whole answer; and all numbers in these."""
    answer = answer.strip().strip(".").lower()
    lines = answer.split("\n")
    found = []
    for place, line in enumerate(lines):
        shortest = ""
        for introduction in (*_INTRODUCTIONS, *(("=",) if place == len(lines) - 1 else ())):
            if introduction in line:
                behind = line.split(introduction)[-1].strip()
                shortest = behind if not shortest or len(behind) < len(shortest) else shortest
        if shortest and shortest not in (*_ENDS,):
            found.append(shortest)
    found = found or [answer]
    return found + [number for text in found for pattern in _NUMBERS for number in pattern.findall(text)]


def _readings(text: str) -> list[Reading]:
    """A number rounded to two digits, or the text in lower case; a single letter stands beside a blank."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


__all__ = ["MMMU", "is_open_right", "judged", "last_choice"]
