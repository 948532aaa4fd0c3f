"""Why a mask is as it is: both branches, their fusion, and where they disagree.

In: what `generate(..., return_branches=True)` kept of the key frames. Out: for each object the text mask, the visual
mask, the fused mask, the gate, a map of their disagreement, and its scores on every frame, as data and as a picture
(paper sections 3.3, 3.4). Only a decoupled model has two branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from desa2va.processing.files import resize_logits

from .explanation_picture import draw_explanation


@dataclass
class BranchLogits:
    """What the decoders said on the K key frames, before any clean-up and also where the object is absent.

    Attributes:
        text, visual, fused: float32 `(K, h, w)` logits of the pass that was kept; `text` is `None` for a model with
            one branch.
        gates: `(K,)` weight of the visual mask in the fused one, in [0, 1].
    """

    text: torch.Tensor | None
    visual: torch.Tensor
    fused: torch.Tensor | None = None
    gates: torch.Tensor | None = None


@dataclass
class ObjectExplanation:
    """One object. Its K key frames are those that the language model saw; k counts them from 0.

    Attributes:
        object_id, phrase: see `ObjectResult`.
        key_frames: their numbers in the video; `[0]` of a picture.
        size: height and width of the source, pixels.
        logits: see `BranchLogits`.
        gates: K weights of the visual mask in the fused one, in [0, 1].
        disagreement: K times 1 - IoU of the text mask and the visual mask, in [0, 1].
        iou_scores, object_scores: on each frame of the video, see `ObjectResult`.
        threshold, two_step: how logits become masks, see `MaskOptions`.
    """

    object_id: int
    phrase: str | None
    key_frames: list[int]
    size: tuple[int, int]
    logits: BranchLogits = field(repr=False)
    gates: list[float]
    disagreement: list[float]
    iou_scores: list[float]
    object_scores: list[float]
    threshold: float = 0.0
    two_step: bool = False

    def text_mask(self, k: int = 0) -> np.ndarray:
        """Bool `(H, W)`: what the text prompt alone marks on key frame k."""
        return self._source(self.logits.text, k) > self.threshold

    def visual_mask(self, k: int = 0) -> np.ndarray:
        """Bool `(H, W)`: what the visual prompt alone marks."""
        return self._source(self.logits.visual, k) > self.threshold

    def fused_mask(self, k: int = 0) -> np.ndarray:
        """Bool `(H, W)`: what both mark together, by the gate; what conditions the tracker."""
        return self._source(self.logits.fused, k) > self.threshold

    def uncertainty(self, k: int = 0) -> np.ndarray:
        """Float32 `(H, W)` in [0, 1]: how far the two branches' probabilities of each pixel lie apart."""
        text, visual = (
            torch.from_numpy(self._source(part, k)).sigmoid() for part in (self.logits.text, self.logits.visual)
        )
        return (visual - text).abs().numpy()

    def _source(self, logits: torch.Tensor, k: int) -> np.ndarray:
        if not 0 <= k < len(self.key_frames):
            raise IndexError(f"key frame {k} does not exist; object {self.object_id} has {len(self.key_frames)}")
        return resize_logits(logits[k : k + 1], self.size, self.two_step)[0].numpy()


@dataclass
class Explanation:
    """All objects of an answer, explained.

    Attributes:
        objects: in the order of the answer.
        source: the frames, for `plot`; `None` where unknown.
    """

    objects: list[ObjectExplanation]
    source: Any = field(default=None, repr=False)

    def plot(self, k: int = 0, image: np.ndarray | None = None) -> np.ndarray:
        """One picture, uint8 `(h, w, 3)`: a row per object with its text, visual and fused mask and the disagreement.

        Below the masks stand gate and scores, and of a video a curve of the scores over its frames.

        Args:
            k: which key frame.
            image: the picture of that frame; read from the source when omitted.

        Raises:
            IndexError: there is no such key frame.
            ValueError: no object, or no picture to draw on.
        """
        if not self.objects:
            raise ValueError("the answer marks no object; there is nothing to explain")
        if image is None and self.source is None:
            raise ValueError("the result holds no frames to draw on; give the picture as image=")
        rows = []
        for entry in self.objects:
            masks = {"text": entry.text_mask(k), "visual": entry.visual_mask(k), "fused": entry.fused_mask(k)}
            frame = self.source.read([entry.key_frames[k]])[0] if image is None else image
            rows.append((frame, masks, entry.uncertainty(k), entry, k))
        return draw_explanation(rows)


def explain_objects(objects: Sequence[Any], size: tuple[int, int], threshold: float) -> list[ObjectExplanation]:
    """Explanations of `ObjectResult`s.

    Args:
        objects: of one answer. size: height and width of the source. threshold: logit of a mask.

    Raises:
        ValueError: the branches were not kept, or the model has one only.
    """
    explained = []
    for entry in objects:
        logits = entry.branches
        if logits is None:
            raise ValueError(
                f"object {entry.object_id}: its branches are not at hand (files and streams hold none); call "
                "model.generate(..., return_branches=True)"
            )
        if logits.text is None:
            raise ValueError(
                "the model has one branch (prompt_mode='sa2va'): no text mask, no gate, nothing that could disagree; "
                "only a decoupled model (prompt_mode='desa2va') can be explained"
            )
        explained.append(
            ObjectExplanation(
                entry.object_id,
                entry.phrase,
                list(entry.key_frames),
                size,
                logits,
                logits.gates.tolist(),
                list(entry.disagreement),
                list(entry.iou_scores),
                list(entry.object_scores),
                threshold,
                entry.two_step,
            )
        )
    return explained


__all__ = ["BranchLogits", "Explanation", "ObjectExplanation", "explain_objects"]
