"""Reading an option out of a free answer, by the rules of the harnesses that published numbers come from.

Answers enter, an option, yes, no or nothing leaves. Two rules of the same name differ between harnesses, and the
difference is points on a benchmark, so each is named. (Paper section 4.1, table of image and video chat.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

YES_NO_RULES = ("official", "vlmevalkit")
LETTER_RULES = ("official", "vlmevalkit")
REFUSED = "Z"

_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_CHOICE_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
# Two pairs were written without a comma between them, so they delete nothing that is ever said.
_PREFIXES = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer"),
    *("The best option isThe correct option is", "Best answer:Best option:"),
)
_YES_NO_MARKS = ';/[]"{}()=+\\_-><@`,?!'


def infer_choice(answer: str, options: Mapping[str, str]) -> str | None:
    """The option an answer names (VLMEvalKit's `can_infer`).

    Refusals give "Z". Then, with punctuation made blanks: the option's letter, if exactly one letter stands as a word;
    "Z", if it is the only one; the option whose text occurs (in any case), if exactly one does.

    Args:
        answer: what the model wrote.
        options: texts by capital letter.

    Returns:
        A letter of `options`, "Z", or `None` where nothing or more than one thing is named.
    """
    failed = "Failed to obtain answer via API" in answer
    if not failed and any(refusal in answer for refusal in _REFUSALS):
        return REFUSED
    words = [] if failed else answer.translate(_CHOICE_MARKS).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1:
        return letters[0]
    if not letters and REFUSED in words:
        return REFUSED
    named = [letter for letter, text in options.items() if str(text).lower() in answer.lower()]
    return named[0] if len(named) == 1 else None


def first_letter(answer: str, rule: str = "official") -> str | None:
    """The first of A, B, C, D anywhere in an answer, as Video-MME reads it.

    Known beginnings ("The best answer is") are deleted first; VLMEvalKit deletes "Answer:" and "Option:" as well, of
    which the official script takes the A of the first for an answer.

    Args:
        answer: what the model wrote.
        rule: "official" or "vlmevalkit".

    Returns:
        The letter, or `None`.
    """
    # With more than ten words the scripts ask for a letter before they look for one, which comes to the same.
    more = ("Best answer:Best option:", "Answer:", "Option:") if rule == "vlmevalkit" else _PREFIXES[5:]
    answer = answer.strip()
    for prefix in (*_PREFIXES[:5], *more):
        answer = answer.replace(prefix, "")
    found = re.search("[ABCD]", answer)
    return found[0] if found else None


def read_yes_no(answer: str, rule: str = "official") -> bool | None:
    """Yes (`True`), no (`False`) or neither.

    * "official" (MME's script): in lower case, "yes" or else "no" within the first four characters.
    * "vlmevalkit": with punctuation stripped, exactly one of the words yes and no anywhere.

    Args:
        answer: what the model wrote.
        rule: "official" or "vlmevalkit".
    """
    answer = answer.lower()
    if rule == "official":
        return True if "yes" in answer[:4] else False if "no" in answer[:4] else None
    words = _without_punctuation(answer).split()
    says_yes, says_no = "yes" in words, "no" in words
    return says_yes if says_yes != says_no else None


def _without_punctuation(text: str) -> str:
    """VQA's rule for marks.

    Those that stand beside a blank anywhere (all, where digits are joined by commas) are deleted, others become
    blanks; then the first 32 full stops that no digit follows are deleted.
    """
    joined = re.search(r"\d,\d", text) is not None
    beside_blank = {mark for mark in _YES_NO_MARKS if joined or f"{mark} " in text or f" {mark}" in text}
    marks = str.maketrans({mark: "" if mark in beside_blank else " " for mark in _YES_NO_MARKS})
    return re.sub(r"\.(?!\d)", "", text.translate(marks), count=32)


__all__ = ["LETTER_RULES", "REFUSED", "YES_NO_RULES", "first_letter", "infer_choice", "read_yes_no"]
