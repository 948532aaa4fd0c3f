"""Ground-truth phrases, read alone by the frozen language model (paper section 3.2: the input of the third linear).

Enters: phrases. Leaves: (O, D) pooled last hidden states, and a sample of the phrases that were read.
"""

from __future__ import annotations

import copy
import hashlib
import heapq
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from peft import PeftModel
from torch import nn

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .sharding import is_sharded

READ_AT_ONCE = 256


class PhraseSample:
    """Of all phrases ever added those with the smallest hashes: the same ones in any order, after any interruption,
    and from any number of processes whose samples are added to one another.

    Args:
        size: phrases kept.
    """

    def __init__(self, size: int = 8192) -> None:
        self.size = size
        self.kept: dict[str, bytes] = {}

    def add(self, phrases: Iterable[str]) -> None:
        """Adds phrases; those that were added before change nothing."""
        self.kept.update(
            (phrase, hashlib.sha256(phrase.encode(errors="surrogatepass")).digest()) for phrase in phrases
        )
        if len(self.kept) > 2 * self.size:
            self.kept = dict(self._smallest())

    def phrases(self) -> list[str]:
        """The sample in alphabetical order."""
        return sorted(phrase for phrase, _ in self._smallest())

    def gather(self) -> None:
        """Adds the samples of all processes. A collective call."""
        self.add(_of_all_processes(self.phrases()))

    def _smallest(self) -> list[tuple[str, bytes]]:
        return heapq.nsmallest(self.size, self.kept.items(), key=lambda item: item[1])


class LabelReader(nn.Module):
    """The language model as it was when the reader was made.

    Args:
        model: whose language layers read. tokenizer: the model's.
        shared: reads with the layers of `model` themselves, which saves a second language model; right where they do
            not learn, or nothing but adapters does (see `without`). By default with a copy, which later training does
            not reach.

    Attributes:
        seen: a sample of the phrases read.
    """

    def __init__(self, model: DeSa2VAModel, tokenizer: Any, shared: bool = False) -> None:
        super().__init__()
        layers = model.mllm.model.language_model
        self.copied = None if shared else copy.deepcopy(layers).requires_grad_(False).eval()
        self._shared = [layers] if shared else []  # in lists: not a part of this module
        self._adapters: list[PeftModel] = []
        self.tokenizer = tokenizer
        self.seen = PhraseSample()

    @property
    def layers(self) -> nn.Module:
        """The language layers that read."""
        return self._shared[0] if self._shared else self.copied

    @property
    def is_moved(self) -> bool:
        """Whether the model's own layers may read otherwise by now."""
        return not self._shared or bool(self._adapters)

    def without(self, adapters: PeftModel) -> None:
        """Switches `adapters` of the shared layers off while they read; a copy has none."""
        if self._shared:
            self._adapters = [adapters]

    @torch.no_grad()
    def forward(self, phrases: list[str]) -> torch.Tensor:
        """Phrases -> (len(phrases), D), where the layers are.

        A collective call where the layers are sharded: they are run by every process or by none, so each reads what
        any of them asks for. Nothing is kept for the next call: a state rounds with its company, and a resumed run
        would have another.
        """
        asked = list(dict.fromkeys(_of_all_processes(phrases) if is_sharded(self.layers) else phrases))
        self.seen.add(asked)
        states = self.read(asked) if asked else None
        if not phrases:
            return torch.zeros(0, self.layers.config.hidden_size, device=execution_device(self.layers))
        rows = {phrase: row for row, phrase in enumerate(asked)}
        return states[[rows[phrase] for phrase in phrases]]

    @torch.no_grad()
    def read(self, phrases: list[str]) -> torch.Tensor:
        """The same, not noted in `seen`."""
        with self._at_rest():
            return read_phrases(self.layers, self.tokenizer, phrases)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Shared layers as a copy of the start would be: evaluating, without adapters."""
        training = [module for module in self.layers.modules() if module.training]
        self.layers.eval()
        try:
            with self._adapters[0].disable_adapter() if self._adapters else nullcontext():
                yield
        finally:
            for module in training:
                module.training = True


def _of_all_processes(phrases: list[str]) -> list[str]:
    """The phrases of all processes in the order of their ranks. A collective call."""
    if not dist.is_initialized():
        return phrases
    gathered: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, phrases)
    return [phrase for part in gathered for phrase in part]


@torch.no_grad()
def read_phrases(layers: nn.Module, tokenizer: Any, phrases: list[str]) -> torch.Tensor:
    """Mean state over a phrase's own tokens, (len(phrases), D): right-padded batches, no chat template."""
    states = []
    for start in range(0, len(phrases), READ_AT_ONCE):
        tokens = tokenizer(
            [f" {phrase}" for phrase in phrases[start : start + READ_AT_ONCE]],
            return_tensors="pt",
            padding=True,
            padding_side="right",
            add_special_tokens=False,
            split_special_tokens=True,
        ).to(execution_device(layers))
        read = layers(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, use_cache=False)
        weight = tokens.attention_mask[..., None].to(read.last_hidden_state.dtype)
        states.append((read.last_hidden_state * weight).sum(dim=1) / weight.sum(dim=1))
    return torch.cat(states)


__all__ = ["LabelReader", "PhraseSample", "read_phrases"]
