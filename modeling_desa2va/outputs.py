"""What the model returns, field by field. Shape legend of the package: B sequences, T frames, O objects (one `[SEG]`
group each), P object-frame pairs, N tokens, D language width, C prompt width, h x w low-resolution mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers.utils import ModelOutput

from desa2va.processing.files import MaskOptions

from .decoupling import Prompts


@dataclass
class ImageFeatures(ModelOutput):
    """SAM-2's encoding of F frames; every mask decoder applies its own convolutions to the two high levels.

    Attributes:
        high0: (F, C, 4g, 4g) finest level. high1: (F, C, 2g, 2g). low: (F, C, g, g), before any memory.
        position: (1, C, g, g) sine encoding of the low level.
    """

    high0: torch.Tensor | None = None
    high1: torch.Tensor | None = None
    low: torch.Tensor | None = None
    position: torch.Tensor | None = None

    def select(self, rows: torch.Tensor | slice) -> ImageFeatures:
        """The features of the frames `rows` (index tensor or slice)."""
        return ImageFeatures(self.high0[rows], self.high1[rows], self.low[rows], self.position)


@dataclass
class MaskPrediction(ModelOutput):
    """One decoder's answer for P object-frame pairs.

    Attributes:
        logits: (P, h, w) mask logits. iou: (P,) predicted IoU in [0, 1].
        object_score: (P,) logit that the object is on the frame. tokens: (P, C) state of the chosen mask token.
    """

    logits: torch.Tensor | None = None
    iou: torch.Tensor | None = None
    object_score: torch.Tensor | None = None
    tokens: torch.Tensor | None = None


@dataclass
class ClipPrediction(ModelOutput):
    """Raw predictions for O objects on T frames: not emptied where the object score is negative.

    Attributes:
        logits: (O, T, h, w) mask logits. iou: (O, T) predicted IoU in [0, 1]. object_score: (O, T) presence logits.
    """

    logits: torch.Tensor | None = None
    iou: torch.Tensor | None = None
    object_score: torch.Tensor | None = None


@dataclass
class MaskPass(ModelOutput):
    """One pass of the two decoders and their fusion (paper sections 3.2, 3.4).

    Attributes:
        fused: `MaskPrediction` of the fused mask. visual: of the visual decoder. text: of the text decoder (`None`
            in mode `sa2va`). gate: (P,) weight of the visual mask in [0, 1] (mean over pixels for `fusion="pixel"`).
    """

    fused: MaskPrediction | None = None
    visual: MaskPrediction | None = None
    text: MaskPrediction | None = None
    gate: torch.Tensor | None = None


@dataclass
class DeSa2VAOutput(ModelOutput):
    """Teacher-forced forward pass.

    Attributes:
        loss: language-modelling loss, where `labels` were given. logits: (B, N, vocabulary) where they were not.
        last_hidden_state: (B, N, D) after the final norm. seg_states: (O, S, D) states at the object's S `[SEG]`
            inputs.
        image_features: (tiles, L, D) InternVL's encoding of the images, shared by all sequences.
        text_prompts, visual_prompts, label_prompts: (O, S, C), (O, S, C), (O, C). motion_prompts: (O, S, C), `None`
            unless `temporal="motion"`.
        visual_anchor: (M, C) visual projection of the pooled image-token states of every sequence that shows an image.
        passes: list of `MaskPass`: the first decode, then one per re-prompt. masks: `MaskPrediction` kept in the end.
        label_masks: `MaskPrediction` of the text decoder reading the label, where `phrase_states` were given.
        object_sequence: (O,) sequence of each object. pair_object, pair_frame: (P,) object, and row of the SAM-2
            frames.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    image_features: torch.Tensor | None = None
    seg_states: torch.Tensor | None = None
    text_prompts: torch.Tensor | None = None
    visual_prompts: torch.Tensor | None = None
    motion_prompts: torch.Tensor | None = None
    label_prompts: torch.Tensor | None = None
    visual_anchor: torch.Tensor | None = None
    passes: list[MaskPass] | None = None
    masks: MaskPrediction | None = None
    label_masks: MaskPrediction | None = None
    object_sequence: torch.Tensor | None = None
    pair_object: torch.Tensor | None = None
    pair_frame: torch.Tensor | None = None


@dataclass
class VisualAnswer:
    """What the language pass found in one picture or video.

    Attributes:
        key_frames: the K frames it saw, rising.
        objects: the objects' numbers in the batch, rising.
        features: SAM-2's encoding of the key frames, K rows; `None` where no object of the batch needed it.
        masks: (objects, K, h, w) logits and scores there, not emptied by the object score; `None` without objects.
        known: encodings of further frames that are at hand, one row each.
        conditioning: (objects, K) bool, which masks may condition the tracker; all where it is `None`.
    """

    key_frames: list[int]
    objects: list[int] = field(default_factory=list)
    features: ImageFeatures | None = None
    masks: ClipPrediction | None = None
    known: dict[int, ImageFeatures] = field(default_factory=dict)
    conditioning: torch.Tensor | None = None


@dataclass
class KeyFrameAnswer:
    """Everything before tracking, for a batch.

    Attributes:
        sequences: (B, n) new token ids. object_sequence: (O,) sequence of each object, in order of appearance.
        seg_probability: (O,) probability of the object's first `[SEG]`. seg_forced: (O,) bool, see
            `DeSa2VAGenerateOutput`.
        visuals: one entry per visual. prompts: of the O objects; `None` without any.
        mark_probability: (O,) of the answer up to and with the object's first `[SEG]`.
        text_logits, visual_logits, fused_logits, gates: see `DeSa2VAGenerateOutput`.
        scores, logits: of the new tokens, on request; see `DeSa2VAGenerateOutput`.
        target_evidence, target_score, agreement: likewise.
    """

    sequences: torch.Tensor
    object_sequence: torch.Tensor
    seg_probability: torch.Tensor
    seg_forced: torch.Tensor
    mark_probability: torch.Tensor
    visuals: list[VisualAnswer] = field(default_factory=list)
    prompts: Prompts | None = None
    text_logits: list[torch.Tensor] | None = None
    visual_logits: list[torch.Tensor] | None = None
    fused_logits: list[torch.Tensor] | None = None
    gates: list[torch.Tensor] | None = None
    scores: tuple[torch.Tensor, ...] | None = None
    logits: tuple[torch.Tensor, ...] | None = None
    target_evidence: torch.Tensor | None = None
    target_score: torch.Tensor | None = None
    agreement: list[torch.Tensor] | None = None


@dataclass
class DeSa2VAGenerateOutput(ModelOutput):
    """A generated answer and its masks.

    Attributes:
        sequences: (B, n) new token ids, padded. object_sequence: (O,) sequence of each object, in order of appearance.
        seg_probability: (O,) probability the language model gave the object's first `[SEG]` when it was chosen.
        seg_forced: (O,) bool: the model preferred another token; `task="segment"` put the `[SEG]` there, in place of
            the answer's end or where the answer had no more room. Its mask is of what the model did not mark.
        track_logits: O tensors (T, h, w) fp32 on the CPU: every frame of the object's visual, also those on which it
            counts as absent: what a mask is, the results decide.
        track_iou, track_object_score: O tensors (T,) fp32 on the CPU: predicted IoU; logit of presence.
        text_logits, visual_logits, fused_logits: O tensors (K, h, w) fp32 on the CPU at the K key frames, on request;
            else `None`. All are of the pass that was kept. In mode `sa2va` there is no text branch, and no gate.
        gates: O tensors (K,), weight of the visual mask in the fused one in [0, 1], likewise.
        scores, logits: n tensors (B, vocabulary) with `output_scores=True`, `output_logits=True`: what each new token
            was chosen from, after and before all processing; else `None`.
        mask_options: complete; how results make masks of the logits unless they are told otherwise.
        target_evidence: (B, 3) what speaks for a target of the request, see `target_evidence`; 0 where nothing was
            marked. target_score: (B,) the probability in [0, 1] that it has one, 0 where nothing was marked; `None`
            for a model that was not calibrated.
        agreement: O tensors (K,): probability in [0, 1] that the model, asked back, agrees with its mask at each of
            the K key frames; NaN where there is none to ask about. With `verify=True`, else `None`.
    """

    sequences: torch.Tensor | None = None
    object_sequence: torch.Tensor | None = None
    seg_probability: torch.Tensor | None = None
    seg_forced: torch.Tensor | None = None
    track_logits: list[torch.Tensor] | None = None
    track_iou: list[torch.Tensor] | None = None
    track_object_score: list[torch.Tensor] | None = None
    text_logits: list[torch.Tensor] | None = None
    visual_logits: list[torch.Tensor] | None = None
    fused_logits: list[torch.Tensor] | None = None
    gates: list[torch.Tensor] | None = None
    scores: tuple[torch.Tensor, ...] | None = None
    logits: tuple[torch.Tensor, ...] | None = None
    mask_options: MaskOptions | None = None
    target_evidence: torch.Tensor | None = None
    target_score: torch.Tensor | None = None
    agreement: list[torch.Tensor] | None = None


__all__ = [
    "ClipPrediction",
    "DeSa2VAGenerateOutput",
    "DeSa2VAOutput",
    "ImageFeatures",
    "KeyFrameAnswer",
    "MaskPass",
    "MaskPrediction",
    "VisualAnswer",
]
