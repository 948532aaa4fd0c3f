"""Chat templates as transformers renders them: what our own strings remember, and what foreign ones look like.

In: dialogues, or the texts of a request. Out: `RenderedChat`, a string that knows its conversation, so that it is
encoded as such; or an error for a text that is a rendered template and would be read as the words of a user. A text is
never parsed back into a conversation: whoever typed it could then write turns and control tokens of their own
(paper section 3.1; see `ChatEncoder`).
"""

from __future__ import annotations

import re
from typing import Any

from desa2va.processing.inputs import Dialogue, VisualPart

from .batch_assembly import PLACEHOLDERS
from .user_request import Request

# How the templates of common models begin, ours among them.
_TURN = re.compile(
    r"\s*(<s>|<bos>|<\|begin_of_text\|>)?\s*"
    r"(<\|im_start\|>\s*(system|user|assistant)\b|<\|start_header_id\|>|<start_of_turn>|<\|(system|user|assistant)\|>"
    r"|\[INST\]|\[UNUSED_TOKEN_146\])"
)
_IMAGE_NAMES = ("<image>", "<video>", "<|video_pad|>", *{token for three in PLACEHOLDERS.values() for token in three})
_PLACE = re.compile(rf"\s*(Frame-?\d+: ?|Picture \d+: ?)?({'|'.join(map(re.escape, sorted(_IMAGE_NAMES)))})")


class RenderedChat(str):
    """A rendered chat template, an ordinary string but for what it remembers.

    Attributes:
        dialogue: the conversation it was rendered from. Of a visual only its place is kept.
    """

    dialogue: Dialogue

    def __new__(cls, text: str, dialogue: Dialogue) -> RenderedChat:
        """`text` as it was rendered from `dialogue`."""
        rendered = super().__new__(cls, text)
        part = dialogue.visual
        place = None if part is None else VisualPart(part.kind, None, part.name)
        rendered.dialogue = Dialogue(list(dialogue.messages), place, dialogue.ending)
        return rendered

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and pickles."""
        return type(self), (str(self), self.dialogue)


def rendered_dialogues(text: Any) -> list[Dialogue] | None:
    """The conversations of texts that `apply_chat_template` returned; `None` for other texts.

    Raises:
        ValueError: some are rendered, others are not.
    """
    texts = [text] if isinstance(text, str) or not isinstance(text, (list, tuple)) else text
    rendered = [entry for entry in texts if isinstance(entry, RenderedChat)]
    if not rendered:
        return None
    if len(rendered) != len(texts):
        raise ValueError("some texts are rendered chat templates and others are not; pass them in two calls")
    return [entry.dialogue for entry in rendered]


def refuse_rendered(requests: list[Request], encoder: Any) -> None:
    """Raises `ValueError` for words of a user that begin like a rendered template, or with the place of a picture."""
    for request in requests:
        for role, text in request.messages:
            if role == "assistant":
                continue
            if _TURN.match(text) or encoder.begins_template(text):
                raise ValueError(
                    f"{request.name} is a chat template that is rendered already, and would be read as the words of a "
                    "user; pass messages=, or the very string that this processor's apply_chat_template returned"
                )
            if found := _PLACE.match(text):
                raise ValueError(
                    f"{request.name} begins with {found[2]}, the place of a picture, which would be read as words of "
                    "a user; leave it out: the processor puts the picture before the text"
                )


__all__ = ["RenderedChat", "refuse_rendered", "rendered_dialogues"]
