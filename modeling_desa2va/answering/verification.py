"""Does the model stand by its masks? It is shown each of them outlined and asked back.

Enters: the answer on the key frames. Leaves: for each object and key frame the probability that the model agrees, and
which key frame may condition the tracker: the best verified one (the proposer-critic loop of those who won video
challenges; the paper has none). The questions are read together, and not a word is generated.
"""

from __future__ import annotations

from typing import Any

import torch

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.language import VISION_INPUTS, shared_images
from desa2va.modeling_desa2va.outputs import KeyFrameAnswer
from desa2va.processing.batch import Check
from desa2va.processing.files import resize_logits

CHECK_BATCH = 32  # questions read at once, each with a picture of its own


def verify_masks(model: Any, processor: Any, answer: KeyFrameAnswer, visuals: list[Any], texts: list[str]) -> None:
    """Fills in `answer.agreement`, and `conditioning` of the visuals with several key frames.

    Every mask has a picture of its own, since outlines of neighbours would cover each other.

    Args:
        model: a `DeSa2VAModel` in eval mode. processor: its own. answer: of the key frames.
        visuals: `VisualInfo`s of the batch. texts: the requests, one per sequence.

    Raises:
        ValueError: the model has no region prompts; see `ask_back`.
    """
    answer.agreement = [torch.empty(0)] * len(answer.object_sequence)
    for found in answer.visuals:
        for number in found.objects:
            answer.agreement[number] = torch.full((len(found.key_frames),), torch.nan)
    places, checks = _checks(model, processor, answer, visuals, texts)
    for start in range(0, len(checks), CHECK_BATCH):
        piece = slice(start, start + CHECK_BATCH)
        values = _agreement(model, *processor.checks(visuals, checks[piece]))
        for (number, column), value in zip(places[piece], values, strict=True):
            answer.agreement[number][column] = value
    for found in answer.visuals:
        if found.objects and len(found.key_frames) > 1:
            values = torch.stack([answer.agreement[number] for number in found.objects]).nan_to_num(-1.0)
            none = torch.zeros_like(values, dtype=torch.bool)
            found.conditioning = none.scatter(1, values.argmax(dim=1, keepdim=True), True)


def _checks(
    model: Any, processor: Any, answer: KeyFrameAnswer, visuals: list[Any], texts: list[str]
) -> tuple[list[tuple[int, int]], list[Check]]:
    """`(object, key frame's place)` and question of every mask that has a pixel and is judged present."""
    said = zip(answer.sequences.tolist(), texts, strict=True)
    parsed = [processor.answer_parser.parse(*row) for row in said]
    owners = answer.object_sequence.tolist()
    options = model.mask_options()
    places, checks = [], []
    for visual, found in enumerate(answer.visuals):
        size = (visuals[visual].height, visuals[visual].width)
        for row, number in enumerate(found.objects):
            rank = owners[:number].count(owners[number])
            phrase = parsed[owners[number]].phrase(rank)
            for column, frame in enumerate(found.key_frames):
                logits = found.masks.logits[row, column][None].float().cpu()
                mask = (resize_logits(logits, size, options.two_step_resize)[0] > options.mask_threshold).numpy()
                if mask.any() and float(found.masks.object_score[row, column]) > options.object_score_threshold:
                    places.append((number, column))
                    checks.append(Check(visual, frame, mask, phrase))
    return places, checks


def _agreement(model: Any, batch: dict[str, torch.Tensor], agree: list[int], disagree: list[int]) -> list[float]:
    """Probability of an answer that agrees among those that agree or do not, for each question."""
    device = execution_device(model.get_input_embeddings())
    vision = {name: batch[name].to(device) for name in VISION_INPUTS if name in batch}
    if "pixel_values" in vision:
        vision["pixel_values"] = vision["pixel_values"].to(model.mllm.dtype)
    language = model.language_inputs(batch["input_ids"].to(device), **vision)
    language["attention_mask"] = batch["attention_mask"].to(device)
    with shared_images(model.mllm, vision.get("image_grid_thw"), vision.get("image_index")):
        states, _ = model.read_states(**language)
    rows = torch.arange(len(batch["labels"]))
    before = (batch["labels"] != -100).int().argmax(dim=1) - 1
    logits = model.get_output_embeddings()(states[rows.to(states.device), before.to(states.device)]).float()
    margin = logits[:, agree].logsumexp(dim=1) - logits[:, disagree].logsumexp(dim=1)
    return margin.sigmoid().tolist()


__all__ = ["verify_masks"]
