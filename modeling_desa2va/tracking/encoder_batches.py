"""How many frames SAM-2's image encoder, and how many object-frame pairs its mask decoders take at once.

Enters: pixels of any number of frames. Leaves: their features, encoded in batches that fit into free memory
(METHOD section 6: every frame is encoded once); and the size of pieces in which pairs are decoded.
"""

from __future__ import annotations

import os
import warnings
from functools import cached_property

import torch
from transformers import Sam2VideoModel

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter

# Larger batches are no faster: one frame of SAM-2's size occupies a CPU alone, and eight an accelerator.
MAX_BATCH = {"cpu": 4}
MAX_ACCELERATOR_BATCH = 8
# Part of the free memory that a batch may take; the rest is for the mask decoders, memories, and other programs.
USABLE_SHARE = 0.25
MOST_PAIRS = 64
# Larger pieces are no faster on a CPU: 20 pairs of 1024 pixels in fives take a fifth less time than at once.
PAIR_BYTES = {"cpu": 350_000_000}


def bytes_per_frame(sam: Sam2VideoModel) -> int:
    """Bytes that encoding one frame needs at the most, in the encoder's dtype.

    Hiera is widest in its first stage, of (S / 4)^2 tokens: there a block holds its input, the normalised input and,
    twice, the `mlp_ratio` times wider layer. The pyramid keeps three levels of `fpn_hidden_size` channels, of 1, 1/4
    and 1/16 as many tokens, each before and after its sum. Windows, attention and the allocator add about half of it.
    """
    vision = sam.config.vision_config
    backbone = vision.backbone_config
    tokens = (sam.image_size // 4) ** 2
    block = (2 + 2 * backbone.mlp_ratio) * backbone.embed_dim_per_stage[0]
    pyramid = 2 * vision.fpn_hidden_size * (1 + 1 / 4 + 1 / 16)
    size = torch.finfo(getattr(sam, "autocast_dtype", None) or sam.no_memory_embedding.dtype).bits // 8
    return int(1.5 * size * tokens * (block + pyramid))


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be taken on a device, in bytes; `None` where the system does not say."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pages = getattr(os, "sysconf_names", {}).get("SC_AVPHYS_PAGES")
        return None if pages is None else os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def bytes_per_pair(sam: Sam2VideoModel) -> int:
    """Bytes that decoding one pair needs at the most.

    The widest maps are of the mask's size, an eighth of the channels wide; the upscaled one, the frame's, their sum,
    its norm and activation are held twice or nearly so: eight in all, as many as one map of all channels.
    """
    return 4 * sam.hidden_dim * (sam.image_size // 4) ** 2


def pairs_at_once(sam: Sam2VideoModel) -> int:
    """Object-frame pairs in one call of a mask decoder, at least one."""
    device = execution_device(sam)
    usable = PAIR_BYTES.get(device.type)
    if usable is None and (free := free_bytes(device)) is not None:
        usable = int(USABLE_SHARE * free)
    return MOST_PAIRS if usable is None else max(min(MOST_PAIRS, usable // bytes_per_pair(sam)), 1)


class BatchedEncoder:
    """SAM-2's image encoder over any number of frames.

    Args:
        segmenter: encodes on its own device.
        batch_size: frames per call; chosen from free memory when omitted.
        limit: never more than so many per call; the device's limit when omitted.

    Attributes:
        batch_size: frames per call; halved when memory runs out.
    """

    def __init__(self, segmenter: DeSa2VASegmenter, batch_size: int | None = None, limit: int | None = None) -> None:
        self.segmenter = segmenter
        self._limit = limit
        if batch_size is not None:
            self.batch_size = max(batch_size, 1)

    @cached_property
    def batch_size(self) -> int:
        """Chosen when it is first needed: reading the system's memory takes longer than some stages of a picture."""
        sam = self.segmenter.sam
        device = execution_device(sam)
        size = MAX_BATCH.get(device.type, MAX_ACCELERATOR_BATCH)
        size = size if self._limit is None else min(size, self._limit)
        if (free := free_bytes(device)) is not None:
            size = min(size, int(USABLE_SHARE * free) // bytes_per_frame(sam))
        return max(size, 1)

    def __call__(self, pixel_values: torch.Tensor) -> ImageFeatures:
        """Features of (F, 3, S, S) pixels on any device, F >= 1.

        Where memory runs out the batch is halved, with a warning; a single frame that does not fit is the error that
        the allocator raises.
        """
        parts, start = [], 0
        while (left := len(pixel_values) - start) > 0:
            chunk = pixel_values[start : start + (self.batch_size if left > 1 else 1)]
            try:
                parts.append(self.segmenter.encode_frames(chunk.to(execution_device(self.segmenter.sam))))
            except RuntimeError as error:
                if len(chunk) == 1 or not _out_of_memory(error):
                    raise
                failed = len(chunk)
            else:
                start += len(chunk)
                continue
            # Outside the handler, where the traceback still holds what was allocated.
            self._halve(failed)
        return join_features(parts)

    def _halve(self, failed: int) -> None:
        self.batch_size = max(min(self.batch_size, failed) // 2, 1)
        if execution_device(self.segmenter.sam).type == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(
            f"memory ran out while {failed} frames were encoded at once; going on with {self.batch_size}",
            stacklevel=3,
        )


def join_features(parts: list[ImageFeatures]) -> ImageFeatures:
    """The frames of several encodings, in order, as one."""
    if len(parts) == 1:
        return parts[0]
    levels = [torch.cat([part[name] for part in parts]) for name in ("high0", "high1", "low")]
    return ImageFeatures(*levels, position=parts[0].position)


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether memory, of an accelerator or of the CPU, ran out."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "not enough memory" in text


__all__ = ["BatchedEncoder", "bytes_per_frame", "bytes_per_pair", "free_bytes", "join_features", "pairs_at_once"]
