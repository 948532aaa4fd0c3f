"""What a finished training is asked: RefShapes as everybody is, or the sets on which two prompts could be worth more.

Enters: a model and what a run's `scoring` says. Leaves: a report small enough to be kept for every run, the pixels of
every scene included, so that arms are compared scene by scene.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from desa2va.eval.decoupling_scores import SETS, score_decoupling
from desa2va.eval.probe.probe import probe_model
from desa2va.eval.refshapes import evaluate_refshapes

MAIN_SET = "in_distribution"
# What of a probe's report is kept; errors and the separability of every pair would double a run's file.
PROBED = ("objects", "probes", "selectivity", "information")
DIGITS = 5


def score(model: Any, processor: Any, scoring: dict[str, Any]) -> dict[str, Any]:
    """The report of a run.

    Args:
        model, processor: trained. scoring: arguments of `evaluate_refshapes`; or, with `scores: decoupling`, `scenes`
            (of the main set; half as many of every other one), `sets` (all where it is missing), `split`, `held_out`,
            `unasked`, and `probe`, the scenes of a probe.

    Returns:
        The report of `evaluate_refshapes`; or `sets`: name -> `ciou`, `giou`, `counts` (see `unpack`) and the cIoU of
        the branches `text` and `visual` where there are two, and `probe` where it was asked for.
    """
    if scoring.get("scores", "refshapes") == "refshapes":
        return evaluate_refshapes(model, processor, **scoring)
    asked = {name: scoring[name] for name in ("held_out", "unasked", "split") if name in scoring}
    scenes = scoring["scenes"]
    sets = {name: scenes if name == MAIN_SET else max(scenes // 2, 1) for name in scoring.get("sets", SETS)}
    found = score_decoupling(model, processor, scenes=sets, **asked)
    report: dict[str, Any] = {"sets": {name: _figures(branches) for name, branches in found.items()}}
    if scoring["probe"]:
        figures, _ = probe_model(model, processor, scenes=scoring["probe"])
        report["probe"] = rounded({name: figures[name] for name in PROBED})
    return report


def _figures(branches: dict[str, dict[str, Any]]) -> dict[str, Any]:
    fused = branches["fused"]
    return {
        "ciou": fused["ciou"],
        "giou": fused["giou"],
        **{name: part["ciou"] for name, part in branches.items() if name != "fused"},
        "counts": pack([fused["intersections"], fused["unions"]]),
    }


def pack(counts: Any) -> str:
    """Whole numbers (2, N), as a text of one to two characters each."""
    data = np.asarray(counts, dtype="<i4")
    return base64.b85encode(zlib.compress(data.tobytes(), 9)).decode("ascii")


def unpack(text: str) -> np.ndarray:
    """(2, N) int: intersections and unions of N scenes, from `pack`."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype="<i4").reshape(2, -1).astype(int)


def rounded(value: Any) -> Any:
    """A report with five digits of every number."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


__all__ = ["MAIN_SET", "pack", "rounded", "score", "unpack"]
