"""Sa2VA's call, for code written for it: the same names, defaults and returned dictionary, for every backbone.

Enters: a picture or the frames of a video, and text. Leaves: `{"prediction": ..., "prediction_masks": ...}`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn

MAX_NEW_TOKENS = 2048


class PredictForwardMixin(nn.Module):
    """`predict_forward` for `DeSa2VAModel`."""

    @torch.no_grad()
    def predict_forward(
        self,
        image: Any = None,
        video: Any = None,
        text: str | None = None,
        past_text: str = "",
        mask_prompts: Any = None,
        tokenizer: Any = None,
        processor: Any = None,
    ) -> dict[str, Any]:
        """Answers one request as Sa2VA's models do.

        Args:
            image: a picture (PIL, array, path). video: frames (list of PIL images or arrays), or a file or folder.
            text: with `<image>` where the picture belongs. past_text: an earlier conversation, for text alone.
            mask_prompts: a list with one array `(regions, H, W)`: the text speaks of `region1`, `region2`, ...
                (InternVL).
            tokenizer: taken for Sa2VA's sake; the processor has its own.
            processor: a `DeSa2VAProcessor`; by default the one `desa2va.load` attached. One of transformers, which
                Sa2VA's Qwen-VL models ask for, is not needed and not used.

        Returns:
            `prediction`: the answer with its control tokens. `prediction_masks`: for every `[SEG]` a bool array
            `(frames, H, W)` at source size.

        Raises:
            ValueError: no text, no processor, or what `DeSa2VAProcessor.sa2va_inputs` refuses.
        """
        own = processor if hasattr(processor, "sa2va_inputs") else self.processor
        if own is None:
            raise ValueError("predict_forward needs a DeSa2VAProcessor: processor=, or a model from desa2va.load")
        inputs = own.sa2va_inputs(image, video, text, past_text, mask_prompts)
        output = self.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS)
        spaced = self.config.get_text_config().model_type == "llama"
        said = _decode(own.tokenizer, output.sequences[0].tolist(), self._end_ids(), spaced)
        masks = [] if not inputs["visuals"] else _masks(own, output, inputs)
        return {"prediction": said, "prediction_masks": masks}

    def _end_ids(self) -> list[int]:
        """Ids that end an answer."""
        stored = self.mllm.generation_config.eos_token_id
        eos = self.config.get_text_config().eos_token_id if stored is None else stored
        return list(eos) if isinstance(eos, (list, tuple)) else [eos]


def _masks(processor: Any, output: Any, inputs: Any) -> list[np.ndarray]:
    """Masks (frames, H, W) of every object."""
    objects = processor.post_process(output, inputs)[0].objects
    return [np.stack([found.mask(frame) for frame in range(len(found.codes))]) for found in objects]


def _decode(tokenizer: Any, ids: list[int], ends: list[int], spaced: bool) -> str:
    """The answer up to its end token, control tokens as they are written.

    Args:
        spaced: with blanks around control tokens, as InternLM2's tokenizer writes them.
    """
    last = next((place for place, index in enumerate(ids) if index in ends), len(ids) - 1)
    ids = ids[: last + 1]
    if not spaced:
        return tokenizer.decode(ids, skip_special_tokens=False).strip()
    pieces: list[str] = []
    for is_control, run in groupby(ids, key=tokenizer.added_tokens_decoder.__contains__):
        tokens = list(run)
        pieces += tokenizer.convert_ids_to_tokens(tokens) if is_control else [_words(tokenizer, tokens)]
    return " ".join(pieces).strip()


def _words(tokenizer: Any, ids: list[int]) -> str:
    """Plain text; a blank before its first word stays, which SentencePiece takes for the beginning of a sentence."""
    text = tokenizer.decode(ids)
    begins = tokenizer.convert_ids_to_tokens(ids[0]).startswith("\u2581") and not text.startswith(" ")
    return f" {text}" if begins else text


__all__ = ["PredictForwardMixin"]
