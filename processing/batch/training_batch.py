"""`collate` of a processor: training samples to the batch that the objectives take.

In: `Sample`s. Out: the tensors of `BatchAssembler.assemble`, masks and phrases of the objects; SAM-2's large pixels
either made here, by a data worker, or left as the frames' bytes and made where the model computes (paper section 3.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .image_rows import device_sam_pixels
from .training_plan import plan_training


class TrainingBatchMixin:
    """Training batches for `DeSa2VAProcessor`."""

    def collate(self, samples: list[Any], every_frame: bool = False, raw_frames: bool = False) -> dict[str, Any]:
        """Training batch of `Sample`s: every conversation is a sequence, every frame a key frame.

        Args:
            samples: `desa2va.training.data.sample.Sample`; text-only samples (`frames=None`) may be among them.
            every_frame: SAM-2 sees the frames of samples without a `[SEG]` too (phase 0 learns from them).
            raw_frames: leave SAM-2's pixels to `finish_frames`, which makes them on the device that computes.

        Returns:
            The tensors of `BatchAssembler.assemble` with right padding and `labels` (-100 except the assistant's texts
            and the token that closes them), and `object_labels` (list of `O` phrases), `mask_labels` (list of `O`
            uint8 tensors `(T, H_src, W_src)`), `samples` (the samples themselves). With `raw_frames` and frames for
            SAM-2 there is `sam_frames`, a list of uint8 `(H_src, W_src, 3)`, in place of `sam_pixel_values`.

        Raises:
            ValueError: no samples, masks that do not fit the frames or the `[SEG]` of the answers, regions without a
                picture, or a sequence longer than `max_length`; the message names the sample.
        """
        plan = plan_training(samples, self.max_tiles, every_frame)
        frames = plan.sam_frames
        if raw_frames:
            plan.sam_frames = []
        batch: dict[str, Any] = self.assembler.assemble(plan, training=True)
        if raw_frames and frames:
            batch["sam_frames"] = [torch.from_numpy(np.ascontiguousarray(frame)) for frame in frames]
            batch["sam_frame_visual"] = torch.tensor(plan.sam_frame_visual)
        conversations = [conversation for sample in samples for conversation in sample.conversations]
        return {
            **batch,
            "object_labels": [label for conversation in conversations for label in conversation.labels],
            "mask_labels": _one_storage([mask for conversation in conversations for mask in conversation.masks]),
            "samples": list(samples),
        }

    def finish_frames(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of `collate(raw_frames=True)` with `sam_pixel_values`, made where its `sam_frames` lie.

        The pixels are those of `collate` but for rounding: before normalisation at most one step of 255.
        """
        if "sam_frames" not in batch:
            return batch
        rest = {name: value for name, value in batch.items() if name != "sam_frames"}
        return {**rest, "sam_pixel_values": device_sam_pixels(self.sam_image_processor, batch["sam_frames"])}


def _one_storage(masks: list[np.ndarray]) -> list[torch.Tensor]:
    """Bool arrays `(T, H, W)` as uint8 tensors that are parts of one piece of memory.

    A data worker hands over a file for each piece; a file for each object is soon more than a process may open.
    """
    if not masks:
        return []
    flat = torch.from_numpy(np.concatenate([mask.reshape(-1) for mask in masks]).view(np.uint8))
    pieces = flat.split([mask.size for mask in masks])
    return [piece.view(mask.shape) for piece, mask in zip(pieces, masks, strict=True)]


__all__ = ["TrainingBatchMixin"]
