"""The texts of a fine-tune record: expressions, a caption and chat, checked before any training.

Enters: a raw record. Leaves: texts that every tokenizer reads. (Paper section 4.)
"""

from __future__ import annotations

from typing import Any

from desa2va.processing.files import is_text
from desa2va.training.data.sample import SEG

from .json_entries import named_field

USERS = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
PLACEHOLDERS = ("<image>", "<video>")
MAX_TEXT_BYTES = 65536  # more than any sequence holds; `record_lengths` asks the processor


def expressions(entry: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """The expressions of a record, checked, and as many raw masks."""
    texts, masks = entry.get("text", []), entry.get("mask", [])
    for name, value in (("text", texts), ("mask", masks)):
        with named_field(name):
            if not isinstance(value, list):
                raise ValueError(f"{name!r} is a list with one entry per object, got {type(value).__name__}")
    with named_field("mask"):
        if len(texts) != len(masks):
            raise ValueError(f"{len(texts)} texts but {len(masks)} masks; every expression needs its mask, or null")
    for index, text in enumerate(texts):
        with named_field(f"text {index}"):
            check_expression(text)
    return texts, masks


def check_expression(text: Any) -> None:
    """Raises `ValueError` where an expression says nothing, is no Unicode text, is a book, or holds `[SEG]`."""
    _check_text(text)
    if SEG in text:
        raise ValueError(f"{SEG} is what only answers hold: {text!r:.100}")


def _check_text(*texts: Any) -> None:
    """Every text says something, is Unicode, and all together are no book."""
    for text in texts:
        if not isinstance(text, str) or not text.strip(" .\t\r\n"):
            raise ValueError(f"must be an expression such as 'the dog on the left', got {text!r:.100}")
        if not is_text(text):
            raise ValueError(f"is no Unicode text: it holds half a surrogate pair: {text!r:.100}")
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"{size} bytes of text are more than the {MAX_TEXT_BYTES} a sequence can hold; split it")


def dialogues(entry: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The caption and the chat of a record as `(user, assistant)` turns."""
    found = []
    if entry.get("caption") is not None:
        with named_field("caption"):
            _check_text(entry["caption"])
            found.append((("Describe the image.", entry["caption"].strip()),))
            _check_answers(found[-1])
    if entry.get("conversations"):
        with named_field("conversations"):
            found.append(_chat(entry["conversations"]))
            _check_answers(found[-1])
    return tuple(found)


def _check_answers(turns: tuple[tuple[str, str], ...]) -> None:
    for _, answer in turns:
        if SEG in answer:
            raise ValueError(f"an answer holds {SEG}, for which there is no mask; use text and mask: {answer!r:.100}")


def _chat(messages: Any) -> tuple[tuple[str, str], ...]:
    """LLaVA's list of messages as turns; placeholders of the picture are dropped, the processor puts its own."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("conversations is a list of objects with 'from' and 'value'")
    roles = [USERS.get(str(message.get("from", message.get("role")))) for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        raise ValueError(f"conversations must alternate between human and gpt and end with gpt, got {roles}")
    texts = []
    for index, message in enumerate(messages):
        text = message.get("value", message.get("content"))
        for placeholder in PLACEHOLDERS:
            text = text.replace(placeholder, "") if isinstance(text, str) else text
        try:
            _check_text(text)
        except ValueError as error:
            raise ValueError(f"[{index}] {error}") from error
        texts.append(text.strip())
    _check_text(*texts)
    return tuple(zip(texts[::2], texts[1::2], strict=True))


__all__ = ["MAX_TEXT_BYTES", "check_expression", "dialogues", "expressions"]
