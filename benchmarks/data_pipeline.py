"""What the data of a training costs: how long a step waits for it, and what ragged objects and questions save.

`python -m benchmarks.data_pipeline [--json FILE]`, from the root of a checkout. The tiny model's layers read pictures
of 448 pixels and give SAM-2 1024, the sizes of the paper, so that data is as dear as in earnest and the step as cheap
as can be. Seconds are those of the processor where nothing else is said: a busy machine does not change them much.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import DataLoader

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import tiny_config, tiny_sam_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.collator import Collator
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.data.sample import Sample
from desa2va.training.feature_cache import FeatureCache
from desa2va.training.label_states import LabelReader
from desa2va.training.objectives.base import Objective
from desa2va.training.phases import build_objective, free_parameters, trainable_prefixes
from desa2va.training.processors import preset_processor
from desa2va.training.warm_start import fan_in

from .machine import processor_seconds

PICTURE, SAM = 448, 1024
MOST_OBJECTS = 5
WEIGHTS = {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "fused_mask": 1.0, "iou": 0.1, "object_score": 0.1}


def sized_processor(picture: int = PICTURE, sam: int = SAM) -> DeSa2VAProcessor:
    """The tiny preset's processor for pictures of these sides, pixels."""
    processor = preset_processor("tiny", {})
    processor.image_processor.size = {"height": picture, "width": picture}
    processor.sam_image_processor.size = {"height": sam, "width": sam}
    processor.image_seq_length = (picture // 32) ** 2
    return processor


def sized_objective(processor: DeSa2VAProcessor, picture: int = PICTURE, sam: int = SAM) -> Objective:
    """Phase 2 of a tiny model with random weights that reads pictures of these sides, pixels."""
    torch.manual_seed(0)
    mllm = tiny_config().mllm_config
    mllm.vision_config.image_size = [picture, picture]
    mllm.image_seq_length = processor.image_seq_length
    model = DeSa2VAModel(DeSa2VAConfig(mllm_config=mllm, sam_config=tiny_sam_config(sam), seg_token_ids=[6]))
    fan_in(model)
    arguments = DeSa2VATrainingArguments(
        output_dir="unused", phase="decoupling", language_model="full", weights=WEIGHTS, use_cpu=True
    )
    free_parameters(model, trainable_prefixes(arguments))
    reader = LabelReader(model, processor.tokenizer)
    return build_objective(model, arguments, MaskLossArguments(), processor, reader).train()


def stepper(objective: Objective) -> Callable[[dict[str, Any]], None]:
    """One training step on a batch."""
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def step(batch: dict[str, Any]) -> None:
        terms = objective(**batch)["terms"]
        sum(WEIGHTS.get(name, 0.0) * term for name, term in terms.items()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def data_wait(
    steps: int = 12, batch_size: int = 2, workers: int = 2, picture: int = PICTURE, sam: int = SAM
) -> dict[str, float]:
    """Seconds by the clock in which steps wait for `workers`, and what a batch costs a worker, part by part."""
    processor = sized_processor(picture, sam)
    data = RefShapes("train", level="full", size=picture, conversations=4, length=(steps + 3) * batch_size)
    collator = Collator(processor)
    step = stepper(sized_objective(processor, picture, sam))
    loader = DataLoader(data, batch_size, num_workers=workers, collate_fn=collator)
    waited, took, start = 0.0, 0.0, time.perf_counter()
    for number, batch in enumerate(loader):
        got = time.perf_counter()
        step(batch)
        end = time.perf_counter()
        if number >= 3:  # the first ones wait for the workers to start
            waited, took = waited + got - start, took + end - start
        start = end
    samples = [data[index] for index in range(batch_size)]
    raw = Collator(processor, preprocess_device=True)
    return {
        "wait_share": waited / took,
        "step_seconds_clock": (took - waited) / steps,
        "step_seconds": processor_seconds(lambda: step(batch), 3),
        "worker_draws_samples": processor_seconds(lambda: [data[index] for index in range(batch_size)], 3),
        "worker_collates": processor_seconds(lambda: collator(samples), 3),
        "worker_collates_raw": processor_seconds(lambda: raw(samples), 3),
        "megabytes": _megabytes(collator(samples)),
        "megabytes_raw": _megabytes(raw(samples)),
    }


def _megabytes(batch: dict[str, Any]) -> float:
    """Of the pixels that travel."""
    pixels = [batch[name] for name in ("pixel_values", "sam_pixel_values") if name in batch]
    return sum(value.nbytes for value in (*pixels, *batch.get("sam_frames", ()))) / 1e6


def ragged_objects(picture: int, sam: int, batch_size: int = 5) -> dict[str, float]:
    """A step with 1 to 5 objects a sample, with each sample padded to five (its objects again), and with questions.

    What SAM-2's encoder takes of it is the same for one object and for five; `kept` are steps that read its features
    from `data.feature_cache`.
    """
    processor = sized_processor(picture, sam)
    objective = sized_objective(processor, picture, sam)
    step = stepper(objective)
    options = {"size": max(picture, 128), "length": batch_size}
    full = RefShapes("train", level="easy", conversations=MOST_OBJECTS, **options)
    asked = RefShapes("train", level="full", conversations=3, kinds={"qa_color": 1.0}, **options)
    ragged = [_first(full[index], 1 + index % MOST_OBJECTS) for index in range(batch_size)]
    padded = [_padded(sample) for sample in ragged]
    questions = [asked[index] for index in range(batch_size)]
    batches = {
        "ragged": processor.collate(ragged),
        "padded": processor.collate(padded),
        "questions": processor.collate(questions),
        "questions_every_frame": processor.collate(questions, every_frame=True),
    }
    figures = {name: processor_seconds(lambda batch=batch: step(batch), 3) for name, batch in batches.items()}
    encoder = figures["questions_every_frame"] - figures["questions"]
    segmenter = objective.model.segmenter
    with TemporaryDirectory() as folder:
        segmenter.encode_frames = FeatureCache(segmenter, folder)
        for name in ("ragged", "padded"):
            figures[f"{name}_kept"] = processor_seconds(lambda batch=batches[name]: step(batch), 3)
    return {
        **figures,
        "padded_over_ragged": figures["padded"] / figures["ragged"],
        "padded_over_ragged_kept": figures["padded_kept"] / figures["ragged_kept"],
        "without_encoder": (figures["padded"] - encoder) / (figures["ragged"] - encoder),
    }


def _first(sample: Sample, count: int) -> Sample:
    return replace(sample, conversations=sample.conversations[:count])


def _padded(sample: Sample) -> Sample:
    said = sample.conversations
    return replace(sample, conversations=tuple(said[number % len(said)] for number in range(MOST_OBJECTS)))


def main() -> None:
    """Prints the report, and writes it where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file of the report")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = {
        "ragged_448_1024": ragged_objects(PICTURE, SAM),
        "ragged_128_128": ragged_objects(128, 128),
        "data_wait": data_wait(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
