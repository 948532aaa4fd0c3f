"""Grounded conversations for `evaluate.load("eval/metrics/grounded_conversation")` (paper section 4.1).

Captions, phrases and masks `(N, H, W)` with the true ones enter, one of each per picture;
the figures of `GroundedConversation` leave.
"""

import evaluate
import numpy as np

from desa2va.eval.metrics.folders import MASKS, TEXT, TEXTS, computed, told
from desa2va.eval.metrics.grounding import GroundedConversation

_DESCRIPTION = "AP50, mIoU, recall, METEOR and CIDEr of grounded conversations, as GLaMM measures them."
_INPUTS = """
Args:
    predictions: captions without tags.
    phrases, masks: of each caption; masks are bool (number, height, width).
    references: one or several captions per picture.
    true_phrases, true_masks: likewise.
    similarity: function of two phrases; GLaMM takes the cosine of BERT embeddings.
    captions: also compute caption figures, which need Java; by default true.
"""
_CITATION = """
@inproceedings{rasheed2024glamm,
  title = {GLaMM: Pixel Grounding Large Multimodal Model},
  author = {Rasheed, Hanoona and others}, booktitle = {CVPR}, year = {2024}
}
"""


class GroundedConversationMetric(evaluate.Metric):
    """`GroundedConversation` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        answers = {"predictions": TEXT, "phrases": TEXTS, "masks": MASKS}
        columns = {**answers, "references": TEXTS, "true_phrases": TEXTS, "true_masks": MASKS}
        return told(_DESCRIPTION, _INPUTS, _CITATION, **columns)

    def _compute(self, predictions, phrases, masks, references, true_phrases, true_masks, similarity, captions=True):
        found, real = (([np.asarray(mask) for mask in some] for some in column) for column in (masks, true_masks))
        answers = zip(predictions, phrases, found, strict=True)
        truths = zip(references, true_phrases, real, strict=True)
        return computed(GroundedConversation(similarity, captions), range(len(predictions)), answers, truths)


__all__ = ["GroundedConversationMetric"]
