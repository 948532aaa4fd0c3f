"""Answers that are known before they are given: read in one pass, kept as far as the model agrees.

Enters: prompts about to be answered, and a draft of the answer. Leaves: the answer of greedy decoding. The whole draft
is read at once; from the first token on that the model would not have said it goes on token by token. The rules over
segmentation tokens and ends are asked for every token as ever, so states, probabilities and what is forced are those
of `generate`, to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .generation import SegmentationTokenControl, StopAfterStates
from .generation_settings import GenerationSettings
from .read_tokens import cache_name, cut_cache, new_cache

# Settings of transformers that change or report scores, and the values besides `None` with which they do not.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "bad_words_ids": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "forced_bos_token_id": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "sequence_bias": (),
    "exponential_decay_length_penalty": (),
    "remove_invalid_values": (False,),
    "renormalize_logits": (False,),
    "watermarking_config": (),
    "cache_implementation": (),
    "use_cache": (True,),
    "do_sample": (False,),
    "output_scores": (False,),
    "output_logits": (False,),
}


def takes_drafts(mllm: nn.Module, language: Mapping[str, Any], settings: GenerationSettings) -> bool:
    """Whether an answer may be drafted: plain greedy decoding of InternVL's, whose places are counted, with a cache
    that can be cut.
    """
    plain = not (settings.streamer or settings.handed_on)
    if not plain or "inputs_embeds" not in language or language.get("attention_mask") is None:
        return False
    for name, neutral in _NEUTRAL.items():
        asked = getattr(settings.config, name, None)
        value = getattr(mllm.generation_config, name, None) if asked is None else asked
        if value is not None and value not in neutral:
            return False
    return new_cache(mllm) is not None


@torch.no_grad()
def answer_drafted(
    mllm: nn.Module,
    language: Mapping[str, Any],
    draft: torch.Tensor,
    control: SegmentationTokenControl,
    stop: StopAfterStates,
    settings: GenerationSettings,
) -> torch.Tensor:
    """New token ids (B, m) of prompts.

    Args:
        mllm: the language model. language: its inputs: `inputs_embeds` (B, N, D), `attention_mask` (B, N), and perhaps
            a cache of the first places. draft: (k,) long, without an end token; the same for all rows.
        control, stop, settings: as for `generate`; see `takes_drafts`.
    """
    reader = _Reader(mllm, language, control)
    embed, prompt = mllm.get_input_embeddings(), language["inputs_embeds"]
    batch, length = prompt.shape[:2]
    ends = torch.tensor(settings.eos_token_ids, device=prompt.device)
    draft = draft.to(prompt.device)[: settings.max_new_tokens]
    ids, done = draft.new_zeros(batch, 0), torch.zeros(batch, dtype=torch.bool, device=prompt.device)
    ahead = torch.cat([prompt[:, reader.length :], embed(draft.expand(batch, -1)).to(prompt)], dim=1)
    logits = reader.read(ahead, len(draft) + 1)
    place = 0
    while True:
        reader.show(place)
        scores = logits[:, place].to(ids.device, torch.float32)  # the last layer may lie on another device
        for processor in (control, *settings.logits_processor):
            scores = processor(ids, scores)
        said = torch.where(done, settings.config.pad_token_id, scores.argmax(dim=-1))
        ids = torch.cat([ids, said[:, None]], dim=1)
        done = done | stop(ids, scores) | torch.isin(said, ends)
        if bool(done.all()) or ids.shape[1] > settings.max_new_tokens:
            reader.cut(length + ids.shape[1] - 1)
            return ids
        place += 1
        if place == logits.shape[1] or bool((said != draft[place - 1])[~done].any()):
            reader.cut(length + ids.shape[1] - 1)
            logits, place = reader.read(embed(said[:, None]), 1), 0


class _Reader:
    """Reads on behind what a cache holds.

    Attributes:
        length: places that were read.
    """

    def __init__(self, mllm: nn.Module, language: Mapping[str, Any], control: SegmentationTokenControl) -> None:
        self.mllm, self.recorder, self.name = mllm, control.recorder, cache_name(mllm)
        self.cache = language.get(self.name)
        if self.cache is None:
            self.cache = new_cache(mllm)
        self.length = self.cache.get_seq_length()
        self.mask = language["attention_mask"]

    def read(self, embeddings: torch.Tensor, width: int) -> torch.Tensor:
        """Reads (B, n, D) more: logits (B, width, vocabulary) of the last places."""
        self.length += embeddings.shape[1]
        unseen = self.length - self.mask.shape[1]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), unseen)], dim=1)
        places = (self.mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -embeddings.shape[1] :]
        states = self.mllm.model(
            inputs_embeds=embeddings,
            attention_mask=self.mask,
            position_ids=places,
            use_cache=True,
            **{self.name: self.cache},
        ).last_hidden_state
        logits = self.mllm.get_output_embeddings()(states[:, -width:])
        # Of the head or of the last norm, whichever is recorded.
        self.recorded = self.recorder.states[:, -width:]
        return logits

    def show(self, place: int) -> None:
        """Lets the recorder hold the state of one of the last places read."""
        self.recorder.states = self.recorded[:, place : place + 1]

    def cut(self, length: int) -> None:
        """Forgets what was read beyond `length` places."""
        cut_cache(self.cache, length)
        self.length = min(self.length, length)
        self.mask = self.mask[:, : self.length]


__all__ = ["answer_drafted", "takes_drafts"]
