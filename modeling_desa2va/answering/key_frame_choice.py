"""Key frames `auto`: the model looks at candidates all over a video and keeps those that show its objects best.

Enters: a video and what is asked. Leaves: `KeyFrameChoice`, the frames and their SAM-2 encodings. A short event in a
long video is missed by a few frames spread evenly or taken from the start (METHOD section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from desa2va.configuration.integers import as_integer
from desa2va.modeling_desa2va.outputs import ImageFeatures, KeyFrameAnswer
from desa2va.modeling_desa2va.tracking import resize_logits
from desa2va.processing.inputs import key_frame_indices, open_visual

NUM_CANDIDATES = 20


@dataclass
class KeyFrameChoice:
    """Chosen key frames.

    Attributes:
        key_frames: rising. candidates: all frames that were looked at, rising.
        known: candidate -> its encoding (one row), to be reused; empty where no object was marked.
        scores: (O, C) predicted IoU times probability of presence, of the objects on the candidates.
    """

    key_frames: list[int]
    candidates: list[int]
    known: dict[int, ImageFeatures]
    scores: torch.Tensor


@torch.no_grad()
def choose_key_frames(
    model: Any,
    processor: Any,
    video: Any,
    text: str | list[str],
    count: int | None = None,
    num_candidates: int = NUM_CANDIDATES,
    *,
    task: str = "segment",
    max_new_tokens: int = 128,
    **generation: Any,
) -> KeyFrameChoice:
    """Chooses the key frames of a video by the model's own scores.

    Uniform candidates are shown to the language model in groups of `count` neighbours, all groups in one batch; the
    prompts of a group's answer decode its frames. Object j of a sentence is the j-th its answers mark, in every group.

    Args:
        model: in eval mode. processor: its own.
        video: anything `open_visual` takes. text: one sentence or several.
        count: key frames; the processor's number when omitted. num_candidates: frames looked at, at least `count`.
        task, max_new_tokens, generation: as in `model.stream`.

    Raises:
        ValueError: fewer candidates than key frames.
    """
    count = as_integer(processor.num_key_frames if count is None else count, "num_key_frames", least=1)
    num_candidates = as_integer(num_candidates, "num_candidates")
    if num_candidates < count:
        raise ValueError(f"num_candidates={num_candidates} is below the {count} key frames to be chosen from them")
    source = open_visual(video)
    candidates = key_frame_indices("uniform", len(source), num_candidates)
    groups = [candidates[start : start + count] for start in range(0, len(candidates), count)]
    batch = processor.frame_groups(source, text, groups, task)
    answer = model.answer_key_frames(**batch, max_new_tokens=max_new_tokens, **generation)
    thresholds = model.config.mask_threshold, model.config.object_score_threshold
    scores, present = _score(answer, len(groups), len(candidates), count, model.segmenter.sam.image_size, *thresholds)
    known = {}
    for found in answer.visuals:
        for row, frame in enumerate(found.key_frames if found.features is not None else []):
            known[frame] = found.features.select(slice(row, row + 1))
    chosen = best_frames(scores, present, count)
    return KeyFrameChoice([candidates[column] for column in chosen], candidates, known, scores)


def _score(
    answer: KeyFrameAnswer,
    num_groups: int,
    num_candidates: int,
    group_size: int,
    image_size: int,
    mask_threshold: float,
    object_score_threshold: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (O, C), and whether an object is on a candidate (O, C); objects are told apart by sentence and rank."""
    rows: dict[tuple[int, int], int] = {}
    ranks: dict[int, int] = {}
    entries = []
    for number, sequence in enumerate(answer.object_sequence.tolist()):
        rank = ranks[sequence] = ranks.get(sequence, -1) + 1
        entries.append((rows.setdefault((sequence // num_groups, rank), len(rows)), sequence % num_groups, number))
    scores, present = torch.zeros(len(rows), num_candidates), torch.zeros(len(rows), num_candidates, dtype=torch.bool)
    for row, group, number in entries:
        found = answer.visuals[group]
        place = found.objects.index(number)
        logits, iou, score = (found.masks[name][place].float() for name in ("logits", "iou", "object_score"))
        columns = slice(group * group_size, group * group_size + len(score))
        inside = (resize_logits(logits, image_size) > mask_threshold).flatten(1).any(1)
        scores[row, columns] = (iou * score.sigmoid()).cpu()
        present[row, columns] = ((score > object_score_threshold) & inside).cpu()
    return scores, present


def best_frames(scores: torch.Tensor, present: torch.Tensor, count: int) -> list[int]:
    """Columns that cover the objects best.

    Every object that is present anywhere gets its best frame first, the surest object before the others; the places
    left go to the frames with the highest sum of the scores of present objects, and then of any.

    Args:
        scores: (O, C) in [0, 1]. present: (O, C) bool. count: how many; all columns where there are no more.

    Returns:
        Rising columns.
    """
    seen = scores * present
    chosen: list[int] = []
    best, places = seen.max(dim=1) if len(seen) else (scores.new_zeros(0), [])
    for row in best.argsort(descending=True, stable=True).tolist():
        place = int(places[row])
        if best[row] > 0 and place not in chosen and len(chosen) < count:
            chosen.append(place)
    total, hope = seen.sum(dim=0).tolist(), scores.sum(dim=0).tolist()
    others = sorted(range(scores.shape[1]), key=lambda column: (-total[column], -hope[column], column))
    chosen += [column for column in others if column not in chosen][: count - len(chosen)]
    return sorted(chosen)


__all__ = ["KeyFrameChoice", "best_frames", "choose_key_frames"]
