"""Grounded conversations: are caption, phrases and masks right? The measures of GLaMM's evaluator, for clips as well.

A caption with phrases and their masks enters for every picture or clip, AP50, mIoU, recall and caption figures leave
(paper section 4.1). Source: GLaMM's `eval/gcg/evaluate.py`; VideoGLaMM's script for clips has the same mIoU, recall
and caption figures with IoU over all frames.

* mIoU: per picture, predicted and true masks are paired one to one, the highest IoU first, while it is above 0; mean
  over the *pairs*, so what is not found does not lower it; no pair is 0; then the mean over pictures.
* Recall: the pair with the highest IoU is taken if IoU and similarity of the phrases both reach 0.5, then the next;
  the search *stops* at the first pair that fails. Matches of all pictures over true phrases of all pictures.
* AP50: pycocotools, all scores 1, at most 100 masks a picture; a clip is a picture of its frames on top of each other.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as codes
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .captions import CaptionQuality
from .collected import Collected, require_unique
from .pairs import pairwise_iou
from .uncertainty import mean_with_error

IOU_THRESHOLD = 0.5
SIMILARITY_THRESHOLD = 0.5
Similarity = Callable[[str, str], float]


def paired_iou(ious: np.ndarray) -> float:
    """Mean IoU of the greedy one-to-one pairs: `(P, O)` to a number, 0 without a pair."""
    ious, pairs = np.array(ious, np.float64), []
    while ious.size and ious.max() > 0:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        pairs.append(ious[row, column])
        ious = np.delete(np.delete(ious, row, axis=0), column, axis=1)
    return float(np.mean(pairs)) if pairs else 0.0


def count_matches(ious: np.ndarray, similarities: np.ndarray) -> int | None:
    """How many true phrases are found.

    Args:
        ious: of true with predicted masks `(O, P)`. similarities: of true with predicted phrases.

    Returns:
        The number of matches; `None` where the search meets a mask without a phrase. GLaMM's evaluator fails there
        and counts the whole picture as not found.
    """
    ious, matches = np.array(ious, np.float64), 0
    while ious.size:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        if ious[row, column] < IOU_THRESHOLD:
            break
        if row >= similarities.shape[0] or column >= similarities.shape[1]:
            return None
        if similarities[row, column] < SIMILARITY_THRESHOLD:
            break
        matches += 1
        ious[row], ious[:, column] = 0, 0
    return matches


class GroundedConversation(Collected):
    """Collects answers with masks and computes the measures.

    Args:
        similarity: of two phrases. GLaMM takes the cosine of mean-pooled last states of `bert-base-uncased`.
        captions: also compute the caption figures, which need Java.
    """

    def __init__(self, similarity: Similarity, captions: bool = True) -> None:
        super().__init__()
        self._similarity = similarity
        self.captions = captions

    @property
    def settings(self) -> dict[str, Any]:
        """What must agree before rows may be joined; that the similarity is one is for the caller to see to."""
        return {"captions": self.captions}

    def add(
        self,
        identifier: str | int,
        answer: tuple[str, Sequence[str], Sequence[np.ndarray]],
        truth: tuple[str | Sequence[str], Sequence[str], Sequence[np.ndarray]],
    ) -> None:
        """Add one picture or clip.

        Args:
            identifier: unlike all others; pictures enter AP in the order of their ids.
            answer: caption without tags, phrases, masks bool `(H, W)` or `(T, H, W)`; nothing forces the numbers of
                phrases and masks to agree.
            truth: one or several reference captions, phrases, masks.

        Raises:
            ValueError: shapes differ, or no reference caption.
        """
        caption, phrases, masks = answer
        references, true_phrases, true_masks = truth
        ious = pairwise_iou(true_masks, masks)
        similarities = np.array([[self._similarity(real, said) for said in phrases] for real in true_phrases])
        matches = count_matches(ious, similarities.reshape(len(true_phrases), len(phrases)))
        found, real = ([_code(mask) for mask in some] for some in (masks, true_masks))
        references = [references] if isinstance(references, str) else list(references)
        miou = paired_iou(ious.T)
        self.rows.append((identifier, miou, matches, len(true_phrases), found, real, caption, references))

    def compute(self) -> dict[str, float | int | None]:
        """The measures.

        Returns:
            `n`; `miou` with its standard error; `recall` (`None` without a true phrase); `ap50` (`None` without a true
            mask); `n_without_phrase`, pictures whose matching met a mask without a phrase; the figures of
            `CaptionQuality`.

        Raises:
            ValueError: nothing was added, or two pictures have one id.
            RuntimeError: caption figures were asked for and there is no Java.
        """
        identifiers, mious, matches, phrases, found, real, captions, references = self.columns()
        require_unique("picture", identifiers)
        figures: dict[str, float | int | None] = {"n": len(self), "n_without_phrase": matches.count(None)}
        figures["miou"], figures["miou_se"] = mean_with_error(mious)
        figures["recall"] = sum(count or 0 for count in matches) / sum(phrases) if sum(phrases) else None
        order = sorted(range(len(self)), key=lambda place: identifiers[place])
        figures["ap50"] = average_precision([found[place] for place in order], [real[place] for place in order])
        if self.captions:
            texts = CaptionQuality()
            for item in zip(identifiers, captions, references, strict=True):
                texts.add(*item)
            figures |= texts.compute()
        return figures


def _code(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length code of a mask, a clip's frames on top of each other."""
    mask = np.asarray(mask, bool)
    code = codes.encode(np.asfortranarray(mask.reshape(-1, mask.shape[-1]), np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


def average_precision(found: Sequence[Sequence[dict]], real: Sequence[Sequence[dict]]) -> float | None:
    """AP at IoU 0.5 of all scores 1, by pycocotools.

    Args:
        found, real: per picture the run-length codes of its predicted and of its true masks.

    Returns:
        In [0, 1]; `None` without a true mask.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_table(real), _table(found), "segm")
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1]) if evaluation.stats[1] >= 0 else None


def _table(pictures: Sequence[Sequence[dict]]) -> COCO:
    """COCO's index of the masks, pictures numbered from 1."""
    rows = [(number, code) for number, some in enumerate(pictures, start=1) for code in some]
    table = COCO()
    table.dataset = {
        "info": {},
        # the codes hold the sizes
        "images": [{"id": number, "height": 0, "width": 0} for number in range(1, len(pictures) + 1)],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": identifier,
                "image_id": number,
                "category_id": 1,
                "segmentation": code,
                "area": float(codes.area(code)),
                "bbox": codes.toBbox(code).tolist(),
                "iscrowd": 0,
                "score": 1.0,
            }
            for identifier, (number, code) in enumerate(rows, start=1)
        ],
    }
    table.createIndex()
    return table


__all__ = [
    "IOU_THRESHOLD",
    "SIMILARITY_THRESHOLD",
    "GroundedConversation",
    "average_precision",
    "count_matches",
    "paired_iou",
]
