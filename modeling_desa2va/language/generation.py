"""Generation that keeps the last hidden state of every new token and rules over the segmentation tokens.

Enters: a language model's inputs. Leaves: new token ids, the state at each of them, the probability of a `[SEG]`, and
whether it was put there against the model's choice.
Nothing else is kept: no attention maps, no other layers, no prompt states (they would grow with the prompt).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation import BaseStreamer

from desa2va.processing.inputs import WORD_TASKS

from .hooks import hook_once


class StateRecorder:
    """Holds the states that entered a module last, in one call.

    Attributes:
        module: the output head, or the last norm. states: (B, N, D); `None` before the module has run.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.states: torch.Tensor | None = None

    @property
    def newest(self) -> torch.Tensor | None:
        """(B, D), the newest position, without gradient."""
        return None if self.states is None else self.states[:, -1].detach()


# A context variable, since several threads may generate with one model: the hook is shared, what it fills is not.
_RECORDER: ContextVar[StateRecorder | None] = ContextVar("desa2va_state_recorder", default=None)


@contextmanager
def record_last_states(module: nn.Module) -> Iterator[StateRecorder]:
    """Inside, and in this thread alone, the states that enter a module are recorded.

    At step 0 of generation `newest` is the state of the prompt's last token; at step t >= 1 the state whose input is
    new token t - 1.
    """
    hook_once(module, _record, "forward_pre")
    recorder = StateRecorder(module)
    token = _RECORDER.set(recorder)
    try:
        yield recorder
    finally:
        _RECORDER.reset(token)


def _record(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    recorder = _RECORDER.get()
    if recorder is not None and recorder.module is module:
        recorder.states = args[0]


class SegmentationTokenControl(LogitsProcessor):
    """Forbids or forces `[SEG]`, and records what is known of every step.

    Args:
        recorder: of the output head; read here, before any other run of the head can follow.
        seg_token_ids: one id, or the ids of one object's tokens in order (`seg_design="unique"`).
        group_size: segmentation tokens per object. eos_token_ids: ids that end an answer.
        task: one for all rows, or one for each. `"chat"`, `"caption"` and `"region"` forbid every segmentation token;
            `"segment"` puts one where the answer would end without any; `"auto"` and `"gcg"` leave the choice to the
            model. max_new_tokens: the budget of new tokens.
        has_visual: (B,) bool, rows about a picture or video; nothing is forced on the others. `None`: all.

    Attributes:
        states, probabilities, forced: for each step (B, D) the state, (B,) the probability of a segmentation token,
            and (B,) whether one was chosen in place of what the model preferred.
        said: for each step (B,) the log-probability of all that was said before it.

    A group that has begun is always completed: the model cannot leave an object with a part of its tokens.
    """

    def __init__(
        self,
        recorder: StateRecorder,
        seg_token_ids: list[int],
        group_size: int,
        eos_token_ids: list[int],
        task: str | list[str],
        max_new_tokens: int,
        has_visual: torch.Tensor | None = None,
    ) -> None:
        self.recorder = recorder
        self.seg_token_ids = seg_token_ids
        self.group_size = group_size
        self.eos_token_ids = eos_token_ids
        self.task = task
        self.max_new_tokens = max_new_tokens
        self.has_visual = has_visual
        self.states: list[torch.Tensor] = []
        self.probabilities: list[torch.Tensor] = []
        self.forced: list[torch.Tensor] = []
        self.said: list[torch.Tensor] = []
        self.expected: torch.Tensor | None = None
        self.step = 0
        self.count: torch.Tensor | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (B, vocabulary) -> scores with the segmentation tokens ruled."""
        if self.count is None:
            self._begin(scores)
        elif input_ids.shape[1]:
            self.count += torch.isin(input_ids[:, -1].to(scores.device), self._ids)
        self.states.append(self.recorder.newest)
        self._record_said(input_ids, scores)
        self.probabilities.append(self.expected[:, self._ids].exp().sum(dim=-1))
        self.step += 1
        forced = self._forced_rows(scores)
        self.forced.append(forced)
        # An end must not be sampled either.
        unmarked = (self.count == 0) & self._forcible
        scores = torch.where(unmarked[:, None], scores.index_fill(1, self._ends, float("-inf")), scores)
        scores = torch.where(self._silent[:, None], scores.index_fill(1, self._ids, float("-inf")), scores)
        return self._complete_groups(self._only(scores, forced, self.seg_token_ids[0]))

    def _begin(self, scores: torch.Tensor) -> None:
        """What is the same at every step, on the device of the scores: each tensor made costs as much as a rule."""
        device, tasks = scores.device, [self.task] * len(scores) if isinstance(self.task, str) else self.task
        self._ids = torch.tensor(self.seg_token_ids, device=device)
        self._ends = torch.tensor(self.eos_token_ids, device=device)
        self._silent = torch.tensor([task in WORD_TASKS for task in tasks], device=device)
        rows = torch.tensor([task == "segment" for task in tasks], device=device)
        self._forcible = rows if self.has_visual is None else rows & self.has_visual.to(device)
        self.count = torch.zeros(len(scores), dtype=torch.long, device=device)

    def _record_said(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> None:
        """Adds the token chosen last to what was said, and keeps what is expected next, (B, vocabulary)."""
        if self.expected is None:
            self.said.append(torch.zeros(len(scores), device=scores.device))
        else:
            chosen = self.expected.gather(1, input_ids[:, -1:].to(self.expected.device))[:, 0]
            self.said.append(self.said[-1] + chosen.to(scores.device))
        self.expected = torch.log_softmax(scores.float(), dim=-1)

    def _forced_rows(self, scores: torch.Tensor) -> torch.Tensor:
        """In `segment` (B,) rows that would end without `[SEG]`, or have no other place left and prefer another."""
        chosen = scores.argmax(dim=-1)
        ends = torch.isin(chosen, self._ends)
        last_place = self.step > self.max_new_tokens - self.group_size
        return self._forcible & (self.count == 0) & (ends | last_place) & (chosen != self.seg_token_ids[0])

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


class StopAfterStates(StoppingCriteria):
    """Ends an answer at its limit or where another criterion says so; one step later where the last token is a
    `[SEG]`, since its state needs that step.

    Args:
        seg_token_ids: ids of segmentation tokens. prompt_length: tokens before the first new one, in the ids that
            generation reports. max_new_tokens: the limit. others: further criteria.

    Attributes:
        ends: (B,) number of new tokens at which a row was ended, -1 for rows that were not; `None` before the first
            step. The token of a step that was only made for a state lies beyond, and is to be discarded.
    """

    def __init__(
        self, seg_token_ids: list[int], prompt_length: int, max_new_tokens: int, others: list[StoppingCriteria]
    ) -> None:
        self.seg_token_ids = seg_token_ids
        self.prompt_length, self.max_new_tokens, self.others = prompt_length, max_new_tokens, others
        self.ends: torch.Tensor | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        """(B,) whether a row is done."""
        length = input_ids.shape[1] - self.prompt_length
        if self.ends is None:
            self.ends = torch.full((len(input_ids),), -1, device=input_ids.device)
        ended = torch.full_like(self.ends, length >= self.max_new_tokens, dtype=torch.bool)
        for criterion in self.others:
            ended = ended | torch.as_tensor(criterion(input_ids, scores, **kwargs), device=input_ids.device)
        self.ends = torch.where((self.ends < 0) & ended, length, self.ends)
        is_seg = torch.isin(input_ids[:, -1], torch.tensor(self.seg_token_ids, device=input_ids.device))
        return (self.ends >= 0) & ~(is_seg & (self.ends == length))


class StreamerUntilEnd(BaseStreamer):
    """Hands tokens on to another streamer, but those that generation makes for a state only.

    Args:
        streamer: the other one. stop: knows where the rows end.
    """

    def __init__(self, streamer: BaseStreamer, stop: StopAfterStates) -> None:
        self.streamer, self.stop = streamer, stop
        self.count = -1  # new tokens so far; the prompt comes first

    def put(self, value: torch.Tensor) -> None:
        """One step's new ids (B,), or the prompt."""
        self.count += 1
        ends = self.stop.ends
        if ends is None or bool(((ends < 0) | (self.count <= ends)).any()):
            self.streamer.put(value)

    def end(self) -> None:
        """The answer is over."""
        self.streamer.end()


__all__ = [
    "SegmentationTokenControl",
    "StateRecorder",
    "StopAfterStates",
    "StreamerUntilEnd",
    "record_last_states",
]
