"""Chat messages to token ids, with control tokens only where the program put them.

In: messages (role, text) of which the first user message may carry a visual. Out: token ids and, for training, labels.
Realises the prompt side of paper section 3.1 and keeps user text from acting as a control token: a `[SEG]`, `<img>` or
`<|im_end|>` typed by a user is encoded as the characters it is made of.

The chat template of the tokenizer is rendered once per sequence of roles, with a marker in place of each text; the
pieces between the markers are encoded as control text and kept. Texts are encoded on their own and put in between, so
that a prompt has the same ids alone, in a batch, in training and at inference.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

from desa2va.processing.files import is_text

ANSWER_MARKERS = ("[SEG]", "<p>", "</p>")
IGNORED_LABEL = -100

# A tokenizer keeps `split_special_tokens` as a state between two steps of a call: with two threads in it, the words of
# one would be read by the rule of the other.
_TOKENIZER_LOCK = threading.Lock()

# Characters and ids kept of one text and of all (some 40 bytes each): phrases come again, long texts do not.
_CACHED_TEXT, _CACHED_ALL = 4096, 2**20
_CACHED_ROLES = 64
_MARKER = "\ue000{}\ue001"
_MARKER_PATTERN = re.compile("\ue000(\\d+)\ue001")
_ANSWER_PATTERN = re.compile("|".join(re.escape(marker) for marker in ANSWER_MARKERS))


@dataclass
class EncodedChat:
    """Token ids of one sequence; `labels` has the same length and is -100 outside the assistant's answers."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def extend(self, ids: list[int], learn: bool = False) -> None:
        """Appends ids, as a target of the language-model loss (`learn`) or not."""
        self.input_ids.extend(ids)
        self.labels.extend(ids if learn else [IGNORED_LABEL] * len(ids))


class ChatEncoder:
    """Encodes messages with one tokenizer.

    Args:
        tokenizer: a fast tokenizer with a chat template.
        seg_ids: the ids that one `"[SEG]"` of an answer stands for (several with `seg_design` repetitive or unique).
        chat_template: template to use instead of the tokenizer's own.
    """

    def __init__(self, tokenizer: Any, seg_ids: list[int], chat_template: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.chat_template = chat_template
        self._templates: dict[tuple[tuple[str, ...], bool], list[list[int]]] = {}
        self._plain_cache: dict[str, list[int]] = {}
        self._cached = 0
        self._control_cache: dict[str, list[int]] = {}
        self._beginnings: tuple[str, ...] | None = None
        self._added = {index: str(token.content) for index, token in tokenizer.added_tokens_decoder.items()}
        self._marker_ids = {"[SEG]": list(seg_ids)}
        for marker in ANSWER_MARKERS[1:]:
            index = tokenizer.convert_tokens_to_ids(marker)
            known = index is not None and index != tokenizer.unk_token_id
            self._marker_ids[marker] = [index] if known else self.plain(marker)

    def control(self, text: str) -> list[int]:
        """Ids of text written by the program: control tokens count as such."""
        if text not in self._control_cache:
            self._control_cache[text] = self._ids(text, split=False)
        return self._control_cache[text]

    def plain(self, text: str) -> list[int]:
        """Ids of text of a user: no id is a control token, whatever the text contains."""
        if not text:
            return []
        cached = self._plain_cache.get(text)
        if cached is None:
            cached = self._encode_plain(text)
            size = len(text) + len(cached)
            if size <= _CACHED_TEXT and self._cached + size <= _CACHED_ALL:
                self._plain_cache[text] = cached
                self._cached += size
        return cached

    def _encode_plain(self, text: str) -> list[int]:
        if not is_text(text):
            raise ValueError(f"text {text!r:.60} is no Unicode text: it holds half a surrogate pair")
        ids = self._ids(text, split=True)
        if not any(index in self._added for index in ids):
            return ids
        # Added tokens that are not marked special are matched all the same: cut the text inside each of them.
        names = sorted(self._added.values(), key=len, reverse=True)
        cuts = [match.start() + 1 for match in re.finditer("|".join(map(re.escape, names)), text)]
        edges = [0, *cuts, len(text)]
        ids = [
            index for start, stop in zip(edges, edges[1:], strict=False) for index in self._ids(text[start:stop], True)
        ]
        kept = sorted({self._added[index] for index in ids if index in self._added})
        if kept:
            raise ValueError(
                f"text {text!r:.200} holds the control tokens {kept}, which this tokenizer cannot spell out"
            )
        return ids

    def _ids(self, text: str, split: bool) -> list[int]:
        """Ids of a text; `split`: control tokens are spelled out. No remark on the length changes the tokenizer."""
        with _TOKENIZER_LOCK:
            encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=split, verbose=False)
        return encoded["input_ids"]

    def answer(self, text: str) -> list[int]:
        """Ids of an assistant's text: `[SEG]`, `<p>` and `</p>` are control tokens, nothing else is."""
        ids: list[int] = []
        end = 0
        for match in _ANSWER_PATTERN.finditer(text):
            ids += self.plain(text[end : match.start()])
            ids += self._marker_ids[match.group()]
            end = match.end()
        return ids + self.plain(text[end:])

    def template(self, roles: tuple[str, ...], add_generation_prompt: bool) -> list[list[int]]:
        """Ids of the template around the texts of messages with these roles: `len(roles) + 1` pieces."""
        key = (roles, add_generation_prompt)
        if key not in self._templates:
            messages = [{"role": role, "content": _MARKER.format(index)} for index, role in enumerate(roles)]
            rendered = self._render(messages, add_generation_prompt)
            pieces = _MARKER_PATTERN.split(rendered)
            if pieces[1::2] != [str(index) for index in range(len(roles))]:
                raise ValueError(
                    f"the chat template does not show every message once and in order for roles {list(roles)}; "
                    f"it rendered the messages {pieces[1::2]}"
                )
            encoded = [self.control(piece) if piece else [] for piece in pieces[::2]]
            if len(roles) > _CACHED_ROLES:
                return encoded
            self._templates[key] = encoded
        return self._templates[key]

    def render(self, messages: list[tuple[str, str]]) -> str:
        """The prompt of `(role, text)` messages as one string that ends with the opening of an answer."""
        return self._render([{"role": role, "content": text} for role, text in messages], True)

    def begins_template(self, text: str) -> bool:
        """Whether a text begins as the template does before the first words of a system or user message."""
        if self._beginnings is None:
            starts = [self._beginning(roles) for roles in (("user",), ("system", "user"))]
            self._beginnings = tuple(start.strip() for start in starts if self.has_control(start))
        return text.lstrip().startswith(self._beginnings)

    def _beginning(self, roles: tuple[str, ...]) -> str:
        """What the template writes before the first text; nothing where it does not take these roles."""
        messages = [{"role": role, "content": _MARKER.format(index)} for index, role in enumerate(roles)]
        try:
            return self._render(messages, False).split(_MARKER.format(0))[0]
        except ValueError:
            return ""

    def has_control(self, text: str) -> bool:
        """Whether a text holds the name of a control token."""
        return any(name in text for name in self._added.values())

    def whole(self, prompt: str, context_id: int, counts: list[int]) -> list[int]:
        """Ids of a prompt that is encoded in one piece, control tokens as such.

        A tokenizer may join letters across the edge of template and text, where these are not kept apart by a control
        token; and SentencePiece writes the beginning of a text differently.

        Args:
            prompt: holds one image token for every run of them. context_id: of the image token. counts: tokens of
                each run, in order.
        """
        ids: list[int] = []
        left = list(counts)
        for index in self._ids(prompt, split=False):
            ids += [context_id] * left.pop(0) if index == context_id and left else [index]
        if left:
            raise ValueError(f"the prompt shows {len(counts) - len(left)} images, but there are {len(counts)}")
        return ids

    def _render(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        own = {} if self.chat_template is None else {"chat_template": self.chat_template}
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt, **own
            )
        except Exception as error:  # a template is a program; it may raise anything
            raise ValueError(f"the chat template can not be rendered ({type(error).__name__}: {error})") from error

    def encode(self, messages: list[tuple[str, str]], visual_ids: list[int], ending: str) -> EncodedChat:
        """Encodes one conversation.

        Args:
            messages: `(role, text)`; roles `"system"`, `"user"`, `"assistant"`.
            visual_ids: placeholder ids put before the text of the first user message; empty for text alone.
            ending: `"answer"` (with the opening of an answer), `"closed"` or `"unfinished"`; see `Dialogue`.

        Returns:
            `EncodedChat`; labels cover each assistant text and what closes it, see `closing`.

        Raises:
            ValueError: the template drops a message, or does not close an assistant's answer.
        """
        pieces = self.template(tuple(role for role, _ in messages), ending == "answer")
        chat = EncodedChat()
        chat.extend(pieces[0])
        for number, ((role, text), after) in enumerate(zip(messages, pieces[1:], strict=True), 1):
            if role != "assistant":
                if role == "user" and visual_ids:
                    chat.extend(visual_ids)
                    visual_ids = []
                chat.extend(self.plain(text))
                chat.extend(after)
                continue
            if not after:
                raise ValueError("the chat template writes no token after an assistant's answer; it never ends")
            chat.extend(self.answer(text), learn=True)
            if ending == "unfinished" and number == len(messages):
                break
            closing = self.closing(after)
            chat.extend(after[:closing], learn=True)
            chat.extend(after[closing:])
        return chat

    def closing(self, after: list[int]) -> int:
        """How many ids behind an answer close it: what the model has to say in order to end.

        All to the first control token. Where a template writes none (`<|end|>` with a tokenizer that does not know it)
        what it writes behind the last answer of a conversation, spelled out.
        """
        for count, index in enumerate(after, start=1):
            if index in self._added:
                return count
        end = self.template(("user", "assistant"), False)[-1]
        text = self.tokenizer.decode(end).rstrip()
        for count in range(1, len(after) + 1):
            if text and self.tokenizer.decode(after[:count]).startswith(text):
                return count
        return 1


__all__ = ["ANSWER_MARKERS", "IGNORED_LABEL", "ChatEncoder", "EncodedChat"]
