"""A describer on this machine: any image-text-to-text model of transformers, greedy, several asks at a time.

Asks enter, answers leave. A choice between words is read from the model's first token and not from a text, so that a
model that likes to talk still decides. (Sa2VA, section 3.3, takes InternVL2-76B, and Qwen2-72B for the check.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from .asks import Ask


class LocalDescriber:
    """A model and its processor.

    Args:
        model: of `AutoModelForImageTextToText`. processor: of `AutoProcessor`. name: told in records.
        max_tokens: longest answer.
    """

    def __init__(self, model: Any, processor: Any, name: str, max_tokens: int) -> None:
        self.model, self.processor, self.max_tokens = model.eval(), processor, max_tokens
        self.processor.tokenizer.padding_side = "left"
        revision = getattr(model.config, "_commit_hash", None)
        dtype = str(model.dtype).removeprefix("torch.")
        self.identity: dict[str, Any] = {"kind": "local", "name": name, "revision": revision, "dtype": dtype}
        self.identity["max_tokens"] = max_tokens

    @torch.inference_mode()
    def answers(self, asks: Sequence[Ask]) -> Iterator[dict[int, str]]:
        """All at once."""
        inputs = self._inputs(asks)
        if asks[0].choices:
            yield dict(enumerate(self._chosen(inputs, asks[0].choices)))
            return
        output = self.model.generate(**inputs, do_sample=False, max_new_tokens=self.max_tokens)
        new = output[:, inputs["input_ids"].shape[1] :]
        yield dict(enumerate(self.processor.batch_decode(new, skip_special_tokens=True)))

    def spent(self) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    def _inputs(self, asks: Sequence[Ask]) -> Any:
        texts = [self._worded(ask) for ask in asks]
        images = [[Image.fromarray(picture) for picture in ask.pictures] for ask in asks]
        given = {"images": images} if any(images) else {}
        return self.processor(text=texts, **given, padding=True, return_tensors="pt").to(
            self.model.device, self.model.dtype
        )

    def _worded(self, ask: Ask) -> str:
        content = [{"type": "image"} for _ in ask.pictures] + [{"type": "text", "text": ask.prompt}]
        return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def _chosen(self, inputs: Any, choices: tuple[str, ...]) -> list[str]:
        """The choice whose first token the model finds likeliest."""
        firsts = [self._first_tokens(choice) for choice in choices]
        alike = set.intersection(*firsts)  # a lone mark of a blank, say
        if not all(first - alike for first in firsts):
            told = " and ".join(choices)
            raise ValueError(f"the tokenizer of {self.identity['name']} begins {told} alike; take another checker")
        settings = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True, "do_sample": False}
        logits = self.model.generate(**inputs, **settings).logits[0].float()
        scores = torch.stack([logits[:, sorted(first - alike)].max(dim=1).values for first in firsts], dim=1)
        return [choices[best] for best in scores.argmax(dim=1).tolist()]

    def _first_tokens(self, choice: str) -> set[int]:
        """First tokens of a word as it may be written at the beginning of an answer."""
        spellings = (choice, choice.capitalize(), f" {choice}", f" {choice.capitalize()}")
        encode = self.processor.tokenizer.encode
        found = {encode(spelling, add_special_tokens=False)[0] for spelling in spellings}
        return found - {self.processor.tokenizer.unk_token_id}


def load_describer(name: str, device: str | None, dtype: str | None, max_tokens: int) -> LocalDescriber:
    """A describer by folder or Hub id.

    Args:
        name: of the model. device: by default CUDA where present. dtype: by default that of its files.
        max_tokens: longest answer.

    Raises:
        OSError, ValueError: no such model, or none that reads pictures and writes text.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        processor = AutoProcessor.from_pretrained(name)
    except OSError as error:  # may name nothing but the Hub's address
        raise OSError(f"--describer {name} is no folder of a model and not to be had from the Hub: {error}") from error
    if getattr(processor, "tokenizer", None) is None or not hasattr(processor, "image_processor"):
        raise ValueError(f"{name} has no processor of pictures and text; a describer needs both")
    model = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype or "auto").to(device)
    return LocalDescriber(model, processor, name, max_tokens)


__all__ = ["LocalDescriber", "load_describer"]
