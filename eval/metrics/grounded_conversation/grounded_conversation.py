"""Grounded conversations for `evaluate.load("eval/metrics/grounded_conversation")` (paper section 4.1).

Captions, phrases and masks `(N, H, W)` with the true ones enter, one of each per picture;
the figures of `GroundedConversation` leave.
"""

import datasets
import evaluate
import numpy as np

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
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("string"),
                    "phrases": datasets.Sequence(datasets.Value("string")),
                    "masks": datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("bool")))),
                    "references": datasets.Sequence(datasets.Value("string")),
                    "true_phrases": datasets.Sequence(datasets.Value("string")),
                    "true_masks": datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("bool")))),
                }
            ),
        )

    def _compute(self, predictions, phrases, masks, references, true_phrases, true_masks, similarity, captions=True):
        scores = GroundedConversation(similarity, captions)
        answers = zip(predictions, phrases, ([np.asarray(mask) for mask in some] for some in masks), strict=True)
        real = ([np.asarray(mask) for mask in some] for some in true_masks)
        for number, pair in enumerate(zip(answers, zip(references, true_phrases, real, strict=True), strict=True)):
            scores.add(number, *pair)
        return scores.compute()


__all__ = ["GroundedConversationMetric"]
