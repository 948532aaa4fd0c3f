"""Ground-truth phrases, read alone by the frozen language model (paper section 3.2: the input of the third linear).

Enters: phrases. Leaves: (O, D) pooled last hidden states, remembered on the CPU, because a data set has few phrases
and the reader is frozen.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel


class LabelReader(nn.Module):
    """A frozen copy of the language model that reads phrases.

    Args:
        model: whose language layers are copied as they are now; later training of `model` does not reach the copy.
        tokenizer: the model's. capacity: phrases remembered.
    """

    def __init__(self, model: DeSa2VAModel, tokenizer: Any, capacity: int = 100_000) -> None:
        super().__init__()
        self.layers = copy.deepcopy(model.mllm.model.language_model).requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.capacity = capacity
        self.memory: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def forward(self, phrases: list[str]) -> torch.Tensor:
        """Phrases -> (len(phrases), D), where the layers are."""
        fresh = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self.memory]
        if fresh:
            if len(self.memory) + len(fresh) > self.capacity:
                self.memory.clear()
                fresh = list(dict.fromkeys(phrases))
            self.memory.update(zip(fresh, self._read(fresh).cpu(), strict=True))
        return torch.stack([self.memory[phrase] for phrase in phrases]).to(execution_device(self.layers))

    def _read(self, phrases: list[str]) -> torch.Tensor:
        """Mean state over a phrase's own tokens, right-padded batch, no chat template."""
        tokens = self.tokenizer(
            [f" {phrase}" for phrase in phrases],
            return_tensors="pt",
            padding=True,
            padding_side="right",
            add_special_tokens=False,
            split_special_tokens=True,
        ).to(execution_device(self.layers))
        states = self.layers(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, use_cache=False
        ).last_hidden_state
        weight = tokens.attention_mask[..., None].to(states.dtype)
        return (states * weight).sum(dim=1) / weight.sum(dim=1)


__all__ = ["LabelReader"]
