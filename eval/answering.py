"""Asks a model about many samples and collects its answers, batch by batch.

`Sample`s with one conversation each enter, `(sample, result)` pairs leave in the same order. Regions are marked, and
earlier turns are handed over as they truly were; the last turn is asked. The answer is generated
(`task="auto"`, greedy), never teacher-forced; whether it holds a `[SEG]` is the model's own choice (METHOD section 6).
`read_answers` is the other way: the true answers are read, for what compares models word by word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import DeSa2VAOutput
from desa2va.processing.results import SegmentationResult
from desa2va.training.data.sample import Conversation, Sample
from desa2va.training.objectives.base import model_inputs

MAX_NEW_TOKENS = 64  # the longest true answer of RefShapes, six phrases with their [SEG], has 51


class Answerer:
    """A model with its processor, ready to be asked.

    Args:
        model: a `DeSa2VAModel` in eval mode.
        processor: its `DeSa2VAProcessor`.
        batch_size: pictures (videos) that are answered together.
        progress: called with the number of samples answered since the last call.
    """

    def __init__(self, model: Any, processor: Any, batch_size: int, progress: Any = None) -> None:
        self.model = model
        self.processor = processor
        self.batch_size = batch_size
        self.progress = progress

    def __call__(
        self, samples: Iterable[Sample], *, return_branches: bool = False, **options: Any
    ) -> Iterator[tuple[Sample, SegmentationResult]]:
        """Ask the last question of each sample.

        Args:
            samples: pictures only or videos only, of each batch all with earlier turns or none.
            return_branches: let the results hold the text and the visual mask as well.
            **options: for the processor, e.g. `key_frames`.
        """
        source = iter(samples)
        while batch := list(islice(source, self.batch_size)):
            yield from zip(batch, self._answer(batch, return_branches, options), strict=True)
            if self.progress is not None:
                self.progress(len(batch))

    def _answer(self, batch: list[Sample], return_branches: bool, options: dict[str, Any]) -> list[SegmentationResult]:
        """The results of one batch."""
        if batch[0].is_video:
            shown = {"videos": [sample.frames for sample in batch]}
        else:
            shown = {"images": [sample.frames[0] for sample in batch]}
        conversations = [sample.conversations[0] for sample in batch]
        questions = [conversation.turns[-1][0] for conversation in conversations]
        if any(len(conversation.turns) > 1 for conversation in conversations):
            options = {**options, "messages": [_history(conversation) for conversation in conversations]}
        regions = [conversation.regions for conversation in conversations]
        if any(region is not None for region in regions):
            options = {**options, "masks": regions if len(regions) > 1 else regions[0]}
        inputs = self.processor(**shown, text=questions, task="auto", **options)
        outputs = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, return_branches=return_branches)
        return self.processor.post_process(outputs, inputs)


def _history(conversation: Conversation) -> list[dict[str, str]]:
    """The turns before the last one, as messages."""
    return [
        {"role": role, "content": text}
        for turn in conversation.turns[:-1]
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


@torch.no_grad()
def read_answers(model: Any, batch: dict[str, Any], *leave_out: str) -> DeSa2VAOutput:
    """The model's output on the true answers of a batch.

    Args:
        model: a `DeSa2VAModel` in eval mode. batch: of `DeSa2VAProcessor.collate`.
        leave_out: entries of the batch it is not to see; without `sam_pixel_values` no mask is decoded.
    """
    device, dtype = execution_device(model.get_input_embeddings()), model.mllm.dtype
    inputs = {name: value.to(device) for name, value in model_inputs(batch, *leave_out).items()}
    # SAM-2 casts its pixels itself.
    inputs |= {"pixel_values": inputs["pixel_values"].to(dtype)} if "pixel_values" in inputs else {}
    return model(**inputs)


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Eval mode inside the block, the former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def track_strategy(model: Any, strategy: str) -> Iterator[None]:
    """Another `config.track_strategy` inside the block."""
    usual = model.config.track_strategy
    model.config.track_strategy = strategy
    try:
        yield
    finally:
        model.config.track_strategy = usual


@contextmanager
def recorded_gates(model: Any) -> Iterator[list[float]]:
    """Collects the gate of every fused mask inside the block: the weight of the visual branch, in [0, 1].

    The list stays empty where nothing is fused (mode `sa2va`).
    """
    gates: list[float] = []
    if model.config.prompt_mode != "desa2va":
        yield gates
        return
    handle = model.fusion.register_forward_hook(lambda _, inputs, output: gates.extend(output.gate.float().tolist()))
    try:
        yield gates
    finally:
        handle.remove()


__all__ = ["MAX_NEW_TOKENS", "Answerer", "evaluation_mode", "read_answers", "recorded_gates", "track_strategy"]
