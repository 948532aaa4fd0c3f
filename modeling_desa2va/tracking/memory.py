"""SAM-2's memory, with objects on the batch axis (METHOD sections 2 and 6).

Enters: encoded frames and mask logits of objects on those frames. Leaves: memories, and image embeddings conditioned
on them. The networks are those of a pristine `Sam2VideoModel`; nothing here has weights. Everything is differentiable,
and an object's result is the one transformers' inference session gives it when it is tracked alone.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Sam2VideoModel

from desa2va.modeling_desa2va.precision import in_autocast

ABSENT_LOGIT = -1024.0
PROMPT_SCALE, PROMPT_BIAS = 20.0, -10.0

# (how many frames ago, frame, whether the frame was prompted)
Reference = tuple[int, int, bool]


def resize_logits(logits: torch.Tensor, size: int | tuple[int, int], antialias: bool = False) -> torch.Tensor:
    """Bilinear resize of (O, h, w) in fp32 to (O, *size); the identity where the size is right already."""
    size = (size, size) if isinstance(size, int) else tuple(size)
    if tuple(logits.shape[-2:]) == size:
        return logits
    resized = F.interpolate(
        logits[:, None].float(), size=size, mode="bilinear", align_corners=False, antialias=antialias
    )
    return resized[:, 0].to(logits.dtype)


def binary_masks(masks: torch.Tensor, image_size: int) -> torch.Tensor:
    """Masks (O, H, W) in {0, 1} of any size and dtype as fp32 masks in {0, 1} at SAM-2's input size (O, S, S)."""
    return (resize_logits(masks.float(), image_size, antialias=True) >= 0.5).float()


@in_autocast
def object_pointer(sam: Sam2VideoModel, tokens: torch.Tensor, object_score: torch.Tensor) -> torch.Tensor:
    """Pointers (O, C) of mask tokens (O, C); SAM-2's no-object pointer where the score logit (O,) is not positive."""
    present = (object_score > 0).to(tokens.dtype)[:, None]
    return present * sam.object_pointer_proj(tokens) + (1 - present) * sam.no_object_pointer


@in_autocast
def encode_memory(
    sam: Sam2VideoModel,
    low: torch.Tensor,
    mask_logits: torch.Tensor,
    object_score: torch.Tensor,
    binarize: bool = False,
) -> torch.Tensor:
    """Encodes what was predicted on a frame as spatial memory.

    Args:
        sam: the pristine SAM-2.
        low: (O, C, g, g) low level of each object's frame, before any memory; or (1, C, g, g), one frame for all.
        mask_logits: (O, h, w) mask logits of any size, already `ABSENT_LOGIT` where the object counts as absent.
        object_score: (O,) presence logits; they choose SAM 2.1's occlusion embedding.
        binarize: prompted frames at inference enter as hard masks.

    Returns:
        (O, g*g, M) memory features.
    """
    encoder = sam.prompt_encoder
    masks = resize_logits(mask_logits, sam.image_size)
    masks = resize_logits(masks, tuple(4 * side for side in encoder.mask_input_size), antialias=True)
    masks = (masks > 0).to(low.dtype) if binarize else masks.sigmoid().to(low.dtype)
    masks = masks * sam.config.sigmoid_scale_for_mem_enc + sam.config.sigmoid_bias_for_mem_enc
    features, _ = sam.memory_encoder(low, masks[:, None])
    if sam.occlusion_spatial_embedding_parameter is not None:
        absent = (object_score <= 0).to(features.dtype)[:, None, None, None]
        features = features + absent * sam.occlusion_spatial_embedding_parameter[..., None, None]
    return features.flatten(2).transpose(1, 2)


@in_autocast
def condition_on_memory(
    sam: Sam2VideoModel,
    low: torch.Tensor,
    position: torch.Tensor,
    memories: list[tuple[int, torch.Tensor]],
    pointers: list[tuple[int, torch.Tensor]],
    pointer_span: int,
) -> torch.Tensor:
    """Lets the current frame attend to the memories of its objects.

    Args:
        sam: the pristine SAM-2.
        low: (O, C, g, g) current frame of every object, or (1, C, g, g).
        position: (1, C, g, g) sine encoding of the low level.
        memories: (offset, (O, g*g, M)) spatial memories; offset 0 for prompted frames, else how many frames ago.
        pointers: (offset, (O, C)) object pointers; the offset is negative for frames still to come.
        pointer_span: pointer slots of this video; temporal offsets are divided by `pointer_span - 1`.

    Returns:
        (O, C, g, g) embeddings that replace the low level in the mask decoder.

    Raises:
        ValueError: no memory at all.
    """
    if not memories:
        raise ValueError("no memory to attend to: an object needs a prompted frame before it can be tracked")
    height, width = low.shape[-2:]
    tokens, encodings = _spatial_tokens(sam, memories, (height, width), low.dtype)
    num_pointer_tokens = 0
    if pointers:
        pointer_tokens, pointer_encodings = _pointer_tokens(sam, pointers, pointer_span)
        num_pointer_tokens = pointer_tokens.shape[1]
        tokens = torch.cat([tokens, pointer_tokens.to(low.dtype)], dim=1)
        encodings = torch.cat([encodings, pointer_encodings.to(low.dtype)], dim=1)
    attended = sam.memory_attention(
        current_vision_features=low.flatten(2).permute(2, 0, 1),
        current_vision_position_embeddings=position.flatten(2).permute(2, 0, 1).to(low.dtype),
        memory=tokens.transpose(0, 1),
        memory_posision_embeddings=encodings.transpose(0, 1),  # transformers' spelling
        num_object_pointer_tokens=num_pointer_tokens,
    )
    # (1, O, g*g, C): the batch axis of the tokens is SAM-2's point axis here.
    return attended[0].transpose(1, 2).unflatten(2, (height, width))


@lru_cache(maxsize=8)
def _place_codes(
    encoding: nn.Module, shape: torch.Size, device: torch.device, dtype: torch.dtype, autocast: bool
) -> torch.Tensor:
    """Codes (1, g*g, M) of the places of a memory, which have no weights; kept from frame to frame.

    transformers keeps the last ones it made, which are always those of another level. `autocast`: whether it is on,
    as it changes what comes out.
    """
    return encoding(shape, device, dtype).flatten(2).transpose(1, 2)


def _spatial_tokens(
    sam: Sam2VideoModel, memories: list[tuple[int, torch.Tensor]], grid: tuple[int, int], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Memory tokens (O, K*g*g, M) and their encodings (1, K*g*g, M): where on the frame, and how long ago."""
    tokens = torch.cat([features.to(dtype) for _, features in memories], dim=1)
    shape = torch.Size((1, tokens.shape[-1], *grid))
    autocast = torch.is_autocast_enabled(tokens.device.type)
    place_codes = _place_codes.__wrapped__ if torch.is_grad_enabled() else _place_codes
    place = place_codes(sam.memory_encoder.position_encoding, shape, tokens.device, dtype, autocast)
    # Row t - 1 encodes "t frames ago"; prompted frames (t = 0) use the last row.
    times = sam.memory_temporal_positional_encoding[:, 0]
    return tokens, torch.cat([place + times[offset - 1] for offset, _ in memories], dim=1).to(dtype)


def _pointer_tokens(
    sam: Sam2VideoModel, pointers: list[tuple[int, torch.Tensor]], span: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pointer tokens (O, K*C/M, M), C/M of them per pointer, and their encodings (1, K*C/M, M)."""
    stacked = torch.stack([pointer for _, pointer in pointers], dim=1)
    objects, count, channels = stacked.shape
    splits = channels // sam.mem_dim
    tokens = stacked.reshape(objects, count * splits, sam.mem_dim)
    if not sam.config.enable_temporal_pos_encoding_for_object_pointers:
        return tokens, torch.zeros_like(tokens[:1])
    offsets = torch.tensor([offset for offset, _ in pointers], dtype=torch.float32, device=stacked.device)
    waves = _sine_encoding(offsets / max(span - 1, 1), channels).to(stacked.dtype)
    encodings = sam.temporal_positional_encoding_projection_layer(waves)
    return tokens, encodings.repeat_interleave(splits, dim=0)[None]


def _sine_encoding(positions: torch.Tensor, width: int, temperature: float = 10000.0) -> torch.Tensor:
    """(K,) positions to (K, width): sines, then cosines."""
    index = torch.arange(width // 2, dtype=torch.float32, device=positions.device)
    angles = positions[:, None] / temperature ** (2 * (index // 2) / (width // 2))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


@dataclass
class FrameMemory:
    """What is remembered of one frame.

    Attributes:
        row: object -> row of the tensors; an object that is missing here has no entry on this frame.
        features: (n, g*g, M) spatial memory; `None` once only the pointers are still in reach.
        pointers: (n, C).
    """

    row: dict[int, int]
    features: torch.Tensor | None
    pointers: torch.Tensor

    def rows(self, values: torch.Tensor, objects: list[int]) -> torch.Tensor:
        """The rows of `values` that belong to `objects`, in their order; `values` itself where that is all of them."""
        index = [self.row[number] for number in objects]
        return values if index == list(range(len(values))) else values[torch.tensor(index, device=values.device)]


class MemoryBank:
    """The memories of O objects: prompted frames for good, tracked frames while they are in reach.

    Args:
        sam: the pristine SAM-2; its configuration sets how far back memories and pointers reach.
        num_frames: length of the video; `None` where it is unknown, which counts as long.
        anchor: frame from which the video will later be walked backwards; the frames just after it stay remembered.
        dtype: dtype in which memory features are kept; as computed when omitted.
    """

    def __init__(
        self,
        sam: Sam2VideoModel,
        num_frames: int | None,
        anchor: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.reach = max(sam.num_maskmem - 1, 0)
        longest = sam.config.max_object_pointers_in_encoder
        self.pointer_span = longest if num_frames is None else min(num_frames, longest)
        self.max_prompted = sam.config.max_cond_frame_num
        self.anchor, self.dtype = anchor, dtype
        self.prompted: dict[int, FrameMemory] = {}
        self.tracked: dict[int, FrameMemory] = {}

    def __len__(self) -> int:
        """Frames of which anything is remembered."""
        return len(self.prompted) + len(self.tracked)

    def add(
        self, frame: int, objects: list[int], features: torch.Tensor, pointers: torch.Tensor, prompted: bool = False
    ) -> None:
        """Remembers `objects` on `frame`: features (n, g*g, M), pointers (n, C) by row; replaces older entries."""
        store = self.prompted if prompted else self.tracked
        features = features if self.dtype is None else features.to(self.dtype)
        old = store.get(frame)
        kept = [] if old is None else [number for number in old.row if number not in objects]
        if kept and old.features is not None:
            features = torch.cat([features, old.rows(old.features, kept)])
            pointers = torch.cat([pointers, old.rows(old.pointers, kept)])
        store[frame] = FrameMemory({number: row for row, number in enumerate([*objects, *kept])}, features, pointers)

    def forget(self, upcoming: int) -> None:
        """Drops tracked frames out of reach of frame `upcoming` (and of the anchor)."""
        for frame in list(self.tracked):
            away = abs(upcoming - frame)
            if self.anchor is not None and frame >= self.anchor:
                away = min(away, frame - self.anchor)
            if away > self.reach:
                self.tracked[frame].features = None
            if away > max(self.reach, self.pointer_span - 1):
                del self.tracked[frame]

    def drop(self, objects: Set[int]) -> None:
        """Forgets some objects altogether."""
        for store in (self.prompted, self.tracked):
            for frame, entry in list(store.items()):
                kept = [number for number in entry.row if number not in objects]
                if len(kept) == len(entry.row):
                    continue
                del store[frame]
                if kept:
                    features = None if entry.features is None else entry.rows(entry.features, kept)
                    rows = {number: row for row, number in enumerate(kept)}
                    store[frame] = FrameMemory(rows, features, entry.rows(entry.pointers, kept))

    def groups(self, frame: int, objects: list[int], reverse: bool = False) -> list[tuple[list[int], tuple, tuple]]:
        """Groups of objects that remember the same frames, each with its memory and pointer `Reference`s.

        Attention has no mask in SAM-2, so objects may share a batch only where they attend to the same frames.
        """
        grouped: dict[tuple, list[int]] = {}
        for number in objects:
            grouped.setdefault(self._references(frame, number, reverse), []).append(number)
        return [(members, memories, pointers) for (memories, pointers), members in grouped.items()]

    def recall(
        self, references: tuple[Reference, ...], objects: list[int], pointers: bool = False
    ) -> list[tuple[int, torch.Tensor]]:
        """(offset, tensor) of every reference: memory features (n, g*g, M), or pointers (n, C)."""
        recalled = []
        for offset, frame, prompted in references:
            entry = (self.prompted if prompted else self.tracked)[frame]
            recalled.append((offset, entry.rows(entry.pointers if pointers else entry.features, objects)))
        return recalled

    def _references(self, frame: int, number: int, reverse: bool) -> tuple[tuple, tuple]:
        """What object `number` looks back at from `frame`: memories and pointers, as SAM-2 selects them."""
        step = -1 if reverse else 1
        prompted = [past for past, entry in self.prompted.items() if number in entry.row]
        chosen = _closest(prompted, frame, self.max_prompted)
        memories: list[Reference] = [(0, past, True) for past in chosen]
        for offset in range(self.reach, 0, -1):
            past = frame - step * offset
            entry = self.tracked.get(past)
            if entry is not None and number in entry.row and entry.features is not None:
                memories.append((offset, past, False))
            elif past in prompted and past not in chosen:
                memories.append((offset, past, True))
        pointers: list[Reference] = [
            (step * (frame - past), past, True) for past in prompted if step * (frame - past) >= 0
        ]
        for offset in range(1, self.pointer_span):
            entry = self.tracked.get(frame - step * offset)
            if entry is not None and number in entry.row:
                pointers.append((offset, frame - step * offset, False))
        return tuple(memories), tuple(pointers)


def _closest(prompted: list[int], frame: int, limit: int) -> list[int]:
    """At most `limit` prompted frames (-1: all): the last one before, the first from `frame` on, then by distance."""
    if limit == -1 or len(prompted) <= limit:
        return prompted
    before = max((past for past in prompted if past < frame), default=None)
    after = min((past for past in prompted if past >= frame), default=None)
    chosen = [past for past in (before, after) if past is not None]
    others = sorted((past for past in prompted if past not in chosen), key=lambda past: abs(past - frame))
    return chosen + others[: max(limit - len(chosen), 0)]


__all__ = [
    "ABSENT_LOGIT",
    "PROMPT_BIAS",
    "PROMPT_SCALE",
    "FrameMemory",
    "MemoryBank",
    "binary_masks",
    "condition_on_memory",
    "encode_memory",
    "object_pointer",
    "resize_logits",
]
