"""MMBench-Video: scores that a judge gave, 0 to 3, by ability.

Scores with the abilities of their questions enter, means leave (paper section 4.1, video chat). Source: VLMEvalKit's
`mmbench_video.py`. The judge itself is a language model and not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from desa2va.training.data.question_sets import ABILITIES, LEAVES

from .collected import Collected
from .uncertainty import exact_mean

GROUPS = {
    **ABILITIES,
    "Perception": tuple(leaf for name in ("CP", "FP-S", "FP-C", "HL") for leaf in ABILITIES[name]),
    "Reasoning": tuple(leaf for name in ("LR", "AR", "RR", "CSR", "TR") for leaf in ABILITIES[name]),
    "Overall": LEAVES,
}


class MMBenchVideo(Collected):
    """Collects judged answers and computes mean scores.

    A question counts once in every group that has one of its abilities. "all" counts a question without an answer or
    without a judgement as 0, "valid" leaves it out.
    """

    def add(self, score: int | None, abilities: Sequence[str]) -> None:
        """Add one question: the judge's score 0 to 3, `None` where there is none, and its abilities.

        Raises:
            ValueError: another score, no ability, or one that the benchmark does not have.
        """
        if score is not None and score not in (0, 1, 2, 3):
            raise ValueError(f"a judge's score is 0, 1, 2, 3 or None, got {score!r}")
        unknown = [ability for ability in abilities if ability not in LEAVES]
        if unknown or not abilities:
            raise ValueError(f"a question needs abilities of MMBench-Video, got {unknown or 'none'}")
        self.rows.append((score, list(abilities)))

    def compute(self) -> dict[str, Any]:
        """The measures.

        Returns:
            `n`, `n_valid`; `coarse_all`, `coarse_valid` by group (`GROUPS`), `fine_all`, `fine_valid` by ability;
            `None` where nothing counts.

        Raises:
            ValueError: no question was added.
        """
        scores, abilities = self.columns()
        figures: dict[str, Any] = {"n": len(self), "n_valid": len(self) - scores.count(None)}
        fine = {leaf: (leaf,) for leaf in LEAVES}
        for size, groups in (("coarse", GROUPS), ("fine", fine)):
            members = {
                name: [score for score, own in zip(scores, abilities, strict=True) if set(own) & set(leaves)]
                for name, leaves in groups.items()
            }
            figures[f"{size}_all"] = {name: _mean([score or 0 for score in some]) for name, some in members.items()}
            valid = {name: [score for score in some if score is not None] for name, some in members.items()}
            figures[f"{size}_valid"] = {name: _mean(some) for name, some in valid.items()}
        return figures


def _mean(scores: Sequence[int]) -> float | None:
    return exact_mean(scores) if scores else None


__all__ = ["GROUPS", "MMBenchVideo"]
