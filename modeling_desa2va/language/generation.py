"""Generation that keeps the last hidden state of every new token and rules over the segmentation tokens.

Enters: a language model's inputs. Leaves: new token ids, the state at each of them, and the probability of a `[SEG]`.
Nothing else is kept: no attention maps, no other layers, no prompt states (they would grow with the prompt).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import LogitsProcessor, StoppingCriteria

TASKS = ("auto", "segment", "chat", "gcg")


class SegmentationTokenControl(LogitsProcessor):
    """Forbids or forces `[SEG]`, and records its probability at every step.

    Args:
        seg_token_ids: one id, or the ids of one object's tokens in order (`seg_design="unique"`).
        group_size: segmentation tokens per object. eos_token_ids: ids that end an answer.
        task: `"chat"` forbids every segmentation token; `"segment"` puts one where the answer would end without any;
            `"auto"` and `"gcg"` leave the choice to the model. max_new_tokens: the budget of new tokens.

    A group that has begun is always completed: the model cannot leave an object with a part of its tokens.
    """

    def __init__(
        self, seg_token_ids: list[int], group_size: int, eos_token_ids: list[int], task: str, max_new_tokens: int
    ) -> None:
        self.seg_token_ids = seg_token_ids
        self.group_size = group_size
        self.eos_token_ids = eos_token_ids
        self.task = task
        self.max_new_tokens = max_new_tokens
        self.probabilities: list[torch.Tensor] = []
        self.step = 0
        self.count: torch.Tensor | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (B, vocabulary) -> scores with the segmentation tokens ruled."""
        ids = torch.tensor(self.seg_token_ids, device=scores.device)
        self.probabilities.append(torch.softmax(scores.float(), dim=-1)[:, ids].sum(dim=-1).cpu())
        if self.count is None:
            self.count = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        elif input_ids.shape[1]:
            self.count += torch.isin(input_ids[:, -1].to(scores.device), ids)
        self.step += 1
        if self.task == "chat":
            return scores.index_fill(1, ids, float("-inf"))
        return self._complete_groups(self._force(scores))

    def _force(self, scores: torch.Tensor) -> torch.Tensor:
        """In `segment`, turns an end without `[SEG]` (or the last place for one) into `[SEG]`."""
        if self.task != "segment":
            return scores
        ends = torch.isin(scores.argmax(dim=-1), torch.tensor(self.eos_token_ids, device=scores.device))
        last_place = self.step > self.max_new_tokens - self.group_size
        return self._only(scores, (self.count == 0) & (ends | last_place), self.seg_token_ids[0])

    def _complete_groups(self, scores: torch.Tensor) -> torch.Tensor:
        if self.group_size == 1:
            return scores
        position = self.count % self.group_size
        for place in range(self.group_size):
            token = self.seg_token_ids[place % len(self.seg_token_ids)]
            if place == 0:
                later = self.seg_token_ids[1:]
                if later:
                    blocked = scores.clone()
                    blocked[:, later] = float("-inf")
                    scores = torch.where((position == 0)[:, None], blocked, scores)
            else:
                scores = self._only(scores, position == place, token)
        return scores

    @staticmethod
    def _only(scores: torch.Tensor, rows: torch.Tensor, token: int) -> torch.Tensor:
        forced = torch.full_like(scores, float("-inf"))
        forced[:, token] = 0.0
        return torch.where(rows[:, None], forced, scores)


class StopAfterStateOfLastToken(StoppingCriteria):
    """Stops at `max_new_tokens`, one step later where the last token is a `[SEG]`: its state needs that step.

    Args:
        prompt_length: tokens before the first new one, in the ids generation reports. The extra token is discarded.
    """

    def __init__(self, seg_token_ids: list[int], prompt_length: int, max_new_tokens: int) -> None:
        self.seg_token_ids = seg_token_ids
        self.limit = prompt_length + max_new_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs) -> torch.BoolTensor:
        """(B,) whether a row is done."""
        length = input_ids.shape[1]
        if length < self.limit:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        if length > self.limit:
            return torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
        return ~torch.isin(input_ids[:, -1], torch.tensor(self.seg_token_ids, device=input_ids.device))


@contextmanager
def record_last_states(output_embeddings: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collects (B, D) states that enter `output_embeddings`, the newest position of each call.

    Entry 0 is the state of the prompt's last token; entry t >= 1 is the state whose input is new token t - 1.
    """
    states: list[torch.Tensor] = []
    handle = output_embeddings.register_forward_pre_hook(lambda _, args: states.append(args[0][:, -1].detach()))
    try:
        yield states
    finally:
        handle.remove()


__all__ = ["TASKS", "SegmentationTokenControl", "StopAfterStateOfLastToken", "record_last_states"]
