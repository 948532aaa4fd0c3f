"""The cascade without training: a language model writes a box, pristine SAM-2 draws what is in it.

Enters: questions, and a language model that can ground in words (InternVL, Qwen-VL) beside a SAM-2. Leaves: the masks
that SAM-2 draws for the boxes of the answer, tracked through a video: what joining both by training has to beat.
Notations: `<box>[[x0, y0, x1, y1]]</box>` (InternVL) and `<|box_start|>(x0,y0),(x1,y1)<|box_end|>` (Qwen2-VL) in
thousandths of the picture, `"bbox_2d": [x0, y0, x1, y1]` in pixels of the picture as Qwen2.5-VL saw it, of later
Qwen-VL in thousandths. (Engineering; the figures to read paper section 4.1 by.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .asking import MAX_NEW_TOKENS, opened_visual, plain_object
from .questions import Answer, Question

Box = tuple[float, float, float, float]
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_FOUR = rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]"
_CORNERS = re.compile(rf"\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)")
_BOXES = re.compile(r"<box>(.*?)</box>", re.DOTALL)
_BBOX = re.compile(rf'"bbox(?:_2d)?"\s*:\s*{_FOUR}')
_LIST = re.compile(_FOUR)
THOUSANDTHS = (1000.0, 1000.0)
REQUESTS = {
    "internvl": "Please provide the bounding box coordinate of the region this sentence describes: {}",
    "qwen": 'Locate {}, output the bbox coordinates using JSON format: [{{"bbox_2d": [x1, y1, x2, y2]}}].',
}


def read_boxes(text: str, size: tuple[int, int], seen: tuple[float, float] = THOUSANDTHS) -> list[Box]:
    """The boxes that an answer names.

    Args:
        text: the answer with its control tokens.
        size: (height, width) of the picture.
        seen: (height, width) in which coordinates without a sign of thousandths are: `THOUSANDTHS`, or the pixels of
            the picture as the model saw it.

    Returns:
        `(x0, y0, x1, y1)` in pixels of the picture, corners in order, cut off at its border; those of which nothing is
        left are left out. In order of the answer.
    """
    tagged = _BOXES.findall(text)
    if tagged:
        found, scale = [row for inner in tagged for row in _LIST.findall(inner)], THOUSANDTHS
    elif rows := _CORNERS.findall(text):
        found, scale = rows, THOUSANDTHS
    else:
        found, scale = _BBOX.findall(text) or _LIST.findall(text), seen
    boxes = (_inside([float(value) for value in row], size, scale) for row in found)
    return [box for box in boxes if box[0] < box[2] and box[1] < box[3]]


def _inside(corners: list[float], size: tuple[int, int], scale: tuple[float, float]) -> Box:
    (height, width), (rows, columns) = size, scale
    across = sorted(min(max(value * width / columns, 0.0), float(width)) for value in corners[::2])
    down = sorted(min(max(value * height / rows, 0.0), float(height)) for value in corners[1::2])
    return (across[0], down[0], across[1], down[1])


class BoxCascade:
    """A language model that is asked for boxes, and its SAM-2.

    Of a video the model sees the middle frame alone, and SAM-2's memory takes the boxes from there to both ends.
    Several boxes are several objects. An answer without a box draws nothing.

    Args:
        model: a `DeSa2VAModel` in eval mode, such as `load(mllm, sam2=...)` pairs. processor: its processor.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model, processor

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers in the order of the questions, any number about one visual."""
        family = "internvl" if self.processor.mllm_type == "internvl" else "qwen"
        return [self._answer(question, REQUESTS[family]) for question in questions]

    def _answer(self, question: Question, request: str) -> Answer:
        shown: dict[str, Any] = opened_visual([question])
        if question.record.is_video:
            shown["key_frames"] = [question.record.num_frames // 2]
        asked = request.format(question.dialogue.ids.get("text", question.prompt))
        inputs = self.processor(**shown, text=asked, task="chat")
        ids = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS).sequences[0]
        ends = (ids == self.processor.tokenizer.eos_token_id).nonzero()
        text = self.processor.tokenizer.decode(ids[: int(ends[0, 0])] if len(ends) else ids)
        boxes = read_boxes(text, question.record.size, self._seen(inputs))
        if not boxes:
            return Answer("no_seg_token", "the answer names no box", text)
        prompted = self.processor(**shown, boxes=boxes)
        result = self.processor.post_process(self.model.generate(**prompted), prompted)[0]
        return Answer(result.status, result.reason, text, tuple(map(plain_object, result.objects)))

    def _seen(self, inputs: Any) -> tuple[float, float]:
        """What `bbox_2d` counts in: Qwen2.5-VL alone means pixels, of the picture that its patches make up."""
        if self.processor.mllm_type != "qwen2_5_vl":
            return THOUSANDTHS
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        side = self.processor.image_processor.patch_size
        return float(rows * side), float(columns * side)


__all__ = ["THOUSANDTHS", "BoxCascade", "read_boxes"]
