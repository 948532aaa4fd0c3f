"""Our tracker beside the package `sam2`: `python -m benchmarks.sam2_package [--json FILE]`.

The code of SAM-2's authors, for a machine that has it (the index's package is a third party's copy; nothing else here
needs it). Both sides have the same weights (random, SAM 2.1 tiny's dimensions); cases, turns and what is counted are
those of `benchmarks.transformers_session`.
The package's optional post-processing, which its default switches on for a stability rule of the mask decoder and for
holes (a CUDA kernel), is on as far as a tracker of ours has it: the rule.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import nn
from transformers import Sam2VideoModel

from desa2va.modeling_desa2va.conversion.loading import arrange, load_complete
from desa2va.modeling_desa2va.conversion.names import sam_places
from desa2va.modeling_desa2va.conversion.tensors import module_tensors
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .parts import SkippedPartError
from .random_models import PRESENT, box_masks, noise_clip
from .transformers_session import (
    FILLED,
    LOOK_AHEAD,
    hiera_tiny_config,
    model_around,
    our_walk,
    run_cases,
    side_by_side,
)

DIMENSIONS = "configs/sam2.1/sam2.1_hiera_t.yaml"


def build_predictor(side: int) -> Any:
    """The package's predictor with random weights for pictures of `side` pixels; every object is on every frame.

    Raises:
        SkippedPartError: the package is not installed.
    """
    if importlib.util.find_spec("sam2") is None:
        raise SkippedPartError("the package sam2 is not installed")
    from sam2.build_sam import build_sam2_video_predictor

    torch.manual_seed(0)
    options = [f"++model.image_size={side}"]
    predictor = build_sam2_video_predictor(DIMENSIONS, device="cpu", hydra_overrides_extra=options)
    predictor.fill_hole_area = 0
    for module in predictor.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(PRESENT)
    return predictor


def with_its_weights(predictor: Any, side: int) -> DeSa2VAModel:
    """Our model around the predictor's weights."""
    state = arrange(module_tensors(predictor), sam_places)
    sam = load_complete(Sam2VideoModel, "sam2", hiera_tiny_config(side), state)
    model = model_around(sam.config)
    model.segmenter.sam.load_state_dict(sam.state_dict())
    return model


def package_walk(predictor: Any, pixels: torch.Tensor, masks: torch.Tensor) -> Iterator[torch.Tensor]:
    """Mask logits (O, h, w) of the package, frame by frame, from masks (O, S, S) on the first."""
    side = predictor.image_size
    with mock.patch("sam2.sam2_video_predictor.load_video_frames", return_value=(pixels, side, side)):
        state = predictor.init_state("pixels that are there already")
    for number, mask in enumerate(masks):
        predictor.add_new_mask(state, frame_idx=0, obj_id=number, mask=mask)
    for frame, _, _ in predictor.propagate_in_video(state):
        kind = "cond_frame_outputs" if frame == 0 else "non_cond_frame_outputs"
        objects = state["output_dict_per_obj"].values()
        yield torch.cat([found[kind][frame]["pred_masks"][:, 0] for found in objects])


def compare(side: int, num_objects: int, pieces: int = 2, filled: int = FILLED) -> dict[str, Any]:
    """The package beside ours; see `side_by_side`.

    Raises:
        SkippedPartError: the package is not installed.
    """
    predictor = build_predictor(side)
    ours = with_its_weights(predictor, side)
    pixels = noise_clip(ours, filled + pieces * LOOK_AHEAD)
    theirs = package_walk(predictor, pixels, box_masks(ours, num_objects))
    return side_by_side(theirs, our_walk(ours, pixels, num_objects), pieces, filled)


def main(arguments: list[str] | None = None) -> int:
    """See `run_cases`."""
    return run_cases(__doc__, compare, arguments)


if __name__ == "__main__":
    sys.exit(main())
