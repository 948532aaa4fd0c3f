"""Our tracker beside transformers' own session: `python -m benchmarks.transformers_session [--json FILE]`.

Both have the same weights (random, SAM 2.1 tiny's dimensions), start from the same masks on frame 0 and go forwards,
frame by frame in turns. Counted is processor time of the frames on which the memory is full, in pieces of as many
frames as our encoder takes at once. The session keeps memories in bfloat16, so ours does too: the masks are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import tiny_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.tracking import MemoryTracker, encode_lazily
from desa2va.modeling_desa2va.tracking.frame_encoding import LOOK_AHEAD
from desa2va.training.warm_start import fan_in

from .parts import PartRunner
from .random_models import PRESENT, box_masks, mask_prompts, noise_clip

# name: (pixels, objects)
CASES = {f"{side}px_{count}": (side, count) for side, count in ((512, 1), (512, 3), (512, 10), (1024, 1))}
FILLED = 9  # the first frame that is counted: memory is full, and a call of our encoder begins


def hiera_tiny_config(side: int) -> Sam2VideoConfig:
    """SAM 2.1 with the tiny Hiera encoder, for pictures of `side` pixels (a multiple of 32)."""
    backbone = {"model_type": "sam2_hiera_det_model", "image_size": [side, side]}
    sizes = [[side // scale, side // scale] for scale in (4, 8, 16)]
    return Sam2VideoConfig(
        vision_config={"backbone_config": backbone, "backbone_feature_sizes": sizes},
        prompt_encoder_config={"image_size": side},
        image_size=side,
        memory_attention_rope_feat_sizes=sizes[-1],
        enable_occlusion_spatial_embedding=True,
        enable_temporal_pos_encoding_for_object_pointers=True,
    )


def model_around(config: Sam2VideoConfig) -> DeSa2VAModel:
    """Ours with such a SAM-2 beside the tiny preset's language model, which is not used."""
    small = tiny_config().mllm_config
    return DeSa2VAModel(DeSa2VAConfig(mllm_config=small, sam_config=config, seg_token_ids=[6])).eval()


def both_models(config: Sam2VideoConfig) -> tuple[DeSa2VAModel, Sam2VideoModel]:
    """Ours and transformers', with the same random weights; every object is present on every frame."""
    torch.manual_seed(0)
    ours = model_around(config)
    fan_in(ours)
    ours.segmenter.sam.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(PRESENT)
    theirs = Sam2VideoModel(config).eval()
    theirs.load_state_dict(ours.segmenter.sam.state_dict())
    # A given mask's pointer as SAM-2's authors have it; transformers falls into a default, the best of three masks.
    theirs._single_frame_forward = partial(theirs._single_frame_forward, multimask_output=False)
    return ours, theirs


def session_walk(sam: Sam2VideoModel, pixels: torch.Tensor, masks: torch.Tensor) -> Iterator[torch.Tensor]:
    """Mask logits (O, h, w) of transformers' session, frame by frame, from masks (O, S, S) on the first."""
    side = sam.image_size
    session = Sam2VideoInferenceSession(video=pixels, video_height=side, video_width=side, dtype=torch.float32)
    for number, mask in enumerate(masks):
        session.add_mask_inputs(session.obj_id_to_idx(number), 0, mask[None, None])
        session.obj_with_new_inputs.append(number)
    for out in sam.propagate_in_video_iterator(session, start_frame_idx=0):
        yield out.pred_masks[:, 0]


def our_walk(model: DeSa2VAModel, pixels: torch.Tensor, num_objects: int) -> Iterator[torch.Tensor]:
    """The same of ours."""
    encode = encode_lazily(model.segmenter, lambda frames: (pixels[frame] for frame in frames))
    tracker = MemoryTracker(model.segmenter, memory_dtype=torch.bfloat16)
    prompts = mask_prompts(model, num_objects)
    for seen in tracker.walk(encode, prompts, len(pixels), num_objects, direction="forward"):
        yield seen.logits


def side_by_side(
    theirs: Iterator[torch.Tensor], ours: Iterator[torch.Tensor], pieces: int, filled: int = FILLED
) -> dict[str, Any]:
    """Seconds of a frame on both sides, their ratio by piece (theirs to ours), and how far the masks agree.

    Args:
        theirs, ours: mask logits (O, h, w), frame by frame. pieces: counted, of `LOOK_AHEAD` frames each, in turns.
        filled: frames that are walked before.
    """
    walks = {"theirs": theirs, "ours": ours}
    taken: dict[str, list[float]] = {name: [] for name in walks}
    agreement = []
    for length in [1] * filled + [LOOK_AHEAD] * pieces:
        shown, seconds = {}, {}
        for name, walk in walks.items():
            start = time.process_time()
            shown[name] = [next(walk) for _ in range(length)]
            seconds[name] = (time.process_time() - start) / length
        if length > 1:
            above = {name: torch.stack(logits) > 0 for name, logits in shown.items()}
            agreement.append(float((above["ours"] == above["theirs"]).float().mean()))
            for name, value in seconds.items():
                taken[name].append(value)
    return {
        "their_seconds": round(statistics.median(taken["theirs"]), 4),
        "our_seconds": round(statistics.median(taken["ours"]), 4),
        "ratios": [round(theirs / ours, 3) for theirs, ours in zip(taken["theirs"], taken["ours"], strict=True)],
        "equal_pixels": round(min(agreement), 5),
    }


def compare(config: Sam2VideoConfig, num_objects: int, pieces: int = 2, filled: int = FILLED) -> dict[str, Any]:
    """Transformers' session beside ours; see `side_by_side`."""
    ours, theirs = both_models(config)
    pixels = noise_clip(ours, filled + pieces * LOOK_AHEAD)
    walk = session_walk(theirs, pixels, box_masks(ours, num_objects))
    return side_by_side(walk, our_walk(ours, pixels, num_objects), pieces, filled)


class Comparison(PartRunner):
    """One part for every case."""

    def __init__(self, options: argparse.Namespace, measure_case: Callable[[int, int, int], dict[str, Any]]) -> None:
        super().__init__(options.cases, options.threads, path=options.json)
        self.options, self.measure_case = options, measure_case

    def measure(self, part: str) -> dict[str, Any]:
        """One case of the table; the many objects, whose frames are long, in one piece."""
        side, count = CASES[part]
        return {part: self.measure_case(side, count, 1 if count > 3 else self.options.pieces)}


def run_cases(
    description: str | None,
    measure_case: Callable[[int, int, int], dict[str, Any]],
    arguments: list[str] | None,
) -> int:
    """Measures the cases asked for and prints what was found; 1 where a case failed.

    Args:
        description: of the program. measure_case: of pixels, objects and pieces. arguments: of the command line.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    parser.add_argument("--pieces", type=int, default=2, help="counted pieces of four frames; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of the process; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go too")
    options = parser.parse_args(arguments)
    options.cases = options.cases.split(",")
    if unknown := [name for name in options.cases if name not in CASES]:
        parser.error(f"unknown cases {', '.join(unknown)}; choose from {', '.join(CASES)}")
    torch.set_num_threads(options.threads)
    report = Comparison(options, measure_case).run()
    print(json.dumps(report, indent=1))
    return int(bool(report["failed"]))


def main(arguments: list[str] | None = None) -> int:
    """See `run_cases`."""
    return run_cases(__doc__, lambda side, count, pieces: compare(hiera_tiny_config(side), count, pieces), arguments)


if __name__ == "__main__":
    sys.exit(main())
