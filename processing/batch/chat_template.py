"""`apply_chat_template` of a processor, with the arguments of transformers.

In: messages. Out: the rendered string, which knows its conversation (`RenderedChat`), or the batch that
`processor(messages=messages)` makes. (Engineering; no paper section.)
"""

from __future__ import annotations

from typing import Any

from desa2va.processing.inputs import Dialogue, parse_messages

from .rendered_chat import RenderedChat


class ChatTemplateMixin:
    """`apply_chat_template` for `DeSa2VAProcessor`."""

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_tensors: str | None = None,
        return_dict: bool = False,
        processor_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Renders messages, or makes a batch of them.

        Args:
            conversation: messages, or a list of conversations; see `parse_messages`.
            chat_template: a template, or the name of one of the tokenizer's; the processor's own by default.
            add_generation_prompt: end with the opening of an answer. When omitted, a batch (`tokenize=True`) does so
                where the user speaks last, since `generate` needs it; a string does not, as in transformers.
            continue_final_message: leave the assistant's last message open, to be continued.
            tokenize: make a batch; otherwise a string for each conversation. A string can be given to the processor as
                `text=`, with the visuals of its messages as `images=` or `videos=`.
            return_tensors: `"pt"`, or `None`.
            return_dict: the whole batch, which `generate` takes; otherwise its `input_ids` alone.
            processor_kwargs: further arguments of `__call__`.
            options: likewise (`task`, `images`, `key_frames`, ...).

        Raises:
            ValueError: malformed messages; tools, documents or masks of the assistant's tokens, which can not be had;
                or `add_generation_prompt` where the assistant speaks last.
            TypeError: an unknown argument.
        """
        for name in ("tools", "documents", "return_assistant_tokens_mask", "load_audio_from_video"):
            if options.pop(name, None):
                raise ValueError(f"{name}= can not be had: the model was trained without; leave it out")
        options = {"return_tensors": return_tensors, **(processor_kwargs or {}), **options}
        self._options(options)
        dialogues = parse_messages(conversation)
        for dialogue in dialogues:
            dialogue.ending = _ending(dialogue, add_generation_prompt, continue_final_message)
        if tokenize:
            batch = self(messages=dialogues, chat_template=chat_template, **options)
            return batch if return_dict else batch["input_ids"]
        opened = bool(add_generation_prompt)
        rendered = [self._rendered(dialogue, chat_template, opened) for dialogue in dialogues]
        return rendered[0] if isinstance(conversation[0], dict) else rendered

    def _rendered(self, dialogue: Dialogue, chat_template: str | None, opened: bool) -> RenderedChat:
        template = self.chat_template if chat_template is None else chat_template
        messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in dialogue.messages]
        if dialogue.visual is not None:
            first = next(message for message in messages if message["role"] == "user")
            first["content"] = [{"type": dialogue.visual.kind}, {"type": "text", "text": first["content"]}]
        text = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=opened,
            continue_final_message=dialogue.ending == "unfinished",
            **({} if template is None else {"chat_template": template}),
        )
        return RenderedChat(text, dialogue)


def _ending(dialogue: Dialogue, add_generation_prompt: bool | None, continue_final_message: bool) -> str:
    """How a conversation ends, see `Dialogue`."""
    if continue_final_message:
        if add_generation_prompt:
            raise ValueError(
                "add_generation_prompt=True begins an answer, continue_final_message=True goes on with one"
            )
        return "unfinished"
    if add_generation_prompt is None:
        add_generation_prompt = dialogue.messages[-1][0] == "user"
    return "answer" if add_generation_prompt else "closed"


__all__ = ["ChatTemplateMixin"]
