"""Phases 1 to 3: the masks of labels, and triple supervision (paper sections 3.3 and 3.4, Eq. 8-10).

Enters: conversations with masks. Leaves, phase 1: `label_mask`. Phases 2 and 3: `language`, `visual_mask`,
`text_mask` (taught by the label's mask, never by the ground truth), `fused_mask`, `orthogonality`, scores, and
prompts for the auxiliary networks; of generated scenes `grounding` and `motion`, if they have a weight.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.objects import pair_with_frames
from desa2va.modeling_desa2va.outputs import DeSa2VAOutput, MaskPass, MaskPrediction
from desa2va.training.arguments import MaskLossArguments
from desa2va.training.disentangling import FeatureQueue, RunningStandardisation, gather_rows
from desa2va.training.label_states import LabelReader
from desa2va.training.losses import iou_score_loss, mask_iou, object_score_loss, orthogonality_loss
from desa2va.training.mask_targets import mask_targets

from .base import Objective, model_inputs
from .reading import MotionReader, SegReader, middle_states
from .temporal import TERMS, TemporalTerms


class TextPretrainingObjective(Objective):
    """Phase 1: the text decoder learns to read (section 3.3). Neither the language model nor SAM-2's encoder learns.

    Args:
        model: the model. mask_loss_arguments: how a mask is scored. reader: reads the ground-truth phrases.
    """

    terms = ("label_mask", "iou", "object_score")
    metrics = ("label_iou",)

    def __init__(self, model: DeSa2VAModel, mask_loss_arguments: MaskLossArguments, reader: LabelReader) -> None:
        super().__init__(model, reader)
        self.mask_loss_arguments = mask_loss_arguments

    def compute(self, **batch: Any) -> dict[str, Any]:
        """Terms `label_mask`, `iou`, `object_score`; metric `label_iou`."""
        model, segmenter = self.model, self.model.segmenter
        label_states = self.label_reader(batch["object_labels"])  # by every process, see there
        if not batch["mask_labels"]:
            nothing = torch.zeros((), device=batch["input_ids"].device)
            return {"terms": dict.fromkeys(("label_mask", "iou", "object_score"), nothing)}
        is_seg = torch.isin(
            batch["input_ids"], torch.tensor(model.config.seg_token_ids, device=batch["input_ids"].device)
        )
        sequence = is_seg.nonzero(as_tuple=True)[0][:: model.config.num_seg_frames]
        pairs = pair_with_frames(sequence, 1, batch["sam_frame_visual"], batch["sequence_visual"])
        with torch.no_grad():
            features = segmenter.encode_frames(batch["sam_pixel_values"])
        prompts = model.decoupling.label(label_states)
        prediction = segmenter.decode(segmenter.text_decoder, features, pairs.frame, prompts[pairs.object][:, None])
        targets = mask_targets(batch["mask_labels"], self.mask_loss_arguments.mask_target_size, prompts.device)
        present = targets.flatten(1).any(dim=1)
        count = max(int(present.sum()), 1)
        terms = {"label_mask": self.mask_loss_arguments(prediction.logits[present], targets[present], count)}
        terms |= score_terms([prediction], targets, present)
        metrics = {"label_iou": mask_iou(prediction.logits.detach()[present], targets[present]).mean()}
        return {"terms": terms, "metrics": metrics}


class DecouplingObjective(Objective):
    """Phases 2 and 3.

    Args:
        model: the model. mask_loss_arguments: how a mask is scored. reader: reads the ground-truth phrases; `None`
            in mode `sa2va`, which has no text branch. weights: terms with weight 0 are not computed. num_reprompts:
            overrides the configuration (0 in phase 2). shuffled_share: see `TemporalTerms`.
        orthogonality_center: see `orthogonality_loss`. memory_size: pairs of mask tokens remembered for it; 0
            compares the objects of a batch with each other, and one object with nothing.
    """

    terms = ("language", "iou", "object_score")
    weighed_terms = ("visual_mask", "text_mask", "fused_mask", "alignment", "orthogonality", *TERMS)
    weighed_terms += ("grounding", "motion")
    metrics = ("fused_iou", "text_iou", "visual_iou", "gate", "order_accuracy", "motion_accuracy")
    metrics += ("seg_place", "seg_color", "seg_shape", "seg_size")

    def __init__(
        self,
        model: DeSa2VAModel,
        mask_loss_arguments: MaskLossArguments,
        reader: LabelReader | None,
        weights: dict[str, float],
        num_reprompts: int | None,
        shuffled_share: float = 1.0,
        orthogonality_center: bool = False,
        memory_size: int = 512,
    ) -> None:
        super().__init__(model, reader)
        self.mask_loss_arguments = mask_loss_arguments
        self.weights = weights
        self.num_reprompts = num_reprompts
        self.orthogonality_center = orthogonality_center
        wanted = any(weights.get(name, 0) > 0 for name in TERMS)
        self.temporal = TemporalTerms(model.config, weights, shuffled_share) if wanted else None
        width = model.config.get_text_config().hidden_size
        self.readout = SegReader(width) if weights.get("grounding", 0) > 0 else None
        self.motion = MotionReader(width) if weights.get("motion", 0) > 0 else None
        compared = weights.get("orthogonality", 0) > 0 and model.segmenter.text_decoder is not None
        self.memory = FeatureQueue(memory_size, model.config.prompt_dim) if compared else None
        aligned = weights.get("alignment", 0) > 0 and model.segmenter.text_decoder is not None
        self.label_statistics = RunningStandardisation(model.config.prompt_dim) if aligned else None
        self._tokens: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._labels: list[torch.Tensor] = []

    def compute(self, **batch: Any) -> dict[str, Any]:
        """Terms of METHOD section 5; metrics `fused_iou`, `text_iou`, `visual_iou`, `gate`, `order_accuracy`."""
        has_text = self.model.segmenter.text_decoder is not None
        # Labels are read where something is made of them: a teacher, a target, or the discriminators' real text.
        read = has_text and any(self.weights.get(name, 0) for name in ("text_mask", "alignment", "adversarial"))
        label_states = self.label_reader(batch["object_labels"]) if read else None
        phrase_states = label_states if batch["object_labels"] else None
        with nullcontext() if self.motion is None else middle_states(self.model) as middle:
            output = self.model(**model_inputs(batch), phrase_states=phrase_states, num_reprompts=self.num_reprompts)
        terms = {"language": output.loss}
        features: dict[str, torch.Tensor] = {}
        metrics: dict[str, torch.Tensor] = {}
        if self.readout is not None:
            terms["grounding"], metrics = self.readout.score(output.seg_states[:, 0], batch["samples"])
        if self.motion is not None:
            terms["motion"], more = self.motion.score(self.model, middle[0], batch)
            metrics |= more
        if output.passes:
            targets = mask_targets(batch["mask_labels"], self.mask_loss_arguments.mask_target_size, output.loss.device)
            self._mask_terms(output, targets, terms, metrics)
        if has_text:
            features = self._features(output)
            if self.label_statistics is not None and output.label_prompts is not None:
                terms["alignment"] = self._alignment(output)
        if self.temporal is not None:
            for part, more in zip((terms, metrics), self.temporal(self.model, batch, output), strict=True):
                part.update(more)
        return {"terms": terms, "features": features, "metrics": metrics}

    def _mask_terms(
        self,
        output: DeSa2VAOutput,
        targets: torch.Tensor,
        terms: dict[str, torch.Tensor],
        metrics: dict[str, torch.Tensor],
    ) -> None:
        """Every pass is supervised; the terms of the passes are averaged."""
        present = targets.flatten(1).any(dim=1)
        # Looked for once: every use of a boolean index would wait for the device to say how many there are.
        shown = present.nonzero()[:, 0]
        count, share = max(len(shown), 1), 1 / len(output.passes)
        taught = None
        if output.label_masks is not None:
            # The text mask is taught by what the frozen decoder makes of the label, without gradient (section 3.4).
            size = targets.shape[-1]
            label = F.interpolate(output.label_masks.logits.detach()[:, None].float(), (size, size), mode="bilinear")
            taught = (label[:, 0] > 0).to(targets.dtype)
        for decoded in output.passes:
            for name, part, truth in (
                ("visual_mask", decoded.visual, targets),
                ("fused_mask", decoded.fused if decoded.text is not None else None, targets),
                ("text_mask", decoded.text, taught),
            ):
                if part is None:
                    continue
                if truth is not None and self.weights.get(name, 0):
                    loss = self.mask_loss_arguments(part.logits[shown], truth[shown], count)
                    terms[name] = terms.get(name, 0.0) + share * loss
                if decoded is output.passes[-1] and len(shown):
                    metrics[name.replace("_mask", "_iou")] = mask_iou(part.logits.detach(), targets)[shown].mean()
        if self.memory is not None:
            terms["orthogonality"] = self._orthogonality(output)
        decoders = [part for decoded in output.passes for part in self._scored(decoded)]
        terms |= score_terms(decoders, targets, present)
        if len(present) and output.passes[-1].text is not None:
            metrics["gate"] = output.passes[-1].gate.detach().mean()

    def _scored(self, decoded: MaskPass) -> list[MaskPrediction]:
        """The decoders' answers whose scores meet the ground truth. That of an isolated text branch must not learn
        from it through its scores either: they are counted and teach nothing.
        """
        if decoded.text is None:
            return [decoded.visual]
        if not self.model.fusion.text_isolated:
            return [decoded.visual, decoded.text]
        return [decoded.visual, MaskPrediction(**{name: value.detach() for name, value in decoded.text.items()})]

    def _orthogonality(self, output: DeSa2VAOutput) -> torch.Tensor:
        """Eq. 7 of every pass, against what earlier steps have left; of the batch alone while nothing is remembered.

        The memory stays as it is until `end_step`, so micro-batches of one step and its processes add up.
        """
        others, value = self.memory.negatives(), 0.0
        for decoded in output.passes:
            text, visual = decoded.text.tokens, decoded.visual.tokens
            value = value + orthogonality_loss(text, visual, self.orthogonality_center, others) / len(output.passes)
            if self.training:
                self._tokens.append((text.detach(), visual.detach()))
        return value

    def end_step(self) -> None:
        """Remembers the mask tokens and label prompts of the step, of all processes."""
        if self.label_statistics is not None:
            nothing = self.label_statistics.mean.expand(0, -1)
            self.label_statistics.observe(gather_rows(torch.cat([nothing, *self._labels])))
            self._labels = []
        if self.memory is not None:
            nothing = self.memory.rows[:0, 0]
            text, visual = (torch.cat([nothing, *(pair[side] for pair in self._tokens)]) for side in (0, 1))
            self.memory.push(text.to(nothing), visual.to(nothing))
            self._tokens = []

    def _features(self, output: DeSa2VAOutput) -> dict[str, torch.Tensor]:
        """What discriminators and CLUB look at: h_t, h_v, real T = h_l, real V (METHOD section 5)."""
        label = output.label_prompts
        empty = output.visual_anchor.new_zeros(0, output.visual_anchor.shape[-1])
        return {
            "text": output.text_prompts[:, 0],
            "visual": output.visual_prompts[:, 0],
            "real_text": empty if label is None else label.detach(),
            "real_visual": output.visual_anchor,
        }

    def _alignment(self, output: DeSa2VAOutput) -> torch.Tensor:
        """Distance of h_t to the label prompt it should replace, in units of the label prompts' variance in the steps
        before; in the first step in units of their mean square.

        Objects of one request may be all there are and share their label: they have no variance at all, and the
        quotient would grow a million times. A quarter of the mean square is the least that is divided by.
        """
        target = output.label_prompts.detach().float()
        unit = target.square().mean()
        if self.label_statistics.ready:
            mean, variance = self.label_statistics.mean, self.label_statistics.variance
            unit = torch.maximum(variance.mean(), 0.25 * (variance + mean.square()).mean())
        if self.training:
            self._labels.append(target)
        prompts = output.text_prompts.float()
        return F.mse_loss(prompts, target[:, None].expand_as(prompts)) / unit.clamp(min=1e-6)


def score_terms(
    predictions: list[MaskPrediction], targets: torch.Tensor, present: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Mean `iou` and `object_score` losses of several decoders' predictions for the same P pairs."""
    iou, score, share = 0.0, 0.0, 1 / len(predictions)
    shown = present.nonzero()[:, 0]
    for part in predictions:
        iou = iou + share * iou_score_loss(part.iou[shown], part.logits[shown], targets[shown])
        score = score + share * object_score_loss(part.object_score, present)
    return {"iou": iou, "object_score": score}


__all__ = ["DecouplingObjective", "TextPretrainingObjective", "score_terms"]
