"""Message histories in the form of chat templates to dialogues: `(role, text)` pairs and the visual they are about.

In: `messages`, one conversation (a list of dictionaries with `role` and `content`) or a list of conversations;
content is a string or a list of parts `{"type": "text" | "image" | "image_url" | "video" | "video_url", ...}`. Out:
for each conversation its texts by role, and its visual if it holds one. A visual belongs to the first message of the
user (paper section 3.1: picture first, then the dialogue about it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .given_sources import SOURCE_KEYS, shown, source_of

ROLES = ("system", "user", "assistant")
_KINDS = {"image": "image", "image_url": "image", "video": "video", "video_url": "video"}


@dataclass
class VisualPart:
    """A picture or video in a message.

    Attributes:
        kind: `"image"` or `"video"`.
        source: what the user handed over; `None` marks the place of a visual that is given beside the messages.
        name: of the message, for errors.
    """

    kind: str
    source: Any
    name: str


@dataclass
class Dialogue:
    """One conversation.

    Attributes:
        messages: `(role, text)` in order.
        visual: what it is about; `None`: its messages hold no picture or video.
        ending: `"answer"`: it is followed by the opening of an answer; `"closed"`: it ends with its last message;
            `"unfinished"`: within the assistant's last message, which is to be continued.
    """

    messages: list[tuple[str, str]]
    visual: VisualPart | None = None
    ending: str = "answer"


def parse_messages(messages: Any) -> list[Dialogue]:
    """Splits conversations into texts and visuals.

    Args:
        messages: one conversation or a list of them; dialogues are returned as they are.

    Returns:
        A dialogue for each. A part such as `{"type": "image"}` without a source marks the place of a picture given
        elsewhere.

    Raises:
        ValueError: an empty or malformed history, an unknown role or part, a visual outside the first message of the
            user, or more than one visual in a conversation; the message is named `messages[conversation][message]`.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        raise ValueError(f"messages must be a list of messages, or of conversations, got {shown(messages)}")
    if all(isinstance(entry, Dialogue) for entry in messages):
        return list(messages)
    single = isinstance(messages[0], dict) or not isinstance(messages[0], (list, tuple))
    return [_dialogue(entry, f"messages[{index}]") for index, entry in enumerate([messages] if single else messages)]


def _dialogue(conversation: Any, name: str) -> Dialogue:
    if not isinstance(conversation, (list, tuple)) or not conversation:
        raise ValueError(f"{name} must be a list of messages, got {shown(conversation)}")
    dialogue = Dialogue([])
    for index, message in enumerate(conversation):
        where = f"{name}[{index}]"
        role, text, parts = _parse_message(message, where)
        if parts and (role != "user" or any(earlier == "user" for earlier, _ in dialogue.messages)):
            raise ValueError(f"{where}: a picture or video belongs to the first message of the user")
        if len(parts) > 1:
            raise ValueError(
                f"{where} holds {len(parts)} visuals; a conversation is about one (frames that belong together are "
                "one video)"
            )
        dialogue.messages.append((role, text))
        dialogue.visual = parts[0] if parts else dialogue.visual
    return dialogue


def _parse_message(message: Any, name: str) -> tuple[str, str, list[VisualPart]]:
    """Role, text and visuals of one message."""
    if not isinstance(message, dict) or "role" not in message or "content" not in message:
        raise ValueError(f"{name}: a message is a dictionary with role and content, got {shown(message)}")
    role, content = message["role"], message["content"]
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError(f"{name}: role {shown(role)} is unknown; choose one of {', '.join(ROLES)}")
    beside = [key for key in SOURCE_KEYS if message.get(key) is not None]
    if beside:
        raise ValueError(f"{name}: {beside[0]} stands beside content; make it a part of content, a list of parts")
    if isinstance(content, str):
        return role, content, []
    if not isinstance(content, (list, tuple)) or not content:
        raise ValueError(f"{name}: content must be a string or a list of parts, got {shown(content)}")
    texts: list[str] = []
    visuals: list[VisualPart] = []
    for index, part in enumerate(content):
        _parse_part(part, f"{name}, part {index}", texts, visuals)
    return role, "\n".join(texts), visuals


def _parse_part(part: Any, name: str, texts: list[str], visuals: list[VisualPart]) -> None:
    """Adds one part of a content to the texts or visuals of its message."""
    if not isinstance(part, dict):
        raise ValueError(f"{name}: a part is a dictionary with a type, got {shown(part)}")
    kind = part.get("type")
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise ValueError(f"{name}: a part of type text has a string under text, got {shown(part)}")
        texts.append(part["text"])
    elif isinstance(kind, str) and kind in _KINDS:
        visuals.append(VisualPart(_KINDS[kind], source_of(part, name), name))
    else:
        raise ValueError(f"{name}: type must be text, {', '.join(_KINDS)}, got {shown(part)}")


__all__ = ["ROLES", "Dialogue", "VisualPart", "parse_messages"]
