"""Temporal decoupling: a video against a copy of itself in shuffled order (the future work of the paper's conclusion).

Enters: a batch, and what the model made of it. Leaves: `motion_invariance` (h_v of the copy equals h_v of the video:
what does not depend on order stays in h_v) and `motion_order` (a throw-away linear head tells from h_m whether the
order was true: what depends on order is in h_m). The copy costs one more pass of the language layers over the
sequences chosen: no pixel is read, the vision tower's output is shared, nothing is decoded. Weights of 0 cost nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.decoupling import Prompts
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.objects import find_objects
from desa2va.modeling_desa2va.outputs import DeSa2VAOutput

TERMS = ("motion_invariance", "motion_order")
# What these ask for is decided by the order: in a shuffled copy nobody knows which object is meant, so h_v is free.
ORDER_KINDS = ("motion", "late")


class TemporalTerms(nn.Module):
    """The two terms and the head of the second.

    Args:
        config: of the model. weights: of the loss terms. share: of the sequences with several images and an object,
            how many are read again in shuffled order; each is drawn by itself.

    Raises:
        ValueError: a backbone whose images cannot be shared between sequences, or `motion_order` without W_m.
    """

    def __init__(self, config: DeSa2VAConfig, weights: dict[str, float], share: float = 1.0) -> None:
        super().__init__()
        backbone = config.mllm_config.model_type
        if backbone != "internvl":
            raise ValueError(
                f"weights {' and '.join(TERMS)} need InternVL, whose image features can be read in another order; "
                f"this backbone is {backbone!r}: set both to 0"
            )
        order = weights.get("motion_order", 0) > 0
        if order and config.temporal != "motion":
            raise ValueError(
                f"weight motion_order needs the projection it teaches: set temporal='motion' in section model, not "
                f"{config.temporal!r}, or the weight to 0"
            )
        self.image_token_id = config.mllm_config.image_token_id
        self.order_head = nn.Linear(config.prompt_dim, 2) if order else None
        self.invariance = weights.get("motion_invariance", 0) > 0
        self.share = share

    def forward(
        self, model: DeSa2VAModel, batch: dict[str, Any], output: DeSa2VAOutput
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Terms and the metric `order_accuracy` (0.5 is chance).

        Args:
            model: that made `output` of `batch`. batch: of `DeSa2VAProcessor.collate`, right-padded.
        """
        runs = image_runs(batch["input_ids"], self.image_token_id)
        with_object = torch.isin(torch.arange(len(runs), device=runs.device), output.object_sequence)
        drawn = torch.rand(len(runs)).to(runs.device) < self.share
        rows = ((runs > 1) & with_object & drawn).nonzero()[:, 0]
        if not len(rows):
            # Connected zeros: every process of a distributed run has a gradient for the head.
            nothing = output.visual_prompts[:0].float().sum()
            head = self.order_head(output.visual_prompts[:0, 0].float()).sum() if self.order_head is not None else None
            return self._chosen(nothing, head), {}
        copied, sequence = read_shuffled(model, batch, output.image_features, runs, rows)
        own = torch.isin(output.object_sequence, rows)
        variance = _variance(output.visual_prompts)
        invariance, order, metrics = None, None, {}
        if self.invariance:
            kinds = [conversation.kind for sample in batch.get("samples", ()) for conversation in sample.conversations]
            fixed = torch.tensor([not kinds or kinds[row] not in ORDER_KINDS for row in rows.tolist()])
            fixed = fixed.to(sequence.device)[sequence]
            change = (copied.visual - output.visual_prompts[own])[fixed].float()
            invariance = change.square().sum() / max(change.numel(), 1) / variance
        if self.order_head is not None:
            # A film run backwards is in order too: two frames do not tell.
            telling = runs[rows][sequence] > 2
            order, metrics = self._order(output.motion_prompts[own][telling], copied.motion[telling], variance)
        return self._chosen(invariance, order), metrics

    def _chosen(self, invariance: torch.Tensor | None, order: torch.Tensor | None) -> dict[str, torch.Tensor]:
        values = (invariance if self.invariance else None, order)
        return {name: value for name, value in zip(TERMS, values, strict=True) if value is not None}

    def _order(
        self, true: torch.Tensor, shuffled: torch.Tensor, variance: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Cross-entropy of the head on h_m (O, S, C) of videos and of their copies."""
        motion = torch.cat([true, shuffled]).flatten(0, 1).float()
        # h_m starts at zero: a floor in units of h_v keeps its direction, and the gradient, bounded there.
        motion = motion * torch.rsqrt(motion.square().mean(dim=-1, keepdim=True) + 0.01 * variance)
        logits = self.order_head(motion)
        labels = torch.arange(len(motion), device=motion.device) >= len(motion) // 2
        if not len(motion):
            return logits.sum(), {}
        metrics = {"order_accuracy": (logits.argmax(dim=1) == labels).float().mean()}
        return F.cross_entropy(logits.float(), labels.long()), metrics


def _variance(prompts: torch.Tensor) -> torch.Tensor:
    """Variance of h_v (O, S, C) over the batch, mean over its coordinates, without gradient; 1 for a single prompt."""
    flat = prompts.detach().flatten(0, 1).float()
    return flat.var(dim=0).mean().clamp(min=1e-6) if len(flat) > 1 else flat.new_ones(())


def image_runs(input_ids: torch.Tensor, image_token_id: int) -> torch.Tensor:
    """How many images each sequence shows, (B,), from its runs of image tokens in (B, N)."""
    places = input_ids == image_token_id
    before = F.pad(places[:, :-1], (1, 0), value=False)
    return (places & ~before).sum(dim=1)


def shuffled_order(count: int) -> list[int]:
    """A random order of `count` >= 2 images that is neither the true one nor, from three images on, its reverse."""
    same = list(range(count))
    while True:
        order = torch.randperm(count).tolist()
        if order != same and (count == 2 or order != same[::-1]):
            return order


def read_shuffled(
    model: DeSa2VAModel,
    batch: dict[str, Any],
    image_features: torch.Tensor,
    runs: torch.Tensor,
    rows: torch.Tensor,
) -> tuple[Prompts, torch.Tensor]:
    """Reads some sequences again with their images in shuffled order: the same ids, a permuted `image_index`.

    Args:
        model: reads. batch: collated. image_features: (tiles, L, D) of all its images. runs: (B,) images of each
            sequence. rows: (R,) sequences to read, rising.

    Returns:
        Prompts of the copies' objects, in the order of the originals, and (O',) which of the `rows` each is of.
    """
    images = torch.as_tensor(batch["image_index"]).cpu().split(runs.tolist())
    index = torch.cat([images[row][shuffled_order(len(images[row]))] for row in rows.tolist()])
    length = int(batch["attention_mask"][rows].sum(dim=1).max())
    ids, mask = batch["input_ids"][rows, :length], batch["attention_mask"][rows, :length]
    inputs = model.language_inputs(ids, index, batch["num_tiles"], image_features)
    states = model.mllm.model(attention_mask=mask, use_cache=False, **inputs).last_hidden_state
    found = find_objects(ids, model.config.seg_token_ids, model.config.num_seg_frames, None, None)
    return model.decoupling.prompts(states[found.sequence[:, None], found.positions]), found.sequence


__all__ = ["ORDER_KINDS", "TERMS", "TemporalTerms", "image_runs", "read_shuffled", "shuffled_order"]
