"""Message histories in the form of chat templates to `(role, text)` pairs and the visuals they hold.

In: `messages`, one conversation (a list of dictionaries with `role` and `content`) or a list of conversations;
content is a string or a list of parts `{"type": "text" | "image" | "video", ...}`. Out: texts by role, and the
visuals. A visual belongs to the first message of the user (paper section 3.1: picture first, then the dialogue about
it).
"""

from __future__ import annotations

from typing import Any

ROLES = ("system", "user", "assistant")
_SOURCE_KEYS = ("image", "video", "url", "path")


def parse_messages(messages: Any) -> tuple[list[list[tuple[str, str]]], list[tuple[str, Any]]]:
    """Splits conversations into texts and visuals.

    Args:
        messages: one conversation or a list of them.

    Returns:
        The conversations as `(role, text)` lists; and `(kind, source)` of the visuals found in them, in order. A part
        such as `{"type": "image"}` without a source only marks the place of a picture given elsewhere.

    Raises:
        ValueError: an empty or malformed history, an unknown role or part, a visual outside the first message of the
            user, or more than one visual in a conversation.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        raise ValueError(f"messages must be a list of messages, or of conversations, got {messages!r}")
    batch = [messages] if isinstance(messages[0], dict) else messages
    conversations, visuals = [], []
    for index, conversation in enumerate(batch):
        if not isinstance(conversation, (list, tuple)) or not conversation:
            raise ValueError(f"messages[{index}] must be a list of messages, got {conversation!r}")
        texts: list[tuple[str, str]] = []
        found: list[tuple[str, Any]] = []
        for message in conversation:
            role, text, parts = _parse_message(message, f"messages[{index}]")
            if parts and (role != "user" or any(earlier == "user" for earlier, _ in texts)):
                raise ValueError(f"messages[{index}]: a picture or video belongs to the first message of the user")
            texts.append((role, text))
            found.extend(parts)
        if len(found) > 1:
            raise ValueError(f"messages[{index}] holds {len(found)} visuals; a conversation is about one")
        conversations.append(texts)
        visuals.extend(part for part in found if part[1] is not None)
    if visuals and len(visuals) not in (1, len(conversations)):
        raise ValueError(f"{len(visuals)} of {len(conversations)} conversations hold a visual; give one to each")
    return conversations, visuals


def _parse_message(message: Any, name: str) -> tuple[str, str, list[tuple[str, Any]]]:
    """Role, text and visuals of one message."""
    if not isinstance(message, dict) or "role" not in message or "content" not in message:
        raise ValueError(f"{name}: a message is a dictionary with role and content, got {message!r}")
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ValueError(f"{name}: role {role!r} is unknown; choose one of {', '.join(ROLES)}")
    if isinstance(content, str):
        return role, content, []
    if not isinstance(content, (list, tuple)):
        raise ValueError(f"{name}: content must be a string or a list of parts, got {type(content).__name__}")
    texts, visuals = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("image", "video"):
            visuals.append((kind, next((part[key] for key in _SOURCE_KEYS if key in part), None)))
        else:
            raise ValueError(f"{name}: a part has type text, image or video, got {part!r}")
    return role, "\n".join(texts), visuals


__all__ = ["ROLES", "parse_messages"]
