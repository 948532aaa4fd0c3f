"""Is there what a request asks for? One calibrated score per request.

Enters: what the language model said and the language pass saw on the key frames. Leaves: the probability that the
request has a target, from what a model tells of itself: how likely its answer was up to the first `[SEG]`, SAM-2's
object score and the predicted IoU. Weights are fitted on a user's own data (`desa2va calibrate`); the paper has none.
"""

from __future__ import annotations

import torch

from desa2va.configuration.configuration_desa2va import TARGET_EVIDENCE
from desa2va.modeling_desa2va.outputs import KeyFrameAnswer

_LARGEST_LOGIT = 16.0  # beyond, float32 tells no probability from 0 or 1


def judge_targets(answer: KeyFrameAnswer, calibration: dict[str, float] | None) -> None:
    """Fills in `target_evidence` and, with a calibration, `target_score`.

    Args:
        answer: of the key frames. calibration: `DeSa2VAConfig.target_calibration`.
    """
    answer.target_evidence = target_evidence(answer)
    if calibration is not None:
        marked = torch.zeros(len(answer.sequences))
        marked[answer.object_sequence] = 1.0
        answer.target_score = target_scores(answer.target_evidence, calibration) * marked


def target_evidence(answer: KeyFrameAnswer) -> torch.Tensor:
    """What speaks for a target of each request.

    Args:
        answer: of the key frames.

    Returns:
        float32 `(B, 3)` on the CPU, logits in the order of `TARGET_EVIDENCE`, each the highest among the request's
        objects and key frames; 0 where the request marks nothing.
    """
    evidence = torch.zeros(len(answer.sequences), len(TARGET_EVIDENCE))
    seen: set[int] = set()
    for found in answer.visuals:
        for row, number in enumerate(found.objects):
            request = int(answer.object_sequence[number])
            own = torch.stack(
                [
                    answer.mark_probability[number].float().cpu().logit(),
                    found.masks.object_score[row].float().max().cpu(),
                    found.masks.iou[row].float().max().cpu().clamp(0, 1).logit(),
                ]
            ).clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
            evidence[request] = torch.maximum(evidence[request], own) if request in seen else own
            seen.add(request)
    return evidence


def target_scores(evidence: torch.Tensor, calibration: dict[str, float]) -> torch.Tensor:
    """Probability `(B,)` in [0, 1] that each request, which marks something, has a target.

    Args:
        evidence: `(B, 3)`, see `target_evidence`. calibration: `DeSa2VAConfig.target_calibration`.
    """
    weights = torch.tensor([calibration[name] for name in TARGET_EVIDENCE], dtype=evidence.dtype)
    return (evidence @ weights + calibration["bias"]).sigmoid()


__all__ = ["judge_targets", "target_scores"]
