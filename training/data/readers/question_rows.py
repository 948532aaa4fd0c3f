"""One row of a question table to what is asked and answered: multiple choice, yes and no, open questions.

Enters: a row of `question_tables`, and where scores need several together the rows of its picture. Leaves: a
dialogue. Prompts are those of the Sa2VA family's evaluation (InternVL's): the hint, the question, the options, and a
request for the letter alone, in Chinese where the question is. (Paper section 4.1: image chat.)
"""

from __future__ import annotations

import re
from string import ascii_uppercase
from typing import Any

from desa2va.training.data.question_sets import ASKED_OF_EACH, MME_TASKS, ROTATION
from desa2va.training.data.records import Dialogue

from .json_entries import FieldError

QUESTION_GROUPS = ("category", "l2-category", "split")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_ASK_LETTER = "Answer with the option's letter from the given choices directly.", "请直接回答选项字母。"
_ASK_ANSWER = "Answer the question directly.", "请直接回答问题。"
_ASK_BRIEFLY = "Answer the question using a single word or phrase."
Row = dict[str, str]


def options_of(row: Row) -> dict[str, str]:
    """The options that a row has, by letter; an empty cell is none."""
    return {letter: row[letter].strip() for letter in ascii_uppercase if row.get(letter, "").strip()}


def choice_dialogue(row: Row) -> Dialogue:
    """A multiple-choice question; the answer is a letter.

    Raises:
        FieldError: no question, or the answer is none of the options.
    """
    options, answer = options_of(row), row["answer"].strip()
    if answer not in options:
        known = ", ".join(options) or "none"
        raise FieldError(
            "answer", f"{answer!r:.40} is none of the options ({known}); hidden answers can not be scored"
        )
    return Dialogue("choice", ((choice_prompt(row), answer),), ids={**_ids(row), "answer": answer, **options})


def hidden_dialogue(row: Row) -> Dialogue:
    """A multiple-choice question whose answer is not public; what its server reads beside the answer is kept."""
    ids = {**_ids(row), "question": row["question"].strip(), **options_of(row)}
    return Dialogue("unlabelled_choice", ((choice_prompt(row), ""),), ids=ids)


def mmmu_dialogue(row: Row) -> Dialogue:
    """One of MMMU's questions: multiple choice, or open where the row has no option A; then the answer is a text, or
    a list of such.
    """
    if options_of(row).get("A"):
        return choice_dialogue(row)
    if not row["answer"].strip():
        raise FieldError("answer", "an open question needs its answer")
    prompt = "\n".join((_question(row), _ASK_ANSWER[_is_chinese(row["question"])]))
    answer = row["answer"].strip()
    return Dialogue("open", ((prompt, answer),), ids={**_ids(row), "answer": answer})


def mme_dialogue(row: Row) -> Dialogue:
    """One of MME's questions, whose answer is Yes or No; `picture` names what it is about."""
    answer = row["answer"].strip().lower()
    if answer not in ("yes", "no"):
        raise FieldError("answer", f"must be Yes or No, got {row['answer']!r:.40}")
    task, picture = _pair(row)
    if task not in MME_TASKS:
        raise FieldError("category", f"is a task of MME ({', '.join(MME_TASKS)}), got {task!r:.40}")
    ids = {**_ids(row), "answer": answer, "picture": picture}
    return Dialogue("yes_no", ((f"{_question(row)} {_ASK_BRIEFLY}", answer),), ids=ids)


def check_pair(row: Row, rows: list[Row]) -> None:
    """MME scores the two questions about a picture of a task together.

    Raises:
        FieldError: another number.
    """
    asked = [other["index"].strip() for other in rows if _pair(other) == _pair(row)]
    if len(asked) != ASKED_OF_EACH:
        task, picture = _pair(row)
        raise FieldError(
            "image_path",
            f"{picture!r:.80} of {task} has {len(asked)} questions, index {', '.join(asked):.80}; MME asks "
            f"{ASKED_OF_EACH} about each picture of a task",
        )


def _pair(row: Row) -> tuple[str, str]:
    return row["category"].strip(), row["image_path"].strip()


def check_rotation(row: Row, rows: list[Row]) -> None:
    """MMBench's rotations of a question count together with it.

    Raises:
        FieldError: a rotation without the question itself.
    """
    base = int(row["index"]) % ROTATION
    if base not in (int(other["index"]) for other in rows):
        raise FieldError("index", f"is a rotation of question {base}, which is not asked about this picture")


def choice_prompt(row: Row) -> str:
    """The hint, the question, the options and the request for a letter."""
    options = [f"{letter}. {text}" for letter, text in options_of(row).items()]
    text = "\n".join((_question(row), *options))
    return f"{text}\n{_ASK_LETTER[_is_chinese(text)]}"


def _question(row: Row) -> str:
    if not row["question"].strip():
        raise FieldError("question", "nothing is asked")
    return "\n".join(filter(None, (row.get("hint", "").strip(), row["question"].strip())))


def _is_chinese(text: str) -> bool:
    return _CHINESE.search(text) is not None


def _ids(row: Row) -> dict[str, Any]:
    groups = {**row, "l2-category": row.get("l2-category") or row.get("l2_category", "")}
    return {
        "index": int(row["index"]),
        **{name: groups[name].strip() for name in QUESTION_GROUPS if groups.get(name, "").strip()},
    }


__all__ = [
    "QUESTION_GROUPS",
    "check_pair",
    "check_rotation",
    "choice_dialogue",
    "hidden_dialogue",
    "mme_dialogue",
    "mmmu_dialogue",
]
