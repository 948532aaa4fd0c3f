"""How many images SAM-2 encodes when a video is answered, end to end.

Enters: a model with random weights. Leaves: counts by strategy and number of objects. The whole path runs: processor,
language model (one forced `[SEG]` per sentence, all sentences about one video), two decoders, one re-prompt, tracker.
For `large` on a CPU every image is answered with made-up features and memories are not attended to, since only the
count is wanted (`reduced`).
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.tracking import TRACK_STRATEGIES

from .random_models import EncoderCounter, matching_processor, reduced_networks

OBJECT_COUNTS = (1, 3, 10)


def count_encodings(
    model: DeSa2VAModel, num_frames: int, num_key_frames: int, reduced: bool = False
) -> dict[str, object]:
    """Counts for 1, 3 and 10 objects, every strategy, with one re-prompt.

    Args:
        num_frames: of the clip. num_key_frames: shown to the language model, spread evenly. reduced: see the module.

    Returns:
        `encoder_calls`: number of objects -> images encoded, over the strategies the count farthest from the number of
        frames; `encoder_calls_detail`: all counts.

    Raises:
        RuntimeError: the model did not give one object per sentence, so that the count would mean nothing.
    """
    clip = np.random.default_rng(0).integers(0, 256, (num_frames, 64, 64, 3), dtype=np.uint8)
    processor, config = matching_processor(model), model.config
    before = config.track_strategy, config.num_reprompts
    config.num_reprompts = 1
    counts = {strategy: {} for strategy in TRACK_STRATEGIES}
    for strategy in TRACK_STRATEGIES:
        config.track_strategy = strategy
        for number in OBJECT_COUNTS:
            sentences = ["the red circle"] * number
            batch = processor(videos=clip, text=sentences, task="segment", num_key_frames=num_key_frames)
            with ExitStack() as stack:
                if reduced:
                    stack.enter_context(reduced_networks(model.segmenter))
                counter = stack.enter_context(EncoderCounter(model.segmenter))
                output = model.generate(**batch, max_new_tokens=1)
            tracked = {len(logits) for logits in output.track_logits}
            if len(output.track_logits) != number or tracked != {num_frames}:
                raise RuntimeError(f"{number} sentences gave {len(output.track_logits)} objects on {tracked} frames")
            counts[strategy][str(number)] = counter.count
    config.track_strategy, config.num_reprompts = before
    worst = {
        str(number): max((column[str(number)] for column in counts.values()), key=lambda n: abs(n - num_frames))
        for number in OBJECT_COUNTS
    }
    detail = {"frames": num_frames, "key_frames": num_key_frames, "reprompts": 1, "reduced": reduced}
    return {"encoder_calls": worst, "encoder_calls_detail": detail | {"by_strategy": counts}}


__all__ = ["OBJECT_COUNTS", "count_encodings"]
