"""The learning rate of every arm, chosen for it: with one rate for all, a table measures whom that rate suits.

Enters: a plan, one of its arms, and how to make a run of a configuration. Leaves: the short runs that decide, the
factor they decide for, and a configuration multiplied by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .plan import Arm, Plan
from .runs import Run
from .scoring import MAIN_SET

RATES_FILE = "rates.json"
NAMES = ("learning_rate", "muon_learning_rate")
MakeRun = Callable[[dict[str, Any], dict[str, Any]], Run]


def rated(plan: Plan, arm: Arm) -> Arm:
    """The arm whose rate `arm` gets: for equal time that of the arm it is like."""
    return rated(plan, plan.arms[arm.like]) if arm.equal_time else arm


def scaled(config: dict[str, Any], factor: float) -> dict[str, Any]:
    """A training configuration with other learning rates."""
    training = config["training"]
    return {
        **config,
        "training": {**training, **{name: factor * training[name] for name in NAMES if name in training}},
    }


def rate_runs(plan: Plan, arm: Arm, make_run: MakeRun) -> dict[float, Run]:
    """The short runs of an arm by factor; none where the plan chooses no rates."""
    if plan.rates is None:
        return {}
    config = plan.stage(arm, plan.rates.seed)
    config["training"] = {**config["training"], "max_steps": plan.rates.steps}
    config["init_from"] = plan.start_folder(arm, plan.rates.seed)
    scoring = {**plan.scoring(), "scenes": plan.rates.scenes, "probe": 0, "sets": [MAIN_SET], "split": "validation"}
    return {factor: make_run(scaled(config, factor), scoring) for factor in plan.rates.factors}


def choose(runs: dict[float, Run]) -> dict[str, Any] | None:
    """What the finished runs of an arm say; `None` while one is missing.

    Returns:
        `factor`: of the highest cIoU, of several the one nearest to 1. `ciou`: by factor.
    """
    if not all(run.finished for run in runs.values()):
        return None
    scores = {factor: run.result()["report"]["sets"][MAIN_SET]["ciou"] for factor, run in runs.items()}
    best = max(scores, key=lambda factor: (scores[factor], -abs(factor - 1)))
    return {"factor": best, "ciou": {str(factor): score for factor, score in scores.items()}}


__all__ = ["RATES_FILE", "choose", "rate_runs", "rated", "scaled"]
