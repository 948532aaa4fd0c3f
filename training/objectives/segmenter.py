"""Phase 0 of SAM-2 as SAM-2: clicks, boxes, masks, memory, object scores, and dense attributes of the image encoder.

Enters: scenes and clips with every object's mask. Leaves: `dense`, `named_mask`, `prompt_mask`, `memory_mask`,
`iou`, `object_score`. Published checkpoints bring all of this along; only the tiny preset learns it. Afterwards
SAM-2 counts as pristine.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.outputs import ImageFeatures, MaskPrediction
from desa2va.modeling_desa2va.tracking import propagate_training
from desa2va.training.arguments import MaskLossArguments
from desa2va.training.data.sample import Sample
from desa2va.training.dense_targets import FACTORS, factor_indices, factor_maps
from desa2va.training.losses import iou_score_loss, mask_iou, object_score_loss
from desa2va.training.mask_targets import mask_targets

from .base import Objective, connected_zero
from .vision import DenseReader

MIN_PIXELS = 30
PROMPTS_PER_FRAME = 3


class SegmenterObjective(Objective):
    """Trains `segmenter.sam`.

    Args:
        model: the model. mask_loss_arguments: how a mask is scored. teacher_steps: steps over which the memory goes
            from the truth to the model's own masks. clip_frames: frames of a video that one step follows.
        named: computes `named_mask`; off where its weight is 0, which saves decoding every object once more.
    """

    every_frame = True

    terms = ("dense", "prompt_mask", "memory_mask", "reread_mask", "iou", "object_score")
    weighed_terms = ("named_mask",)
    metrics = ("shape_accuracy_fine", "shape_accuracy_coarse", "named_iou")

    def __init__(
        self,
        model: DeSa2VAModel,
        mask_loss_arguments: MaskLossArguments,
        teacher_steps: int,
        clip_frames: int = 4,
        named: bool = True,
    ) -> None:
        super().__init__(model)
        width = model.config.prompt_dim
        self.readers = nn.ModuleList([DenseReader(width, background_weight=0.2) for _ in range(2)])
        self.names = nn.ModuleList([nn.Embedding(len(values), width) for _, values in FACTORS])
        self.name_decoder = copy.deepcopy(model.segmenter.sam.mask_decoder)
        self.mask_loss_arguments = mask_loss_arguments
        self.teacher_steps = teacher_steps
        self.clip_frames = clip_frames
        self.named = named
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def compute(self, **batch: Any) -> dict[str, Any]:
        """All terms; a batch without videos has no `memory_mask`, an objective that is not `named` no `named_mask`."""
        if self.training:
            self.step += 1
        segmenter = self.model.segmenter
        samples: list[Sample] = batch["samples"]
        features = segmenter.encode_frames(batch["sam_pixel_values"])
        masks, frame_rows, clips = _scene_masks(samples, self.clip_frames, features.low.device)
        terms, metrics = self._dense(features, samples)
        self._prompted(features, masks, frame_rows, terms)
        if self.named:
            self._named(features, samples, terms, metrics)
        if clips:
            self._followed(features, clips, terms)
        return {"terms": terms, "metrics": metrics}

    def _dense(self, features: ImageFeatures, samples: list[Sample]) -> tuple[dict, dict]:
        terms, metrics = {"dense": features.low.new_zeros(())}, {}
        for reader, level, name in zip(self.readers, (features.high0, features.low), ("fine", "coarse"), strict=True):
            targets = factor_maps(samples, level.shape[-1], majority=False).flatten(2).to(level.device)
            loss, metrics[f"shape_accuracy_{name}"] = reader(level.flatten(2), targets)
            terms["dense"] = terms["dense"] + loss / 6
        return terms, metrics

    def _prompted(
        self, features: ImageFeatures, masks: torch.Tensor, frame_rows: torch.Tensor, terms: dict[str, torch.Tensor]
    ) -> None:
        """Single frames: a third of the objects by clicks, a third by box, a third by a coarse mask and a click."""
        segmenter, decoder = self.model.segmenter, self.model.segmenter.sam.mask_decoder
        scale = segmenter.sam.image_size / masks.shape[-1]
        order = torch.randperm(len(masks), device=masks.device)[: PROMPTS_PER_FRAME * len(features.low)]
        if not len(order):
            terms["prompt_mask"] = connected_zero(decoder)
            return
        for rows, kind in zip(order.chunk(3), ("points", "boxes", "masks"), strict=False):
            truth, prompt = masks[rows].float(), {}
            if kind == "boxes":
                prompt["boxes"] = boxes_of(truth) * scale
            else:
                prompt["points"] = clicks_in(truth, scale, num_clicks=1 if kind == "masks" else 2)
            if kind == "masks":
                prompt["dense_masks"] = coarse_logits(truth, self.model.config.mask_size)
            prediction = segmenter.decode(decoder, features, frame_rows[rows], **prompt)
            self._score(prediction, truth, "prompt_mask", len(rows) / len(order), terms)

    def _named(self, features: ImageFeatures, samples: list[Sample], terms: dict, metrics: dict) -> None:
        """Objects of the first frames, prompted by nothing but what they are; the decoder for it is thrown away.

        Published encoders know what they see. This asks the tiny one for the same: telling objects apart by their
            looks.
        """
        masks, rows, factors, start = [], [], [], 0
        for sample in samples:
            ids = torch.from_numpy(sample.scene["instance_map"][0]).to(features.low.device)
            names = [factor_indices(item) for item in sample.scene["objects"]]
            for number, name in enumerate(names):
                mask = ids == number + 1
                if names.count(name) == 1 and mask.sum() > MIN_PIXELS:
                    masks.append(mask)
                    rows.append(start)
                    factors.append(name)
            start += len(sample.scene["instance_map"])
        if not masks:
            terms["named_mask"] = connected_zero(self.name_decoder) + connected_zero(self.names)
            return
        truth = torch.stack(masks).float()
        index = torch.tensor(rows, device=truth.device)
        columns = torch.tensor(factors, device=truth.device).T
        prompts = torch.stack([table(column) for table, column in zip(self.names, columns, strict=True)]).sum(dim=0)
        prediction = self.model.segmenter.decode(self.name_decoder, features, index, prompts[:, None])
        targets = mask_targets([truth], self.mask_loss_arguments.mask_target_size, truth.device)
        terms["named_mask"] = self.mask_loss_arguments(prediction.logits, targets, len(targets))
        metrics["named_iou"] = mask_iou(prediction.logits.detach(), targets).mean()

    def _followed(
        self, features: ImageFeatures, clips: dict[str, torch.Tensor], terms: dict[str, torch.Tensor]
    ) -> None:
        """Clips: the truth on the first frame, then memory alone."""
        teacher = max(0.0, 0.7 * (1 - float(self.step) / max(self.teacher_steps, 1)))
        truth = clips["masks"].float()
        prediction = propagate_training(
            self.model.segmenter, features, clips["rows"], truth[:, 0], truth, teacher, num_frames=2 * self.clip_frames
        )
        for name, part, share in (("reread_mask", slice(0, 1), 1.0), ("memory_mask", slice(1, None), 1.0)):
            flat = MaskPrediction(
                prediction.logits[:, part].flatten(0, 1),
                prediction.iou[:, part].flatten(),
                prediction.object_score[:, part].flatten(),
            )
            self._score(flat, truth[:, part].flatten(0, 1), name, share, terms)

    def _score(
        self, prediction: MaskPrediction, truth: torch.Tensor, name: str, share: float, terms: dict[str, torch.Tensor]
    ) -> None:
        """Adds the mask, IoU and presence losses of n masks, weighted by the `share` of the step they are."""
        present = truth.flatten(1).any(dim=1)
        arguments = self.mask_loss_arguments
        targets = mask_targets([truth], arguments.mask_target_size, truth.device)
        count = max(int(present.sum()), 1)
        losses = {
            name: arguments(prediction.logits[present], targets[present], count),
            "iou": iou_score_loss(prediction.iou[present], prediction.logits[present], targets[present], count),
            "object_score": object_score_loss(prediction.object_score, present),
        }
        for key, value in losses.items():
            terms[key] = terms.get(key, 0.0) + share * value


def _scene_masks(
    samples: list[Sample], clip_frames: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Visible objects of all frames, and random clips of the videos.

    Returns:
        Masks (n, H, W) bool of objects on single frames; (n,) their rows of the batch's frames; for videos
        `{"masks": (O, t, H, W), "rows": (O, t)}` of objects seen on the clip's first frame, half of them reversed.
    """
    masks, rows, clip_masks, clip_rows, start = [], [], [], [], 0
    for sample in samples:
        ids = torch.from_numpy(sample.scene["instance_map"]).to(device)
        every = ids == torch.arange(1, len(sample.scene["objects"]) + 1, device=device).reshape(-1, 1, 1, 1)
        seen = every.flatten(2).sum(-1) > MIN_PIXELS
        which, frame = seen.nonzero(as_tuple=True)
        masks.append(every[which, frame])
        rows.append(frame + start)
        if sample.is_video:
            window = _random_window(len(ids), clip_frames)
            there = seen[:, window[0]]
            clip_masks.append(every[there][:, window])
            clip_rows.append((torch.tensor(window, device=device) + start).expand(int(there.sum()), -1))
        start += len(ids)
    clips = {"masks": torch.cat(clip_masks), "rows": torch.cat(clip_rows)} if clip_masks else {}
    return torch.cat(masks), torch.cat(rows), clips if clips and len(clips["rows"]) else {}


def _random_window(num_frames: int, length: int) -> list[int]:
    """`length` increasing frames with random gaps, half of the time backwards."""
    length = min(length, num_frames)
    window = sorted(torch.randperm(num_frames)[:length].tolist())
    return window if torch.rand(()) < 0.5 else window[::-1]


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Tight boxes (n, 4) xyxy, pixels of the mask, of non-empty masks (n, H, W), each side moved by up to 2 pixels."""
    height, width = masks.shape[-2:]
    columns, rows = masks.amax(1) > 0, masks.amax(2) > 0
    x = torch.stack([columns.float().argmax(1), width - columns.flip(1).float().argmax(1)], 1)
    y = torch.stack([rows.float().argmax(1), height - rows.flip(1).float().argmax(1)], 1)
    boxes = torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1).float()
    return (boxes + torch.randint(-2, 3, boxes.shape, device=boxes.device)).clamp(0, max(height, width))


def clicks_in(masks: torch.Tensor, scale: float, num_clicks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One click inside each mask and, for `num_clicks=2`, one more that is inside or outside: (n, k, 2), (n, k)."""
    inside = torch.multinomial(masks.flatten(1), 1)
    picks, labels = [inside], [torch.ones_like(inside)]
    if num_clicks == 2:
        anywhere = torch.randint(0, masks[0].numel(), inside.shape, device=masks.device)
        picks.append(anywhere)
        labels.append(masks.flatten(1).gather(1, anywhere).long())
    index = torch.cat(picks, dim=1)
    points = torch.stack([index % masks.shape[-1], index // masks.shape[-1]], dim=-1)
    return points.float() * scale, torch.cat(labels, dim=1)


def coarse_logits(masks: torch.Tensor, size: int) -> torch.Tensor:
    """Blurred, noisy logits (n, size, size) such as an earlier pass would hand over."""
    soft = mask_targets([masks], size // 4, masks.device)
    soft = nn.functional.interpolate(soft[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
    strength = 4 + 12 * torch.rand(len(masks), 1, 1, device=masks.device)
    return (soft - 0.5) * strength + torch.randn_like(soft)


__all__ = ["SegmenterObjective", "boxes_of", "clicks_in", "coarse_logits"]
