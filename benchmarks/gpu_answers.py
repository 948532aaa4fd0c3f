"""Seconds from a request about five frames to its mask, with language models of the published sizes.

Enters: a preset. Leaves: seconds of the whole call and of its stages. Weights are random and half precision; frames
are decoded and resized already; five key frames are the whole clip (1,280 image tokens), and the answer is always the
same five tokens, one of them a `[SEG]`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LogitsProcessor

from desa2va.configuration.presets import TINY_TOKEN_IDS, preset_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.training.processors import shape_processor

from .gpu_speed import now

FRAMES, REPEATS = 5, 5
REQUEST = "Please segment the man."
# What Sa2VA's table 19 states for an H100.
SA2VA_SECONDS = {"1b": 0.123, "4b": 0.282, "8b": 0.201, "26b": 0.463}


def backbone_model(
    preset: str, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """A model of a preset's shape with random weights, made on its device, and a processor with its picture sizes.

    Args:
        preset: of `preset_names`, an InternVL or `"tiny"`. device: of the weights. dtype: of the language model's.
    """
    processor = shape_processor(preset)
    config = preset_config(preset, seg_token_ids=processor.seg_token_ids)
    config.mllm_config.image_token_id = TINY_TOKEN_IDS["image"]
    config.mllm_config.text_config.eos_token_id = TINY_TOKEN_IDS["eos"]
    config.mllm_config.text_config.pad_token_id = TINY_TOKEN_IDS["pad"]
    usual = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = DeSa2VAModel(config)
    finally:
        torch.set_default_dtype(usual)
    for part in (model.segmenter, model.decoupling, model.fusion):
        part.float()
    return model.eval().to(dtype), processor


class Says(LogitsProcessor):
    """Makes a model with random weights give one answer, whatever it would say.

    Args:
        answer: token ids.
    """

    def __init__(self, answer: list[int]) -> None:
        self.answer = answer

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """The next token of the answer and no other; ids (B, n) are those said so far."""
        said = torch.full_like(scores, float("-inf"))
        said[:, self.answer[min(input_ids.shape[1], len(self.answer) - 1)]] = 0.0
        return said


@torch.no_grad()
def answer_seconds(preset: str, device: torch.device, repeats: int = REPEATS) -> dict[str, Any]:
    """Seconds of `generate`, as it comes (`plain`) and with a draft and CUDA graphs (`fast`).

    Returns:
        Of either `seconds` (median) of the whole call, and by stage (in further calls that wait after each) with the
        number of calls; `tokens` of the prompt; `sa2va_seconds`.
    """
    model, processor = backbone_model(preset, device)
    generator = np.random.default_rng(0)
    frames = list(generator.integers(0, 256, (FRAMES, 480, 640, 3), dtype=np.uint8))
    inputs = processor(videos=frames, text=REQUEST, task="segment", num_key_frames=FRAMES)
    answer = [20, 21, processor.seg_token_ids[0], 22, TINY_TOKEN_IDS["eos"]]
    call = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
    call |= {"logits_processor": [Says(answer)], "max_new_tokens": len(answer) + 3}
    figures = {"plain": _timed(model, call, answer, device, repeats)}
    model.use_cuda_graphs()
    figures["fast"] = _timed(model, call | {"draft_ids": torch.tensor(answer[:-1])}, answer, device, repeats)
    model.drop_cuda_graphs()
    return figures | {"tokens": inputs["input_ids"].shape[1], "sa2va_seconds": SA2VA_SECONDS.get(preset)}


def _timed(
    model: DeSa2VAModel, call: dict[str, Any], answer: list[int], device: torch.device, repeats: int
) -> dict[str, Any]:
    def once() -> float:
        start = now(device)
        output = model.generate(**call)
        if output.sequences[0].tolist() != answer or len(output.object_sequence) != 1:
            raise RuntimeError(f"{len(output.object_sequence)} objects in the answer {output.sequences[0].tolist()}")
        return now(device) - start

    first = [once() for _ in range(3)][0]
    whole = median(once() for _ in range(repeats))
    with stage_clock(stages_of(model), device) as clock:
        for _ in range(repeats):
            once()
    stages = {
        name: {"seconds": round(sum(seconds) / repeats, 5), "calls": len(seconds) / repeats}
        for name, seconds in clock.items()
    }
    return {"seconds": round(whole, 4), "first_call": round(first, 2), "stages": stages}


def stages_of(model: DeSa2VAModel) -> dict[str, nn.Module]:
    """The networks of an answer, by the names of the report."""
    language = model.mllm.model
    named = {"vision_tower": language.vision_tower, "language_layers": language.language_model}
    return named | model.segmenter.networks()


@contextmanager
def stage_clock(stages: dict[str, nn.Module], device: torch.device) -> Iterator[dict[str, list[float]]]:
    """Inside, every call of the modules is timed, the device's work included; a reading of several tokens and one of
    a single one are two stages, `language_layers` and `language_step`.
    """
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, usual: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            read = kwargs.get("inputs_embeds")
            single = name == "language_layers" and read is not None and read.shape[1] == 1
            start = now(device)
            result = usual(*args, **kwargs)
            seconds["language_step" if single else name].append(now(device) - start)
            return result

        return call

    before = {name: module._compiled_call_impl for name, module in stages.items()}
    for name, module in stages.items():
        module._compiled_call_impl = timed(name, before[name] or module._call_impl)
    try:
        yield seconds
    finally:
        for name, module in stages.items():
            module._compiled_call_impl = before[name]


__all__ = ["SA2VA_SECONDS", "answer_seconds", "backbone_model", "stage_clock", "stages_of"]
